/* SPDX-License-Identifier: BSD-3-Clause */
/* image_qcow2_header_test.c - headers: what is made is read back, what is wrong is refused */
#include "backend/image_qcow2.h"

#include "backend/image_qcow2_format.h"
#include "base/fd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static int made(uint64_t size, const struct qcow2_create_options *o)
{
	int fd = memfd_create("image_qcow2_header_test", MFD_CLOEXEC);
	struct err e = {0};

	assert_true(fd >= 0);
	if (qcow2_create(fd, size, o, &e) < 0)
		fail_msg("%s", e.text);
	return fd;
}

static void what_is_made_is_read_back(void **state)
{
	const struct qcow2_create_options o = {.cluster_bits = 12,
					       .refcount_bits = 8,
					       .lazy_refcounts = true,
					       .compression = QCOW2_ZSTD,
					       .backing = "folder/base.img",
					       .backing_format = "raw"};
	auto_fd fd = made(5000000, &o);
	struct qcow2_header h;
	struct err e = {0};

	(void)state;
	assert_int_equal(qcow2_header_read(fd, &h, &e), 0);

	assert_int_equal(h.version, 3);
	assert_int_equal(h.cluster_bits, 12);
	assert_int_equal(h.refcount_order, 3);
	assert_int_equal(h.size, 5000192); /* whole sectors */
	assert_int_equal(h.compatible, QCOW2_LAZY_REFCOUNTS);
	assert_int_equal(h.compression, QCOW2_ZSTD);
	assert_string_equal(h.backing, "folder/base.img");
	assert_string_equal(h.backing_format, "raw");
}

static void version_two_has_no_features(void **state)
{
	auto_fd fd = made(1 << 20, &(struct qcow2_create_options){.version = 2});
	struct qcow2_header h;
	struct err e = {0};

	(void)state;
	assert_int_equal(qcow2_header_read(fd, &h, &e), 0);

	assert_int_equal(h.version, 2);
	assert_int_equal(h.refcount_order, 4);
	assert_int_equal(h.incompatible | h.compatible | h.autoclear, 0);
}

static void impossible_images_are_not_made(void **state)
{
	static const struct {
		struct qcow2_create_options o;
		uint64_t size;
		const char *text;
	} rows[] = {
		{{.version = 4}, 1, "version 4: not 2 or 3"},
		{{.cluster_bits = 8}, 1, "512 bytes to 2 MiB"},
		{{.cluster_bits = 22}, 1, "512 bytes to 2 MiB"},
		{{.refcount_bits = 3}, 1, "refcounts of 3 bits"},
		{{.refcount_bits = 128}, 1, "refcounts of 128 bits"},
		{{.version = 2, .refcount_bits = 8}, 1, "needs version 3"},
		{{.cluster_bits = 9}, UINT64_C(1) << 38, "too large"},
		{{.cluster_bits = 21}, UINT64_MAX, "too large"},
		{{.backing = "a"}, 1, "needs its format named"},
		{{.backing = "", .backing_format = "raw"}, 1, "name of the backing file"},
		{{.backing = "a", .backing_format = "sixteen-and-more"}, 1, "not a format"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_fd fd = memfd_create("image_qcow2_header_test", MFD_CLOEXEC);
		struct err e = {0};

		assert_true(qcow2_create(fd, rows[i].size, &rows[i].o, &e) < 0);
		assert_non_null(strstr(e.text, rows[i].text));
		assert_int_equal(lseek(fd, 0, SEEK_END), 0);
	}
}

static void largest_image_takes_little_room(void **state)
{
	uint64_t size = qcow2_size_max(9);
	auto_fd fd = made(size, &(struct qcow2_create_options){.cluster_bits = 9});
	struct qcow2_header h;
	struct err e = {0};

	(void)state;
	assert_int_equal(qcow2_header_read(fd, &h, &e), 0);
	assert_int_equal(h.size, size);
	assert_int_equal(h.l1_entries, QCOW2_L1_BYTES_MAX / 8);
}

#define FIELD(f) offsetof(struct qcow2_raw_header, f), sizeof(((struct qcow2_raw_header *)0)->f)

static void wrong_headers_are_refused(void **state)
{
	static const struct {
		size_t offset, bytes;
		uint64_t value;
		int error;
		const char *text;
	} rows[] = {
		{FIELD(magic), 0x514649fa, -EINVAL, "not a qcow2 image"},
		{FIELD(version), 1, -ENOTSUP, "version 1"},
		{FIELD(version), 4, -ENOTSUP, "version 4"},
		{FIELD(cluster_bits), 8, -EINVAL, "cluster_bits 8"},
		{FIELD(cluster_bits), 22, -EINVAL, "cluster_bits 22"},
		{FIELD(cluster_bits), 0xffffffff, -EINVAL, "cluster_bits"},
		{FIELD(size), UINT64_MAX, -EINVAL, "too large"},
		{FIELD(size), INT64_MAX, -EINVAL, "too small"},
		{FIELD(size), UINT64_C(1) << 40, -EINVAL, "too small"},
		{FIELD(crypt_method), 1, -ENOTSUP, "AES"},
		{FIELD(crypt_method), 2, -ENOTSUP, "LUKS"},
		{FIELD(crypt_method), 3, -ENOTSUP, "unknown"},
		{FIELD(l1_entries), 0, -EINVAL, "too small"},
		{FIELD(l1_entries), 0xffffffff, -EINVAL, "too large"},
		{FIELD(l1_entries), 4 << 20, -EINVAL, "beyond the end"},
		{FIELD(l1_offset), 0, -EINVAL, "overlap"},
		{FIELD(l1_offset), 65536, -EINVAL, "overlap"},
		{FIELD(l1_offset), 65537, -EINVAL, "start of a cluster"},
		{FIELD(l1_offset), UINT64_MAX << 16, -EINVAL, "beyond the end"},
		{FIELD(table_offset), 1, -EINVAL, "start of a cluster"},
		{FIELD(table_offset), UINT64_C(1) << 62, -EINVAL, "beyond the end"},
		{FIELD(table_clusters), 0, -EINVAL, "too small"},
		{FIELD(table_clusters), 0xffffffff, -EINVAL, "too large"},
		{FIELD(table_clusters), 128, -EINVAL, "beyond the end"},
		{FIELD(snapshots), 1, -EINVAL, "overlap"},
		{FIELD(snapshots), 65537, -EINVAL, "too many"},
		{FIELD(incompatible), QCOW2_EXTERNAL_DATA, -ENOTSUP, "external data file"},
		{FIELD(incompatible), QCOW2_EXTENDED_L2, -ENOTSUP, "extended L2"},
		{FIELD(incompatible), QCOW2_COMPRESSION_TYPE, -EINVAL, "compression type 0"},
		{FIELD(incompatible), UINT64_C(1) << 63, -ENOTSUP, "bit 63"},
		{FIELD(refcount_order), 7, -EINVAL, "refcount_order 7"},
		{FIELD(header_bytes), 100, -EINVAL, "header_length 100"},
		{FIELD(header_bytes), 105, -EINVAL, "header_length 105"},
		{FIELD(header_bytes), 0xfffffff8, -EINVAL, "header_length"},
		{FIELD(compression_type), 1, -EINVAL, "compression type 1"},
		{FIELD(compression_type), 2, -ENOTSUP, "compression type 2"},
		{FIELD(backing_offset), 8, -EINVAL, "name of the backing file"},
		{FIELD(backing_offset), UINT64_MAX, -EINVAL, "name of the backing file"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		auto_fd fd = made(1 << 20, NULL);
		const be64 value = be64_of(rows[i].value);
		struct qcow2_header h;
		struct err e = {0};

		assert_int_equal(pwrite(fd, value.b + 8 - rows[i].bytes, rows[i].bytes,
					(off_t)rows[i].offset),
				 rows[i].bytes);
		assert_int_equal(qcow2_header_read(fd, &h, &e), rows[i].error);
		if (!strstr(e.text, rows[i].text))
			fail_msg("row %zu: %s", i, e.text);
	}
}

static void unknown_feature_is_named_by_the_image(void **state)
{
	const struct {
		struct qcow2_raw_extension x;
		struct qcow2_raw_feature rows[2];
		be64 end;
	} table = {
		{be32_of(QCOW2_EXTENSION_FEATURE_NAMES), be32_of(96)},
		{{QCOW2_FEATURE_COMPATIBLE, 40, "not this"},
		 {QCOW2_FEATURE_INCOMPATIBLE, 40, "time\ntravel"}},
	};
	const be64 bits = be64_of(UINT64_C(1) << 40);
	auto_fd fd = made(1 << 20, NULL);
	struct qcow2_header h;
	struct err e = {0};

	(void)state;
	assert_int_equal(pwrite(fd, &table, sizeof(table), QCOW2_HEADER_BYTES), sizeof(table));
	assert_int_equal(pwrite(fd, &bits, 8, offsetof(struct qcow2_raw_header, incompatible)), 8);

	assert_int_equal(qcow2_header_read(fd, &h, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "bit 40 (time?travel)"));
}

static void short_files_are_no_images(void **state)
{
	struct qcow2_header h;
	struct err e = {0};

	(void)state;
	for (off_t n = 0; n < 120; n += 8) {
		auto_fd cut = made(1 << 20, NULL);

		assert_int_equal(ftruncate(cut, n), 0);
		assert_int_equal(qcow2_header_read(cut, &h, &e), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_made_is_read_back),
		cmocka_unit_test(version_two_has_no_features),
		cmocka_unit_test(impossible_images_are_not_made),
		cmocka_unit_test(largest_image_takes_little_room),
		cmocka_unit_test(wrong_headers_are_refused),
		cmocka_unit_test(unknown_feature_is_named_by_the_image),
		cmocka_unit_test(short_files_are_no_images),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
