/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * args.h - command lines: -c 4, -c4, --cpus=4, --cpus 4, --c=4, words
 *
 * Options and words may be mixed; after "--" everything is a word, and a negative number always is.
 * An option that takes a value takes the next word, whatever it looks like.  A mistake is one
 * result like the others, so that all mistakes of a line can be told at once.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/opt.h"

#include <stdbool.h>
#include <stddef.h>

struct arg {
	const char *name; /* long name without dashes; NULL ends the table */
	char letter;	  /* short name, or 0 */
	const char *value; /* what the value is called, "FILE"; NULL: takes none */

	/*
	 * Not NULL: the value may be left out.  The next word is the value only if it begins with
	 * what looks like "key=", a flag of this table, or a choice that needs no key;
	 * --name=value always works.
	 */
	const struct opt *keys;
	const char *help;

	/* Known only to be refused by whoever reads it: never suggested; with one dash, too. */
	bool is_refused;
};

struct args {
	const struct arg *table;
	char *const *argv;
	int argc, at;
	bool words_only; /* "--" was seen */
};

enum args_kind {
	ARGS_END,
	ARGS_OPTION, /* item.arg and item.value (NULL: none given) */
	ARGS_WORD,   /* item.value */
	ARGS_WRONG,  /* *e says what, item.arg of which (NULL: unknown); the next call goes on */
};

struct args_item {
	const struct arg *arg;
	const char *value;
};

/* The row whose name is the first n bytes of name, or NULL; "-" and "_" are the same. */
const struct arg *args_find(const struct arg *table, const char *name, size_t n);

/* The name to offer in place of one that is unknown, never one that is refused; or NULL. */
const char *args_similar(const struct arg *table, const char *name, size_t n);

/* argv without the program's name. */
void args_init(struct args *a, const struct arg *table, int argc, char *const *argv);

enum args_kind args_next(struct args *a, struct args_item *ret_item, struct err *e) MUST_CHECK;

/* A line or two for --help. */
void args_help(const struct arg *arg, FILE *out);
