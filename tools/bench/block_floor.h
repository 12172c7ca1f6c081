/* SPDX-License-Identifier: BSD-3-Clause */
/* block_floor.h - the bare loop in a process of its own; see block_floor.c */
#pragma once

#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/types.h>

enum { FLOOR_SLOTS = 64 }; /* at most so many requests in flight */

struct floor_entry {
	uint32_t slot;      /* the driver's */
	uint32_t bytes;
	uint64_t offset;    /* in the file */
	uint64_t memory_at; /* in the memory */
	int32_t result;     /* of those that come back */
};

struct floor {
	struct floor_shared *shared;
	int kick, call;
	uint32_t sent, seen;
	pid_t pid;
};

/* Starts the child, which reads from fd into memory, which is shared. */
void floor_open(struct floor *f, int fd, char *memory);
void floor_close(struct floor *f);

void floor_submit(struct floor *f, const struct floor_entry *e, unsigned n);

/* Waits for at least one; e has room for FLOOR_SLOTS. */
unsigned floor_reap(struct floor *f, struct floor_entry *e);
