/* SPDX-License-Identifier: BSD-3-Clause */
/* image_raw_test.c - raw images: what opens, what is refused, what arrives; with short I/O */
#include "backend/image.h"

#include "base/iov.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 4 * 1024 * 1024 };

/*
 * An engine that performs on reap(), and badly: it moves at most limit bytes at once, says EINTR or
 * EAGAIN every so often, and refuses the modes of fallocate() in refused.
 */
static struct bad {
	size_t limit;
	unsigned interrupt_every, count, calls, refused;
	int error;
} bad;

static struct aio_req *bad_first, **bad_last = &bad_first;

static int bad_init(struct aio *a, struct err *e)
{
	(void)a;
	(void)e;
	return 0;
}

static void bad_nothing(struct aio *a)
{
	a->queued = 0;
}

static void bad_queue(struct aio *a, struct aio_req *r)
{
	(void)a;
	r->next = NULL;
	*bad_last = r;
	bad_last = &r->next;
}

static int64_t bad_perform(const struct aio *a, const struct aio_req *r)
{
	size_t n = r->niov > 0 ? r->iov[0].iov_len : 0;
	int fd = a->files[r->file];
	int64_t result = 0;

	bad.calls++;
	if (bad.limit > 0 && n > bad.limit)
		n = bad.limit;
	if (bad.error)
		return bad.error;
	if (bad.interrupt_every > 0 && ++bad.count % bad.interrupt_every == 0)
		return bad.count % 2 ? -EINTR : -EAGAIN;
	switch (r->op) {
	case AIO_READ:
		result = pread(fd, r->iov[0].iov_base, n, (off_t)r->offset);
		break;
	case AIO_WRITE:
		result = pwrite(fd, r->iov[0].iov_base, n, (off_t)r->offset);
		break;
	case AIO_SYNC:
		break;
	case AIO_ALLOCATE:
		if ((unsigned)r->mode & bad.refused)
			return -EOPNOTSUPP;
		result = fallocate(fd, r->mode, (off_t)r->offset, (off_t)r->length);
		break;
	}
	return result < 0 ? -errno : result;
}

static void bad_reap(struct aio *a)
{
	struct aio_req *r = bad_first;

	if (!r)
		return;
	bad_first = r->next;
	if (!bad_first)
		bad_last = &bad_first;
	aio_done(a, r, bad_perform(a, r));
}

static const struct aio_engine bad_engine = {
	.name = "bad",
	.init = bad_init,
	.enable = bad_init,
	.fini = bad_nothing,
	.queue = bad_queue,
	.start = bad_nothing,
	.reap = bad_reap,
	.wait = bad_nothing,
};

struct rig {
	char path[64];
	struct loop loop;
	struct image image;
	struct aio aio;
	int check; /* a descriptor of our own */
	unsigned done;
};

struct item {
	struct image_req req;
	struct rig *rig;
	int error;
};

static void item_done(struct image_req *r, int error)
{
	struct item *item = container_of(r, struct item, req);

	item->error = error;
	item->rig->done++;
}

static void rig_file(struct rig *rig, size_t size)
{
	memset(rig, 0, sizeof(*rig));
	snprintf(rig->path, sizeof(rig->path), "image_raw_test.XXXXXX");
	rig->check = mkstemp(rig->path);
	assert_true(rig->check >= 0);
	assert_int_equal(ftruncate(rig->check, (off_t)size), 0);
	bad = (struct bad){0};
}

static void rig_attach(struct rig *rig, const struct aio_engine *engine)
{
	const struct aio_options o = {
		.engine = engine, .depth = 64, .files = &rig->image.fd, .nfiles = 1};
	struct err e = {0};

	assert_int_equal(loop_init(&rig->loop), 0);
	assert_int_equal(aio_init(&rig->aio, &rig->loop, &o, &e), 0);
	assert_int_equal(aio_start(&rig->aio, &e), 0);
	image_attach(&rig->image, &rig->aio);
}

static void rig_open(struct rig *rig, const struct aio_engine *engine, bool direct)
{
	struct image_options o = {.path = rig->path,
				  .ops = &image_raw,
				  .writable = true,
				  .direct = direct,
				  .sparse = true};
	struct err e = {0};

	rig_file(rig, SIZE);
	assert_int_equal(image_open(&rig->image, &o, &e), 0);
	rig_attach(rig, engine);
}

static void rig_close(struct rig *rig)
{
	aio_fini(&rig->aio);
	image_close(&rig->image);
	loop_fini(&rig->loop);
	close(rig->check);
	unlink(rig->path);
}

static int run(struct rig *rig, struct image_req req)
{
	struct item item = {.req = req, .rig = rig, .error = 1};

	item.req.done = item_done;
	image_submit(&rig->image, &item.req);
	assert_int_equal(item.error, 1); /* never from image_submit() */
	aio_drain(&rig->aio);
	assert_int_not_equal(item.error, 1);
	return item.error;
}

static int move(struct rig *rig, enum image_op op, uint64_t offset, const struct iovec *v,
		unsigned n)
{
	return run(rig, (struct image_req){.op = op,
					   .offset = offset,
					   .length = iov_length(v, n),
					   .iov = v,
					   .niov = n});
}

static void fill_random(char *buf, size_t n)
{
	static uint32_t x = 1;

	for (size_t i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		buf[i] = (char)(x >> 24);
	}
}

/* Writes through the image in pieces of odd sizes, reads back both ways. */
static void round_trip(struct rig *rig, size_t misalign)
{
	enum { N = 640 * 1024 };
	char *out = aligned_alloc(4096, N + 4096), *in = aligned_alloc(4096, N + 4096);
	char *o = out + misalign, *i = in + misalign;
	struct iovec w[3] = {iov_of(o, 4096), iov_of(o + 4096, 65536),
			     iov_of(o + 69632, N - 69632)};
	struct iovec r[2] = {iov_of(i, N - 8192), iov_of(i + N - 8192, 8192)};
	char *check = malloc(N);

	fill_random(o, N);
	assert_int_equal(move(rig, IMAGE_WRITE, 8192, w, 3), 0);
	assert_int_equal(pread(rig->check, check, N, 8192), N);
	assert_memory_equal(check, o, N);
	assert_int_equal(move(rig, IMAGE_READ, 8192, r, 2), 0);
	assert_memory_equal(i, o, N);
	free(out);
	free(in);
	free(check);
}

static void data_arrives_whole(void **state)
{
	struct rig rig;

	(void)state;
	rig_open(&rig, &aio_threads, false);
	round_trip(&rig, 0);
	round_trip(&rig, 3);
	assert_int_equal(run(&rig, (struct image_req){.op = IMAGE_SYNC}), 0);
	rig_close(&rig);
	rig_open(&rig, NULL, false);
	round_trip(&rig, 0);
	rig_close(&rig);
}

static void short_transfers_are_continued(void **state)
{
	struct rig rig;

	(void)state;
	rig_open(&rig, &bad_engine, false);
	bad.limit = 1000;
	round_trip(&rig, 0);
	assert_true(bad.calls > 2 * 640);
	bad.limit = 4096;
	bad.interrupt_every = 3;
	round_trip(&rig, 1);
	rig_close(&rig);
}

static void endless_interruptions_end_in_an_error(void **state)
{
	char buf[512];
	struct iovec v = iov_of(buf, sizeof(buf));
	struct rig rig;

	(void)state;
	rig_open(&rig, &bad_engine, false);
	bad.error = -EAGAIN;
	assert_int_equal(move(&rig, IMAGE_READ, 0, &v, 1), -EAGAIN);
	assert_int_equal(run(&rig, (struct image_req){.op = IMAGE_SYNC}), -EAGAIN);
	assert_true(bad.calls < 1000);
	rig_close(&rig);
}

static void file_cut_short_behind_our_back_is_an_io_error(void **state)
{
	static char buf[8192];
	struct iovec v = iov_of(buf, sizeof(buf));
	struct rig rig;

	(void)state;
	rig_open(&rig, &aio_threads, false);
	assert_int_equal(ftruncate(rig.check, 4096), 0);
	assert_int_equal(move(&rig, IMAGE_READ, 0, &v, 1), -EIO);
	rig_close(&rig);
}

static void direct_io_takes_misaligned_memory(void **state)
{
	struct rig rig;

	(void)state;
	rig_open(&rig, &aio_threads, true);
	assert_true(rig.image.block_size >= 512);
	round_trip(&rig, 0);
	round_trip(&rig, 1);
	round_trip(&rig, 512 + 8);
	rig_close(&rig);
}

static void bounce_buffers_are_shared_by_many_requests(void **state)
{
	enum { N = 16, EACH = 300 * 1024 / 4096 * 4096 / 2 };
	static struct item items[N];
	struct iovec v[N];
	struct rig rig;

	(void)state;
	rig_open(&rig, &aio_threads, true);
	for (unsigned i = 0; i < N; i++) {
		char *buf = (char *)aligned_alloc(4096, (EACH + 8191) / 4096 * 4096) + 1;

		fill_random(buf, EACH);
		v[i] = iov_of(buf, EACH);
		items[i] = (struct item){.rig = &rig,
					 .error = 1,
					 .req = {.op = IMAGE_WRITE,
						 .offset = (uint64_t)i * EACH,
						 .length = EACH,
						 .iov = &v[i],
						 .niov = 1,
						 .done = item_done}};
		image_submit(&rig.image, &items[i].req);
	}
	aio_drain(&rig.aio);
	assert_int_equal(rig.done, N);
	for (unsigned i = 0; i < N; i++) {
		static char back[EACH];

		assert_int_equal(items[i].error, 0);
		assert_int_equal(pread(rig.check, back, EACH, (off_t)i * EACH), EACH);
		assert_memory_equal(back, v[i].iov_base, EACH);
		free((char *)v[i].iov_base - 1);
	}
	rig_close(&rig);
}

/* Fills the file with ones and expects [offset, offset + n) to be zero afterwards, nothing else. */
static void expect_zeroed(struct rig *rig, struct image_req req)
{
	char *buf = malloc(SIZE);

	memset(buf, 1, SIZE);
	assert_int_equal(pwrite(rig->check, buf, SIZE, 0), SIZE);
	assert_int_equal(run(rig, req), 0);
	assert_int_equal(pread(rig->check, buf, SIZE, 0), SIZE);
	for (size_t i = 0; i < SIZE; i++)
		assert_int_equal(buf[i], i < req.offset || i - req.offset >= req.length);
	free(buf);
}

static void zeroes_are_written_whatever_the_file_system_can(void **state)
{
	struct image_req req = {.op = IMAGE_ZERO, .offset = 5120, .length = 2 * 1024 * 1024 + 512};
	struct rig rig;

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		rig_open(&rig, &bad_engine, false);
		bad.refused =
			(i & 1 ? FALLOC_FL_ZERO_RANGE : 0) | (i & 2 ? FALLOC_FL_PUNCH_HOLE : 0);
		bad.limit = i & 2 ? 3000 : 0;
		req.unmap = i & 4;
		req.durable = i & 1;
		expect_zeroed(&rig, req);
		expect_zeroed(&rig, req); /* now knowing what is refused */
		rig_close(&rig);
	}
}

static void unmap_and_discard_give_space_back(void **state)
{
	static char buf[65536];
	struct stat before, after;
	struct rig rig;

	(void)state;
	rig_open(&rig, &aio_threads, false);
	memset(buf, 1, sizeof(buf));
	for (off_t at = 0; at < SIZE; at += (off_t)sizeof(buf))
		assert_int_equal(pwrite(rig.check, buf, sizeof(buf), at), sizeof(buf));
	assert_int_equal(fsync(rig.check), 0);
	assert_int_equal(fstat(rig.check, &before), 0);
	assert_int_equal(run(&rig, (struct image_req){.op = IMAGE_DISCARD, .length = SIZE / 2}), 0);
	assert_int_equal(fstat(rig.check, &after), 0);
	assert_true(after.st_blocks <= before.st_blocks / 2 + 64);
	assert_int_equal(after.st_size, SIZE);
	assert_int_equal(run(&rig, (struct image_req){.op = IMAGE_ZERO,
						      .unmap = true,
						      .offset = SIZE / 2,
						      .length = SIZE / 2}),
			 0);
	assert_int_equal(fstat(rig.check, &after), 0);
	assert_true(after.st_blocks <= 64);
	rig_close(&rig);
}

static void discard_that_cannot_be_done_is_no_error(void **state)
{
	struct rig rig;

	(void)state;
	rig_open(&rig, &bad_engine, false);
	bad.refused = FALLOC_FL_PUNCH_HOLE;
	assert_int_equal(run(&rig, (struct image_req){.op = IMAGE_DISCARD, .length = 4096}), 0);
	rig_close(&rig);
}

static int try_open(const struct image_options *o, struct err *e)
{
	struct image im;
	int r = image_open(&im, o, e);

	if (r == 0)
		image_close(&im);
	return r;
}

static void locks_keep_others_out(void **state)
{
	struct image_options rw = {.ops = &image_raw, .writable = true}, ro = {.ops = &image_raw};
	struct image first, second;
	struct err e;
	struct rig rig;

	(void)state;
	rig_file(&rig, SIZE);
	rw.path = ro.path = rig.path;
	assert_int_equal(image_open(&first, &rw, &e), 0);
	assert_int_equal(try_open(&rw, &e), -EBUSY);
	assert_non_null(strstr(e.text, "in use by"));
	assert_int_equal(try_open(&ro, &e), -EBUSY);
	assert_non_null(strstr(e.text, "open for writing"));
	image_close(&first);
	assert_int_equal(image_open(&first, &ro, &e), 0);
	assert_int_equal(image_open(&second, &ro, &e), 0);
	assert_int_equal(try_open(&rw, &e), -EBUSY);
	image_close(&first);
	image_close(&second);
	assert_int_equal(try_open(&rw, &e), 0);
	close(rig.check);
	unlink(rig.path);
}

static void lock_of_a_dying_process_is_waited_for(void **state)
{
	struct image_options o = {.ops = &image_raw, .writable = true};
	struct err e;
	struct rig rig;
	pid_t child;

	(void)state;
	rig_file(&rig, SIZE);
	o.path = rig.path;
	child = fork();
	if (child == 0) { /* dies with a lock that another process holds a little longer */
		if (flock(rig.check, LOCK_EX) == 0 && fork() == 0)
			usleep(20000);
		_exit(0);
	}
	close(rig.check);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(try_open(&o, &e), 0);
	unlink(rig.path);
}

static void wrong_files_are_refused_with_a_reason(void **state)
{
	struct image_options o = {.ops = &image_raw};
	struct err e;

	(void)state;
	o.path = "/nonexistent/disk.img";
	assert_int_equal(try_open(&o, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/nonexistent/disk.img"));
	o.path = "/dev/null";
	assert_int_equal(try_open(&o, &e), -EINVAL);
	assert_non_null(strstr(e.text, "not a regular file"));
	o.path = "/";
	assert_int_equal(try_open(&o, &e), -EINVAL);
}

static void descriptors_handed_in_are_checked(void **state)
{
	struct image_options o = {.ops = &image_raw, .writable = true};
	char path[32];
	struct image im;
	struct err e;
	struct rig rig;

	(void)state;
	rig_file(&rig, SIZE);
	o.path = path;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", rig.check);
	fcntl(rig.check, F_SETFD, FD_CLOEXEC);
	assert_int_equal(try_open(&o, &e), -EBADF);
	assert_non_null(strstr(e.text, "close-on-exec"));
	fcntl(rig.check, F_SETFD, 0);
	assert_int_equal(image_open(&im, &o, &e), 0);
	assert_int_equal(im.size, SIZE);
	assert_true(fcntl(im.fd, F_GETFD) & FD_CLOEXEC);
	image_close(&im);
	close(rig.check);
	assert_int_equal(try_open(&o, &e), -EBADF);
	rig.check = open(rig.path, O_RDONLY);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", rig.check);
	assert_int_equal(try_open(&o, &e), -EACCES);
	close(rig.check);
	unlink(rig.path);
}

static void odd_sizes_are_rounded_down_and_remarked(void **state)
{
	struct image_options o = {.ops = &image_raw, .block_size = 4096};
	struct image im;
	struct err e;
	struct rig rig;

	(void)state;
	rig_file(&rig, 3 * 4096 + 700);
	o.path = rig.path;
	assert_int_equal(image_open(&im, &o, &e), 0);
	assert_int_equal(im.size, 3 * 4096);
	assert_non_null(strstr(im.remark, "hidden"));
	image_close(&im);
	o.block_size = 0;
	assert_int_equal(image_open(&im, &o, &e), 0);
	assert_int_equal(im.size, 3 * 4096 + 512);
	image_close(&im);
	close(rig.check);
	unlink(rig.path);
}

static void qcow2_header_in_a_raw_image_is_remarked_not_believed(void **state)
{
	struct image_options o = {.ops = &image_raw};
	struct image im;
	struct err e;
	struct rig rig;

	(void)state;
	rig_file(&rig, 65536);
	o.path = rig.path;
	assert_int_equal(pwrite(rig.check, "QFI\xfb", 4, 0), 4);
	assert_int_equal(image_open(&im, &o, &e), 0);
	assert_int_equal(im.size, 65536);
	assert_non_null(strstr(im.remark, "qcow2"));
	image_close(&im);
	close(rig.check);
	unlink(rig.path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_arrives_whole),
		cmocka_unit_test(short_transfers_are_continued),
		cmocka_unit_test(endless_interruptions_end_in_an_error),
		cmocka_unit_test(file_cut_short_behind_our_back_is_an_io_error),
		cmocka_unit_test(direct_io_takes_misaligned_memory),
		cmocka_unit_test(bounce_buffers_are_shared_by_many_requests),
		cmocka_unit_test(zeroes_are_written_whatever_the_file_system_can),
		cmocka_unit_test(unmap_and_discard_give_space_back),
		cmocka_unit_test(discard_that_cannot_be_done_is_no_error),
		cmocka_unit_test(locks_keep_others_out),
		cmocka_unit_test(lock_of_a_dying_process_is_waited_for),
		cmocka_unit_test(wrong_files_are_refused_with_a_reason),
		cmocka_unit_test(descriptors_handed_in_are_checked),
		cmocka_unit_test(odd_sizes_are_rounded_down_and_remarked),
		cmocka_unit_test(qcow2_header_in_a_raw_image_is_remarked_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
