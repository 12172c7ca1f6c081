/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gen_calls.c - writes jail/calls_table.h: the system calls of both architectures by name
 *
 * Runs while building, so the program itself needs no libseccomp and no relocation a name.
 * Argument: the architecture the program is for, as Meson calls it.
 */
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBERS = 1024, CALLS_MAX = 2 * NUMBERS };

static const struct {
	const char *name;
	uint32_t token;
} arches[] = {
	{"x86_64", SCMP_ARCH_X86_64},
	{"aarch64", SCMP_ARCH_AARCH64},
};

enum { ARCHES = sizeof(arches) / sizeof(arches[0]) };

struct row {
	char *name;
	int number[ARCHES];
};

static struct row rows[CALLS_MAX];
static size_t count;

static struct row *row_of(char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(rows[i].name, name) == 0) {
			free(name);
			return &rows[i];
		}
	}
	rows[count].name = name;
	for (int a = 0; a < ARCHES; a++)
		rows[count].number[a] = -1;
	return &rows[count++];
}

static int rows_compare(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->name, ((const struct row *)b)->name);
}

static void print_table(void)
{
	size_t at = 0;

	puts("static const char call_names[] =");
	for (size_t i = 0; i < count; i++)
		printf("\t\"%s\\0\"\n", rows[i].name);
	puts("\t;\n\nstatic const struct call_row {\n\tuint16_t name;\n\tint16_t "
	     "number[CALL_ARCHES];\n"
	     "} call_rows[] = {");
	for (size_t i = 0; i < count; i++) {
		printf("\t{ %zu, {", at);
		for (int a = 0; a < ARCHES; a++)
			printf(" %d,", rows[i].number[a]);
		puts(" } },");
		at += strlen(rows[i].name) + 1;
	}
	puts("};");
}

int main(int argc, char **argv)
{
	int native = -1;

	for (int a = 0; a < ARCHES; a++) {
		if (argc > 1 && strcmp(argv[1], arches[a].name) == 0)
			native = a;
		for (int n = 0; n < NUMBERS; n++) {
			char *name = seccomp_syscall_resolve_num_arch(arches[a].token, n);

			if (name)
				row_of(name)->number[a] = n;
		}
	}
	if (native < 0 || count == 0) {
		fprintf(stderr, "gen_calls: no table for this architecture\n");
		return 1;
	}
	qsort(rows, count, sizeof(rows[0]), rows_compare);
	puts("/* Written by gen_calls.c. */\n#pragma once\n\n#include <stdint.h>\n");
	printf("enum { CALL_ARCHES = %d, CALL_ARCH_NATIVE = %d };\n\n", ARCHES, native);
	print_table();
	return 0;
}
