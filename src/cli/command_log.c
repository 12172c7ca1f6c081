/* SPDX-License-Identifier: BSD-3-Clause */
/* command_log.c - crosvm log: what a VM and its devices logged lately */
#include "cli/command.h"

#include "base/exit_codes.h"
#include "base/json.h"
#include "base/log.h"
#include "base/opt.h"
#include "cli/client.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { FOLLOW_MS = 200, LINE_ROOM = 96, FIELD_MAX = 24 };

const struct arg command_log_args[] = {
	{.name = "last", .letter = 'n', .value = "LINES", .help = "Print the last so many only"},
	{.name = "follow", .letter = 'f', .help = "Print what comes, until the VM has ended"},
	{.name = "json", .help = "Print each reply of the VM as one line of JSON"},
	{.name = "help", .letter = 'h', .help = "Print this text"},
	{.name = NULL},
};

struct wish {
	struct command_vm vm; /* first */
	uint64_t last;
	bool follows, as_json;
};

/* The line being read, and what the reply says of the lines. */
struct reading {
	uint64_t expected, number, time_ms, next, nlines;
	char level[FIELD_MAX], source[FIELD_MAX];
	bool is_silent, has_more;
};

static uint64_t number_of(const char *value)
{
	uint64_t n;

	return opt_number(value, &n) == 0 ? n : 0;
}

static void print_line(struct reading *r, const char *value)
{
	const time_t seconds = (time_t)(r->time_ms / 1000);
	char clean[LOG_TEXT_MAX], when[32] = "?";
	bool is_plain = strcmp(r->level, "info") == 0 || strcmp(r->level, "error") == 0;
	struct tm local;

	log_clean(clean, sizeof(clean), value, strlen(value));
	if (localtime_r(&seconds, &local))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local);
	if (r->expected > 0 && r->number > r->expected)
		printf("(%llu lines are not kept any more)\n",
		       (unsigned long long)(r->number - r->expected));
	printf("%s.%03u %s: %s%s%s\n", when, (unsigned)(r->time_ms % 1000), r->source,
	       is_plain ? "" : r->level, is_plain ? "" : ": ", clean);
	r->expected = r->number + 1;
}

/* path is "lines.3.text", which is the last of its line. */
static void take(void *context, const char *path, const char *value)
{
	struct reading *r = context;
	const char *field = strrchr(path, '.');

	if (strcmp(path, "next") == 0)
		r->next = number_of(value);
	else if (strcmp(path, "more") == 0)
		r->has_more = strcmp(value, "true") == 0;
	if (!field || strncmp(path, "lines.", strlen("lines.")) != 0)
		return;
	if (strcmp(field, ".number") == 0)
		r->number = number_of(value);
	else if (strcmp(field, ".time_ms") == 0)
		r->time_ms = number_of(value);
	else if (strcmp(field, ".level") == 0)
		log_clean(r->level, sizeof(r->level), value, strlen(value));
	else if (strcmp(field, ".source") == 0)
		log_clean(r->source, sizeof(r->source), value, strlen(value));
	else if (strcmp(field, ".text") == 0) {
		r->nlines++;
		if (!r->is_silent)
			print_line(r, value);
	}
}

/* Asks once for the lines since r->next, and prints them. 0 or -errno. */
static int turn(const struct wish *wish, struct reading *r, bool is_first, struct err *e)
{
	static struct client_reply reply;
	char line[LINE_ROOM];
	int ret;

	if (is_first && wish->last > 0)
		snprintf(line, sizeof(line), "log last=%llu\n", (unsigned long long)wish->last);
	else
		snprintf(line, sizeof(line), "log since=%llu\n", (unsigned long long)r->next);
	ret = client_ask(wish->vm.name, line, &reply, e);
	if (ret < 0)
		return ret;
	if (!reply.is_ok)
		return err_say(e, EPROTO, "%s", reply.error);
	r->is_silent = wish->as_json;
	r->nlines = 0;
	if (json_read(reply.text, take, r) < 0)
		return err_say(e, EPROTO, "the reply is not JSON");
	if (wish->as_json && (is_first || r->nlines > 0))
		puts(reply.text);
	fflush(stdout);
	return 0;
}

static int show(const struct wish *wish)
{
	const struct timespec pause = {.tv_nsec = FOLLOW_MS * 1000000L};
	struct reading r = {0};
	struct err e = {0};
	bool is_first = true;

	for (;;) {
		int ret = turn(wish, &r, is_first, &e);

		if (ret < 0 && !is_first && wish->follows)
			return EXIT_CODE_OK; /* it has ended */
		if (ret < 0) {
			log_error("log: %s: %s", wish->vm.name, e.text);
			return EXIT_CODE_ERROR;
		}
		if (!r.has_more && !wish->follows)
			return EXIT_CODE_OK;
		if (!r.has_more)
			nanosleep(&pause, NULL);
		is_first = false;
	}
}

static int take_option(void *context, const struct args_item *item, struct err *e)
{
	struct wish *wish = context;

	switch (item->arg->letter) {
	case 'n':
		if (opt_number(item->value, &wish->last) == 0 && wish->last > 0)
			return 0;
		return err_say(e, EINVAL, "--last: \"%.100s\": not a number of lines", item->value);
	case 'f':
		wish->follows = true;
		return 0;
	default:
		wish->as_json = true;
		return 0;
	}
}

int command_log(int argc, char **argv)
{
	static const struct command_reader reader = {take_option, command_vm_take,
						     command_vm_check};
	struct wish wish = {0};
	int code = command_read("log", argc, argv, &reader, &wish);

	return code == COMMAND_GOES_ON ? show(&wish) : code;
}
