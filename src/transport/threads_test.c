/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * threads_test.c - vCPUs at the registers while devices die and are replaced
 *
 * What is looked for are data races (the thread sanitizer finds them), deadlocks (the test would
 * not end) and bindings that are left over.
 */
#include "base/fd.h"
#include "base/log.h"
#include "bus/fake_host.h"
#include "mem/memfd.h"
#include "transport/fake_device.h"
#include "transport/virtio_pci.h"
#include "virtio/ids.h"

#include <assert.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ECAM  0xe0000000ull
#define MEM32 0xc0000000ull

enum {
	QUEUES = 4,
	VCPUS = 3,
	ACCESSES = 3000,
	REPLACEMENTS = 20,
	READY = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
		VIRTIO_CONFIG_S_DRIVER_OK,
};

static const struct pci_layout layout = {
	.ecam_base = ECAM,
	.mem32_base = MEM32,
	.mem32_size = 0x10000000,
	.intx_gsi = {16, 17, 18, 19},
};

static struct bus mmio;
static struct fake_host host;
static struct pci_bus pci;
static struct loop loop;
static struct gmem gmem;
static struct frontend f;
static struct virtio_pci v;
static struct fake_device device;
static atomic_uint running;

static void lost(struct frontend *frontend, const char *why)
{
	(void)frontend;
	assert(why);
}

static void out(uint64_t address, unsigned size, uint64_t value)
{
	bus_write(&mmio, address, &value, size);
}

static void start_driver(void)
{
	out(MEM32 + VIRTIO_PCI_COMMON_STATUS, 1, 3);
	out(MEM32 + VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	out(MEM32 + VIRTIO_PCI_COMMON_GF, 4, 1);
	out(MEM32 + VIRTIO_PCI_COMMON_STATUS, 1, READY & ~VIRTIO_CONFIG_S_DRIVER_OK);
	for (unsigned q = 0; q < QUEUES; q++) {
		out(MEM32 + VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
		out(MEM32 + VIRTIO_PCI_COMMON_Q_MSIX, 2, q);
		out(MEM32 + VIRTIO_PCI_COMMON_Q_DESCLO, 8, 0x10000 * (q + 1));
		out(MEM32 + VIRTIO_PCI_COMMON_Q_AVAILLO, 8, 0x10000 * (q + 1) + 0x1000);
		out(MEM32 + VIRTIO_PCI_COMMON_Q_USEDLO, 8, 0x10000 * (q + 1) + 0x2000);
		out(MEM32 + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	}
	out(MEM32 + VIRTIO_PCI_COMMON_STATUS, 1, READY);
}

/* Something that a guest might do. */
static void act(uint32_t random)
{
	uint64_t value = random >> 8;

	switch (random % 16) {
	case 0:
		out(MEM32 + VIRTIO_PCI_COMMON_STATUS, 1, 0);
		start_driver();
		break;
	case 1:
		out(ECAM + (1 << 15) + v.msix.capability + PCI_MSIX_FLAGS, 2, value);
		break;
	case 2:
		out(ECAM + (1 << 15) + PCI_COMMAND, 2, PCI_COMMAND_MEMORY | (value & 4));
		break;
	case 3:
	case 4:
		out(MEM32 + 0x4000 + 16 * (value % 5) + 12, 4, value >> 7);
		break;
	case 5:
		bus_read(&mmio, MEM32 + 0x5000, &value, 8);
		break;
	case 6:
		out(MEM32 + 0x2000 + value % 16, 1, value);
		break;
	case 7:
		bus_read(&mmio, MEM32 + 0x2000, &value, 4);
		break;
	case 8:
		bus_read(&mmio, MEM32 + 0x1000, &value, 1);
		break;
	case 9:
	case 10:
		out(MEM32 + 0x3000 + 4 * (value % QUEUES), 2, 0);
		break;
	case 11:
		fd_signal(f.queues[value % QUEUES].call_fd);
		break;
	default:
		bus_read(&mmio, MEM32 + value % 0x40, &value, 1 + value % 4);
		break;
	}
}

static void *vcpu(void *seed)
{
	uint32_t random = *(uint32_t *)seed;

	for (unsigned i = 0; i < ACCESSES; i++) {
		random = random * 1664525 + 1013904223;
		act(random >> 4);
	}
	running--;
	return NULL;
}

static void attach(void)
{
	struct err e;

	fake_device_init(&device);
	assert_int_equal(frontend_attach_take(&f, fake_device_start(&device), &e), 0);
}

static void replace(void)
{
	fake_device_stop(&device);
	frontend_detach(&f);
	fake_device_fini(&device);
	attach();
}

static void run_loop(unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		assert_int_equal(loop_once(&loop, 1), 0);
}

static void set_up(void)
{
	struct frontend_args args = {
		.name = "block0",
		.virtio_id = VIRTIO_ID_BLOCK,
		.nqueues = QUEUES,
		.queue_size = 64,
		.config_size = 16,
		.gmem = &gmem,
		.loop = &loop,
		.lost = lost,
	};
	struct err e;
	int fd = memfd_new("test", 1 << 20, false, &e);

	log_level_set(LOG_LEVEL_ERROR);
	gmem_init(&gmem);
	assert_int_equal(gmem_map_take(&gmem, 0, 1 << 20, fd, 0), 0);
	bus_init(&mmio);
	fake_host_init(&host);
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(pci_bus_init(&pci, &layout, NULL, &mmio, &host.host, &e), 0);
	assert_int_equal(frontend_init(&f, &args, &e), 0);
	assert_int_equal(virtio_pci_init(&v, &f, &pci, &host.host, &loop, &e), 0);
	attach();
}

static void tear_down(void)
{
	virtio_pci_fini(&v);
	frontend_fini(&f);
	fake_device_fini(&device);
	pci_bus_fini(&pci);
	bus_fini(&mmio);
	loop_fini(&loop);
	gmem_fini(&gmem);
}

static void vcpus_and_replacements_do_not_get_in_each_others_way(void **state)
{
	uint32_t seeds[VCPUS] = {1, 22, 333};
	pthread_t threads[VCPUS];

	(void)state;
	set_up();
	running = VCPUS;
	for (unsigned i = 0; i < VCPUS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, vcpu, &seeds[i]), 0);
	for (unsigned i = 0; i < REPLACEMENTS || running > 0; i++) {
		run_loop(10);
		if (i < REPLACEMENTS)
			replace();
	}
	for (unsigned i = 0; i < VCPUS; i++)
		pthread_join(threads[i], NULL);
	while (!frontend_is_linked(&f))
		run_loop(1);
	out(MEM32 + VIRTIO_PCI_COMMON_STATUS, 1, 0);
	assert_int_equal(host.ndoorbells, 0);
	start_driver();
	assert_int_equal(frontend_status(&f), READY);
	for (unsigned q = 0; q < QUEUES; q++)
		assert_true(device.vrings[q].enabled);
	tear_down();
	assert_int_equal(host.ndoorbells, 0);
	assert_int_equal(host.nirqfds, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vcpus_and_replacements_do_not_get_in_each_others_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
