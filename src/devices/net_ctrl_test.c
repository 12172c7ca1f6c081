/* SPDX-License-Identifier: BSD-3-Clause */
/* net_ctrl_test.c - network cards: what drivers and operators tell them, and what they remember */
#include "devices/net_fixture.h"

/* ---- filters ---- */

static const uint8_t other_mac[6] = {2, 0, 0, 0, 0, 3}, third_mac[6] = {2, 0, 0, 0, 0, 4},
		     group_mac[6] = {1, 0, 0x5e, 0, 0, 1},
		     everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

enum { MARK = 99 };

/* The first byte of the next frame that the guest hears. */
static uint8_t hear(void)
{
	struct driver_buf b = {memory, BUFFER, true};
	struct driver_used used;

	assert_true(driver_add(queue(RX), &b, 1) >= 0);
	driver_kick(queue(RX));
	assert_int_equal(driver_wait(queue(RX), WAIT_MS, &used), 0);
	return buffer(0)[HEADER + 14];
}

/* Sends a frame to each address, then one to the guest's; which came before that, as bits. */
static unsigned who_is_heard(const uint8_t *own_mac)
{
	const uint8_t *const addresses[] = {guest_mac, other_mac, third_mac, group_mac, everybody};
	unsigned heard = 0;

	for (unsigned i = 0; i < ARRAY_LEN(addresses); i++)
		host_send_new(addresses[i], 60, (uint8_t)i);
	host_send_new(own_mac, 60, MARK);
	for (uint8_t first = hear(); first != MARK; first = hear()) {
		assert_in_range(first, 0, ARRAY_LEN(addresses) - 1);
		heard |= 1u << first;
	}
	return heard;
}

static void test_addresses_are_filtered_as_the_driver_says(void **state)
{
	uint8_t table[4 + 6 + 4 + 6] = {1};

	(void)state;
	begin(HARNESS_THREAD);
	assert_int_equal(who_is_heard(guest_mac), 0x1f);
	command_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 0);
	assert_int_equal(who_is_heard(guest_mac), 0x11);
	memcpy(table + 4, other_mac, 6);
	table[10] = 1;
	memcpy(table + 14, group_mac, 6);
	assert_int_equal(
		command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, sizeof(table)),
		VIRTIO_NET_OK);
	assert_int_equal(who_is_heard(guest_mac), 0x1b);
	command_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, 1);
	command_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOMULTI, 1);
	assert_int_equal(who_is_heard(guest_mac), 0x03);
	command_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, 1);
	assert_int_equal(who_is_heard(guest_mac), 0x07);
	assert_int_equal(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, third_mac, 6),
			 VIRTIO_NET_OK);
	command_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, 0);
	assert_int_equal(who_is_heard(third_mac), 0x06);
	assert_true(counter("rx_filtered") > 0);
}

static bool is_tag_heard(uint16_t tag)
{
	static struct frame f;
	bool heard;

	frame_make(&f, guest_mac, 64, 1);
	memcpy(f.type, "\x81\0", 2);
	f.data[0] = (uint8_t)(tag >> 8);
	f.data[1] = (uint8_t)tag;
	host_send(&f, 64);
	host_send_new(guest_mac, 60, MARK);
	heard = hear() != MARK;
	if (heard)
		assert_int_equal(hear(), MARK);
	return heard;
}

static void test_tags_are_filtered_as_the_driver_says(void **state)
{
	const le16 id = le16_of(4095), wrong = le16_of(4096);

	(void)state;
	begin(HARNESS_THREAD);
	assert_false(is_tag_heard(0xe000 | 4095));
	assert_int_equal(command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &id, 2),
			 VIRTIO_NET_OK);
	assert_true(is_tag_heard(0xe000 | 4095));
	assert_false(is_tag_heard(1));
	assert_int_equal(command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, &id, 2),
			 VIRTIO_NET_OK);
	assert_false(is_tag_heard(4095));
	assert_int_equal(command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &wrong, 2),
			 VIRTIO_NET_ERR);
}

static void test_commands_that_make_no_sense_change_nothing(void **state)
{
	static const struct {
		uint8_t class, cmd;
		uint32_t n;
		uint8_t data[16];
	} bad[] = {
		{9, 0, 1, {1}},
		{VIRTIO_NET_CTRL_RX, 6, 1, {1}},
		{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 0, {0}},
		{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 2, {1, 1}},
		{VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1, {2}},
		{VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, 5, {0}},
		{VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, 8, {0xff, 0xff, 0xff, 0xff}},
		{VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, 9, {0}},
		{VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, 13, {1}},
		{VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2, {1}},
		{VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, 8, {0, 1}},
		{VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, 8, {0x80}},
		{VIRTIO_NET_CTRL_VLAN, 2, 2, {1}},
	};

	(void)state;
	begin(HARNESS_THREAD);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (command(bad[i].class, bad[i].cmd, bad[i].data, bad[i].n) != VIRTIO_NET_ERR)
			fail_msg("row %zu was accepted", i);
	assert_int_equal(who_is_heard(guest_mac), 0x1f);
}

static void test_command_without_room_for_an_answer_is_given_back(void **state)
{
	struct driver_buf b = {tx_memory, 2, false};
	struct driver_used used;

	(void)state;
	begin(HARNESS_THREAD);
	b.addr = tx_memory;
	assert_true(driver_add(queue(ctrl), &b, 1) >= 0);
	driver_kick(queue(ctrl));
	assert_int_equal(driver_wait(queue(ctrl), WAIT_MS, &used), 0);
	assert_int_equal(used.len, 0);
}

/* ---- configuration space, cable ---- */

static void test_guest_sees_address_state_and_size(void **state)
{
	struct virtio_net_config c;

	(void)state;
	begin_with(OPTIONS ",mtu=1400", HARNESS_THREAD,
		   (struct driver_options){.features = all_features});
	assert_int_equal(driver_config_read(&h.d, 0, &c, 12), 0);
	assert_memory_equal(c.mac, guest_mac, 6);
	assert_int_equal(c.status, VIRTIO_NET_S_LINK_UP);
	assert_int_equal(c.max_virtqueue_pairs, 1);
	assert_int_equal(c.mtu, 1400);
	assert_true(h.d.offered & BIT(MTU));
	assert_false(h.d.offered & BIT(MQ));
}

static void test_pulled_cable_passes_no_frames(void **state)
{
	static struct frame f;
	struct virtio_net_config c;
	struct driver_used used;
	char answer[256];

	(void)state;
	begin(HARNESS_THREAD);
	give_buffers(RX, 2, BUFFER);
	ask("link state=down", answer, sizeof(answer));
	assert_string_equal(answer, "{\"ok\":true}");
	assert_int_equal(driver_config_wait(&h.d), 0);
	assert_int_equal(driver_config_read(&h.d, 0, &c, 12), 0);
	assert_int_equal(c.status, 0);
	frame_make(&f, guest_mac, 60, 1);
	host_send(&f, 60);
	assert_int_equal(driver_wait(queue(RX), ABSENT_MS, &used), -ETIMEDOUT);
	guest_send(NULL, &f, 60, 65536);
	guest_sent();
	ask("link up", answer, sizeof(answer));
	assert_int_equal(driver_config_wait(&h.d), 0);
	frame_make(&f, guest_mac, 61, 2);
	host_send(&f, 61);
	guest_expect(0, &f, 61);
	guest_send(NULL, &f, 61, 65536);
	guest_sent();
	host_expect(&f, 61);
	assert_int_equal(counter("rx_dropped"), 1);
	assert_int_equal(counter("tx_dropped"), 1);
}

static void test_host_that_takes_its_end_away_does_no_harm(void **state)
{
	static struct frame f;
	struct ifreq r = {.ifr_name = "t0"};
	auto_fd sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	begin(HARNESS_PROCESS);
	give_buffers(RX, 2, BUFFER);
	assert_int_equal(ioctl(sock, SIOCSIFFLAGS, &r), 0); /* down */
	frame_make(&f, guest_mac, 60, 1);
	guest_send(NULL, &f, 60, 65536);
	guest_sent();
	harness_expect_alive(&h);
}

/* ---- several pairs of queues ---- */

static uint8_t set_pairs(uint16_t n)
{
	const le16 pairs = le16_of(n);

	return command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs, sizeof(pairs));
}

static void begin_two_pairs(void)
{
	begin_with(OPTIONS ",queues=2", HARNESS_THREAD,
		   (struct driver_options){.nqueues = 5, .features = all_features | BIT(MQ)});
}

static void test_pairs_are_switched_by_command(void **state)
{
	(void)state;
	begin_two_pairs();
	assert_int_equal(counter("pairs"), 1);
	assert_int_equal(set_pairs(0), VIRTIO_NET_ERR);
	assert_int_equal(set_pairs(3), VIRTIO_NET_ERR);
	assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
	assert_int_equal(counter("pairs"), 2);
	assert_int_equal(set_pairs(1), VIRTIO_NET_OK);
	assert_int_equal(counter("pairs"), 1);
}

/* The host answers a flow on the pair that it came from. */
static void expect_flow(unsigned pair)
{
	static uint8_t packet[PACKET_HEADER + 128];
	struct driver_buf in = {memory, BUFFER, true};
	struct driver_buf out = {tx_memory, 0, false};
	auto_fd ip = netns_packet_socket("t0", 0x0800);
	struct driver_used used;
	uint8_t frame[128];
	size_t n;

	n = tcp_make(frame, "10.77.0.2", "10.77.0.1", 10);
	memset(driver_at(&h.d, tx_memory, HEADER), 0, HEADER);
	memcpy(driver_at(&h.d, tx_memory + HEADER, n), frame, n);
	out.len = (uint32_t)(HEADER + n);
	assert_true(driver_add(queue(2 * pair + 1), &out, 1) >= 0);
	driver_kick(queue(2 * pair + 1));
	assert_int_equal(driver_wait(queue(2 * pair + 1), WAIT_MS, &used), 0);
	assert_true(driver_add(queue(2 * pair), &in, 1) >= 0);
	driver_kick(queue(2 * pair));
	tcp_make(packet + PACKET_HEADER, "10.77.0.1", "10.77.0.2", 10);
	packet[PACKET_HEADER + 34] = frame[36];
	packet[PACKET_HEADER + 35] = frame[37];
	packet[PACKET_HEADER + 36] = frame[34];
	packet[PACKET_HEADER + 37] = frame[35];
	assert_int_equal(send(ip, packet, PACKET_HEADER + n, 0), PACKET_HEADER + n);
	assert_int_equal(driver_wait(queue(2 * pair), WAIT_MS, &used), 0);
}

static void test_flow_comes_back_on_the_pair_it_left_by(void **state)
{
	(void)state;
	begin_two_pairs();
	assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
	expect_flow(0);
	expect_flow(1);
}

/* Without VIRTIO_NET_F_MQ the control queue is where the second pair's would be. */
static void test_cable_of_a_guest_with_one_pair_leaves_its_commands_alone(void **state)
{
	struct driver_buf b[] = {{0, 3, false}, {0, 1, true}};
	struct driver_used used;
	char answer[256];
	uint8_t *at;

	(void)state;
	begin_with(OPTIONS ",queues=2", HARNESS_THREAD,
		   (struct driver_options){.features = all_features});
	b[0].addr = tx_memory;
	b[1].addr = tx_memory + 65536;
	at = driver_at(&h.d, tx_memory, 65537);
	memcpy(at, (const uint8_t[]){VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 0}, 3);
	assert_true(driver_add(queue(ctrl), b, 2) >= 0);
	ask("link state=down", answer, sizeof(answer)); /* before the kick */
	driver_kick(queue(ctrl));
	assert_int_equal(driver_wait(queue(ctrl), WAIT_MS, &used), 0);
	assert_int_equal(at[65536], VIRTIO_NET_OK);
}

/* ---- death and reset ---- */

static void test_commands_outlive_the_process(void **state)
{
	(void)state;
	tap_keep(true);
	begin_with(OPTIONS, HARNESS_PROCESS,
		   (struct driver_options){.features = all_features, .inflight = true});
	command_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 0);
	harness_kill(&h);
	harness_restart(&h);
	assert_int_equal(who_is_heard(guest_mac), 0x11);
	command_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, 1);
	harness_kill(&h);
	harness_restart(&h);
	assert_int_equal(who_is_heard(guest_mac), 0x01);
}

static void test_reset_forgets_commands(void **state)
{
	(void)state;
	begin_with(OPTIONS, HARNESS_THREAD,
		   (struct driver_options){.features = all_features, .inflight = true});
	command_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 0);
	assert_int_equal(who_is_heard(guest_mac), 0x11);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(driver_stop_queue(&h.d, i), 0);
	assert_int_equal(vu_set(&h.d.conn, VU_RESET_DEVICE), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(driver_send_queue(&h.d, i), 0);
	assert_int_equal(who_is_heard(guest_mac), 0x1f);
}

#define TEST(name) cmocka_unit_test_teardown(test_##name, stop)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(addresses_are_filtered_as_the_driver_says),
		TEST(tags_are_filtered_as_the_driver_says),
		TEST(commands_that_make_no_sense_change_nothing),
		TEST(command_without_room_for_an_answer_is_given_back),
		TEST(guest_sees_address_state_and_size),
		TEST(pulled_cable_passes_no_frames),
		TEST(host_that_takes_its_end_away_does_no_harm),
		TEST(pairs_are_switched_by_command),
		TEST(flow_comes_back_on_the_pair_it_left_by),
		TEST(cable_of_a_guest_with_one_pair_leaves_its_commands_alone),
		cmocka_unit_test_teardown(test_commands_outlive_the_process, stop_and_remove_tap),
		TEST(reset_forgets_commands),
	};

	return cmocka_run_group_tests(tests, enter, NULL);
}
