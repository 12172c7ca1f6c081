/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_crash_test.c - what a power cut leaves: at worst leaked clusters
 *
 * An engine and wrappers of system calls (--wrap) log every write and sync of the library.  States
 * that a disk could be in after a cut are made of that log: all that a completed sync covers, and
 * of the rest any part, in any order that concurrent requests allow, sectors of a write one by one.
 * Each state has to be free of faults (leaks are allowed), and each sector of the disk has to hold
 * what it held at the last flush, or one of the things that were written to it since.
 *
 * QCOW2_TEST_CUTS says how many states (default some thousands), QCOW2_TEST_SEED which.
 */
#include "backend/qcow2_rig_test.h"
#include "backend/qcow2_walk_test.h"

#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	MIB = 1 << 20,
	ROUNDS = 16,
	REQUESTS = 60, /* a round */
	ENTRIES_MAX = 1 << 16,
	DATA_MAX = 64 * MIB,
	NODES_MAX = 1 << 19,
	FILE_MAX = 48 * MIB,
	NEVER = UINT32_MAX,
};

static const struct kind {
	const char *create;
	uint64_t bytes;
	bool has_snapshot, is_compressed;
	uint64_t cache_bytes;
} kinds[] = {
	{"cluster_size=512,refcount_bits=1", MIB, false, false, 64 * 1024},
	{"cluster_size=512,refcount_bits=16", MIB, true, false, 64 * 1024},
	{"cluster_size=1024,refcount_bits=2", MIB, false, true, 64 * 1024},
	{"cluster_size=4096,compat=0.10", 2 * MIB, false, false, 64 * 1024},
	{"cluster_size=4096,refcount_bits=64", 2 * MIB, true, true, 0},
	{"cluster_size=65536", 4 * MIB, false, false, 0},
	{"cluster_size=65536,lazy_refcounts=on", 4 * MIB, true, false, 0},
};

/* ---- the log ---- */

struct entry {
	uint64_t at, n;
	const uint8_t *data; /* NULL: zeroes; with n 0: the file is at bytes long, or longer */
	uint32_t covers;     /* sync: entries before this one are on the disk */
	bool is_sync, durable;
};

static struct entry entries[ENTRIES_MAX];
static uint32_t nentries;
static uint8_t *data;
static size_t data_used;
static struct model *generator; /* of random numbers */
static bool is_logging;

static void log_reset(void)
{
	nentries = 0;
	data_used = 0;
}

static struct entry *log_entry(void)
{
	assert_true(nentries < ENTRIES_MAX);
	entries[nentries] = (struct entry){.at = 0};
	return &entries[nentries++];
}

static void log_write(const struct iovec *v, int niov, uint64_t offset, uint64_t n, bool durable)
{
	struct iov_at at = {.v = v, .n = (unsigned)niov};
	struct entry *e;

	if (!is_logging)
		return;
	e = log_entry();
	assert_true(data_used + n <= DATA_MAX);
	e->at = offset;
	e->n = n;
	e->data = data + data_used;
	e->durable = durable;
	iov_at_gather(&at, data + data_used, n);
	data_used += n;
}

static void log_sync(uint32_t covers)
{
	struct entry *e;

	if (!is_logging)
		return;
	e = log_entry();
	e->is_sync = true;
	e->covers = covers;
}

static void log_allocate(int mode, uint64_t offset, uint64_t n)
{
	struct entry *e;

	if (is_logging && (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))) {
		e = log_entry();
		e->at = offset;
		e->n = n;
	}
	if (is_logging && (mode & FALLOC_FL_KEEP_SIZE) == 0)
		log_entry()->at = offset + n;
}

/* ---- system calls: all that write ---- */

ssize_t __real_pwritev64(int fd, const struct iovec *v, int n, off_t offset);
ssize_t __wrap_pwritev64(int fd, const struct iovec *v, int n, off_t offset);
ssize_t __real_pwritev64v2(int fd, const struct iovec *v, int n, off_t offset, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *v, int n, off_t offset, int flags);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t n, off_t offset);
int __real_fallocate64(int fd, int mode, off_t offset, off_t n);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t n);
int __real_ftruncate64(int fd, off_t n);
int __wrap_ftruncate64(int fd, off_t n);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_fsync(int fd);

ssize_t __wrap_pwritev64(int fd, const struct iovec *v, int n, off_t offset)
{
	ssize_t moved = __real_pwritev64(fd, v, n, offset);

	if (moved > 0)
		log_write(v, n, (uint64_t)offset, (uint64_t)moved, false);
	return moved;
}

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *v, int n, off_t offset, int flags)
{
	ssize_t moved = __real_pwritev64v2(fd, v, n, offset, flags);

	if (moved > 0)
		log_write(v, n, (uint64_t)offset, (uint64_t)moved, flags & (RWF_SYNC | RWF_DSYNC));
	return moved;
}

ssize_t __wrap_pwrite64(int fd, const void *buf, size_t n, off_t offset)
{
	struct iovec v = {.iov_base = (void *)(uintptr_t)buf, .iov_len = n};

	return __wrap_pwritev64(fd, &v, 1, offset);
}

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t n)
{
	int r = __real_fallocate64(fd, mode, offset, n);

	if (r == 0)
		log_allocate(mode, (uint64_t)offset, (uint64_t)n);
	return r;
}

int __wrap_ftruncate64(int fd, off_t n)
{
	int r = __real_ftruncate64(fd, n);

	if (r == 0 && is_logging)
		log_entry()->at = (uint64_t)n;
	return r;
}

int __wrap_fdatasync(int fd)
{
	(void)fd; /* costs time, and nobody cuts our power */
	log_sync(nentries);
	return 0;
}

int __wrap_fsync(int fd)
{
	return __wrap_fdatasync(fd);
}

/* ---- the engine: one request at a time, in any order, in parts ---- */

static struct aio_req *queued[AIO_DEPTH_MAX];
static uint32_t queued_at[AIO_DEPTH_MAX]; /* entries of the log when it was queued */
static unsigned nqueued;

static int engine_nothing(struct aio *a, struct err *e)
{
	(void)a;
	(void)e;
	nqueued = 0;
	return 0;
}

static void engine_started(struct aio *a)
{
	a->queued = 0;
}

static void engine_queue(struct aio *a, struct aio_req *r)
{
	(void)a;
	queued[nqueued] = r;
	queued_at[nqueued++] = nentries;
}

static int64_t perform_write(int fd, const struct aio_req *r)
{
	struct iovec part;
	ssize_t n;

	if (model_random(generator, 40) == 0 && r->iov[0].iov_len > 2 * SECTOR) {
		part = iov_of(r->iov[0].iov_base, r->iov[0].iov_len / 2 & ~511u);
		n = __real_pwritev64(fd, &part, 1, (off_t)r->offset);
	} else {
		n = __real_pwritev64(fd, r->iov, (int)r->niov, (off_t)r->offset);
	}
	if (n > 0)
		log_write(r->iov, (int)r->niov, r->offset, (uint64_t)n, r->durable);
	return n < 0 ? -errno : n;
}

static int64_t perform_allocate(int fd, const struct aio_req *r)
{
	if (__wrap_fallocate64(fd, r->mode, (off_t)r->offset, (off_t)r->length) < 0)
		return -errno;
	return 0;
}

static int64_t perform(const struct aio *a, const struct aio_req *r, uint32_t covers)
{
	int fd = a->files[r->file];
	ssize_t n;

	switch (r->op) {
	case AIO_READ:
		n = preadv(fd, r->iov, (int)r->niov, (off_t)r->offset);
		return n < 0 ? -errno : n;
	case AIO_WRITE:
		return perform_write(fd, r);
	case AIO_SYNC:
		log_sync(covers);
		return 0;
	case AIO_ALLOCATE:
		return perform_allocate(fd, r);
	}
	return -EINVAL;
}

static void engine_reap(struct aio *a)
{
	unsigned i = nqueued > 0 ? (unsigned)model_random(generator, nqueued) : 0;
	struct aio_req *r = queued[i];
	uint32_t covers = queued_at[i];

	if (nqueued == 0)
		return;
	nqueued--;
	queued[i] = queued[nqueued];
	queued_at[i] = queued_at[nqueued];
	if (model_random(generator, 100) == 0)
		aio_done(a, r, -EINTR);
	else
		aio_done(a, r, perform(a, r, covers));
}

static const struct aio_engine logging_engine = {
	.name = "log",
	.init = engine_nothing,
	.enable = engine_nothing,
	.fini = engine_started,
	.queue = engine_queue,
	.start = engine_started,
	.reap = engine_reap,
	.wait = engine_started,
};

/* ---- what each sector may hold ---- */

static struct node {
	uint32_t version, durable_at; /* log entries by when it is on the disk for certain */
	uint32_t older;		      /* index + 1 */
} nodes[NODES_MAX];

static uint32_t nnodes, *newest;

static void past_add(uint64_t sector, uint32_t version, uint32_t durable_at)
{
	assert_true(nnodes < NODES_MAX);
	nodes[nnodes] = (struct node){version, durable_at, newest[sector]};
	newest[sector] = ++nnodes;
}

/* At a flush: only what is there now. */
static void past_reset(const struct model *m)
{
	nnodes = 0;
	for (uint64_t s = 0; s < m->sectors; s++) {
		newest[s] = 0;
		past_add(s, m->version[s], 0);
	}
}

static void change_started(struct model *m, const struct image_req *r, uint32_t version)
{
	(void)m;
	for (uint64_t s = r->offset / SECTOR; s < (r->offset + r->length) / SECTOR; s++)
		past_add(s, version, NEVER);
}

static void change_finished(struct model *m, const struct image_req *r, uint32_t version)
{
	(void)m;
	for (uint64_t s = r->offset / SECTOR; s < (r->offset + r->length) / SECTOR; s++)
		for (uint32_t i = newest[s]; i > 0 && r->durable; i = nodes[i - 1].older)
			if (nodes[i - 1].version == version && nodes[i - 1].durable_at == NEVER)
				nodes[i - 1].durable_at = nentries;
}

static bool is_allowed(uint64_t sector, uint32_t version, uint32_t cut)
{
	for (uint32_t i = newest[sector]; i > 0; i = nodes[i - 1].older) {
		if (nodes[i - 1].version == version)
			return true;
		if (nodes[i - 1].durable_at <= cut)
			return false;
	}
	return false;
}

/* ---- cuts ---- */

/* The file at the last flush, and the state under test. */
static uint8_t *stable, *state;
static uint64_t stable_bytes, state_bytes;

static void apply_range(const struct entry *e, uint64_t from, uint64_t n)
{
	assert_true(e->at + from + n <= FILE_MAX);
	if (e->n == 0)
		state_bytes = max_u64(state_bytes, e->at);
	else if (e->data)
		memcpy(state + e->at + from, e->data + from, n);
	else if (e->at + from < state_bytes)
		memset(state + e->at + from, 0, min_u64(n, state_bytes - e->at - from));
	if (e->data)
		state_bytes = max_u64(state_bytes, e->at + from + n);
}

/* Any of its sectors. */
static void apply_torn(const struct entry *e)
{
	for (uint64_t at = 0, n; at < e->n; at += n) {
		n = min_u64(e->n - at, SECTOR - (e->at + at) % SECTOR);
		if (model_random(generator, 2))
			apply_range(e, at, n);
	}
}

enum loss { LOSE_ALL, LOSE_NONE, LOSE_SOME, LOSE_MOST, LOSE_FEW, LOSE_ONE, LOSSES };

static bool is_lost(enum loss loss, uint32_t i, uint32_t chosen)
{
	switch (loss) {
	case LOSE_ALL:
		return true;
	case LOSE_SOME:
		return model_random(generator, 2);
	case LOSE_MOST:
		return model_random(generator, 8);
	case LOSE_FEW:
		return model_random(generator, 8) == 0;
	case LOSE_ONE:
		return i == chosen;
	case LOSE_NONE:
	case LOSSES:
		break;
	}
	return false;
}

static void make_state(uint32_t cut, enum loss loss)
{
	uint32_t synced = 0, chosen;

	for (uint32_t i = 0; i < cut; i++)
		if (entries[i].is_sync)
			synced = entries[i].covers > synced ? entries[i].covers : synced;
	memcpy(state, stable, max_u64(stable_bytes, state_bytes));
	state_bytes = stable_bytes;
	chosen = synced + (uint32_t)model_random(generator, cut - synced + 1);
	for (uint32_t i = 0; i < cut; i++) {
		const struct entry *e = &entries[i];

		if (e->is_sync)
			continue;
		if (i < synced || e->durable || !is_lost(loss, i, chosen))
			apply_range(e, 0, e->n);
		else if (model_random(generator, 6) == 0)
			apply_torn(e);
	}
}

static void save_state(const char *name)
{
	FILE *f = fopen(name, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(state, state_bytes, 1, f), 1);
	assert_int_equal(fclose(f), 0);
}

static void check_state(const struct model *m, uint32_t cut, enum loss loss)
{
	static const uint8_t zeroes[SECTOR];
	struct walk w;
	bool is_sane = walk_open(&w, state, state_bytes);

	if (is_sane)
		walk_check(&w);
	if (!is_sane || w.faults > 0) {
		save_state("cut");
		fail_msg("cut at %u of %u, loss %d: %llu faults: %s", cut, nentries, (int)loss,
			 (unsigned long long)w.faults, w.first);
	}
	for (uint64_t s = 0; s < m->sectors; s++) {
		const uint8_t *p = walk_sector(&w, s);
		uint32_t version = sector_version(p ? p : zeroes, s);

		if (!is_allowed(s, version, cut))
			fail_msg("cut at %u of %u, loss %d: sector %llu is of version %u, not %u",
				 cut, nentries, (int)loss, (unsigned long long)s, version,
				 m->version[s]);
	}
}

/* QEMU and the library itself have to make do with the state, too. */
static void reopen_state(void)
{
	const struct rig_options o = {.writable = true};
	struct rig rig;
	int code;

	is_logging = false;
	save_state("cut");
	code = rig_try("qemu-img check cut");
	if (code != 0 && code != 3)
		fail_msg("qemu-img check: %d: %s", code, rig_said);
	rig_open(&rig, "cut", &o);
	rig_close(&rig);
	code = rig_try("qemu-img check cut");
	if (code != 0 && code != 3)
		fail_msg("qemu-img check after opening: %d: %s", code, rig_said);
	is_logging = true;
}

static void cut_often(const struct model *m, unsigned cuts)
{
	for (unsigned i = 0; i < cuts; i++) {
		uint32_t cut = (uint32_t)model_random(generator, nentries + 1);
		enum loss loss = (enum loss)(i % LOSSES);

		make_state(cut, loss);
		check_state(m, cut, loss);
		if (model_random(generator, 300) == 0)
			reopen_state();
	}
}

static void read_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	assert_true(fd >= 0);
	memset(stable, 0, FILE_MAX);
	n = pread(fd, stable, FILE_MAX, 0);
	assert_true(n > 0 && n < FILE_MAX);
	stable_bytes = (uint64_t)n;
	close(fd);
}

/* ---- ---- */

static void make(const struct kind *k, struct model *m)
{
	raw_make("base", k->bytes, true);
	if (k->is_compressed) {
		rig_tool("qemu-img convert -c -f raw -O qcow2 -o %s base image", k->create);
	} else {
		rig_tool("qemu-img convert -f raw -O qcow2 -o %s base image", k->create);
	}
	model_of_raw(m, true);
	if (k->has_snapshot)
		rig_tool("qemu-img snapshot -c before image");
}

static void cut_kind(const struct kind *k, uint64_t seed, unsigned cuts)
{
	const struct rig_options o = {
		.writable = true, .engine = &logging_engine, .cache_bytes = k->cache_bytes};
	struct model m, dice;
	struct rig rig;

	rig_enter(false);
	model_init(&m, k->bytes, seed);
	model_init(&dice, SECTOR, seed + 1000);
	generator = &dice;
	m.max = 64 * 1024;
	m.writes = 90;
	m.started = change_started;
	m.finished = change_finished;
	make(k, &m);
	is_logging = true;
	rig_open(&rig, "image", &o);
	for (unsigned i = 0; i < ROUNDS; i++) {
		read_file("image");
		log_reset();
		past_reset(&m);
		model_run(&m, &rig, REQUESTS);
		cut_often(&m, cuts / ROUNDS);
		assert_int_equal(rig_run(&rig, (struct image_req){.op = IMAGE_SYNC}), 0);
		make_state(nentries, LOSE_ALL);
		past_reset(&m);
		check_state(&m, nentries, LOSE_ALL);
	}
	model_check(&m, &rig);
	is_logging = false;
	rig_close(&rig);
	rig_tool("qemu-img check -q image");
	model_fini(&m);
	model_fini(&dice);
	rig_leave();
}

static unsigned from_environment(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);

	return text ? (unsigned)strtoul(text, NULL, 0) : otherwise;
}

static void no_cut_leaves_more_than_leaks(void **test_state)
{
	unsigned seed = from_environment("QCOW2_TEST_SEED", 1);
	unsigned cuts = from_environment("QCOW2_TEST_CUTS", 2800) / ARRAY_LEN(kinds);

	(void)test_state;
	RIG_NEEDS_TOOLS();
	data = malloc(DATA_MAX);
	stable = malloc(FILE_MAX);
	state = calloc(1, FILE_MAX);
	newest = calloc(4 * MIB / SECTOR, sizeof(*newest));
	assert_true(data && stable && state && newest);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		print_message("# %s, seed %u\n", kinds[i].create, seed);
		cut_kind(&kinds[i], seed + (unsigned)i, cuts);
	}
	free(data);
	free(stable);
	free(state);
	free(newest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_cut_leaves_more_than_leaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
