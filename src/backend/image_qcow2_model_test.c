/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_model_test.c - random requests against a model in memory, and what QEMU says of it
 *
 * QCOW2_TEST_REQUESTS says how many in all (default some tens of thousands; a million takes
 * minutes), QCOW2_TEST_SEED which.  After each session the image is closed and has to be clean for
 * qemu-img check and equal to the model for qemu-img compare.
 */
#include "backend/qcow2_rig_test.h"

#include "base/num.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SESSIONS = 4, MIB = 1 << 20 };

enum start { EMPTY, BACKED, SNAPSHOTS, COMPRESSED, PREALLOCATED };

static const struct kind {
	const char *create; /* for qemu-img create -o */
	uint64_t bytes;
	enum start start;
	uint64_t cache_bytes;
} kinds[] = {
	{"cluster_size=65536", 24 * MIB + SECTOR, EMPTY, 0},
	{"cluster_size=65536", 24 * MIB, BACKED, 0},
	{"cluster_size=65536,compat=0.10", 24 * MIB + SECTOR, EMPTY, 0},
	{"cluster_size=65536,compat=0.10", 24 * MIB, BACKED, 0},
	{"cluster_size=65536", 24 * MIB, SNAPSHOTS, 0},
	{"cluster_size=65536", 24 * MIB, COMPRESSED, 0},
	{"cluster_size=65536,compression_type=zstd", 24 * MIB, COMPRESSED, 0},
	{"cluster_size=65536,preallocation=metadata", 24 * MIB, PREALLOCATED, 0},
	{"cluster_size=65536,lazy_refcounts=on", 24 * MIB, EMPTY, 0},
	{"cluster_size=512,refcount_bits=1", 3 * MIB + 3 * SECTOR, EMPTY, 64 * 1024},
	{"cluster_size=512,refcount_bits=64", 3 * MIB, SNAPSHOTS, 64 * 1024},
	{"cluster_size=512,compat=0.10", 3 * MIB, BACKED, 64 * 1024},
	{"cluster_size=1024,refcount_bits=2", 4 * MIB, COMPRESSED, 64 * 1024},
	{"cluster_size=4096,refcount_bits=4", 8 * MIB, SNAPSHOTS, 0},
	{"cluster_size=4096,refcount_bits=8", 8 * MIB, COMPRESSED, 0},
	{"cluster_size=32768,refcount_bits=32", 24 * MIB, BACKED, 0},
	{"cluster_size=2M", 48 * MIB + SECTOR, EMPTY, 0},
	{"cluster_size=2M,refcount_bits=64", 48 * MIB, SNAPSHOTS, 0},
	{"cluster_size=2M", 48 * MIB, COMPRESSED, 0},
};

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static uint64_t seed(void)
{
	return from_environment("QCOW2_TEST_SEED", 1);
}

/* Requests for each kind of image. */
static uint64_t requests(void)
{
	return from_environment("QCOW2_TEST_REQUESTS", 400 * ARRAY_LEN(kinds)) / ARRAY_LEN(kinds);
}

static void make(const struct kind *k, struct model *m)
{
	bool with_holes = k->start == BACKED || k->start == COMPRESSED;

	if (with_holes) {
		raw_make("base", k->bytes, true);
		model_of_raw(m, true);
	}
	if (k->start == COMPRESSED)
		rig_tool("qemu-img convert -c -f raw -O qcow2 -o %s base image", k->create);
	else if (k->start == BACKED)
		rig_tool("qemu-img create -q -f qcow2 -o %s -b base -F raw image", k->create);
	else
		rig_tool("qemu-img create -q -f qcow2 -o %s image %llu", k->create,
			 (unsigned long long)k->bytes);
}

static void expect_like_model(const struct model *m)
{
	rig_tool("qemu-img check -q image");
	model_write_raw(m, "model");
	rig_tool("qemu-img compare -q -f raw -F qcow2 model image");
}

static void session(struct model *m, const struct kind *k, uint64_t n)
{
	const struct rig_options o = {
		.writable = true, .backing = "on", .cache_bytes = k->cache_bytes};
	struct rig rig;

	rig_open(&rig, "image", &o);
	assert_int_equal(rig.image.size, k->bytes);
	model_check(m, &rig);
	model_run(m, &rig, n);
	model_check(m, &rig);
	rig_close(&rig);
	expect_like_model(m);
}

/* The snapshots named s0 ... s(n-1) hold what the disk held when they were made. */
static void expect_snapshots(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		rig_tool("qemu-img convert -l snapshot.name=s%u -O raw image was", i);
		rig_tool("cmp was model%u", i);
	}
}

static void run_kind(const struct kind *k)
{
	struct model m;

	rig_enter(false);
	model_init(&m, k->bytes, seed() + (uint64_t)(k - kinds));
	make(k, &m);
	for (unsigned i = 0; i < SESSIONS; i++) {
		session(&m, k, requests() / SESSIONS);
		if (k->start == SNAPSHOTS && i < 2) {
			rig_tool("qemu-img snapshot -c s%u image", i);
			rig_tool("cp model model%u", i);
		}
	}
	if (k->start == SNAPSHOTS) {
		expect_snapshots(2);
		rig_tool("qemu-img snapshot -d s0 image");
		rig_tool("qemu-img snapshot -d s1 image");
		session(&m, k, requests() / SESSIONS);
	}
	model_fini(&m);
	rig_leave();
}

static void random_requests_do_what_the_model_does(void **state)
{
	(void)state;
	RIG_NEEDS_TOOLS();
	print_message("# seed %llu\n", (unsigned long long)seed());
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		print_message("# %s, %d\n", kinds[i].create, (int)kinds[i].start);
		run_kind(&kinds[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_requests_do_what_the_model_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
