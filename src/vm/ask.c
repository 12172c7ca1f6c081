/* SPDX-License-Identifier: BSD-3-Clause */
/* ask.c - commands to a device process, without waiting; ask.h has the rules */
#include "vm/ask.h"

#include "base/json.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { MS_NS = 1000000 };

/* Takes it off the list; its owner is free to ask again. */
static void unlink_ask(struct ask *a)
{
	struct asks *q = a->asks;
	struct ask **at = &q->first;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	if (q->answered == a)
		q->answered = NULL;
	a->asks = NULL;
	a->next = NULL;
}

static void fail(struct ask *a, int errnum, const char *why)
{
	const char *name = a->asks->name;
	struct err e;

	err_say(&e, errnum, "%s: %s", name, why);
	unlink_ask(a);
	a->done(a, NULL, 0, &e);
}

/* The timer runs out with the first request whose time is over. */
static void arm(struct asks *q)
{
	uint64_t first = UINT64_MAX, now;

	for (const struct ask *a = q->first; a; a = a->next)
		if (a->until_ns < first)
			first = a->until_ns;
	if (first == UINT64_MAX) {
		timer_set(&q->timer, 0, 0);
		return;
	}
	now = clock_ns();
	timer_set(&q->timer, first > now ? first - now : 1, 0);
}

/* Sends the first request, if it may (I1). */
static void pump(struct asks *q)
{
	if (q->is_owed || q->watch.fd < 0 || !q->first)
		return;
	q->answered = q->first;
	q->is_owed = true;
	q->lasting[0] = '\0';
	if (q->first->lasts) {
		assert(strlen(q->first->text) < sizeof(q->lasting));
		memcpy(q->lasting, q->first->text, strlen(q->first->text) + 1);
	}
	/* What fails here is seen as a hang-up, or as an answer that does not come. */
	if (loop_add(q->loop, &q->watch, EPOLLIN) < 0)
		return;
	send(q->watch.fd, q->first->text, strlen(q->first->text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The answer to the request that was sent has come, or will not come any more. */
static struct ask *settle(struct asks *q)
{
	struct ask *a = q->answered;

	if (q->is_owed)
		loop_remove(q->loop, &q->watch);
	q->is_owed = false;
	q->answered = NULL;
	return a;
}

struct verdict {
	bool is_refusal;
	char error[JSON_TEXT_MAX];
};

static void take_verdict(void *context, const char *path, const char *value)
{
	struct verdict *v = context;

	if (strcmp(path, "ok") == 0)
		v->is_refusal = strcmp(value, "false") == 0;
	else if (strcmp(path, "error") == 0)
		snprintf(v->error, sizeof(v->error), "%s", value);
}

/* A terminal will show it: what was escaped in the JSON must not be a control character. */
static void make_plain(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

/* buf[n] is 0. */
static int check_reply(const char *name, const char *buf, size_t n, struct err *e)
{
	static const char good[] = "{\"ok\":true";
	struct verdict v = {0};

	if (n > ASK_REPLY_MAX)
		return err_say(e, EMSGSIZE, "%s: its answer is too long", name);
	if (memchr(buf, '\0', n) || !json_is_object(buf, ASK_DEPTH_MAX))
		return err_say(e, EPROTO, "%s: its answer is no JSON object", name);
	if (strncmp(buf, good, strlen(good)) == 0 && strchr(",}", buf[strlen(good)]))
		return 0;
	if (json_read(buf, take_verdict, &v) < 0 || !v.is_refusal || !v.error[0])
		return err_say(e, EPROTO, "%s: its answer says neither yes nor no", name);
	make_plain(v.error);
	return err_say(e, EIO, "%s: %s", name, v.error);
}

static void hang_up(struct asks *q, const char *why)
{
	struct ask *a = settle(q);

	q->watch.fd = -1;
	if (a)
		fail(a, EPIPE, why);
	arm(q);
}

static void answer_ready(struct watch *w, uint32_t events)
{
	struct asks *q = container_of(w, struct asks, watch);
	char buf[ASK_REPLY_MAX + 1];
	ssize_t n = recv(w->fd, buf, ASK_REPLY_MAX, MSG_DONTWAIT | MSG_TRUNC);
	struct err e = {0};
	struct ask *a;
	int r;

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		hang_up(q, "it ended before it answered");
		return;
	}
	a = settle(q);
	buf[n > ASK_REPLY_MAX ? ASK_REPLY_MAX : n] = '\0';
	r = check_reply(q->name, buf, (size_t)n, &e);
	if (r == 0 && q->lasting[0])
		asks_keep(q, q->lasting);
	if (a) {
		unlink_ask(a);
		a->done(a, r < 0 ? NULL : buf, r < 0 ? 0 : (size_t)n, &e);
	}
	pump(q);
	arm(q);
}

static void time_is_over(struct timer *t)
{
	struct asks *q = container_of(t, struct asks, timer);
	uint64_t now = clock_ns();
	struct ask *a = q->first;

	while (a) {
		bool is_over = a->until_ns <= now;

		if (is_over)
			fail(a, ETIMEDOUT, "no answer");
		a = is_over ? q->first : a->next; /* done() may have changed the list */
	}
	arm(q);
}

/* ---- what outlives a process ---- */

static void repeat(struct asks *q);

static void repeated(struct ask *a, const char *reply, size_t n, const struct err *e)
{
	struct asks *q = container_of(a, struct asks, repeat);

	(void)n;
	if (!reply && e->code == EPIPE)
		return; /* it died again */
	if (!reply)
		log_warn("%s; what it was told before is lost: %s", e->text, q->kept[q->repeated]);
	q->repeated++;
	repeat(q);
}

/*
 * Puts the next kept command to the process, before all who wait.  Without a limit: a process that
 * is slow on a busy host is held to what holds for it, and those who wait have limits of their own.
 */
static void repeat(struct asks *q)
{
	if (q->repeated >= q->nkept)
		return;
	q->repeat = (struct ask){
		.done = repeated,
		.asks = q,
		.next = q->first,
		.text = q->kept[q->repeated],
		.until_ns = UINT64_MAX,
	};
	q->first = &q->repeat;
}

void asks_keep(struct asks *q, const char *text)
{
	const size_t n = strlen(text), word = strcspn(text, " ");
	unsigned i = 0;

	assert(n < ASK_KEPT_BYTES);
	while (i < q->nkept && (strncmp(q->kept[i], text, word) != 0 ||
				strcspn(q->kept[i], " ") != word))
		i++;
	assert(i < ASK_KEPT_MAX);
	memcpy(q->kept[i], text, n + 1);
	if (i == q->nkept)
		q->nkept++;
}

int asks_init(struct asks *q, struct loop *l, const char *name)
{
	*q = (struct asks){.loop = l,
			   .name = name,
			   .watch = {.fd = -1, .ready = answer_ready},
			   .timer.watch.fd = -1};
	return timer_init(&q->timer, l, time_is_over);
}

void asks_fini(struct asks *q)
{
	if (!q || !q->loop)
		return;
	settle(q);
	while (q->first)
		unlink_ask(q->first);
	timer_fini(&q->timer, q->loop);
	q->loop = NULL;
}

void asks_attach(struct asks *q, int sock)
{
	assert(q->watch.fd < 0);
	q->watch.fd = sock;
	ask_cancel(&q->repeat);
	q->repeated = 0;
	repeat(q);
	pump(q);
	arm(q);
}

void asks_detach(struct asks *q)
{
	if (q->watch.fd >= 0)
		hang_up(q, "it ended before it answered");
}

bool asks_is_alive(const struct asks *q)
{
	return q->watch.fd >= 0 && (!q->is_owed || q->answered);
}

void ask_send(struct asks *q, struct ask *a, const char *text, unsigned limit_ms)
{
	struct ask **at = &q->first;

	assert(!a->asks && a->done);
	while (*at)
		at = &(*at)->next;
	*at = a;
	a->asks = q;
	a->next = NULL;
	a->text = text;
	a->until_ns = clock_ns() + (uint64_t)limit_ms * MS_NS;
	pump(q);
	arm(q);
}

void ask_cancel(struct ask *a)
{
	struct asks *q = a->asks;

	if (!q)
		return;
	unlink_ask(a);
	arm(q);
}
