/* SPDX-License-Identifier: BSD-3-Clause */
/* net_fixture.h - a network card on a tap in a network of the test's own; for net*_test.c only */
#pragma once

#include "base/fd.h"
#include "base/netns_test.h"
#include "base/skip.h"
#include "base/wire.h"
#include "devices/harness_test.h"
#include "devices/net_header.h"
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

static inline void begin_with(const char *options, enum harness_kind kind, struct driver_options o)
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

static inline void begin(enum harness_kind kind)
{
	begin_with(OPTIONS, kind, (struct driver_options){.features = all_features});
}

static inline int stop(void **state)
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
static inline size_t frame_make(struct frame *f, const uint8_t *to, size_t n, uint8_t first)
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
static inline void host_send(const struct frame *f, size_t n)
{
	static uint8_t packet[PACKET_HEADER + sizeof(*f)];

	memset(packet, 0, PACKET_HEADER);
	memcpy(packet + PACKET_HEADER, f, n);
	assert_int_equal(send(packets, packet, PACKET_HEADER + n, 0), PACKET_HEADER + n);
}

static inline void host_send_new(const uint8_t *to, size_t n, uint8_t first)
{
	static struct frame f;

	frame_make(&f, to, n, first);
	host_send(&f, n);
}

/* What arrives there within the limit, with its header; bytes, 0: nothing. */
static inline size_t host_receive(int sock, uint8_t *packet, size_t room, int limit_ms)
{
	struct pollfd p = {.fd = sock, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, limit_ms) != 1)
		return 0;
	n = recv(sock, packet, room, 0);
	assert_true(n > PACKET_HEADER);
	return (size_t)n;
}

static inline void host_expect(const struct frame *f, size_t n)
{
	static uint8_t packet[sizeof(*f) + PACKET_HEADER];

	assert_int_equal(host_receive(packets, packet, sizeof(packet), WAIT_MS), n + PACKET_HEADER);
	assert_memory_equal(packet + PACKET_HEADER, f, n);
}

static inline struct driver_queue *queue(unsigned q)
{
	return &h.d.queues[q];
}

/* Gives the device n buffers of so many bytes, one after the other in memory. */
static inline void give_buffers(unsigned q, unsigned n, uint32_t bytes)
{
	for (unsigned i = 0; i < n; i++) {
		struct driver_buf b = {memory + i * 65536ull, bytes, true};

		assert_true(driver_add(queue(q), &b, 1) >= 0);
	}
	driver_kick(queue(q));
}

static inline const uint8_t *buffer(unsigned i)
{
	return driver_at(&h.d, memory + i * 65536ull, 65536);
}

/* The next frame for the guest lies in buffer i alone. */
static inline void guest_expect(unsigned i, const struct frame *f, size_t n)
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
static inline void guest_send(const void *header, const void *frame, size_t n, uint32_t piece)
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

static inline void guest_sent(void)
{
	struct driver_used used;

	assert_int_equal(driver_wait(queue(TX), WAIT_MS, &used), 0);
	assert_int_equal(used.len, 0);
}

/* ---- commands ---- */

/* Of the device's status, or of what a command answers. */
static inline void ask(const char *command, char *answer, size_t room)
{
	ssize_t n;

	assert_int_equal(h.kind, HARNESS_THREAD);
	assert_int_equal(send(h.control_sock, command, strlen(command), 0), strlen(command));
	n = recv(h.control_sock, answer, room - 1, 0);
	assert_true(n > 0);
	answer[n] = '\0';
}

static inline unsigned counter(const char *name)
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
static inline uint8_t command(uint8_t class, uint8_t cmd, const void *data, uint32_t n)
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

static inline void command_byte(uint8_t class, uint8_t cmd, uint8_t value)
{
	assert_int_equal(command(class, cmd, &value, 1), VIRTIO_NET_OK);
}

/* Ethernet, IPv4 and TCP headers in front of n bytes, without checksums. */
static inline size_t tcp_make(uint8_t *f, const char *from, const char *to, size_t n)
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



/* A tap that outlives those who have it, as it does when main has it too. */
static inline void tap_keep(bool keep)
{
	struct ifreq r = {.ifr_name = "t0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	auto_fd tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	SKIP_UNLESS(has_network, "namespaces of its own and /dev/net/tun");
	assert_int_equal(ioctl(tun, TUNSETIFF, &r), 0);
	assert_int_equal(ioctl(tun, TUNSETPERSIST, keep), 0);
}

static inline int stop_and_remove_tap(void **state)
{
	stop(state);
	if (has_network)
		tap_keep(false);
	return 0;
}


static inline int enter(void **state)
{
	(void)state;
	has_network = netns_enter();
	return 0;
}
