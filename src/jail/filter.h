/* SPDX-License-Identifier: BSD-3-Clause */
/* filter.h - rules to a classic BPF program for seccomp */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "jail/rules.h"

#include <linux/filter.h>

/*
 * Numbers from here on kill the process at once in every filter, whatever refuses the others: the
 * x32 interface of x86_64 starts here, and jail.c dies by calling one.
 */
enum { FILTER_KILL_NUMBER = 0x40000000 };

struct filter {
	unsigned first;                        /* the program is insn[first] ... */
	struct sock_filter insn[BPF_MAXINSNS]; /* ... to the end */
};

enum filter_refusal {
	FILTER_KILL, /* SECCOMP_RET_KILL_PROCESS */
	FILTER_TRAP, /* SIGSYS with the number; the handler has to end the process */
};

/* On the heap; free() it.  NULL when there is no memory. */
struct filter *filter_new(void) MUST_CHECK;

/*
 * Compiles; sorts the rules.  refusal: what RULE_KILL does.  -E2BIG when the program would be
 * longer than BPF_MAXINSNS.
 */
int filter_build(struct filter *f, struct rules *r, enum filter_refusal refusal, struct err *e)
	MUST_CHECK;

static inline unsigned filter_length(const struct filter *f)
{
	return BPF_MAXINSNS - f->first;
}
