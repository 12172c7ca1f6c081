/* SPDX-License-Identifier: BSD-3-Clause */
/* filter_run.h - runs a filter as the kernel does, and its rules; for tests and fuzz targets */
#pragma once

#include "jail/filter.h"
#include "jail/rules.h"

#include <assert.h>
#include <linux/seccomp.h>
#include <string.h>

static inline bool filter_jumps(const struct sock_filter *in, uint32_t a)
{
	switch (BPF_OP(in->code)) {
	case BPF_JEQ:
		return a == in->k;
	case BPF_JGT:
		return a > in->k;
	case BPF_JGE:
		return a >= in->k;
	case BPF_JSET:
		return (a & in->k) != 0;
	default:
		assert(false && "an instruction that filters do not have");
		return false;
	}
}

/* The value the program returns; asserts what the kernel would refuse to load. */
static inline uint32_t filter_run(const struct filter *f, const struct seccomp_data *data)
{
	uint32_t a = 0;
	unsigned at = f->first;

	while (at < BPF_MAXINSNS) {
		const struct sock_filter *in = &f->insn[at++];

		switch (BPF_CLASS(in->code)) {
		case BPF_RET:
			return in->k;
		case BPF_LD:
			assert(in->k % 4 == 0 && in->k < sizeof(*data));
			memcpy(&a, (const char *)data + in->k, sizeof(a));
			break;
		case BPF_JMP:
			if (BPF_OP(in->code) == BPF_JA)
				at += in->k;
			else
				at += filter_jumps(in, a) ? in->jt : in->jf;
			break;
		default:
			assert(false && "an instruction that filters do not have");
		}
	}
	assert(false && "the program has no end");
	return 0;
}

static inline bool cond_holds(const struct call_cond *c, uint64_t arg)
{
	switch ((enum call_test)c->test) {
	case CALL_TEST_NONE:
		return true;
	case CALL_TEST_EQ:
		return arg == c->value;
	case CALL_TEST_NE:
		return arg != c->value;
	case CALL_TEST_LT:
		return arg < c->value;
	case CALL_TEST_LE:
		return arg <= c->value;
	case CALL_TEST_GT:
		return arg > c->value;
	case CALL_TEST_GE:
		return arg >= c->value;
	case CALL_TEST_ANY:
		return (arg & c->value) != 0;
	case CALL_TEST_IN:
		return (arg & ~c->value) == 0;
	}
	return false;
}

/* What happens to a call, by the rules themselves: the reference for filters. */
static inline int rules_outcome(const struct rules *r, int number, const uint64_t args[6])
{
	const struct rule *rule = NULL;
	bool holds = true;

	for (unsigned i = 0; i < r->count && !rule; i++) {
		if (r->rule[i].number == number)
			rule = &r->rule[i];
	}
	if (!rule)
		return RULE_KILL;
	if (rule->first == RULE_NO_COND)
		return rule->met;
	for (int i = rule->first; i != RULE_NO_COND; i = r->cond[i].next) {
		holds = holds && cond_holds(&r->cond[i].test, args[r->cond[i].test.arg]);
		if (!r->cond[i].last)
			continue;
		if (holds)
			return rule->met;
		holds = true;
	}
	return rule->otherwise;
}

/* The program's answer as rules_outcome() gives it; refusals of both kinds are RULE_KILL. */
static inline int filter_outcome(const struct filter *f, call_arch arch, int number,
				 const uint64_t args[6])
{
	struct seccomp_data data = {.nr = number, .arch = names_arch_token(arch)};
	uint32_t action;

	memcpy(data.args, args, sizeof(data.args));
	action = filter_run(f, &data);
	if (action == SECCOMP_RET_ALLOW)
		return RULE_ALLOW;
	if ((action & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO)
		return (int)(action & SECCOMP_RET_DATA);
	return RULE_KILL;
}
