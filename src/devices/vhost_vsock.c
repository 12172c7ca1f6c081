/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost_vsock.c - virtual sockets (virtio 1.2, 5.10) that the host's kernel serves: AF_VSOCK
 *
 * Queues 0 and 1, to and from the guest, are the kernel's (/dev/vhost-vsock); neither their kicks
 * nor their interrupts pass here.  The third, for events, is ours.  The guest's CID is taken when
 * the device is opened, so that one which is in use is told before there is a guest.
 *
 * Connections end with the descriptor, and so with this process; its successor tells the driver.
 */
#include "backend/vhost_kernel.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/wire.h"
#include "devices/device.h"
#include "devices/kernel_rings.h"
#include "virtio/ids.h"

#include <errno.h>
#include <linux/vhost.h>
#include <linux/virtio_vsock.h>
#include <string.h>
#include <sys/ioctl.h>

enum { RX, TX, EVENT, QUEUES };
enum { KERNELS = 1 << RX | 1 << TX };

struct vhost_vsock {
	struct device device;
	uint32_t cid; /* option */
	int fd;
	uint64_t known;	     /* features of the kernel */
	uint32_t rings;	     /* bit i: the kernel has ring i */
	bool has_history;    /* nobody else has served the driver since its reset */
	bool reset_due;	     /* the guest must hear that its connections are gone */
	struct chain event;
	struct log_limit complaints; /* lines that the guest can cause */
};

static struct vhost_vsock *vhost_vsock_of(struct device *d)
{
	return container_of(d, struct vhost_vsock, device);
}

/* ---- the kernel ---- */

static int cid_take(const struct vhost_vsock *v, struct err *e)
{
	uint64_t cid = v->cid;

	if (ioctl(v->fd, VHOST_VSOCK_SET_GUEST_CID, &cid) == 0)
		return 0;
	if (errno == EADDRINUSE)
		return err_say(e, errno,
			       "cid=%u: another virtual machine has this one; choose another",
			       v->cid);
	return err_set(e, errno, "cid=%u: refused by /dev/vhost-vsock", v->cid);
}

static int run(const struct vhost_vsock *v, int running)
{
	return ioctl(v->fd, VHOST_VSOCK_SET_RUNNING, &running) < 0 ? -errno : 0;
}

/* The kernel begins when it has both rings. */
static void ring_begin(struct vhost_vsock *v, unsigned q)
{
	struct err e = {0};
	int r = kernel_ring_start(&v->device, q, v->fd, q, &e);

	if (r == 0)
		v->rings |= 1u << q;
	if (r == 0 && v->rings == KERNELS) {
		r = run(v, 1);
		if (r < 0)
			err_set(&e, -r, "vhost: cannot run");
	}
	if (r == 0)
		return;
	log_limited(&v->complaints, "queue %u: %s", q, e.text);
	vq_break(&v->device.queues[q], "vhost-vsock does not serve it");
}

/* ---- events ---- */

static void event_send(struct vhost_vsock *v)
{
	const le32 id = le32_of(VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	struct vq *q = &v->device.queues[EVENT];

	if (!v->reset_due || !vq_pop(q, &v->event))
		return;
	v->reset_due = false;
	if (!chain_put(&v->event, &id, sizeof(id)))
		vq_break(q, "event buffer too small");
	vq_push(q, &v->event);
	vq_notify(q);
}

/* ---- life ---- */

static void vhost_vsock_kick(struct device *d, unsigned q)
{
	struct vhost_vsock *v = vhost_vsock_of(d);

	if (q == RX) {
		v->reset_due = v->reset_due || (d->queues[q].resumed && !v->has_history);
		v->has_history = true;
	}
	if (q < EVENT)
		ring_begin(v, q);
	event_send(v);
}

static uint32_t vhost_vsock_kernel_queues(const struct device *d)
{
	(void)d;
	return KERNELS;
}

static int vhost_vsock_start(struct device *d, struct err *e)
{
	struct vhost_vsock *v = vhost_vsock_of(d);

	return kernel_rings_begin(d, v->fd, v->known, e);
}

static void vhost_vsock_stop(struct device *d)
{
	struct vhost_vsock *v = vhost_vsock_of(d);

	if (v->rings && run(v, 0) < 0)
		log_limited(&v->complaints, "the kernel does not let go of its queues");
	for (uint32_t rings = v->rings; rings; rings &= rings - 1) {
		unsigned q = (unsigned)__builtin_ctz(rings);

		kernel_ring_stop(d, q, v->fd, q);
	}
	v->rings = 0;
}

static void vhost_vsock_reset(struct device *d)
{
	struct vhost_vsock *v = vhost_vsock_of(d);

	v->has_history = v->reset_due = false;
}

static void vhost_vsock_defaults(struct device *d)
{
	vhost_vsock_of(d)->fd = -1;
}

static int vhost_vsock_check(const struct device *d, struct err *e)
{
	const struct vhost_vsock *v = container_of(d, const struct vhost_vsock, device);

	return v->cid > 0 ? 0 : err_say(e, EINVAL, "cid=N is missing");
}

static int vhost_vsock_open(struct device *d, struct err *e)
{
	struct vhost_vsock *v = vhost_vsock_of(d);

	v->fd = vhost_kernel_open("/dev/vhost-vsock", "vhost_vsock", &v->known, e);
	if (v->fd < 0)
		return v->fd;
	d->hidden = VIRTIO_RING_FEATURES & ~v->known;
	d->features = v->known & VIRTIO_BIT(VIRTIO_VSOCK_F_SEQPACKET);
	return cid_take(v, e);
}

static int vhost_vsock_prepare(struct device *d, struct err *e)
{
	return vhost_kernel_own(vhost_vsock_of(d)->fd, e);
}

static void vhost_vsock_close(struct device *d)
{
	fd_close(&vhost_vsock_of(d)->fd);
}

static void vhost_vsock_config(struct device *d, void *out)
{
	const struct virtio_vsock_config config = {.guest_cid = vhost_vsock_of(d)->cid};

	memcpy(out, &config, sizeof(config));
}

static void vhost_vsock_status(struct device *d, struct json *reply)
{
	json_number(reply, "cid", vhost_vsock_of(d)->cid);
}

static const struct opt vhost_vsock_opts[] = {
	OPT_NUMBER(struct vhost_vsock, cid, 3, UINT32_MAX - 1, "Context id of the guest"),
	OPT_END,
};

static const struct call vhost_vsock_calls[] = {
	VHOST_KERNEL_CALLS,
	CALL_ARG(ioctl, 1, VHOST_VSOCK_SET_RUNNING),
	CALL_END,
};

const struct device_type vhost_vsock_type = {
	.name = "vhost_vsock",
	.summary = "Virtual sockets, through the host's kernel",
	.virtio_id = VIRTIO_ID_VSOCK,
	.nqueues = QUEUES,
	.size = sizeof(struct vhost_vsock),
	.config_size = sizeof(struct virtio_vsock_config),
	.kernel_threads = true, /* it serves the queues in one of this process */
	.fds = 1,
	.opts = vhost_vsock_opts,
	.calls = vhost_vsock_calls,
	.check = vhost_vsock_check,
	.defaults = vhost_vsock_defaults,
	.open = vhost_vsock_open,
	.prepare = vhost_vsock_prepare,
	.kick = vhost_vsock_kick,
	.start = vhost_vsock_start,
	.stop = vhost_vsock_stop,
	.reset = vhost_vsock_reset,
	.kernel_queues = vhost_vsock_kernel_queues,
	.close = vhost_vsock_close,
	.config = vhost_vsock_config,
	.status = vhost_vsock_status,
};
