/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * filter.c - rules to a classic BPF program for seccomp
 *
 * The program checks the architecture, then finds the call's number by binary search over ranges of
 * numbers with the same outcome, so that a call costs about eight steps however long the list is;
 * the kernel besides remembers calls that are allowed without a look at arguments.
 *
 * BPF jumps forward only, at most 255 instructions if conditional.  So the program is written from
 * its end to its beginning: every target is there before the jump to it is, and where one is too
 * far away a longer jump is put in between.
 *
 *  F1  A label is an index in insn; labels only shrink: first <= every label.
 *  F2  A load falls through to the jump that was written just before it.
 *  F3  Once full, nothing more is written and labels have no meaning; filter_build() then fails.
 *
 * Arguments have 64 bits and the machine 32: they are compared high half first.
 */
#include "jail/filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>

enum { JUMP_MAX = 255, TRAMPOLINES_MAX = 2, SEGMENTS_MAX = 2 * RULES_MAX + 1 };

typedef unsigned label;

struct target {
	uint32_t action;
	label at;
};

/* Numbers from `from` to the next segment's have one outcome. */
struct segment {
	unsigned from;
	const struct rule *rule; /* NULL: refused */
};

struct code {
	struct filter *f;
	const struct rules *rules;
	uint32_t refusal;
	bool full;
	struct target recent; /* a return instruction that can be jumped to again */
	struct segment segment[SEGMENTS_MAX];
	unsigned count;
};

struct filter *filter_new(void)
{
	return malloc(sizeof(struct filter));
}

static label emit(struct code *c, struct sock_filter insn)
{
	if (c->f->first == 0) {
		c->full = true;
		return 0;
	}
	c->f->insn[--c->f->first] = insn;
	return c->f->first;
}

static label emit_return(struct code *c, uint32_t action)
{
	if (c->recent.at != 0 && c->recent.action == action &&
	    c->recent.at - c->f->first < JUMP_MAX / 2)
		return c->recent.at;
	c->recent.action = action;
	c->recent.at = emit(c, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
	return c->recent.at;
}

/* A label that a conditional jump can reach from where the next instructions are written. */
static label near_label(struct code *c, label target)
{
	if (target - c->f->first + TRAMPOLINES_MAX <= JUMP_MAX)
		return target;
	return emit(c, (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, target - c->f->first));
}

static label emit_jump(struct code *c, uint16_t test, uint32_t value, label yes, label no)
{
	label near_yes = near_label(c, yes);
	label near_no = near_label(c, no);

	return emit(c, (struct sock_filter){
			       .code = BPF_JMP | BPF_K | test,
			       .k = value,
			       .jt = (uint8_t)(near_yes - c->f->first),
			       .jf = (uint8_t)(near_no - c->f->first),
		       });
}

static label emit_load(struct code *c, size_t offset)
{
	return emit(c, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static size_t low_half(unsigned arg)
{
	return offsetof(struct seccomp_data, args) + arg * sizeof(uint64_t);
}

static size_t high_half(unsigned arg)
{
	return low_half(arg) + sizeof(uint32_t);
}

static label emit_equal(struct code *c, const struct call_cond *t, label yes, label no)
{
	label low;

	emit_jump(c, BPF_JEQ, (uint32_t)t->value, yes, no);
	low = emit_load(c, low_half(t->arg));
	emit_jump(c, BPF_JEQ, (uint32_t)(t->value >> 32), low, no);
	return emit_load(c, high_half(t->arg));
}

/* low_test: BPF_JGT or BPF_JGE, which differ where the high halves are equal. */
static label emit_greater(struct code *c, const struct call_cond *t, uint16_t low_test, label yes,
			  label no)
{
	uint32_t high = (uint32_t)(t->value >> 32);
	label low, same;

	emit_jump(c, low_test, (uint32_t)t->value, yes, no);
	low = emit_load(c, low_half(t->arg));
	same = emit_jump(c, BPF_JEQ, high, low, no);
	emit_jump(c, BPF_JGT, high, yes, same);
	return emit_load(c, high_half(t->arg));
}

static label emit_any(struct code *c, unsigned arg, uint64_t mask, label yes, label no)
{
	label low;

	emit_jump(c, BPF_JSET, (uint32_t)mask, yes, no);
	low = emit_load(c, low_half(arg));
	emit_jump(c, BPF_JSET, (uint32_t)(mask >> 32), yes, low);
	return emit_load(c, high_half(arg));
}

static label emit_cond(struct code *c, const struct call_cond *t, label yes, label no)
{
	switch ((enum call_test)t->test) {
	case CALL_TEST_NONE:
		return yes;
	case CALL_TEST_EQ:
		return emit_equal(c, t, yes, no);
	case CALL_TEST_NE:
		return emit_equal(c, t, no, yes);
	case CALL_TEST_LT:
		return emit_greater(c, t, BPF_JGE, no, yes);
	case CALL_TEST_LE:
		return emit_greater(c, t, BPF_JGT, no, yes);
	case CALL_TEST_GT:
		return emit_greater(c, t, BPF_JGT, yes, no);
	case CALL_TEST_GE:
		return emit_greater(c, t, BPF_JGE, yes, no);
	case CALL_TEST_ANY:
		return emit_any(c, t->arg, t->value, yes, no);
	case CALL_TEST_IN:
		return emit_any(c, t->arg, ~t->value, no, yes);
	}
	return no;
}

static uint32_t action_of(const struct code *c, int outcome)
{
	if (outcome == RULE_KILL)
		return c->refusal;
	if (outcome == RULE_ALLOW)
		return SECCOMP_RET_ALLOW;
	return SECCOMP_RET_ERRNO | (uint32_t)outcome;
}

/* Conditions from the last to the first; each knows where to go on. */
static label emit_rule(struct code *c, const struct rule *rule)
{
	const struct rule_cond *cond = c->rules->cond;
	int16_t order[RULES_CONDS_MAX];
	unsigned n = 0;
	label fail, next;

	if (!rule)
		return emit_return(c, c->refusal);
	if (rule->first == RULE_NO_COND)
		return emit_return(c, action_of(c, rule->met));
	for (int16_t i = rule->first; i != RULE_NO_COND; i = cond[i].next)
		order[n++] = i;
	fail = emit_return(c, action_of(c, rule->otherwise));
	next = fail;
	while (n-- > 0) {
		if (cond[order[n]].last) {
			fail = next;
			next = emit_return(c, action_of(c, rule->met));
		}
		next = emit_cond(c, &cond[order[n]].test, next, fail);
	}
	return next;
}

static bool is_same_outcome(const struct rule *a, const struct rule *b)
{
	return a && b && a->first == RULE_NO_COND && b->first == RULE_NO_COND && a->met == b->met;
}

static void segment_add(struct code *c, unsigned from, const struct rule *rule)
{
	if (c->count > 0 && is_same_outcome(c->segment[c->count - 1].rule, rule))
		return;
	c->segment[c->count++] = (struct segment){.from = from, .rule = rule};
}

static void segments_make(struct code *c)
{
	unsigned next = 0; /* the first number that no segment covers */

	for (unsigned i = 0; i < c->rules->count; i++) {
		const struct rule *rule = &c->rules->rule[i];

		if ((unsigned)rule->number > next)
			segment_add(c, next, NULL);
		segment_add(c, (unsigned)rule->number, rule);
		next = (unsigned)rule->number + 1;
	}
	segment_add(c, next, NULL);
}

static label emit_search(struct code *c, unsigned low, unsigned high)
{
	unsigned middle = low + (high - low + 1) / 2;
	label right, left;

	if (low == high)
		return emit_rule(c, c->segment[low].rule);
	right = emit_search(c, middle, high);
	left = emit_search(c, low, middle - 1);
	return emit_jump(c, BPF_JGE, c->segment[middle].from, right, left);
}

static void emit_program(struct code *c)
{
	label kill =
		emit(c, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
	label search = emit_search(c, 0, c->count - 1);
	label number;

	emit_jump(c, BPF_JGE, FILTER_KILL_NUMBER, kill, search);
	number = emit_load(c, offsetof(struct seccomp_data, nr));
	emit_jump(c, BPF_JEQ, names_arch_token(c->rules->arch), number, kill);
	emit_load(c, offsetof(struct seccomp_data, arch));
}

int filter_build(struct filter *f, struct rules *r, enum filter_refusal refusal, struct err *e)
{
	struct code *c = calloc(1, sizeof(*c));
	bool full;

	if (!c)
		return err_set(e, ENOMEM, "cannot build the system call filter");
	f->first = BPF_MAXINSNS;
	c->f = f;
	c->rules = r;
	c->refusal = refusal == FILTER_TRAP ? SECCOMP_RET_TRAP : SECCOMP_RET_KILL_PROCESS;
	rules_sort(r);
	segments_make(c);
	emit_program(c);
	full = c->full;
	free(c);
	if (full)
		return err_say(e, E2BIG, "the system call filter needs more than %d instructions",
			       BPF_MAXINSNS);
	return 0;
}
