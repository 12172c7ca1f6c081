/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * opt.h - option tables: one language for the command line, configuration files, device processes
 * and control commands
 *
 * A table describes the fields of a struct.  The macros compare the type of the field with the kind
 * of the row, so that a text option on a bool field does not compile.  Ranges and choices are in
 * the row; checks across fields belong to whoever uses the struct.
 *
 * The syntax is key=value,key=value,flag.  A comma inside a value is written ",,".  A row with
 * OPT_FIRST names the key that a first word without "=" stands for, as in PATH,ro; a first word
 * that is a key which can stand alone is that key.  In keys "-" and "_" are the same; texts print
 * "-".
 *
 * Strings are copied (strdup); opt_fini() frees them.  Structs start zeroed or with defaults whose
 * text fields are NULL.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum opt_kind {
	OPT_KIND_END,
	OPT_KIND_FLAG,	 /* bool: key, key=true, key=false (also on/off, yes/no, 1/0) */
	OPT_KIND_TEXT,	 /* char *: non-empty */
	OPT_KIND_NUMBER, /* uint32_t: decimal or 0x, min..max */
	OPT_KIND_SIZE,	 /* uint64_t bytes: decimal with optional K, M, G, T (powers of 1024) */
	OPT_KIND_CHOICE, /* int: index of the word in choices */
	OPT_KIND_MAC,	 /* struct opt_mac: six hexadecimal groups */
	OPT_KIND_FD,	 /* int: an open descriptor of this process; -1 when unset by the caller */
};

struct opt_mac {
	bool is_set;
	uint8_t byte[6];
};

struct opt {
	const char *name;
	enum opt_kind kind;
	bool first; /* may be given as a bare first word */
	bool many;  /* text only: may be given several times; the values are joined by ";" */
	size_t offset;
	uint64_t min, max;
	const char *const *choices; /* NULL-terminated */
	const char *bare; /* choices: the word that the key alone stands for; NULL: needs one */
	const char *value;	    /* what the value is called in the help: "FILE" */
	const char *help;	    /* one sentence without a full stop */
};

/* The offset of the field; does not compile unless the field has the type of the kind. */
#define OPT_OFFSET(s, f, type) (offsetof(s, f) + _Generic(&((s *)0)->f, type * : 0u))

#define OPT_FLAG(s, f, h) \
	{.name = #f, .kind = OPT_KIND_FLAG, .offset = OPT_OFFSET(s, f, bool), .help = h}
#define OPT_TEXT(s, f, v, h)                                                                   \
	{.name = #f, .kind = OPT_KIND_TEXT, .offset = OPT_OFFSET(s, f, char *), .value = v, \
	 .help = h}
#define OPT_FIRST(s, f, v, h)                                                                  \
	{.name = #f, .kind = OPT_KIND_TEXT, .offset = OPT_OFFSET(s, f, char *), .value = v, \
	 .first = true, .help = h}
#define OPT_TEXTS(s, f, v, h)                                                                  \
	{.name = #f, .kind = OPT_KIND_TEXT, .offset = OPT_OFFSET(s, f, char *), .value = v, \
	 .many = true, .help = h}
#define OPT_NUMBER_AS(key, s, f, lo, hi, h)                                                   \
	{.name = key, .kind = OPT_KIND_NUMBER, .offset = OPT_OFFSET(s, f, uint32_t), .min = lo, \
	 .max = hi, .value = "N", .help = h}
#define OPT_NUMBER(s, f, lo, hi, h) OPT_NUMBER_AS(#f, s, f, lo, hi, h)
#define OPT_SIZE(s, f, lo, hi, h)                                                            \
	{.name = #f, .kind = OPT_KIND_SIZE, .offset = OPT_OFFSET(s, f, uint64_t), .min = lo, \
	 .max = hi, .value = "SIZE", .help = h}
#define OPT_CHOICE(s, f, words, h)                                                         \
	{.name = #f, .kind = OPT_KIND_CHOICE, .offset = OPT_OFFSET(s, f, int), .choices = words, \
	 .help = h}
#define OPT_CHOICE_BARE(s, f, words, b, h)                                                 \
	{.name = #f, .kind = OPT_KIND_CHOICE, .offset = OPT_OFFSET(s, f, int), .choices = words, \
	 .bare = b, .help = h}
#define OPT_CHOICE_FIRST(s, f, words, h)                                                   \
	{.name = #f, .kind = OPT_KIND_CHOICE, .offset = OPT_OFFSET(s, f, int), .choices = words, \
	 .first = true, .help = h}
#define OPT_MAC(s, f, h)                                                              \
	{.name = #f, .kind = OPT_KIND_MAC, .offset = OPT_OFFSET(s, f, struct opt_mac), \
	 .value = "MAC", .help = h}
#define OPT_FD(s, f, h) \
	{.name = #f, .kind = OPT_KIND_FD, .offset = OPT_OFFSET(s, f, int), .value = "FD", .help = h}
#define OPT_END {.kind = OPT_KIND_END}

enum { OPT_NO_MALLOC_MAX = 1024 };

/*
 * Reads key=value,... into target.  Memory is allocated for text fields, and for a text of more
 * than OPT_NO_MALLOC_MAX bytes; else not.  On error target may be half set (opt_fini() cleans it)
 * and the message names the key, the value and what is accepted.  A key given twice is an error,
 * but for rows that take many.
 */
int opt_parse(const struct opt *table, void *target, const char *text, struct err *e) MUST_CHECK;

/* Sets one field; value NULL for a key without "=". */
int opt_set(const struct opt *row, void *target, const char *value, struct err *e) MUST_CHECK;

/* The row of that name, or NULL. */
const struct opt *opt_find(const struct opt *table, const char *name);

/* Whether the first n bytes of key are that name; "-" and "_" are the same. */
bool opt_is_same_key(const char *name, const char *key, size_t n);

/* Frees the text fields and sets them to NULL. */
void opt_fini(const struct opt *table, void *target);

/* One line a row, for --help; prefix goes in front of each. */
void opt_help(const struct opt *table, const char *prefix, FILE *out);

/* The same rows as an mdoc list, for the manual. */
void opt_mdoc(const struct opt *table, FILE *out);

/* What a value of this row looks like, for messages: "a number from 1 to 16". */
void opt_describe(const struct opt *row, char *buf, size_t n);

/* The address of the row's field inside target, which must be of the kind's type. */
void *opt_field(const struct opt *row, void *target);

/*
 * Appends key=value (or only the key when value is NULL) to the option text in buf, with a comma in
 * front unless it is the first and commas in value doubled.  -ENOSPC when it does not fit.
 */
int opt_append(char *buf, size_t n, const char *key, const char *value) MUST_CHECK;

/*
 * Copies the first word of key=value,... into word, which has room for all of text; a comma written
 * twice becomes one.  Returns what follows: a single comma, or the end.
 */
const char *opt_word(const char *text, char *word);

/* Numbers as the tables read them; the whole text must be used.  -EINVAL or -ERANGE. */
int opt_number(const char *text, uint64_t *ret) MUST_CHECK;
int opt_size(const char *text, uint64_t *ret) MUST_CHECK;
