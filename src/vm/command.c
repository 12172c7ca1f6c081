/* SPDX-License-Identifier: BSD-3-Clause */
/* command.c - subcommands: clients of the control socket, lists */
#include "vm/command.h"

#include "vm/args.h"
#include "vm/client.h"
#include "vm/config.h"
#include "vm/exit_codes.h"

#include "base/log.h"
#include "base/opt.h"
#include "devices/device.h"
#include "vm/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
	const char *name;    /* of the subcommand */
	const char *line;    /* for the socket */
	const char *summary; /* for --help */
	bool ends_vm;
	void (*show)(const char *socket, const char *reply); /* for people; NULL: says nothing */
};

static const struct arg request_args[] = {
	{.name = "json", .help = "Print each VM's reply as one line of JSON"},
	{.name = "help", .letter = 'h', .help = "Print this text"},
	{.name = NULL},
};

enum { STATUS_FIELD_MAX = 64 };

/* What the reply to status says, as text. */
struct shown_device {
	char name[STATUS_FIELD_MAX], type[STATUS_FIELD_MAX], state[STATUS_FIELD_MAX];
	char pid[STATUS_FIELD_MAX], restarts[STATUS_FIELD_MAX];
};

struct shown {
	uint64_t uptime_ms, mem_bytes;
	char state[STATUS_FIELD_MAX], pid[STATUS_FIELD_MAX];
	unsigned nvcpus, ndevices;
	struct shown_device devices[CONTROL_DEVICES_MAX];
};

static void keep(char *field, const char *value)
{
	snprintf(field, STATUS_FIELD_MAX, "%s", value);
	for (; *field; field++)
		if ((unsigned char)*field < 0x20 || *field == 0x7f)
			*field = '?';
}

/* path is "devices.3.name". */
static void keep_device(struct shown *s, const char *path, const char *value)
{
	char *end;
	unsigned long n = strtoul(path + strlen("devices."), &end, 10);
	struct shown_device *d;

	if (n >= CONTROL_DEVICES_MAX)
		return;
	if (n >= s->ndevices)
		s->ndevices = (unsigned)n + 1;
	d = &s->devices[n];
	if (strcmp(end, ".name") == 0)
		keep(d->name, value);
	else if (strcmp(end, ".type") == 0)
		keep(d->type, value);
	else if (strcmp(end, ".state") == 0)
		keep(d->state, value);
	else if (strcmp(end, ".pid") == 0)
		keep(d->pid, value);
	else if (strcmp(end, ".restarts") == 0)
		keep(d->restarts, value);
}

static uint64_t number_of(const char *value)
{
	uint64_t n;

	return opt_number(value, &n) == 0 ? n : 0;
}

static void take_status(void *context, const char *path, const char *value)
{
	struct shown *s = context;

	if (strcmp(path, "state") == 0)
		keep(s->state, value);
	else if (strcmp(path, "pid") == 0)
		keep(s->pid, value);
	else if (strcmp(path, "uptime_ms") == 0)
		s->uptime_ms = number_of(value);
	else if (strcmp(path, "mem_bytes") == 0)
		s->mem_bytes = number_of(value);
	else if (strncmp(path, "vcpus.", 6) == 0 && strstr(path, ".exits"))
		s->nvcpus++;
	else if (strncmp(path, "devices.", 8) == 0)
		keep_device(s, path, value);
}

static void show_status(const char *socket, const char *reply)
{
	static struct shown s;
	uint64_t seconds;

	memset(&s, 0, sizeof(s));
	if (json_read(reply, take_status, &s) < 0)
		return;
	seconds = s.uptime_ms / 1000;
	printf("%s: %s, process %s, up %llu:%02u:%02u, %llu MiB, %u vCPU%s\n", socket, s.state,
	       s.pid, (unsigned long long)(seconds / 3600), (unsigned)(seconds / 60 % 60),
	       (unsigned)(seconds % 60), (unsigned long long)(s.mem_bytes >> 20), s.nvcpus,
	       s.nvcpus == 1 ? "" : "s");
	for (unsigned i = 0; i < s.ndevices; i++) {
		const struct shown_device *d = &s.devices[i];

		printf("  %-10s %-8s %-10s%s%s", d->name, d->type, d->state,
		       d->pid[0] ? " process " : "", d->pid);
		if (strcmp(d->restarts, "0") != 0)
			printf(", restarted %s times", d->restarts);
		putchar('\n');
	}
}

static const struct request stop = {
	"stop", "stop\n", "Ends VMs in good order; their guests are not asked", true, NULL};
static const struct request suspend = {"suspend", "suspend\n",
				       "Stops the vCPUs of VMs until resume", false, NULL};
static const struct request resume = {"resume", "resume\n", "Lets the vCPUs of suspended VMs go on",
				      false, NULL};
static const struct request status = {"status", "status\n", "Tells how VMs and their devices are",
				      false, show_status};

static int ask(const struct request *request, const char *socket, bool as_json)
{
	static struct client_reply reply;
	struct err e = {0};

	if (client_ask(socket, request->line, request->ends_vm, &reply, &e) < 0) {
		log_error("%s: %s: %s", request->name, socket, e.text);
		return EXIT_CODE_ERROR;
	}
	if (as_json)
		puts(reply.text);
	if (!reply.is_ok) {
		log_error("%s: %s", socket, reply.error);
		return EXIT_CODE_ERROR;
	}
	if (!as_json && request->show)
		request->show(socket, reply.text);
	return EXIT_CODE_OK;
}

static void request_help(const struct request *request)
{
	printf("Usage: crosvm %s [--json] SOCKET...\n\n%s.\n"
	       "SOCKET is the path that was given to crosvm run with -s, or the name with "
	       "--name.\n\nOptions:\n",
	       request->name, request->summary);
	for (const struct arg *a = request_args; a->name; a++)
		args_help(a, stdout);
}

static int request_main(const struct request *request, int argc, char **argv)
{
	bool as_json = false, is_wrong = false;
	struct args_item item;
	enum args_kind kind;
	struct args args;
	struct err e = {0};
	int nsockets = 0, code = EXIT_CODE_OK;

	args_init(&args, request_args, argc, argv);
	while ((kind = args_next(&args, &item, &e)) != ARGS_END) {
		if (kind == ARGS_WRONG) {
			log_error("%s: %s", request->name, e.text);
			is_wrong = true;
		} else if (kind == ARGS_WORD) {
			nsockets++;
		} else if (item.arg->letter == 'h') {
			request_help(request);
			return EXIT_CODE_OK;
		} else {
			as_json = true;
		}
	}
	if (nsockets == 0) {
		log_error("%s: a socket is missing: crosvm %s [--json] SOCKET...", request->name,
			  request->name);
		is_wrong = true;
	}
	if (is_wrong)
		return EXIT_CODE_USAGE;
	args_init(&args, request_args, argc, argv);
	while ((kind = args_next(&args, &item, &e)) != ARGS_END)
		if (kind == ARGS_WORD && ask(request, item.value, as_json) != EXIT_CODE_OK)
			code = EXIT_CODE_ERROR;
	return code;
}

int command_stop(int argc, char **argv)
{
	return request_main(&stop, argc, argv);
}

int command_suspend(int argc, char **argv)
{
	return request_main(&suspend, argc, argv);
}

int command_resume(int argc, char **argv)
{
	return request_main(&resume, argc, argv);
}

int command_status(int argc, char **argv)
{
	return request_main(&status, argc, argv);
}

static int refuse_words(const char *name, int argc, char **argv)
{
	if (argc == 0)
		return EXIT_CODE_OK;
	log_error("%s: takes no arguments, \"%s\" was given", name, argv[0]);
	return EXIT_CODE_USAGE;
}

int command_devices(int argc, char **argv)
{
	int code = refuse_words("devices", argc, argv);

	if (code != EXIT_CODE_OK)
		return code;
	for (const struct device_type *const *t = device_types; *t; t++)
		printf("%-12s %s\n", (*t)->name, (*t)->summary);
	return EXIT_CODE_OK;
}

int command_version(int argc, char **argv)
{
	int code = refuse_words("version", argc, argv);

	if (code == EXIT_CODE_OK)
		puts("crosvm " CROSVM_VERSION);
	return code;
}
