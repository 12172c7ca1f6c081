/* SPDX-License-Identifier: BSD-3-Clause */
/* frontend_test.c - status machine, queues, hostile devices, restart */
#include "base/fd.h"
#include "mem/memfd.h"
#include "transport/fake_device.h"
#include "transport/frontend.h"
#include "virtio/ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	QUEUES = 4,
	CONFIG = 16,
	MEMORY = 1 << 20,
	HIGH = 1 << 30, /* a second region */
	READY = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
		VIRTIO_CONFIG_S_DRIVER_OK,
	LIMIT_MS = 50, /* where it is to run out */
};

static const uint64_t version_1 = VIRTIO_BIT(VIRTIO_F_VERSION_1);
static const uint64_t ring_reset = VIRTIO_BIT(VIRTIO_F_RING_RESET);

static struct loop loop;
static struct gmem gmem;
static struct frontend f;
static struct fake_device first, second;
static struct frontend_listener listener;
static unsigned nchanges, nlosses;
static const char *loss;

static void config_changed(struct frontend_listener *l)
{
	(void)l;
	nchanges++;
}

static void lost(struct frontend *frontend, const char *why)
{
	assert_ptr_equal(frontend->args.owner, &nlosses);
	nlosses++;
	loss = why;
}

static void add_memory(gpa base)
{
	struct err e;
	int fd = memfd_new("test", MEMORY, false, &e);

	assert_true(fd >= 0);
	assert_int_equal(gmem_map_take(&gmem, base, MEMORY, fd, 0), 0);
}

static int set_up(void **state)
{
	struct err e;
	struct frontend_args args = {
		.name = "block0",
		.virtio_id = VIRTIO_ID_BLOCK,
		.nqueues = QUEUES,
		.queue_size = 64,
		.config_size = CONFIG,
		.gmem = &gmem,
		.loop = &loop,
		.lost = lost,
		.owner = &nlosses,
	};

	(void)state;
	gmem_init(&gmem);
	add_memory(0);
	add_memory(HIGH);
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(frontend_init(&f, &args, &e), 0);
	listener.config_changed = config_changed;
	f.listener = &listener;
	nchanges = nlosses = 0;
	loss = NULL;
	fake_device_init(&first);
	fake_device_init(&second);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	frontend_fini(&f);
	fake_device_fini(&first);
	fake_device_fini(&second);
	loop_fini(&loop);
	gmem_fini(&gmem);
	return 0;
}

/* Lets the loop run until the device is linked or lost. */
static void attach(struct fake_device *d)
{
	struct err e;

	assert_int_equal(frontend_attach_take(&f, fake_device_start(d), &e), 0);
	for (unsigned i = 0; i < 100 && f.state != FRONTEND_LINKED && nlosses == 0; i++)
		assert_int_equal(loop_once(&loop, 1000), 0);
}

/* What waits for the loop, without waiting for more. */
static void run_loop(void)
{
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(loop_once(&loop, 0), 0);
}

static void accept_features(uint64_t features)
{
	frontend_status_set(&f, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	frontend_status_set(&f, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	frontend_driver_features_set(&f, 0, (uint32_t)features);
	frontend_driver_features_set(&f, 1, (uint32_t)(features >> 32));
	frontend_status_set(&f, READY & ~VIRTIO_CONFIG_S_DRIVER_OK);
}

static void set_up_queue(unsigned q, gpa base)
{
	frontend_queue_size_set(&f, q, 16);
	frontend_queue_address_set(&f, q, FRONTEND_DESC, false, (uint32_t)base);
	frontend_queue_address_set(&f, q, FRONTEND_DRIVER, false, (uint32_t)base + 0x1000);
	frontend_queue_address_set(&f, q, FRONTEND_DEVICE, false, (uint32_t)base + 0x2000);
	frontend_queue_enable(&f, q);
}

static void start_driver(void)
{
	accept_features(version_1 | 1);
	set_up_queue(0, 0x10000);
	set_up_queue(1, HIGH);
	frontend_status_set(&f, READY);
}

/* ---- features and status ---- */

static void features_are_those_that_work_here(void **state)
{
	(void)state;
	first.features |= VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM) | VIRTIO_BIT(VIRTIO_F_SR_IOV) |
			  VIRTIO_BIT(38) | VIRTIO_BIT(26);
	f.args.features_hidden = 2;
	attach(&first);
	assert_int_equal(frontend_features(&f), version_1 | VIRTIO_RING_FEATURES | ring_reset | 1);
	assert_int_equal(frontend_nqueues(&f), QUEUES);
	assert_int_equal(first.count[VU_SET_OWNER], 1);
}

static void unoffered_features_are_not_accepted(void **state)
{
	(void)state;
	attach(&first);
	accept_features(version_1 | 1 << 5);
	assert_int_equal(frontend_status(&f), VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	frontend_driver_features_set(&f, 0, 1);
	frontend_status_set(&f, READY & ~VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(frontend_status(&f), READY & ~VIRTIO_CONFIG_S_DRIVER_OK);
}

static void version_1_is_required(void **state)
{
	(void)state;
	attach(&first);
	accept_features(1);
	assert_false(frontend_status(&f) & VIRTIO_CONFIG_S_FEATURES_OK);
	frontend_status_set(&f, READY); /* DRIVER_OK cannot stand without FEATURES_OK */
	assert_false(frontend_status(&f) & VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(first.count[VU_SET_FEATURES], 0);
}

static void features_are_frozen_once_agreed(void **state)
{
	(void)state;
	attach(&first);
	accept_features(version_1 | 1);
	frontend_driver_features_set(&f, 0, 2);
	frontend_driver_features_set(&f, 2, 0xffffffff);
	assert_int_equal(frontend_driver_features(&f), version_1 | 1);
}

static void status_bits_go_away_by_reset_only(void **state)
{
	(void)state;
	attach(&first);
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
	const struct fake_vring *v = &first.vrings[1];

	(void)state;
	attach(&first);
	start_driver();
	assert_int_equal(first.acked, version_1 | 1 | VU_BIT(VU_F_PROTOCOL_FEATURES));
	assert_int_equal(first.status, READY);
	assert_int_equal(le32_get(first.memory.count), 2);
	assert_int_equal(le64_get(first.memory.regions[1].guest), HIGH);
	assert_int_equal(le64_get(first.memory.regions[1].user), HIGH);
	assert_int_equal(v->size, 16);
	assert_int_equal(v->base, 0);
	assert_int_equal(v->desc, HIGH);
	assert_int_equal(v->avail, HIGH + 0x1000);
	assert_int_equal(v->used, HIGH + 0x2000);
	assert_true(v->enabled && v->kick_fd >= 0 && v->call_fd >= 0 && v->err_fd >= 0);
	assert_false(first.vrings[2].enabled);
	assert_true(first.inflight_fd >= 0);
	assert_int_equal(le16_get(first.inflight.queues), QUEUES);
	assert_int_equal(le16_get(first.inflight.queue_size), 64);
}

static void queue_registers_do_not_change_after_activation(void **state)
{
	(void)state;
	attach(&first);
	start_driver();
	frontend_queue_size_set(&f, 0, 8);
	frontend_queue_address_set(&f, 0, FRONTEND_DESC, true, 1);
	frontend_queue_address_set(&f, 0, FRONTEND_DRIVER, false, 0);
	frontend_queue_address_set(&f, 0, FRONTEND_DEVICE, false, 0);
	assert_int_equal(frontend_queue_size(&f, 0), 16);
	assert_int_equal(frontend_queue_address(&f, 0, FRONTEND_DESC), 0x10000);
	assert_int_equal(frontend_queue_address(&f, 0, FRONTEND_DRIVER), 0x11000);
	assert_int_equal(frontend_queue_address(&f, 0, FRONTEND_DEVICE), 0x12000);
	assert_int_equal(first.count[VU_SET_VRING_ADDR], 2);
}

static void a_second_activation_does_nothing(void **state)
{
	(void)state;
	attach(&first);
	start_driver();
	frontend_status_set(&f, READY);
	frontend_queue_enable(&f, 0);
	assert_int_equal(first.count[VU_SET_FEATURES], 1);
	assert_int_equal(first.count[VU_SET_VRING_KICK], 2);
}

static void impossible_sizes_are_not_taken(void **state)
{
	const uint32_t sizes[] = {0, 3, 128, 0x10000, 0x10010, UINT32_MAX};

	(void)state;
	attach(&first);
	accept_features(version_1);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		frontend_queue_size_set(&f, 0, sizes[i]);
	assert_int_equal(frontend_queue_size(&f, 0), 64);
}

static void queues_out_of_range_are_nothing(void **state)
{
	(void)state;
	attach(&first);
	start_driver();
	frontend_queue_size_set(&f, QUEUES, 8);
	frontend_queue_address_set(&f, UINT32_MAX, FRONTEND_DESC, false, 1);
	frontend_queue_enable(&f, 0x10000);
	frontend_queue_reset(&f, QUEUES);
	assert_int_equal(frontend_queue_size(&f, QUEUES), 0);
	assert_int_equal(frontend_queue_size_max(&f, QUEUES), 0);
	assert_int_equal(frontend_queue_address(&f, QUEUES, FRONTEND_DESC), 0);
	assert_false(frontend_queue_enabled(&f, QUEUES));
}

static void rings_outside_memory_break_the_device(void **state)
{
	(void)state;
	attach(&first);
	accept_features(version_1);
	set_up_queue(0, 0x10000);
	set_up_queue(1, MEMORY - 0x2000); /* the used ring ends behind the memory */
	frontend_status_set(&f, READY);
	assert_true(frontend_status(&f) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_int_equal(first.vrings[1].size, 0);
	run_loop();
	assert_int_equal(nchanges, 1);
	frontend_status_set(&f, 0);
	assert_int_equal(frontend_status(&f), 0);
	start_driver();
	assert_int_equal(frontend_status(&f), READY);
}

static void unaligned_rings_break_the_device(void **state)
{
	(void)state;
	attach(&first);
	accept_features(version_1);
	set_up_queue(0, 0x10008);
	frontend_status_set(&f, READY);
	assert_true(frontend_status(&f) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void a_queue_can_be_turned_on_late(void **state)
{
	(void)state;
	attach(&first);
	start_driver();
	set_up_queue(2, 0x20000);
	assert_true(first.vrings[2].enabled);
	assert_int_equal(first.vrings[2].desc, 0x20000);
}

static void reset_in_the_middle_of_requests_takes_everything_back(void **state)
{
	(void)state;
	attach(&first);
	start_driver();
	frontend_status_set(&f, 0);
	assert_int_equal(first.count[VU_GET_VRING_BASE], 2);
	assert_int_equal(first.status, 0);
	assert_false(first.vrings[0].enabled || first.vrings[1].enabled);
	assert_false(frontend_queue_enabled(&f, 0));
	assert_int_equal(frontend_queue_size(&f, 0), 64);
	assert_int_equal(frontend_queue_address(&f, 0, FRONTEND_DESC), 0);
	assert_int_equal(frontend_driver_features(&f), 0);
	start_driver();
	assert_true(first.vrings[0].enabled);
	assert_int_equal(first.count[VU_GET_INFLIGHT_FD], 2); /* no request of the last session */
}

static void one_queue_can_be_reset(void **state)
{
	const uint8_t ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
	uint8_t log[16];

	(void)state;
	attach(&first);
	accept_features(version_1 | ring_reset);
	set_up_queue(0, 0x10000);
	set_up_queue(1, 0x20000);
	frontend_status_set(&f, READY);
	assert_true(frontend_has_queue_reset(&f));
	assert_int_equal(first.acked & ring_reset, 0); /* ours, not the device's */
	assert_int_equal(pwrite(first.inflight_fd, ones, 16, 4096), 16);
	frontend_queue_reset(&f, 1);
	assert_int_equal(first.count[VU_GET_VRING_BASE], 1);
	assert_true(first.vrings[0].enabled);
	assert_false(first.vrings[1].enabled);
	assert_false(frontend_queue_enabled(&f, 1));
	assert_int_equal(pread(first.inflight_fd, log, 16, 4096), 16);
	assert_int_equal(log[0] | log[8], 0);
	set_up_queue(1, 0x30000);
	assert_true(first.vrings[1].enabled);
	assert_int_equal(first.vrings[1].desc, 0x30000);
	assert_int_equal(first.vrings[1].base, 0);
}

/* ---- configuration ---- */

static void configuration_is_read_from_the_cache(void **state)
{
	uint32_t value = 0;
	uint8_t all[CONFIG + 8];

	(void)state;
	attach(&first);
	frontend_config_read(&f, 4, &value, 4);
	assert_int_equal(value, 0x07060504);
	frontend_config_read(&f, 0, all, sizeof(all));
	assert_int_equal(all[CONFIG - 1], CONFIG - 1);
	assert_int_equal(all[CONFIG], 0);
	frontend_config_read(&f, CONFIG, &value, 4);
	assert_int_equal(value, 0);
	frontend_config_read(&f, UINT64_MAX, &value, 4);
	assert_int_equal(value, 0);
	assert_int_equal(first.count[VU_GET_CONFIG], 1);
}

static void configuration_writes_reach_the_device(void **state)
{
	uint16_t value = 0xabcd;

	(void)state;
	attach(&first);
	frontend_config_write(&f, 2, &value, 2);
	assert_int_equal(first.config[2], 0xcd);
	frontend_config_write(&f, CONFIG - 1, &value, 2);
	frontend_config_write(&f, UINT64_MAX, &value, 2);
	assert_int_equal(first.count[VU_SET_CONFIG], 1);
	value = 0;
	frontend_config_read(&f, 2, &value, 2);
	assert_int_equal(value, 0xabcd);
}

static void a_change_gives_a_new_generation(void **state)
{
	uint8_t before, value;

	(void)state;
	attach(&first);
	before = frontend_generation(&f);
	assert_true(fake_device_tell(&first, VU_BACKEND_CONFIG_CHANGE));
	assert_int_equal(loop_once(&loop, 1000), 0);
	assert_true(fake_device_was_heard(&first));
	assert_int_equal(nchanges, 1);
	assert_int_equal(frontend_generation(&f), before); /* it did not change at all */
	first.config[3] = 0x99;
	assert_true(fake_device_tell(&first, VU_BACKEND_CONFIG_CHANGE));
	assert_int_equal(loop_once(&loop, 1000), 0);
	assert_int_not_equal(frontend_generation(&f), before);
	frontend_config_read(&f, 3, &value, 1);
	assert_int_equal(value, 0x99);
	assert_true(fake_device_was_heard(&first));
}

static void unknown_wishes_of_the_device_are_refused(void **state)
{
	(void)state;
	attach(&first);
	assert_true(fake_device_tell(&first, 99));
	assert_int_equal(loop_once(&loop, 1000), 0);
	assert_int_equal(nchanges, 0);
	assert_int_equal(f.state, FRONTEND_LINKED);
}

static void devices_without_a_configuration_get_ours(void **state)
{
	const uint8_t ours[CONFIG] = "tag";
	struct frontend_args args = f.args;
	char value[4];
	struct err e;

	(void)state;
	frontend_fini(&f);
	args.config = ours;
	assert_int_equal(frontend_init(&f, &args, &e), 0);
	first.protocol_features &= ~VU_BIT(VU_PROTOCOL_F_CONFIG);
	attach(&first);
	frontend_config_read(&f, 0, value, 4);
	assert_string_equal(value, "tag");
}

static void a_device_that_knows_less_configuration_will_do(void **state)
{
	uint8_t all[CONFIG];

	(void)state;
	for (uint32_t known = 0; known <= CONFIG; known++) {
		first.config_known = known;
		memset(first.config, 0x11, sizeof(first.config));
		attach(&first);
		frontend_config_read(&f, 0, all, sizeof(all));
		assert_int_equal(f.config_known, known);
		assert_int_equal(all[0], known > 0 ? 0x11 : 0);
		assert_int_equal(all[CONFIG - 1], known == CONFIG ? 0x11 : 0);
		tear_down(NULL);
		set_up(NULL);
	}
}

/* ---- devices that fail ---- */

static void a_broken_ring_is_told_to_the_driver(void **state)
{
	(void)state;
	attach(&first);
	start_driver();
	fd_signal(first.vrings[1].err_fd);
	run_loop();
	assert_int_equal(nchanges, 1);
	assert_int_equal(frontend_status(&f), READY | VIRTIO_CONFIG_S_NEEDS_RESET);
	frontend_status_set(&f, 0);
	assert_int_equal(frontend_status(&f), 0);
}

static void a_broken_ring_of_the_last_session_is_forgotten(void **state)
{
	(void)state;
	attach(&first);
	start_driver();
	fd_signal(first.vrings[1].err_fd);
	frontend_status_set(&f, 0);
	start_driver();
	run_loop();
	assert_int_equal(frontend_status(&f), READY);
}

/* The device misbehaves while the driver starts and then resets it. */
static void check_is_cut_off(const struct fake_faults *faults, const char *why)
{
	uint64_t before;

	first.faults = *faults;
	f.args.limit_ms = faults->ignored ? LIMIT_MS : FRONTEND_LIMIT_MS;
	before = clock_ns();
	attach(&first);
	if (nlosses == 0) {
		start_driver();
		frontend_status_set(&f, 0);
		run_loop();
	}
	assert_int_equal(nlosses, 1);
	assert_string_equal(loss, why);
	assert_int_equal(f.state, FRONTEND_UNLINKED);
	assert_true(clock_ns() - before < FRONTEND_LIMIT_MS * 1000000ull);
	frontend_detach(&f);
	fake_device_fini(&first);
	fake_device_init(&first);
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

/* The next question was asked already, and its answer comes first. */
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
	attach(&first);
	start_driver();
	assert_int_equal(f.state, FRONTEND_LINKED);
	assert_int_equal(first.count[VU_GET_PROTOCOL_FEATURES], 1);
	assert_true(first.protocol_acked & VU_BIT(VU_PROTOCOL_F_CONFIG));
	frontend_detach(&f);
	fake_device_fini(&first);
	fake_device_init(&first);
	first.features &= ~VU_BIT(VU_F_PROTOCOL_FEATURES);
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
	first.log_is_a_pipe = true;
	check_is_cut_off(&(struct fake_faults){0}, "broke the vhost-user protocol");
}

static void a_refused_queue_breaks_the_session_only(void **state)
{
	(void)state;
	first.faults.refused = VU_SET_VRING_ADDR;
	attach(&first);
	start_driver();
	assert_int_equal(f.state, FRONTEND_LINKED);
	assert_true(frontend_status(&f) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void a_device_without_version_1_is_refused(void **state)
{
	struct err e;

	(void)state;
	first.features &= ~version_1;
	attach(&first);
	assert_int_equal(nlosses, 1);
	f.args.limit_ms = LIMIT_MS;
	assert_true(frontend_wait(&f, &e) < 0);
	assert_string_equal(e.text, "block0: the device lacks a feature that is needed");
}

static void numbers_of_queues_are_bounded(void **state)
{
	(void)state;
	first.nqueues = UINT64_MAX;
	attach(&first);
	assert_int_equal(frontend_nqueues(&f), QUEUES);
	tear_down(NULL);
	set_up(NULL);
	first.nqueues = 0;
	attach(&first);
	assert_int_equal(frontend_nqueues(&f), 1);
}

static void a_driver_that_comes_first_waits_for_the_device(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(frontend_attach_take(&f, fake_device_start(&first), &e), 0);
	assert_true(frontend_features(&f) & version_1); /* without the loop's help */
	run_loop();
	assert_int_equal(first.count[VU_GET_FEATURES], 1);
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
	assert_int_equal(second.acked, first.acked);
	assert_int_equal(second.status, READY);
	assert_int_equal(second.vrings[1].desc, first.vrings[1].desc);
	assert_int_equal(second.vrings[1].size, 16);
	assert_true(second.vrings[0].enabled && second.vrings[1].enabled);
}

static void a_new_device_takes_up_the_work(void **state)
{
	const le16 used = le16_of(7);
	uint16_t value = 0xabcd;
	struct stat a, b;

	(void)state;
	attach(&first);
	frontend_config_write(&f, 2, &value, 2);
	start_driver();
	assert_true(gmem_write(&gmem, 0x12002, &used, sizeof(used)));
	fake_device_stop(&first);
	run_loop();
	assert_int_equal(nlosses, 1);
	assert_int_equal(frontend_status(&f), READY);
	frontend_detach(&f);
	nlosses = 0;
	attach(&second);
	check_restarted();
	assert_int_equal(second.vrings[0].base, 7);
	assert_int_equal(second.vrings[1].base, 0);
	assert_int_equal(second.count[VU_GET_INFLIGHT_FD], 0);
	assert_int_equal(fstat(first.inflight_fd, &a) | fstat(second.inflight_fd, &b), 0);
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
	first.faults.refused = second.faults.refused = VU_SET_CONFIG;
	attach(&first);
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
	attach(&first);
	frontend_detach(&f);
	start_driver();
	assert_int_equal(frontend_status(&f), READY);
	attach(&second);
	assert_true(second.vrings[0].enabled && second.vrings[1].enabled);
	frontend_detach(&f);
	frontend_status_set(&f, 0);
	fake_device_fini(&first);
	fake_device_init(&first);
	attach(&first);
	assert_int_equal(first.count[VU_SET_FEATURES], 0);
	assert_int_equal(frontend_restarts(&f), 2);
}

static void a_death_in_the_middle_of_a_reset_ends_it(void **state)
{
	(void)state;
	first.faults.closed = VU_GET_VRING_BASE;
	attach(&first);
	start_driver();
	frontend_status_set(&f, 0);
	assert_int_equal(frontend_status(&f), 0);
	run_loop();
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
	attach(&first);
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
	attach(&first);
	frontend_pause(&f); /* nothing to pause yet */
	start_driver();
	assert_true(first.vrings[0].enabled);
	first.vrings[0].base = 5;
	frontend_pause(&f);
	assert_false(first.vrings[0].enabled || first.vrings[1].enabled);
	assert_int_equal(frontend_status(&f), READY);
	set_up_queue(2, 0x20000);
	assert_false(first.vrings[2].enabled);
	frontend_resume(&f);
	assert_true(first.vrings[0].enabled && first.vrings[1].enabled && first.vrings[2].enabled);
	assert_int_equal(first.vrings[0].base, 5);
	assert_int_equal(first.vrings[2].base, 0);
	assert_int_equal(first.count[VU_GET_INFLIGHT_FD], 1);
	assert_true(fd_drain(f.queues[0].kick_fd) > 0);
}

static void a_pause_outlives_the_device_but_not_a_reset(void **state)
{
	(void)state;
	attach(&first);
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
	attach(&first);
	start_driver();
	frontend_give_up(&f);
	run_loop();
	assert_int_equal(nchanges, 1);
	assert_true(frontend_status(&f) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void a_plain_back_end_will_do(void **state)
{
	(void)state;
	first.features &= ~VU_BIT(VU_F_PROTOCOL_FEATURES);
	attach(&first);
	start_driver();
	frontend_status_set(&f, 0);
	assert_int_equal(f.state, FRONTEND_LINKED);
	frontend_detach(&f);
	fake_device_stop(&first);
	assert_int_equal(first.count[VU_GET_PROTOCOL_FEATURES], 0);
	assert_int_equal(first.count[VU_SET_VRING_KICK], 2);
	assert_int_equal(first.count[VU_SET_VRING_ENABLE], 0);
	assert_int_equal(first.count[VU_GET_VRING_BASE], 2);
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
		T(a_broken_ring_is_told_to_the_driver),
		T(a_broken_ring_of_the_last_session_is_forgotten),
		T(a_device_that_does_not_answer_is_cut_off),
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
