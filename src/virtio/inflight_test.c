/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inflight_test.c - a device process killed at every instruction
 *
 * A child pops and pushes on shared rings, one instruction at a time (ptrace).  Wherever it stands,
 * what is in shared memory is what would be there had it been killed: so we put that aside, start a
 * queue on the same memory and log, finish all, and hold what the driver sees against what it asked
 * for: every request completed once.  Then memory is put back and the child makes its next step.
 */
#include "virtio/driver_test.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { QUEUE_SIZE = 8, REQUESTS = 4, LOG_BYTES = 4096, MEMORY_USED = 16384 };

struct fixture {
	struct driver d;
	void *log; /* shared, as it would be */
	int ids[REQUESTS];
};

static struct fixture f;

static void begin(bool packed, bool indirect, uint16_t rounds_before)
{
	struct driver_options o = {.nqueues = 1,
				   .queue_size = QUEUE_SIZE,
				   .memory = 1 << 20,
				   .packed = packed,
				   .indirect = indirect};
	struct driver_buf b = {DRIVER_BASE + 65536, 16, true};
	static struct vq q;
	static struct chain c;
	struct driver_used used;

	memset(&f, 0, sizeof(f));
	assert_int_equal(driver_init(&f.d, &o), 0);
	f.log = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(f.log, MAP_FAILED);
	assert_true(vq_log_bytes(QUEUE_SIZE, true) <= LOG_BYTES);
	memset(&q, 0, sizeof(q));
	assert_int_equal(driver_vq_start(&f.d, 0, f.log, &q), 0);
	for (unsigned i = 0; i < rounds_before; i++) {
		assert_true(driver_add(&f.d.queues[0], &b, 1) >= 0);
		assert_true(vq_pop(&q, &c));
		vq_push(&q, &c);
		assert_true(driver_poll(&f.d.queues[0], &used));
	}
	f.d.queues[0].base = vq_stop(&q);
}

static void finish(void)
{
	munmap(f.log, LOG_BYTES);
	driver_fini(&f.d);
}

static void add_requests(void)
{
	gpa a = DRIVER_BASE + 65536;
	struct driver_buf b[] = {{a, 16, false}, {a + 512, 16, true}};

	for (unsigned i = 0; i < REQUESTS; i++) {
		f.ids[i] = driver_add(&f.d.queues[0], b, i % 2 + 1);
		if (f.ids[i] < 0)
			f.ids[i] = -1;
	}
}

/* What the child does: out of order, two at once, and some it never finishes. */
static void work(struct vq *q, struct chain *chains)
{
	struct chain *const both[] = {&chains[0], &chains[1]};
	bool ok[REQUESTS];

	for (unsigned i = 0; i < REQUESTS; i++)
		ok[i] = vq_pop(q, &chains[i]);
	if (ok[2])
		vq_push(q, &chains[2]);
	if (ok[0] && ok[1])
		vq_push_all(q, both, 2);
	if (vq_pop(q, &chains[2]))
		vq_push(q, &chains[2]);
}

static void child_run(void)
{
	static struct chain chains[REQUESTS];
	static struct vq q;

	if (driver_vq_start(&f.d, 0, f.log, &q) < 0)
		_exit(2);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	work(&q, chains);
	raise(SIGSTOP);
	_exit(0);
}

static void expect_all_completed_once(unsigned long when)
{
	static struct vq q;
	static struct chain c;
	unsigned times[QUEUE_SIZE] = {0}, popped = 0;
	struct driver_used used;

	memset(&q, 0, sizeof(q));
	if (driver_vq_start(&f.d, 0, f.log, &q) != 0)
		fail_msg("not started after %lu instructions", when);
	while (vq_pop(&q, &c)) {
		vq_push(&q, &c);
		popped++;
	}
	assert_null(q.broken);
	while (driver_poll(&f.d.queues[0], &used))
		times[used.id]++;
	for (unsigned i = 0; i < REQUESTS; i++)
		if (f.ids[i] >= 0 && times[f.ids[i]] != 1)
			fail_msg("request %u completed %u times after %lu instructions", i,
				 times[f.ids[i]], when);
	assert_true(popped <= REQUESTS);
	vq_stop(&q);
}

/* All that the child has shared or we know, so that looking changes nothing. */
static void look(unsigned long when)
{
	static uint8_t memory[MEMORY_USED], log[LOG_BYTES];
	static struct driver driver;

	memcpy(memory, f.d.mem, sizeof(memory));
	memcpy(log, f.log, sizeof(log));
	driver = f.d;
	expect_all_completed_once(when);
	f.d = driver;
	memcpy(f.d.mem, memory, sizeof(memory));
	memcpy(f.log, log, sizeof(log));
}

static void kill_everywhere(bool packed, bool indirect, uint16_t rounds_before)
{
	unsigned long when = 0;
	int status;
	pid_t pid;

	begin(packed, indirect, rounds_before);
	add_requests();
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child_run();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	for (;; when++) {
		look(when);
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSTOPPED(status));
		if (WSTOPSIG(status) != SIGTRAP)
			break;
	}
	assert_int_equal(WSTOPSIG(status), SIGSTOP);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(when > 300);
	finish();
}

static void test_split_queue_survives_death_at_every_instruction(void **state)
{
	(void)state;
	kill_everywhere(false, false, 0);
	kill_everywhere(false, true, 5);
}

static void test_packed_queue_survives_death_at_every_instruction(void **state)
{
	(void)state;
	kill_everywhere(true, false, 0);
	kill_everywhere(true, false, 5); /* wraps on the way */
	kill_everywhere(true, true, 6);
}

/* ---- replay ---- */

/* Leaves the free lists of driver and log turned round, so that ids do not come in their order. */
static void turn_ids_round(void)
{
	struct driver_buf b = {DRIVER_BASE + 65536, 16, true};
	static struct chain chains[REQUESTS];
	static struct vq q;
	struct driver_used used;

	memset(&q, 0, sizeof(q));
	assert_int_equal(driver_vq_start(&f.d, 0, f.log, &q), 0);
	for (unsigned i = 0; i < REQUESTS; i++) {
		assert_true(driver_add(&f.d.queues[0], &b, 1) >= 0);
		assert_true(vq_pop(&q, &chains[i]));
	}
	for (unsigned i = 0; i < REQUESTS; i++) {
		vq_push(&q, &chains[i]);
		assert_true(driver_poll(&f.d.queues[0], &used));
	}
	f.d.queues[0].base = vq_stop(&q);
}

static void replay_in_order(bool packed)
{
	static struct chain chains[REQUESTS];
	static struct vq q;
	unsigned n = 0;

	begin(packed, false, 3);
	turn_ids_round();
	add_requests();
	assert_true(f.ids[0] > f.ids[2]);
	memset(&q, 0, sizeof(q));
	assert_int_equal(driver_vq_start(&f.d, 0, f.log, &q), 0);
	for (unsigned i = 0; i < REQUESTS - 1; i++)
		assert_true(vq_pop(&q, &chains[i]));
	vq_push(&q, &chains[1]);
	memset(&q, 0, sizeof(q)); /* its process died */
	assert_int_equal(driver_vq_start(&f.d, 0, f.log, &q), 0);
	assert_true(vq_has_more(&q));
	while (vq_pop(&q, &chains[n]))
		n++;
	assert_int_equal(n, REQUESTS - 1);
	assert_int_equal(chains[0].id, f.ids[0]);
	assert_int_equal(chains[1].id, f.ids[2]);
	assert_int_equal(chains[2].id, f.ids[3]);
	assert_int_equal(chain_left(&chains[0], CHAIN_READABLE), 16);
	assert_int_equal(chain_left(&chains[2], CHAIN_WRITABLE), 16);
	finish();
}

static void test_outstanding_requests_come_first_in_their_order(void **state)
{
	(void)state;
	replay_in_order(false);
	replay_in_order(true);
}

static void test_driver_is_called_once_after_a_restart(void **state)
{
	static struct vq q;

	(void)state;
	begin(false, false, 1);
	memset(&q, 0, sizeof(q));
	assert_int_equal(driver_vq_start(&f.d, 0, f.log, &q), 0);
	driver_calls_set(&f.d.queues[0], false);
	vq_notify(&q); /* the process before us may have died between used index and call */
	assert_true(driver_was_called(&f.d.queues[0]));
	vq_notify(&q);
	assert_false(driver_was_called(&f.d.queues[0]));
	finish();
}

/* ---- damaged logs ---- */

static void start_with_log_byte(bool packed, size_t at, uint8_t value)
{
	static struct vq q;
	static struct chain c;

	begin(packed, false, 3);
	add_requests();
	memset(&q, 0, sizeof(q));
	assert_int_equal(driver_vq_start(&f.d, 0, f.log, &q), 0);
	for (unsigned i = 0; i < REQUESTS; i++)
		assert_true(vq_pop(&q, &c));
	((uint8_t *)f.log)[at] = value;
	memset(&q, 0, sizeof(q));
	if (driver_vq_start(&f.d, 0, f.log, &q) == 0)
		while (vq_pop(&q, &c))
			vq_push(&q, &c);
	finish();
}

static void test_damaged_log_does_no_harm(void **state)
{
	static const uint8_t values[] = {0, 1, 7, 8, 0x80, 0xff};

	(void)state;
	for (size_t at = 0; at < vq_log_bytes(QUEUE_SIZE, true); at++) {
		for (size_t i = 0; i < ARRAY_LEN(values); i++) {
			start_with_log_byte(true, at, values[i]);
			if (at < vq_log_bytes(QUEUE_SIZE, false))
				start_with_log_byte(false, at, values[i]);
		}
	}
}

static void test_log_of_another_ring_is_refused(void **state)
{
	static struct vq q;

	(void)state;
	for (int packed = 0; packed < 2; packed++) {
		begin(packed, false, 3);
		((uint8_t *)f.log)[8] = 2; /* version */
		assert_int_equal(driver_vq_start(&f.d, 0, f.log, &q), -EINVAL);
		((uint8_t *)f.log)[8] = 1;
		((uint8_t *)f.log)[10] = QUEUE_SIZE / 2; /* size */
		assert_int_equal(driver_vq_start(&f.d, 0, f.log, &q), -EINVAL);
		finish();
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split_queue_survives_death_at_every_instruction),
		cmocka_unit_test(test_packed_queue_survives_death_at_every_instruction),
		cmocka_unit_test(test_outstanding_requests_come_first_in_their_order),
		cmocka_unit_test(test_driver_is_called_once_after_a_restart),
		cmocka_unit_test(test_damaged_log_does_no_harm),
		cmocka_unit_test(test_log_of_another_ring_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
