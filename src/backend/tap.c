/* SPDX-License-Identifier: BSD-3-Clause */
/* tap.c - network interfaces of the host whose other end is a descriptor */
#include "backend/tap.h"

#include "base/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static_assert(TAP_NAME_MAX == IFNAMSIZ, "as the kernel has it");

/* Linux 6.2, in place of TUN_F_USO4 | TUN_F_USO6. */
enum { TAP_F_USO = 0x20 | 0x40 };

static const struct {
	unsigned offload, flags;
} offload_flags[] = {
	{NET_OFFLOAD_CSUM, TUN_F_CSUM},
	{NET_OFFLOAD_TSO4, TUN_F_TSO4},
	{NET_OFFLOAD_TSO6, TUN_F_TSO6},
	{NET_OFFLOAD_ECN, TUN_F_TSO_ECN},
	{NET_OFFLOAD_UFO, TUN_F_UFO},
	{NET_OFFLOAD_USO, TAP_F_USO},
};

/* ---- the back end ---- */

static int tap_send(struct net_backend *b, unsigned pair, const struct iovec *v, unsigned n)
{
	return writev(b->fd[pair], v, (int)n) < 0 ? -errno : 0;
}

static ssize_t tap_receive(struct net_backend *b, unsigned pair, const struct iovec *v, unsigned n)
{
	ssize_t r = readv(b->fd[pair], v, (int)n);

	return r < 0 ? -errno : r;
}

/* Of the interface, by any of its descriptors. */
static int tap_offloads_set(struct net_backend *b, unsigned offloads)
{
	unsigned long flags = 0;

	for (size_t i = 0; i < ARRAY_LEN(offload_flags); i++)
		if (offloads & offload_flags[i].offload)
			flags |= offload_flags[i].flags;
	return ioctl(b->fd[0], TUNSETOFFLOAD, flags) < 0 ? -errno : 0;
}

static int tap_pairs_set(struct net_backend *b, unsigned pairs)
{
	struct tap *t = container_of(b, struct tap, backend);

	for (unsigned i = 0; i < b->pairs && t->can_switch; i++) {
		struct ifreq r = {.ifr_flags = i < pairs ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

		if ((i < pairs) == (t->enabled >> i & 1))
			continue;
		if (ioctl(b->fd[i], TUNSETQUEUE, &r) < 0)
			return -errno;
		t->enabled ^= 1u << i;
	}
	return 0;
}

static void tap_close(struct net_backend *b)
{
	for (unsigned i = 0; i < b->pairs; i++)
		fd_close(&b->fd[i]);
	b->pairs = 0;
}

static const struct net_backend_ops tap_ops = {
	.send = tap_send,
	.receive = tap_receive,
	.offloads_set = tap_offloads_set,
	.pairs_set = tap_pairs_set,
	.close = tap_close,
};

int tap_init_take(struct tap *t, const int *fds, unsigned pairs, struct err *e)
{
	const unsigned all = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 |
			     NET_OFFLOAD_ECN | NET_OFFLOAD_UFO;
	int header = NET_HEADER_BYTES;

	*t = (struct tap){.backend = {.ops = &tap_ops, .pairs = pairs, .offloads = all},
			  .enabled = (1u << pairs) - 1,
			  .can_switch = pairs > 1};
	memcpy(t->backend.fd, fds, pairs * sizeof(fds[0]));
	for (unsigned i = 0; i < pairs; i++) {
		if (fcntl(fds[i], F_SETFL, O_NONBLOCK) < 0 || /* the file is ours alone by now */
		    ioctl(fds[i], TUNSETVNETHDRSZ, &header) < 0)
			return err_set(e, errno, "cannot set up the tap");
	}
	if (tap_offloads_set(&t->backend, all | NET_OFFLOAD_USO) == 0)
		t->backend.offloads |= NET_OFFLOAD_USO;
	if (tap_offloads_set(&t->backend, 0) < 0)
		return err_set(e, errno, "cannot set the offloads of the tap");
	/* Queues of a tap that outlives us stay switched off as they were left. */
	for (unsigned i = 0; i < pairs && t->can_switch; i++) {
		struct ifreq r = {.ifr_flags = IFF_ATTACH_QUEUE};

		if (ioctl(fds[i], TUNSETQUEUE, &r) < 0 && errno != EINVAL) /* it is on */
			return err_set(e, errno, "cannot switch on queue %u of the tap", i);
	}
	return 0;
}

/* ---- opening ---- */

static int address_set(int sock, const char *name, unsigned long request, const char *text,
		       const char *what, struct err *e)
{
	struct ifreq r = {0};
	struct sockaddr_in address = {.sin_family = AF_INET};

	if (inet_pton(AF_INET, text, &address.sin_addr) != 1)
		return err_say(e, EINVAL, "%s=%s: not an IPv4 address such as 10.0.2.1", what,
			       text);
	memcpy(r.ifr_name, name, strlen(name) + 1);
	memcpy(&r.ifr_addr, &address, sizeof(address));
	if (ioctl(sock, request, &r) < 0)
		return err_set(e, errno, "%s=%s: cannot be given to %s", what, text, name);
	return 0;
}

static int bring_up(int sock, const char *name, struct err *e)
{
	struct ifreq r = {0};

	memcpy(r.ifr_name, name, strlen(name) + 1);
	if (ioctl(sock, SIOCGIFFLAGS, &r) < 0)
		return err_set(e, errno, "cannot ask for the state of %s", name);
	r.ifr_flags |= IFF_UP | IFF_RUNNING;
	if (ioctl(sock, SIOCSIFFLAGS, &r) < 0)
		return err_set(e, errno, "cannot bring up %s", name);
	return 0;
}

static int configure(const struct tap_options *o, const char *name, struct err *e)
{
	auto_fd sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r;

	if (sock < 0)
		return err_set(e, errno, "cannot make a socket to set up %s", name);
	r = address_set(sock, name, SIOCSIFADDR, o->host_ip, "host_ip", e);
	if (r == 0)
		r = address_set(sock, name, SIOCSIFNETMASK, o->netmask, "netmask", e);
	return r < 0 ? r : bring_up(sock, name, e);
}

static int explain(const struct tap_options *o, int error, struct err *e)
{
	const char *name = o->name ? o->name : "vmtap%d";

	switch (error) {
	case EPERM:
		return err_say(e, error,
			       "tap %s: %s; as root: ip tuntap add %s mode tap%s user %u; or use "
			       "--net user",
			       name, strerror(error), o->name ? o->name : "NAME",
			       o->pairs > 1 ? " multi_queue" : "", (unsigned)geteuid());
	case EBUSY:
		return err_say(e, error, "tap %s: another program uses it, perhaps another VM",
			       name);
	case EINVAL:
		return err_say(e, error,
			       "tap %s: cannot be used; it is no tap, or was made %s "
			       "multi_queue (queues=%u)",
			       name, o->pairs > 1 ? "without" : "with", o->pairs);
	default:
		return err_set(e, error, "tap %s", name);
	}
}

/* One more descriptor of the interface in r, whose name the kernel completes. */
static int queue_open(const struct tap_options *o, struct ifreq *r, int *ret_fd, struct err *e)
{
	auto_fd fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return err_say(e, errno, "/dev/net/tun: not there; as root: modprobe tun");
	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return err_say(e, errno, "/dev/net/tun: %s; make it readable and writable for you",
			       strerror(errno));
	if (fd < 0)
		return err_set(e, errno, "/dev/net/tun");
	if (ioctl(fd, TUNSETIFF, r) < 0)
		return explain(o, errno, e);
	*ret_fd = fd_take(&fd);
	return 0;
}

static void close_all(int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		fd_close(&fds[i]);
}

static int open_by_name(const struct tap_options *o, struct ifreq *r, int *ret_fds, struct err *e)
{
	const char *name = o->name ? o->name : "vmtap%d";

	if (strlen(name) >= TAP_NAME_MAX)
		return err_say(e, EINVAL, "tap %s: longer than a name of %d characters", name,
			       TAP_NAME_MAX - 1);
	memcpy(r->ifr_name, name, strlen(name) + 1);
	for (unsigned i = 0; i < o->pairs; i++) {
		int result;

		r->ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
		if (o->pairs > 1)
			r->ifr_flags |= IFF_MULTI_QUEUE;
		result = queue_open(o, r, &ret_fds[i], e);
		if (result < 0) {
			close_all(ret_fds, i);
			return result;
		}
	}
	return 0;
}

/*
 * A descriptor of somebody else's making: is it what we can use?  Whether IFF_NO_PI was said cannot
 * be told: TUNGETIFF shows another flag in its place.
 */
static int check_fd(const struct tap_options *o, struct ifreq *r, struct err *e)
{
	if (ioctl(o->fd, TUNGETIFF, r) < 0)
		return err_say(e, errno, "tap-fd %d: %s", o->fd,
			       errno == EBADF ? "not open" : "no descriptor of a tap");
	if (!(r->ifr_flags & IFF_TAP))
		return err_say(e, EINVAL, "tap-fd %d: %s is a tun, not a tap", o->fd, r->ifr_name);
	if (!(r->ifr_flags & IFF_VNET_HDR))
		return err_say(e, EINVAL, "tap-fd %d: %s was opened without IFF_VNET_HDR", o->fd,
			       r->ifr_name);
	if (o->pairs > 1)
		return err_say(e, EINVAL, "tap-fd %d: one descriptor is one pair of queues",
			       o->fd);
	return 0;
}

static int open_by_fd(const struct tap_options *o, struct ifreq *r, int *ret_fds, struct err *e)
{
	int result = check_fd(o, r, e);

	if (result < 0)
		return result;
	ret_fds[0] = fcntl(o->fd, F_DUPFD_CLOEXEC, 0);
	return ret_fds[0] < 0 ? err_set(e, errno, "tap-fd %d", o->fd) : 0;
}

int tap_open(const struct tap_options *o, int *ret_fds, char ret_name[TAP_NAME_MAX], struct err *e)
{
	struct ifreq r = {0};
	int result = o->fd >= 0 ? open_by_fd(o, &r, ret_fds, e) : open_by_name(o, &r, ret_fds, e);

	if (result < 0)
		return result;
	memcpy(ret_name, r.ifr_name, TAP_NAME_MAX);
	ret_name[TAP_NAME_MAX - 1] = '\0';
	if (o->host_ip)
		result = configure(o, ret_name, e);
	if (result < 0)
		close_all(ret_fds, o->pairs);
	return result;
}
