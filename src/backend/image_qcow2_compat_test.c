/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_compat_test.c - images of QEMU's making are read and written, and QEMU reads ours
 *
 * The product of all options of qemu-img create, of how the data got there, snapshots and backing
 * files.  Unless QCOW2_TEST_ALL is set, a fixed sample of it.
 */
#include "backend/qcow2_rig_test.h"

#include "backend/image_qcow2.h"
#include "base/fd.h"
#include "base/num.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MIB = 1 << 20, BYTES = 5 * MIB, REQUESTS = 60, SAMPLE = 47 };

enum filling { COPIED, COMPRESSED, WRITTEN, BACKED_BY_RAW, BACKED_BY_QCOW2 };

static const char *const preallocations[] = {"off", "metadata", "falloc", "full"};

struct combination {
	unsigned version, cluster_bits, refcount_bits, preallocation;
	bool is_lazy, is_extended, is_zstd, has_snapshot;
	enum filling filling;
};

/* One of so many choices, by the lowest digit of the number. */
static unsigned choice(unsigned *n, unsigned choices)
{
	unsigned digit = *n % choices;

	*n /= choices;
	return digit;
}

/* The n-th of all, also of those that QEMU refuses; false: there are no more. */
static bool combination(unsigned n, struct combination *c)
{
	static const unsigned clusters[] = {16, 9, 12, 15, 21}, refcounts[] = {16, 1, 2, 8, 64};

	c->version = 3 - choice(&n, 2);
	c->cluster_bits = clusters[choice(&n, 5)];
	c->refcount_bits = refcounts[choice(&n, 5)];
	c->preallocation = choice(&n, 4);
	c->is_lazy = choice(&n, 2);
	c->is_extended = choice(&n, 2);
	c->is_zstd = choice(&n, 2);
	c->has_snapshot = choice(&n, 2);
	c->filling = (enum filling)choice(&n, 5);
	return n == 0;
}

static bool qemu_makes(const struct combination *c)
{
	bool is_backed = c->filling == BACKED_BY_RAW || c->filling == BACKED_BY_QCOW2;

	if (c->version == 2 && (c->refcount_bits != 16 || c->is_lazy || c->is_extended ||
				c->is_zstd))
		return false;
	if (c->is_extended && (c->cluster_bits < 14 || c->filling == COMPRESSED))
		return false;
	if (c->preallocation > 0 && (is_backed || c->filling == COMPRESSED))
		return false;
	/* Compressed clusters share what a snapshot shares again. */
	return !c->has_snapshot || c->refcount_bits > (c->filling == COMPRESSED ? 4 : 1);
}

static void options_of(const struct combination *c, char *text, size_t n)
{
	snprintf(text, n, "compat=%s,cluster_size=%u,preallocation=%s%s%s%s",
		 c->version == 2 ? "0.10" : "1.1", 1u << c->cluster_bits,
		 preallocations[c->preallocation], c->is_lazy ? ",lazy_refcounts=on" : "",
		 c->is_extended ? ",extended_l2=on" : "",
		 c->is_zstd ? ",compression_type=zstd" : "");
	if (c->refcount_bits != 16)
		snprintf(text + strlen(text), n - strlen(text), ",refcount_bits=%u",
			 c->refcount_bits);
}

/* Fills "image" with what is in the raw file "base". */
static void fill(const struct combination *c, const char *options)
{
	switch (c->filling) {
	case COPIED:
	case COMPRESSED:
		rig_tool("qemu-img convert %s -f raw -O qcow2 -o %s base image",
			 c->filling == COMPRESSED ? "-c" : "", options);
		return;
	case WRITTEN:
		rig_tool("qemu-img create -q -f qcow2 -o %s image %u", options, BYTES);
		rig_tool("qemu-img convert -n -f raw -O qcow2 base image");
		return;
	case BACKED_BY_RAW:
		rig_tool("qemu-img create -q -f qcow2 -o %s -b base -F raw image", options);
		return;
	case BACKED_BY_QCOW2:
		rig_tool("qemu-img convert -c -f raw -O qcow2 base middle");
		rig_tool("qemu-img create -q -f qcow2 -o %s -b middle -F qcow2 image", options);
		return;
	}
}

static void zero(struct model *m, uint64_t at, uint64_t bytes, const char *how)
{
	rig_tool("qemu-io -c 'write %s %llu %llu' image", how, (unsigned long long)at,
		 (unsigned long long)bytes);
	memset(&m->version[at / SECTOR], 0, bytes / SECTOR * sizeof(m->version[0]));
}

static void make(const struct combination *c, const char *options, struct model *m)
{
	rig_tool("rm -f image middle");
	model_of_raw(m, true);
	fill(c, options);
	if (c->has_snapshot)
		rig_tool("qemu-img snapshot -c one image");
	zero(m, MIB, 300 * 1024 + 512, "-z");
	zero(m, 2 * MIB, 200 * 1024, "-z -u");
	if (c->has_snapshot)
		rig_tool("qemu-img snapshot -c two image");
}

static const char *backing_of(const struct combination *c)
{
	return c->filling == BACKED_BY_RAW || c->filling == BACKED_BY_QCOW2 ? "on" : NULL;
}

static void use(const struct combination *c, struct model *m)
{
	struct rig_options o = {.backing = backing_of(c)};
	struct rig rig;

	rig_open(&rig, "image", &o);
	model_check(m, &rig);
	rig_close(&rig);
	o.writable = true;
	rig_open(&rig, "image", &o);
	model_run(m, &rig, REQUESTS);
	rig_close(&rig);
	rig_tool("qemu-img check -q image");
	model_write_raw(m, "model");
	rig_tool("qemu-img compare -q -f raw -F qcow2 model image");
	if (c->has_snapshot) {
		rig_tool("qemu-img convert -l snapshot.name=one -O raw image was");
		rig_tool("cmp was base");
	}
}

static bool is_refused(const struct combination *c)
{
	const struct rig_options o = {.backing = backing_of(c)};
	struct err e = {0};
	struct rig rig;

	if (!c->is_extended || rig_try_open(&rig, "image", &o, &e) == 0)
		return false;
	if (!strstr(e.text, "extended L2"))
		fail_msg("%s", e.text);
	return true;
}

static void images_of_qemu_are_read_and_written(void **state)
{
	unsigned step = getenv("QCOW2_TEST_ALL") ? 1 : SAMPLE, seen = 0, refused = 0;
	struct combination c;
	struct model m;

	(void)state;
	RIG_NEEDS_TOOLS();
	rig_enter(false);
	raw_make("base", BYTES, true);
	for (unsigned n = 0; combination(n, &c); n++) {
		char options[200];

		if (!qemu_makes(&c) || seen++ % step != 0)
			continue;
		options_of(&c, options, sizeof(options));
		print_message("# %u: %s, filling %d, snapshots %d\n", n, options, (int)c.filling,
			      c.has_snapshot);
		model_init(&m, BYTES, n + 1);
		make(&c, options, &m);
		if (is_refused(&c))
			refused++;
		else
			use(&c, &m);
		model_fini(&m);
	}
	print_message("# %u combinations, %u refused\n", (seen + step - 1) / step, refused);
	rig_leave();
}

static void make_ours(const struct qcow2_create_options *o)
{
	auto_fd fd = open("image", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct err e = {0};

	assert_true(fd >= 0);
	if (qcow2_create(fd, BYTES, o, &e) < 0)
		fail_msg("%s", e.text);
}

static void use_ours(const struct qcow2_create_options *o)
{
	const struct rig_options how = {.writable = true, .backing = o->backing ? "on" : NULL};
	struct model m;
	struct rig rig;

	make_ours(o);
	rig_tool("qemu-img check -q image");
	model_init(&m, BYTES, o->cluster_bits * 100 + o->refcount_bits);
	if (o->backing)
		model_of_raw(&m, true);
	rig_open(&rig, "image", &how);
	model_check(&m, &rig);
	model_run(&m, &rig, 2 * REQUESTS);
	rig_close(&rig);
	rig_tool("qemu-img check -q image");
	model_write_raw(&m, "model");
	rig_tool("qemu-img compare -q -f raw -F qcow2 model image");
	rig_tool("qemu-io -c 'write -P 7 1M 2M' image && qemu-img check -q image");
	model_fini(&m);
}

static void qemu_reads_and_writes_ours(void **state)
{
	(void)state;
	RIG_NEEDS_TOOLS();
	rig_enter(false);
	raw_make("base", BYTES, true);
	for (unsigned bits = 9; bits <= 21; bits++)
		use_ours(&(struct qcow2_create_options){.cluster_bits = bits});
	for (unsigned bits = 1; bits <= 64; bits *= 2)
		use_ours(&(struct qcow2_create_options){.cluster_bits = 12, .refcount_bits = bits});
	use_ours(&(struct qcow2_create_options){.version = 2});
	use_ours(&(struct qcow2_create_options){.lazy_refcounts = true});
	use_ours(&(struct qcow2_create_options){.compression = QCOW2_ZSTD});
	use_ours(&(struct qcow2_create_options){.backing = "base", .backing_format = "raw"});
	use_ours(&(struct qcow2_create_options){
		.version = 2, .backing = "base", .backing_format = "raw"});
	rig_leave();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(images_of_qemu_are_read_and_written),
		cmocka_unit_test(qemu_reads_and_writes_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
