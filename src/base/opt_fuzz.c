/* SPDX-License-Identifier: BSD-3-Clause */
/* opt_fuzz.c - any text against a table with every kind; what is accepted is in range */
#include "base/opt.h"

#include <stdlib.h>
#include <string.h>

struct target {
	char *text, *path, *rules;
	bool flag;
	uint32_t number;
	uint64_t size;
	int choice;
	struct opt_mac mac;
	int fd;
};

static const char *const words[] = {"one", "two", "three", NULL};

static const struct opt rows[] = {
	OPT_FIRST(struct target, path, "FILE", "A path"),
	OPT_TEXT(struct target, text, "TEXT", "A text"),
	OPT_TEXTS(struct target, rules, "RULE", "A rule"),
	OPT_FLAG(struct target, flag, "A flag"),
	OPT_NUMBER(struct target, number, 3, 70000, "A number"),
	OPT_SIZE(struct target, size, 512, UINT64_MAX, "A size"),
	OPT_CHOICE(struct target, choice, words, "A choice"),
	OPT_MAC(struct target, mac, "An address"),
	OPT_FD(struct target, fd, "A descriptor"),
	OPT_END,
};

/* What was not given stays zero, or -1. */
static bool is_within_its_table(const struct target *t)
{
	return (t->number == 0 || (t->number >= 3 && t->number <= 70000)) &&
	       (t->size == 0 || t->size >= 512) && t->choice >= 0 &&
	       t->choice < (int)ARRAY_LEN(words) - 1 && t->fd >= -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct target a = {.fd = -1};
	char text[4096];
	struct err e;

	if (n >= sizeof(text))
		return 0;
	memcpy(text, data, n);
	text[n] = '\0';
	if (opt_parse(rows, &a, text, &e) == 0) {
		if (!is_within_its_table(&a))
			abort();
	} else if (e.code <= 0 || !*e.text) {
		abort();
	}
	opt_fini(rows, &a);
	return 0;
}
