/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vsock_fuzz.c - virtual sockets: packets, programs that connect, write, read, close, and a
 * connector that answers whatever the script says
 *
 * After each step the books must balance (see vsock.h), and the loop must come to rest: a device
 * that is woken for ever with nothing to do is as wrong as one that crashes.
 */
#include "base/fd.h"
#include "base/leftover.h"
#include "devices/harness_fuzz.h"
#include "devices/vsock.h"

#include <errno.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CID = 3, CONNECTIONS = 6, PROGRAMS = 8, PORTS = 4, ROUNDS_MAX = 2000 };

extern const struct device_type vsock_type;

static char path[64];
static int connector_end, programs[PROGRAMS];
static uint8_t (*next)(void);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct vsock *vsock_of(struct device *d)
{
	return container_of(d, struct vsock, device);
}

/* So that it is full soon: what it does not take the device keeps. */
static void make_small(int sock)
{
	const int least = 1;

	if (setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &least, sizeof(least)) < 0)
		abort();
}

/* The script answers in the connector's place. */
static void begin(struct device *d)
{
	struct vsock *v = vsock_of(d);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	loop_remove(d->loop, &v->connector_watch);
	connector_stop(&v->connector);
	v->connector.sock = v->connector_watch.fd = pair[0];
	connector_end = pair[1];
	if (loop_add(d->loop, &v->connector_watch, EPOLLIN) < 0)
		abort();
	for (unsigned i = 0; i < PROGRAMS; i++)
		programs[i] = -1;
}

/* ---- what must hold ---- */

static void check_conn(const struct conn *c)
{
	const struct vsock *v = c->v;

	if (c->rx_count - c->forwarded > v->buffer_bytes) /* C1 */
		abort();
	if (c->tx_count - c->peer_forwarded > INT32_MAX) /* C2 */
		abort();
	if ((c->state == CONN_FREE || c->state == CONN_RESETTING) && c->watch.fd >= 0)
		abort();
	if (c->state == CONN_FREE && (c->is_waiting || c->tell))
		abort();
	if (c->tell && !c->is_waiting && c->state != CONN_FREE)
		abort(); /* the guest would never hear of it */
}

static void check(struct vsock *v)
{
	unsigned unused = 0;
	struct conn *c;

	TAILQ_FOREACH (c, &v->free, link)
		unused++;
	if (unused + v->open != v->connections || v->nreplies > VSOCK_REPLIES_MAX)
		abort();
	for (unsigned i = 0; i < v->connections; i++) {
		c = &v->conn[i];
		check_conn(c);
		if (c->state == CONN_OPEN && conn_find(v, c->guest_port, c->host_port) != c)
			abort(); /* C3 */
	}
}

/* Hands out events until there are none. */
static void settle(struct vsock *v)
{
	struct loop *l = v->device.loop;
	struct epoll_event event;
	unsigned rounds = 0;

	while (epoll_wait(l->epoll_fd, &event, 1, 0) == 1) {
		if (loop_once(l, 0) < 0 || rounds++ == ROUNDS_MAX)
			abort();
	}
	check(v);
}

/* ---- what happens ---- */

static void program_connect(int *program)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	fd_close(program);
	memcpy(a.sun_path, path, strlen(path));
	*program = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (connect(*program, (struct sockaddr *)&a, sizeof(a)) < 0)
		fd_close(program);
}

static void program_write(int program, const void *data, size_t n)
{
	if (send(program, data, n, MSG_NOSIGNAL) < 0)
		return;
}

static void program_command(int program)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "CONNECT %u\n", next() % PORTS);

	if (next() > 200)
		text[next() % n] = (char)next();
	if (next() > 200)
		n = next() % n;
	program_write(program, text, (size_t)n);
}

static void program_step(void)
{
	static char data[65536];
	int *program = &programs[next() % PROGRAMS];

	switch (next() % 8) {
	case 0:
		program_connect(program);
		break;
	case 1:
	case 2:
		program_command(*program);
		break;
	case 3:
		program_write(*program, data, next() * 200u);
		break;
	case 4:
	case 5:
		if (read(*program, data, next() * 256u) < 0)
			break;
		break;
	case 6:
		shutdown(*program, next() % 3);
		break;
	default:
		fd_close(program);
	}
}

static void connector_step(void)
{
	static const int errors[] = {0, 0, 0, ENOENT, EAGAIN, EACCES};
	int32_t answer = errors[next() % ARRAY_LEN(errors)];
	uint32_t number;
	int pair[2];

	if (recv(connector_end, &number, sizeof(number), 0) != sizeof(number))
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	make_small(pair[0]);
	if (fd_send(connector_end, &answer, sizeof(answer), &pair[0], answer == 0) < 0)
		abort();
	close(pair[0]);
	fd_close(&programs[number % PROGRAMS]);
	programs[number % PROGRAMS] = pair[1];
}

/* Ports of a connection that is, or any. */
static void choose_ports(struct vsock *v, struct vsock_packet *p, const struct conn **ret_conn)
{
	const struct conn *c = &v->conn[next() % v->connections];

	*ret_conn = c;
	p->src_port = c->guest_port;
	p->dst_port = c->host_port;
	if (c->state != CONN_FREE && next() < 224)
		return;
	p->src_port = next() % PORTS;
	p->dst_port = next() % PORTS;
}

static struct vsock_packet choose_packet(struct vsock *v)
{
	struct vsock_packet p = {.src_cid = CID,
				 .dst_cid = VSOCK_HOST_CID,
				 .type = VIRTIO_VSOCK_TYPE_STREAM,
				 .op = next() % 9};
	uint8_t odd = next();
	const struct conn *c;

	choose_ports(v, &p, &c);
	p.flags = next() & 3;
	p.buf_alloc = next() * 64u;
	p.fwd_cnt = odd & 1 ? c->tx_count : c->peer_forwarded;
	if (p.op == VIRTIO_VSOCK_OP_RW)
		p.len = next() * 32u;
	if (p.op == VIRTIO_VSOCK_OP_REQUEST)
		p.fwd_cnt = 0;
	if (odd > 250)
		p.fwd_cnt += next();
	else if (odd > 245)
		p.len = (uint32_t)next() << 24 | next();
	else if (odd > 240)
		p.src_cid += next();
	else if (odd > 235)
		p.dst_cid += next();
	else if (odd > 230)
		p.type = next();
	else if (odd > 225)
		p.op = (uint16_t)(next() << 8);
	return p;
}

static void packet_step(struct vsock *v, struct driver_queue *q, gpa data)
{
	struct vsock_packet p = choose_packet(v);
	const struct vsock_header h = {
		.src_cid = le64_of(p.src_cid),
		.dst_cid = le64_of(p.dst_cid),
		.src_port = le32_of(p.src_port),
		.dst_port = le32_of(p.dst_port),
		.len = le32_of(p.len),
		.type = le16_of(p.type),
		.op = le16_of(p.op),
		.flags = le32_of(p.flags),
		.buf_alloc = le32_of(p.buf_alloc),
		.fwd_cnt = le32_of(p.fwd_cnt),
	};
	gpa at = data + next() * 64u;
	uint32_t n = p.len < 0x3000 ? p.len : 0x3000;
	struct driver_buf b[2] = {{at, sizeof(h), false}, {data + 0x4000, n, false}};

	memcpy(driver_at(q->driver, at, sizeof(h)), &h, sizeof(h));
	driver_add(q, b, n > 0 ? 2 : 1);
	driver_kick_always(q);
}

/* Buffers for packets, rarely too small. */
static void buffer_step(struct driver_queue *q, gpa data)
{
	struct driver_buf b = {data + 0x7000, next() > 250 ? next() : 45 + next() * 8u, true};
	struct driver_used used;

	while (driver_poll(q, &used))
		;
	for (unsigned i = next() % 8; i > 0; i--)
		driver_add(q, &b, 1);
	driver_kick_always(q);
}

static void step(struct device *d, struct driver_queue *queues, gpa data, uint8_t (*take)(void))
{
	struct vsock *v = vsock_of(d);

	next = take;
	switch (take() % 8) {
	case 0:
	case 1:
		program_step();
		break;
	case 2:
		connector_step();
		break;
	case 3:
	case 4:
		buffer_step(&queues[VSOCK_RX], data);
		break;
	default:
		packet_step(v, &queues[VSOCK_TX], data);
	}
	settle(v);
}

/* ---- the end of a script ---- */

/* The next script finds them in their order, or its numbers would mean others. */
static void sort_free(struct vsock *v)
{
	TAILQ_INIT(&v->free);
	for (unsigned i = 0; i < v->connections; i++)
		TAILQ_INSERT_TAIL(&v->free, &v->conn[i], link);
}

static void end(struct device *d)
{
	struct vsock *v = vsock_of(d);
	uint32_t number;

	for (unsigned i = 0; i < PROGRAMS; i++)
		fd_close(&programs[i]);
	settle(v);
	for (unsigned i = 0; i < v->connections; i++)
		if (v->conn[i].state != CONN_FREE)
			conn_free(&v->conn[i]);
	while (recv(connector_end, &number, sizeof(number), 0) > 0)
		;
	v->is_asking = false;
	v->asked = NULL;
	v->next_port = 1 << 30;
	timer_set(&v->retry, 0, 0);
	check(v);
	if (v->open > 0)
		abort();
	sort_free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct fuzz_world world = {begin, step, end};
	static char options[128];

	if (path[0] == '\0') {
		if (atexit(leftovers_remove) != 0)
			abort();
		snprintf(path, sizeof(path), "/tmp/crosvm-vsock-fuzz-%d", (int)getpid());
		snprintf(options, sizeof(options), "cid=%d,socket=%s,buffer=4K,connections=%d",
			 CID, path, CONNECTIONS);
	}
	return fuzz_device_in(&world, &vsock_type, options, data, n);
}
