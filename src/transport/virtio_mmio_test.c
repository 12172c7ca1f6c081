/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_mmio_test.c - registers, doorbells, interrupts */
#include "base/fd.h"
#include "transport/rig_test.h"
#include "transport/virtio_mmio.h"
#include "virtio/ids.h"

#include <linux/virtio_mmio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BASE 0xe0001000ull

enum {
	GSI = 5,
	QUEUE_RESET = 0xc0,
	STATUS_DRIVER = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER,
	STATUS_FEATURES = STATUS_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK,
	STATUS_READY = STATUS_FEATURES | VIRTIO_CONFIG_S_DRIVER_OK,
};

static struct virtio_mmio v;

static int set_up(void **state)
{
	struct err e;

	(void)state;
	rig_init(rig_lost);
	assert_int_equal(virtio_mmio_init(&v, &f, &mmio, BASE, &host.host, GSI, &e), 0);
	rig_attach();
	(void)frontend_features(&f); /* waits for it */
	return frontend_is_linked(&f) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	virtio_mmio_fini(&v);
	assert_int_equal(host.nirqfds, 0);
	assert_int_equal(host.ndoorbells, 0);
	rig_fini();
	return 0;
}

static uint32_t in(unsigned at)
{
	uint32_t value = 0;

	bus_read(&mmio, BASE + at, &value, 4);
	return value;
}

static void out(unsigned at, uint32_t value)
{
	bus_write(&mmio, BASE + at, &value, 4);
}

static void accept_features(uint64_t features)
{
	out(VIRTIO_MMIO_STATUS, STATUS_DRIVER);
	for (unsigned word = 0; word < 2; word++) {
		out(VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
		out(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> (32 * word)));
	}
	out(VIRTIO_MMIO_STATUS, STATUS_FEATURES);
}

static void enable_queue(unsigned q)
{
	out(VIRTIO_MMIO_QUEUE_SEL, q);
	out(VIRTIO_MMIO_QUEUE_NUM, 16);
	out(VIRTIO_MMIO_QUEUE_DESC_LOW, 0x10000 * (q + 1));
	out(VIRTIO_MMIO_QUEUE_DESC_HIGH, 0);
	out(VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0x10000 * (q + 1) + 0x1000);
	out(VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 0);
	out(VIRTIO_MMIO_QUEUE_USED_LOW, 0x10000 * (q + 1) + 0x2000);
	out(VIRTIO_MMIO_QUEUE_USED_HIGH, 0);
	out(VIRTIO_MMIO_QUEUE_READY, 1);
}

static void start(void)
{
	accept_features(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_RING_RESET));
	enable_queue(0);
	enable_queue(1);
	out(VIRTIO_MMIO_STATUS, STATUS_READY);
}

static void the_device_says_what_it_is(void **state)
{
	(void)state;
	assert_int_equal(in(VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(in(VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(in(VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_BLOCK);
	assert_int_equal(in(VIRTIO_MMIO_VENDOR_ID), 0);
	out(VIRTIO_MMIO_MAGIC_VALUE, 0);
	assert_int_equal(in(VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
}

static void features_are_read_by_word(void **state)
{
	(void)state;
	out(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	assert_int_equal(in(VIRTIO_MMIO_DEVICE_FEATURES), frontend_features(&f) >> 32);
	out(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	assert_int_equal(in(VIRTIO_MMIO_DEVICE_FEATURES), (uint32_t)frontend_features(&f));
	out(VIRTIO_MMIO_DEVICE_FEATURES_SEL, UINT32_MAX);
	assert_int_equal(in(VIRTIO_MMIO_DEVICE_FEATURES), 0);
}

static void the_device_starts_through_registers(void **state)
{
	(void)state;
	out(VIRTIO_MMIO_QUEUE_SEL, 1);
	assert_int_equal(in(VIRTIO_MMIO_QUEUE_NUM_MAX), 64);
	start();
	assert_int_equal(in(VIRTIO_MMIO_STATUS), STATUS_READY);
	assert_int_equal(in(VIRTIO_MMIO_QUEUE_READY), 1);
	assert_int_equal(device.vrings[1].desc, 0x20000);
	assert_int_equal(device.vrings[1].avail, 0x21000);
	assert_int_equal(device.vrings[1].used, 0x22000);
	assert_int_equal(device.vrings[1].size, 16);
	assert_int_equal(device.status, STATUS_READY);
}

static void queue_registers_do_not_change_after_activation(void **state)
{
	(void)state;
	start();
	out(VIRTIO_MMIO_QUEUE_NUM, 8);
	out(VIRTIO_MMIO_QUEUE_DESC_LOW, 0);
	out(VIRTIO_MMIO_QUEUE_READY, 2); /* neither on nor off */
	out(VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(in(VIRTIO_MMIO_QUEUE_READY), 1);
	assert_int_equal(frontend_queue_size(&f, 1), 16);
	assert_int_equal(frontend_queue_address(&f, 1, FRONTEND_DESC), 0x20000);
	assert_int_equal(device.count[VU_SET_VRING_ADDR], 2);
}

static void queues_out_of_range_are_nothing(void **state)
{
	(void)state;
	out(VIRTIO_MMIO_QUEUE_SEL, 0x10001);
	out(VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(in(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	assert_int_equal(in(VIRTIO_MMIO_QUEUE_READY), 0);
	out(VIRTIO_MMIO_QUEUE_NOTIFY, RIG_QUEUES);
	out(VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
	assert_int_equal(host.ndoorbells, 0);
}

static void odd_sized_register_accesses_are_ignored(void **state)
{
	uint64_t value = 0;

	(void)state;
	out(VIRTIO_MMIO_STATUS, STATUS_DRIVER);
	bus_write(&mmio, BASE + VIRTIO_MMIO_STATUS, &value, 1);
	bus_write(&mmio, BASE + VIRTIO_MMIO_STATUS, &value, 2);
	bus_write(&mmio, BASE + VIRTIO_MMIO_STATUS, &value, 8);
	bus_write(&mmio, BASE + VIRTIO_MMIO_STATUS - 2, &value, 4);
	assert_int_equal(in(VIRTIO_MMIO_STATUS), STATUS_DRIVER);
	bus_read(&mmio, BASE, &value, 2);
	assert_int_equal(value, 0);
	bus_read(&mmio, BASE + 1, &value, 4);
	assert_int_equal(value, 0);
}

static void configuration_is_read_in_any_size(void **state)
{
	uint64_t value = 0;

	(void)state;
	bus_read(&mmio, BASE + VIRTIO_MMIO_CONFIG + 3, &value, 2);
	assert_int_equal(value, 0x0403);
	bus_read(&mmio, BASE + VIRTIO_MMIO_CONFIG + 8, &value, 8);
	assert_int_equal(value, 0x0f0e0d0c0b0a0908);
	bus_read(&mmio, BASE + 0xffc, &value, 4);
	assert_int_equal((uint32_t)value, 0);
	value = 0x55;
	bus_write(&mmio, BASE + VIRTIO_MMIO_CONFIG + 1, &value, 1);
	assert_int_equal(device.config[1], 0x55);
	assert_int_equal(device.config[2], 2);
}

static void doorbells_tell_queues_apart_by_value(void **state)
{
	(void)state;
	out(VIRTIO_MMIO_QUEUE_NOTIFY, 1); /* not on yet: by exit */
	assert_int_equal(fd_drain(f.queues[1].kick_fd), 1);
	start();
	assert_int_equal(fake_host_doorbell(&host, BASE + 0x50, 0), f.queues[0].kick_fd);
	assert_int_equal(fake_host_doorbell(&host, BASE + 0x50, 1), f.queues[1].kick_fd);
	assert_int_equal(fake_host_doorbell(&host, BASE + 0x50, 2), -1);
	out(VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(host.ndoorbells, 0);
}

static void calls_are_bound_to_the_line(void **state)
{
	(void)state;
	for (unsigned q = 0; q < RIG_QUEUES; q++)
		assert_int_equal(fake_host_irqfd(&host, f.queues[q].call_fd), GSI);
	assert_int_equal(fake_host_irqfd(&host, v.config_fd), GSI);
	assert_int_equal(in(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	start();
	assert_int_equal(in(VIRTIO_MMIO_INTERRUPT_STATUS), 1);
	out(VIRTIO_MMIO_INTERRUPT_ACK, 1);
	assert_int_equal(in(VIRTIO_MMIO_INTERRUPT_STATUS), 1);
}

static void a_changed_configuration_interrupts(void **state)
{
	uint32_t generation = in(VIRTIO_MMIO_CONFIG_GENERATION);

	(void)state;
	start();
	device.config[3] = 0x99;
	assert_true(fake_device_tell(&device, VU_BACKEND_CONFIG_CHANGE));
	assert_int_equal(loop_once(&loop, 1000), 0);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(in(VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	assert_int_equal(fd_drain(v.config_fd), 1);
	assert_int_not_equal(in(VIRTIO_MMIO_CONFIG_GENERATION), generation);
	out(VIRTIO_MMIO_INTERRUPT_ACK, 2);
	assert_int_equal(in(VIRTIO_MMIO_INTERRUPT_STATUS), 1);
	assert_true(fake_device_was_heard(&device));
}

static void there_is_no_shared_memory(void **state)
{
	(void)state;
	out(VIRTIO_MMIO_SHM_SEL, 0);
	assert_int_equal(in(VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	assert_int_equal(in(VIRTIO_MMIO_SHM_LEN_HIGH), UINT32_MAX);
	assert_int_equal(in(VIRTIO_MMIO_SHM_BASE_LOW), UINT32_MAX);
	assert_int_equal(in(VIRTIO_MMIO_SHM_BASE_HIGH), UINT32_MAX);
}

static void reset_in_the_middle_of_requests_starts_anew(void **state)
{
	(void)state;
	start();
	out(VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(device.count[VU_GET_VRING_BASE], 2);
	assert_int_equal(in(VIRTIO_MMIO_STATUS), 0);
	assert_int_equal(in(VIRTIO_MMIO_QUEUE_READY), 0);
	start();
	assert_int_equal(in(VIRTIO_MMIO_STATUS), STATUS_READY);
	assert_int_equal(host.ndoorbells, 2);
}

static void a_queue_is_stopped_by_ready_and_by_reset(void **state)
{
	(void)state;
	start();
	out(VIRTIO_MMIO_QUEUE_SEL, 0);
	out(VIRTIO_MMIO_QUEUE_READY, 0);
	assert_int_equal(in(VIRTIO_MMIO_QUEUE_READY), 0);
	out(VIRTIO_MMIO_QUEUE_SEL, 1);
	out(QUEUE_RESET, 1);
	assert_int_equal(in(QUEUE_RESET), 0);
	assert_int_equal(in(VIRTIO_MMIO_QUEUE_READY), 0);
	assert_int_equal(device.count[VU_GET_VRING_BASE], 2);
	assert_int_equal(host.ndoorbells, 0);
	enable_queue(1);
	assert_true(device.vrings[1].enabled);
	assert_false(device.vrings[0].enabled);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(the_device_says_what_it_is),
		T(features_are_read_by_word),
		T(the_device_starts_through_registers),
		T(queue_registers_do_not_change_after_activation),
		T(queues_out_of_range_are_nothing),
		T(odd_sized_register_accesses_are_ignored),
		T(configuration_is_read_in_any_size),
		T(doorbells_tell_queues_apart_by_value),
		T(calls_are_bound_to_the_line),
		T(a_changed_configuration_interrupts),
		T(there_is_no_shared_memory),
		T(reset_in_the_middle_of_requests_starts_anew),
		T(a_queue_is_stopped_by_ready_and_by_reset),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
