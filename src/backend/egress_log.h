/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * egress_log.h - a file that says which packets were refused
 *
 *	1763830000.123 net0: tcp 10.0.2.15:40000 > 192.0.2.1:22: no rule allows it
 *
 * One line a packet, time in seconds since 1970; at most EGRESS_LOG_RATE a second on average, and
 * what was left out is counted in the next line.  The file is appended to, up to
 * EGRESS_LOG_BYTES_MAX in all.  It may be a terminal or a FIFO: who does not read gets fewer lines.
 */
#pragma once

#include "backend/bucket.h"
#include "backend/egress.h"

enum {
	EGRESS_LOG_RATE = 10,
	EGRESS_LOG_BURST_MS = 5000,
	EGRESS_LOG_BYTES_MAX = 8 << 20, /* below what the jail lets a file grow to */
};

struct egress_log {
	int fd; /* -1: none */
	const char *name;
	uint64_t room; /* bytes that may still be written */
	uint64_t left_out;
	struct bucket lines;
};

/* Before the jail.  path NULL: no log.  name is kept, not copied. */
int egress_log_open(struct egress_log *l, const char *path, const char *name, struct err *e)
	MUST_CHECK;
void egress_log_close(struct egress_log *l);

void egress_log_refused(struct egress_log *l, const struct egress_packet *p,
			enum egress_verdict verdict);
