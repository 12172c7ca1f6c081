/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_stop.c - crosvm stop: ends virtual machines, after their guests were asked if wanted
 *
 * All machines go through the steps together, so that a limit is one for the whole command:
 *
 *	1  with --ask, the power button of each is pressed
 *	2  those that were asked have until the limit to end
 *	3  the others, and those that did not listen or did not end, are told to end
 *	4  and are waited for
 */
#include "cli/command.h"

#include "base/exit_codes.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/opt.h"
#include "cli/client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
	MACHINES_MAX = 256,
	ASK_USUAL_S = 60,
	SECONDS_MAX = 86400,
};

/* No next word is taken for the value of --ask. */
static const struct opt no_keys[] = {OPT_END};

const struct arg command_stop_args[] = {
	{.name = "ask", .value = "SECONDS", .keys = no_keys,
	 .help = "Ask the guests first, which have so long to shut down (60)"},
	{.name = "timeout", .value = "SECONDS", .help = "How long to wait for the end (for ever)"},
	{.name = "json", .help = "Print JSON: each reply"},
	{.name = "help", .letter = 'h', .help = "Print this text"},
	{.name = NULL},
};

enum step { IS_RUNNING, IS_ASKED, IS_TOLD, IS_DONE };

struct ending {
	const char *name; /* or path of the socket, as the user gave it */
	int fd;           /* connected, unless it is done */
	enum step step;
};

struct stop {
	uint64_t ask_s; /* 0: the guests are not asked */
	uint64_t timeout_s; /* 0: no limit */
	bool as_json;
	struct ending machines[MACHINES_MAX];
	unsigned count;
	int code;
};

static uint64_t time_after(uint64_t seconds)
{
	return clock_ns() + seconds * UINT64_C(1000000000);
}

static void done(struct ending *m)
{
	fd_close(&m->fd);
	m->step = IS_DONE;
}

static void failed(struct stop *s, struct ending *m, const struct err *e)
{
	log_error("stop: %s: %s", m->name, e->text);
	s->code = EXIT_CODE_ERROR;
	done(m);
}

static void reach(struct stop *s, struct ending *m)
{
	struct err e = {0};

	m->fd = client_dial(m->name, &e);
	if (m->fd < 0)
		failed(s, m, &e);
}

/* Sends a line and returns the reply; NULL: there was none, which was told. */
static const struct client_reply *request(struct stop *s, struct ending *m, const char *line)
{
	static struct client_reply reply;
	struct err e = {0};

	if (client_ask_on(m->fd, line, &reply, &e) < 0) {
		failed(s, m, &e);
		return NULL;
	}
	if (s->as_json)
		puts(reply.text);
	return &reply;
}

static void press(struct stop *s, struct ending *m)
{
	const struct client_reply *reply = request(s, m, "powerbtn\n");

	if (reply && reply->is_ok)
		m->step = IS_ASKED;
	else if (reply)
		log_warn("%s: ended unasked: %s", m->name, reply->error);
}

static void tell(struct stop *s, struct ending *m)
{
	const struct client_reply *reply = request(s, m, "stop\n");

	if (!reply)
		return;
	m->step = IS_TOLD;
	if (!reply->is_ok) {
		log_error("%s: %s", m->name, reply->error);
		s->code = EXIT_CODE_ERROR;
		done(m);
	}
}

static void wait_for_guest(struct stop *s, struct ending *m, uint64_t end_ns)
{
	if (client_wait(m->name, &m->fd, end_ns) == 0) {
		done(m);
		return;
	}
	log_warn("%s: ended although the guest did not shut down within %" PRIu64 " s", m->name,
		 s->ask_s);
	m->step = IS_RUNNING;
}

static void wait_for_end(struct stop *s, struct ending *m, uint64_t end_ns)
{
	struct err e;

	if (client_wait(m->name, &m->fd, end_ns) == 0) {
		done(m);
		return;
	}
	err_say(&e, ETIMEDOUT, "not ended within %" PRIu64 " s; kill -KILL %d ends it at once",
		s->timeout_s, (int)client_pid(m->fd));
	failed(s, m, &e);
}

static int stop_all(struct stop *s)
{
	struct ending *end = s->machines + s->count;
	uint64_t end_ns;

	for (struct ending *m = s->machines; m < end; m++) {
		reach(s, m);
		if (m->step == IS_RUNNING && s->ask_s > 0)
			press(s, m);
	}
	end_ns = time_after(s->ask_s);
	for (struct ending *m = s->machines; m < end; m++)
		if (m->step == IS_ASKED)
			wait_for_guest(s, m, end_ns);
	for (struct ending *m = s->machines; m < end; m++)
		if (m->step == IS_RUNNING)
			tell(s, m);
	end_ns = s->timeout_s > 0 ? time_after(s->timeout_s) : UINT64_MAX;
	for (struct ending *m = s->machines; m < end; m++)
		if (m->step == IS_TOLD)
			wait_for_end(s, m, end_ns);
	return s->code;
}

static int take_seconds(const struct args_item *item, uint64_t least, uint64_t *ret, struct err *e)
{
	if (opt_number(item->value, ret) == 0 && *ret >= least && *ret <= SECONDS_MAX)
		return 0;
	return err_say(e, EINVAL, "--%s: \"%.100s\": not a number of seconds from %" PRIu64
				  " to %d", item->arg->name, item->value, least, SECONDS_MAX);
}

static int take_option(void *context, const struct args_item *item, struct err *e)
{
	struct stop *s = context;

	if (strcmp(item->arg->name, "json") == 0)
		s->as_json = true;
	else if (strcmp(item->arg->name, "timeout") == 0)
		return take_seconds(item, 1, &s->timeout_s, e);
	else if (item->value)
		return take_seconds(item, 0, &s->ask_s, e);
	else
		s->ask_s = ASK_USUAL_S;
	return 0;
}

static int take_word(void *context, const char *word, struct err *e)
{
	struct stop *s = context;

	if (s->count == MACHINES_MAX)
		return err_say(e, E2BIG, "more than %d words", MACHINES_MAX);
	s->machines[s->count++] = (struct ending){.name = word, .fd = -1};
	return 0;
}

static int check(void *context, struct err *e)
{
	return ((struct stop *)context)->count > 0 ? 0
						   : err_say(e, EINVAL, "a socket is missing");
}

int command_stop(int argc, char **argv)
{
	static const struct command_reader reader = {take_option, take_word, check};
	static struct stop s;
	int code;

	s = (struct stop){.code = EXIT_CODE_OK};
	code = command_read("stop", argc, argv, &reader, &s);
	return code == COMMAND_GOES_ON ? stop_all(&s) : code;
}
