/* SPDX-License-Identifier: BSD-3-Clause */
/* opt_text.c - option tables: help for the terminal and rows for the manual */
#include "base/opt.h"

#include <string.h>

enum { HELP_COLUMN = 24 /* where the sentences begin */ };

static void print_key(const struct opt *row, FILE *out)
{
	for (const char *p = row->name; *p; p++)
		fputc(*p == '_' ? '-' : *p, out);
}

/* The columns that print_key() and the value take. */
static int key_width(const struct opt *row, const char *value)
{
	return (int)(strlen(row->name) + (*value ? 1 + strlen(value) : 0));
}

/* Choices are spelled out, a|b|c, when there is room. */
static const char *value_name(const struct opt *row, char *buf, size_t n)
{
	size_t used = 0;

	buf[0] = '\0';
	if (row->kind == OPT_KIND_FLAG)
		return "";
	if (row->value)
		return row->value;
	if (row->kind != OPT_KIND_CHOICE)
		return "VALUE";
	for (int i = 0; row->choices[i] && used < n; i++)
		used += (size_t)snprintf(buf + used, n - used, "%s%s", i ? "|" : "",
					 row->choices[i]);
	return used < n ? buf : "WORD";
}

/* " (1 to 16)"; nothing for a size without an upper limit. */
static void print_range(const struct opt *row, FILE *out)
{
	char range[128];
	const char *from;

	if ((row->kind != OPT_KIND_NUMBER && row->kind != OPT_KIND_SIZE) || row->max == UINT64_MAX)
		return;
	opt_describe(row, range, sizeof(range));
	from = strstr(range, " from ");
	fprintf(out, " (%s)", from ? from + strlen(" from ") : range);
}

void opt_help(const struct opt *table, const char *prefix, FILE *out)
{
	for (; table->kind != OPT_KIND_END; table++) {
		char buf[64];
		const char *value = value_name(table, buf, sizeof(buf));
		int width = key_width(table, value);

		fputs(prefix, out);
		print_key(table, out);
		fprintf(out, "%s%s", *value ? "=" : "", value);
		if (width >= HELP_COLUMN) {
			fprintf(out, "\n%s", prefix);
			width = 0;
		}
		fprintf(out, "%*s%s", HELP_COLUMN - width, "", table->help ? table->help : "");
		print_range(table, out);
		fputc('\n', out);
	}
}

/* Text in which a leading dot, quote or backslash would be a request to the formatter. */
static void print_roff(const char *text, FILE *out)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", out);
		else
			fputc(*text, out);
	}
}

void opt_mdoc(const struct opt *table, FILE *out)
{
	fputs(".Bl -tag -width Ds -compact\n", out);
	for (; table->kind != OPT_KIND_END; table++) {
		char buf[64];
		const char *value = value_name(table, buf, sizeof(buf));

		fputs(".It Cm ", out);
		print_key(table, out);
		if (*value)
			fprintf(out, " Ns = Ns Ar %s", value);
		fputc('\n', out);
		print_roff(table->help ? table->help : "", out);
		print_range(table, out);
		fputs(".\n", out);
	}
	fputs(".El\n", out);
}
