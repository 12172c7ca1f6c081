/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * json_check.c - whether a text from someone untrusted is exactly one JSON object
 *
 * The grammar of RFC 8259 with two differences, for the text may go to a terminal: the only space
 * is the blank, so that it is one line, and strings have none of the control characters beyond
 * ASCII.  Which brackets are open is one bit a level, so there is no recursion.
 */
#include "base/json.h"

#include "base/log.h"

#include <string.h>

enum { CHECK_DEPTH_MAX = 64, UTF8_MAX = 4 /* bytes of a character */ };

struct check {
	const char *at;
	uint64_t objects; /* bit n: level n is an object, else an array */
	unsigned depth, depth_max;
	bool is_fresh; /* nothing yet in the innermost level */
};

static void skip_space(struct check *c)
{
	c->at += strspn(c->at, " ");
}

static bool take(struct check *c, char wanted)
{
	skip_space(c);
	if (*c->at != wanted)
		return false;
	c->at++;
	return true;
}

/* At the backslash; ends at the last character that it takes. */
static bool check_escape(struct check *c)
{
	c->at++;
	if (*c->at == 'u')
		return strspn(++c->at, "0123456789abcdefABCDEF") >= 4;
	return *c->at && strchr("\"\\/bfnrt", *c->at);
}

/* Behind the opening quote. */
static bool check_string(struct check *c)
{
	while (*c->at != '"') {
		size_t plain = log_plain_bytes(c->at, strnlen(c->at, UTF8_MAX));

		if (plain == 0 || (*c->at == '\\' && !check_escape(c)))
			return false;
		c->at += plain;
	}
	c->at++;
	return true;
}

/* Digits at the place, at least one. */
static bool check_digits(struct check *c)
{
	size_t n = strspn(c->at, "0123456789");

	c->at += n;
	return n > 0;
}

static bool check_number(struct check *c)
{
	c->at += *c->at == '-';
	if (*c->at == '0' && c->at[1] >= '0' && c->at[1] <= '9')
		return false;
	if (!check_digits(c))
		return false;
	if (*c->at == '.') {
		c->at++;
		if (!check_digits(c))
			return false;
	}
	if (*c->at != 'e' && *c->at != 'E')
		return true;
	c->at++;
	c->at += *c->at == '+' || *c->at == '-';
	return check_digits(c);
}

static bool check_word(struct check *c)
{
	static const char *const words[] = {"true", "false", "null"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		size_t n = strlen(words[i]);

		if (strncmp(c->at, words[i], n) == 0) {
			c->at += n;
			return true;
		}
	}
	return check_number(c);
}

static bool open_level(struct check *c, bool is_object)
{
	if (c->depth == c->depth_max || c->depth == CHECK_DEPTH_MAX)
		return false;
	c->objects &= ~(UINT64_C(1) << c->depth);
	c->objects |= (uint64_t)is_object << c->depth;
	c->depth++;
	c->is_fresh = true;
	return true;
}

static bool check_value(struct check *c)
{
	bool is_object = take(c, '{');

	if (is_object || take(c, '['))
		return open_level(c, is_object);
	c->is_fresh = false;
	return take(c, '"') ? check_string(c) : check_word(c);
}

/* The next member of the innermost level, or its end. */
static bool check_member(struct check *c)
{
	bool is_object = c->objects >> (c->depth - 1) & 1;

	if (take(c, is_object ? '}' : ']')) {
		c->depth--;
		c->is_fresh = false;
		return true;
	}
	if (!c->is_fresh && !take(c, ','))
		return false;
	if (is_object && !(take(c, '"') && check_string(c) && take(c, ':')))
		return false;
	return check_value(c);
}

bool json_is_object(const char *text, unsigned depth_max)
{
	struct check c = {.at = text, .depth_max = depth_max};

	if (!take(&c, '{') || !open_level(&c, true))
		return false;
	while (c.depth > 0)
		if (!check_member(&c))
			return false;
	skip_space(&c);
	return *c.at == '\0';
}
