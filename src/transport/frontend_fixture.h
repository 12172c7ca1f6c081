/* SPDX-License-Identifier: BSD-3-Clause */
/* frontend_fixture.h - a front end, its driver and two devices, for frontend*_test.c */
#pragma once

#include "transport/rig_test.h"
#include "virtio/ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	HIGH = 1 << 30, /* a second region */
	READY = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
		VIRTIO_CONFIG_S_DRIVER_OK,
	LIMIT_MS = 50, /* where it is to run out */
};

static const uint64_t version_1 = VIRTIO_BIT(VIRTIO_F_VERSION_1);
static const uint64_t ring_reset = VIRTIO_BIT(VIRTIO_F_RING_RESET);

static struct fake_device second; /* takes the place of device */
static struct frontend_listener listener;
static unsigned nchanges, nlosses;
static const char *loss;

static inline void config_changed(struct frontend_listener *l)
{
	(void)l;
	nchanges++;
}

static inline void lost(struct frontend *frontend, const char *why)
{
	assert_ptr_equal(frontend->args.owner, &nlosses);
	nlosses++;
	loss = why;
}

static inline int set_up(void **state)
{
	(void)state;
	rig_init(lost);
	rig_memory_add(HIGH);
	f.args.owner = &nlosses;
	listener.config_changed = config_changed;
	f.listener = &listener;
	nchanges = nlosses = 0;
	loss = NULL;
	fake_device_init(&second);
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	rig_fini();
	fake_device_fini(&second);
	return 0;
}

/* Lets the loop run until the device is linked or lost. */
static inline void attach(struct fake_device *d)
{
	struct err e;

	assert_int_equal(frontend_attach_take(&f, fake_device_start(d), &e), 0);
	for (unsigned i = 0; i < 100 && f.state != FRONTEND_LINKED && nlosses == 0; i++)
		assert_int_equal(loop_once(&loop, 1000), 0);
}

static inline void accept_features(uint64_t features)
{
	frontend_status_set(&f, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	frontend_status_set(&f, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	frontend_driver_features_set(&f, 0, (uint32_t)features);
	frontend_driver_features_set(&f, 1, (uint32_t)(features >> 32));
	frontend_status_set(&f, READY & ~VIRTIO_CONFIG_S_DRIVER_OK);
}

static inline void set_up_queue(unsigned q, gpa base)
{
	frontend_queue_size_set(&f, q, 16);
	frontend_queue_address_set(&f, q, FRONTEND_DESC, false, (uint32_t)base);
	frontend_queue_address_set(&f, q, FRONTEND_DRIVER, false, (uint32_t)base + 0x1000);
	frontend_queue_address_set(&f, q, FRONTEND_DEVICE, false, (uint32_t)base + 0x2000);
	frontend_queue_enable(&f, q);
}

static inline void start_driver(void)
{
	accept_features(version_1 | 1);
	set_up_queue(0, 0x10000);
	set_up_queue(1, HIGH);
	frontend_status_set(&f, READY);
}
