/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block_load_test.c - the disk's process is killed again and again under verified load
 *
 * BLOCK_TEST_KILLS says how often (default 50).
 */
#include "devices/block_fixture.h"

enum { LOAD_DEPTH = 16, LOAD_BYTES = 4096, LOAD_BLOCKS = DISK / LOAD_BYTES };

/*
 * Verified load: each block carries its number and version; a block has one request at a time.
 * What a flush that was answered came after must be on the disk, whatever dies.
 */
struct load {
	struct io calls[LOAD_DEPTH];
	int id[LOAD_DEPTH]; /* -1: idle */
	uint32_t block[LOAD_DEPTH], type[LOAD_DEPTH];
	uint32_t version[LOAD_BLOCKS], busy[LOAD_BLOCKS];
	uint64_t x, done;
};

static void load_fill(uint8_t *p, uint32_t block, uint32_t version)
{
	for (uint32_t i = 0; i < LOAD_BYTES; i += 8) {
		uint32_t word[2] = {block * 31 + i, version};

		memcpy(p + i, word, 8);
	}
}

static void load_check(const uint8_t *p, uint32_t block, uint32_t version)
{
	uint8_t expected[LOAD_BYTES];

	load_fill(expected, block, version);
	if (memcmp(p, expected, LOAD_BYTES) != 0)
		fail_msg("block %u is not of version %u", block, version);
}

static uint32_t load_random(struct load *l, uint32_t below)
{
	l->x = l->x * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(l->x >> 33) % below;
}

static void load_init(struct load *l)
{
	static uint8_t block[LOAD_BYTES];

	memset(l, 0, sizeof(*l));
	l->x = 42;
	for (unsigned i = 0; i < LOAD_DEPTH; i++) {
		l->calls[i] = call_new(0, 0, LOAD_BYTES);
		l->id[i] = -1;
	}
	for (uint32_t b = 0; b < LOAD_BLOCKS; b++) {
		load_fill(block, b, 0);
		assert_int_equal(pwrite(disk, block, LOAD_BYTES, (off_t)b * LOAD_BYTES),
				 LOAD_BYTES);
	}
}

static void load_send(struct load *l, unsigned slot)
{
	const struct io *c = &l->calls[slot];
	uint32_t kind = load_random(l, 16), block = load_random(l, LOAD_BLOCKS);
	struct virtio_blk_outhdr header = {.sector = (uint64_t)block * (LOAD_BYTES / SECTOR)};
	struct driver_buf b[3];
	unsigned n;

	while (l->busy[block])
		block = (block + 1) % LOAD_BLOCKS;
	header.sector = (uint64_t)block * (LOAD_BYTES / SECTOR);
	header.type = kind == 0  ? VIRTIO_BLK_T_FLUSH
		      : kind < 8 ? VIRTIO_BLK_T_IN
				 : VIRTIO_BLK_T_OUT;
	memcpy(driver_at(&h.d, c->header, 16), &header, 16);
	*(uint8_t *)driver_at(&h.d, c->status, 1) = NO_STATUS;
	if (header.type == VIRTIO_BLK_T_OUT)
		load_fill(data_of(c), block, ++l->version[block]);
	else
		memset(data_of(c), 0xee, LOAD_BYTES);
	n = call_bufs(c, header.type == VIRTIO_BLK_T_IN, b);
	if (header.type == VIRTIO_BLK_T_FLUSH)
		b[1] = b[--n];
	l->busy[block] = 1;
	l->block[slot] = block;
	l->type[slot] = header.type;
	l->id[slot] = driver_add(queue(), b, n);
	assert_true(l->id[slot] >= 0);
}

static void load_finish(struct load *l, uint16_t id)
{
	unsigned slot = 0;

	while (slot < LOAD_DEPTH && l->id[slot] != id)
		slot++;
	assert_true(slot < LOAD_DEPTH); /* completed once, and no other */
	assert_int_equal(status_of(&l->calls[slot]), VIRTIO_BLK_S_OK);
	if (l->type[slot] == VIRTIO_BLK_T_IN)
		load_check(data_of(&l->calls[slot]), l->block[slot], l->version[l->block[slot]]);
	l->busy[l->block[slot]] = 0;
	l->id[slot] = -1;
	l->done++;
}

static unsigned load_pending(const struct load *l)
{
	unsigned n = 0;

	for (unsigned i = 0; i < LOAD_DEPTH; i++)
		n += l->id[i] >= 0;
	return n;
}

static void load_run(struct load *l, unsigned requests)
{
	struct driver_used used;

	for (unsigned i = 0; i < requests; i++) {
		for (unsigned slot = 0; slot < LOAD_DEPTH; slot++)
			if (l->id[slot] < 0)
				load_send(l, slot);
		driver_kick(queue());
		assert_int_equal(driver_wait(queue(), WAIT_MS, &used), 0);
		load_finish(l, used.id);
	}
}

static void load_drain(struct load *l)
{
	static uint8_t back[LOAD_BYTES];
	struct driver_used used;

	while (load_pending(l) > 0) {
		assert_int_equal(driver_wait(queue(), WAIT_MS, &used), 0);
		load_finish(l, used.id);
	}
	for (uint32_t b = 0; b < LOAD_BLOCKS; b++) {
		assert_int_equal(pread(disk, back, LOAD_BYTES, (off_t)b * LOAD_BYTES), LOAD_BYTES);
		load_check(back, b, l->version[b]);
	}
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int by_value(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : 1;
}

static void kill_under_load(const char *options, bool packed, unsigned kills)
{
	static struct load load;
	struct driver_options o = {.nqueues = 1,
				   .queue_size = QUEUE_SIZE,
				   .packed = packed,
				   .inflight = true,
				   .features = ALL_FEATURES};
	double *stall = calloc(kills + 1, sizeof(*stall));

	assert_non_null(stall);
	start_with(options, HARNESS_PROCESS, &o);
	load_init(&load);
	for (unsigned i = 0; i < kills; i++) {
		load_run(&load, load_random(&load, 400));
		harness_kill(&h);
		stall[i] = seconds();
		harness_restart(&h);
		load_run(&load, 1);
		stall[i] = seconds() - stall[i];
	}
	load_run(&load, 100);
	load_drain(&load);
	qsort(stall, kills, sizeof(*stall), by_value);
	print_message("# %s, %s: %u kills, %llu requests, stall median %.1f ms, longest %.1f ms\n",
		      options, packed ? "packed" : "split", kills, (unsigned long long)load.done,
		      stall[kills / 2] * 1e3, stall[kills - 1] * 1e3);
	free(stall);
	stop(NULL);
}

static void test_killed_again_and_again_under_verified_load(void **state)
{
	const char *kills = getenv("BLOCK_TEST_KILLS");
	unsigned n = kills ? (unsigned)atoi(kills) : 50;

	(void)state;
	kill_under_load("aio=auto", false, n - n / 5 * 3);
	kill_under_load("aio=threads", false, n / 5);
	kill_under_load("aio=auto,direct", false, n / 5);
	kill_under_load("aio=auto", true, n / 5);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed_again_and_again_under_verified_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
