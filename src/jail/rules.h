/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rules.h - what may be called, for one architecture: between lists or policy files and filters
 *
 * A rule is a call and its alternatives; an alternative is a chain of conditions that must all
 * hold.
 *
 *  R1  A call has at most one rule.
 *  R2  A rule without conditions always does what `met` says; one with conditions does `met` if an
 *      alternative holds and `otherwise` if none does.
 *  R3  Conditions of a rule are linked in order; `last` marks the end of an alternative.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "jail/names.h"
#include "jail/seccomp.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	RULES_MAX = 512,        /* more than there are system calls */
	RULES_CONDS_MAX = 1024, /* about four instructions each; a filter has 4096 */
	RULE_NO_COND = -1,
	RULE_KILL = -1,         /* outcome: the process dies */
	RULE_ALLOW = -2,        /* outcome: the call is made; 0 and above: it returns that errno */
	RULE_ERRNO_MAX = 4095,
};

struct rule_cond {
	struct call_cond test;
	bool last;
	int16_t next; /* index in conds, RULE_NO_COND at the rule's end */
};

struct rule {
	int16_t number; /* of the call */
	int16_t first;  /* index in conds or RULE_NO_COND */
	int16_t met, otherwise;
	unsigned line; /* where a policy file says it; 0 for lists */
};

struct rules {
	call_arch arch;
	unsigned count, nconds;
	struct rule rule[RULES_MAX];
	struct rule_cond cond[RULES_CONDS_MAX];
};

/* Empty rules on the heap; free() them.  NULL when there is no memory. */
struct rules *rules_new(call_arch arch) MUST_CHECK;

struct rule *rules_find(struct rules *r, int number);

/* A new rule that allows; NULL when there are too many.  The number must have none yet. */
struct rule *rules_add(struct rules *r, int number);

/* One more condition at the rule's end. false when there are too many. */
bool rules_cond_add(struct rules *r, struct rule *rule, struct call_cond test, bool last)
	MUST_CHECK;

/*
 * The rows of a list, added to what is there.  Rows with a name seen before widen that rule.
 * -EINVAL for a name that no architecture knows, -E2BIG when there is no room.
 */
int rules_calls_add(struct rules *r, const struct call *calls, struct err *e) MUST_CHECK;

/* Sorts by number; invalidates pointers to rules. */
void rules_sort(struct rules *r);
