/* SPDX-License-Identifier: BSD-3-Clause */
/* vsock_guest_test.c - a guest's driver for the virtual socket device, and host programs */
#include "devices/vsock_guest_test.h"

#include "base/leftover.h"
#include "base/num.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 10000, TX_BYTES = 70000 };

static struct driver_queue *queue(struct guest *g, unsigned i)
{
	return &g->h.d.queues[i];
}

void guest_start(struct guest *g, enum harness_kind kind, const char *more_options)
{
	struct driver_options o = {.nqueues = VSOCK_QUEUES,
				   .queue_size = GUEST_QUEUE,
				   .inflight = true,
				   .memory = 4 << 20};

	*g = (struct guest){0};
	snprintf(g->dir, sizeof(g->dir), "/tmp/crosvm-vsock-XXXXXX");
	assert_non_null(mkdtemp(g->dir));
	snprintf(g->path, sizeof(g->path), "%s/v", g->dir);
	snprintf(g->options, sizeof(g->options), "cid=%d,socket=%s%s", GUEST_CID, g->path,
		 more_options);
	harness_start(&g->h, "vsock", g->options, kind, &o);
	for (unsigned i = 0; i < GUEST_QUEUE; i++) {
		g->rx[i] = driver_alloc(&g->h.d, GUEST_BUFFER, 64);
		g->rx_slot[i] = -1;
	}
	g->tx = driver_alloc(&g->h.d, TX_BYTES, 64);
	g->events = driver_alloc(&g->h.d, 4096, 64);
}

void guest_stop(struct guest *g)
{
	char command[96];

	harness_stop(&g->h);
	leftovers_remove(); /* of a thread; there is room for few */
	snprintf(command, sizeof(command), "rm -r %s", g->dir);
	assert_int_equal(system(command), 0);
}

void guest_give(struct guest *g, unsigned n)
{
	for (unsigned i = 0; i < GUEST_QUEUE && n > 0; i++) {
		struct driver_buf b = {g->rx[i], GUEST_BUFFER, true};
		bool is_used = false;
		int id;

		for (unsigned k = 0; k < GUEST_QUEUE; k++)
			is_used = is_used || g->rx_slot[k] == (int)i;
		if (is_used)
			continue;
		id = driver_add(queue(g, VSOCK_RX), &b, 1);
		assert_true(id >= 0);
		g->rx_slot[id] = (int)i;
		n--;
	}
	driver_kick(queue(g, VSOCK_RX));
}

static void header_put(void *at, const struct vsock_packet *p)
{
	const struct vsock_header h = {
		.src_cid = le64_of(p->src_cid),
		.dst_cid = le64_of(p->dst_cid),
		.src_port = le32_of(p->src_port),
		.dst_port = le32_of(p->dst_port),
		.len = le32_of(p->len),
		.type = le16_of(p->type),
		.op = le16_of(p->op),
		.flags = le32_of(p->flags),
		.buf_alloc = le32_of(p->buf_alloc),
		.fwd_cnt = le32_of(p->fwd_cnt),
	};

	memcpy(at, &h, sizeof(h));
}

static void header_get(const void *at, struct vsock_packet *ret)
{
	struct vsock_header h;

	memcpy(&h, at, sizeof(h));
	*ret = (struct vsock_packet){
		.src_cid = le64_get(h.src_cid),
		.dst_cid = le64_get(h.dst_cid),
		.src_port = le32_get(h.src_port),
		.dst_port = le32_get(h.dst_port),
		.len = le32_get(h.len),
		.type = le16_get(h.type),
		.op = le16_get(h.op),
		.flags = le32_get(h.flags),
		.buf_alloc = le32_get(h.buf_alloc),
		.fwd_cnt = le32_get(h.fwd_cnt),
	};
}

/* One at a time: its memory is free again when this returns. */
void guest_send_raw(struct guest *g, const struct vsock_packet *p, const void *data, size_t n)
{
	struct driver_queue *q = queue(g, VSOCK_TX);
	struct driver_buf b[2] = {{g->tx, sizeof(struct vsock_header), false},
				  {g->tx + 4096, (uint32_t)n, false}};
	struct driver_used used;

	header_put(driver_at(&g->h.d, g->tx, sizeof(struct vsock_header)), p);
	if (n > 0)
		memcpy(driver_at(&g->h.d, g->tx + 4096, n), data, n);
	assert_true(driver_add(q, b, n > 0 ? 2 : 1) >= 0);
	driver_kick(q);
	assert_int_equal(driver_wait(q, WAIT_MS, &used), 0);
	assert_int_equal(used.len, 0);
}

void guest_send(struct guest *g, struct flow *f, uint16_t op, uint32_t flags, const void *data,
		size_t n)
{
	const struct vsock_packet p = {
		.src_cid = GUEST_CID,
		.dst_cid = VSOCK_HOST_CID,
		.src_port = f->guest_port,
		.dst_port = f->host_port,
		.len = (uint32_t)n,
		.type = VIRTIO_VSOCK_TYPE_STREAM,
		.op = op,
		.flags = flags,
		.buf_alloc = f->buf_alloc,
		.fwd_cnt = f->received,
	};

	guest_send_raw(g, &p, data, n);
	f->sent += (uint32_t)n;
}

bool guest_receive(struct guest *g, int timeout_ms, struct vsock_packet *ret, void *data)
{
	struct driver_queue *q = queue(g, VSOCK_RX);
	struct driver_used used;
	const char *at;

	if (driver_wait(q, timeout_ms, &used) < 0)
		return false;
	assert_true(used.id < GUEST_QUEUE && g->rx_slot[used.id] >= 0);
	assert_true(used.len >= sizeof(struct vsock_header));
	at = driver_at(&g->h.d, g->rx[g->rx_slot[used.id]], GUEST_BUFFER);
	header_get(at, ret);
	assert_int_equal(used.len, sizeof(struct vsock_header) + ret->len);
	if (data)
		memcpy(data, at + sizeof(struct vsock_header), ret->len);
	g->rx_slot[used.id] = -1;
	if (g->rx_held == 0)
		guest_give(g, 1);
	return true;
}

void guest_expect(struct guest *g, struct flow *f, uint16_t op, void *data)
{
	struct vsock_packet *p = &f->last;

	if (!guest_receive(g, WAIT_MS, p, data))
		fail_msg("no packet; expected op %u", op);
	if (p->op != op || p->dst_port != f->guest_port || p->src_port != f->host_port)
		fail_msg("op %u from %u to %u; expected op %u from %u to %u", p->op, p->src_port,
			 p->dst_port, op, f->host_port, f->guest_port);
	assert_int_equal(p->src_cid, VSOCK_HOST_CID);
	assert_int_equal(p->dst_cid, GUEST_CID);
	assert_int_equal(p->type, VIRTIO_VSOCK_TYPE_STREAM);
	assert_true(op == VIRTIO_VSOCK_OP_RW ? p->len > 0 : p->len == 0);
	f->received += p->len;
}

void guest_expect_silence(struct guest *g)
{
	struct vsock_packet p;

	if (guest_receive(g, 100, &p, NULL))
		fail_msg("op %u from %u to %u", p.op, p.src_port, p.dst_port);
}

int host_listen(struct guest *g, uint32_t port, int backlog)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s_%u", g->path, port);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

int guest_connect(struct guest *g, struct flow *f, int listener, uint32_t guest_port,
		  uint32_t host_port)
{
	int fd;

	*f = (struct flow){
		.guest_port = guest_port, .host_port = host_port, .buf_alloc = 256 << 10};
	guest_send(g, f, VIRTIO_VSOCK_OP_REQUEST, 0, NULL, 0);
	guest_expect(g, f, VIRTIO_VSOCK_OP_RESPONSE, NULL);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

int host_connect_path(struct guest *g)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(a.sun_path, g->path, strlen(g->path));
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

int host_connect_guest(struct guest *g, struct flow *f, uint32_t guest_port)
{
	struct vsock_packet p;
	char line[32] = "", expected[32];
	int fd = host_connect_path(g), n;

	n = snprintf(line, sizeof(line), "CONNECT %u\n", guest_port);
	assert_int_equal(write(fd, line, (size_t)n), n);
	assert_true(guest_receive(g, WAIT_MS, &p, NULL));
	assert_int_equal(p.op, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(p.dst_port, guest_port);
	*f = (struct flow){
		.guest_port = guest_port, .host_port = p.src_port, .buf_alloc = 256 << 10};
	guest_send(g, f, VIRTIO_VSOCK_OP_RESPONSE, 0, NULL, 0);
	n = snprintf(expected, sizeof(expected), "OK %u\n", p.src_port);
	host_read_all(fd, line, (size_t)n);
	line[n] = '\0';
	assert_string_equal(line, expected);
	return fd;
}

void host_read_all(int fd, void *data, size_t n)
{
	char *at = data;

	while (n > 0) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t r;

		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		r = read(fd, at, n);
		assert_true(r > 0);
		at += r;
		n -= (size_t)r;
	}
}
