/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_test.c - network cards on a tap in a network of the test's own: frames both ways, offloads,
 * buffers that are short or missing, the control queue, the cable, death
 */
#include "base/fd.h"
#include "base/skip.h"
#include "base/wire.h"
#include "devices/harness_test.h"
#include "devices/net_header.h"
#include "base/netns_test.h"
#include "virtio/ids.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	WAIT_MS = 10000,
	ABSENT_MS = 50,
	QUEUE_SIZE = 64,
	PROTOCOL = 0x88b5, /* for experiments */
	HEADER = 12,
	PACKET_HEADER = 10, /* of a packet socket */
	BUFFER = 2048,
	RX = 0,
	TX = 1,
};

#define BIT(name) VIRTIO_BIT(VIRTIO_NET_F_##name)
#define OPTIONS	  "tap=t0,host_ip=10.77.0.1,netmask=255.255.255.0,mac=02:00:00:00:00:02"

static const uint64_t all_features = BIT(CSUM) | BIT(GUEST_CSUM) | BIT(MAC) | BIT(GUEST_TSO4) |
				     BIT(HOST_TSO4) | BIT(MRG_RXBUF) | BIT(STATUS) | BIT(CTRL_VQ) |
				     BIT(CTRL_RX) | BIT(CTRL_VLAN) | BIT(CTRL_RX_EXTRA) |
				     BIT(CTRL_MAC_ADDR) | BIT(CTRL_GUEST_OFFLOADS) | BIT(MTU);
static const uint8_t guest_mac[6] = {2, 0, 0, 0, 0, 2};

static bool has_network;
static struct harness h;
static int packets = -1;
static gpa memory, tx_memory;
static unsigned ctrl; /* which queue it is */

/* ---- set-up ---- */

static void begin_with(const char *options, enum harness_kind kind, struct driver_options o)
{
	o.queue_size = QUEUE_SIZE;
	if (o.nqueues == 0)
		o.nqueues = 3;
	SKIP_UNLESS(has_network, "namespaces of its own and /dev/net/tun");
	ctrl = o.nqueues - 1;
	harness_start(&h, "net", options, kind, &o);
	memory = driver_alloc(&h.d, QUEUE_SIZE * 65536, 4096);
	tx_memory = driver_alloc(&h.d, 2 * 65536, 4096);
	packets = netns_packet_socket("t0", PROTOCOL);
	assert_true(packets >= 0);
}

static void begin(enum harness_kind kind)
{
	begin_with(OPTIONS, kind, (struct driver_options){.features = all_features});
}

static int stop(void **state)
{
	(void)state;
	fd_close(&packets);
	if (h.type)
		harness_stop(&h);
	h.type = NULL;
	return 0;
}

/* ---- frames ---- */

struct frame {
	uint8_t to[6], from[6], type[2], data[65536];
};

/* A frame of n bytes, with bytes that tell where they belong. */
static size_t frame_make(struct frame *f, const uint8_t *to, size_t n, uint8_t first)
{
	memcpy(f->to, to, 6);
	memcpy(f->from, "\2\0\0\0\0\1", 6);
	f->type[0] = PROTOCOL >> 8;
	f->type[1] = PROTOCOL & 0xff;
	for (size_t i = 0; i < n - 14; i++)
		f->data[i] = (uint8_t)(first + i * 7 + i / 256);
	return n;
}

/* From the host's end of the tap to the guest. */
static void host_send(const struct frame *f, size_t n)
{
	static uint8_t packet[PACKET_HEADER + sizeof(*f)];

	memset(packet, 0, PACKET_HEADER);
	memcpy(packet + PACKET_HEADER, f, n);
	assert_int_equal(send(packets, packet, PACKET_HEADER + n, 0), PACKET_HEADER + n);
}

static void host_send_new(const uint8_t *to, size_t n, uint8_t first)
{
	static struct frame f;

	frame_make(&f, to, n, first);
	host_send(&f, n);
}

/* What arrives there within the limit, with its header; bytes, 0: nothing. */
static size_t host_receive(int sock, uint8_t *packet, size_t room, int limit_ms)
{
	struct pollfd p = {.fd = sock, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, limit_ms) != 1)
		return 0;
	n = recv(sock, packet, room, 0);
	assert_true(n > PACKET_HEADER);
	return (size_t)n;
}

static void host_expect(const struct frame *f, size_t n)
{
	static uint8_t packet[sizeof(*f) + PACKET_HEADER];

	assert_int_equal(host_receive(packets, packet, sizeof(packet), WAIT_MS), n + PACKET_HEADER);
	assert_memory_equal(packet + PACKET_HEADER, f, n);
}

static struct driver_queue *queue(unsigned q)
{
	return &h.d.queues[q];
}

/* Gives the device n buffers of so many bytes, one after the other in memory. */
static void give_buffers(unsigned q, unsigned n, uint32_t bytes)
{
	for (unsigned i = 0; i < n; i++) {
		struct driver_buf b = {memory + i * 65536ull, bytes, true};

		assert_true(driver_add(queue(q), &b, 1) >= 0);
	}
	driver_kick(queue(q));
}

static const uint8_t *buffer(unsigned i)
{
	return driver_at(&h.d, memory + i * 65536ull, 65536);
}

/* The next frame for the guest lies in buffer i alone. */
static void guest_expect(unsigned i, const struct frame *f, size_t n)
{
	struct driver_used used;
	struct net_header header;

	assert_int_equal(driver_wait(queue(RX), WAIT_MS, &used), 0);
	assert_int_equal(used.len, n + HEADER);
	memcpy(&header, buffer(i), sizeof(header));
	assert_int_equal(le16_get(header.num_buffers), 1);
	assert_int_equal(header.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	assert_memory_equal(buffer(i) + HEADER, f, n);
}

/* From the guest, in pieces of so many bytes. */
static void guest_send(const void *header, const void *frame, size_t n, uint32_t piece)
{
	struct driver_buf b[64];
	unsigned pieces = 0;
	uint8_t *at = driver_at(&h.d, tx_memory, 2 * 65536);

	if (header)
		memcpy(at, header, HEADER);
	else
		memset(at, 0, HEADER);
	memcpy(at + HEADER, frame, n);
	for (uint32_t done = 0; done < n + HEADER; pieces++) {
		uint32_t part = (uint32_t)(n + HEADER - done < piece ? n + HEADER - done : piece);

		b[pieces] = (struct driver_buf){tx_memory + done, part, false};
		done += part;
	}
	assert_true(driver_add(queue(TX), b, pieces) >= 0);
	driver_kick(queue(TX));
}

static void guest_sent(void)
{
	struct driver_used used;

	assert_int_equal(driver_wait(queue(TX), WAIT_MS, &used), 0);
	assert_int_equal(used.len, 0);
}

/* ---- commands ---- */

/* Of the device's status, or of what a command answers. */
static void ask(const char *command, char *answer, size_t room)
{
	ssize_t n;

	assert_int_equal(h.kind, HARNESS_THREAD);
	assert_int_equal(send(h.control_sock, command, strlen(command), 0), strlen(command));
	n = recv(h.control_sock, answer, room - 1, 0);
	assert_true(n > 0);
	answer[n] = '\0';
}

static unsigned counter(const char *name)
{
	char answer[4096], key[64];
	const char *at;

	ask("status", answer, sizeof(answer));
	snprintf(key, sizeof(key), "\"%s\":", name);
	at = strstr(answer, key);
	assert_non_null(at);
	return (unsigned)strtoul(at + strlen(key), NULL, 10);
}

/* A control command; what the device answers. */
static uint8_t command(uint8_t class, uint8_t cmd, const void *data, uint32_t n)
{
	struct driver_buf b[] = {{tx_memory, 2 + n, false}, {tx_memory + 65536, 1, true}};
	uint8_t *at = driver_at(&h.d, tx_memory, 65537);
	struct driver_used used;

	at[0] = class;
	at[1] = cmd;
	memcpy(at + 2, data, n);
	at[65536] = 0xee;
	assert_true(driver_add(queue(ctrl), b, 2) >= 0);
	driver_kick(queue(ctrl));
	assert_int_equal(driver_wait(queue(ctrl), WAIT_MS, &used), 0);
	assert_int_equal(used.len, 1);
	return at[65536];
}

static void command_byte(uint8_t class, uint8_t cmd, uint8_t value)
{
	assert_int_equal(command(class, cmd, &value, 1), VIRTIO_NET_OK);
}

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
	do
		memcpy(whole + 20 * n, buffer(n), 20);
	while (n++, driver_poll(queue(RX), &used));
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

static struct net_header header(uint8_t flags, uint8_t gso_type, unsigned hdr_len, unsigned gso_size,
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

/* Ethernet, IPv4 and TCP headers in front of n bytes, without checksums. */
static size_t tcp_make(uint8_t *f, const char *from, const char *to, size_t n)
{
	uint16_t total = htons((uint16_t)(40 + n));

	memset(f, 0, 54 + n);
	memcpy(f, guest_mac, 6);
	memcpy(f + 6, "\2\0\0\0\0\1", 6);
	f[12] = 8;
	f[14] = 0x45;
	memcpy(f + 16, &total, 2);
	f[22] = 64;
	f[23] = 6;
	inet_pton(AF_INET, from, f + 26);
	inet_pton(AF_INET, to, f + 30);
	f[34] = 0x12;
	f[36] = 0x34;
	f[46] = 0x50;
	f[47] = 0x10;
	for (size_t i = 0; i < n; i++)
		f[54 + i] = (uint8_t)(i / 7);
	return 54 + n;
}

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

/* ---- filters ---- */

static const uint8_t other_mac[6] = {2, 0, 0, 0, 0, 3}, third_mac[6] = {2, 0, 0, 0, 0, 4},
		     group_mac[6] = {1, 0, 0x5e, 0, 0, 1},
		     everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* Sends a frame to each address, then one that always arrives; which of them did, as bits. */
static unsigned who_is_heard(void)
{
	const uint8_t *const addresses[] = {guest_mac, other_mac, third_mac, group_mac, everybody};
	struct driver_used used;
	unsigned heard = 0;

	for (unsigned i = 0; i < ARRAY_LEN(addresses); i++) {
		struct driver_buf b = {memory, BUFFER, true};

		host_send_new(addresses[i], 60, (uint8_t)i);
		assert_true(driver_add(queue(RX), &b, 1) >= 0);
		driver_kick(queue(RX));
		if (driver_wait(queue(RX), ABSENT_MS, &used) == 0)
			heard |= 1u << buffer(0)[HEADER + 14];
	}
	while (driver_poll(queue(RX), &used))
		;
	return heard;
}

static void test_addresses_are_filtered_as_the_driver_says(void **state)
{
	uint8_t table[4 + 6 + 4 + 6] = {1};

	(void)state;
	begin(HARNESS_THREAD);
	assert_int_equal(who_is_heard(), 0x1f);
	command_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 0);
	assert_int_equal(who_is_heard(), 0x11);
	memcpy(table + 4, other_mac, 6);
	table[10] = 1;
	memcpy(table + 14, group_mac, 6);
	assert_int_equal(
		command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, sizeof(table)),
		VIRTIO_NET_OK);
	assert_int_equal(who_is_heard(), 0x1b);
	command_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, 1);
	command_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOMULTI, 1);
	assert_int_equal(who_is_heard(), 0x03);
	command_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, 1);
	assert_int_equal(who_is_heard(), 0x07);
	assert_int_equal(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, third_mac, 6),
			 VIRTIO_NET_OK);
	command_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, 0);
	assert_int_equal(who_is_heard(), 0x06);
	assert_true(counter("rx_filtered") > 0);
}

static bool is_tag_heard(uint16_t tag)
{
	static struct frame f;
	struct driver_buf b = {memory, BUFFER, true};
	struct driver_used used;
	bool heard;

	frame_make(&f, guest_mac, 64, 1);
	memcpy(f.type, "\x81\0", 2);
	f.data[0] = (uint8_t)(tag >> 8);
	f.data[1] = (uint8_t)tag;
	host_send(&f, 64);
	assert_true(driver_add(queue(RX), &b, 1) >= 0);
	driver_kick(queue(RX));
	heard = driver_wait(queue(RX), ABSENT_MS, &used) == 0;
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
	assert_int_equal(who_is_heard(), 0x1f);
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
static void test_flow_comes_back_on_the_pair_it_left_by(void **state)
{
	uint8_t frame[128];
	struct driver_buf out = {tx_memory, 0, false};
	struct driver_used used;
	auto_fd ip = -1;
	size_t n;

	(void)state;
	begin_two_pairs();
	assert_int_equal(set_pairs(2), VIRTIO_NET_OK);
	ip = netns_packet_socket("t0", 0x0800);
	for (unsigned pair = 0; pair < 2; pair++) {
		struct driver_buf in = {memory, BUFFER, true};
		static uint8_t packet[PACKET_HEADER + 128];

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
}

/* ---- death ---- */

/* A tap that outlives those who have it, as it does when main has it too. */
static void tap_keep(bool keep)
{
	struct ifreq r = {.ifr_name = "t0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	auto_fd tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	SKIP_UNLESS(has_network, "namespaces of its own and /dev/net/tun");
	assert_int_equal(ioctl(tun, TUNSETIFF, &r), 0);
	assert_int_equal(ioctl(tun, TUNSETPERSIST, keep), 0);
}

static int stop_and_remove_tap(void **state)
{
	stop(state);
	if (has_network)
		tap_keep(false);
	return 0;
}

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

static void test_commands_outlive_the_process(void **state)
{
	(void)state;
	tap_keep(true);
	begin_with(OPTIONS, HARNESS_PROCESS,
		   (struct driver_options){.features = all_features, .inflight = true});
	command_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 0);
	harness_kill(&h);
	harness_restart(&h);
	assert_int_equal(who_is_heard(), 0x11);
	command_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, 1);
	harness_kill(&h);
	harness_restart(&h);
	assert_int_equal(who_is_heard(), 0x01);
}

static void test_reset_forgets_commands(void **state)
{
	(void)state;
	begin_with(OPTIONS, HARNESS_THREAD,
		   (struct driver_options){.features = all_features, .inflight = true});
	command_byte(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 0);
	assert_int_equal(who_is_heard(), 0x11);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(driver_stop_queue(&h.d, i), 0);
	assert_int_equal(vu_set(&h.d.conn, VU_RESET_DEVICE), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(driver_send_queue(&h.d, i), 0);
	assert_int_equal(who_is_heard(), 0x1f);
}

/* ---- ---- */

static int enter(void **state)
{
	(void)state;
	has_network = netns_enter();
	return 0;
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
		TEST(addresses_are_filtered_as_the_driver_says),
		TEST(tags_are_filtered_as_the_driver_says),
		TEST(commands_that_make_no_sense_change_nothing),
		TEST(command_without_room_for_an_answer_is_given_back),
		TEST(guest_sees_address_state_and_size),
		TEST(pulled_cable_passes_no_frames),
		TEST(host_that_takes_its_end_away_does_no_harm),
		TEST(pairs_are_switched_by_command),
		TEST(flow_comes_back_on_the_pair_it_left_by),
		cmocka_unit_test_teardown(test_frames_go_on_after_death, stop_and_remove_tap),
		cmocka_unit_test_teardown(test_commands_outlive_the_process, stop_and_remove_tap),
		TEST(reset_forgets_commands),
	};

	return cmocka_run_group_tests(tests, enter, NULL);
}
