/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_inflate.c - compressed clusters (read only)
 *
 * A cluster is read and inflated whole, in the loop's thread, and kept until its buffer is needed
 * for another: small reads of one cluster inflate it once.  Compressed data never changes: writes
 * go to new clusters.  zlib's memory comes from a fixed arena, zstd's from its context (P4).
 */
#include "backend/image_qcow2_open.h"
#include "backend/inflate_libs.h"
#include "base/num.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	PAGE = 4096,             /* direct I/O: room to begin and end at a page */
	ARENA_BYTES = 64 * 1024, /* of zlib: 7 KiB of state, a window of 32 KiB */
	WINDOW_BITS_MAX = 15,    /* other writers' */
};

struct arena {
	z_stream stream;
	size_t used;
	_Alignas(16) uint8_t bytes[ARENA_BYTES];
};

static voidpf arena_take(voidpf opaque, uInt items, uInt size)
{
	struct arena *a = opaque;
	uint64_t n = round_up((uint64_t)items * size, 16);

	if (n > ARENA_BYTES - a->used)
		return NULL;
	a->used += (size_t)n;
	return a->bytes + a->used - n;
}

static void arena_give(voidpf opaque, voidpf address)
{
	(void)opaque;
	(void)address;
}

static uint64_t largest_cluster(const struct qcow2 *q)
{
	uint64_t largest = 0;

	for (unsigned i = 0; i < q->nlayers; i++)
		if (!q->layers[i].is_raw)
			largest = max_u64(largest, UINT64_C(1) << q->layers[i].cluster_bits);
	return largest;
}

int qcow2_inflate_init(struct qcow2 *q, struct err *e)
{
	struct qcow2_inflate *f = &q->inflate;
	size_t cluster = (size_t)round_up(largest_cluster(q), PAGE);
	struct arena *a = calloc(1, sizeof(*a));

	f->last = &f->first;
	f->zlib = a;
	f->libs = inflate_libs_load(e);
	if (!f->libs)
		return -e->code;
	f->zstd = f->libs->zstd_new();
	for (unsigned i = 0; i < QCOW2_INFLATERS; i++) {
		f->all[i].in = aligned_alloc(PAGE, 2 * cluster + 2 * PAGE);
		f->all[i].out = aligned_alloc(PAGE, cluster);
		if (!f->all[i].in || !f->all[i].out)
			return err_set(e, ENOMEM, "cannot make buffers");
	}
	if (!a || !f->zstd)
		return err_set(e, ENOMEM, "cannot prepare for compressed clusters");
	a->stream = (z_stream){.zalloc = arena_take, .zfree = arena_give, .opaque = a};
	if (f->libs->inflate_init(&a->stream, -WINDOW_BITS_MAX, ZLIB_VERSION,
				  (int)sizeof(a->stream)) != Z_OK)
		return err_say(e, ENOMEM, "cannot prepare for compressed clusters");
	return 0;
}

void qcow2_inflate_fini(struct qcow2 *q)
{
	struct qcow2_inflate *f = &q->inflate;

	for (unsigned i = 0; i < QCOW2_INFLATERS; i++) {
		free(f->all[i].in);
		free(f->all[i].out);
	}
	if (f->libs)
		f->libs->zstd_free(f->zstd);
	free(f->zlib);
	f->zlib = f->zstd = NULL;
}

static bool inflate_zlib(struct qcow2_inflate *f, const uint8_t *in, size_t n, uint8_t *out,
			 size_t size)
{
	struct arena *a = f->zlib;
	int r;

	if (f->libs->inflate_reset(&a->stream) != Z_OK)
		return false;
	a->stream.next_in = (Bytef *)(uintptr_t)in;
	a->stream.avail_in = (uInt)n;
	a->stream.next_out = out;
	a->stream.avail_out = (uInt)size;
	r = f->libs->inflate(&a->stream, Z_FINISH);
	return a->stream.avail_out == 0 && (r == Z_STREAM_END || r == Z_BUF_ERROR || r == Z_OK);
}

/* Frame by frame: what follows the last one in its sector belongs to somebody else. */
static bool inflate_zstd(struct qcow2_inflate *f, const uint8_t *in, size_t n, uint8_t *out,
			 size_t size)
{
	const struct inflate_libs *libs = f->libs;

	while (size > 0) {
		size_t frame = libs->zstd_frame_bytes(in, n), made;

		if (libs->zstd_is_error(frame))
			return false;
		made = libs->zstd_decompress(f->zstd, out, size, in, frame);
		if (libs->zstd_is_error(made) || (made == 0 && frame == 0))
			return false;
		in += frame;
		n -= frame;
		out += made;
		size -= made;
	}
	return true;
}

static struct qcow2_inflater *inflater_of(struct image_req *r)
{
	return r->mapping.inflated;
}

/* All who wait look again: one that finds its cluster inflated does not take the inflater. */
static void release(struct qcow2 *q, struct image_req *r)
{
	struct qcow2_inflate *f = &q->inflate;
	struct image_req *next = f->first;

	f->is_busy[inflater_of(r) - f->all] = false;
	f->first = NULL;
	f->last = &f->first;
	while (next) {
		struct image_req *waiting = next;

		next = waiting->next;
		qcow2_wake(q, waiting, 0);
	}
}

static uint64_t inside_of(const struct qcow2 *q, unsigned layer, const struct image_req *r)
{
	return r->mapping.read_at & ((UINT64_C(1) << q->layers[layer].cluster_bits) - 1);
}

/* From the inflated cluster to where it was wanted. */
static void copy_out(struct qcow2 *q, struct image_req *r, const struct qcow2_inflater *i)
{
	struct image_mapping *m = &r->mapping;

	iov_at_scatter(&m->at, i->out + inside_of(q, i->layer, r), (size_t)m->bytes);
	iov_at_skip(&m->at, (size_t)m->bytes);
	m->read_at += m->bytes;
}

static int inflate_in(struct qcow2 *q, struct qcow2_inflater *i, uint64_t descriptor)
{
	const struct qcow2_layer *l = &q->layers[i->layer];
	size_t size = (size_t)1 << l->cluster_bits;
	uint64_t offset, bytes;
	const uint8_t *in;
	bool ok;

	qcow2_compressed_range(l, descriptor, &offset, &bytes);
	in = i->in + offset % PAGE;
	MEMORY_READ(in, bytes);
	if (l->h.compression == QCOW2_ZSTD)
		ok = inflate_zstd(&q->inflate, in, (size_t)bytes, i->out, size);
	else
		ok = inflate_zlib(&q->inflate, in, (size_t)bytes, i->out, size);
	if (!ok) {
		log_limited(&q->complaints, "a compressed cluster at %llx cannot be read",
			    (unsigned long long)offset);
		return -EIO;
	}
	MEMORY_WRITTEN(i->out, size);
	i->tag = descriptor;
	return 0;
}

static void load_done(struct aio_req *a, int64_t result);

/* The compressed data, by whole pages, or what is left of it. */
static bool load_submit(struct qcow2 *q, struct image_req *r)
{
	struct qcow2_inflater *i = inflater_of(r);
	uint64_t offset, bytes, from, to;

	qcow2_compressed_range(&q->layers[i->layer], r->mapping.descriptor, &offset, &bytes);
	from = round_down(offset, PAGE) + r->mapping.moved;
	to = round_up(offset + bytes, PAGE);
	if (from >= to)
		return false;
	r->part = iov_of(i->in + r->mapping.moved, (size_t)(to - from));
	r->aio.offset = from;
	aio_submit(q->im->aio, &r->aio);
	return true;
}

static void load_done(struct aio_req *a, int64_t result)
{
	struct image_req *r = container_of(a, struct image_req, aio);
	struct image_mapping *m = &r->mapping;
	struct qcow2 *q = qcow2_of(r);
	struct qcow2_inflater *i = inflater_of(r);
	bool again = result > 0 || ((result == -EINTR || result == -EAGAIN) && ++r->retries < 100);

	if (result > 0)
		m->moved += (uint64_t)result;
	if (again && load_submit(q, r))
		return;
	if (result < 0)
		m->error = (int)result;
	else if (result == 0) /* the end of the file */
		memset(i->in + m->moved, 0, r->part.iov_len);
	if (m->error == 0)
		m->error = inflate_in(q, i, m->descriptor);
	release(q, r);
	if (m->error == 0)
		copy_out(q, r, i);
	qcow2_read_on(r);
	qcow2_run(q);
}

static void load(struct qcow2 *q, struct image_req *r, unsigned index, unsigned layer)
{
	struct qcow2_inflater *i = &q->inflate.all[index];

	q->inflate.is_busy[index] = true;
	q->inflate.hand = index + 1;
	r->mapping.inflated = i;
	r->mapping.moved = 0;
	i->tag = 0;
	i->layer = layer;
	r->retries = 0;
	r->aio.op = AIO_READ;
	r->aio.file = layer;
	r->aio.iov = &r->part;
	r->aio.niov = 1;
	r->aio.done = load_done;
	load_submit(q, r);
}

bool qcow2_inflate_read(struct image_req *r, unsigned layer, uint64_t descriptor)
{
	struct qcow2 *q = qcow2_of(r);
	struct qcow2_inflate *f = &q->inflate;
	struct image_mapping *m = &r->mapping;
	uint64_t offset, bytes;

	qcow2_compressed_range(&q->layers[layer], descriptor, &offset, &bytes);
	if (offset >= q->layers[layer].file_bytes) {
		m->error = qcow2_corrupt(q, layer, "L2 table: no compressed data can be at %llx",
					 (unsigned long long)offset);
		return true;
	}
	m->descriptor = descriptor;
	for (unsigned i = 0; i < QCOW2_INFLATERS; i++)
		if (f->all[i].tag == descriptor && f->all[i].layer == layer) {
			copy_out(q, r, &f->all[i]);
			return true;
		}
	for (unsigned i = 0; i < QCOW2_INFLATERS; i++)
		if (!f->is_busy[(f->hand + i) % QCOW2_INFLATERS]) {
			load(q, r, (f->hand + i) % QCOW2_INFLATERS, layer);
			return false;
		}
	m->resume = qcow2_read_on;
	r->next = NULL;
	*f->last = r;
	f->last = &r->next;
	return false;
}
