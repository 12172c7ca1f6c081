/* SPDX-License-Identifier: BSD-3-Clause */
/* aio_test.c - both engines: every operation, batches, results, waiting */
#include "backend/aio.h"

#include "base/iov.h"
#include "base/skip.h"

#include <errno.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

enum { DEPTH = 256, BLOCK = 4096, BLOCKS = 600 };

struct rig {
	struct loop loop;
	struct aio aio;
	int fd, pipe[2];
	unsigned done, batches;
	unsigned again; /* submissions that done() still makes */
};

struct item {
	struct aio_req req;
	struct iovec iov;
	struct rig *rig;
	int64_t result;
	char data[BLOCK];
};

static void item_done(struct aio_req *r, int64_t result)
{
	struct item *item = container_of(r, struct item, req);

	item->result = result;
	item->rig->done++;
	if (item->rig->again > 0) {
		item->rig->again--;
		aio_submit(&item->rig->aio, r);
	}
}

static void batch_end(struct aio *a)
{
	((struct rig *)a->owner)->batches++;
}

static void rig_open(struct rig *rig, const struct aio_engine *engine)
{
	struct err e = {0};

	memset(rig, 0, sizeof(*rig));
	assert_int_equal(loop_init(&rig->loop), 0);
	rig->fd = memfd_create("aio_test", MFD_CLOEXEC);
	assert_true(rig->fd >= 0);
	assert_int_equal(ftruncate(rig->fd, BLOCK * BLOCKS), 0);
	assert_int_equal(pipe(rig->pipe), 0);
	const int files[] = {rig->fd, rig->pipe[0]};
	const struct aio_options o = {
		.engine = engine, .depth = DEPTH, .files = files, .nfiles = 2};
	assert_int_equal(aio_init(&rig->aio, &rig->loop, &o, &e), 0);
	assert_int_equal(aio_start(&rig->aio, &e), 0);
	rig->aio.batch_end = batch_end;
	rig->aio.owner = rig;
}

static void rig_close(struct rig *rig)
{
	aio_fini(&rig->aio);
	loop_fini(&rig->loop);
	close(rig->fd);
	close(rig->pipe[0]);
	close(rig->pipe[1]);
}

static struct item *item_new(struct rig *rig, enum aio_op op, uint64_t offset)
{
	struct item *item = calloc(1, sizeof(*item));

	assert_non_null(item);
	item->iov = iov_of(item->data, BLOCK);
	item->rig = rig;
	item->result = INT64_MIN;
	item->req = (struct aio_req){
		.op = op, .offset = offset, .iov = &item->iov, .niov = 1, .done = item_done};
	return item;
}

static int64_t run_one(struct rig *rig, struct item *item)
{
	aio_submit(&rig->aio, &item->req);
	aio_drain(&rig->aio);
	return item->result;
}

static void every_operation(struct rig *rig)
{
	struct item *w = item_new(rig, AIO_WRITE, BLOCK), *r = item_new(rig, AIO_READ, BLOCK);
	struct item *s = item_new(rig, AIO_SYNC, 0), *z = item_new(rig, AIO_ALLOCATE, BLOCK);
	struct stat st;

	memset(w->data, 'w', BLOCK);
	w->req.durable = true;
	assert_int_equal(run_one(rig, w), BLOCK);
	assert_int_equal(run_one(rig, s), 0);
	assert_int_equal(run_one(rig, r), BLOCK);
	assert_memory_equal(r->data, w->data, BLOCK);
	z->req.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	z->req.length = BLOCK;
	assert_int_equal(run_one(rig, z), 0);
	assert_int_equal(fstat(rig->fd, &st), 0);
	assert_int_equal(st.st_blocks, 0);
	free(w);
	free(r);
	free(s);
	free(z);
}

static void several_ranges_in_one_request(struct rig *rig)
{
	struct item *w = item_new(rig, AIO_WRITE, 10);
	char text[] = "abcdef", back[6];
	struct iovec v[3] = {iov_of(text, 2), iov_of(text + 2, 3), iov_of(text + 5, 1)};

	w->req.iov = v;
	w->req.niov = 3;
	assert_int_equal(run_one(rig, w), 6);
	assert_int_equal(pread(rig->fd, back, 6, 10), 6);
	assert_memory_equal(back, "abcdef", 6);
	free(w);
}

static void short_and_failing_results_are_told(struct rig *rig)
{
	struct item *r = item_new(rig, AIO_READ, BLOCK * BLOCKS - 100);

	assert_int_equal(run_one(rig, r), 100);
	r->req.offset = BLOCK * BLOCKS;
	assert_int_equal(run_one(rig, r), 0);
	r->req.op = AIO_ALLOCATE;
	r->req.mode = 0x4000;
	r->req.length = BLOCK;
	assert_int_equal(run_one(rig, r), -EOPNOTSUPP);
	free(r);
}

static void batches_longer_than_the_ring(struct rig *rig)
{
	struct item *items[DEPTH];

	for (unsigned i = 0; i < DEPTH; i++) {
		items[i] = item_new(rig, AIO_WRITE, (uint64_t)i * BLOCK);
		memset(items[i]->data, (int)i, BLOCK);
		aio_submit(&rig->aio, &items[i]->req);
	}
	assert_int_equal(rig->done, 0); /* never from aio_submit() */
	aio_drain(&rig->aio);
	assert_int_equal(rig->done, DEPTH);
	for (unsigned i = 0; i < DEPTH; i++) {
		char back[BLOCK];

		assert_int_equal(items[i]->result, BLOCK);
		assert_int_equal(pread(rig->fd, back, BLOCK, (off_t)i * BLOCK), BLOCK);
		assert_memory_equal(back, items[i]->data, BLOCK);
		free(items[i]);
	}
}

static void done_may_submit_again(struct rig *rig)
{
	struct item *r = item_new(rig, AIO_READ, 0);

	rig->again = 1000;
	assert_int_equal(run_one(rig, r), BLOCK);
	assert_int_equal(rig->done, 1001);
	free(r);
}

/* A pipe with nothing in it makes a read that is really asynchronous. */
static void loop_hands_out_what_completes_later(struct rig *rig)
{
	struct item *r = item_new(rig, AIO_READ, (uint64_t)-1);

	if (rig->aio.engine == &aio_threads)
		r->req.offset = 0; /* preadv() of a pipe fails at once, which is late enough */
	r->req.file = 1;
	aio_submit(&rig->aio, &r->req);
	aio_flush(&rig->aio);
	if (rig->aio.engine == &aio_uring)
		assert_int_equal(rig->done, 0);
	assert_int_equal(write(rig->pipe[1], "hello", 5), 5);
	while (rig->done == 0)
		assert_int_equal(loop_once(&rig->loop, 10000), 0);
	assert_int_equal(r->result, rig->aio.engine == &aio_uring ? 5 : -ESPIPE);
	assert_true(rig->aio.engine == &aio_threads || rig->batches == 1);
	free(r);
}

/* Looks for completions itself, then leaves one to the loop. */
static void look(struct rig *rig, struct item *r)
{
	for (unsigned i = 0; i < 2; i++) {
		bool finds = i == 0;

		aio_submit(&rig->aio, &r->req);
		aio_flush(&rig->aio);
		assert_true(aio_look_begin(&rig->aio));
		assert_false(aio_is_ready(&rig->aio));
		if (!finds)
			aio_flush(&rig->aio);
		assert_int_equal(write(rig->pipe[1], "hello", 5), 5);
		while (finds && !aio_is_ready(&rig->aio))
			;
		if (finds)
			aio_flush(&rig->aio);
		while (rig->done == i)
			assert_int_equal(loop_once(&rig->loop, -1), 0);
		assert_int_equal(rig->done, i + 1);
	}
}

static void completions_are_seen_without_the_loop(struct rig *rig)
{
	struct item *r = item_new(rig, AIO_READ, (uint64_t)-1);

	r->req.file = 1;
	assert_true(aio_look_begin(&rig->aio)); /* nothing in flight: nothing to be missed */
	assert_false(aio_is_ready(&rig->aio));
	if (rig->aio.engine == &aio_uring) {
		look(rig, r);
	} else {
		r->req.offset = 0;
		aio_submit(&rig->aio, &r->req);
		assert_false(aio_look_begin(&rig->aio)); /* only the loop can tell */
		aio_drain(&rig->aio);
	}
	free(r);
}

static void (*const bodies[])(struct rig *rig) = {
	every_operation,
	several_ranges_in_one_request,
	short_and_failing_results_are_told,
	batches_longer_than_the_ring,
	done_may_submit_again,
	loop_hands_out_what_completes_later,
	completions_are_seen_without_the_loop,
};

static bool has_io_uring(void)
{
	const int files[] = {0};
	const struct aio_options o = {
		.engine = &aio_uring, .depth = 1, .files = files, .nfiles = 1};
	struct err e;
	struct loop l;
	struct aio a;
	bool has;

	assert_int_equal(loop_init(&l), 0);
	has = aio_init(&a, &l, &o, &e) == 0;
	if (has)
		aio_fini(&a);
	loop_fini(&l);
	return has;
}

static void run_bodies(const struct aio_engine *engine)
{
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		struct rig rig;

		rig_open(&rig, engine);
		bodies[i](&rig);
		rig_close(&rig);
	}
}

static void io_uring_does_it_all(void **state)
{
	(void)state;
	SKIP_UNLESS(has_io_uring(), "io_uring (sysctl kernel.io_uring_disabled=0)");
	run_bodies(&aio_uring);
}

static void threads_do_it_all(void **state)
{
	(void)state;
	run_bodies(&aio_threads);
}

/* The descriptor of the ring among those of this process. */
static int ring_fd(void)
{
	for (int fd = 0; fd < 64; fd++) {
		char path[32], target[64] = {0};

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (readlink(path, target, sizeof(target) - 1) > 0 && strstr(target, "io_uring"))
			return fd;
	}
	return -1;
}

static void ring_registers_nothing_more(void **state)
{
	struct rig rig;
	int arg[4] = {0};

	(void)state;
	SKIP_UNLESS(has_io_uring(), "io_uring (sysctl kernel.io_uring_disabled=0)");
	rig_open(&rig, &aio_uring);
	for (unsigned what = 0; what < 30; what++) {
		assert_int_equal(syscall(SYS_io_uring_register, ring_fd(), what, arg, 1), -1);
		assert_true(errno == EACCES || errno == EBADFD || errno == EINVAL);
	}
	rig_close(&rig);
}

static void best_engine_is_chosen_when_none_is_named(void **state)
{
	const int files[] = {0};
	const struct aio_options o = {.depth = 4, .files = files, .nfiles = 1};
	struct err e;
	struct loop l;
	struct aio a;

	(void)state;
	assert_int_equal(loop_init(&l), 0);
	assert_int_equal(aio_init(&a, &l, &o, &e), 0);
	assert_ptr_equal(a.engine, has_io_uring() ? &aio_uring : &aio_threads);
	aio_fini(&a);
	aio_fini(&a);
	loop_fini(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(io_uring_does_it_all),
		cmocka_unit_test(threads_do_it_all),
		cmocka_unit_test(ring_registers_nothing_more),
		cmocka_unit_test(best_engine_is_chosen_when_none_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
