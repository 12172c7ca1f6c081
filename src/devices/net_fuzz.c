/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_fuzz.c - the network card, between a hostile driver and a back end that checks what it gets
 *
 * The back end holds every header against what the driver agreed on, and every frame against the
 * egress rules that half of the inputs have: what arrives must be what was judged, whatever became
 * of the guest's memory in between.  It takes some frames late, and has frames of any length for
 * the guest.
 */
#include "base/fd.h"
#include "base/iov.h"
#include "base/num.h"
#include "devices/harness_fuzz.h"
#include "devices/net.h"
#include "virtio/ids.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const struct device_type net_type;

static struct net_backend fakes[2];
static struct net *cards[2], *card; /* without rules, and with */
static unsigned frames_left; /* for the guest, in this input */
static uint32_t seed;

static uint32_t any(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

/* What the kernel would refuse must not get as far as here. */
static void check_header(const struct net_header *h, size_t length)
{
	if (length < 14 || length > NET_FRAME_MAX || (h->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM))
		abort();
	if (h->flags && (!(card->device.acked & VIRTIO_BIT(VIRTIO_NET_F_CSUM)) ||
			 le16_get(h->csum_start) + le16_get(h->csum_offset) + 2u > length))
		abort();
	if (h->gso_type != VIRTIO_NET_HDR_GSO_NONE &&
	    (!h->flags || le16_get(h->gso_size) == 0 || le16_get(h->hdr_len) > length))
		abort();
	if (h->gso_type == VIRTIO_NET_HDR_GSO_TCPV4 &&
	    !(card->device.acked & VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4)))
		abort();
}

static void check_frame(const struct net_header *h, const uint8_t *frame, size_t length)
{
	const struct egress_offload offload = {.has_csum = h->flags,
					       .csum_start = le16_get(h->csum_start),
					       .csum_offset = le16_get(h->csum_offset)};
	struct egress_packet packet;

	if (egress_check(&card->gate.rules, frame, min_size(length, EGRESS_HEAD_MAX), length,
			 &offload, &packet) != EGRESS_PASS)
		abort();
}

static int fake_send(struct net_backend *b, unsigned pair, const struct iovec *v, unsigned n)
{
	static uint8_t frame[NET_HEADER_BYTES + NET_FRAME_MAX];
	struct iov_at at = {v, n, 0};
	struct net_header h;

	if (pair >= b->pairs || v[0].iov_len != sizeof(h) ||
	    iov_length(v, n) > NET_HEADER_BYTES + NET_FRAME_MAX)
		abort();
	memcpy(&h, v[0].iov_base, sizeof(h));
	check_header(&h, iov_length(v, n) - sizeof(h));
	check_frame(&h, frame + NET_HEADER_BYTES, iov_at_gather(&at, frame, sizeof(frame)) -
							 NET_HEADER_BYTES);
	if (any(4) == 0)
		return any(2) ? -EAGAIN : -EIO;
	return 0;
}

static ssize_t fake_receive(struct net_backend *b, unsigned pair, const struct iovec *v, unsigned n)
{
	static uint8_t frame[NET_HEADER_BYTES + NET_FRAME_MAX];
	struct iov_at at = {v, n, 0};
	size_t bytes = NET_HEADER_BYTES + any(any(4) ? 2000 : NET_FRAME_MAX);

	if (pair >= b->pairs)
		abort();
	if (frames_left == 0)
		return -EAGAIN;
	frames_left--;
	memset(frame, (int)any(256), bytes);
	if (iov_at_scatter(&at, frame, bytes) != bytes)
		abort(); /* there is always room for the longest frame */
	return (ssize_t)bytes;
}

static int fake_offloads(struct net_backend *b, unsigned offloads)
{
	if (offloads & ~b->offloads)
		abort();
	return any(8) ? 0 : -EINVAL;
}

static int fake_pairs(struct net_backend *b, unsigned pairs)
{
	if (pairs < 1 || pairs > b->pairs)
		abort();
	return 0;
}

static void fake_close(struct net_backend *b)
{
	(void)b;
}

static const struct net_backend_ops fake_ops = {
	.send = fake_send,
	.receive = fake_receive,
	.offloads_set = fake_offloads,
	.pairs_set = fake_pairs,
	.close = fake_close,
};

static int fuzz_open(struct device *d, struct err *e)
{
	struct net_backend *fake = &fakes[net_of(d)->deny != NULL];

	*fake = (struct net_backend){.ops = &fake_ops, .pairs = 2, .offloads = 63};
	for (unsigned i = 0; i < fake->pairs; i++) {
		fake->fd[i] = fd_eventfd();
		fd_signal(fake->fd[i]); /* always ready */
	}
	card = cards[net_of(d)->deny != NULL] = net_of(d);
	card->backend = fake;
	return net_type.open(d, e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct device_type type;

	if (!type.name) {
		type = net_type;
		type.check = NULL; /* of options for taps */
		type.keep = NULL;
		type.open = fuzz_open;
	}
	seed = n > 0 ? data[0] : 0;
	card = cards[seed % 2 == 0]; /* NULL before it is opened */
	frames_left = 8 + seed % 64;
	return fuzz_device(&type,
			   seed % 2 ? "mac=02:00:00:00:00:01,mtu=1500,queues=2"
				    : "queues=2,deny=0.0.0.0/1:80,deny=[::]/1:80/udp",
			   data, n);
}
