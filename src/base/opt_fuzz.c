/* SPDX-License-Identifier: BSD-3-Clause */
/* opt_fuzz.c - any text against a table with every kind; what is accepted survives a round trip */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct target defaults = {.fd = -1};
	struct target a = defaults, b = defaults;
	char text[4096], first[8192], second[8192];
	struct err e;

	if (n >= sizeof(text))
		return 0;
	memcpy(text, data, n);
	text[n] = '\0';
	if (opt_parse(rows, &a, text, &e) == 0) {
		if (opt_dump(rows, &a, &defaults, first, sizeof(first)) < 0 ||
		    opt_parse(rows, &b, first, &e) < 0 ||
		    opt_dump(rows, &b, &defaults, second, sizeof(second)) < 0 ||
		    strcmp(first, second) != 0)
			abort();
	} else if (e.code <= 0 || !*e.text) {
		abort();
	}
	opt_fini(rows, &a);
	opt_fini(rows, &b);
	return 0;
}
