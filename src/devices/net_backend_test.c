/* SPDX-License-Identifier: BSD-3-Clause */
/* net_backend_test.c - a network card in the test's own thread, with a back end of its own */
#include "base/fd.h"
#include "devices/net.h"
#include "virtio/driver_test.h"
#include "virtio/ids.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

extern const struct device_type net_type;

enum { QUEUE_SIZE = 256, CTRL = 2, COMMANDS = 100 };

static struct net_backend fake;
static struct driver driver;
static struct loop loop;
static struct net *card;
static gpa memory;

/* ---- a back end without frames ---- */

static int fake_send(struct net_backend *b, unsigned pair, const struct iovec *v, unsigned n)
{
	(void)b;
	(void)pair;
	(void)v;
	(void)n;
	return -EAGAIN;
}

static ssize_t fake_receive(struct net_backend *b, unsigned pair, const struct iovec *v, unsigned n)
{
	(void)b;
	(void)pair;
	(void)v;
	(void)n;
	return -EAGAIN;
}

static void fake_close(struct net_backend *b)
{
	fd_close(&b->fd[0]);
}

static const struct net_backend_ops fake_ops = {
	.send = fake_send, .receive = fake_receive, .close = fake_close};

/* ---- set-up ---- */

static void open_card(unsigned offloads)
{
	static const char *const options[] = {"host_ip=10.0.0.1,netmask=255.0.0.0", NULL};
	struct device *d;
	struct err e;

	fake = (struct net_backend){.ops = &fake_ops, .pairs = 1, .offloads = offloads};
	fake.fd[0] = fd_eventfd();
	assert_int_equal(loop_init(&loop), 0);
	d = device_new(&net_type, "net0", options, &e);
	assert_non_null(d);
	d->loop = &loop;
	card = net_of(d);
	card->backend = &fake;
	assert_int_equal(net_type.open(d, &e), 0);
}

static void start_card(uint64_t features)
{
	const struct driver_options o = {.nqueues = 3, .queue_size = QUEUE_SIZE};
	struct err e;

	assert_int_equal(driver_init(&driver, &o), 0);
	memory = driver_alloc(&driver, 4096, 4096);
	for (unsigned i = 0; i < o.nqueues; i++)
		assert_int_equal(driver_vq_start(&driver, i, NULL, &card->device.queues[i]), 0);
	card->device.gmem = &driver.gmem;
	card->device.acked = features;
	card->device.started = true;
	assert_int_equal(net_type.start(&card->device, &e), 0);
}

static int stop(void **state)
{
	(void)state;
	net_type.stop(&card->device);
	for (unsigned i = 0; i < card->device.nqueues; i++)
		vq_stop(&card->device.queues[i]);
	net_type.close(&card->device);
	device_free(&card->device);
	loop_fini(&loop);
	driver_fini(&driver);
	return 0;
}

/* ---- turns ---- */

static void commands_add(unsigned n)
{
	const uint8_t promiscuous[] = {VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1};
	const struct driver_buf b[] = {{memory, sizeof(promiscuous), false},
				       {memory + 64, 1, true}};

	memcpy(driver_at(&driver, memory, sizeof(promiscuous)), promiscuous, sizeof(promiscuous));
	for (unsigned i = 0; i < n; i++)
		assert_true(driver_add(&driver.queues[CTRL], b, 2) >= 0);
}

static unsigned commands_answered(void)
{
	struct driver_used used;
	unsigned n = 0;

	while (driver_poll(&driver.queues[CTRL], &used))
		n++;
	return n;
}

/* A driver that adds as fast as we answer must not keep the loop from all else. */
static void test_commands_leave_others_their_turn(void **state)
{
	unsigned done;

	(void)state;
	open_card(0);
	start_card(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) |
		   VIRTIO_BIT(VIRTIO_NET_F_CTRL_RX));
	commands_add(COMMANDS);

	net_type.kick(&card->device, CTRL);

	done = commands_answered();
	assert_in_range(done, 1, COMMANDS - 1);
	for (unsigned turns = 0; done < COMMANDS && turns < COMMANDS; turns++) {
		assert_int_equal(loop_once(&loop, 0), 0); /* it comes back by itself */
		done += commands_answered();
	}
	assert_int_equal(done, COMMANDS);
}

static void test_stop_takes_back_a_turn_that_was_asked_for(void **state)
{
	(void)state;
	open_card(0);
	start_card(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) |
		   VIRTIO_BIT(VIRTIO_NET_F_CTRL_RX));
	commands_add(COMMANDS);
	net_type.kick(&card->device, CTRL);
	commands_answered();

	net_type.stop(&card->device);

	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(commands_answered(), 0);
}

/* ---- what is offered ---- */

static void test_only_what_the_back_end_can_do_is_offered(void **state)
{
	static const struct {
		unsigned offload;
		uint64_t features;
	} rows[] = {
		{NET_OFFLOAD_UFO,
		 VIRTIO_BIT(VIRTIO_NET_F_HOST_UFO) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_UFO)},
		{NET_OFFLOAD_USO, VIRTIO_BIT(NET_F_HOST_USO) | VIRTIO_BIT(NET_F_GUEST_USO4) |
					  VIRTIO_BIT(NET_F_GUEST_USO6)},
	};
	const uint64_t both = rows[0].features | rows[1].features;

	for (unsigned have = 0; have < 4; have++) {
		uint64_t expected = (have & 1 ? rows[0].features : 0) |
				    (have & 2 ? rows[1].features : 0);

		open_card(NET_OFFLOAD_CSUM | (have & 1 ? rows[0].offload : 0) |
			  (have & 2 ? rows[1].offload : 0));
		assert_true((card->device.features & both) == expected);
		start_card(VIRTIO_BIT(VIRTIO_F_VERSION_1));
		if (have < 3)
			stop(state);
	}
}

#define TEST(name) cmocka_unit_test_teardown(test_##name, stop)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(commands_leave_others_their_turn),
		TEST(stop_takes_back_a_turn_that_was_asked_for),
		TEST(only_what_the_back_end_can_do_is_offered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
