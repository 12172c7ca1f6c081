/* SPDX-License-Identifier: BSD-3-Clause */
/* json_fuzz.c - any text to the reader; what the writer wrote is read back the same */
#include "base/json.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

static char expected[JSON_TEXT_MAX];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void look(void *context, const char *path, const char *value)
{
	(void)context;
	if (strlen(path) >= JSON_PATH_MAX || strlen(value) >= JSON_TEXT_MAX)
		abort();
}

static void compare(void *context, const char *path, const char *value)
{
	if (strcmp(path, "a.0") != 0 || strcmp(value, expected) != 0)
		abort();
	*(bool *)context = true;
}

/* The writer leaves out what has no place on a terminal, the reader what is not ASCII then. */
static void expect(const char *text)
{
	char *to = expected;

	while (*text) {
		size_t plain = log_plain_bytes(text, strlen(text));

		if (plain > 0)
			to = mempcpy(to, text, plain);
		else
			*to++ = (unsigned char)*text < 0x80 ? *text : '?';
		text += plain > 0 ? plain : 1;
	}
	*to = '\0';
}

static void check_round_trip(const char *text)
{
	char buf[8 * JSON_TEXT_MAX];
	bool was_there = false;
	struct json j;

	json_init(&j, buf, sizeof(buf));
	json_open(&j, NULL, '{');
	json_open(&j, "a", '[');
	json_text(&j, NULL, text);
	json_close(&j, ']');
	json_close(&j, '}');
	expect(text);
	if (!json_is_object(buf, 2))
		abort();
	if (j.is_full || json_read(buf, compare, &was_there) < 0 || !was_there)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = malloc(n + 1);

	if (!text)
		return 0;
	if (n > 0)
		memcpy(text, data, n);
	text[n] = '\0';
	if (json_read(text, look, NULL) < 0 && json_is_object(text, JSON_DEPTH_MAX))
		abort(); /* the strict one takes nothing that the reader does not */
	if (strlen(text) < JSON_TEXT_MAX)
		check_round_trip(text);
	free(text);
	return 0;
}
