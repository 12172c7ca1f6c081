/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block_qcow2_test.c - the jailed disk on a qcow2 image: random requests against a model, and kill
 * -9 at random moments
 *
 * A killed process loses nothing that it has written to the page cache.  So after each kill, before
 * another process takes over, the file must be free of faults, and hold what completed requests
 * wrote; where a request was under way, the old or the new.
 *
 * BLOCK_TEST_KILLS says how often (default 50), QCOW2_TEST_REQUESTS how many requests without
 * kills.
 */
#include "backend/qcow2_rig_test.h"
#include "backend/qcow2_walk_test.h"
#include "base/fd.h"
#include "base/num.h"
#include "devices/harness_test.h"
#include "virtio/ids.h"

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	WAIT_MS = 60000,
	MIB = 1 << 20,
	DEPTH = 16,
	SECTORS_MAX = 128, /* of a read or write */
	RANGE_MAX = 2048,  /* sectors of a discard */
	CHECK_EVERY = 10, /* kills: qemu-img check */
};

static const struct kind {
	const char *create, *options;
	uint64_t bytes;
	bool packed;
} kinds[] = {
	{"cluster_size=65536", "format=qcow2", 16 * MIB, false},
	{"cluster_size=65536,lazy_refcounts=on", "format=qcow2,aio=threads", 16 * MIB, true},
	{"cluster_size=4096,refcount_bits=2", "format=qcow2,cache=64K", 8 * MIB, false},
	{"cluster_size=512", "format=qcow2,cache=64K", 2 * MIB, false},
	{"cluster_size=4096,compat=0.10", "format=qcow2,cache=64K,direct", 8 * MIB, false},
	{"cluster_size=2M", "format=qcow2", 48 * MIB, false},
};

struct slot {
	gpa header, data, status;
	int id; /* -1: idle */
	uint32_t type, version;
	uint64_t first, n; /* sectors */
};

static struct load {
	struct model m;
	struct slot slots[DEPTH];
	uint64_t done, leaks;
} load;

static struct harness h;

static struct driver_queue *queue(void)
{
	return &h.d.queues[0];
}

static bool is_range_type(uint32_t type)
{
	return type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES;
}

static void slots_init(void)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		struct slot *s = &load.slots[i];

		*s = (struct slot){.id = -1};
		s->header = driver_alloc(&h.d, 16, 16);
		s->data = driver_alloc(&h.d, SECTORS_MAX * SECTOR, 4096);
		s->status = driver_alloc(&h.d, 1, 1);
		assert_true(s->header && s->data && s->status);
	}
}

static uint8_t *data_of(const struct slot *s)
{
	return driver_at(&h.d, s->data, SECTORS_MAX * SECTOR);
}

static bool is_free(uint64_t first, uint64_t n)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		const struct slot *s = &load.slots[i];

		if (s->id >= 0 && first < s->first + s->n && s->first < first + n)
			return false;
	}
	return true;
}

static uint32_t pick_type(struct model *m)
{
	static const uint32_t types[] = {
		VIRTIO_BLK_T_IN,  VIRTIO_BLK_T_IN,  VIRTIO_BLK_T_IN,	  VIRTIO_BLK_T_IN,
		VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_OUT,	  VIRTIO_BLK_T_OUT,
		VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_OUT,	  VIRTIO_BLK_T_OUT,
		VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES,
		VIRTIO_BLK_T_FLUSH,
	};

	return types[model_random(m, ARRAY_LEN(types))];
}

static unsigned slot_bufs(const struct slot *s, struct driver_buf b[3])
{
	unsigned n = 0;
	uint32_t bytes = is_range_type(s->type) ? sizeof(struct virtio_blk_discard_write_zeroes)
						: (uint32_t)(s->n * SECTOR);

	b[n++] = (struct driver_buf){s->header, 16, false};
	if (bytes > 0)
		b[n++] = (struct driver_buf){s->data, bytes, s->type == VIRTIO_BLK_T_IN};
	b[n++] = (struct driver_buf){s->status, 1, true};
	return n;
}

static void slot_fill(struct slot *s)
{
	struct virtio_blk_discard_write_zeroes range = {
		.sector = s->first,
		.num_sectors = (uint32_t)s->n,
		.flags = s->type == VIRTIO_BLK_T_WRITE_ZEROES && s->first % 2};

	if (is_range_type(s->type))
		memcpy(data_of(s), &range, sizeof(range));
	else if (s->type == VIRTIO_BLK_T_IN)
		memset(data_of(s), 0xee, s->n * SECTOR);
	for (uint64_t i = 0; i < s->n && s->type == VIRTIO_BLK_T_OUT; i++)
		sector_fill(data_of(s) + i * SECTOR, s->first + i, s->version);
}

/* With direct I/O blocks may be of 4 KiB. */
static bool slot_send(struct slot *s, uint64_t unit)
{
	struct model *m = &load.m;
	struct virtio_blk_outhdr header = {.type = pick_type(m)};
	uint64_t max = is_range_type(header.type) ? RANGE_MAX : SECTORS_MAX;
	struct driver_buf b[3];

	s->type = header.type;
	s->n = round_up(1 + model_random(m, model_random(m, 3) ? 16 : max), unit);
	s->first = round_down(model_random(m, m->sectors - s->n + 1), unit);
	if (s->type == VIRTIO_BLK_T_FLUSH)
		s->first = s->n = 0;
	else if (!is_free(s->first, s->n))
		return false;
	s->version = s->type == VIRTIO_BLK_T_OUT ? ++m->last : 0;
	header.sector = is_range_type(s->type) ? 0 : s->first;
	memcpy(driver_at(&h.d, s->header, 16), &header, 16);
	*(uint8_t *)driver_at(&h.d, s->status, 1) = 0x7f;
	slot_fill(s);
	s->id = driver_add(queue(), b, slot_bufs(s, b));
	assert_true(s->id >= 0);
	return true;
}

static void check_read(const struct slot *s)
{
	for (uint64_t i = 0; i < s->n; i++)
		if (!sector_is(data_of(s) + i * SECTOR, s->first + i,
			       load.m.version[s->first + i]))
			fail_msg("sector %llu is of version %u instead of %u",
				 (unsigned long long)(s->first + i),
				 sector_version(data_of(s) + i * SECTOR, s->first + i),
				 load.m.version[s->first + i]);
}

/* Looks at the image, which may grow meanwhile; look_end() ends that. */
static void look(struct walk *w)
{
	auto_fd fd = open("image", O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *p;

	assert_int_equal(fstat(fd, &st), 0);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	assert_true(walk_open(w, p, (uint64_t)st.st_size));
}

static void look_end(struct walk *w)
{
	munmap((void *)(uintptr_t)w->p, w->bytes);
}

/* Which of both a discard has left; nothing else touches the sectors meanwhile. */
static void learn(const struct slot *s)
{
	static const uint8_t zeroes[SECTOR];
	struct walk w;

	look(&w);
	for (uint64_t i = s->first; i < s->first + s->n; i++) {
		const uint8_t *p = walk_sector(&w, i);
		uint32_t version = sector_version(p ? p : zeroes, i);

		assert_true(version == 0 || version == load.m.version[i]);
		load.m.version[i] = version;
	}
	look_end(&w);
}

static void slot_finish(uint16_t id)
{
	struct slot *s = load.slots;

	while (s < load.slots + DEPTH && s->id != id)
		s++;
	assert_true(s < load.slots + DEPTH); /* completed once, and no other */
	assert_int_equal(*(uint8_t *)driver_at(&h.d, s->status, 1), VIRTIO_BLK_S_OK);
	if (s->type == VIRTIO_BLK_T_IN)
		check_read(s);
	else if (s->type == VIRTIO_BLK_T_DISCARD)
		learn(s);
	for (uint64_t i = 0; i < s->n; i++)
		if (s->type == VIRTIO_BLK_T_OUT || s->type == VIRTIO_BLK_T_WRITE_ZEROES)
			load.m.version[s->first + i] = s->version;
	s->id = -1;
	load.done++;
}

static unsigned pending(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < DEPTH; i++)
		n += load.slots[i].id >= 0;
	return n;
}

static void wait_one(void)
{
	struct driver_used used;

	assert_int_equal(driver_wait(queue(), WAIT_MS, &used), 0);
	slot_finish(used.id);
	while (driver_poll(queue(), &used))
		slot_finish(used.id);
}

static void load_run(uint64_t requests, uint64_t unit)
{
	uint64_t end = load.done + requests;

	while (load.done < end) {
		for (unsigned i = 0; i < DEPTH; i++)
			for (unsigned tries = 0; load.slots[i].id < 0 && tries < 4; tries++)
				(void)slot_send(&load.slots[i], unit);
		driver_kick(queue());
		wait_one();
	}
}

/* Leaves requests under way, some of them for a while: the kill should come at any moment. */
static void load_leave(uint64_t unit)
{
	const struct timespec pause = {.tv_nsec = (long)model_random(&load.m, 400000)};

	for (unsigned i = 0; i < DEPTH; i++)
		if (load.slots[i].id < 0)
			(void)slot_send(&load.slots[i], unit);
	driver_kick(queue());
	nanosleep(&pause, NULL);
}

static void load_drain(void)
{
	while (pending() > 0)
		wait_one();
}

/* What the request that is under way there would make of the sector, or what is there. */
static bool is_allowed(uint64_t sector, uint32_t version)
{
	if (version == load.m.version[sector])
		return true;
	for (unsigned i = 0; i < DEPTH; i++) {
		const struct slot *s = &load.slots[i];

		if (s->id >= 0 && s->type != VIRTIO_BLK_T_IN && sector >= s->first &&
		    sector < s->first + s->n)
			return version == s->version;
	}
	return false;
}

/* The image as the dead process left it. */
static void check_remains(unsigned kill)
{
	static const uint8_t zeroes[SECTOR];
	struct walk w;
	int code;

	look(&w);
	walk_check(&w);
	if (w.faults > 0)
		fail_msg("after kill %u: %llu faults: %s", kill, (unsigned long long)w.faults,
			 w.first);
	load.leaks = max_u64(load.leaks, w.leaks);
	for (uint64_t i = 0; i < load.m.sectors; i++) {
		const uint8_t *p = walk_sector(&w, i);
		uint32_t version = sector_version(p ? p : zeroes, i);

		if (!is_allowed(i, version))
			fail_msg("after kill %u: sector %llu is of version %u, not %u", kill,
				 (unsigned long long)i, version, load.m.version[i]);
	}
	look_end(&w);
	if (kill % CHECK_EVERY != 0)
		return;
	code = rig_try("qemu-img check -U image");
	if (code != 0 && code != 3)
		fail_msg("after kill %u: qemu-img check: %d: %s", kill, code, rig_said);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

/* Sectors of a block, at most: direct I/O may want 4 KiB. */
static uint64_t unit_of(const struct kind *k)
{
	return strstr(k->options, "direct") ? 8 : 1;
}

static void start(const struct kind *k, enum harness_kind how)
{
	static char text[256];
	struct driver_options o = {
		.nqueues = 1,
		.queue_size = 64,
		.packed = k->packed,
		.inflight = true,
		.features = VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) | VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) |
			    VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES)};

	rig_enter(unit_of(k) > 1);
	rig_tool("qemu-img create -q -f qcow2 -o %s image %llu", k->create,
		 (unsigned long long)k->bytes);
	memset(&load, 0, sizeof(load));
	model_init(&load.m, k->bytes, from_environment("QCOW2_TEST_SEED", 1));
	snprintf(text, sizeof(text), "path=image,%s", k->options);
	harness_start(&h, "block", text, how, &o);
	slots_init();
}

static void stop(bool leaks_are_allowed)
{
	int code;

	load_drain();
	harness_stop(&h);
	code = rig_try("qemu-img check image");
	if (code != 0 && (code != 3 || !leaks_are_allowed))
		fail_msg("qemu-img check: %d: %s", code, rig_said);
	model_write_raw(&load.m, "model");
	rig_tool("qemu-img compare -q -f raw -F qcow2 model image");
	model_fini(&load.m);
	rig_leave();
}

static void random_requests_do_what_the_model_does(void **state)
{
	uint64_t n = from_environment("QCOW2_TEST_REQUESTS", 1500 * ARRAY_LEN(kinds));

	(void)state;
	RIG_NEEDS_TOOLS();
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		start(&kinds[i], i % 2 ? HARNESS_THREAD : HARNESS_PROCESS);
		load_run(n / ARRAY_LEN(kinds), unit_of(&kinds[i]));
		stop(false);
	}
}

static void kills_lose_nothing_and_leave_no_more_than_leaks(void **state)
{
	uint64_t all = from_environment("BLOCK_TEST_KILLS", 50), before = 0;

	(void)state;
	RIG_NEEDS_TOOLS();
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		unsigned kills = (unsigned)(all * (i + 1) / ARRAY_LEN(kinds) - before);

		before += kills;
		start(&kinds[i], HARNESS_PROCESS);
		for (unsigned kill = 0; kill < kills; kill++) {
			load_run(model_random(&load.m, 150), unit_of(&kinds[i]));
			load_leave(unit_of(&kinds[i]));
			harness_kill(&h);
			check_remains(kill);
			harness_restart(&h);
		}
		load_run(100, unit_of(&kinds[i]));
		print_message("# %s, %s: %u kills, %llu requests, at most %llu leaks\n",
			      kinds[i].create, kinds[i].options, kills,
			      (unsigned long long)load.done, (unsigned long long)load.leaks);
		stop(true);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_requests_do_what_the_model_does),
		cmocka_unit_test(kills_lose_nothing_and_leave_no_more_than_leaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
