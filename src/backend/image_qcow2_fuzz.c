/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_fuzz.c - whole images, opened, read, written, discarded, resized
 *
 * An input is an image, then a script of up to 255 bytes, then a byte that says how long the script
 * is.  Nothing may crash, and neither work nor the file may grow without bounds.
 */
#include "backend/image.h"
#include "base/log.h"
#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	STEP = 5, /* bytes of script for a request */
	IN_FLIGHT = 4,
	BUFFER = 128 * 1024,
	RANGE_MAX = 4 << 20,
	FILE_MAX = 256 << 20,
	REQUESTS_MAX = 24,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* ---- an engine without threads or rings: each request when it is reaped ---- */

static struct aio_req *queued, **queued_last = &queued;

static int engine_init(struct aio *a, struct err *e)
{
	(void)a;
	(void)e;
	return 0;
}

static void engine_nothing(struct aio *a)
{
	a->queued = 0;
}

static void engine_queue(struct aio *a, struct aio_req *r)
{
	(void)a;
	r->next = NULL;
	*queued_last = r;
	queued_last = &r->next;
}

static int64_t perform(int fd, const struct aio_req *r)
{
	int64_t result = -1;

	switch (r->op) {
	case AIO_READ:
		result = preadv(fd, r->iov, (int)r->niov, (off_t)r->offset);
		break;
	case AIO_WRITE:
		result = pwritev(fd, r->iov, (int)r->niov, (off_t)r->offset);
		break;
	case AIO_SYNC:
		return 0;
	case AIO_ALLOCATE:
		result = fallocate(fd, r->mode, (off_t)r->offset, (off_t)r->length);
		break;
	}
	return result < 0 ? -errno : result;
}

static void engine_reap(struct aio *a)
{
	struct aio_req *r = queued;

	if (!r)
		return;
	queued = r->next;
	if (!queued)
		queued_last = &queued;
	aio_done(a, r, perform(a->files[r->file], r));
}

static const struct aio_engine engine = {
	.name = "now",
	.init = engine_init,
	.enable = engine_init,
	.fini = engine_nothing,
	.queue = engine_queue,
	.start = engine_nothing,
	.reap = engine_reap,
	.wait = engine_nothing,
};

/* ---- the script ---- */

static struct slot {
	struct image_req req;
	struct iovec v;
	bool is_busy;
	uint8_t buf[BUFFER];
} slots[IN_FLIGHT];

static void done(struct image_req *r, int error)
{
	struct slot *s = container_of(r, struct slot, req);

	if (!s->is_busy || error > 0)
		abort();
	s->is_busy = false;
}

/* Somewhere on the disk, however large that is. */
static uint64_t place(const struct image *im, uint8_t high, uint8_t low)
{
	uint64_t blocks = im->size / im->block_size, at = (uint64_t)high << 8 | low;

	if (at & 0x8000) /* near the end */
		at = blocks - 1 - min_u64(blocks - 1, at & 0x7fff);
	return at % blocks * im->block_size;
}

static void submit(struct image *im, struct slot *s, const uint8_t *step)
{
	static const enum image_op ops[] = {IMAGE_READ,	   IMAGE_WRITE, IMAGE_WRITE, IMAGE_SYNC,
					    IMAGE_DISCARD, IMAGE_ZERO,	IMAGE_READ,  IMAGE_WRITE};
	uint64_t max = BUFFER, length = (uint64_t)(step[3] + 1) * im->block_size;

	s->req = (struct image_req){.op = ops[step[0] & 7], .done = done};
	s->req.durable = step[0] & 8;
	s->req.unmap = step[0] & 16;
	if (!im->writable && s->req.op != IMAGE_SYNC)
		s->req.op = IMAGE_READ;
	if (s->req.op == IMAGE_DISCARD || s->req.op == IMAGE_ZERO) {
		max = RANGE_MAX;
		length <<= step[4] & 7;
	} else if (s->req.op != IMAGE_SYNC) {
		s->v = iov_of(s->buf, 0);
		s->req.iov = &s->v;
		s->req.niov = 1;
	}
	s->req.offset = place(im, step[1], step[2]);
	s->req.length = min_u64(min_u64(length, max), im->size - s->req.offset);
	s->v.iov_len = s->req.length;
	if (s->req.op == IMAGE_SYNC)
		s->req.offset = s->req.length = 0;
	s->is_busy = true;
	image_submit(im, &s->req);
}

static void resize(struct image *im, uint8_t by)
{
	struct err e = {0};
	uint64_t size;

	if (!add_ok(im->size, (uint64_t)by << by % 40, &size))
		return;
	size = round_down(size, im->block_size);
	if (image_resize(im, size, &e) < 0 && !e.text[0])
		abort();
}

static void run_script(struct image *im, struct aio *aio, const uint8_t *script, size_t n)
{
	unsigned at = 0;

	for (unsigned i = 0; i < REQUESTS_MAX && n >= STEP; i++, script += STEP, n -= STEP) {
		struct slot *s = &slots[at++ % IN_FLIGHT];

		if (im->size == 0)
			break;
		if (s->is_busy || (script[0] & 32))
			aio_drain(aio);
		if ((script[0] & 192) == 192)
			resize(im, script[3]);
		else
			submit(im, s, script);
	}
	aio_drain(aio);
	for (unsigned i = 0; i < IN_FLIGHT; i++)
		if (slots[i].is_busy)
			abort();
}

static void use(int fd, const uint8_t *script, size_t n)
{
	struct image_options o = {.ops = &image_qcow2, .sparse = true, .cache_bytes = 64 * 1024};
	struct aio_options ao = {.engine = &engine, .depth = 64};
	struct loop loop = {.epoll_fd = -1, .stop_fd = -1};
	struct err e = {0};
	struct image im;
	struct aio aio;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	o.path = path;
	o.writable = n > 0 && (script[0] & 1);
	if (image_open(&im, &o, &e) < 0) {
		if (!e.text[0] || strchr(e.text, '\n'))
			abort();
		return;
	}
	ao.files = im.files;
	ao.nfiles = im.nfiles;
	if (aio_init(&aio, &loop, &ao, &e) < 0 || aio_start(&aio, &e) < 0)
		abort();
	image_attach(&im, &aio);
	if (n > 0)
		run_script(&im, &aio, script + 1, n - 1);
	image_close(&im);
	aio_fini(&aio);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	size_t script = n > 0 ? data[n - 1] : 0;
	struct stat st;
	int fd;

	if (n < script + 1)
		return 0;
	log_level_set(LOG_LEVEL_ERROR);
	fd = memfd_create("image", 0);
	n -= script + 1;
	if (fd < 0 || write(fd, data, n) != (ssize_t)n)
		abort();
	use(fd, data + n, script);
	if (fstat(fd, &st) < 0 || st.st_size > FILE_MAX)
		abort();
	close(fd);
	return 0;
}
