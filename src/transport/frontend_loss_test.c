/* SPDX-License-Identifier: BSD-3-Clause */
/* frontend_loss_test.c - hostile devices, restart */
#include "base/fd.h"
#include "transport/frontend_fixture.h"

/* ---- devices that fail ---- */

static void a_broken_ring_is_told_to_the_driver(void **state)
{
	(void)state;
	attach(&device);
	start_driver();
	fd_signal(device.vrings[1].err_fd);
	rig_run();
	assert_int_equal(nchanges, 1);
	assert_int_equal(frontend_status(&f), READY | VIRTIO_CONFIG_S_NEEDS_RESET);
	frontend_status_set(&f, 0);
	assert_int_equal(frontend_status(&f), 0);
}

static void a_broken_ring_of_the_last_session_is_forgotten(void **state)
{
	(void)state;
	attach(&device);
	start_driver();
	fd_signal(device.vrings[1].err_fd);
	frontend_status_set(&f, 0);
	start_driver();
	rig_run();
	assert_int_equal(frontend_status(&f), READY);
}

/* The device misbehaves while the driver starts and then resets it. */
static void check_is_cut_off(const struct fake_faults *faults, const char *why)
{
	uint64_t before;

	device.faults = *faults;
	f.args.limit_ms = faults->ignored ? LIMIT_MS : FRONTEND_LIMIT_MS;
	before = clock_ns();
	attach(&device);
	if (nlosses == 0) {
		start_driver();
		frontend_status_set(&f, 0);
		rig_run();
	}
	assert_int_equal(nlosses, 1);
	assert_string_equal(loss, why);
	assert_int_equal(f.state, FRONTEND_UNLINKED);
	assert_true(clock_ns() - before < FRONTEND_LIMIT_MS * 1000000ull);
	frontend_detach(&f);
	fake_device_fini(&device);
	fake_device_init(&device);
	nlosses = 0;
}

static void a_device_that_does_not_answer_is_cut_off(void **state)
{
	const uint32_t requests[] = {VU_GET_PROTOCOL_FEATURES, VU_GET_CONFIG,     VU_SET_MEM_TABLE,
				     VU_SET_VRING_KICK,        VU_GET_VRING_BASE, VU_SET_STATUS};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(requests); i++)
		check_is_cut_off(&(struct fake_faults){.ignored = requests[i]},
				 "did not answer in time");
}

/* With two queues; each answer comes in time. */
static void check_delay_is_cut_off(uint32_t request)
{
	device.faults = (struct fake_faults){.delayed = request, .delay_ms = 600};
	attach(&device);
	f.args.limit_ms = 1000;
	start_driver();
	frontend_status_set(&f, 0);
	assert_false(frontend_is_linked(&f));
	f.args.limit_ms = FRONTEND_LIMIT_MS;
	while (nlosses == 0)
		assert_int_equal(loop_once(&loop, 1000), 0);
	assert_string_equal(loss, "did not answer in time");
}

static void all_queues_are_handed_over_within_the_limit(void **state)
{
	(void)state;
	check_delay_is_cut_off(VU_SET_VRING_KICK);
}

static void all_queues_are_taken_back_within_the_limit(void **state)
{
	(void)state;
	check_delay_is_cut_off(VU_GET_VRING_BASE);
}

static void a_device_that_closes_is_lost(void **state)
{
	const uint32_t requests[] = {VU_GET_FEATURES, VU_GET_QUEUE_NUM, VU_SET_FEATURES,
				     VU_GET_INFLIGHT_FD, VU_GET_VRING_BASE};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(requests); i++)
		check_is_cut_off(&(struct fake_faults){.closed = requests[i]},
				 "closed the connection");
}

static void a_device_that_answers_something_else_is_cut_off(void **state)
{
	const uint32_t requests[] = {VU_GET_PROTOCOL_FEATURES, VU_SET_MEM_TABLE, VU_SET_STATUS};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(requests); i++)
		check_is_cut_off(&(struct fake_faults){.mistaken = requests[i]},
				 "broke the vhost-user protocol");
	check_is_cut_off(&(struct fake_faults){.indexed = VU_GET_VRING_BASE},
			 "broke the vhost-user protocol");
}

/* The next question was asked already, and its answer comes device. */
static void a_device_that_passes_a_question_over_is_cut_off(void **state)
{
	(void)state;
	check_is_cut_off(&(struct fake_faults){.ignored = VU_GET_QUEUE_NUM},
			 "broke the vhost-user protocol");
}

static void a_device_of_ours_is_asked_for_its_protocol_at_once(void **state)
{
	(void)state;
	f.args.has_protocol = true;
	attach(&device);
	start_driver();
	assert_int_equal(f.state, FRONTEND_LINKED);
	assert_int_equal(device.count[VU_GET_PROTOCOL_FEATURES], 1);
	assert_true(device.protocol_acked & VU_BIT(VU_PROTOCOL_F_CONFIG));
	frontend_detach(&f);
	fake_device_fini(&device);
	fake_device_init(&device);
	device.features &= ~VU_BIT(VU_F_PROTOCOL_FEATURES);
	check_is_cut_off(&(struct fake_faults){0}, "broke the vhost-user protocol");
}

static void a_device_that_refuses_to_be_reset_is_cut_off(void **state)
{
	(void)state;
	check_is_cut_off(&(struct fake_faults){.refused = VU_SET_STATUS}, "refused a request");
}

static void a_log_must_be_memory(void **state)
{
	(void)state;
	device.log_is_a_pipe = true;
	check_is_cut_off(&(struct fake_faults){0}, "broke the vhost-user protocol");
}

static void a_refused_queue_breaks_the_session_only(void **state)
{
	(void)state;
	device.faults.refused = VU_SET_VRING_ADDR;
	attach(&device);
	start_driver();
	assert_int_equal(f.state, FRONTEND_LINKED);
	assert_true(frontend_status(&f) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void a_device_without_version_1_is_refused(void **state)
{
	(void)state;
	device.features &= ~version_1;
	attach(&device);
	assert_int_equal(nlosses, 1);
	assert_string_equal(loss, "lacks a feature that is needed");
	assert_false(frontend_is_linked(&f));
}

static void numbers_of_queues_are_bounded(void **state)
{
	(void)state;
	device.nqueues = UINT64_MAX;
	attach(&device);
	assert_int_equal(frontend_nqueues(&f), RIG_QUEUES);
	tear_down(NULL);
	set_up(NULL);
	device.nqueues = 0;
	attach(&device);
	assert_int_equal(frontend_nqueues(&f), 1);
}

static void a_driver_that_comes_first_waits_for_the_device(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(frontend_attach_take(&f, fake_device_start(&device), &e), 0);
	assert_true(frontend_features(&f) & version_1); /* without the loop's help */
	rig_run();
	assert_int_equal(device.count[VU_GET_FEATURES], 1);
	assert_int_equal(f.state, FRONTEND_LINKED);
}

static void a_driver_without_a_device_does_not_wait_for_ever(void **state)
{
	(void)state;
	f.args.limit_ms = LIMIT_MS;
	assert_int_equal(frontend_features(&f), 0);
	accept_features(version_1);
	assert_false(frontend_status(&f) & VIRTIO_CONFIG_S_FEATURES_OK);
}

/* ---- restart ---- */

static void check_restarted(void)
{
	assert_int_equal(f.state, FRONTEND_LINKED);
	assert_int_equal(frontend_restarts(&f), 1);
	assert_int_equal(frontend_status(&f), READY);
	assert_int_equal(second.acked, device.acked);
	assert_int_equal(second.status, READY);
	assert_int_equal(second.vrings[1].desc, device.vrings[1].desc);
	assert_int_equal(second.vrings[1].size, 16);
	assert_true(second.vrings[0].enabled && second.vrings[1].enabled);
}

static void a_new_device_takes_up_the_work(void **state)
{
	const le16 used = le16_of(7);
	uint16_t value = 0xabcd;
	struct stat a, b;

	(void)state;
	attach(&device);
	frontend_config_write(&f, 2, &value, 2);
	start_driver();
	assert_true(gmem_write(&gmem, 0x12002, &used, sizeof(used)));
	fake_device_stop(&device);
	rig_run();
	assert_int_equal(nlosses, 1);
	assert_int_equal(frontend_status(&f), READY);
	frontend_detach(&f);
	nlosses = 0;
	attach(&second);
	check_restarted();
	assert_int_equal(second.vrings[0].base, 7);
	assert_int_equal(second.vrings[1].base, 0);
	assert_int_equal(second.count[VU_GET_INFLIGHT_FD], 0);
	assert_int_equal(fstat(device.inflight_fd, &a) | fstat(second.inflight_fd, &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(second.config[2], 0xcd);
	assert_int_equal(second.config[4], 4);
	assert_true(fd_drain(f.queues[0].kick_fd) > 0);
	assert_true(fd_drain(f.queues[0].call_fd) > 0);
	assert_int_equal(fd_drain(f.queues[2].kick_fd), 0);
}

static void refused_configuration_writes_do_not_stop_a_new_device(void **state)
{
	uint16_t value = 0xabcd;

	(void)state;
	device.faults.refused = second.faults.refused = VU_SET_CONFIG;
	attach(&device);
	start_driver();
	frontend_config_write(&f, 2, &value, 2);
	assert_int_equal(f.state, FRONTEND_LINKED);
	assert_int_equal(frontend_status(&f), READY);
	frontend_detach(&f);
	attach(&second);
	check_restarted();
}

static void what_happens_without_a_device_is_made_up_for(void **state)
{
	(void)state;
	attach(&device);
	frontend_detach(&f);
	start_driver();
	assert_int_equal(frontend_status(&f), READY);
	attach(&second);
	assert_true(second.vrings[0].enabled && second.vrings[1].enabled);
	frontend_detach(&f);
	frontend_status_set(&f, 0);
	fake_device_fini(&device);
	fake_device_init(&device);
	attach(&device);
	assert_int_equal(device.count[VU_SET_FEATURES], 0);
	assert_int_equal(frontend_restarts(&f), 2);
}

static void a_death_in_the_middle_of_a_reset_ends_it(void **state)
{
	(void)state;
	device.faults.closed = VU_GET_VRING_BASE;
	attach(&device);
	start_driver();
	frontend_status_set(&f, 0);
	assert_int_equal(frontend_status(&f), 0);
	rig_run();
	assert_int_equal(nlosses, 1);
	nlosses = 0;
	attach(&second);
	assert_int_equal(second.count[VU_SET_FEATURES], 0);
	start_driver();
	assert_true(second.vrings[0].enabled);
}

static void a_lesser_device_cannot_take_over(void **state)
{
	(void)state;
	attach(&device);
	start_driver();
	frontend_detach(&f);
	second.features &= ~1ull;
	attach(&second);
	assert_int_equal(nlosses, 1);
	assert_string_equal(loss, "lacks a feature that is needed");
	frontend_detach(&f);
	nlosses = 0;
	fake_device_fini(&second);
	fake_device_init(&second);
	second.nqueues = 3;
	attach(&second);
	assert_int_equal(nlosses, 1);
}

static void a_paused_device_goes_on_where_it_was(void **state)
{
	(void)state;
	attach(&device);
	frontend_pause(&f); /* nothing to pause yet */
	start_driver();
	assert_true(device.vrings[0].enabled);
	device.vrings[0].base = 5;
	frontend_pause(&f);
	assert_false(device.vrings[0].enabled || device.vrings[1].enabled);
	assert_int_equal(frontend_status(&f), READY);
	set_up_queue(2, 0x20000);
	assert_false(device.vrings[2].enabled);
	frontend_resume(&f);
	assert_true(device.vrings[0].enabled && device.vrings[1].enabled);
	assert_true(device.vrings[2].enabled);
	assert_int_equal(device.vrings[0].base, 5);
	assert_int_equal(device.vrings[2].base, 0);
	assert_int_equal(device.count[VU_GET_INFLIGHT_FD], 1);
	assert_true(fd_drain(f.queues[0].kick_fd) > 0);
}

static void a_pause_outlives_the_device_but_not_a_reset(void **state)
{
	(void)state;
	attach(&device);
	start_driver();
	frontend_pause(&f);
	frontend_detach(&f);
	attach(&second);
	assert_int_equal(second.count[VU_SET_VRING_KICK], 0);
	frontend_status_set(&f, 0);
	start_driver();
	assert_true(second.vrings[0].enabled);
}

static void giving_up_tells_the_driver(void **state)
{
	(void)state;
	attach(&device);
	start_driver();
	frontend_give_up(&f);
	rig_run();
	assert_int_equal(nchanges, 1);
	assert_true(frontend_status(&f) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void a_plain_back_end_will_do(void **state)
{
	(void)state;
	device.features &= ~VU_BIT(VU_F_PROTOCOL_FEATURES);
	attach(&device);
	start_driver();
	frontend_status_set(&f, 0);
	assert_int_equal(f.state, FRONTEND_LINKED);
	frontend_detach(&f);
	fake_device_stop(&device);
	assert_int_equal(device.count[VU_GET_PROTOCOL_FEATURES], 0);
	assert_int_equal(device.count[VU_SET_VRING_KICK], 2);
	assert_int_equal(device.count[VU_SET_VRING_ENABLE], 0);
	assert_int_equal(device.count[VU_GET_VRING_BASE], 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_broken_ring_is_told_to_the_driver),
		T(a_broken_ring_of_the_last_session_is_forgotten),
		T(a_device_that_does_not_answer_is_cut_off),
		T(all_queues_are_handed_over_within_the_limit),
		T(all_queues_are_taken_back_within_the_limit),
		T(a_device_that_closes_is_lost),
		T(a_device_that_answers_something_else_is_cut_off),
		T(a_device_that_passes_a_question_over_is_cut_off),
		T(a_device_of_ours_is_asked_for_its_protocol_at_once),
		T(a_device_that_refuses_to_be_reset_is_cut_off),
		T(a_log_must_be_memory),
		T(a_refused_queue_breaks_the_session_only),
		T(a_device_without_version_1_is_refused),
		T(numbers_of_queues_are_bounded),
		T(a_driver_that_comes_first_waits_for_the_device),
		T(a_driver_without_a_device_does_not_wait_for_ever),
		T(a_new_device_takes_up_the_work),
		T(refused_configuration_writes_do_not_stop_a_new_device),
		T(what_happens_without_a_device_is_made_up_for),
		T(a_death_in_the_middle_of_a_reset_ends_it),
		T(a_lesser_device_cannot_take_over),
		T(a_paused_device_goes_on_where_it_was),
		T(a_pause_outlives_the_device_but_not_a_reset),
		T(giving_up_tells_the_driver),
		T(a_plain_back_end_will_do),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
