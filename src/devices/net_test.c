/* SPDX-License-Identifier: BSD-3-Clause */
/* net_test.c - network cards: frames, offloads, buffers that are short or missing, death */
#include "devices/net_fixture.h"

/* ---- frames that go through ---- */

static void frames_reach_the_host(enum harness_kind kind, uint32_t piece)
{
	static const size_t sizes[] = {14, 60, 61, 512, 1514};
	static struct frame f;

	begin(kind);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		frame_make(&f, (const uint8_t *)"\2\0\0\0\0\1", sizes[i], (uint8_t)i);
		guest_send(NULL, &f, sizes[i], piece);
		guest_sent();
		host_expect(&f, sizes[i]);
	}
}

static void test_frames_reach_the_host(void **state)
{
	(void)state;
	frames_reach_the_host(HARNESS_PROCESS, 65536);
}

static void test_frames_in_pieces_reach_the_host(void **state)
{
	(void)state;
	frames_reach_the_host(HARNESS_THREAD, 37);
}

static void frames_reach_the_guest(enum harness_kind kind, uint64_t features, bool packed)
{
	static const size_t sizes[] = {14, 15, 30, 31, 60, 512, 1514};
	static struct frame f;

	begin_with(OPTIONS, kind,
		   (struct driver_options){.features = features, .packed = packed});
	give_buffers(RX, ARRAY_LEN(sizes), BUFFER);
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		frame_make(&f, guest_mac, sizes[i], (uint8_t)(i + 1));
		host_send(&f, sizes[i]);
		guest_expect(i, &f, sizes[i]);
	}
}

static void test_frames_reach_the_guest(void **state)
{
	(void)state;
	frames_reach_the_guest(HARNESS_PROCESS, all_features, false);
}

static void test_frames_reach_a_guest_that_agreed_on_nothing(void **state)
{
	(void)state;
	frames_reach_the_guest(HARNESS_THREAD, 0, false);
}

static void test_frames_reach_the_guest_by_a_packed_ring(void **state)
{
	(void)state;
	frames_reach_the_guest(HARNESS_THREAD, all_features, true);
}

/* 1514 bytes and a header in buffers of 400: four of them, at once. */
static void long_frame(bool packed)
{
	static struct frame f;
	struct driver_used used;
	uint8_t whole[4 * 400];
	struct net_header header;

	begin_with(OPTIONS, HARNESS_THREAD,
		   (struct driver_options){.features = all_features, .packed = packed});
	give_buffers(RX, 9, 400);
	for (unsigned round = 0; round < 2; round++) {
		frame_make(&f, guest_mac, 1514, (uint8_t)(3 + round));
		host_send(&f, 1514);
		assert_int_equal(driver_wait(queue(RX), WAIT_MS, &used), 0);
		for (unsigned i = 0; i < 4; i++) {
			assert_int_equal(used.len, i < 3 ? 400 : 1514 + HEADER - 1200);
			memcpy(whole + i * 400, buffer(round * 4 + i), 400);
			assert_int_equal(driver_poll(queue(RX), &used), i < 3);
		}
		memcpy(&header, whole, sizeof(header));
		assert_int_equal(le16_get(header.num_buffers), 4);
		assert_memory_equal(whole + HEADER, &f, 1514);
	}
}

static void test_long_frame_fills_several_buffers(void **state)
{
	(void)state;
	long_frame(false);
}

static void test_long_frame_fills_several_buffers_of_a_packed_ring(void **state)
{
	(void)state;
	long_frame(true);
}

/* Buffers as small as the specification allows: nothing of the first is the frame's own place. */
static void test_frame_fills_buffers_of_a_few_bytes(void **state)
{
	static struct frame f;
	struct driver_used used;
	uint8_t whole[64 * 20];
	unsigned n = 0;

	(void)state;
	begin(HARNESS_THREAD);
	give_buffers(RX, 60, 20);
	frame_make(&f, guest_mac, 1000, 9);
	host_send(&f, 1000);
	assert_int_equal(driver_wait(queue(RX), WAIT_MS, &used), 0);
	do {
		memcpy(whole + 20 * n, buffer(n), 20);
		n++;
	} while (driver_poll(queue(RX), &used));
	assert_int_equal(n, (1000 + HEADER + 19) / 20);
	assert_memory_equal(whole + HEADER, &f, 1000);
}

/* ---- buffers that are short or missing ---- */

static void test_frame_longer_than_its_only_buffer_is_dropped(void **state)
{
	static struct frame f;

	(void)state;
	begin_with(OPTIONS, HARNESS_THREAD,
		   (struct driver_options){.features = all_features & ~BIT(MRG_RXBUF)});
	give_buffers(RX, 2, 500);
	host_send_new(guest_mac, 1000, 1);
	frame_make(&f, guest_mac, 488, 2);
	host_send(&f, 488);
	guest_expect(0, &f, 488);
	assert_int_equal(counter("rx_dropped"), 1);
}

static void test_frame_waits_for_the_rest_of_its_buffers(void **state)
{
	static struct frame f;
	struct driver_used used;
	struct driver_buf b = {0};

	(void)state;
	begin(HARNESS_THREAD);
	give_buffers(RX, 2, 512);
	frame_make(&f, guest_mac, 1514, 4);
	host_send(&f, 1514);
	assert_int_equal(driver_wait(queue(RX), ABSENT_MS, &used), -ETIMEDOUT);
	b = (struct driver_buf){memory + 2 * 65536, 4096, true};
	assert_true(driver_add(queue(RX), &b, 1) >= 0);
	assert_true(driver_kick(queue(RX)));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(driver_wait(queue(RX), WAIT_MS, &used), 0);
	assert_int_equal(used.len, 1514 + HEADER - 1024);
	assert_memory_equal(buffer(2), (uint8_t *)&f + 1024 - HEADER, 1514 + HEADER - 1024);
}

/* Ticks of CPU time that the process has used. */
static unsigned long cpu_ticks(pid_t pid)
{
	char path[64], text[1024];
	unsigned long user, kernel;
	auto_fd fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = read(fd, text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	assert_int_equal(sscanf(strrchr(text, ')'),
				") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
				&kernel),
			 2);
	return user + kernel;
}

static void test_without_buffers_nobody_is_busy(void **state)
{
	static struct frame f;
	struct driver_used used;
	unsigned long before;

	(void)state;
	begin(HARNESS_PROCESS);
	frame_make(&f, guest_mac, 100, 1);
	for (unsigned i = 0; i < 3; i++)
		host_send(&f, 100);
	before = cpu_ticks(h.pid);
	assert_int_equal(driver_wait(queue(RX), 300, &used), -ETIMEDOUT);
	assert_true(cpu_ticks(h.pid) - before < 10); /* of 30 */
	give_buffers(RX, 3, BUFFER);
	for (unsigned i = 0; i < 3; i++)
		guest_expect(i, &f, 100);
}

static void test_buffer_without_room_for_a_header_breaks_the_queue(void **state)
{
	(void)state;
	begin(HARNESS_THREAD);
	give_buffers(RX, 1, HEADER - 1);
	assert_int_equal(driver_wait_broken(queue(RX), WAIT_MS), 0);
	harness_expect_alive(&h);
}

/* ---- headers of the guest ---- */

static struct net_header header(uint8_t flags, uint8_t gso_type, unsigned hdr_len,
				unsigned gso_size,
				unsigned csum_start, unsigned csum_offset)
{
	return (struct net_header){flags,
				   gso_type,
				   le16_of((uint16_t)hdr_len),
				   le16_of((uint16_t)gso_size),
				   le16_of((uint16_t)csum_start),
				   le16_of((uint16_t)csum_offset),
				   le16_of(0)};
}

static void test_malformed_headers_are_refused_and_counted(void **state)
{
	const struct net_header bad[] = {
		header(1, 0, 0, 0, 100, 0),	    /* checksum behind the frame */
		header(1, 0, 0, 0, 99, 0),	    /* and half of it */
		header(1, 0, 0, 0, 65535, 65535),   /* a sum that would wrap */
		header(0, 1, 54, 1000, 34, 16),	    /* segments without checksums */
		header(1, 1, 54, 0, 34, 16),	    /* of no bytes */
		header(1, 1, 101, 1000, 34, 16),    /* headers behind the frame */
		header(1, 2, 54, 1000, 34, 16),	    /* no such kind */
		header(1, 4, 54, 1000, 34, 16),	    /* one that was not agreed on */
		header(1, 0x81, 54, 1000, 34, 16),  /* nor was ECN */
		header(1, 0xff, 54, 1000, 34, 16),
	};
	static struct frame f;

	(void)state;
	begin(HARNESS_THREAD);
	frame_make(&f, guest_mac, 100, 1);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		guest_send(&bad[i], &f, 100, 65536);
		guest_sent();
	}
	guest_send(NULL, &f, 13, 65536);
	guest_sent();
	assert_int_equal(counter("tx_malformed"), ARRAY_LEN(bad) + 1);
	assert_int_equal(counter("tx_frames"), 0);
	guest_send(NULL, &f, 100, 65536);
	guest_sent();
	host_expect(&f, 100);
}

static void test_chain_shorter_than_a_header_is_refused(void **state)
{
	struct driver_buf b = {0, HEADER - 1, false};

	(void)state;
	begin(HARNESS_THREAD);
	b.addr = tx_memory;
	assert_true(driver_add(queue(TX), &b, 1) >= 0);
	driver_kick(queue(TX));
	guest_sent();
	assert_int_equal(counter("tx_malformed"), 1);
}

static void test_unknown_flags_and_unused_fields_are_ignored(void **state)
{
	const struct net_header odd = header(0xfe, 0, 65535, 65535, 65535, 65535);
	static struct frame f;

	(void)state;
	begin(HARNESS_THREAD);
	frame_make(&f, guest_mac, 100, 1);
	guest_send(&odd, &f, 100, 65536);
	guest_sent();
	host_expect(&f, 100);
}

/* ---- offloads ---- */

static void test_segments_of_the_guest_are_left_to_the_host(void **state)
{
	const struct net_header tso = header(1, 1, 54, 1000, 34, 16);
	static uint8_t frame[65536], packet[65536];
	struct net_header seen = {0};
	auto_fd ip = -1;
	size_t n;

	(void)state;
	begin(HARNESS_PROCESS);
	ip = netns_packet_socket("t0", 0x0800);
	n = tcp_make(frame, "10.77.0.2", "10.77.0.1", 8000);
	guest_send(&tso, frame, n, 4096);
	guest_sent();
	assert_int_equal(host_receive(ip, packet, sizeof(packet), WAIT_MS), n + PACKET_HEADER);
	memcpy(&seen, packet, PACKET_HEADER);
	assert_int_equal(seen.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(le16_get(seen.gso_size), 1000);
	assert_int_equal(le16_get(seen.csum_start), 34);
	assert_memory_equal(packet + PACKET_HEADER, frame, n);
}

/* Sends 8000 bytes of TCP to the guest, to be cut into segments of 1000. */
static void host_send_segments(void)
{
	const struct net_header tso = header(1, 1, 54, 1000, 34, 16);
	static uint8_t packet[65536];
	size_t n = tcp_make(packet + PACKET_HEADER, "10.77.0.1", "10.77.0.2", 8000);
	auto_fd ip = netns_packet_socket("t0", 0x0800);

	memcpy(packet, &tso, PACKET_HEADER);
	assert_int_equal(send(ip, packet, PACKET_HEADER + n, 0), PACKET_HEADER + n);
}

static void test_segments_of_the_host_are_left_to_the_guest(void **state)
{
	struct driver_used used;
	struct net_header seen;

	(void)state;
	begin(HARNESS_THREAD);
	give_buffers(RX, 10, 1500);
	host_send_segments();
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(driver_wait(queue(RX), WAIT_MS, &used), 0);
	memcpy(&seen, buffer(0), sizeof(seen));
	assert_int_equal(seen.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(le16_get(seen.gso_size), 1000);
	assert_int_equal(le16_get(seen.num_buffers), 6);
}

static void segments_are_cut(bool by_command)
{
	const le64 none = le64_of(0);
	struct driver_used used;
	struct net_header seen;

	begin_with(OPTIONS, HARNESS_THREAD,
		   (struct driver_options){
			   .features = by_command ? all_features
						  : all_features & ~BIT(GUEST_TSO4)});
	if (by_command)
		assert_int_equal(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS,
					 VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &none, 8),
				 VIRTIO_NET_OK);
	give_buffers(RX, 10, 1500);
	host_send_segments();
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(driver_wait(queue(RX), WAIT_MS, &used), 0);
		assert_int_equal(used.len, 1054 + HEADER);
		memcpy(&seen, buffer(i), sizeof(seen));
		assert_int_equal(seen.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	}
}

static void test_guest_that_does_not_want_segments_gets_frames(void **state)
{
	(void)state;
	segments_are_cut(false);
}

static void test_guest_that_switches_segments_off_gets_frames(void **state)
{
	(void)state;
	segments_are_cut(true);
}

/* ---- UDP in segments: Linux 6.2 ---- */

enum { UDP_HEADERS = 42 };

static const uint64_t uso_features =
	VIRTIO_BIT(NET_F_HOST_USO) | VIRTIO_BIT(NET_F_GUEST_USO4) | VIRTIO_BIT(NET_F_GUEST_USO6);

static void begin_uso(uint64_t without)
{
	begin_with(OPTIONS, HARNESS_THREAD,
		   (struct driver_options){.features = (all_features | uso_features) & ~without});
	SKIP_UNLESS((h.d.offered & uso_features) == uso_features,
		    "a tap that cuts UDP (Linux 6.2)");
}

/* Ethernet, IPv4 and UDP headers in front of n bytes. */
static size_t udp_make(uint8_t *f, const char *from, const char *to, size_t n)
{
	uint16_t length = htons((uint16_t)(8 + n));

	tcp_make(f, from, to, n + UDP_HEADERS - 54);
	f[23] = 17;
	memcpy(f + 38, &length, sizeof(length));
	memset(f + 40, 0, 2);
	return UDP_HEADERS + n;
}

static void test_udp_segments_of_the_guest_are_left_to_the_host(void **state)
{
	const struct net_header uso = header(1, NET_HDR_GSO_UDP_L4, UDP_HEADERS, 1000, 34, 6);
	static uint8_t frame[65536], packet[65536];
	struct net_header seen = {0};
	auto_fd ip = -1;
	size_t n;

	(void)state;
	begin_uso(0);
	ip = netns_packet_socket("t0", 0x0800);
	n = udp_make(frame, "10.77.0.2", "10.77.0.1", 8000);
	guest_send(&uso, frame, n, 4096);
	guest_sent();
	assert_int_equal(host_receive(ip, packet, sizeof(packet), WAIT_MS), n + PACKET_HEADER);
	memcpy(&seen, packet, PACKET_HEADER);
	assert_int_equal(seen.gso_type, NET_HDR_GSO_UDP_L4);
	assert_int_equal(le16_get(seen.gso_size), 1000);
	assert_memory_equal(packet + PACKET_HEADER, frame, n);
}

static void test_udp_segments_that_were_not_agreed_on_are_refused(void **state)
{
	const struct net_header uso = header(1, NET_HDR_GSO_UDP_L4, UDP_HEADERS, 1000, 34, 6),
				ecn = header(1, NET_HDR_GSO_UDP_L4 | VIRTIO_NET_HDR_GSO_ECN,
					     UDP_HEADERS, 1000, 34, 6);
	static uint8_t frame[65536];
	size_t n = udp_make(frame, "10.77.0.2", "10.77.0.1", 8000);

	(void)state;
	begin_uso(VIRTIO_BIT(NET_F_HOST_USO));
	guest_send(&uso, frame, n, 4096);
	guest_sent();
	guest_send(&ecn, frame, n, 4096);
	guest_sent();
	assert_int_equal(counter("tx_malformed"), 2);
}

/* Sends 8000 bytes of UDP to the guest, to be cut into 1000; n buffers take them. */
static void host_send_datagrams(void)
{
	const struct net_header uso = header(1, NET_HDR_GSO_UDP_L4, UDP_HEADERS, 1000, 34, 6);
	static uint8_t packet[65536];
	size_t n = udp_make(packet + PACKET_HEADER, "10.77.0.1", "10.77.0.2", 8000);
	auto_fd ip = netns_packet_socket("t0", 0x0800);

	memcpy(packet, &uso, PACKET_HEADER);
	assert_int_equal(send(ip, packet, PACKET_HEADER + n, 0), PACKET_HEADER + n);
}

static void test_udp_segments_of_the_host_are_left_to_the_guest(void **state)
{
	struct driver_used used;
	struct net_header seen;

	(void)state;
	begin_uso(0);
	give_buffers(RX, 10, 1500);
	host_send_datagrams();
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(driver_wait(queue(RX), WAIT_MS, &used), 0);
	memcpy(&seen, buffer(0), sizeof(seen));
	assert_int_equal(seen.gso_type, NET_HDR_GSO_UDP_L4);
	assert_int_equal(le16_get(seen.gso_size), 1000);
	assert_int_equal(le16_get(seen.num_buffers), 6);
}

/* The kernel knows both kinds of IP only together. */
static void test_guest_that_wants_one_kind_of_udp_segments_gets_frames(void **state)
{
	struct driver_used used;
	struct net_header seen;

	(void)state;
	begin_uso(VIRTIO_BIT(NET_F_GUEST_USO6));
	give_buffers(RX, 10, 1500);
	host_send_datagrams();
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(driver_wait(queue(RX), WAIT_MS, &used), 0);
		assert_int_equal(used.len, HEADER + UDP_HEADERS + 1000);
		memcpy(&seen, buffer(i), sizeof(seen));
		assert_int_equal(seen.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	}
}

/* ---- death ---- */

static void test_frames_go_on_after_death(void **state)
{
	static struct frame f;

	(void)state;
	tap_keep(true);
	begin_with(OPTIONS, HARNESS_PROCESS,
		   (struct driver_options){.features = all_features, .inflight = true});
	give_buffers(RX, 4, BUFFER);
	for (unsigned i = 0; i < 4; i++) {
		frame_make(&f, guest_mac, 100, (uint8_t)i);
		host_send(&f, 100);
		guest_expect(i, &f, 100);
		guest_send(NULL, &f, 100, 65536);
		guest_sent();
		host_expect(&f, 100);
		harness_kill(&h);
		harness_restart(&h);
	}
}

#define TEST(name) cmocka_unit_test_teardown(test_##name, stop)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(frames_reach_the_host),
		TEST(frames_in_pieces_reach_the_host),
		TEST(frames_reach_the_guest),
		TEST(frames_reach_a_guest_that_agreed_on_nothing),
		TEST(frames_reach_the_guest_by_a_packed_ring),
		TEST(long_frame_fills_several_buffers),
		TEST(long_frame_fills_several_buffers_of_a_packed_ring),
		TEST(frame_fills_buffers_of_a_few_bytes),
		TEST(frame_longer_than_its_only_buffer_is_dropped),
		TEST(frame_waits_for_the_rest_of_its_buffers),
		TEST(without_buffers_nobody_is_busy),
		TEST(buffer_without_room_for_a_header_breaks_the_queue),
		TEST(malformed_headers_are_refused_and_counted),
		TEST(chain_shorter_than_a_header_is_refused),
		TEST(unknown_flags_and_unused_fields_are_ignored),
		TEST(segments_of_the_guest_are_left_to_the_host),
		TEST(segments_of_the_host_are_left_to_the_guest),
		TEST(guest_that_does_not_want_segments_gets_frames),
		TEST(guest_that_switches_segments_off_gets_frames),
		TEST(udp_segments_of_the_guest_are_left_to_the_host),
		TEST(udp_segments_that_were_not_agreed_on_are_refused),
		TEST(udp_segments_of_the_host_are_left_to_the_guest),
		TEST(guest_that_wants_one_kind_of_udp_segments_gets_frames),
		cmocka_unit_test_teardown(test_frames_go_on_after_death, stop_and_remove_tap),
	};

	return cmocka_run_group_tests(tests, enter, NULL);
}
