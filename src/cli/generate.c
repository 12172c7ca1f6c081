/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * generate.c - parts of the manual, from the tables of the program
 *
 *	crosvm generate man TEMPLATE	the template; lines @NAME@ are replaced by what NAME prints,
 *					@ARGS list@ and @SYNOPSIS list@ by what the command has
 */
#include "cli/command.h"

#include "base/exit_codes.h"
#include "base/log.h"
#include "config/config.h"
#include "config/config_table.h"
#include "devices/device.h"
#include "vm/control.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_COLUMNS = 78, PAGE_LINE_MAX = 4096 };

static void print_devices(FILE *out)
{
	fputs(".Bl -tag -width Ds -compact\n", out);
	for (const struct device_type *const *t = device_types; *t; t++)
		fprintf(out, ".It Cm %s\n%s.\n", (*t)->name, (*t)->summary);
	fputs(".El\n", out);
}

static const struct {
	const char *line;
	void (*print)(FILE *out);
} parts[] = {
	{"@OPTIONS@\n", config_mdoc_options}, {"@DEVICES@\n", config_mdoc_devices},
	{"@DEVICE_LIST@\n", print_devices},   {"@EXIT_CODES@\n", exit_code_mdoc},
	{"@CONTROL@\n", control_mdoc},
};

/* Flags and the value, ".It Fl h , Fl -help"; before is what begins the line. */
static void print_arg(const struct arg *arg, const char *before, FILE *out)
{
	fputs(before, out);
	if (arg->letter)
		fprintf(out, " Fl %c ,", arg->letter);
	fprintf(out, " Fl -%s", arg->name);
	if (arg->value)
		fprintf(out, " Ar %s", arg->value);
	fputc('\n', out);
}

/* The options of a command. */
static void print_args(const struct command *c, FILE *out)
{
	fputs(".Bl -tag -width Ds\n", out);
	for (const struct arg *arg = c->args; arg->name; arg++)
		if (arg->help) {
			print_arg(arg, ".It", out);
			fprintf(out, "%s.\n", arg->help);
		}
	fputs(".El\n", out);
}

/* "up|down" is typed, "NAME" stands for something. */
static void print_words(const char *words, FILE *out)
{
	while (*words) {
		int n = (int)strcspn(words, " ");
		bool is_optional = *words == '[';
		const char *macro = words[is_optional] >= 'a' ? "Cm" : "Ar";

		fprintf(out, ".%s%s ", is_optional ? "Op " : "", macro);
		for (int i = is_optional; i < n - is_optional; i++)
			fputc(tolower((unsigned char)words[i]), out);
		fputc('\n', out);
		words += n + (words[n] == ' ');
	}
}

/* The lines of the synopsis. */
static void print_synopsis(const struct command *c, FILE *out)
{
	fprintf(out, ".Nm crosvm %s\n", c->name);
	for (const struct arg *arg = c->args; arg->name; arg++)
		if (arg->help && arg->letter != 'h')
			print_arg(arg, ".Op", out);
	print_words(c->words, out);
}

/* A line "@WHAT name@" for the command of that name; whether it is one. */
static bool print_command(const char *line, FILE *out)
{
	static const struct {
		const char *what;
		void (*print)(const struct command *c, FILE *out);
	} rows[] = {{"@ARGS ", print_args}, {"@SYNOPSIS ", print_synopsis}};
	const struct command *c;
	char name[32] = "";

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t n = strlen(rows[i].what);

		if (strncmp(line, rows[i].what, n) != 0)
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(line + n, "@"), line + n);
		c = command_find(name);
		if (c && c->args)
			rows[i].print(c, out);
		return c && c->args;
	}
	return false;
}

static void print_line(const char *line, FILE *out)
{
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (strcmp(parts[i].line, line) == 0) {
			parts[i].print(out);
			return;
		}
	if (!print_command(line, out))
		fputs(line, out);
}

/* Where to break a line of text: behind the last word that fits; at the end of what is short. */
static size_t break_at(const char *line)
{
	size_t at = LINE_COLUMNS;

	if (*line == '.' || strlen(line) <= LINE_COLUMNS)
		return strlen(line);
	while (at > 0 && (line[at] != ' ' || strchr(".'", line[at + 1])))
		at--;
	return at > 0 ? at : strlen(line);
}

/* The page, with lines of text that are no longer than manuals should have. */
static void print_wrapped(const char *page)
{
	char line[PAGE_LINE_MAX];

	for (; *page; page += strcspn(page, "\n") + 1) {
		const char *rest = line;

		snprintf(line, sizeof(line), "%.*s", (int)strcspn(page, "\n"), page);
		for (size_t n = break_at(rest); rest[n]; n = break_at(rest)) {
			printf("%.*s\n", (int)n, rest);
			rest += n + 1;
		}
		puts(rest);
	}
}

static int print_man(const char *path)
{
	FILE *in = fopen(path, "re"), *out;
	char *line = NULL, *page = NULL;
	size_t room = 0, n = 0;

	if (!in) {
		log_error("generate: %s: %s", path, strerror(errno));
		return EXIT_CODE_ERROR;
	}
	out = open_memstream(&page, &n);
	while (out && getline(&line, &room, in) > 0)
		print_line(line, out);
	free(line);
	fclose(in);
	if (!out || fclose(out) != 0) {
		log_error("generate: %s: out of memory", path);
		return EXIT_CODE_ERROR;
	}
	print_wrapped(page);
	free(page);
	return EXIT_CODE_OK;
}

int command_generate(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[0], "man") == 0)
		return print_man(argv[1]);
	log_error("generate: one thing is made here: crosvm generate man TEMPLATE");
	return EXIT_CODE_USAGE;
}
