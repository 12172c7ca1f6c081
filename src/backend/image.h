/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image.h - disk images: one set of operations, one file a format
 *
 * A format is a const struct image_ops.  Formats are named by the user and never guessed: what an
 * image holds was written by a guest.  Requests are asynchronous and belong to the caller; a format
 * turns each into one or more requests of backend/aio.h.
 *
 *	image_open -> aio_init(files: im->files) -> image_attach -> image_submit* -> image_close
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
struct image_options;
struct image_req;

enum image_op {
	IMAGE_READ,
	IMAGE_WRITE,
	IMAGE_SYNC,    /* all that is done is on stable storage */
	IMAGE_DISCARD, /* contents no longer matter; a hint */
	IMAGE_ZERO,    /* reads as zero from now on */
};

enum { IMAGE_PARTS = 32 };

/* Where a request has got to, in a format that maps pieces of the disk to pieces of files. */
struct image_mapping {
	void (*resume)(struct image_req *r); /* what to do when its turn has come */
	int error;                           /* of what it waited for */

	/* Its lock on a range of the disk. */
	struct image_req *before, *behind;
	uint64_t from, to; /* bytes; to is behind the range */
	bool is_locked, is_exclusive;
	bool is_over;   /* new clusters take the place of what is not zero */
	bool is_rest;   /* the piece is all that is left of at */
	bool is_bounced; /* what is under way of it goes through the buffer */

	/* The piece under way. */
	uint64_t bytes, moved; /* of the piece; and done of it */
	uint64_t host;         /* offset in the file */
	uint64_t piece;        /* bytes of the disk that it is about */
	uint64_t limit;        /* bytes that it may be about */
	uint64_t run;          /* new clusters of it: the first */
	unsigned clusters;     /* and how many */
	struct iov_at at;      /* what is read or written */
	struct iovec parts[IMAGE_PARTS];
	void (*then)(struct image_req *r);       /* at its end; error is set */
	void (*piece_then)(struct image_req *r); /* the same, of writing one */
	void (*read_then)(struct image_req *r);  /* at the end of reading */

	/* Reading old contents. */
	uint64_t read_at, read_end; /* of the disk */
	struct iovec read_to;
	uint64_t descriptor; /* of a compressed cluster */
	void *inflated;      /* a buffer on loan */
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
	struct image_mapping mapping; /* of formats that map */
};

struct image_ops {
	const char *name;
	/* im->fd is open, locked and measured; may add files. */
	int (*open)(struct image *im, const struct image_options *o, struct err *e);
	void (*submit)(struct image *im, struct image_req *r);
	int (*resize)(struct image *im, uint64_t size, struct err *e);
	void (*rest)(struct image *im); /* optional */
	void (*close)(struct image *im); /* half-built is fine */
};

struct image {
	const struct image_ops *ops;
	struct aio *aio;
	void *state;     /* of the format */
	int fd, lock_fd; /* -1: fd carries the lock */
	bool writable, direct, sparse, is_block_device;
	uint64_t size;            /* bytes; a multiple of block_size */
	uint32_t block_size;      /* bytes; the unit of all requests, 512 or more */
	uint32_t host_block;      /* bytes; the unit in which the host likes them */
	uint32_t discard_block;   /* bytes; the unit in which space is given back */
	uint32_t dma_align;       /* direct: what addresses must be multiples of */
	const char *remark;       /* what the user should know about this image, or NULL */
	int files[AIO_FILES_MAX]; /* for aio_init(): fd, and what the format has added */
	unsigned nfiles;
};

struct image_options {
	const char *path;            /* also /proc/self/fd/N: a descriptor handed in */
	const struct image_ops *ops; /* the format */
	bool writable;               /* locked exclusively; otherwise shared */
	bool direct;                 /* past the page cache */
	bool sparse;                 /* discarded space is given back to the host */
	uint32_t block_size;         /* 0: the smallest that works */
	uint64_t cache_bytes;        /* qcow2: of tables in memory; 0: the default */

	/*
	 * qcow2: backing files that may be opened: NULL or "off" for none, "on" for whatever the
	 * image names, or folders, separated by ":", in which they must lie.
	 */
	const char *backing;
};

/* What an engine's depth must have beyond the caller's own requests in flight. */
enum { IMAGE_AIO_EXTRA = 1, IMAGE_BACKING_MAX = 16 };

extern const struct image_ops image_raw, image_qcow2;

/* Words for OPT_CHOICE, and the operations of each. */
extern const char *const image_formats[];
const struct image_ops *image_format(int index) MUST_CHECK;

int image_open(struct image *im, const struct image_options *o, struct err *e) MUST_CHECK;

/* The engine that does the I/O, on the files of im->files. */
void image_attach(struct image *im, struct aio *aio);

/* Nothing may be in flight; NULL, zeroed and half-built are fine. */
void image_close(struct image *im);

/*
 * Makes the disk larger, at once; requests may be in flight.  A block device is measured again,
 * size may be 0 for that.  -EINVAL when it would become smaller.
 */
int image_resize(struct image *im, uint64_t size, struct err *e) MUST_CHECK;

/*
 * Nobody uses the disk for now and nothing is in flight: what is kept for later requests goes back
 * to the file, which is then as if it had been closed.
 */
void image_rest(struct image *im);

/* Starts with the next aio_flush().  I2. */
void image_submit(struct image *im, struct image_req *r);
