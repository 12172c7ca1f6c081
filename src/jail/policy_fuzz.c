/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * policy_fuzz.c - any text as a policy: parsed, compiled, and the program's answers compared with
 * the rules' own; then printed and read again
 */
#include "jail/policy.h"

#include "jail/filter_run.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Arguments from the rule's own conditions: the values and their neighbours decide. */
static void args_choose(const struct rules *r, const struct rule *rule, uint64_t offset,
			uint64_t args[6])
{
	for (unsigned i = 0; i < 6; i++)
		args[i] = offset;
	for (int i = rule->first; i != RULE_NO_COND; i = r->cond[i].next)
		args[r->cond[i].test.arg] = r->cond[i].test.value + offset;
}

static void compare(const struct rules *r, const struct filter *f)
{
	static const uint64_t offsets[] = {0, 1, UINT64_MAX, UINT64_C(1) << 32, UINT64_C(1) << 63};
	uint64_t args[6] = {0};

	for (int number = 0; number < 480; number++)
		assert(rules_find((struct rules *)(uintptr_t)r, number) ||
		       filter_outcome(f, r->arch, number, args) == RULE_KILL);
	for (unsigned i = 0; i < r->count; i++) {
		for (unsigned k = 0; k < ARRAY_LEN(offsets); k++) {
			args_choose(r, &r->rule[i], offsets[k], args);
			assert(filter_outcome(f, r->arch, r->rule[i].number, args) ==
			       rules_outcome(r, r->rule[i].number, args));
		}
	}
}

static void print_and_read(const struct rules *r)
{
	struct rules *again = rules_new(r->arch);
	char *text = NULL;
	size_t n = 0;
	struct err e;
	FILE *out = open_memstream(&text, &n);

	assert(again && out);
	policy_print(r, out);
	fclose(out);
	/* Numbers may be longer than the names they were; a rule can then be too long. */
	if (policy_parse(again, "again", text, n, &e) == 0)
		assert(again->count == r->count && again->nconds == r->nconds);
	else
		assert(strstr(e.text, "a rule of more than"));
	free(text);
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct rules *r = rules_new(names_arch_native());
	struct filter *f = filter_new();
	struct err e = {.code = 0};

	if (!r || !f)
		abort();
	if (policy_parse(r, "fuzz", (const char *)data, n, &e) < 0) {
		assert(e.code > 0 && strncmp(e.text, "fuzz:", 5) == 0);
	} else if (filter_build(f, r, FILTER_KILL, &e) == 0) {
		compare(r, f);
		print_and_read(r);
	}
	free(r);
	free(f);
	return 0;
}
