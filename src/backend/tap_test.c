/* SPDX-License-Identifier: BSD-3-Clause */
/* tap_test.c - taps: opened by name, by descriptor, with an address; what is said if that fails */
#include "backend/name_lock.h"
#include "backend/tap.h"
#include "base/fd.h"
#include "base/netns_test.h"
#include "base/skip.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static bool has_network;
static int fds[NET_PAIRS_MAX];
static char name[TAP_NAME_MAX];
static struct err e;

static int open_it(struct tap_options o)
{
	SKIP_UNLESS(has_network, "namespaces of its own and /dev/net/tun");
	if (o.pairs == 0)
		o.pairs = 1;
	for (unsigned i = 0; i < NET_PAIRS_MAX; i++)
		fds[i] = -1;
	e = (struct err){0};
	return tap_open(&o, fds, name, &e);
}

static void opened(struct tap_options o)
{
	if (open_it(o) < 0)
		fail_msg("%s", e.text);
}

static void refused(struct tap_options o, const char *why)
{
	if (open_it(o) == 0)
		fail_msg("%s: accepted", why);
	if (!strstr(e.text, why))
		fail_msg("%s: %s", why, e.text);
}

static int close_all(void **state)
{
	(void)state;
	for (unsigned i = 0; i < NET_PAIRS_MAX; i++)
		fd_close(&fds[i]);
	return 0;
}

static bool interface_has(const char *interface, const char *address, const char *netmask)
{
	auto_fd sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {0};
	struct sockaddr_in in;
	struct in_addr want;

	memcpy(r.ifr_name, interface, strlen(interface) + 1);
	assert_int_equal(ioctl(sock, SIOCGIFADDR, &r), 0);
	memcpy(&in, &r.ifr_addr, sizeof(in));
	inet_pton(AF_INET, address, &want);
	if (in.sin_addr.s_addr != want.s_addr)
		return false;
	assert_int_equal(ioctl(sock, SIOCGIFNETMASK, &r), 0);
	memcpy(&in, &r.ifr_addr, sizeof(in));
	inet_pton(AF_INET, netmask, &want);
	assert_int_equal(ioctl(sock, SIOCGIFFLAGS, &r), 0);
	return in.sin_addr.s_addr == want.s_addr && r.ifr_flags & IFF_UP;
}

static void test_tap_of_our_own_has_its_address_and_is_up(void **state)
{
	(void)state;
	opened((struct tap_options){.fd = -1, .host_ip = "10.1.2.3", .netmask = "255.255.0.0"});
	assert_string_equal(name, "vmtap0");
	assert_true(interface_has(name, "10.1.2.3", "255.255.0.0"));
	close_all(NULL);
	assert_int_equal(if_nametoindex("vmtap0"), 0);
}

static void test_several_pairs_are_descriptors_of_one_tap(void **state)
{
	struct ifreq r = {0};

	(void)state;
	opened((struct tap_options){.fd = -1, .name = "many", .pairs = 3});
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ioctl(fds[i], TUNGETIFF, &r), 0);
		assert_string_equal(r.ifr_name, "many");
	}
}

static void test_tap_in_use_is_refused(void **state)
{
	const struct tap_options o = {.fd = -1, .name = "mine", .pairs = 1};
	char again[TAP_NAME_MAX];
	int other[1];

	(void)state;
	opened(o);
	assert_int_equal(tap_open(&o, other, again, &e), -EBUSY);
	assert_string_equal(e.text, "tap mine: another program uses it, perhaps another VM");
}

static void test_wrong_options_are_refused(void **state)
{
	(void)state;
	refused((struct tap_options){.fd = -1, .name = "a name that is long"},
		"longer than a name of 15 characters");
	refused((struct tap_options){.fd = -1, .name = "lo"}, "it is no tap");
	refused((struct tap_options){.fd = -1, .host_ip = "10.0.0", .netmask = "255.0.0.0"},
		"host_ip=10.0.0: not an IPv4 address");
	refused((struct tap_options){.fd = -1, .host_ip = "10.0.0.1", .netmask = "x"},
		"netmask=x: not an IPv4 address");
	refused((struct tap_options){.fd = 999}, "tap-fd 999: not open");
	refused((struct tap_options){.fd = STDERR_FILENO}, "no descriptor of a tap");
}

/* Of an interface with these flags. */
static int make_tap(const char *interface, short flags)
{
	struct ifreq r = {.ifr_flags = flags};
	int fd = open("/dev/net/tun", O_RDWR);

	memcpy(r.ifr_name, interface, strlen(interface) + 1);
	assert_int_equal(ioctl(fd, TUNSETIFF, &r), 0);
	return fd;
}

static void test_descriptor_of_a_tap_is_taken_as_it_is(void **state)
{
	auto_fd good = -1, tun = -1, bare = -1;

	(void)state;
	SKIP_UNLESS(has_network, "namespaces of its own and /dev/net/tun");
	good = make_tap("good", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	tun = make_tap("tun", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR);
	bare = make_tap("bare", IFF_TAP | IFF_NO_PI);
	opened((struct tap_options){.fd = good});
	assert_string_equal(name, "good");
	assert_int_equal(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
	fd_close(&fds[0]);
	refused((struct tap_options){.fd = tun}, "tun is a tun, not a tap");
	refused((struct tap_options){.fd = bare}, "opened without IFF_VNET_HDR");
	refused((struct tap_options){.fd = good, .pairs = 2}, "one descriptor is one pair");
}

static void test_offloads_and_pairs_are_switched(void **state)
{
	static struct tap t;

	(void)state;
	opened((struct tap_options){.fd = -1, .name = "t", .pairs = 2});
	assert_int_equal(tap_init_take(&t, fds, 2, &e), 0);
	fds[0] = fds[1] = -1;
	assert_true(t.backend.offloads & NET_OFFLOAD_TSO4);
	assert_int_equal(t.backend.ops->offloads_set(&t.backend, t.backend.offloads), 0);
	assert_int_equal(t.backend.ops->offloads_set(&t.backend, NET_OFFLOAD_TSO4), -EINVAL);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(t.backend.ops->pairs_set(&t.backend, 1), 0);
		assert_int_equal(t.enabled, 1);
		assert_int_equal(t.backend.ops->pairs_set(&t.backend, 2), 0);
		assert_int_equal(t.enabled, 3);
	}
	t.backend.ops->close(&t.backend);
}

static void test_name_is_held_by_one(void **state)
{
	char longest[200];
	auto_fd first = name_lock("test", "a"), other = name_lock("test", "b");

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_true(first >= 0 && other >= 0);
	assert_int_equal(name_lock("test", "a"), -EADDRINUSE);
	assert_int_equal(name_lock("test", longest), -ENAMETOOLONG);
	fd_close(&first);
	first = name_lock("test", "a");
	assert_true(first >= 0);
}

static int enter(void **state)
{
	(void)state;
	has_network = netns_enter();
	return 0;
}

#define TEST(test_name) cmocka_unit_test_teardown(test_##test_name, close_all)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(tap_of_our_own_has_its_address_and_is_up),
		TEST(several_pairs_are_descriptors_of_one_tap),
		TEST(tap_in_use_is_refused),
		TEST(wrong_options_are_refused),
		TEST(descriptor_of_a_tap_is_taken_as_it_is),
		TEST(offloads_and_pairs_are_switched),
		TEST(name_is_held_by_one),
	};

	return cmocka_run_group_tests(tests, enter, NULL);
}
