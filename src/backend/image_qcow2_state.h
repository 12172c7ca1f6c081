/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_state.h - a qcow2 image in use: what the image_qcow2*.c share
 *
 *	image_qcow2.c		open, close, dispatch of requests
 *	image_qcow2_io.c	reads, and data of writes
 *	image_qcow2_write.c	writes that need new clusters
 *	image_qcow2_zero.c	discard, zeroes
 *	image_qcow2_map.c	L1 and L2 tables
 *	image_qcow2_refcount.c	refcounts, and the blocks and the table they are in
 *	image_qcow2_alloc.c	clusters in reserve, clusters to be freed
 *	image_qcow2_sync.c	waiting until the disk has it, many at once
 *	image_qcow2_lock.c	requests that must not run at the same time
 *	image_qcow2_cache.c	metadata in memory
 *	image_qcow2_chain.c	backing files
 *	image_qcow2_inflate.c	compressed clusters
 *	image_qcow2_check.c	what is looked at before the first write
 *	image_qcow2_repair.c	refcounts after a crash of others
 *	image_qcow2_resize.c	growing
 *
 * Metadata is read and written with blocking calls, by the page cache; data goes through aio.
 * Every change of metadata is in the file before the request that made it is done: the next process
 * finds it there if this one is killed.  What a loss of power can lose or reorder, until it is
 * synced, is another matter.  These rules hold at any moment, whatever subset of the writes since
 * the last sync is on the disk:
 *
 *  Q1  A cluster is handed out for use only from the reserve: free clusters that are zero and have
 *	refcount 1, both on the disk, so none of that can be lost once they are in use.
 *  Q2  Hence a new L2 table is empty on the disk before L1 points to it, and a new data cluster
 *	reads as zeroes, not as what somebody else had there, where the guest has not written.
 *  Q3  What a new cluster must have because something was there before (copied from a backing
 *	file, a snapshot's cluster, compressed data, a shared L2 table, or written over them) is
 *	synced before anything points to it.
 *  Q4  A refcount goes down only after a sync that follows the change which dropped the reference.
 *  Q5  New refcount blocks, refcount tables and L1 tables are synced, complete, before the table or
 *	header that points to them is written, and that is synced before the old one is given up.
 *  Q6  When a sync fails nothing is given out or freed any more: what is on the disk is not known.
 *
 * So a refcount is never lower than the number of references, and a crash leaves clusters with a
 * refcount that nobody uses: those of the reserve, and those about to be freed.
 *
 * And within the process:
 *
 *  P1  Nothing moves under a request: whoever changes the mapping of a range holds it exclusively,
 *	those who read it or write in place share it (image_qcow2_lock.c).
 *  P2  done() is never called from submit, nor by one request's progress within another's: what
 *	may go on is put in a list, which the outermost function works off (qcow2_run).
 *  P3  Waiting is ended by a request to aio that is already under way, so draining aio ends all.
 *  P4  Nothing is allocated after open.
 */
#pragma once

#include "backend/image.h"
#include "backend/image_qcow2.h"
#include "backend/image_qcow2_format.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	QCOW2_LAYERS_MAX = 1 + IMAGE_BACKING_MAX,
	QCOW2_SLICE = 4096, /* bytes; what the cache reads at once */
	QCOW2_RUNS_MAX = 64,
	QCOW2_FREES_MAX = 4096,
	QCOW2_FREES_STEP = QCOW2_SLICE / 8 + 1, /* a slice of entries, and their old table */
	QCOW2_BUFFERS = 4,
	QCOW2_INFLATERS = 2,
};

static_assert((int)QCOW2_LAYERS_MAX <= (int)AIO_FILES_MAX, "each is a file of aio");

struct qcow2;

/* A file of the chain; 0 is the image itself, the only one that is written. */
struct qcow2_layer {
	struct image own; /* layers below 0: file, lock */
	int data_fd;      /* borrowed from the image */
	int fd;           /* for metadata: through the page cache */
	bool owns_fd, is_raw;
	struct qcow2_header h;
	uint32_t cluster_bits;
	uint64_t size;       /* bytes of the disk */
	uint64_t file_bytes; /* rounded up to clusters; no cluster starts at or behind it */
};

struct qcow2_slot {
	uint64_t key; /* 0: empty */
	uint32_t next;
	bool is_recent;
};

struct qcow2_cache {
	unsigned nslots, fresh, hand;
	uint32_t mask;
	uint32_t *heads; /* 1 + index of a slot; 0: none */
	struct qcow2_slot *slots;
	uint8_t *bytes;
	uint64_t hits, misses;
};

/* Clusters, by number. */
struct qcow2_run {
	uint64_t first, n;
};

struct qcow2_reserve {
	struct qcow2_run ready[QCOW2_RUNS_MAX], pending[QCOW2_RUNS_MAX];
	unsigned nready, npending;
	uint64_t clusters;               /* of ready */
	uint64_t target;                 /* clusters; grows with demand */
	uint64_t stamp;                  /* pending becomes ready with this sync */
	uint64_t scan;                   /* no cluster below is known to be free */
	uint64_t tail;                   /* from here on most are free; 0: not looked for yet */
	int error;                       /* why there are no more */
	struct image_req *first, **last; /* waiting for clusters */
};

/* References that were dropped; their refcounts go down with sync number stamp. */
struct qcow2_free {
	struct qcow2_run run;
	uint64_t stamp;
};

struct qcow2_frees {
	struct qcow2_free rows[QCOW2_FREES_MAX]; /* a ring, oldest first */
	unsigned first, n;
};

struct qcow2_sync {
	struct aio_req aio;
	struct image_req *now, *first, **last; /* waiting for this one, for the next one */
	uint64_t started, done;                /* numbers of syncs */
	uint64_t linked;                       /* the one that covers all tables as they are */
	bool is_running, is_wanted, has_failed;
};

struct qcow2_locks {
	struct image_req *held;
	struct image_req *first, **last; /* waiting */
	unsigned exclusive;              /* held ones */
};

/*
 * Buffers of one cluster, or 256 KiB if that is more; QCOW2_SPARE bytes lie behind, through which a
 * piece goes that begins at an odd place of the very buffer.
 */
enum { QCOW2_SPARE = 4096 };

struct qcow2_buffers {
	void *free[QCOW2_BUFFERS];
	void *all[QCOW2_BUFFERS];
	unsigned nfree;
	size_t bytes;
	struct image_req *first, **last; /* waiting */
};

struct qcow2_inflater {
	uint8_t *in, *out; /* 2 clusters and a page; a cluster */
	uint64_t tag;      /* descriptor of what is in out; 0: nothing */
	unsigned layer;
};

struct qcow2_inflate {
	struct qcow2_inflater all[QCOW2_INFLATERS];
	bool is_busy[QCOW2_INFLATERS];
	unsigned hand;                   /* whose turn it is */
	struct image_req *first, **last; /* waiting */
	const struct inflate_libs *libs;
	void *zlib, *zstd;               /* contexts */
};

struct qcow2 {
	struct image *im;
	struct qcow2_layer layers[QCOW2_LAYERS_MAX];
	unsigned nlayers;
	uint32_t cluster_bits;
	uint64_t cluster;    /* bytes */
	uint64_t room;       /* bytes that the file has, a hole from file_bytes on; 0: not known */
	uint64_t room_stamp; /* the sync that makes it last */
	bool is_ready;       /* open, and checked for writing */
	bool is_corrupt;     /* no more writes */
	bool has_backing;
	bool is_running, in_submit;
	struct image_req *runnable, **runnable_last;
	struct qcow2_cache cache;
	struct qcow2_reserve reserve;
	struct qcow2_frees frees;
	struct qcow2_sync sync;
	struct qcow2_locks locks;
	struct qcow2_buffers buffers;
	struct qcow2_inflate inflate;
	struct iovec zeroes[16];
	struct log_limit complaints;
	char remark[160];
};

/* ---- image_qcow2.c ---- */

static inline struct qcow2 *qcow2_of(const struct image_req *r)
{
	return r->image->state;
}

/* r goes on with mapping.resume when its turn comes; mapping.error is what it is told. */
void qcow2_wake(struct qcow2 *q, struct image_req *r, int error);

/* Lets all go on that may; the end of whatever aio calls. */
void qcow2_run(struct qcow2 *q);

/* The request is done: gives back its lock and tells its owner. */
void qcow2_finish(struct image_req *r, int error);

/* The image contradicts itself: says so, marks it, refuses all writes from now on.  -EIO. */
int qcow2_corrupt(struct qcow2 *q, unsigned layer, const char *format, ...) PRINTF(3, 4);

/* ---- image_qcow2_cache.c ---- */

int qcow2_cache_init(struct qcow2_cache *c, uint64_t bytes, struct err *e) MUST_CHECK;
void qcow2_cache_fini(struct qcow2_cache *c);

/*
 * Bytes of a layer's file from offset on; *ret_n are there, up to the end of the slice.  Valid
 * until the next call of this file.  NULL with *ret_error.  What lies beyond the file's end is
 * zero.
 */
const uint8_t *qcow2_cache_get(struct qcow2 *q, unsigned layer, uint64_t offset, size_t *ret_n,
			       int *ret_error) MUST_CHECK;
int qcow2_get64(struct qcow2 *q, unsigned layer, uint64_t offset, uint64_t *ret) MUST_CHECK;

/* Writes metadata of layer 0; also to the cache. */
int qcow2_put(struct qcow2 *q, uint64_t offset, const void *bytes, size_t n) MUST_CHECK;

/* A table of layer 0 at a new place, with the entries of the old one. */
int qcow2_copy(struct qcow2 *q, uint64_t to, uint64_t from, uint64_t bytes) MUST_CHECK;
int qcow2_put_durable(struct qcow2 *q, uint64_t offset, const void *bytes, size_t n)
	MUST_CHECK; /* on the disk when it returns */
int qcow2_put64(struct qcow2 *q, uint64_t offset, uint64_t value) MUST_CHECK;
int qcow2_put_zeroes(struct qcow2 *q, uint64_t offset, uint64_t n) MUST_CHECK;

/* Clusters of layer 0 that were written past the cache or may have been. */
void qcow2_cache_forget(struct qcow2 *q, uint64_t offset, uint64_t n);

/* ---- image_qcow2_map.c ---- */

enum qcow2_kind { QCOW2_IS_ZERO, QCOW2_IS_DATA, QCOW2_IS_COMPRESSED };

struct qcow2_extent {
	enum qcow2_kind kind;
	unsigned layer;
	uint64_t bytes;      /* from the place asked for */
	uint64_t host;       /* QCOW2_IS_DATA: offset in the layer's file */
	uint64_t descriptor; /* QCOW2_IS_COMPRESSED: the L2 entry; one cluster of that layer */
};

/* What the disk has at offset, seen from that layer; at most max bytes of it. */
int qcow2_map(struct qcow2 *q, unsigned layer, uint64_t offset, uint64_t max,
	      struct qcow2_extent *ret) MUST_CHECK;

/* The bytes from offset on that can be written in place, at *ret_host; *ret_n 0: none. */
int qcow2_map_in_place(struct qcow2 *q, uint64_t offset, uint64_t max, uint64_t *ret_host,
		       uint64_t *ret_n) MUST_CHECK;

/* How many clusters from that of offset on, up to max, have entries in one slice, not in place. */
int qcow2_map_new(struct qcow2 *q, uint64_t offset, uint64_t max, uint64_t *ret_n) MUST_CHECK;

/*
 * Makes sure that the active L2 table of offset exists and is not shared, so that its entries can
 * be written; *ret is where the entry is.  -EAGAIN: wait for the reserve.
 */
int qcow2_l2_prepare(struct qcow2 *q, uint64_t offset, uint64_t *ret) MUST_CHECK;

/* The same without changing anything; *ret 0 when there is no table. */
int qcow2_l2_find(struct qcow2 *q, uint64_t offset, uint64_t *ret) MUST_CHECK;

/* Entries left in the slice and table from that of offset on. */
uint64_t qcow2_l2_run(const struct qcow2 *q, uint64_t offset);

/*
 * Sets n entries of one slice, and adds what they pointed to to the frees, where there must be room
 * for n.  An entry that keeps its cluster does not free it.
 */
int qcow2_l2_set(struct qcow2 *q, uint64_t entry_offset, const be64 *entries, unsigned n)
	MUST_CHECK;

/* Copies n entries of one slice. */
int qcow2_l2_read(struct qcow2 *q, uint64_t entry_offset, be64 *ret, unsigned n) MUST_CHECK;

/* Whether the clusters in [offset, offset + bytes) read as zero. */
int qcow2_is_zero(struct qcow2 *q, uint64_t offset, uint64_t bytes, bool *ret) MUST_CHECK;

/* Whether [offset, offset + bytes) of the file has nothing of header, L1, refcount table. */
bool qcow2_is_apart(const struct qcow2 *q, uint64_t offset, uint64_t bytes);

/* Where compressed data lies. */
void qcow2_compressed_range(const struct qcow2_layer *l, uint64_t descriptor, uint64_t *ret_offset,
			    uint64_t *ret_bytes);

/* ---- image_qcow2_refcount.c ---- */

int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *ret) MUST_CHECK;

/* Adds 1 or -1 to each; a count that would leave its range: -EIO, and the image is corrupt. */
int qcow2_refcount_add(struct qcow2 *q, struct qcow2_run run, int delta) MUST_CHECK;

/* Makes them 1, on the disk when it returns. */
int qcow2_refcount_reserve(struct qcow2 *q, struct qcow2_run run) MUST_CHECK;
int qcow2_refcount_set(struct qcow2 *q, uint64_t cluster, uint64_t value) MUST_CHECK;
uint64_t qcow2_refcount_max(const struct qcow2 *q);

/*
 * The first free clusters at or behind from, at most max, with refcounts to be set: makes refcount
 * blocks as needed.  ret->n 0: none found yet, go on at ret->first.  *budget: slices to look at.
 */
int qcow2_refcount_find(struct qcow2 *q, uint64_t from, uint64_t max, unsigned *budget,
			struct qcow2_run *ret) MUST_CHECK;

/* Where the free clusters at the end of the file begin; or, if that takes too long, one of them. */
uint64_t qcow2_refcount_tail(struct qcow2 *q);

/*
 * n clusters in one piece, behind everything, zero, with refcount 1; blocks.  For tables.
 */
int qcow2_refcount_claim(struct qcow2 *q, uint64_t n, uint64_t *ret_first) MUST_CHECK;

/* Makes a block for the range of a cluster that is used but not counted. */
int qcow2_refcount_describe(struct qcow2 *q, uint64_t cluster) MUST_CHECK;

/* The file has at least so many bytes from now on. */
int qcow2_extend(struct qcow2 *q, uint64_t bytes) MUST_CHECK;

/* ---- image_qcow2_alloc.c ---- */

/* Up to want clusters in one piece; 0: wait. */
uint64_t qcow2_take(struct qcow2 *q, uint64_t want, uint64_t *ret_first);

/* r goes on when there are clusters, or with an error. */
void qcow2_take_wait(struct qcow2 *q, struct image_req *r);

/* The references to these clusters have gone from the tables; there must be room. */
void qcow2_free_later(struct qcow2 *q, struct qcow2_run run);
bool qcow2_free_has_room(struct qcow2 *q, unsigned runs);

/* A sync is over; what it allows is done. */
void qcow2_alloc_synced(struct qcow2 *q);

/* Syncs, frees what is to be freed and gives the reserve back. */
void qcow2_alloc_end(struct qcow2 *q);

/* ---- image_qcow2_sync.c ---- */

/* r goes on after a sync that begins now or later. */
void qcow2_sync_wait(struct qcow2 *q, struct image_req *r);

/* The number of a sync that begins now or later, and will. */
uint64_t qcow2_sync_want(struct qcow2 *q);

/* The same without asking for one: with the next that somebody wants. */
uint64_t qcow2_sync_next(const struct qcow2 *q);

/* Blocks. */
int qcow2_sync_now(struct qcow2 *q) MUST_CHECK;

/* ---- image_qcow2_lock.c ---- */

/* r goes on when it has the range, which it gives back when it is done. */
void qcow2_lock(struct qcow2 *q, struct image_req *r, uint64_t from, uint64_t to, bool exclusive);
void qcow2_unlock(struct qcow2 *q, struct image_req *r);

/* ---- image_qcow2_io.c ---- */

/*
 * All of these end in then(), with mapping.error set, and not before they return; or go on later
 * where they have to wait.
 */
typedef void (*qcow2_then)(struct image_req *r);

void qcow2_read(struct image_req *r);

/* Fills a buffer with n bytes that the disk has at offset. */
void qcow2_read_old(struct image_req *r, uint64_t offset, void *buffer, uint64_t n,
		    qcow2_then then);

/* Writes mapping.bytes of the request's data, or zeroes, at mapping.host. */
void qcow2_write_data(struct image_req *r, qcow2_then then);
void qcow2_write_buffer(struct image_req *r, void *buffer, uint64_t host, uint64_t n,
			qcow2_then then);

/* r goes on when r->bounce is a buffer. */
void qcow2_buffer_take(struct qcow2 *q, struct image_req *r);
void qcow2_buffer_give(struct qcow2 *q, struct image_req *r);

/* Reads on behind a piece that was read. */
void qcow2_read_on(struct image_req *r);

/* ---- image_qcow2_inflate.c ---- */

/*
 * Reads mapping.bytes at read_at, within the compressed cluster of layer.  false: later, and then
 * qcow2_read_on() is called.
 */
bool qcow2_inflate_read(struct image_req *r, unsigned layer, uint64_t descriptor);

/* ---- image_qcow2_write.c ---- */

void qcow2_write(struct image_req *r);

/*
 * Writes at the request's position, up to mapping.limit bytes; mapping.bytes is how many.  In place
 * or to new clusters.
 */
void qcow2_write_piece(struct image_req *r, qcow2_then then);

/* Waits for clusters, or for room among the frees. */
void qcow2_write_wait(struct image_req *r, void (*resume)(struct image_req *r));

/* The request is over; what it changed is synced if it must be durable. */
void qcow2_write_end(struct image_req *r, int error);

/* ---- image_qcow2_zero.c ---- */

void qcow2_zero(struct image_req *r);
