/* SPDX-License-Identifier: BSD-3-Clause */
/* command_trace.c - crosvm trace: what a VM did last */
#include "cli/command.h"

#include "base/exit_codes.h"
#include "base/json.h"
#include "base/log.h"
#include "base/opt.h"
#include "cli/client.h"
#include "vm/recorder.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LINE_ROOM = 64 };

const struct arg command_trace_args[] = {
	{.name = "last", .letter = 'n', .value = "EVENTS", .help = "Print so many, else 100"},
	{.name = "json", .help = "Print the reply of the VM as one line of JSON"},
	{.name = "help", .letter = 'h', .help = "Print this text"},
	{.name = NULL},
};

struct wish {
	struct command_vm vm; /* first */
	uint64_t last; /* 0: as many as is usual */
	bool as_json;
};

/* The event being read. */
struct reading {
	uint64_t time_ns;
	char source[LOG_NAME_MAX];
};

/* path is "events.3.event", which is the last of its event; the other end need not be ours. */
static void take(void *context, const char *path, const char *value)
{
	struct reading *r = context;
	const char *field = strrchr(path, '.');
	char text[RECORDER_TEXT_MAX];

	if (strcmp(path, "left_out") == 0 && strcmp(value, "0") != 0) {
		log_clean(text, sizeof(text), value, strlen(value));
		printf("%s records of impossible times are left out\n", text);
	}
	if (!field || strncmp(path, "events.", strlen("events.")) != 0)
		return;
	if (strcmp(field, ".time_ns") == 0 && opt_number(value, &r->time_ns) < 0)
		r->time_ns = 0;
	else if (strcmp(field, ".source") == 0)
		log_clean(r->source, sizeof(r->source), value, strlen(value));
	if (strcmp(field, ".event") != 0)
		return;
	log_clean(text, sizeof(text), value, strlen(value));
	printf("%5llu.%06u %-10s %s\n", (unsigned long long)(r->time_ns / 1000000000),
	       (unsigned)(r->time_ns % 1000000000 / 1000), r->source, text);
}

static int show(const struct wish *wish)
{
	static struct client_reply reply;
	struct reading reading = {0};
	char line[LINE_ROOM] = "trace\n";
	struct err e = {0};
	int r;

	if (wish->last > 0)
		snprintf(line, sizeof(line), "trace last=%llu\n", (unsigned long long)wish->last);
	r = client_ask(wish->vm.name, line, &reply, &e);
	if (r == 0 && !reply.is_ok)
		r = err_say(&e, EPROTO, "%s", reply.error);
	if (r == 0 && wish->as_json)
		puts(reply.text);
	else if (r == 0 && json_read(reply.text, take, &reading) < 0)
		r = err_say(&e, EPROTO, "the reply is not JSON");
	if (r == 0)
		return EXIT_CODE_OK;
	log_error("trace: %s: %s", wish->vm.name, e.text);
	return EXIT_CODE_ERROR;
}

static int take_option(void *context, const struct args_item *item, struct err *e)
{
	struct wish *wish = context;

	if (item->arg->letter != 'n') {
		wish->as_json = true;
		return 0;
	}
	if (opt_number(item->value, &wish->last) == 0 && wish->last > 0 &&
	    wish->last <= RECORDER_LAST_MAX)
		return 0;
	return err_say(e, EINVAL, "--last: \"%.100s\": not a number of events from 1 to %d",
		       item->value, RECORDER_LAST_MAX);
}

int command_trace(int argc, char **argv)
{
	static const struct command_reader reader = {take_option, command_vm_take,
						     command_vm_check};
	struct wish wish = {0};
	int code = command_read("trace", argc, argv, &reader, &wish);

	return code == COMMAND_GOES_ON ? show(&wish) : code;
}
