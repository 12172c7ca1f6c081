/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * leftover.h - files that must not outlive the process: sockets, links to pseudoterminals
 *
 * State of the whole process, because signal handlers and a process forked from this one remove
 * them too: whoever still may when the end comes.  A file is removed only while it is the one that
 * was registered, and through its directory, so that a change of root does not matter.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>

enum { LEFTOVERS_MAX = 32, LEFTOVER_NAME_MAX = 108 };

/*
 * Registers the file that is at path now.  -ENOSPC when there are too many, else errno; then it is
 * removed at once.
 */
int leftover_add(const char *path, struct err *e) MUST_CHECK;

/*
 * Removes them all, once, with a warning for one that stays; async-signal-safe.  What is not there
 * any more is no error.
 */
void leftovers_remove(void);

/* Forgets them without removing; for a child that is not the one to do it. */
void leftovers_forget(void);

/* The lowest fd, of those that are kept for this, from that number on; -1: none. */
int leftover_fd_from(int first);
