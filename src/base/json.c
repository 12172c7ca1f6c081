/* SPDX-License-Identifier: BSD-3-Clause */
/* json.c - the replies of the control socket: written by the VM, read by the commands */
#include "base/json.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void json_init(struct json *j, char *buf, size_t room)
{
	*j = (struct json){.buf = buf, .room = room};
	buf[0] = '\0';
}

static void put(struct json *j, const char *bytes, size_t n)
{
	if (n >= j->room - j->used) {
		j->is_full = true;
		return;
	}
	memcpy(j->buf + j->used, bytes, n);
	j->used += n;
	j->buf[j->used] = '\0';
}

/* What is no UTF-8, or a control character beyond ASCII, becomes U+FFFD, byte by byte. */
static void put_quoted(struct json *j, const char *text)
{
	const char *end = text + strlen(text);

	put(j, "\"", 1);
	while (text < end) {
		size_t plain = log_plain_bytes(text, (size_t)(end - text));
		unsigned code = (unsigned char)*text;
		char escape[8];

		if (plain > 0 && *text != '"' && *text != '\\') {
			put(j, text, plain);
			text += plain;
			continue;
		}
		if (plain > 0)
			snprintf(escape, sizeof(escape), "\\%c", *text);
		else
			snprintf(escape, sizeof(escape), "\\u%04x", code < 0x80 ? code : 0xfffd);
		put(j, escape, strlen(escape));
		text++;
	}
	put(j, "\"", 1);
}

static void put_key(struct json *j, const char *key)
{
	if (j->needs_comma)
		put(j, ",", 1);
	j->needs_comma = true;
	if (!key)
		return;
	put_quoted(j, key);
	put(j, ":", 1);
}

void json_open(struct json *j, const char *key, char bracket)
{
	put_key(j, key);
	put(j, &bracket, 1);
	j->needs_comma = false;
}

void json_close(struct json *j, char bracket)
{
	put(j, &bracket, 1);
	j->needs_comma = true;
}

void json_text(struct json *j, const char *key, const char *value)
{
	put_key(j, key);
	put_quoted(j, value);
}

void json_number(struct json *j, const char *key, uint64_t value)
{
	char number[24];

	put_key(j, key);
	snprintf(number, sizeof(number), "%llu", (unsigned long long)value);
	put(j, number, strlen(number));
}

void json_bool(struct json *j, const char *key, bool value)
{
	put_key(j, key);
	put(j, value ? "true" : "false", value ? 4 : 5);
}

void json_raw(struct json *j, const char *key, const char *value)
{
	put_key(j, key);
	put(j, value, strlen(value));
}

void json_error(struct json *j, const struct err *e)
{
	json_init(j, j->buf, j->room);
	json_open(j, NULL, '{');
	json_bool(j, "ok", false);
	json_text(j, "error", e->text);
	json_close(j, '}');
}

struct reader {
	const char *at;
	void (*value)(void *context, const char *path, const char *value);
	void *context;
	char path[JSON_PATH_MAX];
	char text[JSON_TEXT_MAX];
};

static void skip_space(struct reader *r)
{
	r->at += strspn(r->at, " \t\r\n");
}

static bool take(struct reader *r, char c)
{
	skip_space(r);
	if (*r->at != c)
		return false;
	r->at++;
	return true;
}

/* The four digits of \uXXXX. */
static int read_hex(struct reader *r, char *ret)
{
	unsigned n = 0;

	for (int i = 0; i < 4; i++) {
		static const char digits[] = "0123456789abcdef0123456789ABCDEF";
		const char *d = *r->at ? strchr(digits, *r->at) : NULL;

		if (!d)
			return -EINVAL;
		n = n * 16 + (unsigned)(d - digits) % 16;
		r->at++;
	}
	*ret = n > 0 && n < 0x80 ? (char)n : '?';
	return 0;
}

static int read_escape(struct reader *r, char *ret)
{
	static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	char c = *r->at;
	const char *found = c ? strchr(letters, c) : NULL;

	if (c)
		r->at++;
	if (c == 'u')
		return read_hex(r, ret);
	if (!found)
		return -EINVAL;
	*ret = meanings[found - letters];
	return 0;
}

/* A quoted string into r->text. */
static int read_string(struct reader *r)
{
	size_t used = 0;

	while (*r->at != '"') {
		char c = *r->at;

		if (!c)
			return -EINVAL;
		r->at++;
		if (c == '\\' && read_escape(r, &c) < 0)
			return -EINVAL;
		if (used < sizeof(r->text) - 1)
			r->text[used++] = c;
	}
	r->at++;
	r->text[used] = '\0';
	return 0;
}

/* A number or one of the words true, false and null into r->text. */
static int read_word(struct reader *r)
{
	size_t n = strspn(r->at, "+-.0123456789eEtrufalsn");

	if (n == 0 || n >= sizeof(r->text))
		return -EINVAL;
	memcpy(r->text, r->at, n);
	r->text[n] = '\0';
	r->at += n;
	return 0;
}

/* Appends a step to the path and returns its old length. */
static size_t descend(struct reader *r, const char *step)
{
	size_t length = strlen(r->path);

	snprintf(r->path + length, sizeof(r->path) - length, "%s%s", length ? "." : "", step);
	return length;
}

/* Where in the text one array or object stands. */
struct level {
	bool is_object, is_begun;
	unsigned index;
	size_t path_length; /* without our step */
};

/* Goes to the next member of the level: 1 with the path set, 0 at its end, -EINVAL. */
static int next_member(struct reader *r, struct level *l)
{
	char number[16];

	r->path[l->path_length] = '\0';
	if (take(r, l->is_object ? '}' : ']'))
		return 0;
	if (l->is_begun && !take(r, ','))
		return -EINVAL;
	l->is_begun = true;
	if (!l->is_object) {
		snprintf(number, sizeof(number), "%u", l->index++);
		descend(r, number);
		return 1;
	}
	if (!take(r, '"') || read_string(r) < 0 || !take(r, ':'))
		return -EINVAL;
	descend(r, r->text);
	return 1;
}

/* A value at r->at: 1 when it opened a new level, else 0 or -EINVAL. */
static int read_value(struct reader *r, struct level *deeper)
{
	bool is_object = take(r, '{');

	if (is_object || take(r, '[')) {
		*deeper = (struct level){.is_object = is_object, .path_length = strlen(r->path)};
		return 1;
	}
	if ((take(r, '"') ? read_string(r) : read_word(r)) < 0)
		return -EINVAL;
	r->value(r->context, r->path, r->text);
	return 0;
}

int json_read(const char *text, void (*value)(void *context, const char *path, const char *value),
	      void *context)
{
	struct reader r = {.at = text, .value = value, .context = context};
	struct level levels[JSON_DEPTH_MAX + 1];
	int depth = 0, found = read_value(&r, &levels[0]);

	depth += found > 0;
	while (depth > 0 && found >= 0) {
		found = next_member(&r, &levels[depth - 1]);
		if (found == 0)
			depth--;
		if (found <= 0)
			continue;
		found = read_value(&r, &levels[depth]);
		depth += found > 0;
		if (depth > JSON_DEPTH_MAX)
			return -EINVAL;
	}
	skip_space(&r);
	return found < 0 || *r.at ? -EINVAL : 0;
}
