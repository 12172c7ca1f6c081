/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block_request.c - one request of a disk (virtio 1.2, 5.2.6): checked, done, answered
 *
 *  I1  Nothing is done before the whole request was found sound: kind, direction, range, alignment,
 *	the rights of the disk.  A request that fails a check touches neither disk nor buffers.
 *  I2  A request is pushed exactly once, when its I/O is done, with a status byte if it has room
 *	for one.  Until then doing it again is harmless: the in-flight log may hand it to another
 *	process.
 */
#include "base/num.h"
#include "devices/block.h"
#include "virtio/ids.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>

struct header {
	le32 type;
	le32 priority;
	le64 sector;
};

static_assert(sizeof(struct header) == 16, "as on the wire");

static void count(struct request *r, uint8_t status)
{
	const bool is_good = status == VIRTIO_BLK_S_OK;

	device_count(&r->block->device, is_good ? r->counter : DEVICE_ERRORS, 1);
	if (is_good && (r->counter == READS || r->counter == WRITES))
		device_count(&r->block->device, r->counter + 1, r->io.length); /* its bytes */
}

/* Gives the chain back with a status; the request is free then. */
static void complete(struct request *r, uint8_t status)
{
	struct block *b = r->block;

	count(r, status);
	if (!chain_tail_put(&r->chain, &status, sizeof(status)))
		log_limited(&b->complaints, "request without room for a status");
	vq_push(r->queue, &r->chain);
	b->pushed |= 1u << r->queue->index;
	r->next = b->free;
	b->free = r;
}

static uint8_t status_of(int error)
{
	return error == 0 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}

/* Host errors are worth a line: the guest sees no more than "I/O error". */
static void report(struct request *r, const char *what, int error)
{
	if (error < 0)
		log_limited(&r->block->complaints, "%s of %llu bytes at %llu failed: %s", what,
			    (unsigned long long)r->io.length, (unsigned long long)r->io.offset,
			    strerror(-error));
}

/* Whether the disk has these sectors, in whole blocks; sets where they lie. */
static bool locate(struct request *r, uint64_t sector, uint64_t length)
{
	const struct image *im = &r->block->image;
	uint64_t offset;

	if (!mul_ok(sector, SECTOR, &offset) || !is_inside(offset, length, im->size) ||
	    (offset | length) % im->block_size != 0)
		return false;
	r->io.offset = offset;
	r->io.length = length;
	return true;
}

static void read_done(struct image_req *io, int error)
{
	struct request *r = container_of(io, struct request, io);

	report(r, "read", error);
	if (error == 0 && !chain_skip(&r->chain, CHAIN_WRITABLE, r->io.length))
		error = -EIO;
	complete(r, status_of(error));
}

static void write_done(struct image_req *io, int error)
{
	struct request *r = container_of(io, struct request, io);

	report(r, "write", error);
	complete(r, status_of(error));
}

static void sync_done(struct image_req *io, int error)
{
	struct request *r = container_of(io, struct request, io);

	report(r, "sync", error);
	complete(r, status_of(error));
}

static void transfer(struct request *r, enum image_op op, const struct header *h)
{
	enum chain_side side = op == IMAGE_READ ? CHAIN_WRITABLE : CHAIN_READABLE;
	enum chain_side other = op == IMAGE_READ ? CHAIN_READABLE : CHAIN_WRITABLE;

	if ((op == IMAGE_WRITE && !r->block->image.writable) || chain_left(&r->chain, other) > 0 ||
	    !locate(r, le64_get(h->sector), chain_left(&r->chain, side))) {
		complete(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	if (r->io.length == 0) {
		complete(r, VIRTIO_BLK_S_OK);
		return;
	}
	limit_take(&r->block->limit, r->io.length);
	r->io.op = op;
	r->io.durable = !r->block->writeback;
	r->io.iov = chain_iov(&r->chain, side, &r->io.niov);
	r->io.done = op == IMAGE_READ ? read_done : write_done;
	image_submit(&r->block->image, &r->io);
}

static void request_in(struct request *r, const struct header *h)
{
	transfer(r, IMAGE_READ, h);
}

static void request_out(struct request *r, const struct header *h)
{
	transfer(r, IMAGE_WRITE, h);
}

static void request_flush(struct request *r, const struct header *h)
{
	(void)h;
	r->io.op = IMAGE_SYNC;
	r->io.offset = r->io.length = 0;
	r->io.done = sync_done;
	image_submit(&r->block->image, &r->io);
}

static void request_get_id(struct request *r, const struct header *h)
{
	char id[VIRTIO_BLK_ID_BYTES] = {0};
	size_t n = min_size(sizeof(id), chain_left(&r->chain, CHAIN_WRITABLE));

	(void)h;
	if (r->block->id)
		memcpy(id, r->block->id, strnlen(r->block->id, sizeof(id)));
	complete(r, chain_put(&r->chain, id, n) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
}

/* Does the next range of a discard or write-zeroes request; all of them are checked. */
static void next_range(struct request *r)
{
	while (r->range_at < r->nranges) {
		const struct range *range = &r->ranges[r->range_at++];
		uint64_t length = (uint64_t)le32_get(range->sectors) * SECTOR;

		if (length == 0)
			continue;
		r->io.unmap = (le32_get(range->flags) & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) &&
			      r->block->sparse;
		if (!locate(r, le64_get(range->sector), length)) {
			complete(r, VIRTIO_BLK_S_IOERR);
			return;
		}
		image_submit(&r->block->image, &r->io);
		return;
	}
	complete(r, VIRTIO_BLK_S_OK);
}

static void range_done(struct image_req *io, int error)
{
	struct request *r = container_of(io, struct request, io);

	report(r, io->op == IMAGE_DISCARD ? "discard" : "writing zeroes", error);
	if (error < 0)
		complete(r, VIRTIO_BLK_S_IOERR);
	else
		next_range(r);
}

static uint8_t check_range(struct request *r, const struct range *range, uint32_t flags,
			   uint32_t sectors_max)
{
	uint32_t sectors = le32_get(range->sectors);

	if (le32_get(range->flags) & ~flags)
		return VIRTIO_BLK_S_UNSUPP;
	if (sectors > sectors_max ||
	    !locate(r, le64_get(range->sector), (uint64_t)sectors * SECTOR))
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

static void request_ranges(struct request *r, enum image_op op, uint32_t flags,
			   uint32_t sectors_max)
{
	size_t n = chain_left(&r->chain, CHAIN_READABLE);
	uint8_t status = VIRTIO_BLK_S_OK;

	r->nranges = (unsigned)(n / sizeof(struct range));
	r->range_at = 0;
	if (!r->block->image.writable || r->nranges == 0 || r->nranges > RANGES_MAX ||
	    n % sizeof(struct range) != 0 || !chain_get(&r->chain, r->ranges, n))
		status = VIRTIO_BLK_S_IOERR;
	for (unsigned i = 0; i < r->nranges && status == VIRTIO_BLK_S_OK; i++)
		status = check_range(r, &r->ranges[i], flags, sectors_max);
	if (status != VIRTIO_BLK_S_OK) {
		complete(r, status);
		return;
	}
	limit_take(&r->block->limit, 0);
	r->io.op = op;
	r->io.durable = !r->block->writeback;
	r->io.iov = NULL;
	r->io.done = range_done;
	next_range(r);
}

static void request_discard(struct request *r, const struct header *h)
{
	(void)h;
	if (r->block->device.acked & VIRTIO_BIT(VIRTIO_BLK_F_DISCARD))
		request_ranges(r, IMAGE_DISCARD, 0, DISCARD_SECTORS);
	else
		complete(r, VIRTIO_BLK_S_UNSUPP);
}

static void request_write_zeroes(struct request *r, const struct header *h)
{
	(void)h;
	if (r->block->device.acked & VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES))
		request_ranges(r, IMAGE_ZERO, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP, ZERO_SECTORS);
	else
		complete(r, VIRTIO_BLK_S_UNSUPP);
}

static const struct kind {
	uint32_t type, counter;
	void (*handle)(struct request *r, const struct header *h);
} kinds[] = {
	{VIRTIO_BLK_T_IN, READS, request_in},
	{VIRTIO_BLK_T_OUT, WRITES, request_out},
	{VIRTIO_BLK_T_FLUSH, FLUSHES, request_flush},
	{VIRTIO_BLK_T_GET_ID, IDS, request_get_id},
	{VIRTIO_BLK_T_DISCARD, DISCARDS, request_discard},
	{VIRTIO_BLK_T_WRITE_ZEROES, ZERO_WRITES, request_write_zeroes},
};

void block_request_start(struct request *r)
{
	struct header h;

	if (!chain_tail(&r->chain, 1) || !chain_get(&r->chain, &h, sizeof(h))) {
		complete(r, VIRTIO_BLK_S_IOERR);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (kinds[i].type == le32_get(h.type)) {
			r->counter = kinds[i].counter;
			kinds[i].handle(r, &h);
			return;
		}
	}
	complete(r, VIRTIO_BLK_S_UNSUPP);
}
