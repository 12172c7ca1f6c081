/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_raw.c - the format without a format: byte n of the disk is byte n of the file
 *
 * Reads and writes go to the kernel with the caller's own iovecs.  Short ones are continued; what
 * direct I/O can't take because of its address goes through bounce buffers, piece by piece.  Zeroes
 * are tried in the order of ZERO_STEPS, from cheap to always possible.
 */
#include "backend/image.h"

#include "base/num.h"

#include <assert.h>
#include <errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	BOUNCE_BYTES = 256 * 1024,
	BOUNCE_BUFFERS = 2, /* requests that need one and find none wait */
	ZERO_BYTES = 64 * 1024,
	ZERO_RANGES = 16,  /* 1 MiB of zeroes a write */
	RETRIES_MAX = 100, /* of EINTR and EAGAIN, in a row */
};

/* How to zero: r->step counts up. */
enum zero_step { ZERO_PUNCH, ZERO_RANGE, ZERO_WRITE, ZERO_SYNC };

struct raw {
	struct iovec zeroes[ZERO_RANGES]; /* all the same page-aligned bytes */
	void *bounce[BOUNCE_BUFFERS];     /* free ones */
	unsigned nbounce;
	struct image_req *waiting, **waiting_last; /* for a bounce buffer */
	bool no_punch, no_zero_range;              /* the file system said so */
};

static _Alignas(4096) char zero_bytes[ZERO_BYTES]; /* never written */

static void transfer(struct image_req *r);
static void bounce(struct image_req *r);
static void zero(struct image_req *r);

static void finish(struct image_req *r, int error)
{
	r->done(r, error);
}

static struct image_req *req_of(struct aio_req *a)
{
	return container_of(a, struct image_req, aio);
}

static void submit(struct image_req *r, enum aio_op op, void (*done)(struct aio_req *, int64_t))
{
	r->aio.op = op;
	r->aio.file = 0;
	r->aio.offset = r->offset + r->moved;
	r->aio.durable = r->durable;
	r->aio.done = done;
	aio_submit(r->image->aio, &r->aio);
}

/* Interrupted, or no memory for it just now: to be tried again, but not for ever. */
static bool may_retry(struct image_req *r, int64_t result)
{
	return (result == -EINTR || result == -EAGAIN) && ++r->retries < RETRIES_MAX;
}

static void advance(struct image_req *r, size_t bytes)
{
	r->moved += bytes;
	r->retries = 0;
	if (r->iov)
		iov_at_skip(&r->at, bytes);
}

static enum aio_op direction(const struct image_req *r)
{
	return r->op == IMAGE_READ ? AIO_READ : AIO_WRITE;
}

/* Nothing moved: the file has been cut while we use it, or the disk is full and does not say so. */
static int error_of(int64_t result)
{
	return result == 0 ? -EIO : (int)result;
}

/* Some bytes were moved, or none: go_on() moves the rest, if that makes sense. */
static void moved(struct image_req *r, int64_t result, void (*go_on)(struct image_req *r))
{
	if (result > 0)
		advance(r, (size_t)result);
	if (r->moved == r->length)
		finish(r, 0);
	else if (result > 0 || may_retry(r, result))
		go_on(r);
	else
		finish(r, error_of(result));
}

static void transfer_done(struct aio_req *a, int64_t result)
{
	moved(req_of(a), result, transfer);
}

static void transfer(struct image_req *r)
{
	r->aio.iov = iov_at_next(&r->at, &r->part, AIO_IOV_MAX, &r->aio.niov);
	submit(r, direction(r), transfer_done);
}

static void bounce_release(struct image_req *r, int error)
{
	struct raw *raw = r->image->state;
	struct image_req *next = raw->waiting;

	if (next) {
		raw->waiting = next->next;
		if (!raw->waiting)
			raw->waiting_last = &raw->waiting;
		next->bounce = r->bounce;
		bounce(next);
	} else {
		raw->bounce[raw->nbounce++] = r->bounce;
	}
	r->bounce = NULL;
	finish(r, error);
}

static void bounce_done(struct aio_req *a, int64_t result)
{
	struct image_req *r = req_of(a);

	if (result > 0) {
		if (r->op == IMAGE_READ)
			iov_at_scatter(&r->at, r->bounce, (size_t)result);
		advance(r, (size_t)result);
	}
	if (r->moved == r->length)
		bounce_release(r, 0);
	else if (result > 0 || may_retry(r, result))
		bounce(r);
	else
		bounce_release(r, error_of(result));
}

static void bounce(struct image_req *r)
{
	size_t n = (size_t)min_u64(BOUNCE_BYTES, r->length - r->moved);

	if (r->op == IMAGE_WRITE)
		iov_at_gather(&r->at, r->bounce, n);
	r->part = iov_of(r->bounce, n);
	r->aio.iov = &r->part;
	r->aio.niov = 1;
	submit(r, direction(r), bounce_done);
}

static void bounce_start(struct raw *raw, struct image_req *r)
{
	if (raw->nbounce > 0) {
		r->bounce = raw->bounce[--raw->nbounce];
		bounce(r);
		return;
	}
	r->next = NULL;
	*raw->waiting_last = r;
	raw->waiting_last = &r->next;
}

static void transfer_start(struct image *im, struct image_req *r)
{
	r->at = (struct iov_at){.v = r->iov, .n = r->niov};
	if (im->direct && !iov_is_aligned(r->iov, r->niov, im->dma_align))
		bounce_start(im->state, r);
	else
		transfer(r);
}

static void whole_done(struct aio_req *a, int64_t result)
{
	struct image_req *r = req_of(a);

	if (may_retry(r, result))
		submit(r, a->op, a->done);
	else
		finish(r, result < 0 ? (int)result : 0);
}

/* A hint: a file system that can't give space back has done nothing wrong. */
static void discard_done(struct aio_req *a, int64_t result)
{
	if (result == -EOPNOTSUPP || result == -EINVAL)
		result = 0;
	whole_done(a, result);
}

static void allocate(struct image_req *r, int mode, void (*done)(struct aio_req *, int64_t))
{
	r->aio.mode = mode | FALLOC_FL_KEEP_SIZE;
	r->aio.length = r->length;
	submit(r, AIO_ALLOCATE, done);
}

static void zero_allocate_done(struct aio_req *a, int64_t result)
{
	struct image_req *r = req_of(a);
	struct raw *raw = r->image->state;

	if (result == 0) {
		r->step = ZERO_SYNC;
	} else if (result == -EOPNOTSUPP || result == -EINVAL) {
		raw->no_punch |= r->step == ZERO_PUNCH;
		raw->no_zero_range |= r->step == ZERO_RANGE;
		r->step++;
	} else if (!may_retry(r, result)) {
		finish(r, (int)result);
		return;
	}
	zero(r);
}

static void zero_write_done(struct aio_req *a, int64_t result)
{
	moved(req_of(a), result, zero);
}

static void zero_write(struct image_req *r)
{
	struct raw *raw = r->image->state;
	uint64_t left = r->length - r->moved;

	r->aio.iov = raw->zeroes;
	r->aio.niov = (unsigned)min_u64(left / ZERO_BYTES, ZERO_RANGES);
	if (r->aio.niov == 0) {
		r->part = iov_of(zero_bytes, (size_t)left);
		r->aio.iov = &r->part;
		r->aio.niov = 1;
	}
	submit(r, AIO_WRITE, zero_write_done);
}

static void zero(struct image_req *r)
{
	struct raw *raw = r->image->state;

	if (r->step == ZERO_PUNCH && (raw->no_punch || !r->unmap))
		r->step = ZERO_RANGE;
	if (r->step == ZERO_RANGE && raw->no_zero_range)
		r->step = ZERO_WRITE;
	switch ((enum zero_step)r->step) {
	case ZERO_PUNCH:
		allocate(r, FALLOC_FL_PUNCH_HOLE, zero_allocate_done);
		return;
	case ZERO_RANGE:
		allocate(r, FALLOC_FL_ZERO_RANGE, zero_allocate_done);
		return;
	case ZERO_WRITE:
		zero_write(r);
		return;
	case ZERO_SYNC:
		if (r->durable)
			submit(r, AIO_SYNC, whole_done);
		else
			finish(r, 0);
		return;
	}
}

static void raw_submit(struct image *im, struct image_req *r)
{
	switch (r->op) {
	case IMAGE_READ:
	case IMAGE_WRITE:
		transfer_start(im, r);
		return;
	case IMAGE_SYNC:
		submit(r, AIO_SYNC, whole_done);
		return;
	case IMAGE_DISCARD:
		allocate(r, FALLOC_FL_PUNCH_HOLE, discard_done);
		return;
	case IMAGE_ZERO:
		zero(r);
		return;
	}
}

static void remark_on_contents(struct image *im)
{
	static const unsigned char qcow2_magic[4] = {'Q', 'F', 'I', 0xfb};
	_Alignas(4096) unsigned char start[4096];

	if (pread(im->fd, start, sizeof(start), 0) >= (ssize_t)sizeof(qcow2_magic) &&
	    memcmp(start, qcow2_magic, sizeof(qcow2_magic)) == 0)
		im->remark = "it begins like a qcow2 image but is used as raw";
}

static int raw_open(struct image *im, const struct image_options *o, struct err *e)
{
	struct raw *raw = calloc(1, sizeof(*raw));

	(void)o;
	if (!raw)
		return err_set(e, ENOMEM, "cannot open image");
	im->state = raw;
	raw->waiting_last = &raw->waiting;
	for (unsigned i = 0; i < ZERO_RANGES; i++)
		raw->zeroes[i] = iov_of(zero_bytes, ZERO_BYTES);
	while (im->direct && raw->nbounce < BOUNCE_BUFFERS) {
		void *buffer = aligned_alloc(4096, BOUNCE_BYTES);

		if (!buffer)
			return err_set(e, ENOMEM, "cannot open image");
		raw->bounce[raw->nbounce++] = buffer;
	}
	remark_on_contents(im);
	return 0;
}

static int raw_resize(struct image *im, uint64_t size, struct err *e)
{
	uint64_t now = size;

	if (im->is_block_device && ioctl(im->fd, BLKGETSIZE64, &now) < 0)
		return err_set(e, errno, "cannot find the size of the device");
	now = round_down(now, im->block_size);
	if (now < size || now < im->size)
		return err_say(e, ENOSPC, "the device has %llu bytes only",
			       (unsigned long long)now);
	if (!im->is_block_device && ftruncate(im->fd, (off_t)size) < 0)
		return err_set(e, errno, "cannot make the file larger");
	im->size = size ? size : now;
	return 0;
}

static void raw_close(struct image *im)
{
	struct raw *raw = im->state;

	if (!raw)
		return;
	assert(!raw->waiting);
	while (raw->nbounce > 0)
		free(raw->bounce[--raw->nbounce]);
	free(raw);
	im->state = NULL;
}

const struct image_ops image_raw = {
	.name = "raw",
	.open = raw_open,
	.submit = raw_submit,
	.resize = raw_resize,
	.close = raw_close,
};
