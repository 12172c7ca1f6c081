/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_test.c - qcow2 images in use, against a model in memory and the judgement of qemu-img
 *
 * Images are made by qcow2_create() or by qemu-img; what they hold at the end is compared through
 * our own eyes and, where qemu-img is installed, it must have nothing to say.
 */
#include "backend/image_qcow2.h"

#include "backend/image.h"
#include "backend/image_qcow2_format.h"
#include "base/fd.h"
#include "base/iov.h"
#include "base/skip.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PARALLEL = 8, OPS_SIZE_MAX = 300 * 1024 };

static char folder[] = "/tmp/image_qcow2_test.XXXXXX";
static bool has_qemu;

static PRINTF(1, 2) int shell(const char *format, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	return system(text);
}

static const char *path_of(const char *name)
{
	static char paths[4][64];
	static unsigned i;

	i = (i + 1) % 4;
	snprintf(paths[i], sizeof(paths[i]), "%s/%s", folder, name);
	return paths[i];
}

static void check(const char *name)
{
	if (has_qemu)
		assert_int_equal(shell("qemu-img check -q -f qcow2 %s", path_of(name)), 0);
}

/* ---- an image, open ---- */

struct rig {
	struct loop loop;
	struct image image;
	struct aio aio;
	uint8_t *model;
	uint64_t size;
	unsigned in_flight, failed;
};

struct item {
	struct image_req req;
	struct rig *rig;
	struct iovec v[3];
	uint8_t *buffer;
	int error;
};

static int rig_try(struct rig *rig, struct image_options o, struct err *e)
{
	memset(rig, 0, sizeof(*rig));
	o.ops = &image_qcow2;
	return image_open(&rig->image, &o, e);
}

static void rig_start(struct rig *rig, const struct aio_engine *engine)
{
	struct aio_options o = {.engine = engine, .depth = PARALLEL + IMAGE_AIO_EXTRA};
	struct err e = {0};

	o.files = rig->image.files;
	o.nfiles = rig->image.nfiles;
	assert_int_equal(loop_init(&rig->loop), 0);
	assert_int_equal(aio_init(&rig->aio, &rig->loop, &o, &e), 0);
	assert_int_equal(aio_start(&rig->aio, &e), 0);
	image_attach(&rig->image, &rig->aio);
}

static void rig_open_with(struct rig *rig, struct image_options o)
{
	struct err e = {0};

	if (rig_try(rig, o, &e) < 0)
		fail_msg("%s", e.text);
	rig_start(rig, NULL);
	rig->size = rig->image.size;
}

static void rig_open(struct rig *rig, const char *name)
{
	rig_open_with(rig, (struct image_options){
				   .path = path_of(name), .writable = true, .sparse = true});
}

static void rig_close(struct rig *rig)
{
	aio_fini(&rig->aio);
	image_close(&rig->image);
	loop_fini(&rig->loop);
	free(rig->model);
	rig->model = NULL;
}

static void item_done(struct image_req *r, int error)
{
	struct item *item = container_of(r, struct item, req);

	item->error = error;
	item->rig->in_flight--;
	item->rig->failed += error < 0;
}

static int run(struct rig *rig, struct image_req req)
{
	struct item item = {.req = req, .rig = rig, .error = 1};

	item.req.done = item_done;
	rig->in_flight++;
	image_submit(&rig->image, &item.req);
	assert_int_equal(item.error, 1); /* never from image_submit() */
	aio_drain(&rig->aio);
	assert_int_not_equal(item.error, 1);
	return item.error;
}

static int move(struct rig *rig, enum image_op op, uint64_t offset, void *buffer, size_t n)
{
	struct iovec v = iov_of(buffer, n);

	return run(rig, (struct image_req){
				.op = op, .offset = offset, .length = n, .iov = &v, .niov = 1});
}

static int op(struct rig *rig, enum image_op what, uint64_t offset, uint64_t n)
{
	return run(rig, (struct image_req){
				.op = what, .offset = offset, .length = n, .unmap = true});
}

/* ---- random requests ---- */

static uint32_t random_bits(void)
{
	static uint64_t x = 88172645463325252;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 32);
}

static void fill(uint8_t *p, size_t n)
{
	uint32_t seed = random_bits();

	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (uint8_t)(seed >> 24);
	}
}

/* A request that overlaps none of those in flight; what it does to the model is done now. */
static void item_start(struct rig *rig, struct item *item, uint64_t from, uint64_t to)
{
	static const enum image_op ops[] = {IMAGE_READ,  IMAGE_READ, IMAGE_WRITE,   IMAGE_WRITE,
					    IMAGE_WRITE, IMAGE_ZERO, IMAGE_DISCARD, IMAGE_SYNC};
	struct image_req *r = &item->req;
	uint64_t length = 512 * (1 + random_bits() % (OPS_SIZE_MAX / 512));
	uint64_t at = from + 512 * (random_bits() % ((to - from) / 512));
	size_t n, a, b;

	if (random_bits() % 2)
		length = 512 * (1 + random_bits() % 8);
	length = length < to - at ? length : to - at;
	n = (size_t)length;
	a = n / 3 & ~(size_t)511;
	b = n / 2 & ~(size_t)511;
	memset(r, 0, sizeof(*r));
	r->op = ops[random_bits() % ARRAY_LEN(ops)];
	r->offset = at;
	r->length = length;
	r->unmap = random_bits() % 2;
	r->durable = random_bits() % 16 == 0;
	r->done = item_done;
	item->v[0] = iov_of(item->buffer, a ? a : n);
	item->v[1] = iov_of(item->buffer + a, b - a);
	item->v[2] = iov_of(item->buffer + b, n - b);
	if (r->op == IMAGE_READ || r->op == IMAGE_WRITE) {
		r->iov = item->v;
		r->niov = a ? 3 : 1;
	}
	if (r->op == IMAGE_WRITE) {
		fill(item->buffer, n);
		memcpy(rig->model + at, item->buffer, n);
	} else if (r->op == IMAGE_ZERO) {
		memset(rig->model + at, 0, n);
	} else if (r->op == IMAGE_READ) {
		memset(item->buffer, 0xa5, n);
	}
	item->rig = rig;
	item->error = 1;
	rig->in_flight++;
	image_submit(&rig->image, r);
}

static void read_back(struct rig *rig, uint64_t at, uint8_t *to, size_t n)
{
	struct iovec v = iov_of(to, n);

	assert_int_equal(run(rig, (struct image_req){.op = IMAGE_READ,
						     .offset = at,
						     .length = n,
						     .iov = &v,
						     .niov = 1}),
			 0);
}

static void item_check(struct rig *rig, struct item *item)
{
	struct image_req *r = &item->req;

	assert_int_equal(item->error, 0);
	if (r->op == IMAGE_READ)
		assert_memory_equal(item->buffer, rig->model + r->offset, r->length);
	if (r->op == IMAGE_DISCARD) /* anything, but the same from now on */
		read_back(rig, r->offset, rig->model + r->offset, (size_t)r->length);
}

/* PARALLEL requests at once, each in a stripe of its own, the borders anywhere. */
static void torture(struct rig *rig, unsigned rounds)
{
	struct item *items = calloc(PARALLEL, sizeof(*items));
	uint64_t blocks = rig->size / 512;

	for (unsigned i = 0; i < PARALLEL; i++)
		items[i].buffer = aligned_alloc(4096, OPS_SIZE_MAX + 4096);
	for (unsigned round = 0; round < rounds; round++) {
		uint64_t spread = round % 3 ? blocks : 4096;
		uint64_t base = (random_bits() % (blocks - spread + 1)) * 512;
		uint64_t stripe = spread / PARALLEL * 512;

		for (unsigned i = 0; i < PARALLEL; i++)
			item_start(rig, &items[i], base + i * stripe, base + (i + 1) * stripe);
		aio_drain(&rig->aio);
		assert_int_equal(rig->in_flight, 0);
		for (unsigned i = 0; i < PARALLEL; i++)
			item_check(rig, &items[i]);
	}
	for (unsigned i = 0; i < PARALLEL; i++)
		free(items[i].buffer);
	free(items);
}

static void compare(struct rig *rig)
{
	enum { N = 1 << 20 };
	uint8_t *buffer = malloc(N);

	for (uint64_t at = 0; at < rig->size; at += N) {
		size_t n = rig->size - at < N ? (size_t)(rig->size - at) : N;

		read_back(rig, at, buffer, n);
		assert_memory_equal(buffer, rig->model + at, n);
	}
	free(buffer);
}

/* The model takes what the image has. */
static void adopt(struct rig *rig)
{
	rig->model = calloc(1, rig->size);
	assert_non_null(rig->model);
	for (uint64_t at = 0; at < rig->size; at += 1 << 20)
		read_back(rig, at, rig->model + at,
			  rig->size - at < 1 << 20 ? (size_t)(rig->size - at) : 1 << 20);
}

static void reopen(struct rig *rig, const char *name)
{
	uint8_t *model = rig->model;

	rig->model = NULL;
	rig_close(rig);
	check(name);
	rig_open(rig, name);
	rig->model = model;
}

static void make(const char *name, uint64_t size, const struct qcow2_create_options *o)
{
	auto_fd fd = open(path_of(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct err e = {0};

	assert_true(fd >= 0);
	if (qcow2_create(fd, size, o, &e) < 0)
		fail_msg("%s", e.text);
}

/* ---- images of qemu-img ---- */

#define NEEDS_QEMU() SKIP_UNLESS(has_qemu, "qemu-img and qemu-io (package qemu-utils)")

/* 12 MiB: noise, zeroes, holes, text that compresses. */
static void make_source(const char *name)
{
	enum { N = 12 << 20, PIECE = 40 << 10 };
	uint8_t *bytes = calloc(1, N);
	auto_fd fd = open(path_of(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	for (size_t at = 0; at + PIECE <= N; at += PIECE)
		switch (random_bits() % 4) {
		case 0:
			fill(bytes + at, PIECE);
			break;
		case 1:
			memset(bytes + at, (int)(random_bits() % 255), PIECE);
			break;
		default:
			break;
		}
	assert_int_equal(write(fd, bytes, N), N);
	free(bytes);
}

static void model_from(struct rig *rig, const char *name)
{
	auto_fd fd = open(path_of(name), O_RDONLY | O_CLOEXEC);

	rig->model = calloc(1, rig->size);
	assert_true(pread(fd, rig->model, rig->size, 0) > 0);
}

static void rig_open_on_top(struct rig *rig, const char *name, bool direct)
{
	rig_open_with(rig, (struct image_options){.path = path_of(name),
						  .writable = true,
						  .sparse = true,
						  .direct = direct,
						  .cache_bytes = 64 * 1024,
						  .backing = "on"});
}

static void backing_files_show_through(void **state)
{
	static const char *const options[] = {"-o compat=0.10", "-o cluster_size=512",
					      "-o cluster_size=4k"};

	(void)state;
	NEEDS_QEMU();
	make_source("source");
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		struct rig rig;

		assert_int_equal(
			shell("cd %s && qemu-img convert -c -O qcow2 source b.qcow2 &&"
			      "qemu-img create -q -f qcow2 -b b.qcow2 -F qcow2 c.qcow2 &&"
			      "qemu-io -f qcow2 -c 'write -P 7 100k 300k' c.qcow2 >/dev/null &&"
			      "qemu-img create -q -f qcow2 %s -b c.qcow2 -F qcow2 d.qcow2 16M",
			      folder, options[i]),
			0);
		rig_open_on_top(&rig, "d.qcow2", i == 2);
		model_from(&rig, "source");
		memset(rig.model + 100 * 1024, 7, 300 * 1024);
		compare(&rig);
		torture(&rig, 20);
		compare(&rig);
		assert_int_equal(run(&rig, (struct image_req){.op = IMAGE_SYNC}), 0);
		rig_close(&rig);
		check("d.qcow2");
		check("c.qcow2");
	}
}

static void snapshots_keep_what_they_had(void **state)
{
	static const char *const options[] = {"-o compat=0.10",
					      "-o cluster_size=512,refcount_bits=8"};

	(void)state;
	NEEDS_QEMU();
	make_source("source");
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		struct rig rig;

		assert_int_equal(shell("cd %s && qemu-img convert -O qcow2 %s source b.qcow2 &&"
				       "qemu-img snapshot -c one b.qcow2",
				       folder, options[i]),
				 0);
		rig_open(&rig, "b.qcow2");
		model_from(&rig, "source");
		torture(&rig, 20);
		compare(&rig);
		rig_close(&rig);
		check("b.qcow2");
		assert_int_equal(shell("cd %s && qemu-img snapshot -a one b.qcow2 &&"
				       "qemu-img compare -q b.qcow2 source &&"
				       "qemu-img snapshot -d one b.qcow2",
				       folder),
				 0);
		check("b.qcow2");
	}
}

static void same_cluster_is_written_by_many_at_once(void **state)
{
	static struct item items[PARALLEL];
	struct rig rig;
	uint8_t back[4096];

	(void)state;
	make("a.qcow2", 8 << 20, NULL);
	rig_open(&rig, "a.qcow2");
	for (unsigned i = 0; i < PARALLEL; i++) {
		items[i].rig = &rig;
		items[i].buffer = malloc(4096);
		memset(items[i].buffer, (int)i + 1, 4096);
		items[i].v[0] = iov_of(items[i].buffer, 4096);
		items[i].req = (struct image_req){.op = i == 5 ? IMAGE_DISCARD : IMAGE_WRITE,
						  .offset = i == 5 ? 0 : 4096 * i,
						  .length = i == 5 ? 1 << 20 : 4096,
						  .iov = i == 5 ? NULL : items[i].v,
						  .niov = 1,
						  .done = item_done};
		rig.in_flight++;
		image_submit(&rig.image, &items[i].req);
	}
	aio_drain(&rig.aio);
	assert_int_equal(rig.failed, 0);
	for (unsigned i = 0; i < PARALLEL; i++) {
		read_back(&rig, 4096 * i, back, sizeof(back));
		assert_int_equal(back[0], i <= 5 ? 0 : i + 1); /* in the order of submission */
		free(items[i].buffer);
	}
	rig_close(&rig);
	check("a.qcow2");
}

static void write_pattern(struct rig *rig, uint64_t offset, size_t n, int value)
{
	uint8_t *buffer = malloc(n);

	memset(buffer, value, n);
	assert_int_equal(move(rig, IMAGE_WRITE, offset, buffer, n), 0);
	free(buffer);
}

static void disk_grows_while_it_is_used(void **state)
{
	static const struct qcow2_create_options rows[] = {
		{.cluster_bits = 9, .refcount_bits = 64}, {.cluster_bits = 9}, {.cluster_bits = 12},
		{.cluster_bits = 16, .version = 2},       {.cluster_bits = 21}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct rig rig;
		struct err e = {0};

		make("a.qcow2", 4 << 20, &rows[i]);
		rig_open(&rig, "a.qcow2");
		adopt(&rig);
		torture(&rig, 10);
		for (uint64_t size = 8 << 20; size <= 32 << 20; size *= 4) {
			write_pattern(&rig, rig.size - 4096, 4096, 0x5a);
			memset(rig.model + rig.size - 4096, 0x5a, 4096);
			if (image_resize(&rig.image, size, &e) < 0)
				fail_msg("%s", e.text);
			assert_int_equal(rig.image.size, size);
			rig.model = realloc(rig.model, size);
			memset(rig.model + rig.size, 0, size - rig.size);
			rig.size = size;
			compare(&rig);
			torture(&rig, 10);
			reopen(&rig, "a.qcow2");
			compare(&rig);
		}
		rig_close(&rig);
	}
}

static void growing_brings_zeroes_only(void **state)
{
	const be64 less = be64_of((1 << 20) - 4096), all = be64_of(1 << 20);
	const off_t at = offsetof(struct qcow2_raw_header, size);
	static uint8_t back[8192];
	struct rig rig;
	struct err e = {0};

	(void)state;
	make("a.qcow2", 1 << 20, NULL);
	rig_open(&rig, "a.qcow2");
	write_pattern(&rig, (1 << 20) - 8192, 8192, 0x5a);
	rig_close(&rig);
	auto_fd fd = open(path_of("a.qcow2"), O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, &less, sizeof(less), at), 8);

	rig_open(&rig, "a.qcow2");
	assert_int_equal(image_resize(&rig.image, be64_get(all), &e), 0);
	read_back(&rig, (1 << 20) - 8192, back, sizeof(back));
	assert_int_equal(back[4095], 0x5a);
	assert_int_equal(back[4096] | back[8191], 0);
	rig_close(&rig);
}

static void disk_never_shrinks(void **state)
{
	struct rig rig;
	struct err e = {0};

	(void)state;
	make("a.qcow2", 1 << 20, NULL);
	rig_open(&rig, "a.qcow2");

	assert_int_equal(image_resize(&rig.image, 1 << 19, &e), -EINVAL);
	assert_int_equal(image_resize(&rig.image, 0, &e), -EINVAL);
	assert_int_equal(image_resize(&rig.image, (1 << 20) + 1, &e), -EINVAL);
	assert_int_equal(image_resize(&rig.image, UINT64_C(1) << 62, &e), -EFBIG);
	assert_int_equal(rig.image.size, 1 << 20);
	rig_close(&rig);
}

static off_t size_of(const char *name)
{
	struct stat st;

	assert_int_equal(stat(path_of(name), &st), 0);
	return st.st_size;
}

static void freed_clusters_are_used_again(void **state)
{
	struct rig rig;

	(void)state;
	make("a.qcow2", 64 << 20, NULL);
	rig_open(&rig, "a.qcow2");
	for (unsigned i = 0; i < 40; i++) {
		write_pattern(&rig, (i % 10) * (4 << 20), 4 << 20, (int)i);
		assert_int_equal(op(&rig, IMAGE_DISCARD, (i % 10) * (4 << 20), 4 << 20), 0);
		assert_int_equal(run(&rig, (struct image_req){.op = IMAGE_SYNC}), 0);
	}
	rig_close(&rig);

	assert_true(size_of("a.qcow2") < 48 << 20);
	check("a.qcow2");
}

static void image_at_rest_has_no_leaks(void **state)
{
	struct rig rig;

	(void)state;
	make("a.qcow2", 64 << 20, NULL);
	rig_open(&rig, "a.qcow2");
	adopt(&rig);
	for (unsigned i = 0; i < 3; i++) {
		torture(&rig, 10);
		image_rest(&rig.image);
		check("a.qcow2");
	}
	compare(&rig);
	rig_close(&rig);
}

static void new_clusters_lie_side_by_side(void **state)
{
	struct rig rig;

	(void)state;
	NEEDS_QEMU();
	make("a.qcow2", 64 << 20, NULL);
	rig_open(&rig, "a.qcow2");
	for (unsigned i = 0; i < 32; i++)
		write_pattern(&rig, i << 20, 1 << 20, (int)i + 1);
	rig_close(&rig);

	assert_int_equal(shell("test $(qemu-img map %s | wc -l) -le 4", path_of("a.qcow2")), 0);
}

static void refcounts_are_repaired_after_a_crash_of_qemu(void **state)
{
	struct rig rig;

	(void)state;
	NEEDS_QEMU();
	assert_int_equal(shell("cd %s && qemu-img create -q -f qcow2 -o lazy_refcounts=on,"
			       "cluster_size=512 a.qcow2 16M &&"
			       "qemu-img snapshot -c one a.qcow2; ulimit -c 0;"
			       "qemu-io -c 'write -P 3 1M 5M' -c 'write -P 4 2M 1M' -c abort "
			       "a.qcow2 >/dev/null 2>&1; qemu-img info a.qcow2 | grep -qi snap",
			       folder),
			 0);
	assert_int_not_equal(shell("qemu-img check -q %s >/dev/null 2>&1", path_of("a.qcow2")), 0);

	rig_open(&rig, "a.qcow2");
	adopt(&rig);
	assert_int_equal(rig.model[(1 << 20) + 17], 3);
	assert_int_equal(rig.model[(2 << 20) + 17], 4);
	torture(&rig, 10);
	compare(&rig);
	rig_close(&rig);

	check("a.qcow2");
}

static void bitmaps_are_declared_void_by_writers_only(void **state)
{
	struct image_options o = {.path = path_of("a.qcow2")};
	struct rig rig;

	(void)state;
	NEEDS_QEMU();
	make("a.qcow2", 1 << 20, NULL);
	assert_int_equal(shell("qemu-img bitmap --add %s one", path_of("a.qcow2")), 0);

	rig_open_with(&rig, o);
	assert_null(rig.image.remark);
	rig_close(&rig);
	o.path = path_of("a.qcow2");
	o.writable = true;
	rig_open_with(&rig, o);
	assert_non_null(strstr(rig.image.remark, "bitmaps"));
	rig_close(&rig);
	rig_open(&rig, "a.qcow2");
	assert_null(rig.image.remark);
	rig_close(&rig);
}

static void corrupt_images_are_for_readers_only(void **state)
{
	const be64 bits = be64_of(QCOW2_CORRUPT);
	struct image_options o = {.path = path_of("a.qcow2"), .writable = true};
	struct rig rig;
	struct err e = {0};

	(void)state;
	make("a.qcow2", 1 << 20, NULL);
	auto_fd fd = open(o.path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, &bits, 8, offsetof(struct qcow2_raw_header, incompatible)), 8);

	assert_int_equal(rig_try(&rig, o, &e), -EINVAL);
	assert_non_null(strstr(e.text, "marked as corrupt"));
	o.writable = false;
	rig_open_with(&rig, o);
	rig_close(&rig);
}

static int setup(void **state)
{
	(void)state;
	has_qemu = shell("qemu-img --version >/dev/null 2>&1") == 0;
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return shell("rm -r %s", folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(backing_files_show_through),
		cmocka_unit_test(snapshots_keep_what_they_had),
		cmocka_unit_test(same_cluster_is_written_by_many_at_once),
		cmocka_unit_test(disk_grows_while_it_is_used),
		cmocka_unit_test(growing_brings_zeroes_only),
		cmocka_unit_test(disk_never_shrinks),
		cmocka_unit_test(freed_clusters_are_used_again),
		cmocka_unit_test(image_at_rest_has_no_leaks),
		cmocka_unit_test(new_clusters_lie_side_by_side),
		cmocka_unit_test(refcounts_are_repaired_after_a_crash_of_qemu),
		cmocka_unit_test(bitmaps_are_declared_void_by_writers_only),
		cmocka_unit_test(corrupt_images_are_for_readers_only),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
