/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_vhost.c - frames that go between guest and tap inside the kernel (/dev/vhost-net)
 *
 * A vhost device for each pair of queues, its rings 0 and 1.  Control queue, configuration space
 * and the cable stay with us; frames, kicks and interrupts do not pass here.
 */
#include "devices/net.h"

#include "backend/vhost_kernel.h"
#include "base/fd.h"
#include "devices/kernel_rings.h"
#include "virtio/ids.h"

#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_net.h>
#include <sys/ioctl.h>

int net_vhost_open(struct net *n, struct err *e)
{
	struct device *d = &n->device;
	uint64_t known = 0;

	for (unsigned i = 0; i < n->backend->pairs; i++) {
		n->vhost_fd[i] = vhost_kernel_open("/dev/vhost-net", "vhost_net", &known, e);
		if (n->vhost_fd[i] < 0)
			return n->vhost_fd[i];
	}
	n->vhost_features = known;
	d->hidden = VIRTIO_RING_FEATURES & ~known;
	/* What the kernel would have to do and cannot. */
	d->features &= ~(VIRTIO_BIT(VIRTIO_NET_F_CTRL_RX) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) |
			 VIRTIO_BIT(VIRTIO_NET_F_CTRL_VLAN));
	if (!(known & VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF)))
		d->features &= ~VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF);
	d->has_kernel_threads = true;
	return 0;
}

int net_vhost_prepare(struct net *n, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; i < n->backend->pairs && r == 0; i++)
		r = vhost_kernel_own(n->vhost_fd[i], e);
	return r;
}

int net_vhost_start(struct net *n, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; i < n->backend->pairs && r == 0; i++)
		r = kernel_rings_begin(&n->device, n->vhost_fd[i], n->vhost_features, e);
	return r;
}

/* fd -1 takes the ring away from the kernel, and returns when it has let go. */
static int set_tap(struct net *n, unsigned q, int fd)
{
	struct vhost_vring_file file = {.index = q % 2, .fd = fd};

	return ioctl(n->vhost_fd[q / 2], VHOST_NET_SET_BACKEND, &file) < 0 ? -errno : 0;
}

void net_vhost_kick(struct net *n, unsigned q)
{
	struct err e = {0};
	int r = kernel_ring_start(&n->device, q, n->vhost_fd[q / 2], q % 2, &e);

	if (r == 0 && !n->link_down) {
		r = set_tap(n, q, n->backend->fd[q / 2]);
		if (r < 0)
			err_set(&e, -r, "vhost: cannot use the tap");
	}
	if (r == 0) {
		n->vhost_rings |= 1u << q;
		return;
	}
	log_limited(&n->complaints, "queue %u: %s", q, e.text);
	vq_break(&n->device.queues[q], "vhost-net does not serve it");
}

void net_vhost_stop(struct net *n)
{
	for (uint32_t rings = n->vhost_rings; rings; rings &= rings - 1) {
		unsigned q = (unsigned)__builtin_ctz(rings);

		if (set_tap(n, q, -1) < 0)
			log_limited(&n->complaints, "queue %u: the kernel does not let go", q);
		kernel_ring_stop(&n->device, q, n->vhost_fd[q / 2], q % 2);
	}
	n->vhost_rings = 0;
}

void net_vhost_link(struct net *n)
{
	for (uint32_t rings = n->vhost_rings; rings; rings &= rings - 1) {
		unsigned q = (unsigned)__builtin_ctz(rings);

		if (set_tap(n, q, n->link_down ? -1 : n->backend->fd[q / 2]) < 0)
			log_warn("queue %u: the kernel does not follow the cable", q);
	}
}

void net_vhost_close(struct net *n)
{
	for (unsigned i = 0; i < NET_PAIRS_MAX; i++)
		fd_close(&n->vhost_fd[i]);
}
