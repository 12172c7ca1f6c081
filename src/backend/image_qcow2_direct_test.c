/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_direct_test.c - direct I/O that moves fewer bytes than it was asked to
 *
 * The engine does as a disk whose transfers end at any sector: what is left begins at an address
 * that direct I/O does not take, and has to go another way, without harm to what is there already.
 */
#include "backend/qcow2_rig_test.h"
#include "base/fd.h"
#include "base/iov.h"
#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	ALIGN = 4096,
	SHORT = 3 * SECTOR,
	CLUSTER = 65536,
	DISK_BYTES = 8 * CLUSTER,
	BASE_BYTES = 5 * CLUSTER + 1000, /* ends inside a sector */
};

static struct {
	int fd[AIO_FILES_MAX]; /* the same files, without O_DIRECT */
	struct aio_req *first, **last;
	unsigned refused; /* addresses that direct I/O does not take */
} engine;

static int short_init(struct aio *a, struct err *e)
{
	(void)e;
	engine.first = NULL;
	engine.last = &engine.first;
	engine.refused = 0;
	for (unsigned i = 0; i < a->nfiles; i++) {
		int flags = fcntl(a->files[i], F_GETFL);
		char path[32];

		assert_true(flags & O_DIRECT);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", a->files[i]);
		engine.fd[i] = open(path, (flags & O_ACCMODE) | O_CLOEXEC);
		assert_true(engine.fd[i] >= 0);
	}
	return 0;
}

static int short_enable(struct aio *a, struct err *e)
{
	(void)a;
	(void)e;
	return 0;
}

static void short_fini(struct aio *a)
{
	for (unsigned i = 0; i < a->nfiles; i++)
		fd_close(&engine.fd[i]);
}

static void short_queue(struct aio *a, struct aio_req *r)
{
	a->queued--;
	r->next = NULL;
	*engine.last = r;
	engine.last = &r->next;
}

static void nothing(struct aio *a)
{
	(void)a;
}

static int64_t perform(const struct aio_req *r)
{
	int fd = engine.fd[r->file];
	size_t n = r->niov > 0 ? min_size(r->iov[0].iov_len, SHORT) : 0;
	ssize_t result = 0;

	if (n > 0 && iov_address(&r->iov[0]) % ALIGN != 0) {
		engine.refused++;
		return -EINVAL;
	}
	if (r->op == AIO_READ)
		result = pread(fd, r->iov[0].iov_base, n, (off_t)r->offset);
	else if (r->op == AIO_WRITE)
		result = pwrite(fd, r->iov[0].iov_base, n, (off_t)r->offset);
	else if (r->op == AIO_ALLOCATE)
		result = fallocate(fd, r->mode, (off_t)r->offset, (off_t)r->length);
	return result < 0 ? -errno : result;
}

static void short_reap(struct aio *a)
{
	while (engine.first) {
		struct aio_req *r = engine.first;

		engine.first = r->next;
		if (!engine.first)
			engine.last = &engine.first;
		aio_done(a, r, perform(r));
	}
}

static const struct aio_engine short_engine = {
	.name = "short",
	.init = short_init,
	.enable = short_enable,
	.fini = short_fini,
	.queue = short_queue,
	.start = nothing,
	.reap = short_reap,
	.wait = nothing,
};

/* ---- images ---- */

static int enter(void **state)
{
	(void)state;
	rig_enter(true);
	return 0;
}

static int leave(void **state)
{
	(void)state;
	rig_leave();
	return 0;
}

/* Writes n bytes of a byte, from memory at any address, and notes them in the raw file. */
static void write_both(struct rig *rig, int raw, uint64_t at, size_t n, unsigned odd)
{
	static _Alignas(ALIGN) uint8_t memory[2 * CLUSTER];

	memset(memory + odd, (int)(at / SECTOR % 251 + 1), n);
	assert_int_equal(rig_write(rig, at, memory + odd, n), 0);
	assert_int_equal(pwrite(raw, memory + odd, n, (off_t)at), n);
}

static void test_clusters_are_copied_whole_from_an_odd_file(void **state)
{
	const struct rig_options o = {
		.writable = true, .direct = true, .engine = &short_engine, .backing = "on"};
	struct rig rig;
	auto_fd raw = -1;

	(void)state;
	RIG_NEEDS_TOOLS();
	raw_make("base.raw", 6 * CLUSTER, false);
	rig_tool("truncate -s %d base.raw", BASE_BYTES);
	rig_tool("cp base.raw expected.raw && truncate -s %d expected.raw", DISK_BYTES);
	rig_tool("qemu-img create -q -f qcow2 -b base.raw -F raw over.qcow2 %d", DISK_BYTES);
	raw = open("expected.raw", O_RDWR | O_CLOEXEC);
	rig_open(&rig, "over.qcow2", &o);
	rig.image.dma_align = ALIGN;
	for (unsigned cluster = 0; cluster < 7; cluster++)
		write_both(&rig, raw, cluster * CLUSTER + 4096 * cluster, 4096, cluster % 2 * 512);
	rig_expect_like(&rig, "expected.raw");
	assert_int_equal(engine.refused, 0);
	rig_close(&rig);
	rig_tool("qemu-img check -q over.qcow2");
	rig_tool("qemu-img compare -q -f qcow2 -F raw over.qcow2 expected.raw");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_clusters_are_copied_whole_from_an_odd_file, enter, leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
