/* SPDX-License-Identifier: BSD-3-Clause */
/* listen.h - UNIX sockets that listen at a path */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <sys/types.h>

/*
 * A non-blocking stream socket that listens at path, or -errno.  A socket that nobody listens on is
 * replaced; one with a listener, or a file that is no socket, is an error, and -EBUSY a directory
 * that somebody keeps locked.  The file gets mode less the umask; removing it is up to the caller.
 */
int listen_at(const char *path, int backlog, mode_t mode, struct err *e) MUST_CHECK;

/* Removes the socket at path if nobody listens on it any more, and this user may. */
void listen_stale_remove(const char *path);
