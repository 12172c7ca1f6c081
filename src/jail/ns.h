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

/*
 * A process that makes an empty mount and an empty network namespace for others to join.  It leaves
 * both in a socket, as a packet that all peek at and nobody takes, so nobody needs to know who will
 * come: children of any age, and the process that starts them, hold the socket's other end.
 */
struct ns_maker {
	pid_t pid; /* 0: none of ours */
	int fd;    /* its end of the socket, until it is started; -1: none */
};

/* Makes the socket. */
int ns_maker_init(struct ns_maker *m, struct jail_ns *ret_ns, struct err *e) MUST_CHECK;

/*
 * Starts the process, of this one or of one forked from it; it takes 0.6 ms.  A failure is left in
 * the socket, like any other.
 */
void ns_maker_start(struct ns_maker *m);

/* Waits for the namespaces, whoever started their maker, and says what went wrong. */
int ns_maker_finish(struct ns_maker *m, const struct jail_ns *ns, struct err *e) MUST_CHECK;
void ns_maker_fini(struct ns_maker *m);

/*
 * Waits until they are made, and enters those that are wanted.  Where none could be made the
 * process ends without a word: whoever started the maker has the reason, and says it once.
 */
int ns_made_join(const struct jail_ns *ns, bool with_root, bool with_network, struct err *e)
	MUST_CHECK;

/* Why the kernel refused a namespace, and what to do; returns -errnum. */
int ns_refused(struct err *e, int errnum, const char *what);
