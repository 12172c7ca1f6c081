/* SPDX-License-Identifier: BSD-3-Clause */
/* opt_test.c - what option texts mean, and what is said about the wrong ones */
#include "base/opt.h"


#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct disk {
	char *path, *id, *allow;
	bool ro, sync;
	uint32_t queues;
	uint64_t cache;
	int format, cow;
	struct opt_mac mac;
	int fd;
};

static const char *const formats[] = {"raw", "qcow2", NULL};
static const char *const cows[] = {"off", "here", "there", NULL};

static const struct opt rows[] = {
	OPT_FIRST(struct disk, path, "FILE", "Disk image"),
	OPT_TEXT(struct disk, id, "TEXT", "Serial number"),
	OPT_TEXTS(struct disk, allow, "RULE", "Rule"),
	OPT_FLAG(struct disk, ro, "Refuse writes"),
	OPT_FLAG(struct disk, sync, "Write through"),
	OPT_NUMBER(struct disk, queues, 1, 16, "Number of queues"),
	OPT_SIZE(struct disk, cache, 4096, 1 << 30, "Cache"),
	OPT_CHOICE(struct disk, format, formats, "Format of the image"),
	OPT_CHOICE_BARE(struct disk, cow, cows, "here", "Where writes go"),
	OPT_MAC(struct disk, mac, "Address"),
	OPT_FD(struct disk, fd, "Open file"),
	OPT_END,
};

static const struct disk defaults = {.sync = true, .queues = 1, .cache = 4096, .fd = -1};

static struct disk parsed(const char *text)
{
	struct disk d = defaults;
	struct err e = {0};

	if (opt_parse(rows, &d, text, &e) < 0)
		fail_msg("\"%s\" was refused: %s", text, e.text);
	return d;
}

/* Checks that text is refused with exactly this message. */
static void refused(const char *text, const char *message)
{
	struct disk d = defaults;
	struct err e = {0};
	int r = opt_parse(rows, &d, text, &e);

	assert_true(r < 0);
	assert_int_equal(r, -e.code);
	assert_string_equal(e.text, message);
	opt_fini(rows, &d);
}

static void choice_may_stand_alone(void **state)
{
	(void)state;
	assert_int_equal(parsed("cow").cow, 1);
	assert_int_equal(parsed("cow=there").cow, 2);
	assert_null(parsed("cow").path);
	refused("cow=", "cow: a value is missing: one of off, here, there");
	refused("ro,format", "format: a value is missing: one of raw, qcow2");
}

static void empty_text_changes_nothing(void **state)
{
	struct disk d = parsed("");

	(void)state;
	assert_memory_equal(&d, &defaults, sizeof(d));
}

static void values_of_a_key_that_takes_many_are_joined(void **state)
{
	struct disk d = parsed("allow=a,ro,allow=b;c,allow=d");

	(void)state;
	assert_string_equal(d.allow, "a;b;c;d");
	opt_fini(rows, &d);
}

static void every_kind_is_read(void **state)
{
	struct disk d = parsed("path=a.img,id=x,ro,sync=off,queues=16,cache=0x10K,format=qcow2,"
			       "mac=52:54:00:aB:0c:ff,fd=2");
	static const uint8_t mac[] = {0x52, 0x54, 0, 0xab, 0x0c, 0xff};

	(void)state;
	assert_string_equal(d.path, "a.img");
	assert_string_equal(d.id, "x");
	assert_true(d.ro);
	assert_false(d.sync);
	assert_int_equal(d.queues, 16);
	assert_int_equal(d.cache, 16 << 10);
	assert_int_equal(d.format, 1);
	assert_true(d.mac.is_set);
	assert_memory_equal(d.mac.byte, mac, sizeof(mac));
	assert_int_equal(d.fd, 2);
	opt_fini(rows, &d);
	assert_null(d.path);
}

static void first_word_needs_no_key(void **state)
{
	struct disk d = parsed("/a/b c,ro");

	(void)state;
	assert_string_equal(d.path, "/a/b c");
	assert_true(d.ro);
	opt_fini(rows, &d);
}

static void first_word_that_is_a_flag_is_the_flag(void **state)
{
	struct disk d = parsed("ro,path=x");

	(void)state;
	assert_true(d.ro);
	assert_string_equal(d.path, "x");
	opt_fini(rows, &d);
}

static void doubled_comma_is_part_of_the_value(void **state)
{
	struct disk d = parsed("path=a,,b,,,ro");

	(void)state;
	assert_string_equal(d.path, "a,b,");
	assert_true(d.ro);
	opt_fini(rows, &d);
}

static void equals_sign_in_a_value_is_kept(void **state)
{
	struct disk d = parsed("path=a=b");

	(void)state;
	assert_string_equal(d.path, "a=b");
	opt_fini(rows, &d);
}

static void wrong_values_name_key_value_and_remedy(void **state)
{
	(void)state;
	refused("queues=17", "queues: \"17\": not a number from 1 to 16");
	refused("queues=0", "queues: \"0\": not a number from 1 to 16");
	refused("queues=1x", "queues: \"1x\": not a number from 1 to 16");
	refused("queues=-1", "queues: \"-1\": not a number from 1 to 16");
	refused("queues=99999999999999999999",
		"queues: \"99999999999999999999\": not a number from 1 to 16");
	refused("cache=1", "cache: \"1\": not a size from 4K to 1G");
	refused("cache=4Kb", "cache: \"4Kb\": not a size from 4K to 1G");
	refused("cache=99999999999T", "cache: \"99999999999T\": not a size from 4K to 1G");
	refused("format=vhd", "format: \"vhd\": not one of raw, qcow2");
	refused("ro=maybe", "ro: \"maybe\": not on or off");
	refused("ro=", "ro: \"\": not on or off");
	refused("mac=1", "mac: \"1\": not an address such as 52:54:00:12:34:56");
	refused("mac=52:54:00:12:34:56:", "mac: \"52:54:00:12:34:56:\": not an address such as "
					  "52:54:00:12:34:56");
	refused("mac=52:54:00:12:34:5g", "mac: \"52:54:00:12:34:5g\": not an address such as "
					 "52:54:00:12:34:56");
	refused("fd=x", "fd: \"x\": not the number of an open descriptor");
	refused("fd=987654", "fd: \"987654\": descriptor 987654 is not open in this process");
}

static void missing_value(void **state)
{
	(void)state;
	refused("ro,queues", "queues: a value is missing: a number from 1 to 16");
	refused("path=", "path: a value is missing: FILE");
	refused("ro,format=", "format: a value is missing: one of raw, qcow2");
}

static void unknown_and_repeated_keys_are_refused(void **state)
{
	(void)state;
	refused("a,b",
		"unknown key \"b\"; known: path, id, allow, ro, sync, queues, cache, format, "
		"cow, mac, fd");
	refused("x=1",
		"unknown key \"x\"; known: path, id, allow, ro, sync, queues, cache, format, "
		"cow, mac, fd");
	refused("ro,ro", "ro is given twice");
	refused("a,path=b", "path is given twice");
	refused("ro,", "an empty word between commas");
	refused(",", "an empty word between commas");
	refused("=5", "a key is missing in front of \"=5\"");
}

static void table_without_rows_takes_nothing(void **state)
{
	static const struct opt none[] = {OPT_END};
	struct err e = {0};
	int target = 0;

	(void)state;
	assert_int_equal(opt_parse(none, &target, "", &e), 0);
	assert_int_equal(opt_parse(none, &target, "x", &e), -EINVAL);
	assert_string_equal(e.text, "unknown key \"x\": no keys are taken here");
}

static void keys_compare_whole(void **state)
{
	static const struct opt table[] = {
		{.name = "queue_size", .kind = OPT_KIND_FLAG},
		{.name = "a-b", .kind = OPT_KIND_FLAG},
		OPT_END,
	};

	(void)state;
	assert_ptr_equal(opt_find(table, "queue-size"), &table[0]);
	assert_ptr_equal(opt_find(table, "queue_size"), &table[0]);
	assert_ptr_equal(opt_find(table, "a_b"), &table[1]);
	assert_null(opt_find(table, "queue"));
	assert_null(opt_find(table, "queue-sizes"));
	assert_null(opt_find(table, ""));
}

static void sizes_and_numbers_use_the_whole_text(void **state)
{
	uint64_t n = 0;

	(void)state;
	assert_int_equal(opt_number("+12", &n), 0);
	assert_int_equal(n, 12);
	assert_int_equal(opt_number("0xfF", &n), 0);
	assert_int_equal(n, 255);
	assert_int_equal(opt_number("010", &n), 0);
	assert_int_equal(n, 10);
	assert_int_equal(opt_number("18446744073709551615", &n), 0);
	assert_true(n == UINT64_MAX);
	assert_int_equal(opt_number("18446744073709551616", &n), -ERANGE);
	assert_int_equal(opt_number("", &n), -EINVAL);
	assert_int_equal(opt_number("0x", &n), -EINVAL);
	assert_int_equal(opt_number(" 1", &n), -EINVAL);
	assert_int_equal(opt_number("1K", &n), -EINVAL);
	assert_int_equal(opt_size("3k", &n), 0);
	assert_int_equal(n, 3072);
	assert_int_equal(opt_size("2T", &n), 0);
	assert_true(n == UINT64_C(2) << 40);
	assert_int_equal(opt_size("16777216T", &n), -ERANGE);
	assert_int_equal(opt_size("x", &n), -EINVAL);
	assert_int_equal(opt_size("1Mi", &n), -EINVAL);
}

/* What print(table, stream) writes. */
static void printed(void (*print)(FILE *out), char *buf, size_t n)
{
	FILE *out = fmemopen(buf, n, "w");

	memset(buf, 0, n);
	assert_non_null(out);
	print(out);
	fclose(out);
}

static void print_help(FILE *out)
{
	opt_help(rows, "  ", out);
}

static void print_mdoc(FILE *out)
{
	opt_mdoc(rows, out);
}

static void help_has_a_line_for_every_row(void **state)
{
	char text[2048];

	(void)state;
	printed(print_help, text, sizeof(text));

	assert_non_null(strstr(text, "  path=FILE               Disk image\n"));
	assert_non_null(strstr(text, "  format=raw|qcow2        Format of the image\n"));
	assert_non_null(strstr(text, "  queues=N                Number of queues (1 to 16)\n"));
}

static void mdoc_has_an_item_for_every_row(void **state)
{
	char text[2048];

	(void)state;
	printed(print_mdoc, text, sizeof(text));

	assert_non_null(strstr(text, ".It Cm ro\nRefuse writes.\n"));
	assert_non_null(strstr(text, ".It Cm queues Ns = Ns Ar N\nNumber of queues (1 to 16).\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_text_changes_nothing),
		cmocka_unit_test(choice_may_stand_alone),
		cmocka_unit_test(values_of_a_key_that_takes_many_are_joined),
		cmocka_unit_test(every_kind_is_read),
		cmocka_unit_test(first_word_needs_no_key),
		cmocka_unit_test(first_word_that_is_a_flag_is_the_flag),
		cmocka_unit_test(doubled_comma_is_part_of_the_value),
		cmocka_unit_test(equals_sign_in_a_value_is_kept),
		cmocka_unit_test(wrong_values_name_key_value_and_remedy),
		cmocka_unit_test(missing_value),
		cmocka_unit_test(unknown_and_repeated_keys_are_refused),
		cmocka_unit_test(table_without_rows_takes_nothing),
		cmocka_unit_test(keys_compare_whole),
		cmocka_unit_test(sizes_and_numbers_use_the_whole_text),
		cmocka_unit_test(help_has_a_line_for_every_row),
		cmocka_unit_test(mdoc_has_an_item_for_every_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
