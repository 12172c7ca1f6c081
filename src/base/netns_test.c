/* SPDX-License-Identifier: BSD-3-Clause */
/* netns_test.c - a network of the test's own, where it may make interfaces */
#include "base/netns_test.h"

#include "base/attr.h"
#include "base/fd.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static bool write_file(const char *path, const char *text)
{
	auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0;
}

/* As root of a user namespace that has only us. */
static bool user_namespace_enter(void)
{
	char uids[32], gids[32];

	snprintf(uids, sizeof(uids), "0 %u 1", (unsigned)geteuid());
	snprintf(gids, sizeof(gids), "0 %u 1", (unsigned)getegid());
	return unshare(CLONE_NEWUSER) == 0 && write_file("/proc/self/setgroups", "deny") &&
	       write_file("/proc/self/uid_map", uids) && write_file("/proc/self/gid_map", gids);
}

/* Nothing but what tests send; no router is asked for. */
static void quieten(void)
{
	if (!write_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1") ||
	    !write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"))
		fprintf(stderr, "IPv6 stays on\n");
}

bool netns_enter(void)
{
	struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	auto_fd sock = -1;

	if (access("/dev/net/tun", R_OK | W_OK) < 0)
		return false;
	if (geteuid() != 0 && !user_namespace_enter())
		return false;
	if (unshare(CLONE_NEWNET) < 0)
		return false;
	quieten();
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return sock >= 0 && ioctl(sock, SIOCSIFFLAGS, &r) == 0;
}

int netns_packet_socket(const char *interface, uint16_t protocol)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons(protocol),
				      .sll_ifindex = (int)if_nametoindex(interface)};
	auto_fd fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(protocol));
	const int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return fd_take(&fd);
}
