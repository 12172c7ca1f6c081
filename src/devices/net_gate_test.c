/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_gate_test.c - network cards with egress rules and limits, and on passt
 *
 * Rules and limits are tried on a tap in a network of the test's own, passt where it is installed.
 */
#include "backend/passt.h"
#include "base/fd.h"
#include "base/netns_test.h"
#include "base/skip.h"
#include "devices/harness_test.h"
#include "virtio/ids.h"

#include <dirent.h>
#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	WAIT_MS = 10000,
	ABSENT_MS = 50,
	QUEUE_SIZE = 64,
	HEADER = 12,
	PACKET_HEADER = 10, /* of a packet socket */
	FRAME = 14 + 20 + 8 + 22,
	BUFFER = 2048,
	RX = 0,
	TX = 1,
	MS = 1000000,
};

#define TAP "tap=t0,host_ip=10.77.0.1,netmask=255.255.255.0,"

static bool has_network, was_tried;
static struct harness h;
static int packets = -1;
static char log_path[] = "net_gate_test.XXXXXX";

static void begin(const char *options, enum harness_kind kind)
{
	const struct driver_options o = {.nqueues = 3,
					 .queue_size = QUEUE_SIZE,
					 .features = VIRTIO_BIT(VIRTIO_NET_F_CSUM)};

	harness_start(&h, "net", options, kind, &o);
}

static void begin_on_tap(const char *options, enum harness_kind kind)
{
	static char text[512];

	if (!was_tried)
		has_network = netns_enter(); /* passt, before, needs the host's */
	was_tried = true;
	SKIP_UNLESS(has_network, "namespaces of its own and /dev/net/tun");
	snprintf(text, sizeof(text), TAP "%s", options);
	begin(text, kind);
	packets = netns_packet_socket("t0", ETH_P_IP);
	assert_true(packets >= 0);
}

static int stop(void **state)
{
	(void)state;
	fd_close(&packets);
	if (h.type)
		harness_stop(&h);
	h.type = NULL;
	unlink(log_path);
	return 0;
}

/* ---- frames ---- */

/* UDP to 10.77.0.HOST:PORT, told apart by its last byte. */
static void udp_make(uint8_t f[FRAME], unsigned host, unsigned port, unsigned mark)
{
	static const uint8_t front[] = {2, 0,  0, 0, 0,  1, 2,  0, 0, 0, 0,  2,  8,  0,  0x45, 0, 0,
					FRAME - 14, 0, 0, 0, 0, 64, 17, 0, 0, 10, 77, 0, 2};

	memset(f, 0, FRAME);
	memcpy(f, front, sizeof(front));
	memcpy(f + 30, (const uint8_t[]){10, 77, 0, (uint8_t)host}, 4);
	f[36] = (uint8_t)(port >> 8);
	f[37] = (uint8_t)port;
	f[39] = FRAME - 34;
	f[FRAME - 1] = (uint8_t)mark;
}

static void guest_send(const uint8_t *frame, size_t n, uint16_t csum_start, uint16_t csum_offset)
{
	struct virtio_net_hdr_v1 header = {.csum_start = csum_start, .csum_offset = csum_offset};
	struct driver_buf b = {driver_alloc(&h.d, HEADER + n, 8), (uint32_t)(HEADER + n), false};
	uint8_t *at = driver_at(&h.d, b.addr, b.len);

	header.flags = csum_start ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0;
	memcpy(at, &header, HEADER);
	memcpy(at + HEADER, frame, n);
	assert_true(driver_add(&h.d.queues[TX], &b, 1) >= 0);
	driver_kick(&h.d.queues[TX]);
}

static void guest_send_udp(unsigned host, unsigned port, unsigned mark)
{
	uint8_t frame[FRAME];

	udp_make(frame, host, port, mark);
	guest_send(frame, sizeof(frame), 0, 0);
}

static void guest_sent(unsigned n)
{
	struct driver_used used;

	for (unsigned i = 0; i < n; i++)
		assert_int_equal(driver_wait(&h.d.queues[TX], WAIT_MS, &used), 0);
}

/* The mark of the next frame on the tap; -1: none comes. */
static int host_mark(int limit_ms)
{
	struct pollfd p = {.fd = packets, .events = POLLIN};
	uint8_t packet[PACKET_HEADER + BUFFER];
	ssize_t n;

	if (poll(&p, 1, limit_ms) != 1)
		return -1;
	n = recv(packets, packet, sizeof(packet), 0);
	assert_int_equal(n, PACKET_HEADER + FRAME);
	return packet[n - 1];
}

static void ask(const char *command, char *answer, size_t room)
{
	size_t nfds;
	ssize_t n;

	assert_int_equal(h.kind, HARNESS_THREAD);
	assert_int_equal(fd_send(h.control_sock, command, strlen(command), NULL, 0), 0);
	n = fd_recv(h.control_sock, answer, room - 1, NULL, 0, &nfds);
	assert_true(n > 0);
	answer[n] = '\0';
}

static void expect_status(const char *part)
{
	char answer[4096];

	ask("status", answer, sizeof(answer));
	if (!strstr(answer, part))
		fail_msg("%s is not in %s", part, answer);
}

/* ---- rules ---- */

static void rules_hold(const char *options, enum harness_kind kind)
{
	begin_on_tap(options, kind);
	guest_send_udp(3, 53, 1);
	guest_send_udp(3, 54, 2);
	guest_send_udp(4, 53, 3);
	guest_send_udp(1, 99, 4);
	guest_send_udp(3, 53, 5);
	guest_sent(5);
	assert_int_equal(host_mark(WAIT_MS), 1);
	assert_int_equal(host_mark(WAIT_MS), 5);
	assert_int_equal(host_mark(ABSENT_MS), -1);
}

static void test_refused_frames_do_not_leave(void **state)
{
	(void)state;
	rules_hold("allow=10.77.0.3:53/udp,deny=10.77.0.1", HARNESS_PROCESS);
}

static void test_refused_frames_are_counted(void **state)
{
	(void)state;
	rules_hold("allow=10.77.0.3:53/udp,deny=10.77.0.1", HARNESS_THREAD);
	expect_status("\"tx_frames\":2,");
	expect_status("\"tx_refused\":3,");
	expect_status("\"refused\":{\"denied\":1,\"no_rule\":2,\"ethertype\":0,");
}

static void test_refused_frames_are_logged_by_a_jailed_process(void **state)
{
	char options[128], text[1024];
	auto_fd fd = -1;
	ssize_t n;

	(void)state;
	snprintf(log_path, sizeof(log_path), "net_gate_test.XXXXXX");
	fd = mkstemp(log_path);
	assert_true(fd >= 0);
	snprintf(options, sizeof(options), "allow=10.77.0.3:53,log=%s", log_path);
	rules_hold(options, HARNESS_PROCESS);
	n = read(fd, text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, ": udp 10.77.0.2:0 > 10.77.0.3:54: no rule allows it\n"));
	assert_non_null(strstr(text, ": udp 10.77.0.2:0 > 10.77.0.4:53: no rule allows it\n"));
}

static void test_checksum_cannot_change_an_address(void **state)
{
	uint8_t frame[FRAME];

	(void)state;
	begin_on_tap("allow=10.77.0.3", HARNESS_THREAD);
	udp_make(frame, 3, 53, 1);
	guest_send(frame, sizeof(frame), 14, 18); /* the last bytes of the address */
	guest_send(frame, sizeof(frame), 34, 6);  /* that of UDP */
	guest_sent(2);
	assert_int_equal(host_mark(WAIT_MS), 1);
	assert_int_equal(host_mark(ABSENT_MS), -1);
	expect_status("\"offload\":1}");
}

/* ---- limits ---- */

static void test_frames_of_the_guest_wait_in_their_order(void **state)
{
	uint64_t start_ns;

	(void)state;
	begin_on_tap("pps=100,burst=1", HARNESS_PROCESS);
	start_ns = clock_ns();
	for (unsigned i = 0; i < 21; i++)
		guest_send_udp(3, 53, i);
	for (int i = 0; i < 21; i++)
		assert_int_equal(host_mark(WAIT_MS), i);
	assert_true(clock_ns() - start_ns >= (uint64_t)190 * MS);
	guest_sent(21);
}

static void test_frames_to_the_guest_wait(void **state)
{
	static uint8_t packet[PACKET_HEADER + FRAME];
	struct driver_used used;
	uint64_t start_ns;

	(void)state;
	begin_on_tap("bps=6400,burst=1", HARNESS_PROCESS);
	for (unsigned i = 0; i < 16; i++) {
		struct driver_buf b = {driver_alloc(&h.d, BUFFER, 8), BUFFER, true};

		assert_true(driver_add(&h.d.queues[RX], &b, 1) >= 0);
	}
	start_ns = clock_ns();
	driver_kick(&h.d.queues[RX]);
	udp_make(packet + PACKET_HEADER, 2, 53, 0);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(send(packets, packet, sizeof(packet), 0), sizeof(packet));
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(driver_wait(&h.d.queues[RX], WAIT_MS, &used), 0);
	assert_true(clock_ns() - start_ns >= (uint64_t)140 * MS);
}

static void test_limits_are_changed_while_frames_wait(void **state)
{
	static char answer[4096];

	(void)state;
	begin_on_tap("pps=1,burst=1", HARNESS_THREAD);
	for (unsigned i = 0; i < 50; i++)
		guest_send_udp(3, 53, i);
	assert_int_equal(host_mark(WAIT_MS), 0);
	ask("limit bps=1G,pps=100000", answer, sizeof(answer));
	assert_string_equal(answer, "{\"ok\":true}");
	guest_sent(50);
	expect_status("\"bps\":1073741824,\"pps\":100000,\"burst\":100");
	ask("limit", answer, sizeof(answer));
	expect_status("\"bps\":0,\"pps\":0,\"burst\":100");
}

static void test_reset_while_frames_wait(void **state)
{
	(void)state;
	begin_on_tap("pps=1,burst=1", HARNESS_PROCESS);
	for (unsigned i = 0; i < 10; i++)
		guest_send_udp(3, 53, i);
	guest_sent(1);
	harness_expect_alive(&h);
}

/* ---- passt ---- */

/* The child of the device's process; 0: none. */
static pid_t passt_of(pid_t parent)
{
	DIR *dir = opendir("/proc");
	pid_t found = 0;

	assert_non_null(dir);
	for (struct dirent *entry; !found && (entry = readdir(dir));) {
		char path[300], text[512] = "";
		FILE *f;
		int its_parent = 0;

		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		f = fopen(path, "r");
		if (f && fgets(text, sizeof(text), f) && strstr(text, "(passt") &&
		    sscanf(strrchr(text, ')'), ") %*c %d", &its_parent) == 1 &&
		    its_parent == parent)
			found = (pid_t)strtol(entry->d_name, NULL, 10);
		if (f)
			fclose(f);
	}
	closedir(dir);
	return found;
}

/* Whether it is installed, and this machine has a network that it can use. */
static bool has_passt(void)
{
	const struct passt_options o = {.forward = NULL};
	struct passt p = {.ended = NULL};
	struct loop loop;
	auto_fd sock = -1;
	struct err e;
	bool is_there;

	assert_int_equal(loop_init(&loop), 0);
	is_there = passt_start(&p, &loop, &o, &sock, &e) == 0;
	passt_fini(&p);
	loop_fini(&loop);
	return is_there;
}

/* passt says who has any address. */
static void passt_answers(void)
{
	static const uint8_t question[42] = {
		255, 255, 255, 255, 255, 255, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 6, 0, 1, 8, 0, 6,
		4,   0,   1,   0x52, 0x54, 0, 0x12, 0x34, 0x56, [38] = 192, 0, 2, 99};
	struct driver_buf b = {driver_alloc(&h.d, BUFFER, 8), BUFFER, true};
	struct driver_used used;

	assert_true(driver_add(&h.d.queues[RX], &b, 1) >= 0);
	driver_kick(&h.d.queues[RX]);
	guest_send(question, sizeof(question), 0, 0);
	assert_int_equal(driver_wait(&h.d.queues[RX], WAIT_MS, &used), 0);
	assert_int_equal(used.len, HEADER + 42);
	assert_int_equal(((uint8_t *)driver_at(&h.d, b.addr, BUFFER))[HEADER + 21], 2);
	guest_sent(1);
}

static void test_passt_serves_a_jailed_card(void **state)
{
	(void)state;
	SKIP_UNLESS(has_passt(), "passt (package passt)");
	begin("user,mtu=1500,allow=192.0.2.1", HARNESS_PROCESS);
	passt_answers();
	assert_true(passt_of(h.pid) > 0);
}

static void test_end_of_passt_is_the_end_of_the_process(void **state)
{
	pid_t pid;

	(void)state;
	SKIP_UNLESS(has_passt(), "passt (package passt)");
	begin("user", HARNESS_PROCESS);
	passt_answers();
	pid = passt_of(h.pid);
	assert_true(pid > 0);
	kill(pid, SIGKILL);
	harness_kill(&h); /* in case it is not over by itself yet */
	harness_restart(&h);
	passt_answers();
	assert_true(passt_of(h.pid) != pid);
}

#define TEST(name) cmocka_unit_test_teardown(test_##name, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(passt_serves_a_jailed_card),
		TEST(end_of_passt_is_the_end_of_the_process),
		TEST(refused_frames_do_not_leave),
		TEST(refused_frames_are_counted),
		TEST(refused_frames_are_logged_by_a_jailed_process),
		TEST(checksum_cannot_change_an_address),
		TEST(frames_of_the_guest_wait_in_their_order),
		TEST(frames_to_the_guest_wait),
		TEST(limits_are_changed_while_frames_wait),
		TEST(reset_while_frames_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
