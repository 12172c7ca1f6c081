/* SPDX-License-Identifier: BSD-3-Clause */
/* args.c - command lines: -c 4, -c4, --cpus=4, --cpus 4, words */
#include "base/args.h"

#include "base/num.h"

#include <errno.h>
#include <string.h>

enum {
	HELP_COLUMN = 26,    /* where the sentences begin */
	NAME_MAX_GUESS = 32, /* names longer than this are not compared */
};

void args_init(struct args *a, const struct arg *table, int argc, char *const *argv)
{
	*a = (struct args){.table = table, .argc = argc, .argv = argv};
}

static const struct arg *find_name(const struct arg *table, const char *name, size_t n)
{
	for (; table->name; table++)
		if (strlen(table->name) == n && memcmp(table->name, name, n) == 0)
			return table;
	return NULL;
}

static const struct arg *find_letter(const struct arg *table, char letter)
{
	for (; table->name; table++)
		if (table->letter == letter)
			return table;
	return NULL;
}

/* Letters to change, add or leave out to make b of a. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t row[NAME_MAX_GUESS + 1];

	for (size_t j = 0; j <= b_length; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_length; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_length; j++) {
			size_t changed = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = min_size(changed, 1 + min_size(row[j], row[j - 1]));
		}
	}
	return row[b_length];
}

static const char *similar_name(const struct arg *table, const char *name, size_t n)
{
	const char *best = NULL;
	size_t best_distance = n < 5 ? 2 : 3;

	if (n < 3 || n > NAME_MAX_GUESS)
		return NULL;
	for (; table->name; table++) {
		size_t length = strlen(table->name);
		size_t d;

		if (length > NAME_MAX_GUESS)
			continue;
		d = distance(name, n, table->name, length);
		if (d < best_distance && d < length) {
			best = table->name;
			best_distance = d;
		}
	}
	return best;
}

static enum args_kind unknown_name(const struct args *a, const char *name, size_t n, struct err *e)
{
	const char *similar = similar_name(a->table, name, n);

	if (similar)
		err_say(e, EINVAL, "--%.*s: unknown option; did you mean --%s?",
			(int)min_size(n, 200), name, similar);
	else
		err_say(e, EINVAL, "--%.*s: unknown option; see --help", (int)min_size(n, 200),
			name);
	return ARGS_WRONG;
}

/* Whether the first n bytes of word are a choice of the row that needs no key. */
static bool is_first_choice(const struct opt *keys, const char *word, size_t n)
{
	for (; keys->kind != OPT_KIND_END; keys++)
		for (int i = 0; keys->first && keys->choices && keys->choices[i]; i++)
			if (strlen(keys->choices[i]) == n && memcmp(keys->choices[i], word, n) == 0)
				return true;
	return false;
}

/* Whether word begins with "key=" of the table, or with a flag or a choice up to a comma. */
static bool is_option_text(const struct opt *keys, const char *word)
{
	size_t n = strcspn(word, "=,");
	char key[NAME_MAX_GUESS + 1];
	const struct opt *row;

	if (n == 0 || n >= sizeof(key))
		return false;
	memcpy(key, word, n);
	key[n] = '\0';
	row = opt_find(keys, key);
	if (word[n] != '=' && is_first_choice(keys, word, n))
		return true;
	return row && (word[n] == '=' || row->kind == OPT_KIND_FLAG);
}

static enum args_kind finish(struct args *a, const struct arg *arg, const char *dashes,
			     const char *value, struct args_item *ret, struct err *e)
{
	const char *shown = dashes[1] ? arg->name : (const char[]){arg->letter, '\0'};

	*ret = (struct args_item){.arg = arg, .value = value};
	if (value && !arg->value) {
		err_say(e, EINVAL, "%s%s: takes no value, \"%s\" was given", dashes, shown, value);
		return ARGS_WRONG;
	}
	if (value || !arg->value)
		return ARGS_OPTION;
	if (arg->keys && (a->at == a->argc || !is_option_text(arg->keys, a->argv[a->at])))
		return ARGS_OPTION;
	if (a->at == a->argc) {
		err_say(e, EINVAL, "%s%s: a value is missing: %s", dashes, shown, arg->value);
		return ARGS_WRONG;
	}
	ret->value = a->argv[a->at++];
	return ARGS_OPTION;
}

static enum args_kind long_option(struct args *a, const char *name, struct args_item *ret,
				  struct err *e)
{
	size_t n = strcspn(name, "=");
	const struct arg *arg = find_name(a->table, name, n);

	if (!arg && n == 1)
		arg = find_letter(a->table, *name);
	if (!arg)
		return unknown_name(a, name, n, e);
	return finish(a, arg, "--", name[n] ? name + n + 1 : NULL, ret, e);
}

static enum args_kind short_option(struct args *a, const char *word, struct args_item *ret,
				   struct err *e)
{
	const struct arg *arg = find_letter(a->table, *word);

	if (!*word || !arg) {
		err_say(e, EINVAL, "-%.200s: unknown option; see --help", word);
		return ARGS_WRONG;
	}
	return finish(a, arg, "-", word[1] ? word + 1 : NULL, ret, e);
}

enum args_kind args_next(struct args *a, struct args_item *ret_item, struct err *e)
{
	const char *word;

	if (a->at < a->argc && !a->words_only && strcmp(a->argv[a->at], "--") == 0) {
		a->words_only = true;
		a->at++;
	}
	if (a->at == a->argc)
		return ARGS_END;
	word = a->argv[a->at++];
	if (a->words_only || word[0] != '-' || (word[1] >= '0' && word[1] <= '9')) {
		*ret_item = (struct args_item){.value = word};
		return ARGS_WORD;
	}
	if (word[1] == '-')
		return long_option(a, word + 2, ret_item, e);
	return short_option(a, word + 1, ret_item, e);
}

void args_help(const struct arg *arg, FILE *out)
{
	char left[128];
	const char *open = arg->keys ? "[=" : " ";
	int width;

	snprintf(left, sizeof(left), "  %c%c%c --%s%s%s%s", arg->letter ? '-' : ' ',
		 arg->letter ? arg->letter : ' ', arg->letter ? ',' : ' ', arg->name,
		 arg->value ? open : "", arg->value ? arg->value : "",
		 arg->value && arg->keys ? "]" : "");
	width = (int)strlen(left);
	if (width >= HELP_COLUMN + 6)
		fprintf(out, "%s\n%*s%s\n", left, HELP_COLUMN + 6, "", arg->help);
	else
		fprintf(out, "%-*s%s\n", HELP_COLUMN + 6, left, arg->help);
}
