/* SPDX-License-Identifier: BSD-3-Clause */
/* exit_codes.c - what the exit status of crosvm means */
#include "base/exit_codes.h"

#include "base/attr.h"

struct row {
	int first;
	const char *name; /* of a range; NULL: the number */
	const char *text;
};

static const struct row rows[] = {
	{EXIT_CODE_OK, NULL, "the guest powered off, or was stopped by command"},
	{EXIT_CODE_ERROR, NULL, "a failure at run time, or a command that failed"},
	{EXIT_CODE_USAGE, NULL,
	 "a mistake on the command line, such as a file that is not there"},
	{EXIT_CODE_HOST, NULL, "the host lacks something: see crosvm check"},
	{EXIT_CODE_BUILD, NULL,
	 "the kernel, a disk or another input cannot be used"},
	{EXIT_CODE_RESET, NULL, "the guest asked for a reset"},
	{EXIT_CODE_PANIC, NULL, "the guest reported a panic"},
	{EXIT_CODE_TRIPLE_FAULT, NULL, "the guest ended in a triple fault"},
	{EXIT_CODE_KVM, NULL, "KVM could not go on: internal error or failed entry"},
	{EXIT_CODE_DEVICE, NULL, "a device process died too often"},
	{EXIT_CODE_DEBUG_FIRST, "64-127",
	 "the guest wrote N to the debug-exit port: 64 + N, at most 127"},
	{EXIT_CODE_SIGNAL + 1, "128+N", "stopped by signal N"},
};

int exit_code_debug(unsigned value)
{
	const unsigned most = EXIT_CODE_DEBUG_LAST - EXIT_CODE_DEBUG_FIRST;

	return EXIT_CODE_DEBUG_FIRST + (int)(value < most ? value : most);
}

static const char *row_name(const struct row *row, char *buf, size_t n)
{
	if (row->name)
		return row->name;
	snprintf(buf, n, "%d", row->first);
	return buf;
}

void exit_code_help(FILE *out)
{
	char number[16];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		fprintf(out, "  %-8s%s\n", row_name(&rows[i], number, sizeof(number)),
			rows[i].text);
}

void exit_code_mdoc(FILE *out)
{
	char number[16];

	fputs(".Bl -tag -width 128+N -compact\n", out);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		fprintf(out, ".It %s\n%s.\n", row_name(&rows[i], number, sizeof(number)),
			rows[i].text);
	fputs(".El\n", out);
}
