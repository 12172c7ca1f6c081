/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shared.h - memory that two processes have: what a device process counts, and main reads
 *
 * One file for each process that shares, and not parts of one file: whoever maps a part of a file
 * can reach the rest of it by mremap(), or by the descriptor while that is open.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>

struct shared {
	void *at; /* NULL: none */
	size_t bytes;
	int fd; /* to hand on, close-on-exec; -1 for none */
};

/* Before anything else, or when there is nothing. */
static inline void shared_clear(struct shared *s)
{
	*s = (struct shared){.fd = -1};
}

/* A new memory file, zeroed and of fixed size, mapped; name is what /proc shows. 0 or -errno. */
int shared_new(struct shared *s, const char *name, size_t bytes, struct err *e) MUST_CHECK;

/*
 * In the other process: maps what was handed over and closes the descriptor, also on failure, so
 * that no more can ever be mapped. s->fd is -1.
 */
int shared_map_take(struct shared *s, int fd, size_t bytes, struct err *e) MUST_CHECK;

/* Unmaps and closes; twice is fine. */
void shared_fini(struct shared *s);
