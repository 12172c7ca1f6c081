/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_user_fuzz.c - the message codec: any bytes, in any pieces, as seen from all four ends */
#include "base/fd.h"
#include "virtio/vhost_user.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Whoever handles a message relies on what the table promises. */
static void check(const struct vu_msg *m, enum vu_direction direction)
{
	if (m->size > sizeof(m->p) || m->nfds > VU_FDS_MAX)
		abort();
	if (direction == VU_REQUESTS && m->request == VU_SET_MEM_TABLE &&
	    (le32_get(m->p.memory.count) > VU_REGIONS_MAX ||
	     le32_get(m->p.memory.count) != m->nfds))
		abort();
	if (direction <= VU_REPLIES && m->request == VU_GET_CONFIG && m->size > 0 &&
	    le32_get(m->p.config.size) > VU_CONFIG_MAX)
		abort();
	for (size_t i = 0; i < m->nfds; i++)
		if (m->fds[i] < 0)
			abort();
}

static int read_all(struct vu_conn *c)
{
	struct vu_msg m;
	int r;

	while ((r = vu_recv(c, &m)) == 0) {
		check(&m, c->direction);
		if (m.nfds > 1)
			close(vu_msg_take_fd(&m, 1));
		vu_msg_fini(&m);
	}
	return r;
}

/* One byte says how long the next piece is and whether descriptors come with it. */
static void send_pieces(int sock, struct vu_conn *c, const uint8_t *data, size_t n)
{
	int fds[FD_PASS_MAX];

	for (size_t i = 0; i < FD_PASS_MAX; i++)
		fds[i] = sock;
	while (n > 1) {
		size_t length = data[0] & 0x3f, nfds = data[0] >> 6;

		data++;
		n--;
		if (length > n)
			length = n;
		if (length == 0)
			continue;
		nfds = nfds == 3 ? 9 : nfds;
		if (fd_send(sock, data, length, fds, nfds) < 0)
			return;
		data += length;
		n -= length;
		if (read_all(c) != -EAGAIN)
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct vu_conn c = {0};
	int pair[2];

	if (n < 2 || n > 4096)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	c.sock = pair[0];
	c.direction = (enum vu_direction)(data[0] & 3);
	send_pieces(pair[1], &c, data + 1, n - 1);
	fd_close(&pair[1]);
	if (read_all(&c) == 0)
		abort();
	vu_conn_fini(&c);
	fd_close(&pair[0]);
	return 0;
}
