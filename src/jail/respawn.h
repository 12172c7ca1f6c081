/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * respawn.h - starts children for a process that has jailed itself
 *
 * A jailed main process has neither exec nor paths, yet a device that died must be started again.
 * So before its jail it forks a process that keeps both and knows a fixed table of children; main
 * names a row and passes the fds.  A captured main process can start what was configured and
 * nothing else.  The children are main's own: it reaps them, and they die with it.  It starts them
 * the first time, too, while main goes on with other things.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "jail/spawn.h"

#include <stdbool.h>

/* What the process still does when main is gone, for whatever reason. */
struct respawn_end {
	void (*run)(void *context);
	void *context;  /* as it was at respawn_init(), but for memory that is shared */
	const int *fds; /* nfds of them that it keeps open for this */
	size_t nfds;
};

/* Something else that takes paths, done as often as main asks for it. */
struct respawn_errand {
	bool (*run)(void *context); /* false: to be tried again in a second */
	void *context;              /* as it was at respawn_init(), but for memory that is shared */
	int fd;                     /* that it keeps open for this */
};

struct respawn {
	int sock;
	struct child server;
	const struct spawn_args *table;
	size_t count;
	const struct respawn_end *end;       /* or NULL */
	const struct respawn_errand *errand; /* or NULL */
};

/*
 * Forks the process, which begins with s; without (NULL) it starts nothing, and is there for the
 * end alone.  Of the table's fds it uses the numbers only; the table must outlive r, and so must
 * end and errand, which may be NULL.  Call while there is one thread and before guest memory is
 * mapped, or its mapping is copied.
 */
int respawn_init(struct respawn *r, struct spawner *s, const struct spawn_args *table, size_t count,
		 const struct respawn_end *end, const struct respawn_errand *errand, struct err *e)
	MUST_CHECK;
void respawn_fini(struct respawn *r);

/*
 * As spawn_start() of row index with fds[i] at the number of the row's i-th fd (at most
 * FD_PASS_MAX).  Each is answered, in order, by one respawn_answer() with the same index, which
 * waits at most ten seconds.
 */
int respawn_ask(struct respawn *r, size_t index, const int *fds, struct err *e) MUST_CHECK;
int respawn_answer(struct respawn *r, size_t index, struct child *ret_child, struct err *e)
	MUST_CHECK;

/* Has the errand done.  From any thread; waits for nothing, and there is no answer. */
void respawn_errand_ask(const struct respawn *r);
