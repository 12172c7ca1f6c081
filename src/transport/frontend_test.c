/* SPDX-License-Identifier: BSD-3-Clause */
/* frontend_test.c - status machine, queues, configuration */
#include "transport/frontend_fixture.h"

/* ---- features and status ---- */

static void features_are_those_that_work_here(void **state)
{
	(void)state;
	device.features |= VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM) | VIRTIO_BIT(VIRTIO_F_SR_IOV) |
			  VIRTIO_BIT(38) | VIRTIO_BIT(26);
	f.args.features_hidden = 2;
	attach(&device);
	assert_int_equal(frontend_features(&f), version_1 | VIRTIO_RING_FEATURES | ring_reset | 1);
	assert_int_equal(frontend_nqueues(&f), RIG_QUEUES);
	assert_int_equal(device.count[VU_SET_OWNER], 1);
}

static void unoffered_features_are_not_accepted(void **state)
{
	(void)state;
	attach(&device);
	accept_features(version_1 | 1 << 5);
	assert_int_equal(frontend_status(&f), VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	frontend_driver_features_set(&f, 0, 1);
	frontend_status_set(&f, READY & ~VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(frontend_status(&f), READY & ~VIRTIO_CONFIG_S_DRIVER_OK);
}

static void version_1_is_required(void **state)
{
	(void)state;
	attach(&device);
	accept_features(1);
	assert_false(frontend_status(&f) & VIRTIO_CONFIG_S_FEATURES_OK);
	frontend_status_set(&f, READY); /* DRIVER_OK cannot stand without FEATURES_OK */
	assert_false(frontend_status(&f) & VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(device.count[VU_SET_FEATURES], 0);
}

static void features_are_frozen_once_agreed(void **state)
{
	(void)state;
	attach(&device);
	accept_features(version_1 | 1);
	frontend_driver_features_set(&f, 0, 2);
	frontend_driver_features_set(&f, 2, 0xffffffff);
	assert_int_equal(frontend_driver_features(&f), version_1 | 1);
}

static void status_bits_go_away_by_reset_only(void **state)
{
	(void)state;
	attach(&device);
	start_driver();
	frontend_status_set(&f, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	assert_int_equal(frontend_status(&f), READY);
	frontend_status_set(&f, VIRTIO_CONFIG_S_NEEDS_RESET); /* is the device's to set */
	assert_int_equal(frontend_status(&f), READY);
	frontend_status_set(&f, VIRTIO_CONFIG_S_FAILED);
	assert_int_equal(frontend_status(&f), READY | VIRTIO_CONFIG_S_FAILED);
	frontend_status_set(&f, 0);
	assert_int_equal(frontend_status(&f), 0);
}

/* ---- queues ---- */

static void a_ready_driver_hands_over_everything(void **state)
{
	const struct fake_vring *v = &device.vrings[1];

	(void)state;
	attach(&device);
	start_driver();
	assert_int_equal(device.acked, version_1 | 1 | VU_BIT(VU_F_PROTOCOL_FEATURES));
	assert_int_equal(device.status, READY);
	assert_int_equal(le32_get(device.memory.count), 2);
	assert_int_equal(le64_get(device.memory.regions[1].guest), HIGH);
	assert_int_equal(le64_get(device.memory.regions[1].user), HIGH);
	assert_int_equal(v->size, 16);
	assert_int_equal(v->base, 0);
	assert_int_equal(v->desc, HIGH);
	assert_int_equal(v->avail, HIGH + 0x1000);
	assert_int_equal(v->used, HIGH + 0x2000);
	assert_true(v->enabled && v->kick_fd >= 0 && v->call_fd >= 0 && v->err_fd >= 0);
	assert_false(device.vrings[2].enabled);
	assert_true(device.inflight_fd >= 0);
	assert_int_equal(le16_get(device.inflight.queues), RIG_QUEUES);
	assert_int_equal(le16_get(device.inflight.queue_size), 64);
}

static void queue_registers_do_not_change_after_activation(void **state)
{
	(void)state;
	attach(&device);
	start_driver();
	frontend_queue_size_set(&f, 0, 8);
	frontend_queue_address_set(&f, 0, FRONTEND_DESC, true, 1);
	frontend_queue_address_set(&f, 0, FRONTEND_DRIVER, false, 0);
	frontend_queue_address_set(&f, 0, FRONTEND_DEVICE, false, 0);
	assert_int_equal(frontend_queue_size(&f, 0), 16);
	assert_int_equal(frontend_queue_address(&f, 0, FRONTEND_DESC), 0x10000);
	assert_int_equal(frontend_queue_address(&f, 0, FRONTEND_DRIVER), 0x11000);
	assert_int_equal(frontend_queue_address(&f, 0, FRONTEND_DEVICE), 0x12000);
	assert_int_equal(device.count[VU_SET_VRING_ADDR], 2);
}

static void a_second_activation_does_nothing(void **state)
{
	(void)state;
	attach(&device);
	start_driver();
	frontend_status_set(&f, READY);
	frontend_queue_enable(&f, 0);
	assert_int_equal(device.count[VU_SET_FEATURES], 1);
	assert_int_equal(device.count[VU_SET_VRING_KICK], 2);
}

static void impossible_sizes_are_not_taken(void **state)
{
	const uint32_t sizes[] = {0, 3, 128, 0x10000, 0x10010, UINT32_MAX};

	(void)state;
	attach(&device);
	accept_features(version_1);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		frontend_queue_size_set(&f, 0, sizes[i]);
	assert_int_equal(frontend_queue_size(&f, 0), 64);
}

static void queues_out_of_range_are_nothing(void **state)
{
	(void)state;
	attach(&device);
	start_driver();
	frontend_queue_size_set(&f, RIG_QUEUES, 8);
	frontend_queue_address_set(&f, UINT32_MAX, FRONTEND_DESC, false, 1);
	frontend_queue_enable(&f, 0x10000);
	frontend_queue_reset(&f, RIG_QUEUES);
	assert_int_equal(frontend_queue_size(&f, RIG_QUEUES), 0);
	assert_int_equal(frontend_queue_size_max(&f, RIG_QUEUES), 0);
	assert_int_equal(frontend_queue_address(&f, RIG_QUEUES, FRONTEND_DESC), 0);
	assert_false(frontend_queue_enabled(&f, RIG_QUEUES));
}

static void rings_outside_memory_break_the_device(void **state)
{
	(void)state;
	attach(&device);
	accept_features(version_1);
	set_up_queue(0, 0x10000);
	set_up_queue(1, RIG_MEMORY - 0x2000); /* the used ring ends behind the memory */
	frontend_status_set(&f, READY);
	assert_true(frontend_status(&f) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(device.vrings[1].size, 0);
	rig_run();
	assert_int_equal(nchanges, 1);
	frontend_status_set(&f, 0);
	assert_int_equal(frontend_status(&f), 0);
	start_driver();
	assert_int_equal(frontend_status(&f), READY);
}

static void unaligned_rings_break_the_device(void **state)
{
	(void)state;
	attach(&device);
	accept_features(version_1);
	set_up_queue(0, 0x10008);
	frontend_status_set(&f, READY);
	assert_true(frontend_status(&f) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void a_queue_can_be_turned_on_late(void **state)
{
	(void)state;
	attach(&device);
	start_driver();
	set_up_queue(2, 0x20000);
	assert_true(device.vrings[2].enabled);
	assert_int_equal(device.vrings[2].desc, 0x20000);
}

static void reset_in_the_middle_of_requests_takes_everything_back(void **state)
{
	(void)state;
	attach(&device);
	start_driver();
	frontend_status_set(&f, 0);
	assert_int_equal(device.count[VU_GET_VRING_BASE], 2);
	assert_int_equal(device.status, 0);
	assert_false(device.vrings[0].enabled || device.vrings[1].enabled);
	assert_false(frontend_queue_enabled(&f, 0));
	assert_int_equal(frontend_queue_size(&f, 0), 64);
	assert_int_equal(frontend_queue_address(&f, 0, FRONTEND_DESC), 0);
	assert_int_equal(frontend_driver_features(&f), 0);
	start_driver();
	assert_true(device.vrings[0].enabled);
	assert_int_equal(device.count[VU_GET_INFLIGHT_FD], 2); /* no request of the last session */
}

static void one_queue_can_be_reset(void **state)
{
	const uint8_t ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
	uint8_t log[16];

	(void)state;
	attach(&device);
	accept_features(version_1 | ring_reset);
	set_up_queue(0, 0x10000);
	set_up_queue(1, 0x20000);
	frontend_status_set(&f, READY);
	assert_true(frontend_has_queue_reset(&f));
	assert_int_equal(device.acked & ring_reset, 0); /* ours, not the device's */
	assert_int_equal(pwrite(device.inflight_fd, ones, 16, 4096), 16);
	frontend_queue_reset(&f, 1);
	assert_int_equal(device.count[VU_GET_VRING_BASE], 1);
	assert_true(device.vrings[0].enabled);
	assert_false(device.vrings[1].enabled);
	assert_false(frontend_queue_enabled(&f, 1));
	assert_int_equal(pread(device.inflight_fd, log, 16, 4096), 16);
	assert_int_equal(log[0] | log[8], 0);
	set_up_queue(1, 0x30000);
	assert_true(device.vrings[1].enabled);
	assert_int_equal(device.vrings[1].desc, 0x30000);
	assert_int_equal(device.vrings[1].base, 0);
}

/* ---- configuration ---- */

static void configuration_is_read_from_the_cache(void **state)
{
	uint32_t value = 0;
	uint8_t all[RIG_CONFIG + 8];

	(void)state;
	attach(&device);
	frontend_config_read(&f, 4, &value, 4);
	assert_int_equal(value, 0x07060504);
	frontend_config_read(&f, 0, all, sizeof(all));
	assert_int_equal(all[RIG_CONFIG - 1], RIG_CONFIG - 1);
	assert_int_equal(all[RIG_CONFIG], 0);
	frontend_config_read(&f, RIG_CONFIG, &value, 4);
	assert_int_equal(value, 0);
	frontend_config_read(&f, UINT64_MAX, &value, 4);
	assert_int_equal(value, 0);
	assert_int_equal(device.count[VU_GET_CONFIG], 1);
}

static void configuration_writes_reach_the_device(void **state)
{
	uint16_t value = 0xabcd;

	(void)state;
	attach(&device);
	frontend_config_write(&f, 2, &value, 2);
	assert_int_equal(device.config[2], 0xcd);
	frontend_config_write(&f, RIG_CONFIG - 1, &value, 2);
	frontend_config_write(&f, UINT64_MAX, &value, 2);
	assert_int_equal(device.count[VU_SET_CONFIG], 1);
	value = 0;
	frontend_config_read(&f, 2, &value, 2);
	assert_int_equal(value, 0xabcd);
}

static void a_change_gives_a_new_generation(void **state)
{
	uint8_t before, value;

	(void)state;
	attach(&device);
	before = frontend_generation(&f);
	assert_true(fake_device_tell(&device, VU_BACKEND_CONFIG_CHANGE));
	assert_int_equal(loop_once(&loop, 1000), 0);
	assert_true(fake_device_was_heard(&device));
	assert_int_equal(nchanges, 1);
	assert_int_equal(frontend_generation(&f), before); /* it did not change at all */
	device.config[3] = 0x99;
	assert_true(fake_device_tell(&device, VU_BACKEND_CONFIG_CHANGE));
	assert_int_equal(loop_once(&loop, 1000), 0);
	assert_int_not_equal(frontend_generation(&f), before);
	frontend_config_read(&f, 3, &value, 1);
	assert_int_equal(value, 0x99);
	assert_true(fake_device_was_heard(&device));
}

static void unknown_wishes_of_the_device_are_refused(void **state)
{
	(void)state;
	attach(&device);
	assert_true(fake_device_tell(&device, 99));
	assert_int_equal(loop_once(&loop, 1000), 0);
	assert_int_equal(nchanges, 0);
	assert_int_equal(f.state, FRONTEND_LINKED);
}

static void devices_without_a_configuration_get_ours(void **state)
{
	const uint8_t ours[RIG_CONFIG] = "tag";
	struct frontend_args args = f.args;
	char value[4];
	struct err e;

	(void)state;
	frontend_fini(&f);
	args.config = ours;
	assert_int_equal(frontend_init(&f, &args, &e), 0);
	device.protocol_features &= ~VU_BIT(VU_PROTOCOL_F_CONFIG);
	attach(&device);
	frontend_config_read(&f, 0, value, 4);
	assert_string_equal(value, "tag");
}

static void a_device_that_knows_less_configuration_will_do(void **state)
{
	uint8_t all[RIG_CONFIG];

	(void)state;
	for (uint32_t known = 0; known <= RIG_CONFIG; known++) {
		device.config_known = known;
		memset(device.config, 0x11, sizeof(device.config));
		attach(&device);
		frontend_config_read(&f, 0, all, sizeof(all));
		assert_int_equal(f.config_known, known);
		assert_int_equal(all[0], known > 0 ? 0x11 : 0);
		assert_int_equal(all[RIG_CONFIG - 1], known == RIG_CONFIG ? 0x11 : 0);
		tear_down(NULL);
		set_up(NULL);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(features_are_those_that_work_here),
		T(unoffered_features_are_not_accepted),
		T(version_1_is_required),
		T(features_are_frozen_once_agreed),
		T(status_bits_go_away_by_reset_only),
		T(a_ready_driver_hands_over_everything),
		T(queue_registers_do_not_change_after_activation),
		T(a_second_activation_does_nothing),
		T(impossible_sizes_are_not_taken),
		T(queues_out_of_range_are_nothing),
		T(rings_outside_memory_break_the_device),
		T(unaligned_rings_break_the_device),
		T(a_queue_can_be_turned_on_late),
		T(reset_in_the_middle_of_requests_takes_everything_back),
		T(one_queue_can_be_reset),
		T(configuration_is_read_from_the_cache),
		T(configuration_writes_reach_the_device),
		T(a_change_gives_a_new_generation),
		T(unknown_wishes_of_the_device_are_refused),
		T(devices_without_a_configuration_get_ours),
		T(a_device_that_knows_less_configuration_will_do),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
