/* SPDX-License-Identifier: BSD-3-Clause */
/* discard_test.c - frames gathered into few calls, huge pages, what guests say wrongly */
#include "mem/discard.h"

#include "mem/memfd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { FRAME = 4096, FRAMES = 64, HIGH_BASE = 0x100000, HUGE = 2 << 20 };

static struct gmem gmem;
static struct discard d;

/* Two regions of 64 frames that do not adjoin, full of bytes that are not zero. */
static int set_up(void **state)
{
	static const gpa bases[] = {0, HIGH_BASE};
	struct err e;

	(void)state;
	gmem_init(&gmem);
	for (unsigned i = 0; i < 2; i++) {
		int fd = memfd_new("test", FRAMES * FRAME, 0, &e);

		assert_int_equal(gmem_map_take(&gmem, bases[i], FRAMES * FRAME, fd, 0), 0);
		assert_true(gmem_fill(&gmem, bases[i], 7, FRAMES * FRAME));
	}
	d = (struct discard){0};
	return discard_start(&d, &gmem, true);
}

static int tear_down(void **state)
{
	(void)state;
	discard_stop(&d);
	gmem_fini(&gmem);
	return 0;
}

static bool is_zero(gpa a)
{
	static const uint8_t zeros[FRAME];
	uint8_t bytes[FRAME];

	assert_true(gmem_read(&gmem, a, bytes, FRAME));
	return memcmp(bytes, zeros, FRAME) == 0;
}

static unsigned zero_frames(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < FRAMES; i++)
		n += is_zero(i * FRAME) + is_zero(HIGH_BASE + i * FRAME);
	return n;
}

static uint64_t blocks(void)
{
	struct stat low, high;

	assert_int_equal(fstat(gmem.regions[0].fd, &low), 0);
	assert_int_equal(fstat(gmem.regions[1].fd, &high), 0);
	return (uint64_t)(low.st_blocks + high.st_blocks) * 512;
}

static void neighbours_become_one_call(void **state)
{
	static const uint32_t frames[] = {12, 10, 31, 11, 30, 13, 5};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(frames); i++)
		discard_frame(&d, frames[i]);
	discard_flush(&d);
	assert_int_equal(d.counters.calls, 3);
	assert_int_equal(d.counters.frames, ARRAY_LEN(frames));
	assert_int_equal(d.counters.bytes, ARRAY_LEN(frames) * FRAME);
	/* Before anybody looks at them: that makes new ones. */
	assert_int_equal(blocks(), 2 * FRAMES * FRAME - ARRAY_LEN(frames) * FRAME);
	assert_int_equal(zero_frames(), ARRAY_LEN(frames));
	for (unsigned i = 0; i < ARRAY_LEN(frames); i++)
		assert_true(is_zero(frames[i] * FRAME));
}

static void any_order_is_sorted(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < FRAMES; i++)
		discard_frame(&d, i * 37 % FRAMES);
	discard_flush(&d);
	assert_int_equal(d.counters.calls, 1);
	assert_int_equal(zero_frames(), FRAMES);
	discard_flush(&d);
	assert_int_equal(d.counters.calls, 1);
}

static void frames_outside_memory_are_counted_and_left(void **state)
{
	(void)state;
	discard_frame(&d, UINT32_MAX);
	discard_frame(&d, FRAMES - 1); /* the last one of the first region, */
	discard_frame(&d, FRAMES);     /* and the hole behind it */
	discard_frame(&d, HIGH_BASE / FRAME - 1);
	discard_frame(&d, HIGH_BASE / FRAME);
	discard_frame(&d, HIGH_BASE / FRAME + FRAMES);
	discard_flush(&d);
	assert_int_equal(d.counters.bad, 4);
	assert_int_equal(d.counters.frames, 2);
	assert_int_equal(d.counters.calls, 2);
	assert_int_equal(zero_frames(), 2);
	discard_restore(&d, FRAMES);
	assert_int_equal(d.counters.bad, 5);
	assert_int_equal(d.counters.restored, 0);
}

static void repeated_frames_are_counted(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 5; i++)
		discard_frame(&d, 3);
	discard_frame(&d, 4);
	discard_flush(&d);
	assert_int_equal(d.counters.repeated, 4);
	assert_int_equal(d.counters.frames, 2);
	assert_int_equal(d.counters.calls, 1);
}

static void room_is_bounded(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < DISCARD_FRAMES_MAX; i++) {
		assert_false(discard_is_full(&d));
		discard_frame(&d, i);
	}
	assert_true(discard_is_full(&d));
	discard_flush(&d);
	assert_false(discard_is_full(&d));
	assert_int_equal(d.counters.frames + d.counters.bad, DISCARD_FRAMES_MAX);
}

static void range_is_cut_to_whole_pages(void **state)
{
	(void)state;
	discard_range(&d, 5 * FRAME + 1, 3 * FRAME);
	assert_int_equal(d.counters.calls, 1);
	assert_int_equal(zero_frames(), 2);
	assert_true(is_zero(6 * FRAME) && is_zero(7 * FRAME));
	discard_range(&d, 9 * FRAME, FRAME - 1);
	discard_range(&d, 9 * FRAME, 0);
	discard_range(&d, UINT64_MAX - FRAME, 2 * FRAME);
	discard_range(&d, 1ull << 40, FRAME);
	assert_int_equal(d.counters.calls, 1);
}

static void range_ends_at_the_border_of_a_region(void **state)
{
	(void)state;
	discard_range(&d, (FRAMES - 2) * FRAME, HIGH_BASE);
	assert_int_equal(d.counters.calls, 2);
	assert_int_equal(zero_frames(), FRAMES);
}

static void pages_come_back_as_zeros_and_can_be_used(void **state)
{
	(void)state;
	discard_frame(&d, 9);
	discard_flush(&d);
	assert_true(gmem_fill(&gmem, 9 * FRAME, 1, FRAME));
	discard_restore(&d, 9);
	assert_int_equal(d.counters.restored, 1);
	assert_false(is_zero(9 * FRAME));
}

static void failure_is_counted(void **state)
{
	const int fd = gmem.regions[0].fd;

	(void)state;
	gmem.regions[0].fd = 1 << 20;
	discard_frame(&d, 0);
	discard_flush(&d);
	gmem.regions[0].fd = fd;
	assert_int_equal(d.counters.failed, 1);
	assert_int_equal(d.counters.calls, 1);
	assert_int_equal(d.counters.bytes, 0);
}

/* ---- huge pages: any memory, said to be so ---- */

enum { HUGE_FRAMES = HUGE / FRAME, HUGE_PAGES = 3 };

/*
 * Three huge pages and a half; the region begins in the middle of one.  What is different about
 * real ones is only that they must not be punched in part.
 */
static int set_up_huge(void **state)
{
	const uint64_t size = HUGE_PAGES * (uint64_t)HUGE + HUGE / 2;
	struct err e;
	int fd = memfd_new("test", size + HUGE / 2, 0, &e);

	(void)state;
	gmem_init(&gmem);
	if (fd < 0 || gmem_map_take(&gmem, HIGH_BASE, size, fd, HUGE / 2) < 0)
		return -1;
	d = (struct discard){0};
	if (discard_start(&d, &gmem, true) < 0)
		return -1;
	d.page_bytes[0] = HUGE;
	d.bits_bytes = size / FRAME / 8 + 8;
	d.bits = mmap(NULL, d.bits_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	return gmem_fill(&gmem, HIGH_BASE, 7, size) ? 0 : -1;
}

/* None is there, nor needed as long as nobody touches the memory. */
static void huge_pages_are_known_by_their_file(void **state)
{
	static struct discard huge;
	struct gmem m;
	struct err e;
	int fd = memfd_new("test", 4 * HUGE, HUGE, &e);
	void *p = MAP_FAILED;

	(void)state;
	if (fd >= 0)
		p = mmap(NULL, 4 * HUGE, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED) {
		print_message("# not tested: this kernel has no huge pages\n");
		return;
	}
	gmem_init(&m);
	m.nregions = 1;
	m.regions[0] = (struct gmem_region){.base = 0, .size = 4 * HUGE, .host = p, .fd = fd};
	assert_int_equal(discard_start(&huge, &m, false), 0);
	assert_int_equal(huge.page_bytes[0], HUGE);
	assert_null(huge.bits); /* who cannot gather has no need of them */
	assert_int_equal(discard_start(&huge, &m, true), 0);
	assert_non_null(huge.bits);
	assert_int_equal(huge.bits_bytes, 4 * HUGE / FRAME / 8);
	discard_stop(&huge);
	assert_null(huge.bits);
	munmap(p, 4 * HUGE);
	close(fd);
}

/* The first frame of the n-th whole huge page. */
static uint32_t huge_frame(unsigned n)
{
	return (HIGH_BASE + HUGE / 2) / FRAME + n * HUGE_FRAMES;
}

static void take_frames(uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		discard_frame(&d, i);
	discard_flush(&d);
}

static void huge_page_goes_with_its_last_frame(void **state)
{
	const uint32_t first = huge_frame(0);

	(void)state;
	take_frames(first + 1, first + HUGE_FRAMES);
	assert_int_equal(d.counters.calls, 0);
	assert_int_equal(d.counters.frames, HUGE_FRAMES - 1);
	take_frames(first, first + 1);
	assert_int_equal(d.counters.calls, 1);
	assert_int_equal(d.counters.bytes, HUGE);
	assert_true(is_zero((gpa)first * FRAME));
	assert_true(is_zero((gpa)(first + HUGE_FRAMES - 1) * FRAME));
	assert_false(is_zero((gpa)(first - 1) * FRAME));
	assert_false(is_zero((gpa)(first + HUGE_FRAMES) * FRAME));
}

static void huge_page_with_a_frame_in_use_stays(void **state)
{
	const uint32_t first = huge_frame(1);

	(void)state;
	take_frames(first, first + 100);
	discard_restore(&d, first + 50);
	take_frames(first + 100, first + HUGE_FRAMES);
	assert_int_equal(d.counters.calls, 0);
	take_frames(first + 50, first + 51);
	assert_int_equal(d.counters.calls, 1);
}

static void same_frame_again_is_no_other_one(void **state)
{
	const uint32_t first = huge_frame(0);

	(void)state;
	for (unsigned i = 0; i < HUGE_FRAMES; i++)
		take_frames(first, first + 1);
	assert_int_equal(d.counters.calls, 0);
}

static void huge_neighbours_become_one_call(void **state)
{
	(void)state;
	take_frames(huge_frame(0), huge_frame(1) + 1);
	assert_int_equal(d.counters.calls, 1);
	take_frames(huge_frame(1), huge_frame(3));
	assert_int_equal(d.counters.calls, 2);
	assert_int_equal(d.counters.bytes, 3 * HUGE);
}

static void part_of_a_huge_page_outside_the_region_keeps_it(void **state)
{
	(void)state;
	take_frames(HIGH_BASE / FRAME, huge_frame(0));
	assert_int_equal(d.counters.calls, 0);
	discard_range(&d, HIGH_BASE, HUGE);
	assert_int_equal(d.counters.calls, 0);
	discard_range(&d, HIGH_BASE, HUGE / 2 + HUGE);
	assert_int_equal(d.counters.calls, 1);
	assert_int_equal(d.counters.bytes, HUGE);
}

static void without_notice_huge_pages_stay(void **state)
{
	(void)state;
	munmap(d.bits, d.bits_bytes);
	d.bits = NULL;
	take_frames(huge_frame(0), huge_frame(1));
	discard_restore(&d, huge_frame(0));
	assert_int_equal(d.counters.calls, 0);
	discard_range(&d, (gpa)huge_frame(0) * FRAME, HUGE);
	assert_int_equal(d.counters.calls, 1);
}

#define TEST(name)      cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_HUGE(name) cmocka_unit_test_setup_teardown(name, set_up_huge, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(neighbours_become_one_call),
		TEST(any_order_is_sorted),
		TEST(frames_outside_memory_are_counted_and_left),
		TEST(repeated_frames_are_counted),
		TEST(room_is_bounded),
		TEST(range_is_cut_to_whole_pages),
		TEST(range_ends_at_the_border_of_a_region),
		TEST(pages_come_back_as_zeros_and_can_be_used),
		TEST(failure_is_counted),
		cmocka_unit_test(huge_pages_are_known_by_their_file),
		TEST_HUGE(huge_page_goes_with_its_last_frame),
		TEST_HUGE(huge_page_with_a_frame_in_use_stays),
		TEST_HUGE(same_frame_again_is_no_other_one),
		TEST_HUGE(huge_neighbours_become_one_call),
		TEST_HUGE(part_of_a_huge_page_outside_the_region_keeps_it),
		TEST_HUGE(without_notice_huge_pages_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
