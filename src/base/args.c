/* SPDX-License-Identifier: BSD-3-Clause */
/* args.c - command lines: -c 4, -c4, --cpus=4, --cpus 4, words */
#include "base/args.h"

#include "base/num.h"
#include "base/similar.h"

#include <errno.h>
#include <string.h>

enum {
	HELP_COLUMN = 26,    /* where the sentences begin */
	KEY_MAX = 32,	  /* longer than any key */
};

#define KEY_LETTERS "abcdefghijklmnopqrstuvwxyz0123456789-_"

void args_init(struct args *a, const struct arg *table, int argc, char *const *argv)
{
	*a = (struct args){.table = table, .argc = argc, .argv = argv};
}

const struct arg *args_find(const struct arg *table, const char *name, size_t n)
{
	for (; table->name; table++)
		if (opt_is_same_key(table->name, name, n))
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

const char *args_similar(const struct arg *table, const char *name, size_t n)
{
	struct similar similar;

	similar_init(&similar, name, n);
	for (; table->name; table++)
		if (!table->is_refused)
			similar_try(&similar, table->name);
	return similar.best;
}

static enum args_kind unknown_name(const struct args *a, const char *dashes, const char *name,
				   size_t n, struct err *e)
{
	const char *similar = args_similar(a->table, name, n);
	int shown = (int)min_size(n, 200);

	if (similar)
		err_say(e, EINVAL, "%s%.*s: unknown option; did you mean --%s?", dashes, shown,
			name, similar);
	else
		err_say(e, EINVAL, "%s%.*s: unknown option; see --help", dashes, shown, name);
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

/* Whether word begins with what looks like "key=", or with a flag or a choice up to a comma. */
static bool is_option_text(const struct opt *keys, const char *word)
{
	size_t n = strcspn(word, "=,");
	char key[KEY_MAX + 1];
	const struct opt *row;

	if (n == 0 || n >= sizeof(key))
		return false;
	memcpy(key, word, n);
	key[n] = '\0';
	row = opt_find(keys, key);
	if (word[n] != '=' && is_first_choice(keys, word, n))
		return true;
	return (row && row->kind == OPT_KIND_FLAG) ||
	       (word[n] == '=' && strspn(word, KEY_LETTERS) == n);
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
	const struct arg *arg = args_find(a->table, name, n);

	if (!arg && n == 1)
		arg = find_letter(a->table, *name);
	if (!arg)
		return unknown_name(a, "--", name, n, e);
	return finish(a, arg, "--", name[n] ? name + n + 1 : NULL, ret, e);
}

static enum args_kind short_option(struct args *a, const char *word, struct args_item *ret,
				   struct err *e)
{
	size_t n = strcspn(word, "=");
	const struct arg *arg = n > 1 ? args_find(a->table, word, n) : NULL;

	if (arg && arg->is_refused) /* as other programs write long options */
		return finish(a, arg, "-", word[n] ? word + n + 1 : NULL, ret, e);
	if (arg)
		return unknown_name(a, "-", word, n, e);
	arg = find_letter(a->table, *word);
	if (!*word || !arg)
		return unknown_name(a, "-", word, n, e);
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
	*ret_item = (struct args_item){0};
	word = a->argv[a->at++];
	if (a->words_only || word[0] != '-' || (word[1] >= '0' && word[1] <= '9')) {
		ret_item->value = word;
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
