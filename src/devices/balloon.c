/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * balloon.c - memory the guest gives back (virtio 1.2, section 5.5)
 *
 * The host says how much the balloon is to hold, in bytes (command "target"; num_pages of the
 * configuration space).  The driver lists page frames; we punch holes in the memory file, so the
 * pages vanish for every process that maps it, and read as zero should the guest look at them.
 *
 *  B1  Neither a frame nor its number is trusted: what lies outside memory is counted and left.
 *  B2  Inflating and reporting are harmless when done twice, so a process may die at any moment.
 *  B3  What the driver says is a claim: "actual" and statistics are told, never acted upon.
 *  B4  Hinted pages are only counted.  The guest may use them again without a word (section
 *      5.5.6.5 lets only who follows its writes tell), so giving them back could lose data.
 *
 * Queues that the driver has no feature for are left out, and drivers differ on whether the later
 * ones then move up (Linux) or keep their numbers (the specification): queue_role().
 */
#include "base/num.h"
#include "base/wire.h"
#include "devices/device.h"
#include "mem/discard.h"
#include "virtio/ids.h"

#include <assert.h>
#include <errno.h>
#include <linux/falloc.h>
#include <linux/virtio_balloon.h>
#include <string.h>
#include <sys/mman.h>

enum role { INFLATE, DEFLATE, STATS, HINT, REPORT, ROLES };

enum {
	/* Of one queue, before commands and the others have a turn. */
	CHAINS_A_TURN = 16,
	CALLS_A_TURN = 64, /* to the host; the last chain may make more */
	FRAMES_A_CHAIN = 16384, /* Linux lists 256, others up to 1024; what is more is left */
	HINT_ID_FIRST = VIRTIO_BALLOON_CMD_ID_DONE + 1,
	STATS_MAX = 16,
	STATS_A_CHAIN = 256, /* Linux gives 16; what is more is left */
};

/* As in <linux/virtio_balloon.h>, in fields that know their byte order. */
struct balloon_config {
	le32 num_pages, actual, hint_id, poison;
};
static_assert(sizeof(struct balloon_config) == 16, "virtio 1.2, 5.5.4");

struct balloon_stat {
	le16 tag;
	le64 value;
};
static_assert(sizeof(struct balloon_stat) == 10, "virtio 1.2, 5.5.6.3");

enum balloon_counter {
	BALLOON_TARGET = DEVICE_COUNTERS,
	BALLOON_ACTUAL,
	BALLOON_INFLATED,
	BALLOON_DEFLATED,
	BALLOON_REPORTED,
	BALLOON_DISCARDED,
	BALLOON_COUNTERS_END,
};

struct balloon {
	struct device device;
	bool deflate_on_oom, reporting, hinting, stats; /* options: what is offered */

	/* Options that main keeps to itself: vm/balloon.h. */
	int policy;
	uint64_t margin, max;
	uint32_t speed;

	uint64_t target;	 /* bytes */
	bool target_is_news;	 /* the driver has not been told yet */
	uint32_t actual, poison; /* as the driver wrote them */
	uint32_t hint_id;	 /* as the driver reads it */
	bool hint_begun;	 /* the driver has answered to hint_id */
	uint64_t hinted_bytes;

	struct discard discard;
	uint64_t reported_bytes, bad_requests;
	uint64_t counted[BALLOON_COUNTERS_END - DEVICE_COUNTERS]; /* see balloon_count() */
	uint64_t counted_errors;

	bool holds_stats; /* the driver's buffer is with us, until statistics are asked for */
	struct chain stats_chain;
	uint64_t stat[STATS_MAX];
	uint32_t stats_known; /* bits */
	uint64_t stats_ns;    /* when they came; 0: never */

	uint32_t unfinished; /* bits: queues that had their turn */
	struct timer turn;
};

static struct balloon *balloon_of(struct device *d)
{
	return container_of(d, struct balloon, device);
}

/* ---- requests ---- */

/* Calls take() for every frame that the chain lists. */
static void each_frame(struct balloon *b, struct chain *c,
		       void (*take)(struct balloon *b, uint32_t frame))
{
	le32 frame;

	for (unsigned i = 0; i < FRAMES_A_CHAIN && chain_get(c, &frame, sizeof(frame)); i++)
		take(b, le32_get(frame));
	/* An odd length, far too many, or what the device cannot read. */
	b->bad_requests += chain_left(c, CHAIN_READABLE) > 0 || chain_left(c, CHAIN_WRITABLE) > 0;
}

static void take_frame(struct balloon *b, uint32_t frame)
{
	if (discard_is_full(&b->discard))
		discard_flush(&b->discard);
	discard_frame(&b->discard, frame);
}

static void give_frame(struct balloon *b, uint32_t frame)
{
	discard_restore(&b->discard, frame);
}

static void inflate(struct balloon *b, struct chain *c)
{
	each_frame(b, c, take_frame);
	discard_flush(&b->discard);
}

static void deflate(struct balloon *b, struct chain *c)
{
	each_frame(b, c, give_frame);
}

/* Whether the driver would mind that a page it gives away for a moment comes back as zeros. */
static bool zeros_are_wrong(const struct balloon *b)
{
	return (b->device.acked & VIRTIO_BIT(VIRTIO_BALLOON_F_PAGE_POISON)) && b->poison != 0;
}

/* Free pages are the writable pieces themselves; neighbours become one. */
static void report(struct balloon *b, struct chain *c)
{
	unsigned n;
	const struct iovec *v = chain_iov(c, CHAIN_WRITABLE, &n);
	gpa start = 0, end = 0, a;
	uint64_t before = b->discard.counters.bytes;

	b->bad_requests += n == 0;
	if (zeros_are_wrong(b))
		return;
	for (unsigned i = 0; i < n; i++) {
		if (!gmem_iov_address(b->device.gmem, &v[i], &a))
			continue;
		if (a != end) {
			discard_range(&b->discard, start, end - start);
			start = end = a;
		}
		end += v[i].iov_len;
	}
	discard_range(&b->discard, start, end - start);
	b->reported_bytes += b->discard.counters.bytes - before;
}

/* A command id, or writable pieces that are free pages. */
static void hint(struct balloon *b, struct chain *c)
{
	le32 id;

	if (chain_left(c, CHAIN_READABLE) == 0) {
		if (b->hint_begun)
			b->hinted_bytes += chain_left(c, CHAIN_WRITABLE);
		return;
	}
	if (!chain_get(c, &id, sizeof(id))) {
		b->bad_requests++;
		return;
	}
	if (b->hint_begun && le32_get(id) == VIRTIO_BALLOON_CMD_ID_STOP) {
		b->hint_begun = false;
		b->hint_id = VIRTIO_BALLOON_CMD_ID_DONE; /* it takes its pages back */
		device_config_changed(&b->device);
	} else if (b->hint_id >= HINT_ID_FIRST && le32_get(id) == b->hint_id) {
		b->hint_begun = true;
		b->hinted_bytes = 0;
	}
}

static void stats_read(struct balloon *b, struct chain *c)
{
	struct balloon_stat s;

	b->stats_known = 0;
	b->stats_ns = clock_ns();
	for (unsigned i = 0; i < STATS_A_CHAIN && chain_get(c, &s, sizeof(s)); i++) {
		const unsigned tag = le16_get(s.tag);

		if (tag >= STATS_MAX)
			continue; /* of a later specification */
		b->stat[tag] = le64_get(s.value);
		b->stats_known |= 1u << tag;
	}
	b->bad_requests += chain_left(c, CHAIN_READABLE) > 0;
}

/* Gives the driver its buffer back: it fills it anew. */
static void stats_ask(struct balloon *b, struct vq *q)
{
	if (!b->holds_stats)
		return;
	b->holds_stats = false;
	vq_push(q, &b->stats_chain);
	vq_notify(q);
}

/* ---- queues ---- */

static const uint64_t role_features[ROLES] = {
	[STATS] = VIRTIO_BIT(VIRTIO_BALLOON_F_STATS_VQ),
	[HINT] = VIRTIO_BIT(VIRTIO_BALLOON_F_FREE_PAGE_HINT),
	[REPORT] = VIRTIO_BIT(VIRTIO_BALLOON_F_REPORTING),
};

static bool has_role(const struct device *d, unsigned role)
{
	return (d->acked & role_features[role]) == role_features[role];
}

/* What queue q is for if the queues move up; ROLES: nothing. */
static unsigned role_moved_up(const struct device *d, unsigned q)
{
	unsigned role = 0;

	for (; role < ROLES; role++)
		if (has_role(d, role) && q-- == 0)
			break;
	return role;
}

/* Queues that move up leave no gap; they start in the order of their numbers. */
static unsigned queue_role(const struct device *d, unsigned q)
{
	unsigned started = 0, last = 0;

	for (unsigned i = 0; i < d->nqueues; i++) {
		if (!d->queues[i].started)
			continue;
		started++;
		last = i;
	}
	if (started == last + 1 && role_moved_up(d, last) != ROLES)
		return role_moved_up(d, q);
	return has_role(d, q) ? q : ROLES;
}

static struct vq *stats_queue(struct device *d)
{
	for (unsigned q = 0; q < d->nqueues; q++)
		if (d->queues[q].started && queue_role(d, q) == STATS)
			return &d->queues[q];
	return NULL;
}

/* Keeps the chain; a driver that gives two has the first one back. */
static void stats_hold(struct balloon *b, struct vq *q, const struct chain *c)
{
	b->bad_requests += b->holds_stats;
	stats_ask(b, q);
	b->stats_chain = *c;
	b->holds_stats = true;
}

static bool turn_is_over(const struct balloon *b, unsigned chains, uint64_t calls_end)
{
	return chains >= CHAINS_A_TURN || b->discard.counters.calls >= calls_end;
}

/* What the driver claims, as far as it can be. */
static uint64_t actual_bytes(const struct balloon *b)
{
	const uint64_t claimed = (uint64_t)b->actual << VIRTIO_BALLOON_PFN_SHIFT;

	return b->device.started ? min_u64(claimed, gmem_size(b->device.gmem)) : claimed;
}

/* Brings the counters up to date, which run on where an earlier process of the device ended. */
static void balloon_count(struct balloon *b)
{
	const struct discard_counters *n = &b->discard.counters;
	const uint64_t errors = b->bad_requests + n->bad + n->failed;
	const struct {
		enum balloon_counter counter;
		uint64_t now;
	} rows[] = {
		{BALLOON_INFLATED, n->frames},
		{BALLOON_DEFLATED, n->restored},
		{BALLOON_REPORTED, b->reported_bytes},
		{BALLOON_DISCARDED, n->bytes},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint64_t *counted = &b->counted[rows[i].counter - DEVICE_COUNTERS];

		device_count(&b->device, rows[i].counter, rows[i].now - *counted);
		*counted = rows[i].now;
	}
	device_count(&b->device, DEVICE_ERRORS, errors - b->counted_errors);
	b->counted_errors = errors;
	counter_set(&b->device.shared->counters[BALLOON_TARGET], b->target);
	counter_set(&b->device.shared->counters[BALLOON_ACTUAL], actual_bytes(b));
}

static void balloon_kick(struct device *d, unsigned q)
{
	static void (*const handlers[])(struct balloon *b, struct chain *c) = {
		[INFLATE] = inflate, [DEFLATE] = deflate, [STATS] = stats_read,
		[HINT] = hint,	     [REPORT] = report,
	};
	struct balloon *b = balloon_of(d);
	const uint64_t calls_end = b->discard.counters.calls + CALLS_A_TURN;
	const unsigned role = queue_role(d, q);
	unsigned chains = 0;
	struct chain c;

	if (role == ROLES) {
		vq_break(&d->queues[q], "a queue without its feature");
		return;
	}
	for (; !turn_is_over(b, chains, calls_end) && vq_pop(&d->queues[q], &c); chains++) {
		handlers[role](b, &c);
		if (role == STATS)
			stats_hold(b, &d->queues[q], &c);
		else
			vq_push(&d->queues[q], &c);
	}
	balloon_count(b);
	vq_notify(&d->queues[q]);
	if (!turn_is_over(b, chains, calls_end))
		return;
	b->unfinished |= 1u << q;
	timer_set(&b->turn, 1, 0);
}

static void balloon_turn(struct timer *t)
{
	struct balloon *b = container_of(t, struct balloon, turn);
	const uint32_t queues = b->unfinished;

	b->unfinished = 0;
	for (unsigned q = 0; q < b->device.nqueues; q++)
		if (queues >> q & 1)
			balloon_kick(&b->device, q);
}

/* ---- configuration space ---- */

static uint32_t target_pages(const struct balloon *b)
{
	return (uint32_t)min_u64(b->target >> VIRTIO_BALLOON_PFN_SHIFT, UINT32_MAX);
}

static void balloon_config(struct device *d, void *out)
{
	const struct balloon *b = balloon_of(d);
	const struct balloon_config c = {
		.num_pages = le32_of(target_pages(b)),
		.actual = le32_of(b->actual),
		.hint_id = le32_of(b->hint_id),
		.poison = le32_of(b->poison),
	};

	memcpy(out, &c, sizeof(c));
}

static void balloon_config_set(struct device *d, size_t at, const void *in, size_t n)
{
	struct balloon *b = balloon_of(d);
	le32 value;

	if (n == sizeof(value))
		memcpy(&value, in, n);
	if (n == sizeof(value) && at == offsetof(struct balloon_config, actual))
		b->actual = le32_get(value);
	else if (n == sizeof(value) && at == offsetof(struct balloon_config, poison))
		b->poison = le32_get(value);
	else
		b->bad_requests++;
	balloon_count(b);
}

/* ---- commands ---- */

struct target {
	uint64_t bytes;
};

/* Frame numbers have 32 bits. */
#define TARGET_MAX ((uint64_t)UINT32_MAX << VIRTIO_BALLOON_PFN_SHIFT)

static const struct opt target_opts[] = {
	OPT_SIZE(struct target, bytes, 0, TARGET_MAX, "How much memory the balloon is to hold"),
	OPT_END
};

static const struct opt no_opts[] = {OPT_END};

static int command_target(struct device *d, void *arguments, struct json *reply UNUSED,
			  struct err *e UNUSED)
{
	struct balloon *b = balloon_of(d);

	b->target = ((const struct target *)arguments)->bytes;
	b->target_is_news = !d->started;
	device_config_changed(d);
	balloon_count(b);
	return 0;
}

static const char *const stat_names[STATS_MAX] = {
	[VIRTIO_BALLOON_S_SWAP_IN] = "swap_in_bytes",
	[VIRTIO_BALLOON_S_SWAP_OUT] = "swap_out_bytes",
	[VIRTIO_BALLOON_S_MAJFLT] = "major_faults",
	[VIRTIO_BALLOON_S_MINFLT] = "minor_faults",
	[VIRTIO_BALLOON_S_MEMFREE] = "free_bytes",
	[VIRTIO_BALLOON_S_MEMTOT] = "total_bytes",
	[VIRTIO_BALLOON_S_AVAIL] = "available_bytes",
	[VIRTIO_BALLOON_S_CACHES] = "cache_bytes",
	[VIRTIO_BALLOON_S_HTLB_PGALLOC] = "hugetlb_allocations",
	[VIRTIO_BALLOON_S_HTLB_PGFAIL] = "hugetlb_failures",
	/* from Linux 6.11 on */
	[10] = "oom_kills",
	[11] = "allocation_stalls",
	[12] = "async_scans",
	[13] = "direct_scans",
	[14] = "async_reclaims",
	[15] = "direct_reclaims",
};

static void stats_tell(const struct balloon *b, struct json *reply)
{
	json_number(reply, "age_ms", (clock_ns() - b->stats_ns) / 1000000);
	json_open(reply, "stats", '{');
	for (unsigned i = 0; i < STATS_MAX; i++)
		if (b->stats_known >> i & 1)
			json_number(reply, stat_names[i], b->stat[i]);
	json_close(reply, '}');
}

static int command_stats(struct device *d, void *arguments UNUSED, struct json *reply,
			 struct err *e)
{
	struct balloon *b = balloon_of(d);

	if (!d->started)
		return err_say(e, EAGAIN, "the guest has no driver for its balloon, or not yet");
	if (!has_role(d, STATS))
		return err_say(e, ENOTSUP, "the guest's driver gives no statistics");
	if (b->stats_ns > 0)
		stats_tell(b, reply);
	stats_ask(b, stats_queue(d));
	return 0;
}

static int command_hint(struct device *d, void *arguments UNUSED, struct json *reply UNUSED,
			struct err *e)
{
	struct balloon *b = balloon_of(d);

	if (!d->started)
		return err_say(e, EAGAIN, "the guest has no driver for its balloon, or not yet");
	if (!has_role(d, HINT))
		return err_say(e, ENOTSUP, "the guest's driver gives no hints");
	b->hint_begun = false;
	b->hint_id = b->hint_id == UINT32_MAX ? HINT_ID_FIRST : b->hint_id + 1;
	device_config_changed(d);
	return 0;
}

static const struct device_command balloon_commands[] = {
	{"target", target_opts, command_target, "Sets how much memory the balloon is to hold"},
	{"stats", no_opts, command_stats,
	 "Tells the guest's last statistics, and asks for new ones"},
	{"hint", no_opts, command_hint, "Asks the guest how much memory it could do without"},
	{.name = NULL},
};

static const struct counter balloon_counters[] = {
	DEVICE_COUNTER(BALLOON_TARGET) = {"target_bytes", COUNTER_LEVEL_BYTES,
					  "What the balloon is to hold"},
	DEVICE_COUNTER(BALLOON_ACTUAL) = {"actual_bytes", COUNTER_LEVEL_BYTES,
					  "What the guest says that it holds"},
	DEVICE_COUNTER(BALLOON_INFLATED) = {"inflated_pages", COUNTER_EVENTS,
					    "Pages that the guest gave into it"},
	DEVICE_COUNTER(BALLOON_DEFLATED) = {"deflated_pages", COUNTER_EVENTS,
					    "Pages that the guest took back"},
	DEVICE_COUNTER(BALLOON_REPORTED) = {"reported_bytes", COUNTER_BYTES,
					    "Free memory that the guest reported by itself"},
	DEVICE_COUNTER(BALLOON_DISCARDED) = {"discarded_bytes", COUNTER_BYTES,
					     "Memory that the host was given back"},
	DEVICE_COUNTER(BALLOON_COUNTERS_END) = {.name = NULL},
};

static void balloon_status(struct device *d, struct json *reply)
{
	const struct balloon *b = balloon_of(d);
	const struct discard_counters *n = &b->discard.counters;

	json_number(reply, "hinted_bytes", b->hinted_bytes);
	json_bool(reply, "hinting", b->hint_id >= HINT_ID_FIRST);
	json_number(reply, "discard_calls", n->calls);
	json_number(reply, "failed_calls", n->failed);
	json_number(reply, "bad_frames", n->bad);
	json_number(reply, "repeated_frames", n->repeated);
	json_number(reply, "bad_requests", b->bad_requests);
}

/* ---- life ---- */

static int balloon_start(struct device *d, struct err *e)
{
	struct balloon *b = balloon_of(d);
	const bool tells = d->acked & VIRTIO_BIT(VIRTIO_BALLOON_F_MUST_TELL_HOST);
	int r = discard_start(&b->discard, d->gmem, tells);

	if (r < 0)
		return err_set(e, -r, "no memory to keep account of huge pages");
	if (b->target_is_news)
		device_config_changed(d);
	b->target_is_news = false;
	balloon_count(b);
	return 0;
}

static void balloon_stop(struct device *d)
{
	struct balloon *b = balloon_of(d);

	discard_stop(&b->discard);
	b->holds_stats = false;
	b->unfinished = 0;
}

/* The host's wish stays; what the driver said is forgotten. */
static void balloon_reset(struct device *d)
{
	struct balloon *b = balloon_of(d);

	b->actual = b->poison = 0;
	b->hint_id = VIRTIO_BALLOON_CMD_ID_DONE;
	b->hint_begun = false;
	b->stats_ns = 0;
	balloon_count(b);
}

static void balloon_defaults(struct device *d)
{
	struct balloon *b = balloon_of(d);

	b->deflate_on_oom = b->reporting = b->hinting = b->stats = true;
}

static int balloon_open(struct device *d, struct err *e)
{
	struct balloon *b = balloon_of(d);
	int failed = timer_init(&b->turn, d->loop, balloon_turn);

	if (!b->deflate_on_oom)
		d->features &= ~VIRTIO_BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
	if (!b->reporting)
		d->features &= ~role_features[REPORT];
	if (!b->hinting)
		d->features &= ~role_features[HINT];
	if (!b->stats)
		d->features &= ~role_features[STATS];
	b->hint_id = VIRTIO_BALLOON_CMD_ID_DONE;
	return failed < 0 ? err_set(e, -failed, "cannot make a timer") : 0;
}

static void balloon_close(struct device *d)
{
	timer_fini(&balloon_of(d)->turn, d->loop);
}

static const char *const policies[] = {"auto", "chromeos", "psi", "off", NULL};

static const struct opt balloon_opts[] = {
	OPT_CHOICE(struct balloon, policy, policies, "Who tells that the host is short of memory"),
	OPT_SIZE(struct balloon, margin, 4096, UINT64_MAX,
		 "With psi: the host is short below so much available memory"),
	OPT_SIZE(struct balloon, max, 4096, UINT64_MAX, "The most that the guest gives back"),
	OPT_NUMBER(struct balloon, speed, 1, 1000, "For tests: the policy's clock goes so fast"),
	OPT_FLAG(struct balloon, deflate_on_oom,
		 "The guest takes memory back rather than kill; on unless off is said"),
	OPT_FLAG(struct balloon, reporting,
		 "The guest reports free memory by itself; on unless off is said"),
	OPT_FLAG(struct balloon, hinting,
		 "The guest can be asked for its free memory; on unless off is said"),
	OPT_FLAG(struct balloon, stats,
		 "The guest can be asked for statistics; on unless off is said"),
	OPT_END
};

static const struct call balloon_calls[] = {
	CALL_ARG(fallocate, 1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE),
	CALL(fstatfs),
	CALL(timerfd_settime),
	CALL_IF2(mmap, 2, CALL_TEST_IN, PROT_READ | PROT_WRITE, 3, CALL_TEST_EQ,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE),
	CALL_END
};

const struct device_type balloon_type = {
	.name = "balloon",
	.summary = "Memory that the guest gives back",
	.virtio_id = VIRTIO_ID_BALLOON,
	.nqueues = ROLES,
	.features = VIRTIO_BIT(VIRTIO_BALLOON_F_MUST_TELL_HOST) |
		    VIRTIO_BIT(VIRTIO_BALLOON_F_STATS_VQ) |
		    VIRTIO_BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) |
		    VIRTIO_BIT(VIRTIO_BALLOON_F_FREE_PAGE_HINT) |
		    VIRTIO_BIT(VIRTIO_BALLOON_F_PAGE_POISON) |
		    VIRTIO_BIT(VIRTIO_BALLOON_F_REPORTING),
	.size = sizeof(struct balloon),
	.config_size = sizeof(struct balloon_config),
	.opts = balloon_opts,
	.calls = balloon_calls,
	.commands = balloon_commands,
	.counters = balloon_counters,
	.defaults = balloon_defaults,
	.open = balloon_open,
	.start = balloon_start,
	.kick = balloon_kick,
	.stop = balloon_stop,
	.reset = balloon_reset,
	.close = balloon_close,
	.config = balloon_config,
	.config_set = balloon_config_set,
	.status = balloon_status,
};
