/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * threads_test.c - vCPUs at the registers while devices die and are replaced
 *
 * What is looked for are data races (the thread sanitizer finds them), deadlocks (the test would
 * not end) and bindings that are left over.
 */
#include "base/fd.h"
#include "base/log.h"
#include "transport/rig_test.h"
#include "virtio/ids.h"

#include <assert.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
	VCPUS = 3,
	ACCESSES = 3000,
	REPLACEMENTS = 20,
	READY = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
		VIRTIO_CONFIG_S_DRIVER_OK,
};

static struct virtio_pci v;
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
	out(RIG_MEM32 + VIRTIO_PCI_COMMON_STATUS, 1, 3);
	out(RIG_MEM32 + VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	out(RIG_MEM32 + VIRTIO_PCI_COMMON_GF, 4, 1);
	out(RIG_MEM32 + VIRTIO_PCI_COMMON_STATUS, 1, READY & ~VIRTIO_CONFIG_S_DRIVER_OK);
	for (unsigned q = 0; q < RIG_QUEUES; q++) {
		out(RIG_MEM32 + VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
		out(RIG_MEM32 + VIRTIO_PCI_COMMON_Q_MSIX, 2, q);
		out(RIG_MEM32 + VIRTIO_PCI_COMMON_Q_DESCLO, 8, 0x10000 * (q + 1));
		out(RIG_MEM32 + VIRTIO_PCI_COMMON_Q_AVAILLO, 8, 0x10000 * (q + 1) + 0x1000);
		out(RIG_MEM32 + VIRTIO_PCI_COMMON_Q_USEDLO, 8, 0x10000 * (q + 1) + 0x2000);
		out(RIG_MEM32 + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	}
	out(RIG_MEM32 + VIRTIO_PCI_COMMON_STATUS, 1, READY);
}

/* Something that a guest might do. */
static void act(uint32_t random)
{
	uint64_t value = random >> 8;

	switch (random % 16) {
	case 0:
		out(RIG_MEM32 + VIRTIO_PCI_COMMON_STATUS, 1, 0);
		start_driver();
		break;
	case 1:
		out(RIG_ECAM + (1 << 15) + v.msix.capability + PCI_MSIX_FLAGS, 2, value);
		break;
	case 2:
		out(RIG_ECAM + (1 << 15) + PCI_COMMAND, 2, PCI_COMMAND_MEMORY | (value & 4));
		break;
	case 3:
	case 4:
		out(RIG_MEM32 + 0x4000 + 16 * (value % 5) + 12, 4, value >> 7);
		break;
	case 5:
		bus_read(&mmio, RIG_MEM32 + 0x5000, &value, 8);
		break;
	case 6:
		out(RIG_MEM32 + 0x2000 + value % 16, 1, value);
		break;
	case 7:
		bus_read(&mmio, RIG_MEM32 + 0x2000, &value, 4);
		break;
	case 8:
		bus_read(&mmio, RIG_MEM32 + 0x1000, &value, 1);
		break;
	case 9:
	case 10:
		out(RIG_MEM32 + 0x3000 + 4 * (value % RIG_QUEUES), 2, 0);
		break;
	case 11:
		fd_signal(f.queues[value % RIG_QUEUES].call_fd);
		break;
	default:
		bus_read(&mmio, RIG_MEM32 + value % 0x40, &value, 1 + value % 4);
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

static void replace(void)
{
	fake_device_stop(&device);
	frontend_detach(&f);
	fake_device_fini(&device);
	fake_device_init(&device);
	rig_attach();
}

static void run_loop(unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		assert_int_equal(loop_once(&loop, 1), 0);
}

static void vcpus_and_replacements_do_not_get_in_each_others_way(void **state)
{
	uint32_t seeds[VCPUS] = {1, 22, 333};
	pthread_t threads[VCPUS];

	(void)state;
	log_level_set(LOG_LEVEL_ERROR);
	rig_init(lost);
	rig_pci_init(&v);
	rig_attach();
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
	out(RIG_MEM32 + VIRTIO_PCI_COMMON_STATUS, 1, 0);
	assert_int_equal(host.ndoorbells, 0);
	start_driver();
	assert_int_equal(frontend_status(&f), READY);
	for (unsigned q = 0; q < RIG_QUEUES; q++)
		assert_true(device.vrings[q].enabled);
	rig_pci_fini(&v);
	rig_fini();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vcpus_and_replacements_do_not_get_in_each_others_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
