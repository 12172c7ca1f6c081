/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frontend_fuzz.c - answers of a hostile device
 *
 * The input is what the device will have sent: pieces of { kind, length, bytes }.  A piece goes to
 * the main socket or to the channel, as a message whose header is made up around it, or raw, with
 * or without a descriptor.  Then a driver starts, writes, resets; every wait ends with the input.
 * Kind NEXT is the end of that device, while the driver runs: another is attached in its place.
 */
#include "base/fd.h"
#include "base/log.h"
#include "transport/frontend.h"
#include "virtio/ids.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum {
	QUEUES = 3,
	KIND_RAW = 0x80, /* else the low bits of the second byte are the request */
	KIND_CHANNEL = 0x40,
	KIND_MEMFD = 0x20,
	KIND_EVENTFD = 0x10,
	KIND_NEXT = 0xff,
	DEVICES_MAX = 4,
	READY = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
		VIRTIO_CONFIG_S_DRIVER_OK,
};

static uint8_t memory[1 << 20] __attribute__((aligned(4096)));
static struct gmem gmem;
static struct loop loop;
static struct frontend f;
static bool is_lost;
static int memory_fd = -1, event_fd = -1;

static void lost(struct frontend *frontend, const char *why)
{
	(void)frontend;
	assert(why);
	is_lost = true;
}

static void config_changed(struct frontend_listener *l)
{
	(void)l;
}

static struct frontend_listener listener = {.config_changed = config_changed};

static void set_up(void)
{
	struct frontend_args args = {
		.name = "fuzz",
		.virtio_id = VIRTIO_ID_BLOCK,
		.nqueues = QUEUES,
		.queue_size = 64,
		.config_size = 24,
		.gmem = &gmem,
		.loop = &loop,
		.limit_ms = 5,
		.lost = lost,
	};
	struct err e;
	int r;

	log_level_set(LOG_LEVEL_ERROR);
	if (memory_fd < 0)
		memory_fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (event_fd < 0)
		event_fd = fd_eventfd();
	gmem_init(&gmem);
	r = gmem_add_borrowed(&gmem, 0, sizeof(memory), memory);
	assert(r == 0);
	gmem.regions[0].fd = memory_fd;
	r = loop_init(&loop);
	assert(r == 0);
	r = frontend_init(&f, &args, &e);
	assert(r == 0);
	(void)r;
	f.listener = &listener;
	is_lost = false;
}

static void tear_down(void)
{
	frontend_fini(&f);
	loop_fini(&loop);
}

/* Sends one piece; too full a socket takes no more, which is as good as any other end. */
static bool send_piece(int sock, const uint8_t *piece, size_t n)
{
	uint8_t message[12 + 255] = {0};
	uint8_t kind = piece[0];
	int fd = kind & KIND_MEMFD ? memory_fd : event_fd;
	size_t nfds = kind & (KIND_MEMFD | KIND_EVENTFD) ? 1 : 0;

	if (kind & KIND_RAW)
		return n == 0 || fd_send(sock, piece + 2, n, &fd, nfds) == 0;
	message[0] = kind & 0x0f;
	message[4] = kind & KIND_CHANNEL ? 1 : 5; /* version, reply */
	if (n > 0) {
		message[0] = piece[2] & 0x3f;
		message[4] ^= (uint8_t)(piece[2] >> 6 << 2);
		n--;
	}
	message[8] = (uint8_t)n;
	memcpy(message + 12, piece + 3, n);
	return fd_send(sock, message, 12 + n, &fd, nfds) == 0;
}

/* Up to the next device; how much is left then. */
static size_t send_input(int sock, int channel, const uint8_t *data, size_t n)
{
	while (n >= 2 && data[0] != KIND_NEXT) {
		size_t length = data[1] < n - 2 ? data[1] : n - 2;

		if (!send_piece(data[0] & KIND_CHANNEL ? channel : sock, data, length))
			return 0;
		data += 2 + length;
		n -= 2 + length;
	}
	return n >= 2 ? n - 1 : 0;
}

static void run_loop(void)
{
	for (unsigned i = 0; i < 4 && !is_lost; i++) {
		int r = loop_once(&loop, 0);

		assert(r == 0);
		(void)r;
	}
}

static void start_driver(void)
{
	frontend_driver_features_set(&f, 0, (uint32_t)frontend_features(&f));
	frontend_driver_features_set(&f, 1, (uint32_t)(frontend_features(&f) >> 32));
	frontend_status_set(&f, READY & ~VIRTIO_CONFIG_S_DRIVER_OK);
	for (unsigned q = 0; q < QUEUES; q++) {
		frontend_queue_address_set(&f, q, FRONTEND_DRIVER, false, 0x1000);
		frontend_queue_address_set(&f, q, FRONTEND_DEVICE, false, 0x2000);
		frontend_queue_enable(&f, q);
	}
	frontend_status_set(&f, READY);
}

/* And no further. */
static void begin(void)
{
	const uint8_t bytes[2] = {0};

	start_driver();
	run_loop();
	frontend_config_write(&f, 3, bytes, sizeof(bytes));
}

static void drive(void)
{
	uint8_t bytes[32] = {0};

	begin();
	frontend_config_read(&f, 0, bytes, sizeof(bytes));
	assert(bytes[24] == 0);
	frontend_queue_reset(&f, 1);
	run_loop();
	frontend_pause(&f);
	frontend_resume(&f);
	frontend_generation(&f);
	frontend_status_set(&f, 0);
	start_driver();
	frontend_status(&f);
	frontend_status_set(&f, 0);
	run_loop();
	assert(frontend_nqueues(&f) <= QUEUES);
}

/* Returns how much of the input is left for another. */
static size_t device_run(const uint8_t *data, size_t n)
{
	auto_fd peer = -1;
	size_t left = 0;
	int pair[2], r;
	struct err e;

	if (fd_socketpair(SOCK_STREAM, pair) < 0)
		return 0;
	peer = pair[1];
	is_lost = false;
	r = frontend_attach_take(&f, pair[0], &e);
	assert(r == 0);
	(void)r;
	if (fd_timeout_set(peer, 1) == 0 && fd_timeout_set(f.channel_peer, 1) == 0)
		left = send_input(peer, f.channel_peer, data, n);
	shutdown(peer, SHUT_WR);
	run_loop();
	if (left % 2 == 1)
		fd_signal(f.error_fd); /* the device has it, too */
	if (f.known && left == 0)
		drive();
	else if (f.known)
		begin();
	return left;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	size_t left = n;

	set_up();
	for (unsigned i = 0; i < DEVICES_MAX && (i == 0 || left > 0); i++)
		left = device_run(data + n - left, left);
	tear_down();
	return 0;
}
