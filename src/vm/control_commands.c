/* SPDX-License-Identifier: BSD-3-Clause */
/* control_commands.c - the commands of the control socket: one table */
#include "vm/control_commands.h"

#include "vm/control.h"

#include "base/opt.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

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

	/* Adds what it has to say to the open object. 0 or -errno. */
	int (*handle)(struct control *c, void *arguments, struct json *reply, struct err *e);
	const char *summary;
};

static const struct opt no_opts[] = {OPT_END};

static const struct command commands[];

static int handle_help(struct control *c, void *arguments, struct json *reply, struct err *e)
{
	(void)c;
	(void)arguments;
	(void)e;
	json_open(reply, "commands", '[');
	for (const struct command *command = commands; command->name; command++)
		json_text(reply, NULL, command->name);
	json_close(reply, ']');
	return 0;
}

static int handle_stop(struct control *c, void *arguments, struct json *reply, struct err *e)
{
	(void)arguments;
	(void)reply;
	(void)e;
	c->ops->stop(c->vm);
	return 0;
}

static int handle_suspend(struct control *c, void *arguments, struct json *reply, struct err *e)
{
	(void)arguments;
	(void)reply;
	return c->ops->suspend(c->vm, e);
}

static int handle_resume(struct control *c, void *arguments, struct json *reply, struct err *e)
{
	(void)arguments;
	(void)reply;
	return c->ops->resume(c->vm, e);
}

static void put_devices(const struct control_status *status, struct json *reply)
{
	json_open(reply, "devices", '[');
	for (unsigned i = 0; i < status->ndevices; i++) {
		const struct control_device *d = &status->devices[i];

		json_open(reply, NULL, '{');
		json_text(reply, "name", d->name);
		json_text(reply, "type", d->type);
		json_text(reply, "state", d->state);
		if (d->pid > 0)
			json_number(reply, "pid", (uint64_t)d->pid);
		json_number(reply, "restarts", d->restarts);
		json_close(reply, '}');
	}
	json_close(reply, ']');
}

static int handle_status(struct control *c, void *arguments, struct json *reply, struct err *e)
{
	static struct control_status status; /* one loop, one command at a time */

	(void)arguments;
	(void)e;
	memset(&status, 0, sizeof(status));
	c->ops->status(c->vm, &status);
	assert(status.ndevices <= CONTROL_DEVICES_MAX && status.nvcpus <= CONTROL_VCPUS_MAX);
	json_text(reply, "state", status.state);
	json_number(reply, "pid", (uint64_t)getpid());
	json_number(reply, "uptime_ms", status.uptime_ms);
	json_number(reply, "mem_bytes", status.mem_bytes);
	json_open(reply, "vcpus", '[');
	for (unsigned i = 0; i < status.nvcpus; i++) {
		json_open(reply, NULL, '{');
		json_number(reply, "exits", status.vcpu_exits[i]);
		json_close(reply, '}');
	}
	json_close(reply, ']');
	put_devices(&status, reply);
	return 0;
}

static const struct command commands[] = {
	{"stop", no_opts, ALWAYS, handle_stop,
	 "Ends the VM in good order; the guest is neither asked nor told"},
	{"suspend", no_opts, WHILE_RUNNING, handle_suspend, "Stops the vCPUs until resume"},
	{"resume", no_opts, WHILE_SUSPENDED, handle_resume, "Lets the vCPUs go on"},
	{"status", no_opts, ALWAYS, handle_status,
	 "Tells the state, the process id, the uptime, memory, vCPUs and devices"},
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
	return err_say(e, EBUSY, "the VM is %s already", is_suspended ? "suspended" : "running");
}

static int run(struct control *c, const struct command *command, const char *text,
	       struct json *reply, struct err *e)
{
	_Alignas(max_align_t) char arguments[ARGUMENTS_MAX] = {0};
	int r = opt_parse(command->opts, arguments, text, e);

	if (r == 0)
		r = check_permit(c, command, e);
	if (r == 0) {
		json_open(reply, NULL, '{');
		json_bool(reply, "ok", true);
		r = command->handle(c, arguments, reply, e);
		json_close(reply, '}');
	}
	opt_fini(command->opts, arguments);
	if (r == 0 && reply->is_full)
		r = err_say(e, EMSGSIZE, "the reply is too long");
	return r < 0 ? err_in(e, "%s", command->name) : 0;
}

void control_execute(struct control *c, char *line, struct json *reply)
{
	char *text = line + strcspn(line, " ");
	const struct command *command;
	struct err e = {0};
	int r;

	if (*text)
		*text++ = '\0';
	text += strspn(text, " ");
	command = find(line);
	if (command)
		r = run(c, command, text, reply, &e);
	else
		r = err_say(&e, EINVAL, "unknown command \"%.100s\"; help lists them", line);
	if (r < 0)
		json_error(reply, &e);
}

void control_mdoc(FILE *out)
{
	fputs(".Bl -tag -width Ds\n", out);
	for (const struct command *command = commands; command->name; command++) {
		fprintf(out, ".It Cm %s\n%s.\n", command->name, command->summary);
		if (command->opts->kind != OPT_KIND_END)
			opt_mdoc(command->opts, out);
	}
	fputs(".El\n", out);
}
