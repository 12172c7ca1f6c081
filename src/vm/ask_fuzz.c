/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ask_fuzz.c - a captured device at the other end of its control socket
 *
 * The input is a script, one byte a step: it asks, lets the device send what follows (length, then
 * bytes), cancels, or lets the device die and come back.  Every request ends exactly once, and what
 * passes as a reply is one line of JSON.
 */
#include "vm/ask.h"

#include "base/fd.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { QUESTIONS = 4, LONG_MS = 3600000 };

struct question {
	struct ask ask;
	bool is_open;
};

static struct loop loop;
static struct asks asks;
static struct question questions[QUESTIONS];
static int ours = -1, theirs = -1;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void done(struct ask *a, const char *reply, size_t n, const struct err *e)
{
	struct question *q = container_of(a, struct question, ask);

	require(q->is_open && !a->asks);
	q->is_open = false;
	if (!reply) {
		require(e->code > 0 && e->text[0]);
		for (const char *c = e->text; *c; c++)
			require((unsigned char)*c >= 0x20 && *c != 0x7f);
		return;
	}
	require(n == strlen(reply) && n <= ASK_REPLY_MAX);
	require(memcmp(reply, "{\"ok\":true", 10) == 0 && json_is_object(reply, ASK_DEPTH_MAX));
	require(!strchr(reply, '\n'));
}

static void settle(void)
{
	for (int i = 0; i < 3; i++)
		require(loop_once(&loop, 0) == 0);
}

static void revive(void)
{
	int pair[2];

	asks_detach(&asks);
	fd_close(&ours);
	fd_close(&theirs);
	require(fd_socketpair(SOCK_SEQPACKET, pair) == 0);
	ours = pair[0];
	theirs = pair[1];
	asks_attach(&asks, ours);
}

static void ask(struct question *q)
{
	if (q->is_open)
		return;
	q->is_open = true;
	q->ask.done = done;
	ask_send(&asks, &q->ask, "status", LONG_MS);
}

static void cancel(struct question *q)
{
	ask_cancel(&q->ask);
	q->is_open = false;
}

/* The device sends the next bytes of the input; returns how many were used. */
static size_t say(const uint8_t *data, size_t n)
{
	size_t length = n < 2 ? 0 : (size_t)data[0] << 8 | data[1];
	size_t skipped = n < 2 ? n : 2;

	if (length > n - skipped)
		length = n - skipped;
	if (length > 0 && theirs >= 0) /* a full socket is the device's own trouble */
		(void)!send(theirs, data + skipped, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	return skipped + length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	require(loop_init(&loop) == 0 && asks_init(&asks, &loop, "lamp0") == 0);
	memset(questions, 0, sizeof(questions));
	revive();
	for (size_t i = 0; i < n;) {
		uint8_t step = data[i++];
		struct question *q = &questions[step / 8 % QUESTIONS];

		if (step % 8 < 3)
			ask(q);
		else if (step % 8 < 6)
			i += say(data + i, n - i);
		else if (step % 8 == 6)
			cancel(q);
		else if (step == 7)
			fd_close(&theirs);
		else
			revive();
		settle();
	}
	asks_fini(&asks);
	for (size_t i = 0; i < QUESTIONS; i++)
		require(!questions[i].ask.asks);
	fd_close(&ours);
	fd_close(&theirs);
	loop_fini(&loop);
	return 0;
}
