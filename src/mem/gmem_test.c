/* SPDX-License-Identifier: BSD-3-Clause */
/* gmem_test.c - ranges: inside, across regions that adjoin, outside, wrapping */
#include "mem/gmem.h"

#include "base/fd.h"
#include "mem/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE = 4096 };

static uint8_t first[PAGE], second[PAGE], third[PAGE];
static struct gmem m;

/* 0x1000-0x3000 in two regions, a hole, 0x10000-0x11000. */
static int set_up(void **state)
{
	(void)state;
	memset(first, 1, PAGE);
	memset(second, 2, PAGE);
	memset(third, 3, PAGE);
	gmem_init(&m);
	return gmem_add_borrowed(&m, 0x10000, PAGE, third) < 0 ||
	       gmem_add_borrowed(&m, 0x1000, PAGE, first) < 0 ||
	       gmem_add_borrowed(&m, 0x2000, PAGE, second) < 0;
}

static int tear_down(void **state)
{
	(void)state;
	gmem_fini(&m);
	return 0;
}

static void regions_are_sorted_and_summed(void **state)
{
	(void)state;
	assert_int_equal(m.nregions, 3);
	assert_int_equal(m.regions[0].base, 0x1000);
	assert_int_equal(m.regions[1].base, 0x2000);
	assert_int_equal(m.regions[2].base, 0x10000);
	assert_int_equal(gmem_size(&m), 3 * PAGE);
	assert_int_equal(gmem_end(&m), 0x11000);
}

static void region_that_cannot_be_is_refused(void **state)
{
	(void)state;
	assert_int_equal(gmem_add_borrowed(&m, 0x4000, 0, first), -EINVAL);
	assert_int_equal(gmem_add_borrowed(&m, UINT64_MAX - 10, 100, first), -EINVAL);
	assert_int_equal(gmem_add_borrowed(&m, 0x1fff, 1, first), -EINVAL);
	assert_int_equal(gmem_add_borrowed(&m, 0xf000, 0x1001, first), -EINVAL);
	assert_int_equal(gmem_add_borrowed(&m, 0x1800, 0x1000, first), -EINVAL);
	assert_int_equal(gmem_add_borrowed(&m, 0, UINT64_MAX, first), -EINVAL);
	assert_int_equal(m.nregions, 3);
}

static void number_of_regions_is_limited(void **state)
{
	(void)state;
	for (gpa a = 0x100000; m.nregions < GMEM_REGIONS_MAX; a += 0x10000)
		assert_int_equal(gmem_add_borrowed(&m, a, PAGE, first), 0);
	assert_int_equal(gmem_add_borrowed(&m, 0x8000, PAGE, first), -ENOSPC);
}

static void empty_memory_has_nothing(void **state)
{
	struct gmem none;
	char c;

	(void)state;
	gmem_init(&none);
	assert_int_equal(gmem_size(&none), 0);
	assert_int_equal(gmem_end(&none), 0);
	assert_false(gmem_read(&none, 0, &c, 1));
	assert_true(gmem_read(&none, 0, &c, 0));
	gmem_fini(&none);
	gmem_fini(NULL);
}

static void range_is_covered_or_not(void **state)
{
	(void)state;
	assert_true(gmem_covers(&m, 0x1000, 2 * PAGE));
	assert_true(gmem_covers(&m, 0x2fff, 1));
	assert_true(gmem_covers(&m, 0x5000, 0));
	assert_false(gmem_covers(&m, 0x2fff, 2));
	assert_false(gmem_covers(&m, 0xfff, 1));
	assert_false(gmem_covers(&m, 0xfff, 2));
	assert_false(gmem_covers(&m, 0x1000, 0x10000));
	assert_false(gmem_covers(&m, 0x10000, UINT64_MAX));
	assert_false(gmem_covers(&m, UINT64_MAX, 1));
	assert_false(gmem_covers(&m, UINT64_MAX, 2));
}

static void copies_cross_regions_that_adjoin(void **state)
{
	uint8_t buf[4] = {9, 9, 9, 9};

	(void)state;
	assert_true(gmem_read(&m, 0x1ffe, buf, 4));
	assert_memory_equal(buf, ((uint8_t[]){1, 1, 2, 2}), 4);

	assert_true(gmem_write(&m, 0x1ffe, "\5\6\7\x8", 4));
	assert_int_equal(first[PAGE - 2], 5);
	assert_int_equal(first[PAGE - 1], 6);
	assert_int_equal(second[0], 7);
	assert_int_equal(second[1], 8);

	assert_true(gmem_fill(&m, 0x1fff, 0xEE, 2));
	assert_int_equal(first[PAGE - 1], 0xEE);
	assert_int_equal(second[0], 0xEE);
	assert_int_equal(second[1], 8);
}

static void copy_that_does_not_fit_copies_nothing(void **state)
{
	uint8_t buf[4] = {9, 9, 9, 9};

	(void)state;
	assert_false(gmem_read(&m, 0x2ffe, buf, 4));
	assert_memory_equal(buf, ((uint8_t[]){9, 9, 9, 9}), 4);
	assert_false(gmem_write(&m, 0x2ffe, buf, 4));
	assert_false(gmem_fill(&m, 0x2ffe, 9, 4));
	assert_int_equal(second[PAGE - 2], 2);
	assert_int_equal(second[PAGE - 1], 2);
	assert_false(gmem_read(&m, UINT64_MAX - 1, buf, 4));
}

static void iov_has_a_piece_for_each_region(void **state)
{
	struct iovec v[2];

	(void)state;
	assert_int_equal(gmem_iov(&m, 0x1ff0, 0x20, v, 2), 2);
	assert_ptr_equal(v[0].iov_base, first + PAGE - 0x10);
	assert_int_equal(v[0].iov_len, 0x10);
	assert_ptr_equal(v[1].iov_base, second);
	assert_int_equal(v[1].iov_len, 0x10);
	assert_int_equal(gmem_iov(&m, 0x1ff0, 0x20, v, 1), -E2BIG);
	assert_int_equal(gmem_iov(&m, 0x2ff0, 0x20, v, 2), -EFAULT);
	assert_int_equal(gmem_iov(&m, 0x5000, 0, v, 0), 0);
}

static void pointer_needs_one_region_and_alignment(void **state)
{
	(void)state;
	assert_non_null((FORCE void *)gmem_ptr(&m, 0x10000, PAGE, 16));
	assert_non_null((FORCE void *)gmem_ptr(&m, 0x10008, 8, 8));
	assert_null((FORCE void *)gmem_ptr(&m, 0x10004, 8, 8));
	assert_null((FORCE void *)gmem_ptr(&m, 0x10000, 0, 8));
	assert_null((FORCE void *)gmem_ptr(&m, 0x1ff8, 16, 8));
	assert_null((FORCE void *)gmem_ptr(&m, 0x10000, PAGE + 1, 16));
	assert_null((FORCE void *)gmem_ptr(&m, 0x5000, 8, 8));
}

static void pointer_is_aligned_on_the_host_too(void **state)
{
	struct gmem odd;

	(void)state;
	gmem_init(&odd);
	assert_int_equal(gmem_add_borrowed(&odd, 0, 100, third + 1), 0);
	assert_null((FORCE void *)gmem_ptr(&odd, 0, 8, 8));
	gmem_fini(&odd);
}

static void file_is_loaded_across_regions(void **state)
{
	auto_fd fd = memfd_create("test", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(fd_write_all(fd, "xxhallo", 7), 0);
	assert_int_equal(gmem_load(&m, 0x1ffd, 5, fd, 2), 0);
	assert_memory_equal(first + PAGE - 3, "hal", 3);
	assert_memory_equal(second, "lo", 2);
	assert_int_equal(gmem_load(&m, 0x1000, 8, fd, 0), -ENODATA);
	assert_int_equal(gmem_load(&m, 0x2ffd, 5, fd, 0), -EFAULT);
	assert_int_equal(gmem_load(&m, 0x1000, 1, -1, 0), -EBADF);
}

/* What can be sent, and what must be read, such as a file of /proc. */
static void file_is_loaded_into_mapped_memory(void **state)
{
	struct gmem mapped;
	struct err e;
	auto_fd from = memfd_create("from", MFD_CLOEXEC);
	auto_fd proc = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	int fd = memfd_new("test", 4 * PAGE, false, &e);
	char text[8] = "";

	(void)state;
	gmem_init(&mapped);
	assert_int_equal(gmem_map_take(&mapped, 0x1000, 2 * PAGE, fd, PAGE), 0);
	assert_int_equal(fd_write_all(from, "xxhallo", 7), 0);

	assert_int_equal(gmem_load(&mapped, 0x1ffd, 5, from, 2), 0);
	assert_true(gmem_read(&mapped, 0x1ffc, text, 7));
	assert_memory_equal(text, "\0hallo\0", 7);
	assert_int_equal(gmem_load(&mapped, 0x1000, 8, from, 0), -ENODATA);
	assert_int_equal(gmem_load(&mapped, 0x1000, 1, -1, 0), -EBADF);
	assert_int_equal(gmem_load(&mapped, 0x1000, 2, proc, 0), 0);
	assert_true(gmem_read(&mapped, 0x1000, text, 2));
	assert_int_not_equal(text[0], 0);
	gmem_fini(&mapped);
}

static void mapped_memory_is_that_of_the_file(void **state)
{
	struct gmem mapped;
	struct err e;
	int fd = memfd_new("test", 4 * PAGE, false, &e);
	char text[3] = "";

	(void)state;
	gmem_init(&mapped);
	assert_int_equal(gmem_map_take(&mapped, 0x1000, 2 * PAGE, fd, PAGE), 0);
	assert_true(gmem_write(&mapped, 0x1000, "hi", 2));
	assert_int_equal(fd_pread_all(fd, text, 2, PAGE), 0);
	assert_string_equal(text, "hi");
	gmem_fini(&mapped);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void mapping_that_fails_leaves_the_descriptor(void **state)
{
	struct err e;
	auto_fd fd = memfd_new("test", PAGE, false, &e);
	auto_fd null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_int_equal(gmem_map_take(&m, 0x20001, PAGE, fd, 0), -EINVAL);
	assert_int_equal(gmem_map_take(&m, 0x20000, PAGE + 1, fd, 0), -EINVAL);
	assert_int_equal(gmem_map_take(&m, 0x20000, PAGE, fd, 1), -EINVAL);
	assert_int_equal(gmem_map_take(&m, 0x20000, PAGE, -1, 0), -EINVAL);
	assert_int_equal(gmem_map_take(&m, 0x1000, PAGE, fd, 0), -EINVAL);
	assert_int_equal(gmem_map_take(&m, 0x20000, PAGE, null, 0), -ENODEV);
	assert_true(fcntl(fd, F_GETFD) >= 0);
}

static void discard_without_a_file_leaves_zeros(void **state)
{
	uint8_t buf[2] = {7, 7};

	(void)state;
	assert_true(gmem_write(&m, 0x1ffe, buf, 2));
	assert_int_equal(gmem_discard(&m, 0x1fff, 1), 0);
	assert_true(gmem_read(&m, 0x1ffe, buf, 2));
	assert_int_equal(buf[0], 7);
	assert_int_equal(buf[1], 0);
	assert_int_equal(gmem_discard(&m, 0x2fff, 2), -EFAULT); /* beyond the end */
	assert_int_equal(gmem_discard(&m, UINT64_MAX, 2), -EFAULT);
}

static void address_of_what_is_not_the_guests_is_unknown(void **state)
{
	struct iovec v[2];
	char foreign;
	gpa a = 0;

	(void)state;
	assert_int_equal(gmem_iov(&m, 0x1ffe, 2, v, 2), 1);
	assert_true(gmem_iov_address(&m, v, &a));
	assert_int_equal(a, 0x1ffe);
	v[0].iov_base = &foreign;
	assert_false(gmem_iov_address(&m, v, &a));
	assert_int_equal(a, 0x1ffe);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(regions_are_sorted_and_summed),
		TEST(region_that_cannot_be_is_refused),
		TEST(number_of_regions_is_limited),
		TEST(empty_memory_has_nothing),
		TEST(range_is_covered_or_not),
		TEST(copies_cross_regions_that_adjoin),
		TEST(copy_that_does_not_fit_copies_nothing),
		TEST(iov_has_a_piece_for_each_region),
		TEST(pointer_needs_one_region_and_alignment),
		TEST(pointer_is_aligned_on_the_host_too),
		TEST(discard_without_a_file_leaves_zeros),
		TEST(address_of_what_is_not_the_guests_is_unknown),
		TEST(file_is_loaded_across_regions),
		TEST(file_is_loaded_into_mapped_memory),
		TEST(mapped_memory_is_that_of_the_file),
		TEST(mapping_that_fails_leaves_the_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
