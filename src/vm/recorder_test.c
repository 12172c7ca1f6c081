/* SPDX-License-Identifier: BSD-3-Clause */
/* recorder_test.c - rings of threads and devices, good and hostile, as one list */
#include "vm/recorder.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { CPUS = 2, LINES_ROOM = 1 << 20 };

struct fixture {
	struct recorder r;
	struct trace_ring device;
};

static struct fixture f;
static char lines[LINES_ROOM];

static int set_up(void **state)
{
	struct err e;

	(void)state;
	memset(&f, 0, sizeof(f));
	assert_int_equal(recorder_init(&f.r, CPUS, &e), 0);
	recorder_device_add(&f.r, "block0", &f.device);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	recorder_fini(&f.r);
	return 0;
}

/* All events, "source text" a line; how many. */
static unsigned read_all(uint64_t last_max)
{
	struct recorder_event event;
	uint64_t before = 0;
	unsigned n = 0;
	size_t used = 0;

	lines[0] = '\0';
	recorder_walk(&f.r, last_max);
	while (recorder_next(&f.r, &event)) {
		used += (size_t)snprintf(lines + used, sizeof(lines) - used, "%s %s\n",
					 event.source, event.text);
		assert_true(event.time_ns < UINT64_C(1000000000) * 100);
		if (strcmp(event.source, "block0") != 0)
			assert_true(event.time_ns >= before);
		before = event.time_ns;
		n++;
	}
	return n;
}

static struct trace_record *device_writes(uint16_t kind, uint64_t a)
{
	struct trace_record *record = &f.device.records[f.device.next++ % TRACE_RECORDS];

	*record = (struct trace_record){.time = trace_now(), .kind = kind, .a = a};
	return record;
}

static void rings_are_merged_by_time(void **state)
{
	(void)state;
	trace(TRACE_VM, TRACE_VM_RUNS, 0, 0, 0);
	trace_begin(recorder_cpu_ring(&f.r, 1));
	trace(TRACE_EXIT, KVM_EXIT_MMIO,
	      trace_access(4, TRACE_ACCESS_WRITES | TRACE_ACCESS_HAS_VALUE, 1), 0xd0000050, 1);
	device_writes(TRACE_KICK, 0);
	trace_begin(recorder_cpu_ring(&f.r, 0));
	trace(TRACE_EXIT, KVM_EXIT_SHUTDOWN, 0, 0, 0);

	assert_int_equal(read_all(UINT64_MAX), 4);
	assert_string_equal(lines, "main the guest runs\n"
				   "vcpu1 exit mmio write 0xd0000050 = 0x00000001\n"
				   "block0 kick queue 0\n"
				   "vcpu0 exit shutdown: triple fault\n");
}

static void last_events_only(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 10; i++)
		trace(TRACE_LINE, 0, i, 1, 0);
	device_writes(TRACE_KICK, 0);

	assert_int_equal(read_all(2), 2);
	assert_string_equal(lines, "main interrupt line 9 raised\nblock0 kick queue 0\n");
}

static void accesses_in_words(void **state)
{
	(void)state;
	trace(TRACE_EXIT, KVM_EXIT_IO,
	      trace_access(1, TRACE_ACCESS_WRITES | TRACE_ACCESS_HAS_VALUE, 1), 0x3f8, 0x41);
	trace(TRACE_EXIT, KVM_EXIT_IO, trace_access(2, TRACE_ACCESS_HAS_VALUE, 70000), 0x60, 7);
	trace(TRACE_EXIT, KVM_EXIT_MMIO, trace_access(8, 0, 1), 0xfee00000, 0);
	trace(TRACE_COMMAND, 0, 0, 0x62732d7165777177, 0x632d6669746e6c61);

	read_all(UINT64_MAX);
	assert_string_equal(lines, "main exit port write 0x3f8 = 0x41\n"
				   "main exit port read 0x60 = 0x0007 and 65534 more\n"
				   "main exit mmio read 0xfee00000, 8 bytes\n"
				   "main command wqweq-sbalntif-c\n");
}

static void every_kind_has_words(void **state)
{
	(void)state;
	for (unsigned kind = 1; kind < TRACE_KINDS; kind++)
		for (unsigned what = 0; what < 64; what++) {
			struct trace_record record = {.kind = (uint16_t)kind,
						      .what = (uint16_t)what,
						      .n = UINT32_MAX,
						      .a = UINT64_MAX,
						      .b = UINT64_MAX};
			char text[RECORDER_TEXT_MAX];

			recorder_text(&f.r, &record, kind >= TRACE_OF_DEVICES, text);
			assert_true(strlen(text) > 0 && strlen(text) < sizeof(text) - 1);
			assert_null(strstr(text, "unknown record"));
		}
}

static void device_cannot_speak_for_main(void **state)
{
	(void)state;
	device_writes(TRACE_COMMAND, 0x706f7473);
	device_writes(TRACE_EXIT, 0);
	device_writes(0xffff, 0);
	device_writes(TRACE_NONE, 0);
	trace(TRACE_KICK, 0, 0, 0, 0);

	read_all(UINT64_MAX);
	assert_string_equal(lines, "block0 unknown record 4\nblock0 unknown record 1\n"
				   "block0 unknown record 65535\nblock0 unknown record 0\n"
				   "main unknown record 7\n");
}

static void impossible_times_are_left_out_and_counted(void **state)
{
	(void)state;
	device_writes(TRACE_KICK, 0)->time = 0;
	device_writes(TRACE_KICK, 0)->time = UINT64_MAX;
	device_writes(TRACE_KICK, 0);

	assert_int_equal(read_all(UINT64_MAX), 1);
	assert_int_equal(f.r.left_out, 2);
}

/* F1: whatever the counter says, and whatever is behind it. */
static void hostile_ring_is_bounded(void **state)
{
	static const uint64_t counts[] = {
		0,     1,	   TRACE_RECORDS - 1, TRACE_RECORDS,
		12345, UINT64_MAX, UINT64_MAX - 7,    1ull << 63,
	};

	(void)state;
	trace(TRACE_VM, TRACE_VM_RUNS, 0, 0, 0);
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		for (unsigned n = 0; n < sizeof(f.device); n++)
			((unsigned char *)&f.device)[n] = (unsigned char)rand();
		for (unsigned n = 0; n < TRACE_RECORDS; n += 2)
			f.device.records[n].time = trace_now();
		f.device.next = counts[i];
		assert_in_range(read_all(UINT64_MAX), 1, 1 + TRACE_RECORDS);
		assert_non_null(strstr(lines, "main the guest runs\n"));
		for (const char *p = lines; *p; p++)
			assert_true(*p == '\n' || (*p >= 0x20 && *p < 0x7f));
	}
}

static bool stop;

static void *writes_for_ever(void *ring)
{
	trace_begin(ring);
	for (uint64_t i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++)
		trace(TRACE_KICK, 0, (uint32_t)i, i, i);
	return NULL;
}

/* F2: what comes out was written as a whole. */
static void ring_that_is_written_meanwhile_gives_whole_records(void **state)
{
	pthread_t thread;
	struct trace_record record;

	(void)state;
	stop = false;
	assert_int_equal(pthread_create(&thread, NULL, writes_for_ever, &f.device), 0);
	for (int i = 0; i < 2000; i++) {
		recorder_walk(&f.r, UINT64_MAX);
		if (!f.r.sources[f.r.first_device].has_next)
			continue;
		record = f.r.sources[f.r.first_device].next;
		assert_int_equal(record.a, record.b);
		assert_int_equal((uint32_t)record.a, record.n);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

static void reply_of_all_there_can_be_fits(void **state)
{
	static char text[131072];
	struct json reply;

	(void)state;
	for (unsigned i = 0; i < TRACE_RECORDS; i++)
		trace(TRACE_EXIT, KVM_EXIT_MMIO,
		      trace_access(8, TRACE_ACCESS_HAS_VALUE, UINT32_MAX), UINT64_MAX, UINT64_MAX);
	json_init(&reply, text, sizeof(text));
	json_open(&reply, NULL, '{');
	recorder_reply(&f.r, RECORDER_LAST_MAX, &reply);
	json_close(&reply, '}');

	assert_false(reply.is_full);
	assert_true(json_is_object(text, 3));
}

static void file_says_how_it_ended(void **state)
{
	auto_fd fd = memfd_create("trace", MFD_CLOEXEC);
	ssize_t n;

	(void)state;
	recorder_state_set(&f.r, RECORDER_ENDED_BADLY, 34, "triple fault");
	trace(TRACE_EXIT, KVM_EXIT_SHUTDOWN, 0, 0, 0);
	device_writes(TRACE_KICK, 0)->time = 0;
	assert_int_equal(recorder_write(&f.r, fd), 0);

	n = pread(fd, lines, sizeof(lines) - 1, 0);
	assert_true(n > 0);
	lines[n] = '\0';
	assert_ptr_equal(strstr(lines, "exit code 34: triple fault\n    0.0"), lines);
	assert_non_null(strstr(lines, " main       exit shutdown: triple fault\n"
				      "1 records of impossible times are left out\n"));
	assert_int_equal(recorder_write(&f.r, -1), -EBADF);
}

/* The memory is main's, whoever that is by now. */
static void end_told_by_a_captured_main_is_bounded_and_clean(void **state)
{
	auto_fd fd = memfd_create("trace", MFD_CLOEXEC);
	ssize_t n;

	(void)state;
	recorder_state_set(&f.r, RECORDER_ENDED_BADLY, 34, "");
	memset(f.r.head->why, '\x1b', 4096 - offsetof(struct recorder_head, why));
	memset(f.r.rings, 'x', sizeof(f.r.rings[0]));
	assert_int_equal(recorder_write(&f.r, fd), 0);

	n = pread(fd, lines, sizeof(lines) - 1, 0);
	assert_true(n > 0);
	lines[n] = '\0';
	assert_null(memchr(lines, '\x1b', (size_t)n));
	assert_non_null(strchr(lines, '\n'));
	assert_true(strchr(lines, '\n') - lines < RECORDER_WHY_MAX + 32);
}

static void nothing_without_a_recorder(void **state)
{
	static struct recorder none;
	static char text[256];
	struct json reply;

	(void)state;
	assert_null(recorder_cpu_ring(&none, 0));
	recorder_device_add(&none, "block0", NULL);
	recorder_state_set(&none, RECORDER_RUNS, 0, "");
	json_init(&reply, text, sizeof(text));
	json_open(&reply, NULL, '{');
	recorder_reply(&none, 1, &reply);
	json_close(&reply, '}');
	assert_string_equal(text, "{\"events\":[],\"left_out\":0}");
	recorder_fini(&none);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rings_are_merged_by_time),
		TEST(last_events_only),
		TEST(accesses_in_words),
		TEST(every_kind_has_words),
		TEST(device_cannot_speak_for_main),
		TEST(impossible_times_are_left_out_and_counted),
		TEST(hostile_ring_is_bounded),
		TEST(ring_that_is_written_meanwhile_gives_whole_records),
		TEST(reply_of_all_there_can_be_fits),
		TEST(file_says_how_it_ended),
		TEST(end_told_by_a_captured_main_is_bounded_and_clean),
		TEST(nothing_without_a_recorder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
