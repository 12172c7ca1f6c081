/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * opt.c - option tables: reading and writing key=value,... text
 *
 * A text is cut into words at single commas; a doubled comma is one comma of the word.  Each word
 * is key=value, a flag's key, or (the first only) the value of the row marked first.
 */
#include "base/opt.h"

#include "base/fd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 64 /* bits of the word that notes which keys were given */ };

bool opt_is_same_key(const char *a, const char *b, size_t b_length)
{
	size_t i;

	for (i = 0; i < b_length && a[i]; i++)
		if ((a[i] == '_' ? '-' : a[i]) != (b[i] == '_' ? '-' : b[i]))
			return false;
	return i == b_length && !a[i];
}

static const struct opt *find(const struct opt *table, const char *name, size_t length)
{
	for (; table->kind != OPT_KIND_END; table++)
		if (opt_is_same_key(table->name, name, length))
			return table;
	return NULL;
}

const struct opt *opt_find(const struct opt *table, const char *name)
{
	return find(table, name, strlen(name));
}

void *opt_field(const struct opt *row, void *target)
{
	return (char *)target + row->offset;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 16;
}

/* Reads the digits at *text and moves it behind them. */
static int read_digits(const char **text, uint64_t base, uint64_t *ret)
{
	const char *at = *text;
	uint64_t n = 0;

	for (; (uint64_t)digit(*at) < base; at++)
		if (__builtin_mul_overflow(n, base, &n) ||
		    __builtin_add_overflow(n, (uint64_t)digit(*at), &n))
			return -ERANGE;
	if (at == *text)
		return -EINVAL;
	*text = at;
	*ret = n;
	return 0;
}

static int read_number(const char **text, uint64_t *ret)
{
	if (**text == '+')
		(*text)++;
	if (strncmp(*text, "0x", 2) != 0 && strncmp(*text, "0X", 2) != 0)
		return read_digits(text, 10, ret);
	*text += 2;
	return read_digits(text, 16, ret);
}

int opt_number(const char *text, uint64_t *ret)
{
	uint64_t n;
	int r = read_number(&text, &n);

	if (r < 0)
		return r;
	if (*text)
		return -EINVAL;
	*ret = n;
	return 0;
}

int opt_size(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGT";
	const char *unit = NULL;
	uint64_t n;
	int r = read_number(&text, &n);

	if (r < 0)
		return r;
	if (*text)
		unit = strchr(units, *text >= 'a' && *text <= 'z' ? *text - 'a' + 'A' : *text);
	if (*text && (!unit || text[1]))
		return -EINVAL;
	for (; unit && unit >= units; unit--)
		if (__builtin_mul_overflow(n, 1024u, &n))
			return -ERANGE;
	*ret = n;
	return 0;
}

/* "not a number from 1 to 16" */
static int refuse(const struct opt *row, struct err *e)
{
	char accepted[ERR_TEXT_MAX / 2];

	opt_describe(row, accepted, sizeof(accepted));
	return err_say(e, EINVAL, "not %s", accepted);
}

static int set_flag(bool *field, const char *value)
{
	static const char *const words[] = {"true", "on", "yes", "1", "false", "off", "no", "0"};

	if (!value) {
		*field = true;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(value, words[i]) == 0) {
			*field = i < ARRAY_LEN(words) / 2;
			return 0;
		}
	return -EINVAL;
}

static int set_text(const struct opt *row, char **field, const char *value, struct err *e)
{
	bool is_more = row->many && *field;
	char *copy = NULL;

	if (asprintf(&copy, "%s%s%s", is_more ? *field : "", is_more ? ";" : "", value) < 0)
		return err_set(e, ENOMEM, "cannot keep the value");
	free(*field);
	*field = copy;
	return 0;
}

static int set_choice(const struct opt *row, int *field, const char *value)
{
	for (int i = 0; row->choices[i]; i++)
		if (strcmp(row->choices[i], value) == 0) {
			*field = i;
			return 0;
		}
	return -EINVAL;
}

static int set_mac(struct opt_mac *field, const char *value)
{
	struct opt_mac mac = {.is_set = true};

	for (size_t i = 0; i < sizeof(mac.byte); i++, value += 3) {
		int high = digit(value[0]);
		int low = high < 16 ? digit(value[1]) : 16;

		if (low >= 16 || value[2] != (i + 1 < sizeof(mac.byte) ? ':' : '\0'))
			return -EINVAL;
		mac.byte[i] = (uint8_t)(high * 16 + low);
	}
	*field = mac;
	return 0;
}

static int set_fd(int *field, const char *value, struct err *e)
{
	uint64_t n;

	if (opt_number(value, &n) < 0 || n > INT_MAX)
		return -EINVAL;
	if (fcntl((int)n, F_GETFD) < 0)
		return err_say(e, EBADF, "descriptor %s is not open in this process", value);
	*field = (int)n;
	return 0;
}

/* A number in the row's range. */
static int ranged(const struct opt *row, int (*read)(const char *, uint64_t *), const char *value,
		  uint64_t *ret)
{
	int r = read(value, ret);

	if (r == 0 && (*ret < row->min || *ret > row->max))
		r = -ERANGE;
	return r;
}

/* Sets the field; errors without words yet leave e->code 0. */
static int set_field(const struct opt *row, void *field, const char *value, struct err *e)
{
	uint64_t n;
	int r;

	switch (row->kind) {
	case OPT_KIND_FLAG:
		return set_flag(field, value);
	case OPT_KIND_TEXT:
		return set_text(row, field, value, e);
	case OPT_KIND_NUMBER:
		r = ranged(row, opt_number, value, &n);
		if (r == 0)
			*(uint32_t *)field = (uint32_t)n;
		return r;
	case OPT_KIND_SIZE:
		r = ranged(row, opt_size, value, &n);
		if (r == 0)
			*(uint64_t *)field = n;
		return r;
	case OPT_KIND_CHOICE:
		return set_choice(row, field, value);
	case OPT_KIND_MAC:
		return set_mac(field, value);
	case OPT_KIND_FD:
		return set_fd(field, value, e);
	case OPT_KIND_END:
		break;
	}
	return -EINVAL;
}

int opt_set(const struct opt *row, void *target, const char *value, struct err *e)
{
	int r;

	if (!value)
		value = row->bare;
	if (row->kind != OPT_KIND_FLAG && (!value || !*value)) {
		char accepted[ERR_TEXT_MAX / 2];

		opt_describe(row, accepted, sizeof(accepted));
		return err_say(e, EINVAL, "a value is missing: %s", accepted);
	}
	e->code = 0;
	r = set_field(row, opt_field(row, target), value, e);
	if (r < 0 && e->code == 0)
		r = refuse(row, e);
	if (r < 0 && value)
		return err_in(e, "\"%s\"", value);
	return r;
}

const char *opt_word(const char *text, char *word)
{
	for (; *text; text++) {
		if (*text == ',' && text[1] != ',')
			break;
		if (*text == ',')
			text++;
		*word++ = *text;
	}
	*word = '\0';
	return text;
}

static int unknown_key(const struct opt *table, const char *key, struct err *e)
{
	char known[ERR_TEXT_MAX / 2] = "";
	size_t used = 0;

	for (; table->kind != OPT_KIND_END && used < sizeof(known); table++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
					 used ? ", " : "", table->name);
	if (used == 0)
		return err_say(e, EINVAL, "unknown key \"%.100s\": no keys are taken here", key);
	for (char *at = known; *at; at++)
		if (*at == '_')
			*at = '-';
	return err_say(e, EINVAL, "unknown key \"%.100s\"; known: %s", key, known);
}

static const struct opt *row_marked_first(const struct opt *table)
{
	for (; table->kind != OPT_KIND_END; table++)
		if (table->first)
			return table;
	return NULL;
}

static bool can_stand_alone(const struct opt *row)
{
	return row->kind == OPT_KIND_FLAG || row->bare;
}

/* One word; seen notes the rows that were set. */
static int parse_word(const struct opt *table, void *target, char *word, bool is_first,
		      uint64_t *seen, struct err *e)
{
	char *value = strchr(word, '=');
	const struct opt *row = find(table, word, value ? (size_t)(value - word) : strlen(word));
	uint64_t bit;

	if (value)
		*value++ = '\0';
	if (!*word)
		return err_say(e, EINVAL,
			       value ? "a key is missing in front of \"=%s\""
				     : "an empty word between commas%s",
			       value ? value : "");
	if (is_first && !value && !(row && can_stand_alone(row)) && row_marked_first(table)) {
		row = row_marked_first(table);
		value = word;
	}
	if (!row)
		return unknown_key(table, word, e);
	bit = UINT64_C(1) << (row - table);
	if ((*seen & bit) && !row->many)
		return err_say(e, EINVAL, "%s is given twice", row->name);
	*seen |= bit;
	if (opt_set(row, target, value, e) < 0)
		return err_in(e, "%s", row->name);
	return 0;
}

static size_t count_rows(const struct opt *table)
{
	size_t n = 0;

	while (table[n].kind != OPT_KIND_END)
		n++;
	return n;
}

int opt_parse(const struct opt *table, void *target, const char *text, struct err *e)
{
	char small[OPT_NO_MALLOC_MAX + 1], *large auto_free = NULL, *word = small;
	uint64_t seen = 0;
	bool is_first = true;

	assert(count_rows(table) <= ROWS_MAX);
	if (strlen(text) >= sizeof(small))
		word = large = malloc(strlen(text) + 1);
	if (!word)
		return err_set(e, ENOMEM, "cannot read the options");
	if (!*text)
		return 0;
	for (;;) {
		int r;

		text = opt_word(text, word);
		r = parse_word(table, target, word, is_first, &seen, e);
		if (r < 0 || !*text)
			return r;
		text++;
		is_first = false;
	}
}

void opt_fini(const struct opt *table, void *target)
{
	for (; table->kind != OPT_KIND_END; table++)
		if (table->kind == OPT_KIND_TEXT) {
			char **field = opt_field(table, target);

			free(*field);
			*field = NULL;
		}
}

int opt_append(char *buf, size_t n, const char *key, const char *value)
{
	size_t used = strlen(buf);
	size_t need = (used > 0) + strlen(key) + (value ? 1 + strlen(value) : 0);

	for (const char *p = value; p && *p; p++)
		need += *p == ',';
	if (need >= n - used)
		return -ENOSPC;
	buf += used;
	if (used > 0)
		*buf++ = ',';
	buf = stpcpy(buf, key);
	if (value)
		*buf++ = '=';
	for (; value && *value; value++) {
		if (*value == ',')
			*buf++ = ',';
		*buf++ = *value;
	}
	*buf = '\0';
	return 0;
}

static void print_size(uint64_t n, char *buf, size_t room)
{
	static const char units[] = "KMGT";
	int unit = -1;

	while (n >= 1024 && n % 1024 == 0 && unit < 3) {
		n /= 1024;
		unit++;
	}
	snprintf(buf, room, "%llu%.*s", (unsigned long long)n, unit >= 0,
		 &units[unit < 0 ? 0 : unit]);
}

static void describe_range(const struct opt *row, char *buf, size_t n)
{
	char from[32], to[32];

	if (row->kind == OPT_KIND_NUMBER) {
		snprintf(buf, n, "a number from %llu to %llu", (unsigned long long)row->min,
			 (unsigned long long)row->max);
		return;
	}
	print_size(row->min, from, sizeof(from));
	print_size(row->max, to, sizeof(to));
	if (row->max == UINT64_MAX)
		snprintf(buf, n, "a size of %s or more (K, M, G, T)", from);
	else
		snprintf(buf, n, "a size from %s to %s", from, to);
}

void opt_describe(const struct opt *row, char *buf, size_t n)
{
	size_t used;

	switch (row->kind) {
	case OPT_KIND_FLAG:
		snprintf(buf, n, "on or off");
		return;
	case OPT_KIND_TEXT:
		snprintf(buf, n, "%s", row->value ? row->value : "text");
		return;
	case OPT_KIND_NUMBER:
	case OPT_KIND_SIZE:
		describe_range(row, buf, n);
		return;
	case OPT_KIND_CHOICE:
		snprintf(buf, n, "one of");
		for (int i = 0; row->choices[i] && (used = strlen(buf)) + 1 < n; i++)
			snprintf(buf + used, n - used, "%s %s", i ? "," : "", row->choices[i]);
		return;
	case OPT_KIND_MAC:
		snprintf(buf, n, "an address such as 52:54:00:12:34:56");
		return;
	case OPT_KIND_FD:
		snprintf(buf, n, "the number of an open descriptor");
		return;
	case OPT_KIND_END:
		break;
	}
}
