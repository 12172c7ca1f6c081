/* SPDX-License-Identifier: BSD-3-Clause */
/* control_commands.c - the commands of the control socket: one table */
#include "vm/control_parts.h"

#include "base/num.h"
#include "base/opt.h"
#include "base/trace.h"
#include "devices/device.h"
#include "vm/journal.h"
#include "vm/recorder.h"

#include <errno.h>
#include <string.h>

enum {
	WHILE_RUNNING = 1,
	WHILE_SUSPENDED = 2,
	ALWAYS = WHILE_RUNNING | WHILE_SUSPENDED,
	ARGUMENTS_MAX = 256, /* bytes of the largest struct of a command's options */
};

struct command {
	const char *name;
	const struct opt *opts; /* of a zeroed struct of at most ARGUMENTS_MAX bytes */
	unsigned permit;        /* in which states of the VM */

	/* Adds what it has to say to the open object. 0, CONTROL_LATER or -errno. */
	int (*handle)(struct control_client *k, void *arguments, struct json *reply, struct err *e);
	const char *summary;
};

static const struct opt no_opts[] = {OPT_END};

static const struct command commands[];

static void list_name(void *reply, const char *name, const struct control_forward *f)
{
	(void)f;
	json_text(reply, NULL, name);
}

static int handle_help(struct control_client *k, void *arguments, struct json *reply, struct err *e)
{
	(void)arguments;
	(void)e;
	json_open(reply, "commands", '[');
	for (const struct command *command = commands; command->name; command++)
		json_text(reply, NULL, command->name);
	control_forward_each(k->control->ops->types, list_name, reply);
	json_close(reply, ']');
	return 0;
}

static int handle_stop(struct control_client *k, void *arguments, struct json *reply, struct err *e)
{
	(void)arguments;
	(void)reply;
	(void)e;
	k->control->ops->stop(k->control->vm);
	return 0;
}

static int handle_suspend(struct control_client *k, void *arguments, struct json *reply,
			  struct err *e)
{
	(void)arguments;
	(void)reply;
	return k->control->ops->suspend(k->control->vm, e);
}

static int handle_resume(struct control_client *k, void *arguments, struct json *reply,
			 struct err *e)
{
	(void)arguments;
	(void)reply;
	return k->control->ops->resume(k->control->vm, e);
}

static int handle_powerbtn(struct control_client *k, void *arguments, struct json *reply,
			   struct err *e)
{
	(void)arguments;
	(void)reply;
	return k->control->ops->power_button(k->control->vm, e);
}

static int handle_status(struct control_client *k, void *arguments, struct json *reply,
			 struct err *e)
{
	(void)arguments;
	(void)e;
	return control_status_reply(k, reply);
}

static int handle_counters(struct control_client *k, void *arguments, struct json *reply,
			   struct err *e)
{
	(void)arguments;
	(void)e;
	control_status_counters(k, reply);
	return 0;
}

struct balloon_arguments {
	char *target, *pages; /* texts, for 0 is a value */
};

static const struct opt balloon_opts[] = {
	OPT_TEXT(struct balloon_arguments, target, "SIZE", "To how much"),
	OPT_TEXT(struct balloon_arguments, pages, "N",
		 "By how many pages of 4096 bytes; less than nothing gives memory back"),
	OPT_END,
};

/* A whole number with a sign or without. */
static int read_pages(const char *text, int64_t *ret, struct err *e)
{
	const bool is_negative = *text == '-';
	uint64_t n;

	if (opt_number(text + (*text == '-' || *text == '+'), &n) < 0 || n > INT64_MAX)
		return err_say(e, EINVAL, "pages: \"%.100s\": not a number of pages", text);
	*ret = is_negative ? -(int64_t)n : (int64_t)n;
	return 0;
}

static int handle_balloon(struct control_client *k, void *arguments, struct json *reply,
			  struct err *e)
{
	const struct balloon_arguments *a = arguments;
	struct control_balloon change = {.has_target = a->target};
	struct balloon_status now;
	int r = 0;

	if (a->target && a->pages)
		return err_say(e, EINVAL, "one of target and pages, not both");
	if (a->target && opt_size(a->target, &change.target_bytes) < 0)
		return err_say(e, EINVAL, "target: \"%.100s\": not a size as 512M or 2G",
			       a->target);
	if (a->pages)
		r = read_pages(a->pages, &change.pages, e);
	if (r == 0)
		r = k->control->ops->balloon(k->control->vm, &change, &now, e);
	if (r == 0)
		control_status_balloon(&now, reply);
	return r;
}

struct log_arguments {
	uint32_t since, last;
};

static const struct opt log_opts[] = {
	OPT_NUMBER(struct log_arguments, since, 0, UINT32_MAX, "Only from that number on"),
	OPT_NUMBER(struct log_arguments, last, 1, JOURNAL_LINES, "Only the last so many"),
	OPT_END,
};

static int handle_log(struct control_client *k, void *arguments, struct json *reply, struct err *e)
{
	const struct log_arguments *a = arguments;

	(void)k;
	(void)e;
	journal_reply(a->since, a->last, reply);
	return 0;
}

struct trace_arguments {
	uint32_t last;
};

static const struct opt trace_opts[] = {
	OPT_NUMBER(struct trace_arguments, last, 1, RECORDER_LAST_MAX, "How many of the last"),
	OPT_END,
};

static int handle_trace(struct control_client *k, void *arguments, struct json *reply,
			struct err *e)
{
	enum { LAST_USUAL = 100 };
	const struct trace_arguments *a = arguments;

	(void)e;
	k->control->ops->trace(k->control->vm, a->last ? a->last : LAST_USUAL, reply);
	return 0;
}

static const struct command commands[] = {
	{"stop", no_opts, ALWAYS, handle_stop,
	 "Ends the VM in good order; the guest is neither asked nor told"},
	{"powerbtn", no_opts, WHILE_RUNNING, handle_powerbtn,
	 "Presses the power button of ACPI, which asks the guest to shut down; the reply does not "
	 "wait for that"},
	{"suspend", no_opts, WHILE_RUNNING, handle_suspend, "Stops the vCPUs until resume"},
	{"resume", no_opts, WHILE_SUSPENDED, handle_resume, "Lets the vCPUs go on"},
	{"status", no_opts, ALWAYS, handle_status,
	 "Tells the state, the process id, the uptime, memory, vCPUs and devices"},
	{"counters", no_opts, ALWAYS, handle_counters,
	 "Tells the same without asking the devices: what is counted, and no reports"},
	{"balloon", balloon_opts, ALWAYS, handle_balloon,
	 "Changes how much memory the guest gives back, and tells how much that is"},
	{"log", log_opts, ALWAYS, handle_log, "Tells what the VM and its devices logged lately"},
	{"trace", trace_opts, ALWAYS, handle_trace,
	 "Tells what the vCPUs, the main process and the devices did last"},
	{"help", no_opts, ALWAYS, handle_help, "Lists the commands"},
	{.name = NULL},
};

static const struct command *find(const char *name)
{
	for (const struct command *command = commands; command->name; command++)
		if (strcmp(command->name, name) == 0)
			return command;
	return NULL;
}

static int check_permit(struct control *c, const struct command *command, struct err *e)
{
	bool is_suspended = c->ops->is_suspended(c->vm);

	if (command->permit & (is_suspended ? WHILE_SUSPENDED : WHILE_RUNNING))
		return 0;
	return err_say(e, EBUSY, "%s",
		       is_suspended ? "the VM is suspended; resume lets it go on"
				    : "the VM is running already");
}

static int run(struct control_client *k, const struct command *command, const char *text,
	       struct json *reply, struct err *e)
{
	_Alignas(max_align_t) char arguments[ARGUMENTS_MAX] = {0};
	int r = opt_parse(command->opts, arguments, text, e);

	if (r == 0)
		r = check_permit(k->control, command, e);
	if (r == 0) {
		json_open(reply, NULL, '{');
		json_bool(reply, "ok", true);
		r = command->handle(k, arguments, reply, e);
		json_close(reply, '}');
	}
	opt_fini(command->opts, arguments);
	if (r == 0 && reply->is_full)
		r = err_say(e, EMSGSIZE, "the reply is too long");
	return r;
}

static void trace_name(const char *name)
{
	uint64_t letters[2] = {0};

	memcpy(letters, name, min_size(strlen(name), sizeof(letters)));
	trace(TRACE_COMMAND, 0, 0, letters[0], letters[1]);
}

bool control_execute(struct control_client *k, char *line, struct json *reply)
{
	char *text = line + strcspn(line, " ");
	const struct command *command;
	struct control_forward forward;
	struct err e = {0};
	int r;

	if (*text)
		*text++ = '\0';
	text += strspn(text, " ");
	k->control->ncommands++;
	trace_name(line);
	command = find(line);
	if (command)
		r = run(k, command, text, reply, &e);
	else if (control_forward_find(k->control->ops->types, line, &forward))
		r = control_forward_run(k, &forward, text, &e);
	else
		r = err_say(&e, EINVAL, "unknown command \"%.100s\"; help lists them", line);
	if (r < 0 && (command || forward.type))
		err_in(&e, "%s", line);
	if (r < 0)
		json_error(reply, &e);
	return r != CONTROL_LATER;
}

static void forward_mdoc(void *context, const char *name, const struct control_forward *f)
{
	FILE *out = context;

	fprintf(out,
		".It Cm %s\n%s.\nThe option\n.Cm name Ns = Ns Ar NAME\n"
		"says of which %s device, unless there is one only.\n",
		name, f->command->summary, f->type->name);
	if (f->command->opts->kind != OPT_KIND_END)
		opt_mdoc(f->command->opts, out);
}

void control_mdoc(FILE *out)
{
	fputs(".Bl -tag -width Ds\n", out);
	for (const struct command *command = commands; command->name; command++) {
		fprintf(out, ".It Cm %s\n%s.\n", command->name, command->summary);
		if (command->opts->kind != OPT_KIND_END)
			opt_mdoc(command->opts, out);
	}
	control_forward_each(device_types, forward_mdoc, out);
	fputs(".El\n", out);
}
