/* SPDX-License-Identifier: BSD-3-Clause */
/* names.c - system calls, architectures and constants by name */
#include "jail/names.h"

#include "jail/calls_table.h"
#include "jail/constants.h"

#include <linux/audit.h>
#include <string.h>

static const struct {
	const char *name;
	uint32_t token;
} arches[CALL_ARCHES] = {
	{"x86_64", AUDIT_ARCH_X86_64},
	{"aarch64", AUDIT_ARCH_AARCH64},
};

call_arch names_arch_native(void)
{
	return CALL_ARCH_NATIVE;
}

bool names_arch(const char *text, call_arch *ret_arch)
{
	for (call_arch a = 0; a < CALL_ARCHES; a++) {
		if (strcmp(arches[a].name, text) == 0) {
			*ret_arch = a;
			return true;
		}
	}
	return false;
}

uint32_t names_arch_token(call_arch arch)
{
	return arches[arch].token;
}

int names_call_number(call_arch arch, const char *text)
{
	size_t low = 0, high = ARRAY_LEN(call_rows);

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(text, call_names + call_rows[middle].name);

		if (order == 0) {
			int number = call_rows[middle].number[arch];

			return number < 0 ? NAMES_ABSENT : number;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NAMES_UNKNOWN;
}

const char *names_call(call_arch arch, int number)
{
	if (number < 0)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(call_rows); i++) {
		if (call_rows[i].number[arch] == number)
			return call_names + call_rows[i].name;
	}
	return NULL;
}

/* The C library knows the names of errors. */
static bool error_value(const char *text, size_t n, uint64_t *ret_value)
{
	enum { ERRORS = 134 };

	for (int i = 1; i < ERRORS; i++) {
		const char *name = strerrorname_np(i);

		if (name && strlen(name) == n && memcmp(name, text, n) == 0) {
			*ret_value = (uint64_t)i;
			return true;
		}
	}
	return false;
}

bool names_constant(const char *text, size_t n, uint64_t *ret_value)
{
	for (size_t i = 0; i < ARRAY_LEN(constants); i++) {
		const char *name = constants[i].name;

		if (strnlen(name, sizeof(constants[i].name)) == n && memcmp(name, text, n) == 0) {
			*ret_value = constants[i].value;
			return true;
		}
	}
	return error_value(text, n, ret_value);
}
