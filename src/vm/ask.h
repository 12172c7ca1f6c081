/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ask.h - commands to a device process, without waiting
 *
 * One struct asks per device holds its control socket (docs/control.md) and the requests that wait
 * for it; a request is a member of whoever asks.  Device processes are presumed captured:
 *
 *  I1  The device owes at most one answer; the next request is sent when that has come.  So nothing
 *      that it does not read can pile up, and an answer belongs to the request before it.
 *  I2  Every request of others has a time limit, also while it waits for others.  One whose time
 *      is over is answered with an error, and the answer that comes later is dropped.
 *  I3  The socket is listened to only while an answer is owed: a device that sends without being
 *      asked costs nothing.
 *  I4  done() is called exactly once for each ask_send(), never from inside it,
 *      unless ask_cancel() came first.
 *
 * When the process ends, the request that it owed an answer to fails; those that wait are put to
 * the next process, if it comes before their time is over.  Before them it is told, without a time
 * limit, what is kept of commands that last: a limit or a cable that was pulled outlives the
 * process.  What the device has done is kept even when whoever asked has not waited for the answer.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ASK_REPLY_MAX = 4096, /* bytes of a device's reply; longer ones are errors */
	ASK_DEPTH_MAX = 4,    /* levels of its JSON */
	ASK_LIMIT_MS = 1000,  /* for commands of an operator */
	ASK_KEPT_MAX = 4,     /* different commands that outlive a process */
	ASK_KEPT_BYTES = 256, /* of one, with its end */
};

struct asks;

struct ask {
	/*
	 * reply is one line of JSON, an object of n bytes that begins with {"ok":true and nests at
	 * most ASK_DEPTH_MAX levels; NULL: *e says what went wrong.  Both are valid until return.
	 * A reply is no more than a claim.
	 */
	void (*done)(struct ask *a, const char *reply, size_t n, const struct err *e);
	bool lasts; /* done once, it is asks_keep()'s; then shorter than ASK_KEPT_BYTES */

	/* Private. */
	struct asks *asks; /* NULL: not asked */
	struct ask *next;
	const char *text;
	uint64_t until_ns;
};

struct asks {
	struct loop *loop;
	const char *name;   /* "block0" */
	struct watch watch; /* our end of the socket, borrowed; -1: no process */
	struct timer timer;
	struct ask *first;    /* in the order of asking */
	struct ask *answered; /* the request that was sent, and is answered next; NULL: given up */
	bool is_owed;
	char lasting[ASK_KEPT_BYTES]; /* what was sent, if it lasts; else "" */
	struct ask repeat; /* of kept[repeated] */
	unsigned nkept, repeated;
	char kept[ASK_KEPT_MAX][ASK_KEPT_BYTES];
};

/* name is kept, not copied. 0 or -errno. */
int asks_init(struct asks *q, struct loop *l, const char *name) MUST_CHECK;

/* No done() is called any more. Takes NULL, and what was only zeroed. */
void asks_fini(struct asks *q);

/* A process is there, its socket borrowed until asks_detach(). */
void asks_attach(struct asks *q, int sock);

/* It is gone. */
void asks_detach(struct asks *q);

/* Whether an answer can be expected: a process is there, and answered so far within the limits. */
bool asks_is_alive(const struct asks *q);

/*
 * Puts a line without its newline, at most 4096 bytes, to the device.  text must stay until done().
 * Without a process it waits for one.
 */
void ask_send(struct asks *q, struct ask *a, const char *text, unsigned limit_ms);

/*
 * The device did what text says, shorter than ASK_KEPT_BYTES, and the next process is to do it
 * too.  It takes the place of what was kept of the same command, the word in front.
 */
void asks_keep(struct asks *q, const char *text);

/* Forgets the request, in whatever state it is. */
void ask_cancel(struct ask *a);
