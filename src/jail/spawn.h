/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * spawn.h - start a child that is ourselves, with numbered fds, in namespaces of its own
 *
 *	struct spawner s;			once, while the process has one thread
 *	spawner_init(&s, &e);
 *	spawner_begin(&s);
 *	spawn_start(&s, &args, &child, &e);	for each child; they work side by side
 *	... loop_add(child.pidfd) ...
 *	spawn_reap(&child, &end);		when pidfd is readable
 *
 * A child is the first process of its PID namespace and dies with the thread that started it.  It
 * sees stdin as /dev/null, stdout and stderr as spawn_args says, the fds it was given at the
 * numbers it was given them, those named SPAWN_FD_ below, and no others; no signal is blocked, none
 * has a handler.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "jail/jail.h"
#include "jail/ns.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum {
	SPAWN_FD_FIRST = 3,   /* the first number for the caller's use */
	SPAWN_FD_LAST = 59,   /* and the last */
	SPAWN_FD_REPORT = 60, /* jail_config.report_fd of the child */
	SPAWN_FD_NS = 61,     /* jail_ns_spawned */
	SPAWN_FDS_MAX = SPAWN_FD_LAST - SPAWN_FD_FIRST + 1,
};

struct spawner {
	int null_fd;       /* /dev/null */
	int self_fd;       /* a pidfd of the process whose children they are */
	struct jail_ns ns; /* shared by all children */
	struct ns_maker maker;
	bool is_root;    /* children keep their rights over exec without help */
	int clone_flags; /* for jail/respawn.c */
};

struct spawn_fd {
	int fd;     /* in this process; borrowed */
	int number; /* in the child; SPAWN_FD_FIRST to SPAWN_FD_LAST, each once */
};

struct spawn_args {
	const char *name;   /* "block0", for messages */
	const char *source; /* where its list of calls is, "src/devices/block.c"; or NULL */
	char *const *argv;  /* ends with NULL; argv[0] is what ps shows */
	const struct spawn_fd *fds;
	size_t nfds; /* at most SPAWN_FDS_MAX */
	int log_fd;  /* its stdout and stderr; 0: as our stderr.  The same number in respawn.h */

	/*
	 * In the caller's process group, as whoever reads from the terminal has to be; told of its
	 * size by SIGWINCH.  What else the terminal sends is lost on the first process of a PID
	 * namespace.  The others have groups of their own.
	 */
	bool is_foreground;
};

struct child {
	const char *name, *source; /* borrowed from spawn_args */
	pid_t pid;
	int pidfd;     /* readable when the child has ended */
	int report_fd; /* what its jail has to say at its end */
};

enum spawn_end_kind { SPAWN_EXITED, SPAWN_SIGNALLED, SPAWN_FILTERED };

struct spawn_end {
	enum spawn_end_kind kind;
	int code; /* exit code, signal or system call number; -1 for a call that is not known */
	char text[256]; /* "killed by signal 9 (KILL)"; no name in front, no newline */
};

/*
 * An ordinary user's process moves into a user namespace of its own, with the same ids, in which it
 * may make the others; it keeps its access to files and devices.  Call before there are threads.
 * Where the host forbids this, *e says what to change.
 */
int spawner_init(struct spawner *s, struct err *e) MUST_CHECK;

/*
 * Has a process on the side make the empty namespaces.  Once, in this process or in one that was
 * forked from it; respawn_init() does.
 */
void spawner_begin(struct spawner *s);

/* Waits for the empty namespaces; children wait by themselves, and end if there are none. */
int spawner_finish(struct spawner *s, struct err *e) MUST_CHECK;
void spawner_fini(struct spawner *s);

/*
 * Waits until the child has been exec'ed, no longer; one that cannot be ends, and spawn_reap() says
 * why.  *ret_child is written only on success.  Of one thread only.
 */
int spawn_start(struct spawner *s, const struct spawn_args *args, struct child *ret_child,
		struct err *e) MUST_CHECK;

/*
 * Collects a child that has ended, says how and closes its fds.  -EAGAIN while it lives, else 0 or
 * -errno.
 */
int spawn_reap(struct child *c, struct spawn_end *ret_end) MUST_CHECK;

/*
 * Kills with SIGKILL and collects.  Does nothing to a child that was never started or was reaped,
 * or that may not be killed: one that is not jailed yet, by a jailed process that was root.  Such a
 * child dies with us.
 */
void spawn_kill(struct child *c);

/* Lets it end by itself for so long, then kills; else like spawn_kill(). */
void spawn_dismiss(struct child *c, unsigned wait_ms);

/* Waits for its end and collects it without a word. */
void spawn_wait(struct child *c);
