/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image.h - disk images: one set of operations, one file a format
 *
 * A format is a const struct image_ops.  Formats are named by the user and never guessed: what an
 * image holds was written by a guest.  Requests are asynchronous and belong to the caller; a format
 * turns each into one or more requests of backend/aio.h.
 *
 *	image_open -> aio_init(files: &im->fd) -> image_attach -> image_submit* -> image_close
 *
 *  I1  done() is called exactly once for each image_submit(), never from inside it.
 *  I2  The caller has checked the range: offset and length are multiples of block_size and lie
 *	inside size.  Images assert it: nothing can reach beyond the end.
 *  I3  Repeating a request that was not done yet, from a process that was killed, is harmless.
 *  I4  The lock on the file is released only when no I/O of the process that held it is in flight.
 */
#pragma once

#include "backend/aio.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/iov.h"

#include <stdbool.h>
#include <stdint.h>

struct image;

enum image_op {
	IMAGE_READ,
	IMAGE_WRITE,
	IMAGE_SYNC,    /* all that is done is on stable storage */
	IMAGE_DISCARD, /* contents no longer matter; a hint */
	IMAGE_ZERO,    /* reads as zero from now on */
};

/* Set all fields up to done before image_submit(); the others belong to the image. */
struct image_req {
	enum image_op op;
	bool durable; /* IMAGE_WRITE, IMAGE_ZERO: on stable storage when done */
	bool unmap;   /* IMAGE_ZERO: space may be given back */
	uint64_t offset, length;
	const struct iovec *iov; /* of length bytes, kept until done; NULL unless READ or WRITE */
	unsigned niov;
	void (*done)(struct image_req *r, int error); /* 0 or -errno; may submit */

	struct aio_req aio;
	struct image *image;
	struct image_req *next;
	struct iov_at at;
	struct iovec part;
	uint64_t moved; /* bytes */
	void *bounce;   /* a buffer on loan */
	uint8_t step, retries;
};

struct image_ops {
	const char *name;
	int (*open)(struct image *im, struct err *e); /* im->fd is open, locked and measured */
	void (*submit)(struct image *im, struct image_req *r);
	void (*close)(struct image *im); /* half-built is fine */
};

struct image {
	const struct image_ops *ops;
	struct aio *aio;
	void *state; /* of the format */
	int fd, lock_fd; /* -1: fd carries the lock */
	bool writable, direct, sparse, is_block_device;
	uint64_t size;       /* bytes; a multiple of block_size */
	uint32_t block_size; /* bytes; the unit of all requests, 512 or more */
	uint32_t host_block; /* bytes; the unit in which the host likes them */
	uint32_t dma_align;  /* direct: what addresses must be multiples of */
	const char *remark;  /* what the user should know about this image, or NULL */
};

struct image_options {
	const char *path;            /* also /proc/self/fd/N: a descriptor handed in */
	const struct image_ops *ops; /* the format */
	bool writable;               /* locked exclusively; otherwise shared */
	bool direct;                 /* past the page cache */
	bool sparse;                 /* discarded space is given back to the host */
	uint32_t block_size;         /* 0: the smallest that works */
};

extern const struct image_ops image_raw;

/* Words for OPT_CHOICE, and the operations of each. */
extern const char *const image_formats[];
const struct image_ops *image_format(int index) MUST_CHECK;

int image_open(struct image *im, const struct image_options *o, struct err *e) MUST_CHECK;

/* The engine that does the I/O; file 0 of it is im->fd. */
void image_attach(struct image *im, struct aio *aio);

/* Nothing may be in flight; NULL, zeroed and half-built are fine. */
void image_close(struct image *im);

/* Starts with the next aio_flush().  I2. */
void image_submit(struct image *im, struct image_req *r);
