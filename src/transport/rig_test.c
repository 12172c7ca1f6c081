/* SPDX-License-Identifier: BSD-3-Clause */
/* rig_test.c - a front end with memory, buses and a host for a transport to stand on, for tests */
#include "transport/rig_test.h"

#include "mem/memfd.h"
#include "virtio/ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct loop loop;
struct gmem gmem;
struct bus mmio;
struct fake_host host;
struct pci_bus pci;
struct frontend f;
struct fake_device device;

void rig_lost(struct frontend *frontend, const char *why)
{
	(void)frontend;
	fail_msg("the device was lost: %s", why);
}

void rig_memory_add(gpa base)
{
	struct err e;
	int fd = memfd_new("test", RIG_MEMORY, false, &e);

	assert_true(fd >= 0);
	assert_int_equal(gmem_map_take(&gmem, base, RIG_MEMORY, fd, 0), 0);
}

void rig_init(void (*lost)(struct frontend *f, const char *why))
{
	const struct frontend_args args = {
		.name = "block0",
		.virtio_id = VIRTIO_ID_BLOCK,
		.nqueues = RIG_QUEUES,
		.queue_size = RIG_QUEUE_SIZE,
		.config_size = RIG_CONFIG,
		.gmem = &gmem,
		.loop = &loop,
		.lost = lost,
	};
	struct err e;

	gmem_init(&gmem);
	rig_memory_add(0);
	bus_init(&mmio);
	fake_host_init(&host);
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(frontend_init(&f, &args, &e), 0);
	fake_device_init(&device);
}

void rig_fini(void)
{
	frontend_fini(&f);
	fake_device_fini(&device);
	bus_fini(&mmio);
	loop_fini(&loop);
	gmem_fini(&gmem);
}

void rig_attach(void)
{
	struct err e;

	assert_int_equal(frontend_attach_take(&f, fake_device_start(&device), &e), 0);
}

void rig_run(void)
{
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(loop_once(&loop, 0), 0);
}

void rig_pci_init(struct virtio_pci *v)
{
	static const struct pci_layout layout = {
		.ecam_base = RIG_ECAM,
		.mem32_base = RIG_MEM32,
		.mem32_size = 0x10000000,
		.intx_gsi = {16, 17, 18, 19},
	};
	struct err e;

	assert_int_equal(pci_bus_init(&pci, &layout, NULL, &mmio, &host.host, &e), 0);
	assert_int_equal(virtio_pci_init(v, &f, &pci, &host.host, &loop, &e), 0);
}

void rig_pci_fini(struct virtio_pci *v)
{
	virtio_pci_fini(v);
	assert_int_equal(host.nirqfds, 0);
	assert_int_equal(host.ndoorbells, 0);
	pci_bus_fini(&pci);
}
