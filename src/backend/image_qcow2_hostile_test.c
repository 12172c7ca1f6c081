/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_hostile_test.c - images that lie: refused in one line or with I/O errors, in bounded
 * time and memory, and never written where that would do harm
 *
 * A sound image with a snapshot and compressed data is damaged in one place for each row.
 */
#include "backend/image_qcow2_state.h"
#include "backend/qcow2_rig_test.h"

#include "base/fd.h"
#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	MIB = 1 << 20,
	BYTES = 2 * MIB,
	CLUSTER = 4096,
	ROOM = 8 * MIB,
	SECONDS_MAX = 10, /* for each image, under sanitizers and load */
	RSS_MAX_KIB = 400 * 1024,
};

/* Where the damage is, counted from. */
enum place { HEADER, L1, L2, LAST_L2, TABLE, BLOCK, SNAPSHOTS, SNAPSHOT_L1 };

/* What may come of it: at open, or when all of the disk is read, or written, too. */
enum outcome {
	REFUSED,	/* with these words */
	REFUSED_RW,	/* when it is to be written; may be read */
	READ_FAILS,	/* somewhere: an I/O error */
	WRITE_FAILS,	/* as above; reading may fail or not */
	ANYTHING,	/* but a crash, a hang, or a file out of bounds */
};

static const struct row {
	const char *name;
	enum place place;
	uint32_t at;
	unsigned bytes;
	uint64_t value;
	enum outcome outcome;
	const char *words;
} rows[] = {
	{"magic", HEADER, 0, 4, 0x514649fa, REFUSED, "not a qcow2 image"},
	{"version 1", HEADER, 4, 4, 1, REFUSED, "version 1"},
	{"version 4", HEADER, 4, 4, 4, REFUSED, "version 4"},
	{"version of all ones", HEADER, 4, 4, UINT32_MAX, REFUSED, "version"},
	{"backing name at the end", HEADER, 8, 8, UINT64_MAX, REFUSED, "backing"},
	{"backing name in the header", HEADER, 8, 8, 8, REFUSED, "backing"},
	{"backing name without bytes", HEADER, 8, 8, 600, REFUSED, "backing"},
	{"clusters of 256 bytes", HEADER, 20, 4, 8, REFUSED, "cluster_bits"},
	{"clusters of 4 MiB", HEADER, 20, 4, 22, REFUSED, "cluster_bits"},
	{"clusters of 2^64 bytes", HEADER, 20, 4, 64, REFUSED, "cluster_bits"},
	{"no clusters", HEADER, 20, 4, 0, REFUSED, "cluster_bits"},
	{"clusters of 2 MiB", HEADER, 20, 4, 21, REFUSED, "header: "},
	{"disk of 2^63 bytes", HEADER, 24, 8, 1ull << 63, REFUSED, "header: "},
	{"disk of 2^64 - 1 bytes", HEADER, 24, 8, UINT64_MAX, REFUSED, "header: "},
	{"disk larger than its L1", HEADER, 24, 8, 1ull << 40, REFUSED, "L1 table is too small"},
	{"encrypted", HEADER, 32, 4, 1, REFUSED, "encrypted"},
	{"encrypted by LUKS", HEADER, 32, 4, 2, REFUSED, "encrypted"},
	{"L1 without entries", HEADER, 36, 4, 0, REFUSED, "L1 table"},
	{"L1 of 32 GiB", HEADER, 36, 4, UINT32_MAX, REFUSED, "L1 table"},
	{"L1 behind the file", HEADER, 36, 4, 1 << 21, REFUSED, "L1 table"},
	{"L1 in the header", HEADER, 40, 8, 0, REFUSED, "overlap"},
	{"L1 not aligned", HEADER, 40, 8, CLUSTER + 8, REFUSED, "L1 table"},
	{"L1 far away", HEADER, 40, 8, 1ull << 62, REFUSED, "L1 table"},
	{"L1 at the end of numbers", HEADER, 40, 8, UINT64_MAX - CLUSTER + 1, REFUSED, "L1 table"},
	{"refcount table in the header", HEADER, 48, 8, 0, REFUSED, "overlap"},
	{"refcount table not aligned", HEADER, 48, 8, CLUSTER / 2, REFUSED, "refcount table"},
	{"refcount table far away", HEADER, 48, 8, 1ull << 50, REFUSED, "refcount table"},
	{"no refcount table", HEADER, 56, 4, 0, REFUSED, "refcount table"},
	{"refcount table of 16 TiB", HEADER, 56, 4, UINT32_MAX, REFUSED, "refcount table"},
	{"2^32 snapshots", HEADER, 60, 4, UINT32_MAX, REFUSED, "snapshot"},
	{"more snapshots than there are", HEADER, 60, 4, 30000, REFUSED, "snapshot"},
	{"one snapshot more than there are", HEADER, 60, 4, 2, ANYTHING, NULL},
	{"snapshots in the header", HEADER, 64, 8, 0, REFUSED, "snapshot"},
	{"snapshots far away", HEADER, 64, 8, 1ull << 55, REFUSED, "snapshot"},
	{"unknown feature", HEADER, 72, 8, 1ull << 40, REFUSED, "bit 40"},
	{"external data", HEADER, 72, 8, 4, REFUSED, "external data"},
	{"corrupt", HEADER, 72, 8, 2, REFUSED_RW, "corrupt"},
	{"compression type without a bit", HEADER, 104, 1, 1, REFUSED, "compression"},
	{"compression type unknown", HEADER, 104, 1, 77, REFUSED, "compression"},
	{"refcounts of 128 bits", HEADER, 96, 4, 7, REFUSED, "refcount_order"},
	{"refcounts of 2^32 bits", HEADER, 96, 4, UINT32_MAX, REFUSED, "refcount_order"},
	{"refcounts of another width", HEADER, 96, 4, 6, ANYTHING, NULL},
	{"header too short", HEADER, 100, 4, 72, REFUSED, "header"},
	{"header longer than a cluster", HEADER, 100, 4, 8192, REFUSED, "header"},
	{"header of 4 GiB", HEADER, 100, 4, UINT32_MAX - 7, REFUSED, "header"},
	{"extension of 4 GiB", HEADER, 112, 8, 0x6803f857ffffffff, ANYTHING, NULL},

	{"L2 in the header", L1, 0, 8, 1ull << 63, ANYTHING, NULL},
	{"L2 in the L1", L1, 0, 8, 0, ANYTHING, NULL}, /* set below: its own offset */
	{"L2 not aligned", L1, 0, 8, 1ull << 63 | (CLUSTER + 512), READ_FAILS, NULL},
	{"L2 behind the file", L1, 0, 8, 1ull << 63 | 1ull << 45, READ_FAILS, NULL},
	{"L2 with reserved bits", L1, 0, 8, UINT64_MAX, READ_FAILS, NULL},
	{"L2 shared by mistake", L1, 8, 8, 0, ANYTHING, NULL},
	{"data in the header", L2, 0, 8, 1ull << 63, ANYTHING, NULL},
	{"data in the refcount table", L2, 0, 8, 1ull << 63 | CLUSTER, WRITE_FAILS, NULL},
	{"data behind the file", L2, 0, 8, 1ull << 63 | 1ull << 45, READ_FAILS, NULL},
	{"data not aligned", L2, 0, 8, 1ull << 63 | (64 * CLUSTER + 512), READ_FAILS, NULL},
	{"data with reserved bits", L2, 0, 8, 0x3f00000000000000, ANYTHING, NULL},
	{"compressed data behind the file", L2, 0, 8, 0x7fffffffffffffff, READ_FAILS, NULL},
	{"compressed data that are none", L2, 0, 8, 1ull << 62 | 8192, READ_FAILS, NULL},
	{"compressed data in the last table", LAST_L2, 0, 8, 1ull << 62 | 3, READ_FAILS, NULL},
	{"refcount block in the header", TABLE, 0, 8, 512, REFUSED_RW, "refcount"},
	{"refcount block behind the file", TABLE, 0, 8, 1ull << 45, WRITE_FAILS, "refcount"},
	{"refcount block not there", TABLE, 0, 8, 0, ANYTHING, NULL},
	{"refcount block not aligned", TABLE, 0, 8, CLUSTER + 8, WRITE_FAILS, "refcount"},
	{"refcount blocks in a loop", TABLE, 0, 8, CLUSTER, ANYTHING, NULL},
	{"refcounts of zero", BLOCK, 0, 8, 0, ANYTHING, NULL},
	{"refcounts of all ones", BLOCK, 8, 8, UINT64_MAX, ANYTHING, NULL},
	{"snapshot's L1 far away", SNAPSHOTS, 0, 8, 1ull << 50, ANYTHING, NULL},
	{"snapshot's L1 of 32 GiB", SNAPSHOTS, 8, 4, UINT32_MAX, ANYTHING, NULL},
	{"snapshot's name of 64 KiB", SNAPSHOTS, 14, 2, UINT16_MAX, ANYTHING, NULL},
	{"snapshot's extra data of 4 GiB", SNAPSHOTS, 36, 4, UINT32_MAX, ANYTHING, NULL},
	{"snapshot's L2 in a loop", SNAPSHOT_L1, 0, 8, CLUSTER, ANYTHING, NULL},
};

static uint8_t sound[ROOM], image[ROOM];
static size_t sound_bytes;

static uint64_t be(uint64_t at, unsigned n)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < n; i++)
		value = value << 8 | sound[at + i];
	return value;
}

static uint64_t offset_of(enum place place)
{
	const uint64_t mask = 0x00fffffffffffe00;
	uint64_t l1 = be(40, 8);

	switch (place) {
	case HEADER:
		return 0;
	case L1:
		return l1;
	case L2:
		return be(l1, 8) & mask;
	case LAST_L2:
		return be(l1 + (be(36, 4) - 1) * 8, 8) & mask;
	case TABLE:
		return be(48, 8);
	case BLOCK:
		return be(be(48, 8), 8);
	case SNAPSHOTS:
		return be(64, 8);
	case SNAPSHOT_L1:
		return be(be(64, 8), 8);
	}
	return 0;
}

static void put(const char *path, const void *bytes, size_t n)
{
	auto_fd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
}

static void make_sound(void)
{
	auto_fd fd = -1;

	raw_make("base", BYTES, true);
	rig_tool("qemu-img convert -c -f raw -O qcow2 -o cluster_size=%d base sound", CLUSTER);
	rig_tool("qemu-img snapshot -c s sound");
	rig_tool("qemu-io -c 'write -P 5 0 100k' -c 'write -P 6 1900k 148k' sound");
	fd = open("sound", O_RDONLY | O_CLOEXEC);
	sound_bytes = (size_t)pread(fd, sound, sizeof(sound), 0);
	assert_true(sound_bytes > 64 * CLUSTER && sound_bytes < sizeof(sound));
}

static void make_row(const struct row *row)
{
	uint64_t at = offset_of(row->place) + row->at;

	assert_true(at + row->bytes <= sound_bytes);
	memcpy(image, sound, sound_bytes);
	for (unsigned i = 0; i < row->bytes; i++)
		image[at + i] = (uint8_t)(row->value >> 8 * (row->bytes - 1 - i));
	put("image", image, sound_bytes);
}

/* Reads or writes all of the disk in pieces; how many failed. */
static unsigned sweep(struct rig *rig, enum image_op op)
{
	static uint8_t buf[65536];
	struct iovec v = iov_of(buf, sizeof(buf));
	unsigned failed = 0;

	for (uint64_t at = 0; at < rig->image.size; at += v.iov_len) {
		struct image_req r = {.op = op, .offset = at, .iov = &v, .niov = 1};
		int error;

		v.iov_len = min_u64(sizeof(buf), rig->image.size - at);
		r.length = v.iov_len;
		error = rig_run(rig, r);
		assert_true(error <= 0);
		failed += error < 0;
	}
	return failed;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void expect_words(const struct row *row, const struct err *e)
{
	if (!e->text[0] || strchr(e->text, '\n') || strncmp(e->text, "image: ", 7) != 0 ||
	    (row->words && !strstr(e->text, row->words)))
		fail_msg("%s: \"%s\" instead of \"%s\"", row->name, e->text,
			 row->words ? row->words : "");
}

static void expect_unchanged(const struct row *row)
{
	static uint8_t now[ROOM];
	auto_fd fd = open("image", O_RDONLY | O_CLOEXEC);

	if (pread(fd, now, sizeof(now), 0) != (ssize_t)sound_bytes ||
	    memcmp(now, image, sound_bytes) != 0)
		fail_msg("%s: the image was changed", row->name);
}

static void read_row(const struct row *row)
{
	struct rig rig;
	struct err e = {0};
	unsigned failed;

	if (rig_try_open(&rig, "image", &(struct rig_options){.writable = false}, &e) < 0) {
		expect_words(row, &e);
		if (row->outcome == REFUSED_RW)
			fail_msg("%s: may be read: %s", row->name, e.text);
	} else {
		if (row->outcome == REFUSED)
			fail_msg("%s: is not refused", row->name);
		failed = sweep(&rig, IMAGE_READ);
		rig_close(&rig);
		if (failed == 0 && row->outcome == READ_FAILS)
			fail_msg("%s: is read without an error", row->name);
	}
	expect_unchanged(row);
}

static void write_row(const struct row *row)
{
	static const enum image_op ops[] = {IMAGE_WRITE, IMAGE_DISCARD, IMAGE_WRITE, IMAGE_ZERO,
					    IMAGE_SYNC};
	const struct rig_options o = {.writable = true};
	unsigned failed = 0;
	struct err e = {0};
	struct rig rig;
	struct stat st;

	if (rig_try_open(&rig, "image", &o, &e) < 0) {
		expect_words(row, &e);
		return;
	}
	if (row->outcome == REFUSED || row->outcome == REFUSED_RW)
		fail_msg("%s: is not refused for writing", row->name);
	for (size_t i = 0; i < ARRAY_LEN(ops); i++)
		failed += sweep(&rig, ops[i]);
	rig_close(&rig);
	if (failed == 0 && row->outcome == WRITE_FAILS)
		fail_msg("%s: is written without an error", row->name);
	assert_int_equal(stat("image", &st), 0);
	assert_true(st.st_size < 100 * MIB); /* what is in reserve may stay there */
}

static void damage_is_an_error_and_nothing_worse(void **state)
{
	struct rusage usage;

	(void)state;
	RIG_NEEDS_TOOLS();
	rig_enter(false);
	make_sound();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		double start = seconds();

		make_row(&rows[i]);
		read_row(&rows[i]);
		write_row(&rows[i]);
		if (seconds() - start > SECONDS_MAX)
			fail_msg("%s: took %.1f s", rows[i].name, seconds() - start);
	}
	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	assert_true(usage.ru_maxrss < RSS_MAX_KIB);
	rig_leave();
}

/* Cut anywhere: an error at open, or when what is missing is read. */
static void cut_images_are_an_error(void **state)
{
	static const size_t lengths[] = {0,	    1,	  71,	 72,   103,  104,
					 CLUSTER - 1, CLUSTER, 8191, 8192, 20000, 1000000};
	struct err e;
	struct rig rig;

	(void)state;
	RIG_NEEDS_TOOLS();
	rig_enter(false);
	make_sound();
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		e = (struct err){0};
		put("image", sound, lengths[i]);
		if (rig_try_open(&rig, "image", &(struct rig_options){.writable = false}, &e) < 0) {
			assert_true(e.text[0] && !strchr(e.text, '\n'));
			continue;
		}
		assert_true(lengths[i] > CLUSTER);
		sweep(&rig, IMAGE_READ);
		rig_close(&rig);
	}
	rig_leave();
}

static void refuse_backing(const char *create, const char *allowed, const char *words)
{
	const struct rig_options o = {.backing = allowed};
	struct err e = {0};
	struct rig rig;

	rig_tool("rm -f image && %s", create);
	if (rig_try_open(&rig, "image", &o, &e) == 0)
		fail_msg("%s: opened", create);
	if (!strstr(e.text, words) || strchr(e.text, '\n'))
		fail_msg("%s: \"%s\" instead of \"%s\"", create, e.text, words);
}

/* The image names files; the user says which of them may be opened. */
static void backing_files_are_the_users_choice(void **state)
{
	static const char *const make = "qemu-img create -q -f qcow2 -b $PWD/base -F raw image";
	char here[4096];
	struct rig rig;

	(void)state;
	RIG_NEEDS_TOOLS();
	rig_enter(false);
	raw_make("base", MIB, true);
	assert_non_null(getcwd(here, sizeof(here)));
	refuse_backing(make, NULL, "backing");
	refuse_backing(make, "off", "backing");
	refuse_backing(make, "/usr/share", "backing");
	refuse_backing("mkdir -p d && qemu-img create -q -f qcow2 -b $PWD/d/../base -F raw image",
		       "/none", "backing");
	rig_open(&rig, "image", &(struct rig_options){.backing = here});
	rig_expect_like(&rig, "base");
	rig_close(&rig);
	rig_open(&rig, "image", &(struct rig_options){.backing = "on"});
	rig_expect_like(&rig, "base");
	rig_close(&rig);
	refuse_backing("qemu-img create -q -f qcow2 -u -b none -F raw image 1M", "on", "none");
	refuse_backing("qemu-img create -q -f qcow2 -u -b image -F qcow2 i 1M && mv i image",
		       "on", "");
	refuse_backing("qemu-img create -q -f qcow2 -u -b other -F qcow2 image 1M && "
		       "qemu-img create -q -f qcow2 -u -b image -F qcow2 other 1M",
		       "on", "");
	refuse_backing("qemu-img create -q -f qcow2 -u -b base -F vmdk image 1M", "on", "vmdk");
	refuse_backing("qemu-img create -q -f qcow2 -u -b nbd://x/y -F raw image 1M", "on", "nbd");
	refuse_backing("qemu-img create -q -f qcow2 -u -b json:{} -F raw image 1M", "on", "json");
	refuse_backing("qemu-img create -q -f qcow2 -u -b /dev/zero -F raw image 1M", "on",
		       "not a regular file");
	rig_leave();
}

/* A chain as long as the image likes is not followed to its end. */
static void long_chains_are_refused(void **state)
{
	struct err e = {0};
	struct rig rig;

	(void)state;
	RIG_NEEDS_TOOLS();
	rig_enter(false);
	raw_make("i0", MIB, true);
	for (unsigned i = 1; i < 40; i++)
		rig_tool("qemu-img create -q -f qcow2 -u -b i%u -F %s i%u 1M", i - 1,
			 i == 1 ? "raw" : "qcow2", i);
	rig_open(&rig, "i10", &(struct rig_options){.backing = "on"});
	rig_expect_like(&rig, "i0");
	rig_close(&rig);
	assert_true(rig_try_open(&rig, "i39", &(struct rig_options){.backing = "on"}, &e) < 0);
	assert_non_null(strstr(e.text, "backing"));
	rig_leave();
}

static void count_done(struct image_req *r, int error)
{
	unsigned *done = (unsigned *)r->iov[1].iov_base;

	assert_int_equal(error, 0);
	++*done;
}

/* Whoever waits for a buffer and then finds its cluster inflated leaves the buffer to others. */
static void all_readers_of_a_compressed_cluster_are_served(void **state)
{
	enum { READERS = 16 };
	static uint8_t buffers[READERS][SECTOR];
	static struct image_req r[READERS];
	static struct iovec v[READERS][2];
	unsigned done = 0;
	struct rig rig;

	(void)state;
	RIG_NEEDS_TOOLS();
	rig_enter(false);
	raw_make("base", MIB, false);
	rig_tool("qemu-img convert -c -f raw -O qcow2 base image");
	rig_open(&rig, "image", &(struct rig_options){.writable = false});
	for (unsigned i = 0; i < READERS; i++) {
		v[i][0] = iov_of(buffers[i], SECTOR);
		v[i][1] = iov_of(&done, 0);
		r[i] = (struct image_req){.op = IMAGE_READ,
					  .offset = SECTOR * i,
					  .length = SECTOR,
					  .iov = v[i],
					  .niov = 1,
					  .done = count_done};
		image_submit(&rig.image, &r[i]);
	}
	aio_drain(&rig.aio);
	assert_int_equal(done, READERS);
	for (unsigned i = 0; i < READERS; i++)
		assert_true(sector_is(buffers[i], i, 1));
	rig_close(&rig);
	rig_leave();
}

enum { UNIT = 512 };

/* An image whose refcount blocks, for far more than it has, say that all of it is used. */
static void make_full(void)
{
	enum { BLOCKS = 2000, TABLE_CLUSTERS = (8 * BLOCKS + UNIT - 1) / UNIT };
	static uint8_t bytes[(TABLE_CLUSTERS + BLOCKS) * UNIT];
	uint64_t table = UNIT * 64;
	auto_fd fd = -1;

	rig_tool("qemu-img create -q -f qcow2 -o cluster_size=%d,refcount_bits=64 image 64k", UNIT);
	fd = open("image", O_RDWR | O_CLOEXEC);
	for (uint64_t i = 0; i < BLOCKS; i++) {
		uint64_t block = table + UNIT * (TABLE_CLUSTERS + i);

		for (unsigned j = 0; j < 8; j++)
			bytes[8 * i + j] = (uint8_t)(block >> 8 * (7 - j));
		for (unsigned j = 0; j < UNIT / 8; j++)
			bytes[UNIT * (TABLE_CLUSTERS + i) + 8 * j + 7] = 1;
	}
	assert_int_equal(pwrite(fd, bytes, sizeof(bytes), (off_t)table), sizeof(bytes));
	memcpy(bytes, (uint8_t[]){0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, TABLE_CLUSTERS}, 12);
	assert_int_equal(pwrite(fd, bytes, 12, 48), 12);
}

static void full_refcounts_behind_the_file_are_not_searched_for_ever(void **state)
{
	static uint8_t buf[UNIT];
	struct rig rig;

	(void)state;
	RIG_NEEDS_TOOLS();
	rig_enter(false);
	make_full();
	rig_open(&rig, "image", &(struct rig_options){.writable = true});
	alarm(SECONDS_MAX);
	assert_int_equal(rig_write(&rig, 0, buf, UNIT), -ENOSPC);
	alarm(0);
	rig_close(&rig);
	rig_leave();
}

/* The file says that it is huge, and has no refcounts for most of it. */
static void end_of_a_huge_file_is_not_searched_for_ever(void **state)
{
	static uint8_t buf[UNIT];
	struct rig rig;

	(void)state;
	RIG_NEEDS_TOOLS();
	rig_enter(false);
	make_full();
	rig_open(&rig, "image", &(struct rig_options){.writable = true});
	((struct qcow2 *)rig.image.state)->layers[0].file_bytes = INT64_MAX; /* as on xfs */
	alarm(SECONDS_MAX);
	(void)rig_write(&rig, 0, buf, UNIT); /* whether it finds room does not matter */
	alarm(0);
	rig_close(&rig);
	rig_leave();
}

/* A discard of a whole table that a snapshot has too; there is room for frees of its entries. */
static void discarding_a_shared_table_fits_the_ring_of_frees(void **state)
{
	static uint8_t buf[CLUSTER];
	struct image_req discard = {.op = IMAGE_DISCARD, .length = 2 * MIB};
	struct qcow2 *q;
	struct rig rig;

	(void)state;
	RIG_NEEDS_TOOLS();
	rig_enter(false);
	rig_tool("qemu-img create -q -f qcow2 -o cluster_size=%d image 4M", CLUSTER);
	rig_open(&rig, "image", &(struct rig_options){.writable = true});
	for (uint64_t i = 0; i < 512; i++) /* no two side by side */
		assert_int_equal(rig_write(&rig, i * 255 % 512 * CLUSTER, buf, CLUSTER), 0);
	rig_close(&rig);
	rig_tool("qemu-img snapshot -c s image");

	rig_open(&rig, "image", &(struct rig_options){.writable = true});
	assert_int_equal(rig_write(&rig, 2 * MIB, buf, CLUSTER), 0);
	q = rig.image.state;
	while (q->frees.n < QCOW2_FREES_MAX - 512) /* of nothing, but they take their place */
		q->frees.rows[(q->frees.first + q->frees.n++) % QCOW2_FREES_MAX] =
			(struct qcow2_free){.stamp = 1};
	assert_int_equal(rig_run(&rig, discard), 0);
	rig_close(&rig);
	rig_tool("qemu-img check -q image");
	rig_leave();
}

/* ---- more snapshots than there is room for ---- */

enum { MANY = 65536, SNAPSHOT_BYTES = 40, MANY_L1 = 2 << 20, BLOCK_SPAN = 8 << 20 };

static void put_be(uint8_t *at, uint64_t value, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		at[i] = (uint8_t)(value >> 8 * (n - 1 - i));
}

/*
 * 65536 snapshots, all with the L1 table of 16 MiB that the disk has itself.  The table of them
 * lies among data, behind the refcount block that begins each 8 MiB.
 */
static void make_many(bool is_dirty)
{
	static uint8_t table[MANY * SNAPSHOT_BYTES], header[104];
	auto_fd fd = -1;
	struct stat st;
	uint64_t at;

	rig_tool("qemu-img create -q -f qcow2 -o cluster_size=%d many 4T", CLUSTER);
	rig_tool("qemu-io -c 'write 0 16M' many");
	fd = open("many", O_RDWR | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(pread(fd, header, sizeof(header), 0), sizeof(header));
	at = round_down((uint64_t)st.st_size, BLOCK_SPAN) - BLOCK_SPAN + 16 * CLUSTER;
	for (unsigned i = 0; i < MANY; i++) {
		memcpy(table + (size_t)i * SNAPSHOT_BYTES, header + 40, 8);
		put_be(table + (size_t)i * SNAPSHOT_BYTES + 8, MANY_L1, 4);
	}
	put_be(header + 60, MANY, 4);
	put_be(header + 64, at, 8);
	put_be(header + 72, is_dirty, 8);
	assert_int_equal(pwrite(fd, table, sizeof(table), (off_t)at), sizeof(table));
	assert_int_equal(pwrite(fd, header, sizeof(header), 0), sizeof(header));
}

static void many_snapshots_of_one_table_are_refused_at_once(void **state)
{
	static const char *const words[] = {"more tables than it has room", "contradict"};

	(void)state;
	RIG_NEEDS_TOOLS();
	rig_enter(false);
	for (unsigned dirty = 0; dirty < 2; dirty++) {
		double start = seconds();
		struct err e = {0};
		struct rig rig;

		make_many(dirty);
		assert_true(rig_try_open(&rig, "many", &(struct rig_options){.writable = true},
					 &e) < 0);
		if (!strstr(e.text, words[dirty]))
			fail_msg("\"%s\" instead of \"%s\"", e.text, words[dirty]);
		assert_true(seconds() - start < SECONDS_MAX);
	}
	rig_leave();
}

/* ---- room of the dead ---- */

enum { TINY = 512, USED = 40 * MIB, DEATHS = 5 };

static off_t size_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* What a killed process had made room for is used by the next, not more room made each time. */
static void file_does_not_grow_with_every_death(void **state)
{
	static uint8_t buf[MIB];
	off_t before = 0;

	(void)state;
	RIG_NEEDS_TOOLS();
	rig_enter(false);
	rig_tool("qemu-img create -q -f qcow2 -o cluster_size=%d image 64M", TINY);
	for (unsigned i = 0; i < DEATHS; i++) {
		struct rig rig;

		rig_open(&rig, "image", &(struct rig_options){.writable = true});
		for (uint64_t at = 0; i == 0 && at < USED; at += MIB)
			assert_int_equal(rig_write(&rig, at, buf, MIB), 0);
		for (uint64_t at = 0; at < MIB; at += 64 * 1024)
			assert_int_equal(rig_write(&rig, USED + i * MIB + at, buf, TINY), 0);
		rig_tool("cp --sparse=always image dead"); /* as it is when its process is killed */
		rig_close(&rig);
		rig_tool("mv dead image");
		if (i == 1)
			before = size_of("image");
	}
	assert_true(size_of("image") == before);
	assert_int_equal(rig_try("qemu-img check image") & ~3, 0);
	rig_leave();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damage_is_an_error_and_nothing_worse),
		cmocka_unit_test(cut_images_are_an_error),
		cmocka_unit_test(backing_files_are_the_users_choice),
		cmocka_unit_test(long_chains_are_refused),
		cmocka_unit_test(many_snapshots_of_one_table_are_refused_at_once),
		cmocka_unit_test(file_does_not_grow_with_every_death),
		cmocka_unit_test(discarding_a_shared_table_fits_the_ring_of_frees),
		cmocka_unit_test(all_readers_of_a_compressed_cluster_are_served),
		cmocka_unit_test(full_refcounts_behind_the_file_are_not_searched_for_ever),
		cmocka_unit_test(end_of_a_huge_file_is_not_searched_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
