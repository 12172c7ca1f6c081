/* SPDX-License-Identifier: BSD-3-Clause */
/* json_test.c - writing and reading replies */
#include "base/json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char seen[4096], context[] = "context";

static void note(void *given, const char *path, const char *value)
{
	size_t used = strlen(seen);

	assert_ptr_equal(given, context);
	snprintf(seen + used, sizeof(seen) - used, "%s=%s;", path, value);
}

static int read_text(const char *text)
{
	seen[0] = '\0';
	return json_read(text, note, context);
}

static void every_kind_is_written(void **state)
{
	char buf[256];
	struct json j;

	(void)state;
	json_init(&j, buf, sizeof(buf));
	json_open(&j, NULL, '{');
	json_bool(&j, "ok", true);
	json_number(&j, "n", UINT64_MAX);
	json_open(&j, "list", '[');
	json_text(&j, NULL, "a");
	json_bool(&j, NULL, false);
	json_open(&j, NULL, '{');
	json_close(&j, '}');
	json_close(&j, ']');
	json_text(&j, "end", "");
	json_close(&j, '}');

	assert_string_equal(buf, "{\"ok\":true,\"n\":18446744073709551615,"
				 "\"list\":[\"a\",false,{}],\"end\":\"\"}");
	assert_false(j.is_full);
}

static void text_is_escaped(void **state)
{
	char buf[64];
	struct json j;

	(void)state;
	json_init(&j, buf, sizeof(buf));
	json_text(&j, NULL, "a\"b\\c\n\x1f\x7f\xc3\xa4");
	assert_string_equal(buf, "\"a\\\"b\\\\c\\u000a\\u001f\\u007f\xc3\xa4\"");
	json_init(&j, buf, sizeof(buf));
	json_text(&j, NULL, "\xc2\x9b" "a\xff");
	assert_string_equal(buf, "\"\\ufffd\\ufffda\\ufffd\"");
}

static void full_buffer_is_told(void **state)
{
	char buf[8];
	struct json j;

	(void)state;
	json_init(&j, buf, sizeof(buf));
	json_text(&j, NULL, "12345");
	assert_false(j.is_full);
	json_init(&j, buf, sizeof(buf));
	json_text(&j, NULL, "123456");
	assert_true(j.is_full);
	assert_true(strlen(buf) < sizeof(buf));
}

static void values_come_with_their_paths(void **state)
{
	(void)state;
	assert_int_equal(read_text(" { \"a\" : [ 1 , { \"b\" : \"x\" } , [ ] ] , \"c\" : null } "),
			 0);
	assert_string_equal(seen, "a.0=1;a.1.b=x;c=null;");
	assert_int_equal(read_text("-1.5e3"), 0);
	assert_string_equal(seen, "=-1.5e3;");
	assert_int_equal(read_text("{}"), 0);
	assert_string_equal(seen, "");
	assert_int_equal(read_text("[[[[[[[[1]]]]]]]]"), 0);
	assert_string_equal(seen, "0.0.0.0.0.0.0.0=1;");
}

static void escapes_are_read(void **state)
{
	(void)state;
	assert_int_equal(read_text("\"a\\\"\\\\\\/\\n\\u0041\\u00e4\\u0000\""), 0);
	assert_string_equal(seen, "=a\"\\/\nA??;");
}

static void text_that_is_too_long_is_cut(void **state)
{
	char text[2 * JSON_TEXT_MAX + 16];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[0] = '"';
	memcpy(text + sizeof(text) - 2, "\"", 2);
	assert_int_equal(read_text(text), 0);
	assert_int_equal(strlen(seen), JSON_TEXT_MAX - 1 + 2);
	memset(text, '1', sizeof(text) - 1);
	assert_int_equal(read_text(text), -EINVAL);
}

static void path_that_is_too_long_is_cut(void **state)
{
	char text[1024] = "{\"a\":1,\"";

	(void)state;
	memset(text + strlen(text), 'k', 500);
	strcat(text, "\":{\"b\":2},\"c\":3}");
	assert_int_equal(read_text(text), 0);
	assert_memory_equal(seen, "a=1;kkkk", 8);
	assert_non_null(strstr(seen, "k=2;c=3;"));
}

static void other_texts_are_refused(void **state)
{
	static const char *const wrong[] = {
		"",
		" ",
		"{",
		"}",
		"[1",
		"[1 2]",
		"{\"a\"}",
		"{\"a\":}",
		"{a:1}",
		"[,]",
		"[1,,2]",
		"\"a",
		"\"\\x\"",
		"\"\\u12g4\"",
		"\"\\u12",
		"\"\\",
		"1 2",
		"{\"a\":1}x",
		"{\"a\":1 \"b\":2}",
		"[1}",
		"nope!",
		"[[[[[[[[[1]]]]]]]]]",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		if (read_text(wrong[i]) != -EINVAL)
			fail_msg("%s was read", wrong[i]);
}

static void one_object_is_one(void **state)
{
	static const char *const right[] = {
		"{}",
		" { } ",
		"{\"ok\":true,\"n\":[1,-2,0.5,1e9,-0,2E-3],\"s\":\"\\u00e4\\\\ \\\"\xc3\xa4\"}",
		"{\"a\":{\"b\":[{}]},\"c\":null,\"d\":false}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(right); i++)
		if (!json_is_object(right[i], 4))
			fail_msg("%s was refused", right[i]);
}

static void anything_else_is_not_an_object(void **state)
{
	static const char *const wrong[] = {
		"",
		"[]",
		"\"a\"",
		"{",
		"}",
		"{}{}",
		"{}x",
		"{]",
		"{\"a\":[}",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{,\"a\":1}",
		"{\"a\":[1,]}",
		"{\"a\":[1 2]}",
		"{a:1}",
		"{1:1}",
		"{\"a\":01}",
		"{\"a\":-}",
		"{\"a\":1.}",
		"{\"a\":1e}",
		"{\"a\":+1}",
		"{\"a\":nulltrue}",
		"{\"a\":tru}",
		"{\"a\":\"\\x\"}",
		"{\"a\":\"\\u12\"}",
		"{\"a\":\"\\",
		"{\"a\":\"b",
		"{\"a\":\"\n\"}",
		"{\"a\":\"\x7f\"}",
		"{\"a\":\"\xc2\x9b\"}", /* as good as an escape */
		"{\"a\":\"\x9b\"}",
		"{\"a\":\"\xc3\"}",
		"{\"a\":\"\xc3",
		"{\n}",
		"{}\r",
		"{\"a\":{\"b\":{\"c\":{\"d\":1}}}}", /* four levels */
		"{\"a\":[[[[1]]]]}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		if (json_is_object(wrong[i], 3))
			fail_msg("%s was taken", wrong[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_is_written),
		cmocka_unit_test(text_is_escaped),
		cmocka_unit_test(full_buffer_is_told),
		cmocka_unit_test(values_come_with_their_paths),
		cmocka_unit_test(escapes_are_read),
		cmocka_unit_test(text_that_is_too_long_is_cut),
		cmocka_unit_test(path_that_is_too_long_is_cut),
		cmocka_unit_test(other_texts_are_refused),
		cmocka_unit_test(one_object_is_one),
		cmocka_unit_test(anything_else_is_not_an_object),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
