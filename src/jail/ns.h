/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ns.h - namespaces
 *
 * An ordinary user makes namespaces inside a user namespace.  All processes of one virtual machine
 * start in the same one, so that the empty mount and network namespaces made there once can be
 * joined by each; then each moves on into a user namespace of its own, from which it has no rights
 * over them.  For root the first of the two is the host's.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "jail/jail.h"

#include <stdbool.h>
#include <sys/types.h>

/* Into a new user namespace with the same ids and every capability in it; one thread only. */
int ns_user_enter(struct err *e) MUST_CHECK;

/* Into a new user namespace in which no id is mapped. */
int ns_user_seal(struct err *e) MUST_CHECK;

/* Into new, empty namespaces of the calling process's own. */
int ns_empty_enter(bool with_root, bool with_network, struct err *e) MUST_CHECK;

/* A process that makes an empty mount and an empty network namespace for others to join. */
struct ns_maker {
	pid_t pid;            /* 0: none */
	int told_fd, tell_fd; /* what came of it; fds are shared with it, so both ends stay */
};

/* Starts it; it takes 0.4 ms, during which there is other work to do. */
int ns_maker_start(struct ns_maker *m, struct err *e) MUST_CHECK;

/* Waits for it. */
int ns_maker_finish(struct ns_maker *m, struct jail_ns *ret_ns, struct err *e) MUST_CHECK;

/* Why the kernel refused a namespace, and what to do; returns -errnum. */
int ns_refused(struct err *e, int errnum, const char *what);
