/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net.c - network card (virtio 1.2, 5.1): options, life, configuration space, commands
 *
 * Frames are net_rx.c's and net_tx.c's; neither copies more of them than it has to look at.  Both
 * stop looking where there is nothing to do: a pair's descriptor is watched only for what it can
 * do something about, so that neither a driver without buffers nor a host that takes no frames
 * keeps us busy.
 */
#include "devices/net.h"

#include "backend/name_lock.h"
#include "backend/vhost_kernel.h"
#include "base/fd.h"
#include "base/num.h"
#include "virtio/ids.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

enum { NO_FD = UINT32_MAX, FD_MAX = 1 << 20, MTU_MIN = 68, MTU_MAX = 65535 };

static const struct opt net_opts[] = {
	OPT_TEXT(struct net, tap, "NAME", "Tap interface; made if there is none of that name"),
	OPT_NUMBER(struct net, tap_fd, 0, FD_MAX, "Descriptor of a tap that was opened already"),
	OPT_TEXT(struct net, host_ip, "ADDRESS", "IPv4 address of the host's end"),
	OPT_TEXT(struct net, netmask, "ADDRESS", "Netmask of the host's end"),
	OPT_MAC(struct net, mac, "Ethernet address of the guest; without, it makes one up"),
	OPT_NUMBER(struct net, queues, 1, NET_PAIRS_MAX, "Pairs of queues"),
	OPT_NUMBER(struct net, mtu, MTU_MIN, MTU_MAX, "Largest packet, told to the guest"),
	OPT_FLAG(struct net, user, "Network without rights on the host, by passt"),
	OPT_TEXTS(struct net, forward, "[ADDR:]PORT:PORT[/tcp|udp]",
		  "user only: a port of the host (127.0.0.1 unless said) leads to one of the "
		  "guest; may be given several times"),
	OPT_FLAG(struct net, host_loopback,
		 "user only: the gateway's address leads to the host's 127.0.0.1"),
	OPT_TEXTS(struct net, allow, "RULE",
		  "Let packets to these pass and no others: CIDR[:PORT[-PORT]][/tcp|udp|icmp], "
		  "IPv6 in brackets; may be given several times"),
	OPT_TEXTS(struct net, deny, "RULE", "Refuse packets to these; the narrowest rule decides"),
	OPT_TEXT(struct net, log, "FILE", "Append a line for refused packets, not for all of many"),
	OPT_SIZE(struct net, bps, 0, LIMIT_BPS_MAX, "Bytes a second, each way; 0: no limit"),
	OPT_NUMBER(struct net, pps, 0, UINT32_MAX, "Frames a second, each way; 0: no limit"),
	OPT_NUMBER(struct net, burst, 1, LIMIT_BURST_MAX_MS,
		   "Milliseconds of what was left of bps and pps that may be used later at once"),
	OPT_FLAG(struct net, vhost, "Frames go through the kernel's vhost-net only"),
	OPT_END,
};

/* Beyond the common set: taps, and the queues of one. */
static const struct call net_calls[] = {
	CALL(readv),
	CALL(writev),
	CALL_ARG(ioctl, 1, TUNSETOFFLOAD),
	CALL_ARG(ioctl, 1, TUNSETQUEUE),
	CALL(timerfd_settime), /* devices/limit.c */
	CALL_ARG(ioctl, 1, VHOST_NET_SET_BACKEND),
	VHOST_KERNEL_CALLS,
	CALL_END,
};

/* ---- turns ---- */

/* What the pair can do something about. */
static uint32_t events_wanted(const struct net_pair *p)
{
	struct net *n = p->net;
	uint32_t events = 0;

	if (!n->device.started || p->is_dead || n->vhost)
		return 0;
	if (n->device.queues[2 * p->index].started && p->index < n->driver.pairs &&
	    !p->rx.is_starved && !n->gate.rx.is_shut)
		events |= EPOLLIN;
	if (p->tx.is_blocked)
		events |= EPOLLOUT;
	return events;
}

/* A descriptor that nobody watches is off the loop, which would hear of its end all the same. */
void net_pair_watch(struct net_pair *p)
{
	uint32_t wanted = events_wanted(p);
	struct loop *l = p->net->device.loop;
	int r = 0;

	if (wanted == p->events)
		return;
	if (wanted == 0)
		loop_remove(l, &p->watch);
	else if (p->events == 0)
		r = loop_add(l, &p->watch, wanted);
	else
		r = loop_change(l, &p->watch, wanted);
	p->events = r < 0 ? 0 : wanted;
	if (r < 0)
		log_limited(&p->net->complaints, "cannot watch a descriptor");
}

static void pair_ready(struct watch *w, uint32_t events)
{
	struct net_pair *p = container_of(w, struct net_pair, watch);

	if (events & EPOLLOUT)
		net_tx_serve(p);
	if (events & EPOLLIN)
		net_rx_serve(p);
	if (events & (EPOLLIN | EPOLLOUT) && !p->is_dead)
		return;
	p->is_dead = true; /* an error, and nothing that could be read or written */
	log_warn("queues %u and %u: the host's end is gone", 2 * p->index, 2 * p->index + 1);
	net_pair_watch(p);
}

void net_again(struct net *n, uint32_t *bits, unsigned pair)
{
	*bits |= 1u << pair;
	fd_signal(n->again.fd);
}

static void again_ready(struct watch *w, uint32_t events)
{
	struct net *n = container_of(w, struct net, again);
	uint32_t tx = n->again_tx, rx = n->again_rx, ctrl = n->again_ctrl;

	(void)events;
	fd_drain(w->fd);
	n->again_tx = n->again_rx = n->again_ctrl = 0;
	if (ctrl && n->device.started)
		net_ctrl_serve(n);
	for (; rx && n->device.started; rx &= rx - 1)
		net_rx_serve(&n->pairs[__builtin_ctz(rx)]);
	for (; tx && n->device.started; tx &= tx - 1)
		net_tx_serve(&n->pairs[__builtin_ctz(tx)]);
}

static void net_kick(struct device *d, unsigned q)
{
	struct net *n = net_of(d);

	if (net_is_ctrl(n, q))
		net_ctrl_serve(n);
	else if (q / 2 >= n->backend->pairs)
		return;
	else if (n->vhost)
		net_vhost_kick(n, q);
	else if (q % 2 == 0)
		net_rx_serve(&n->pairs[q / 2]);
	else if (!n->pairs[q / 2].tx.is_held)
		net_tx_serve(&n->pairs[q / 2]);
}

static int net_start(struct device *d, struct err *e)
{
	struct net *n = net_of(d);

	net_driver_state_apply(n);
	return n->vhost ? net_vhost_start(n, e) : 0;
}

static void net_stop(struct device *d)
{
	struct net *n = net_of(d);

	if (n->vhost)
		net_vhost_stop(n);
	for (unsigned i = 0; i < n->backend->pairs; i++) {
		net_rx_stop(&n->pairs[i]);
		net_tx_stop(&n->pairs[i]);
		n->pairs[i].is_dead = false; /* a later start tries again */
	}
	d->started = false;
	for (unsigned i = 0; i < n->backend->pairs; i++)
		net_pair_watch(&n->pairs[i]);
	n->again_tx = n->again_rx = n->again_ctrl = 0;
}

static void net_reset(struct device *d)
{
	net_driver_state_reset(net_of(d));
}

static uint32_t net_kernel_queues(const struct device *d)
{
	const struct net *n = container_of(d, struct net, device);

	return n->vhost ? (1u << (net_has(n, VIRTIO_NET_F_MQ) ? 2 * n->backend->pairs : 2)) - 1 : 0;
}

/* ---- opening ---- */

static void net_defaults(struct device *d)
{
	struct net *n = net_of(d);

	n->tap_fd = NO_FD;
	n->queues = 1;
	n->burst = LIMIT_BURST_MS;
}

static int check_user(const struct net *n, struct err *e)
{
	if (!n->user && (n->forward || n->host_loopback))
		return err_say(e, EINVAL, "forward and host-loopback go with user only");
	if (!n->user)
		return 0;
	if (n->tap || n->host_ip || n->tap_fd != NO_FD || n->vhost || n->queues > 1)
		return err_say(e, EINVAL,
			       "user: there is no tap, and one pair of queues; it does not go with "
			       "tap, tap-fd, host_ip, vhost and queues");
	return passt_forward_check(n->forward, e);
}

static int check_address(const char *key, const char *text, struct err *e)
{
	struct in_addr unused;

	if (!text || inet_pton(AF_INET, text, &unused) == 1)
		return 0;
	return err_say(e, EINVAL, "%s: \"%.100s\": not an IPv4 address such as 10.0.2.1", key,
		       text);
}

static int net_check(const struct device *d, struct err *e)
{
	const struct net *n = container_of(d, const struct net, device);
	int kinds = (n->tap != NULL || n->host_ip != NULL) + (n->tap_fd != NO_FD) + n->user;

	if (kinds == 0)
		return err_say(e, EINVAL, "one of tap=NAME, tap-fd=N, host_ip=ADDRESS and user is "
					  "needed");
	if (check_user(n, e) < 0)
		return -e->code;
	if (kinds > 1)
		return err_say(e, EINVAL, "tap-fd=%u: a tap that is set up already, it goes with "
					  "neither tap=NAME nor host_ip=ADDRESS", n->tap_fd);
	if (!n->host_ip != !n->netmask)
		return err_say(e, EINVAL, "host-ip and netmask go together");
	if (check_address("host-ip", n->host_ip, e) < 0 ||
	    check_address("netmask", n->netmask, e) < 0)
		return -e->code;
	if (n->mac.is_set && n->mac.byte[0] & 1)
		return err_say(e, EINVAL, "mac: the first byte is odd, which makes it the address "
					  "of a group");
	return net_gate_check(n, e);
}

/* No two cards with one address: frames would go to either of them. */
static int lock_mac(struct net *n, struct err *e)
{
	const uint8_t *m = n->mac.byte;
	char text[18];
	int fd;

	if (!n->mac.is_set)
		return 0;
	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	fd = name_lock("mac", text);
	if (fd == -EADDRINUSE)
		return err_say(e, -fd, "mac=%s: another VM has this address", text);
	if (fd < 0)
		return err_set(e, -fd, "mac=%s", text);
	device_kept_add_take(&n->device.kept, fd);
	return 0;
}

static int lock_tap(struct net *n, const char *name, struct err *e)
{
	int fd = name_lock("tap", name);

	if (fd == -EADDRINUSE)
		return err_say(e, -fd, "tap %s: another VM uses it", name);
	if (fd < 0)
		return err_set(e, -fd, "tap %s", name);
	device_kept_add_take(&n->device.kept, fd);
	return 0;
}

/* Of a network without rights only the address is kept: passt is the device process's own. */
static int keep_user(struct net *n, struct err *e)
{
	return lock_mac(n, e);
}

/* A tap vanishes with its last descriptor, but the next process needs it, so main has it. */
static int net_keep(struct device *d, struct err *e)
{
	struct net *n = net_of(d);
	const struct tap_options o = {.name = n->tap,
				      .fd = n->tap_fd == NO_FD ? -1 : (int)n->tap_fd,
				      .pairs = n->queues,
				      .host_ip = n->host_ip,
				      .netmask = n->netmask};
	char name[TAP_NAME_MAX];
	int fds[NET_PAIRS_MAX];
	int r;

	if (n->user)
		return keep_user(n, e);
	r = tap_open(&o, fds, name, e);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < n->queues; i++)
		device_kept_add_take(&d->kept, fds[i]);
	r = lock_tap(n, name, e);
	return r == 0 ? lock_mac(n, e) : r;
}

static int open_tap(struct net *n, struct err *e)
{
	struct device_kept *kept = &n->device.kept;
	int fds[NET_PAIRS_MAX];

	if (kept->n < n->queues)
		return err_say(e, EBADF, "no tap was handed over");
	for (unsigned i = 0; i < n->queues; i++)
		fds[i] = fd_take(&kept->fd[i]);
	n->backend = &n->tap_backend.backend;
	return tap_init_take(&n->tap_backend, fds, n->queues, e);
}

/* The process ends, and with the next one comes a new passt. */
static void passt_ended(struct passt *p)
{
	struct net *n = container_of(p, struct net, passt);

	log_error("passt has ended, and with it every connection");
	loop_stop(n->device.loop);
}

static int open_user(struct net *n, struct err *e)
{
	const struct passt_options o = {
		.forward = n->forward, .mtu = n->mtu, .host_loopback = n->host_loopback};
	int sock, r;

	n->passt.ended = passt_ended;
	r = passt_start(&n->passt, n->device.loop, &o, &sock, e);
	if (r == 0)
		r = stream_init_take(&n->stream_backend, sock, e);
	if (r == 0)
		n->backend = &n->stream_backend.backend;
	return r;
}

static uint64_t offload_features(unsigned offloads)
{
	static const struct {
		unsigned offload;
		uint64_t features;
	} rows[] = {
		{NET_OFFLOAD_CSUM,
		 VIRTIO_BIT(VIRTIO_NET_F_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) |
			 VIRTIO_BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)},
		{NET_OFFLOAD_TSO4,
		 VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4)},
		{NET_OFFLOAD_TSO6,
		 VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6)},
		{NET_OFFLOAD_ECN,
		 VIRTIO_BIT(VIRTIO_NET_F_HOST_ECN) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_ECN)},
		{NET_OFFLOAD_UFO,
		 VIRTIO_BIT(VIRTIO_NET_F_HOST_UFO) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_UFO)},
		{NET_OFFLOAD_USO, VIRTIO_BIT(NET_F_HOST_USO) | VIRTIO_BIT(NET_F_GUEST_USO4) |
					  VIRTIO_BIT(NET_F_GUEST_USO6)},
	};
	uint64_t features = 0;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (offloads & rows[i].offload)
			features |= rows[i].features;
	return features;
}

static unsigned net_queues(const struct device *d)
{
	return 2 * container_of(d, const struct net, device)->queues + 1;
}

static void set_features(struct net *n)
{
	struct device *d = &n->device;

	d->nqueues = 2 * n->backend->pairs + 1;
	d->features |= offload_features(n->backend->offloads);
	if (n->mac.is_set)
		d->features |= VIRTIO_BIT(VIRTIO_NET_F_MAC);
	if (n->mtu > 0)
		d->features |= VIRTIO_BIT(VIRTIO_NET_F_MTU);
	if (n->backend->pairs > 1)
		d->features |= VIRTIO_BIT(VIRTIO_NET_F_MQ);
}

static int open_pairs(struct net *n, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; i < n->backend->pairs && r == 0; i++) {
		struct net_pair *p = &n->pairs[i];

		p->net = n;
		p->index = i;
		p->watch = (struct watch){.fd = n->backend->fd[i], .ready = pair_ready};
		r = net_rx_init(&p->rx, e);
	}
	return r;
}

static int net_open(struct device *d, struct err *e)
{
	struct net *n = net_of(d);
	int r;

	n->again = (struct watch){.fd = -1, .ready = again_ready};
	for (unsigned i = 0; i < NET_PAIRS_MAX; i++)
		n->vhost_fd[i] = -1;
	net_gate_init(n);
	r = net_gate_open(n, e);
	if (r == 0 && !n->backend) /* tests bring their own */
		r = n->user ? open_user(n, e) : open_tap(n, e);
	if (r == 0)
		r = open_pairs(n, e);
	if (r < 0)
		return r;
	set_features(n);
	if (n->vhost)
		r = net_vhost_open(n, e);
	if (r < 0)
		return r;
	net_driver_state_reset(n);
	n->again.fd = fd_eventfd();
	if (n->again.fd < 0)
		return err_set(e, -n->again.fd, "cannot make an eventfd");
	r = loop_add(d->loop, &n->again, EPOLLIN);
	return r < 0 ? err_set(e, -r, "cannot watch an eventfd") : 0;
}

static int net_prepare(struct device *d, struct err *e)
{
	struct net *n = net_of(d);

	return n->vhost ? net_vhost_prepare(n, e) : 0;
}

static void net_close(struct device *d)
{
	struct net *n = net_of(d);

	for (unsigned i = 0; i < NET_PAIRS_MAX; i++)
		net_rx_fini(&n->pairs[i].rx);
	if (n->again.fd >= 0)
		loop_remove(d->loop, &n->again);
	fd_close(&n->again.fd);
	net_vhost_close(n);
	net_gate_close(n);
	passt_fini(&n->passt);
	if (n->backend)
		n->backend->ops->close(n->backend);
}

/* ---- what the guest and the operator see ---- */

static void net_config(struct device *d, void *out)
{
	const struct net *n = net_of(d);
	struct virtio_net_config c = {
		.status = n->link_down ? 0 : VIRTIO_NET_S_LINK_UP,
		.max_virtqueue_pairs = (uint16_t)n->backend->pairs,
		.mtu = (uint16_t)n->mtu,
	};

	memcpy(c.mac, n->driver.mac, sizeof(c.mac));
	memcpy(out, &c, d->type->config_size);
}

struct link_arguments {
	int state;
};

static const char *const link_words[] = {"down", "up", NULL};

static const struct opt link_opts[] = {
	OPT_CHOICE_FIRST(struct link_arguments, state, link_words, "Whether the cable is in"),
	OPT_END,
};

static int set_link(struct device *d, void *arguments, struct json *reply, struct err *e)
{
	const struct link_arguments *a = arguments;
	struct net *n = net_of(d);

	(void)e;
	(void)reply;
	if (n->link_down == !a->state)
		return 0;
	n->link_down = !a->state;
	net_state_save(n);
	device_config_changed(d);
	if (n->vhost) {
		net_vhost_link(n);
		return 0;
	}
	for (unsigned i = 0; i < n->driver.pairs && d->started; i++)
		net_rx_serve(&n->pairs[i]);
	return 0;
}

static const struct opt limit_opts[] = {LIMIT_OPTS("pps", "Frames", ", each way")};

static int set_limit(struct device *d, void *arguments, struct json *reply, struct err *e)
{
	struct net *n = net_of(d);

	(void)reply;
	if (n->vhost)
		return err_say(e, ENOTSUP, "frames go through the kernel (vhost)");
	net_gate_limit(n, arguments);
	return 0;
}

static const struct device_command net_commands[] = {
	{"limit", limit_opts, set_limit, "Set the limits; those not given are lifted",
	 .lasts = true},
	{"link", link_opts, set_link, "Plug the cable in, or pull it", .lasts = true},
	{.name = NULL},
};

static const struct counter net_counters[] = {
	DEVICE_COUNTER(NET_RX_FRAMES) = {"rx_frames", COUNTER_EVENTS, "Frames to the guest"},
	DEVICE_COUNTER(NET_RX_BYTES) = {"rx_bytes", COUNTER_BYTES, "Bytes of them"},
	DEVICE_COUNTER(NET_RX_DROPPED) = {"rx_dropped", COUNTER_EVENTS,
			       "Frames too long for the guest's buffers, or the link was down"},
	DEVICE_COUNTER(NET_RX_FILTERED) = {"rx_filtered", COUNTER_EVENTS,
				"Frames that the guest's driver does not want"},
	DEVICE_COUNTER(NET_TX_FRAMES) = {"tx_frames", COUNTER_EVENTS, "Frames from the guest"},
	DEVICE_COUNTER(NET_TX_BYTES) = {"tx_bytes", COUNTER_BYTES, "Bytes of them"},
	DEVICE_COUNTER(NET_TX_MALFORMED) = {"tx_malformed", COUNTER_EVENTS,
				 "Frames with headers or sizes that cannot be"},
	DEVICE_COUNTER(NET_TX_REFUSED) = {"tx_refused", COUNTER_EVENTS, "Frames against the rules"},
	DEVICE_COUNTER(NET_TX_DROPPED) = {"tx_dropped", COUNTER_EVENTS,
			       "Frames that the host would not have, or the link was down"},
	DEVICE_COUNTER(NET_COUNTERS_END) = {.name = NULL},
};

static void net_status(struct device *d, struct json *reply)
{
	const struct net *n = net_of(d);

	json_text(reply, "link", n->link_down ? "down" : "up");
	json_number(reply, "pairs", n->driver.pairs);
	net_gate_status(n, reply);
}

const struct device_type net_type = {
	.name = "net",
	.summary = "Network card",
	.virtio_id = VIRTIO_ID_NET,
	.nqueues = 2 * NET_PAIRS_MAX + 1,
	.queue_size = 256,
	.features = VIRTIO_BIT(VIRTIO_NET_F_STATUS) | VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) |
		    VIRTIO_BIT(VIRTIO_NET_F_CTRL_VQ) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_RX) |
		    VIRTIO_BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | VIRTIO_BIT(VIRTIO_NET_F_CTRL_VLAN) |
		    VIRTIO_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR),
	.size = sizeof(struct net),
	.config_size = offsetof(struct virtio_net_config, speed),
	.state_size = sizeof(struct net_state),
	.fds = 2 * NET_PAIRS_MAX + 6 + DEVICE_KEPT_MAX,
	.opts = net_opts,
	.calls = net_calls,
	.check = net_check,
	.defaults = net_defaults,
	.keep = net_keep,
	.queues = net_queues,
	.open = net_open,
	.prepare = net_prepare,
	.kick = net_kick,
	.start = net_start,
	.stop = net_stop,
	.reset = net_reset,
	.kernel_queues = net_kernel_queues,
	.close = net_close,
	.config = net_config,
	.commands = net_commands,
	.counters = net_counters,
	.status = net_status,
};
