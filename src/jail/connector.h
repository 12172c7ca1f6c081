/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * connector.h - connects to UNIX sockets for a process that has jailed itself
 *
 * A jailed process sees no path, yet virtual sockets reach host programs by name: guest port P is
 * the socket PREFIX_P.  So before its jail the process forks one that keeps the user's view of the
 * files and knows PREFIX.  It is sent a number, nothing else, connects to PREFIX_number and
 * answers with the connected socket.  A captured asker can name what a guest could have named, and
 * nothing besides.
 *
 * The connector has no memory in common with anybody, no other fd than its end of the socket pair,
 * no capability but root's to pass file permissions, and a filter of seven calls.  It ends when the
 * asker closes its end or dies.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stdint.h>

struct connector {
	int sock; /* -1: none; readable when there is an answer */
};

/* Bytes that "_4294967295" adds to the prefix. */
enum { CONNECTOR_SUFFIX_MAX = 11 };

/* Forks it; call before the jail.  -ENAMETOOLONG when a socket's name could not be so long. */
int connector_start(struct connector *c, const char *prefix, struct err *e) MUST_CHECK;
void connector_stop(struct connector *c);

/* Asks for a connection to PREFIX_number; one answer will come for each.  Never waits. */
int connector_ask(struct connector *c, uint32_t number) MUST_CHECK;

/*
 * Takes one answer.  0 with *ret_error 0 and *ret_fd a non-blocking stream socket of the caller's,
 * or with *ret_error an errno and *ret_fd -1.  -EAGAIN: none yet; other: the connector is no more.
 */
int connector_answer(struct connector *c, int *ret_fd, int *ret_error) MUST_CHECK;
