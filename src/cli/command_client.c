/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_client.c - subcommands that are clients of the control socket
 *
 * Each is a row: what its words mean, which line they become, and how the reply is shown.
 */
#include "cli/command.h"

#include "base/exit_codes.h"
#include "base/log.h"
#include "base/num.h"
#include "base/opt.h"
#include "cli/client.h"
#include "cli/command_show.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
	WORDS_MAX = 256,
	TYPE_MAX = 24,                /* of a type of device */
	LINE_ROOM = CONTROL_LINE_MAX, /* of a line, before its end is added */
};

/* What the user gave, and what becomes of it. */
struct plan {
	const struct request *request;
	bool as_json;
	const char *words[WORDS_MAX];
	unsigned nwords;
	const char *target; /* --target */
	char line[LINE_ROOM + 1];
	unsigned first_socket, nsockets; /* of words */
};

struct request {
	const char *name; /* of the subcommand */

	/* Writes the line and says which words are sockets. NULL: all are, and the name is sent. */
	int (*plan)(struct plan *p, struct err *e);
	bool (*is_final)(const char *reply); /* else it is asked again; NULL: every one is */
	void (*show)(const char *socket, const char *reply); /* for people; NULL: says nothing */
};

const struct arg command_balloon_args[] = {
	{.name = "target", .value = "SIZE", .help = "To how much, in place of PAGE_ADJUST"},
	{.name = "json", .help = "Print JSON"},
	{.name = "help", .letter = 'h', .help = "Print this text"},
	{.name = NULL},
};

static int write_line(struct plan *p, const char *command, struct err *e)
{
	size_t n = strlen(command);

	if (n >= LINE_ROOM)
		return err_say(e, EINVAL, "this is too long");
	memcpy(p->line, command, n + 1);
	return 0;
}

/* Appends key=value. */
static int write_option(struct plan *p, const char *key, const char *value, struct err *e)
{
	size_t head = strcspn(p->line, " ");

	if (strpbrk(value, "\n"))
		return err_say(e, EINVAL, "a line break has no place here");
	if (!p->line[head]) {
		if (head + 2 > LINE_ROOM)
			return err_say(e, EINVAL, "this is too long");
		p->line[head] = ' ';
		p->line[head + 1] = '\0';
	}
	head++;
	if (opt_append(p->line + head, LINE_ROOM - head, key, value) < 0)
		return err_say(e, EINVAL, "this is too long");
	return 0;
}

static int count_words(const struct plan *p, unsigned least, unsigned most, struct err *e)
{
	if (p->nwords < least)
		return err_say(e, EINVAL, "words are missing");
	if (p->nwords > most)
		return err_say(e, EINVAL, "\"%.100s\" is one word too many", p->words[most]);
	return 0;
}

static int plan_balloon(struct plan *p, struct err *e)
{
	const char *pages = p->nwords > 0 && !p->target ? p->words[0] : NULL;
	uint64_t n;
	int r = write_line(p, "balloon", e);

	if (r < 0)
		return r;
	if (!pages && !p->target)
		return err_say(e, EINVAL, "how much? a number of pages, or --target SIZE");
	if (pages && opt_number(pages + strspn(pages, "+-"), &n) < 0)
		return err_say(e, EINVAL,
			       "\"%.100s\": not a number of pages of 4096 bytes, as 256 or -256",
			       pages);
	p->first_socket = pages ? 1 : 0;
	p->nsockets = p->nwords - p->first_socket;
	return write_option(p, pages ? "pages" : "target", pages ? pages : p->target, e);
}

/* resize SOCKET NAME SIZE */
static int plan_disk(struct plan *p, struct err *e)
{
	int r = count_words(p, 4, 4, e);

	if (r == 0 && strcmp(p->words[0], "resize") != 0)
		return err_say(e, EINVAL, "\"%.100s\": a disk can only be told to resize",
			       p->words[0]);
	if (r == 0)
		r = write_line(p, "block-resize", e);
	if (r == 0)
		r = write_option(p, "name", p->words[2], e);
	if (r == 0)
		r = write_option(p, "size", p->words[3], e);
	p->first_socket = 1;
	p->nsockets = 1;
	return r;
}

/* SOCKET NAME [VALUE]: TYPE-command name=NAME, TYPE being NAME without its number. */
static int plan_device(struct plan *p, const char *command, unsigned least, struct err *e)
{
	char line[TYPE_MAX + 16];
	int r = count_words(p, least, 3, e);

	if (r < 0)
		return r;
	snprintf(line, sizeof(line), "%.*s-%s",
		 (int)min_size(strcspn(p->words[1], "0123456789"), TYPE_MAX), p->words[1], command);
	r = write_line(p, line, e);
	if (r == 0)
		r = write_option(p, "name", p->words[1], e);
	p->first_socket = 0;
	p->nsockets = 1;
	return r;
}

static int plan_link(struct plan *p, struct err *e)
{
	int r = plan_device(p, "link", 3, e);

	return r < 0 ? r : write_option(p, "state", p->words[2], e);
}

/* The options of a limit are the device's, and stay as they are; without any, all are lifted. */
static int plan_limit(struct plan *p, struct err *e)
{
	int r = plan_device(p, "limit", 2, e);
	size_t used = strlen(p->line);

	if (r < 0 || p->nwords == 2)
		return r;
	if (strchr(p->words[2], '\n') || used + 1 + strlen(p->words[2]) >= LINE_ROOM)
		return err_say(e, EINVAL, "\"%.100s\": not options", p->words[2]);
	snprintf(p->line + used, LINE_ROOM - used, ",%s", p->words[2]);
	return 0;
}

static void take_age(void *context, const char *path, const char *value)
{
	uint64_t ms;

	if (strcmp(path, "age_ms") == 0 && opt_number(value, &ms) == 0)
		*(bool *)context = ms < 1000;
}

/* Statistics that were told within the last second. */
static bool are_fresh(const char *reply)
{
	bool is_fresh = false;

	return json_read(reply, take_age, &is_fresh) < 0 || is_fresh;
}

static const struct request requests[] = {
	{"powerbtn"},
	{"suspend"},
	{"resume"},
	{"status", .show = show_status},
	{"balloon", .plan = plan_balloon, .show = show_balloon},
	{"balloon-stats", .is_final = are_fresh, .show = show_balloon_stats},
	{"disk", .plan = plan_disk},
	{"link", .plan = plan_link},
	{"limit", .plan = plan_limit},
	{.name = NULL},
};

static const struct request *find(const char *name)
{
	const struct request *r = requests;

	while (strcmp(r->name, name) != 0)
		r++;
	return r;
}

/* Asks until the reply is one to show; guests take a moment for statistics. */
static int ask_finally(const struct request *request, const char *socket, const char *line,
		       struct client_reply *ret, struct err *e)
{
	enum { TRIES = 20 };
	const struct timespec moment = {.tv_nsec = 50000000};

	for (int i = 0;; i++) {
		int r = client_ask(socket, line, ret, e);

		if (r < 0 || !ret->is_ok || !request->is_final || request->is_final(ret->text) ||
		    i == TRIES)
			return r;
		nanosleep(&moment, NULL);
	}
}

static int ask(const struct request *request, const char *socket, const char *line, bool as_json)
{
	static struct client_reply reply;
	struct err e = {0};

	if (ask_finally(request, socket, line, &reply, &e) < 0) {
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

static int take_word(void *context, const char *word, struct err *e)
{
	struct plan *p = context;

	if (p->nwords == WORDS_MAX)
		return err_say(e, E2BIG, "more than %d words", WORDS_MAX);
	p->words[p->nwords++] = word;
	return 0;
}

static int take_option(void *context, const struct args_item *item, struct err *e UNUSED)
{
	struct plan *p = context;

	if (item->value)
		p->target = item->value;
	else
		p->as_json = true;
	return 0;
}

/* Turns the words into a line and sockets. */
static int plan_make(void *context, struct err *e)
{
	struct plan *p = context;
	int r;

	if (p->request->plan) {
		r = p->request->plan(p, e);
	} else {
		p->nsockets = p->nwords;
		r = write_line(p, p->request->name, e);
	}
	if (r == 0 && p->nsockets == 0)
		r = err_say(e, EINVAL, "a socket is missing");
	if (r == 0)
		memcpy(p->line + strlen(p->line), "\n", sizeof("\n")); /* LINE_ROOM leaves room */
	return r;
}

static int request_main(const struct request *request, int argc, char **argv)
{
	static const struct command_reader reader = {take_option, take_word, plan_make};
	static struct plan p;
	int code;

	p = (struct plan){.request = request};
	code = command_read(request->name, argc, argv, &reader, &p);
	if (code != COMMAND_GOES_ON)
		return code;
	code = EXIT_CODE_OK;
	for (unsigned i = 0; i < p.nsockets; i++)
		if (ask(request, p.words[p.first_socket + i], p.line, p.as_json) != EXIT_CODE_OK)
			code = EXIT_CODE_ERROR;
	return code;
}

int command_powerbtn(int argc, char **argv)
{
	return request_main(find("powerbtn"), argc, argv);
}

int command_suspend(int argc, char **argv)
{
	return request_main(find("suspend"), argc, argv);
}

int command_resume(int argc, char **argv)
{
	return request_main(find("resume"), argc, argv);
}

int command_status(int argc, char **argv)
{
	return request_main(find("status"), argc, argv);
}

int command_balloon(int argc, char **argv)
{
	return request_main(find("balloon"), argc, argv);
}

int command_balloon_stats(int argc, char **argv)
{
	return request_main(find("balloon-stats"), argc, argv);
}

int command_disk(int argc, char **argv)
{
	return request_main(find("disk"), argc, argv);
}

int command_link(int argc, char **argv)
{
	return request_main(find("link"), argc, argv);
}

int command_limit(int argc, char **argv)
{
	return request_main(find("limit"), argc, argv);
}
