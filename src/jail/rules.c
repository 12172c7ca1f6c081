/* SPDX-License-Identifier: BSD-3-Clause */
/* rules.c - what may be called, for one architecture */
#include "jail/rules.h"

#include <errno.h>
#include <stdlib.h>

struct rules *rules_new(call_arch arch)
{
	struct rules *r = malloc(sizeof(*r));

	if (r) {
		r->arch = arch;
		r->count = 0;
		r->nconds = 0;
	}
	return r;
}

struct rule *rules_find(struct rules *r, int number)
{
	for (unsigned i = 0; i < r->count; i++) {
		if (r->rule[i].number == number)
			return &r->rule[i];
	}
	return NULL;
}

struct rule *rules_add(struct rules *r, int number)
{
	struct rule *rule;

	if (r->count == RULES_MAX)
		return NULL;
	rule = &r->rule[r->count++];
	*rule = (struct rule){
		.number = (int16_t)number,
		.first = RULE_NO_COND,
		.met = RULE_ALLOW,
		.otherwise = RULE_KILL,
	};
	return rule;
}

bool rules_cond_add(struct rules *r, struct rule *rule, struct call_cond test, bool last)
{
	int16_t *link = &rule->first;

	if (r->nconds == RULES_CONDS_MAX)
		return false;
	while (*link != RULE_NO_COND)
		link = &r->cond[*link].next;
	*link = (int16_t)r->nconds;
	r->cond[r->nconds++] = (struct rule_cond){
		.test = test,
		.last = last,
		.next = RULE_NO_COND,
	};
	return true;
}

static bool row_conds_add(struct rules *r, struct rule *rule, const struct call *row)
{
	for (unsigned i = 0; i < CALL_CONDS_MAX; i++) {
		bool last = i + 1 == CALL_CONDS_MAX || row->cond[i + 1].test == CALL_TEST_NONE;

		if (row->cond[i].test == CALL_TEST_NONE)
			break;
		if (!rules_cond_add(r, rule, row->cond[i], last))
			return false;
	}
	return true;
}

/* A row for a call that has a rule: one more alternative, or what happens if there is none. */
static bool rule_widen(struct rules *r, struct rule *rule, const struct call *row)
{
	bool is_conditional = row->cond[0].test != CALL_TEST_NONE;

	if (row->error) {
		rule->otherwise = (int16_t)row->error;
		return true;
	}
	if (rule->met != RULE_ALLOW) {
		rule->otherwise = rule->met;
		rule->met = RULE_ALLOW;
	} else if (rule->first == RULE_NO_COND) {
		return true; /* allowed whatever its arguments */
	}
	if (!is_conditional) {
		rule->first = RULE_NO_COND;
		return true;
	}
	return row_conds_add(r, rule, row);
}

static bool row_add(struct rules *r, int number, const struct call *row)
{
	struct rule *rule = rules_find(r, number);

	if (rule)
		return rule_widen(r, rule, row);
	rule = rules_add(r, number);
	if (!rule)
		return false;
	if (row->error) {
		rule->met = (int16_t)row->error;
		return true;
	}
	return row_conds_add(r, rule, row);
}

int rules_calls_add(struct rules *r, const struct call *calls, struct err *e)
{
	for (const struct call *row = calls; row->name; row++) {
		int number = names_call_number(r->arch, row->name);

		if (number == NAMES_ABSENT)
			continue;
		if (number == NAMES_UNKNOWN)
			return err_say(e, EINVAL, "%s: no such system call", row->name);
		if (!row_add(r, number, row))
			return err_say(e, E2BIG, "too many system calls in the filter");
	}
	return 0;
}

static int rule_compare(const void *a, const void *b)
{
	return ((const struct rule *)a)->number - ((const struct rule *)b)->number;
}

void rules_sort(struct rules *r)
{
	qsort(r->rule, r->count, sizeof(r->rule[0]), rule_compare);
}
