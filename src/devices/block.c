/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block.c - disk (virtio 1.2, 5.2)
 *
 *	kick -> vq_pop -> image_submit ... aio_flush -> done -> status, vq_push -> vq_notify
 *
 * Chains are popped in batches, and a batch is started with one system call; what the page cache
 * has completes within it.  The data goes between guest memory and the kernel by the chain's own
 * iovec.  With nothing left to do we look for more a while before we sleep, if that was of use
 * lately (spin.h).
 * What one request is, and how it is checked and done, is in block_request.c.
 *
 *  I1  Requests come from one pool; a queue that finds it empty is remembered in starved and goes
 *	on when a request is free.  Nothing is allocated once the guest runs.
 *  I2  Requests that a limit delays stay in their queue, in their order; what was started pays.
 *	Flushes cost nothing, but those behind a request that waits wait too.
 */
#include "devices/block.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/num.h"
#include "virtio/ids.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>

enum {
	QUEUES_MAX = 16,

	/* In flight, all queues together: no disk gains by more, and each costs a page. */
	REQUESTS = 128,

	/* One segment may need two iovecs where it crosses regions of guest memory. */
	SEGMENTS_MAX = CHAIN_IOV_MAX - 16,

	/* Started and completed together; the driver refills while the next batch is on. */
	BATCH = 16,
	BATCH_BYTES = 512 << 10, /* what takes longer is started in several */
	ROUNDS_MAX = 64,         /* batches of a queue before others get their turn */
};

static const struct counter block_counters[] = {
	DEVICE_COUNTER(READS) = {"reads", COUNTER_EVENTS, "Reads that were done"},
	DEVICE_COUNTER(READ_BYTES) = {"read_bytes", COUNTER_BYTES, "Data read"},
	DEVICE_COUNTER(WRITES) = {"writes", COUNTER_EVENTS, "Writes that were done"},
	DEVICE_COUNTER(WRITTEN_BYTES) = {"written_bytes", COUNTER_BYTES, "Data written"},
	DEVICE_COUNTER(FLUSHES) = {"flushes", COUNTER_EVENTS, "Flushes that were done"},
	DEVICE_COUNTER(DISCARDS) = {"discards", COUNTER_EVENTS, "Requests to discard"},
	DEVICE_COUNTER(ZERO_WRITES) = {"zero_writes", COUNTER_EVENTS, "Requests to write zeroes"},
	DEVICE_COUNTER(IDS) = {"ids", COUNTER_EVENTS, "Times that the guest read the serial"},
	DEVICE_COUNTER(BLOCK_COUNTERS_END) = {.name = NULL},
};

enum { CACHE_MIN = 64 << 10, CACHE_MAX = 1 << 30 };

static const char *const block_sizes[] = {"auto", "512", "4096", NULL};
static const char *const aio_words[] = {"auto", "io_uring", "threads", NULL};
static const struct aio_engine *const aio_engines[] = {NULL, &aio_uring, &aio_threads};

static_assert(ARRAY_LEN(aio_words) == ARRAY_LEN(aio_engines) + 1, "a word for each engine");

static const struct opt block_opts[] = {
	OPT_FIRST(struct block, path, "FILE", "Disk image or block device, or /proc/self/fd/N"),
	OPT_FLAG(struct block, ro, "Refuse writes; the image may be shared with other readers"),
	OPT_CHOICE(struct block, format, image_formats, "Format of the image; never guessed"),
	OPT_TEXT(struct block, id, "TEXT", "Serial number that the guest sees, up to 20 bytes"),
	OPT_NUMBER(struct block, queues, 1, QUEUES_MAX, "Number of request queues"),
	OPT_FLAG(struct block, direct, "Bypass the page cache of the host"),
	OPT_SIZE(struct block, cache, CACHE_MIN, CACHE_MAX,
		 "qcow2: memory for tables of the image, 32M at most if not given"),
	OPT_TEXT(struct block, backing, "on|DIR[:DIR...]",
		 "qcow2: backing files that may be opened: those that the image names, or those in "
		 "these folders only; none if not given"),
	OPT_FLAG(struct block, sparse, "Give discarded space back to the host"),
	OPT_CHOICE(struct block, block_size, block_sizes, "Bytes of a logical block"),
	OPT_CHOICE(struct block, aio, aio_words, "How I/O is done"),
	OPT_NUMBER(struct block, threads, 1, AIO_THREADS_MAX, "Number of threads with aio=threads"),
	OPT_SIZE(struct block, bps, 0, LIMIT_BPS_MAX, "Bytes of data a second; 0: no limit"),
	OPT_NUMBER(struct block, iops, 0, UINT32_MAX, "Requests a second; 0: no limit"),
	OPT_NUMBER(struct block, burst, 1, LIMIT_BURST_MAX_MS,
		   "Milliseconds of what was left of bps and iops that may be used later at once"),
	OPT_FLAG(struct block, root, "Root file system: adds root=/dev/vdX to the command line"),
	OPT_END,
};

/* Beyond the common set: the two engines of backend/aio.h. */
static const struct call block_calls[] = {
	CALL(io_uring_enter),
	CALL(preadv),
	CALL(pwritev2),
	CALL(fdatasync),
	CALL(fallocate),
	CALL(ftruncate), /* qcow2: room for clusters; resize */
	CALL(futex), /* the pool of threads: its lock, its wait, a thread's end */
	CALL(poll),
	CALL(ppoll),
	CALL(exit),
	CALL(madvise),
	CALL(rt_sigprocmask),
	CALL(timerfd_settime), /* devices/limit.c */
	CALL_END,
};

static struct block *block_of(struct device *d)
{
	return container_of(d, struct block, device);
}

/* I1. A disk that never has more than a few requests at once touches the memory of so many. */
static struct request *request_free(struct block *b)
{
	struct request *r;

	if (b->free || b->fresh == REQUESTS)
		return b->free;
	r = &b->requests[b->fresh];
	r->block = b;
	r->next = NULL;
	b->fresh++;
	b->free = r;
	return r;
}

/* Pops up to max requests, adding up their bytes, of which there may be BATCH_BYTES; how many. */
static unsigned pop_some(struct block *b, struct vq *q, unsigned max, struct request **ret,
			 uint64_t *bytes)
{
	unsigned n = 0;

	for (; n < max && *bytes < BATCH_BYTES; n++) {
		struct request *r = request_free(b);

		if (!r || !limit_may_go(&b->limit) || !vq_pop(q, &r->chain))
			break;
		chain_prefetch(&r->chain);
		b->free = r->next;
		r->queue = q;
		ret[n] = r;
		*bytes += chain_left(&r->chain, CHAIN_READABLE);
		*bytes += chain_left(&r->chain, CHAIN_WRITABLE);
	}
	return n;
}

/*
 * Pops and starts a batch of requests; how many.  With a limit each pays before the next is popped.
 * Sets whether the batch is full, and so there may be more.
 */
static unsigned take_batch(struct block *b, struct vq *q, bool *ret_is_full)
{
	unsigned ahead = b->limit.is_on ? 1 : BATCH, n = 0, some;
	struct request *batch[BATCH];
	uint64_t bytes = 0;

	do {
		some = pop_some(b, q, ahead, batch, &bytes);
		for (unsigned i = 0; i < some; i++)
			block_request_start(batch[i]);
		n += some;
		*ret_is_full = n == BATCH || bytes >= BATCH_BYTES;
	} while (some == ahead && !*ret_is_full);
	return n;
}

static void notify_pushed(struct block *b)
{
	while (b->pushed) {
		unsigned q = (unsigned)__builtin_ctz(b->pushed);

		b->pushed &= b->pushed - 1;
		vq_notify(&b->device.queues[q]);
	}
}

/* Starts what was popped, completes what is done, and tells the drivers. */
static void flush(struct block *b)
{
	aio_flush(&b->io);
	notify_pushed(b);
}

static void woken(struct block *b)
{
	uint64_t now = clock_ns();

	spin_woken(&b->spin[0], now);
	spin_woken(&b->spin[1], now);
}

/* Whether some queue but this one has requests; its kick is on, and will bring us there. */
static bool others_have_more(struct block *b, const struct vq *q)
{
	for (unsigned i = 0; i < b->device.nqueues; i++)
		if (&b->device.queues[i] != q && vq_has_more(&b->device.queues[i]))
			return true;
	return false;
}

/* Nothing is left in the queue: looks a while for more of it, or for completions. */
static bool found_work(struct block *b, struct vq *q)
{
	struct spin *spin = &b->spin[b->io.in_flight > 0];
	bool found = false;

	if (!spin_begin(spin, clock_ns()) || !aio_look_begin(&b->io))
		return false;
	do {
		found = vq_has_more(q) || aio_is_ready(&b->io);
	} while (!found && !others_have_more(b, q) && spin_goes_on(spin, clock_ns()));
	if (found)
		spin_found(spin);
	else
		spin_failed(spin);
	flush(b);
	return found;
}

/*
 * Serves one queue until it is empty, the pool or the limit is, or others should have their turn.
 * While we look ourselves the driver need not kick.
 */
static void serve_queue(struct block *b, unsigned q)
{
	struct vq *queue = &b->device.queues[q];
	unsigned rounds = ROUNDS_MAX;

	b->last = q;
	b->starved &= ~(1u << q);
	vq_polling_set(queue, true);
	for (bool is_last = false; request_free(b) && rounds > 0; rounds--) {
		bool is_full;
		unsigned n = take_batch(b, queue, &is_full);

		flush(b);
		if (is_full)
			continue;
		if (is_last && n == 0)
			break;
		if (!is_last && !b->limit.is_shut && found_work(b, queue))
			continue;
		is_last = true;
		vq_polling_set(queue, false);
	}
	if (b->limit.is_shut) {
		b->throttled |= 1u << q;
		vq_polling_set(queue, true);
		return;
	}
	vq_polling_set(queue, false);
	if (!request_free(b) || rounds == 0)
		b->starved |= 1u << q;
	if (b->starved && b->io.in_flight == 0)
		fd_signal(b->again.fd);
}

static void serve_starved(struct block *b)
{
	uint32_t starved = b->starved;

	while (starved && !b->stopping) {
		unsigned q = (unsigned)__builtin_ctz(starved);

		starved &= starved - 1;
		serve_queue(b, q);
	}
}

/* The limit lets requests through again. */
static void limit_opened(struct limit *l)
{
	struct block *b = container_of(l, struct block, limit);
	uint32_t throttled = b->throttled;

	b->throttled = 0;
	for (; throttled && b->device.started; throttled &= throttled - 1)
		serve_queue(b, (unsigned)__builtin_ctz(throttled));
}

/* Completions arrived by the loop. */
static void batch_end(struct aio *a)
{
	struct block *b = a->owner;

	woken(b);
	notify_pushed(b);
	if (b->spin[b->io.in_flight > 0].is_on && b->device.started && !b->stopping)
		b->starved |= 1u << b->last; /* the driver will have more soon */
	serve_starved(b);
}

static void again_ready(struct watch *w, uint32_t events)
{
	struct block *b = container_of(w, struct block, again);

	(void)events;
	fd_drain(w->fd);
	serve_starved(b);
}

static void block_kick(struct device *d, unsigned q)
{
	struct block *b = block_of(d);

	woken(b);
	serve_queue(b, q);
}

static int block_start(struct device *d, struct err *e)
{
	struct block *b = block_of(d);

	(void)e;
	/* A driver that knows no flush expects each write to last (5.2.5). */
	b->writeback = d->acked & VIRTIO_BIT(VIRTIO_BLK_F_FLUSH);
	b->stopping = false;
	b->starved = b->pushed = b->throttled = 0;
	b->spin[0] = b->spin[1] = (struct spin){0};
	b->last = 0;
	return 0;
}

static void block_stop(struct device *d)
{
	struct block *b = block_of(d);

	b->stopping = true;
	aio_drain(&b->io);
	notify_pushed(b);
	image_rest(&b->image);
	b->starved = 0;
}

static void block_defaults(struct device *d)
{
	struct block *b = block_of(d);

	b->queues = 1;
	b->sparse = true;
	b->threads = AIO_THREADS_DEFAULT;
	b->burst = LIMIT_BURST_MS;
}

static int open_pool(struct block *b, struct err *e)
{
	b->requests = calloc(REQUESTS, sizeof(*b->requests));
	if (!b->requests)
		return err_set(e, ENOMEM, "cannot make %d requests", REQUESTS);
	return 0;
}

static int open_io(struct block *b, struct err *e)
{
	const struct aio_options o = {.engine = aio_engines[b->aio],
				      .depth = REQUESTS + IMAGE_AIO_EXTRA,
				      .threads = b->threads,
				      .files = b->image.files,
				      .nfiles = b->image.nfiles};
	int r = aio_init(&b->io, b->device.loop, &o, e);

	if (r < 0)
		return r;
	b->io.batch_end = batch_end;
	b->io.owner = b;
	image_attach(&b->image, &b->io);
	b->again = (struct watch){.fd = fd_eventfd(), .ready = again_ready};
	if (b->again.fd < 0)
		return err_set(e, -b->again.fd, "cannot make an eventfd");
	r = loop_add(b->device.loop, &b->again, EPOLLIN);
	return r < 0 ? err_set(e, -r, "cannot watch an eventfd") : 0;
}

static int open_limit(struct block *b, struct err *e)
{
	const struct limit_values v = {.bps = b->bps, .ops = b->iops, .burst_ms = b->burst};
	int r;

	b->limit.opened = limit_opened;
	r = limit_init(&b->limit, b->device.loop);
	if (r < 0)
		return err_set(e, -r, "cannot make a timer");
	limit_set(&b->limit, &v);
	return 0;
}

static void set_features(struct block *b)
{
	uint64_t off = 0;

	if (!b->ro)
		off |= VIRTIO_BIT(VIRTIO_BLK_F_RO);
	if (b->ro || !b->sparse)
		off |= VIRTIO_BIT(VIRTIO_BLK_F_DISCARD);
	if (b->ro)
		off |= VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	b->device.features &= ~off;
}

static unsigned block_queues(const struct device *d)
{
	return container_of(d, const struct block, device)->queues;
}

static void remark(const struct block *b)
{
	if (b->image.remark)
		log_warn("%s: %s", b->path, b->image.remark);
}

static int block_check(const struct device *d, struct err *e)
{
	const struct block *b = container_of(d, const struct block, device);

	if (!b->path)
		return err_say(e, EINVAL, "path=FILE is missing");
	if (b->id && strlen(b->id) > VIRTIO_BLK_ID_BYTES)
		return err_say(e, EINVAL, "id: \"%.100s\": more than %d bytes", b->id,
			       VIRTIO_BLK_ID_BYTES);
	return 0;
}

static int block_open(struct device *d, struct err *e)
{
	static const uint32_t sizes[] = {0, 512, 4096};
	struct block *b = block_of(d);
	const struct image_options o = {.path = b->path,
					.ops = image_format(b->format),
					.writable = !b->ro,
					.direct = b->direct,
					.sparse = b->sparse,
					.cache_bytes = b->cache,
					.backing = b->backing,
					.block_size = sizes[b->block_size]};
	int r;

	b->again.fd = b->limit.timer.watch.fd = -1;
	r = image_open(&b->image, &o, e);
	if (r == 0)
		r = open_pool(b, e);
	if (r == 0)
		r = open_io(b, e);
	if (r == 0)
		r = open_limit(b, e);
	if (r < 0)
		return r;
	set_features(b);
	remark(b);
	return 0;
}

static int block_prepare(struct device *d, struct err *e)
{
	return aio_start(&block_of(d)->io, e);
}

static void block_close(struct device *d)
{
	struct block *b = block_of(d);

	aio_fini(&b->io);
	image_close(&b->image);
	if (b->again.fd >= 0)
		loop_remove(d->loop, &b->again);
	fd_close(&b->again.fd);
	limit_fini(&b->limit, d->loop);
	free(b->requests);
	b->requests = b->free = NULL;
}

static void block_config(struct device *d, void *out)
{
	const struct block *b = block_of(d);
	const struct image *im = &b->image;
	uint32_t ratio = im->host_block / im->block_size;
	struct virtio_blk_config c = {
		.capacity = im->size / SECTOR,
		.seg_max = SEGMENTS_MAX,
		.blk_size = im->block_size,
		.physical_block_exp = (uint8_t)__builtin_ctz(ratio),
		.min_io_size = (uint16_t)ratio,
		.num_queues = (uint16_t)b->queues,
		.max_discard_sectors = DISCARD_SECTORS,
		.max_discard_seg = RANGES_MAX,
		.discard_sector_alignment = im->discard_block / SECTOR,
		.max_write_zeroes_sectors = ZERO_SECTORS,
		.max_write_zeroes_seg = RANGES_MAX,
		.write_zeroes_may_unmap = b->sparse,
	};

	memcpy(out, &c, d->type->config_size);
}

static const struct opt limit_opts[] = {LIMIT_OPTS("iops", "Requests", "")};

static int set_limit(struct device *d, void *arguments, struct json *reply, struct err *e)
{
	(void)e;
	(void)reply;
	limit_set(&block_of(d)->limit, arguments);
	return 0;
}

struct resize_arguments {
	uint64_t size;
};

static const struct opt resize_opts[] = {
	OPT_SIZE(struct resize_arguments, size, 0, INT64_MAX,
		 "New size; for a block device what it has by now if not given"),
	OPT_END,
};

/* The driver learns of it by an interrupt for the configuration. */
static int resize(struct device *d, void *arguments, struct json *reply, struct err *e)
{
	const struct resize_arguments *a = arguments;
	struct block *b = block_of(d);
	uint64_t before = b->image.size;
	int r = image_resize(&b->image, a->size, e);

	aio_flush(&b->io);
	if (r < 0)
		return r;
	json_number(reply, "size", b->image.size);
	if (b->image.size != before)
		device_config_changed(d);
	return 0;
}

static const struct device_command block_commands[] = {
	{"limit", limit_opts, set_limit, "Set the limits; those not given are lifted",
	 .lasts = true},
	{"resize", resize_opts, resize, "Make the disk larger"},
	{.name = NULL},
};

static void block_status(struct device *d, struct json *reply)
{
	const struct block *b = block_of(d);

	json_number(reply, "size", b->image.size);
	limit_status(&b->limit, "iops", reply);
}

const struct device_type block_type = {
	.name = "block",
	.summary = "Disk",
	.virtio_id = VIRTIO_ID_BLOCK,
	.nqueues = QUEUES_MAX,
	.queue_size = 256,
	.features = VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_RO) |
		    VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) | VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) |
		    VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY) | VIRTIO_BIT(VIRTIO_BLK_F_MQ) |
		    VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES),
	.size = sizeof(struct block),
	.config_size = offsetof(struct virtio_blk_config, max_secure_erase_sectors),
	.end_ms = 5000, /* qcow2: gives back what it has in reserve */
	.writes_files = true,
	.kernel_threads = true,
	/* image, lock, metadata; ring, completions, again, timer */
	.fds = 7 + 3 * IMAGE_BACKING_MAX,
	.opts = block_opts,
	.calls = block_calls,
	.check = block_check,
	.defaults = block_defaults,
	.queues = block_queues,
	.open = block_open,
	.prepare = block_prepare,
	.kick = block_kick,
	.start = block_start,
	.stop = block_stop,
	.close = block_close,
	.config = block_config,
	.commands = block_commands,
	.counters = block_counters,
	.status = block_status,
};
