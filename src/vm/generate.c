/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * generate.c - parts of the manual and of shell completion, from the tables of the program
 *
 *	crosvm generate man TEMPLATE	the template; lines @NAME@ are replaced by what NAME prints
 *	crosvm generate bash|zsh|fish	a completion script
 */
#include "vm/command.h"

#include "base/log.h"
#include "devices/device.h"
#include "vm/config.h"
#include "vm/config_table.h"
#include "vm/control.h"
#include "vm/exit_codes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void print_line(const char *line)
{
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (strcmp(parts[i].line, line) == 0) {
			parts[i].print(stdout);
			return;
		}
	fputs(line, stdout);
}

static int print_man(const char *path)
{
	FILE *in = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;

	if (!in) {
		log_error("generate: %s: %s", path, strerror(errno));
		return EXIT_CODE_ERROR;
	}
	while (getline(&line, &room, in) > 0)
		print_line(line);
	free(line);
	fclose(in);
	return EXIT_CODE_OK;
}

/* Calls print for each option of `crosvm run`, then for each device. */
static void each_option(void (*print)(const struct arg *arg))
{
	for (const struct config_option *o = config_options; o->arg.name; o++)
		print(&o->arg);
	for (const struct device_type *const *t = device_types; *t; t++) {
		struct arg arg = {.name = (*t)->name,
				  .help = (*t)->summary,
				  .value = (*t)->opts ? "KEY=VALUE,..." : NULL,
				  .keys = config_device_is_optional(*t) ? (*t)->opts : NULL};

		print(&arg);
	}
}

static void bash_option(const struct arg *arg)
{
	if (arg->letter)
		printf(" -%c", arg->letter);
	printf(" --%s", arg->name);
}

static void bash_choices(const struct arg *arg)
{
	if (!arg->value || !strchr(arg->value, '|'))
		return;
	printf("\t--%s) words='", arg->name);
	for (const char *p = arg->value; *p; p++)
		putchar(*p == '|' ? ' ' : *p);
	puts("' ;;");
}

static void bash_keys(const struct device_type *t)
{
	if (!t->opts)
		return;
	printf("\t--%s) words='", t->name);
	for (const struct opt *row = t->opts; row->kind != OPT_KIND_END; row++)
		printf("%s%s%s", row == t->opts ? "" : " ", row->name,
		       row->kind == OPT_KIND_FLAG ? "" : "=");
	puts("' ;;");
}

static void print_bash(void)
{
	puts("# crosvm(1) completion                                 -*- shell-script -*-\n"
	     "_crosvm() {\n"
	     "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n"
	     "\tCOMPREPLY=()\n"
	     "\tif [ \"$COMP_CWORD\" -eq 1 ]; then");
	fputs("\t\twords='", stdout);
	for (const struct command *c = commands; c->name; c++)
		if (c->summary)
			printf("%s%s", c == commands ? "" : " ", c->name);
	puts("'\n"
	     "\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	     "\t\treturn\n"
	     "\tfi\n"
	     "\tif [ \"${COMP_WORDS[1]}\" != run ]; then\n"
	     "\t\t[[ $cur != -* ]] || words='--json --help'\n"
	     "\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\") $(compgen -f -- \"$cur\"))\n"
	     "\t\treturn\n"
	     "\tfi\n"
	     "\tcase $prev in");
	each_option(bash_choices);
	for (const struct device_type *const *t = device_types; *t; t++)
		bash_keys(*t);
	puts("\tesac");
	fputs("\t[[ $cur != -* ]] || words='", stdout);
	each_option(bash_option);
	puts("'\n"
	     "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	     "\t[[ $cur == -* ]] || COMPREPLY+=($(compgen -f -- \"$cur\"))\n"
	     "}\n"
	     "complete -o filenames -F _crosvm crosvm");
}

/* Text inside single quotes of a shell, in which zsh gives brackets and colons a meaning. */
static void print_plain(const char *text)
{
	for (; *text; text++)
		putchar(strchr("'[]:\\", *text) ? ' ' : *text);
}

static void zsh_option(const struct arg *arg)
{
	const char *separator = !arg->value ? "" : arg->keys ? "=-" : "=";
	char names[64];

	snprintf(names, sizeof(names), "--%s", arg->name);
	if (arg->letter)
		printf("\t\t'*-%c%s[", arg->letter, arg->value ? "+" : "");
	else
		printf("\t\t'*%s%s[", names, separator);
	print_plain(arg->help);
	putchar(']');
	if (arg->value && strchr(arg->value, '|')) {
		fputs(":value:(", stdout);
		for (const char *p = arg->value; *p; p++)
			putchar(*p == '|' ? ' ' : *p);
		putchar(')');
	} else if (arg->value) {
		fputs(":value:_files", stdout);
	}
	puts("' \\");
	if (!arg->letter)
		return;
	printf("\t\t'*%s%s[", names, separator);
	print_plain(arg->help);
	printf("]%s' \\\n", arg->value ? ":value:_files" : "");
}

static void print_zsh(void)
{
	puts("#compdef crosvm\n"
	     "_crosvm() {\n"
	     "\tif (( CURRENT == 2 )); then\n"
	     "\t\tlocal -a names=(");
	for (const struct command *c = commands; c->name; c++) {
		if (!c->summary)
			continue;
		printf("\t\t\t'%s:", c->name);
		print_plain(c->summary);
		puts("'");
	}
	puts("\t\t)\n"
	     "\t\t_describe command names\n"
	     "\t\treturn\n"
	     "\tfi\n"
	     "\tif [[ $words[2] != run ]]; then\n"
	     "\t\t_arguments '--json' '--help' '*:socket:_files'\n"
	     "\t\treturn\n"
	     "\tfi\n"
	     "\tshift words\n"
	     "\t(( CURRENT-- ))\n"
	     "\t_arguments \\");
	each_option(zsh_option);
	puts("\t\t'*:kernel:_files'\n"
	     "}\n"
	     "_crosvm \"$@\"");
}

static void fish_option(const struct arg *arg)
{
	printf("complete -c crosvm -n '__fish_seen_subcommand_from run' -l %s", arg->name);
	if (arg->letter)
		printf(" -s %c", arg->letter);
	if (arg->value && !arg->keys)
		fputs(" -r", stdout);
	if (arg->value && strchr(arg->value, '|')) {
		fputs(" -f -a '", stdout);
		for (const char *p = arg->value; *p; p++)
			putchar(*p == '|' ? ' ' : *p);
		putchar('\'');
	}
	fputs(" -d '", stdout);
	print_plain(arg->help);
	puts("'");
}

static void print_fish(void)
{
	for (const struct command *c = commands; c->name; c++) {
		if (!c->summary)
			continue;
		printf("complete -c crosvm -n __fish_use_subcommand -f -a %s -d '", c->name);
		print_plain(c->summary);
		puts("'");
	}
	each_option(fish_option);
	puts("complete -c crosvm -n '__fish_seen_subcommand_from stop suspend resume status "
	     "balloon balloon-stats disk link limit check' -l json -d 'Print JSON'");
}

int command_generate(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} scripts[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};

	if (argc == 2 && strcmp(argv[0], "man") == 0)
		return print_man(argv[1]);
	for (size_t i = 0; i < ARRAY_LEN(scripts); i++)
		if (argc == 1 && strcmp(argv[0], scripts[i].name) == 0) {
			scripts[i].print();
			return EXIT_CODE_OK;
		}
	log_error("generate: one of these is wanted: man TEMPLATE, bash, zsh, fish");
	return EXIT_CODE_USAGE;
}
