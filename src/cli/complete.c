/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * complete.c - what a shell may offer for the word that is being typed
 *
 *	crosvm complete WORD...		the words behind "crosvm", the last one is incomplete
 *
 * Prints a line for each whole word that the last one can become: the word, a tab, a few words
 * about it.  The line ":files", a tab and a prefix stands for the names of files, with the prefix
 *in front.  A word that ends in "=" is to be typed on.  The scripts in man/completion/ put this to
 * their shells; what is offered comes from the tables alone.
 */
#include "cli/command.h"

#include "base/exit_codes.h"
#include "base/num.h"
#include "config/config.h"
#include "config/config_table.h"
#include "config/names.h"
#include "devices/device.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 512 };

struct typing {
	const struct command *command;
	const char *word; /* that is being typed */
	struct arg table[CONFIG_TABLE_MAX + 1];
	const struct opt *keys[CONFIG_TABLE_MAX + 1]; /* of the value of table[i], or NULL */

	/* Of the words in front. */
	const struct arg *waiting;      /* an option without its value */
	const struct arg *may_take;     /* an option that can go without */
	const struct device_type *type; /* of crosvm device */
	unsigned nwords;
};

static bool begins_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

/* One word, if what was typed can become it. */
static void offer(const struct typing *t, const char *word, const char *about)
{
	if (begins_with(word, t->word))
		printf("%s\t%s\n", word, about ? about : "");
}

static void offer_parts(const struct typing *t, const char *prefix, const char *middle,
			const char *end, const char *about)
{
	char word[TEXT_MAX];

	if (snprintf(word, sizeof(word), "%s%s%s", prefix, middle, end) < TEXT_MAX)
		offer(t, word, about);
}

static void offer_files(const char *prefix)
{
	printf(":files\t%s\n", prefix);
}

/* "a|b|c" */
static void offer_choices(const struct typing *t, const char *prefix, const char *choices)
{
	char word[TEXT_MAX];

	for (;;) {
		int n = (int)strcspn(choices, "|");

		snprintf(word, sizeof(word), "%.*s", n, choices);
		offer_parts(t, prefix, word, "", NULL);
		if (!choices[n])
			return;
		choices += n + 1;
	}
}

static bool is_file_name(const char *name)
{
	return begins_with(name, "FILE") || begins_with(name, "PATH") || begins_with(name, "DIR") ||
	       begins_with(name, "KERNEL");
}

static void offer_value(const struct typing *t, const char *prefix, const char *name)
{
	if (is_file_name(name))
		offer_files(prefix);
	else if (strchr(name, '|') && !strpbrk(name, ",="))
		offer_choices(t, prefix, name);
}

/* The value of one key; prefix ends with "=". */
static void offer_key_value(const struct typing *t, const char *prefix, const struct opt *row)
{
	for (const char *const *c = row->choices; c && *c; c++)
		offer_parts(t, prefix, *c, "", NULL);
	if (row->kind == OPT_KIND_FLAG)
		offer_choices(t, prefix, "on|off");
	if (row->value)
		offer_value(t, prefix, row->value);
}

/* Keys; prefix ends where one can begin, and is_first says that none stands in front. */
static void offer_keys(const struct typing *t, const char *prefix, const struct opt *table,
		       bool is_first)
{
	for (const struct opt *row = table; row->kind != OPT_KIND_END; row++) {
		bool is_alone = row->kind == OPT_KIND_FLAG || row->bare;

		if (is_first && row->first)
			offer_key_value(t, prefix, row);
		offer_parts(t, prefix, row->name, is_alone ? "" : "=", row->help);
	}
}

/* Where the value begins, what was typed of it being key=value,... */
static void offer_options(const struct typing *t, const char *value, const struct opt *table)
{
	const char *comma = strrchr(value, ','), *key = comma ? comma + 1 : value;
	const char *equals = strchr(key, '=');
	char prefix[TEXT_MAX], name[TEXT_MAX];
	const struct opt *row;

	if (strlen(t->word) >= TEXT_MAX)
		return;
	snprintf(name, sizeof(name), "%.*s", equals ? (int)(equals - key) : 0, key);
	snprintf(prefix, sizeof(prefix), "%.*s", (int)((equals ? equals + 1 : key) - t->word),
		 t->word);
	row = equals ? opt_find(table, name) : NULL;
	if (row)
		offer_key_value(t, prefix, row);
	else if (!equals)
		offer_keys(t, prefix, table, !comma);
}

static void offer_argument(const struct typing *t, const char *value, const struct arg *arg)
{
	const struct opt *keys = t->keys[arg - t->table];
	char prefix[TEXT_MAX];

	snprintf(prefix, sizeof(prefix), "%.*s", (int)(value - t->word), t->word);
	if (keys)
		offer_options(t, value, keys);
	else if (arg->value)
		offer_value(t, prefix, arg->value);
}

static void offer_names(const struct typing *t)
{
	char name[64];

	for (const struct arg *arg = t->table; arg->name; arg++) {
		if (!arg->help)
			continue;
		snprintf(name, sizeof(name), "-%c", arg->letter);
		if (arg->letter && !begins_with(t->word, "--"))
			offer(t, name, arg->help);
		snprintf(name, sizeof(name), "--%s", arg->name);
		offer(t, name, arg->help);
	}
}

static void offer_vm(void *typing, const char *name)
{
	offer(typing, name, "running virtual machine");
}

/* Names of running VMs; a path is fine as well. */
static void offer_vms(const struct typing *t)
{
	struct err e;

	if (vm_names_each(offer_vm, (void *)(uintptr_t)t, &e) < 0)
		e.code = 0; /* then there are none */
	offer_files("");
}

static bool is_literal(const char *word)
{
	while (islower((unsigned char)*word))
		word++;
	return !*word;
}

/* One word of struct command.words. */
static void offer_kind(const struct typing *t, const char *kind)
{
	if (begins_with(kind, "SOCKET"))
		offer_vms(t);
	else if (begins_with(kind, "KEY=VALUE") && t->type && t->type->opts)
		offer_options(t, t->word, t->type->opts);
	else if (is_literal(kind))
		offer(t, kind, NULL);
	else
		offer_value(t, "", kind);
	if (!begins_with(kind, "TYPE"))
		return;
	for (const struct device_type *const *type = device_types; *type; type++)
		offer(t, (*type)->name, (*type)->summary);
}

/* The word at that place; one in brackets may be another or the next. */
static void offer_place(const struct typing *t, unsigned place)
{
	const char *kinds = t->command->words;
	char kind[64] = "";

	for (unsigned i = 0; *kinds; i++) {
		size_t n = strcspn(kinds, " ");
		bool is_optional = *kinds == '[', is_last = !kinds[n];

		snprintf(kind, sizeof(kind), "%.*s", (int)(n - is_optional), kinds + is_optional);
		if (i >= place || (is_last && strstr(kind, "...")))
			offer_kind(t, kind);
		if (i >= place && !is_optional)
			return;
		kinds += n + !is_last;
	}
}

/* ---- what stands in front ---- */

static void row_add(struct typing *t, size_t *n, const struct arg *arg, const struct opt *keys)
{
	if (*n == CONFIG_TABLE_MAX)
		return;
	t->table[*n] = *arg;
	t->keys[(*n)++] = keys;
}

static void table_init(struct typing *t)
{
	size_t n = 0;

	for (const struct arg *arg = t->command->args; arg && arg->name; arg++)
		row_add(t, &n, arg, NULL);
	if (t->command->args)
		return;
	for (const struct config_option *o = config_options; o->arg.name; o++)
		row_add(t, &n, &o->arg, o->keys);
	for (const struct device_type *const *type = device_types; *type; type++) {
		struct arg arg = config_device_arg(*type);

		row_add(t, &n, &arg, (*type)->opts);
	}
}

static void read_words(struct typing *t, int argc, char *const *argv)
{
	struct args_item item = {0};
	enum args_kind kind;
	struct args args;
	struct err e = {0};

	args_init(&args, t->table, argc, argv);
	while ((kind = args_next(&args, &item, &e)) != ARGS_END) {
		bool is_bare = item.arg && item.arg->value && !item.value && args.at == argc;

		t->waiting = kind == ARGS_WRONG && is_bare ? item.arg : NULL;
		t->may_take = kind == ARGS_OPTION && is_bare ? item.arg : NULL;
		if (kind == ARGS_WORD && t->nwords == 0)
			t->type = device_type_find(item.value);
		t->nwords += kind == ARGS_WORD;
		item = (struct args_item){0};
	}
}

static void offer_all(const struct typing *t)
{
	const char *equals = strchr(t->word, '=');

	if (t->waiting) {
		offer_argument(t, t->word, t->waiting);
	} else if (begins_with(t->word, "--") && equals) {
		for (const struct arg *arg = t->table; arg->name; arg++)
			if (strlen(arg->name) == (size_t)(equals - t->word - 2) &&
			    begins_with(t->word + 2, arg->name))
				offer_argument(t, equals + 1, arg);
	} else if (*t->word == '-') {
		offer_names(t);
	} else {
		if (t->may_take)
			offer_argument(t, t->word, t->may_take);
		offer_place(t, t->nwords);
	}
}

int command_complete(int argc, char **argv)
{
	static struct typing t;

	t = (struct typing){.word = argc > 0 ? argv[argc - 1] : ""};
	if (argc > 1) {
		t.command = command_find(argv[0]);
		if (!t.command || !t.command->summary)
			return EXIT_CODE_OK;
		table_init(&t);
		read_words(&t, argc - 2, argv + 1);
		offer_all(&t);
		return EXIT_CODE_OK;
	}
	for (const struct command *c = commands; c->name; c++)
		if (c->summary)
			offer(&t, c->name, c->summary);
	if (*t.word == '-') {
		offer(&t, "--help", "Lists the commands");
		offer(&t, "--version", "Prints the version");
	}
	return EXIT_CODE_OK;
}
