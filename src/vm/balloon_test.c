/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * balloon_test.c - targets to a device that answers, is silent, refuses, dies and comes back
 *
 * The host's memory is a file of the test's; the policy's clock goes a thousand times as fast.
 */
#include "vm/balloon.h"

#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

enum { MEM_MIB = 2048, STEP_MIB = 64 };

static char meminfo[] = "/tmp/balloon-test-XXXXXX";
static struct pressure_paths paths;
static struct loop loop;
static struct asks asks;
static struct balloon b;
static int ours = -1, theirs = -1;
static uint64_t device_target, device_actual; /* bytes, as the device has them */
static unsigned ncommands;

static void host_has(unsigned mib)
{
	auto_fd fd = open(meminfo, O_WRONLY | O_TRUNC | O_CLOEXEC);
	char text[128];
	int n = snprintf(text, sizeof(text), "MemTotal: %u kB\nMemAvailable: %u kB\n", 8 << 20,
			 mib << 10);

	assert_int_equal(write(fd, text, (size_t)n), n);
}

static void device_starts(void)
{
	int pair[2];

	assert_int_equal(fd_socketpair(SOCK_SEQPACKET, pair), 0);
	ours = pair[0];
	theirs = pair[1];
	device_target = device_actual = 0;
	asks_attach(&asks, ours);
	balloon_attached(&b, &asks);
}

static void device_dies(void)
{
	asks_detach(&asks);
	fd_close(&ours);
	fd_close(&theirs);
}

static void begin(int policy, uint32_t speed)
{
	struct balloon_config config = {.policy = policy, .margin = 100 * MIB, .speed = speed};
	struct err e = {0};

	if (balloon_init(&b, &loop, &config, MEM_MIB * MIB, &paths, &e) < 0)
		fail_msg("%s", e.text);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(meminfo, "/tmp/balloon-test-XXXXXX");
	auto_fd fd = mkstemp(meminfo);
	log_level_set(LOG_LEVEL_ERROR);
	ncommands = 0;
	paths = (struct pressure_paths){.chromeos_notice = "/nonexistent",
					.psi = "/dev/null",
					.own_cgroup = "/nonexistent",
					.meminfo = meminfo};
	host_has(4096);
	return fd < 0 || loop_init(&loop) < 0 || asks_init(&asks, &loop, "balloon0") < 0;
}

static int tear_down(void **state)
{
	(void)state;
	balloon_fini(&b);
	balloon_fini(&b);
	asks_fini(&asks);
	fd_close(&ours);
	fd_close(&theirs);
	loop_fini(&loop);
	return unlink(meminfo);
}

/* What the device answers to a command. */
static const char *obey(const char *text)
{
	unsigned long long bytes;

	ncommands++;
	if (sscanf(text, "target bytes=%llu", &bytes) != 1)
		return "{\"ok\":false,\"error\":\"what?\"}";
	device_target = bytes;
	return "{\"ok\":true}";
}

/* The device answers what has come; returns whether anything had. */
static bool device_answers(void)
{
	char text[128];
	ssize_t n = recv(theirs, text, sizeof(text) - 1, MSG_DONTWAIT);
	const char *answer;

	if (n <= 0)
		return false;
	text[n] = '\0';
	answer = obey(text);
	assert_true(send(theirs, answer, strlen(answer), MSG_DONTWAIT) > 0);
	return true;
}

static void settle(void)
{
	do
		for (int i = 0; i < 5; i++)
			assert_int_equal(loop_once(&loop, 0), 0);
	while (theirs >= 0 && device_answers());
}

static void device_is_told_what_a_command_asks_for(void **state)
{
	(void)state;
	begin(PRESSURE_OFF, 1);
	device_starts();
	settle();
	assert_int_equal(ncommands, 0); /* it begins with nothing, which is right */
	balloon_set(&b, 512 * MIB);
	settle();
	assert_int_equal(device_target, 512 * MIB);
	balloon_adjust(&b, -256);
	settle();
	assert_int_equal(device_target, 511 * MIB);
	balloon_set(&b, 511 * MIB);
	settle();
	assert_int_equal(ncommands, 2);
}

static void only_the_latest_target_waits_for_a_slow_device(void **state)
{
	(void)state;
	begin(PRESSURE_OFF, 1);
	device_starts();
	for (uint64_t i = 1; i <= 100; i++)
		balloon_set(&b, i * MIB);
	settle();
	assert_int_equal(device_target, 100 * MIB);
	assert_int_equal(ncommands, 2);
}

static void command_before_the_device_is_there_is_kept(void **state)
{
	(void)state;
	begin(PRESSURE_OFF, 1);
	balloon_set(&b, 7 * MIB);
	settle();
	device_starts();
	settle();
	assert_int_equal(device_target, 7 * MIB);
}

static void new_process_is_told_again(void **state)
{
	(void)state;
	begin(PRESSURE_OFF, 1);
	device_starts();
	balloon_set(&b, 7 * MIB);
	settle();
	device_dies();
	settle();
	device_starts();
	settle();
	assert_int_equal(device_target, 7 * MIB);
	assert_int_equal(ncommands, 2);

	balloon_set(&b, 9 * MIB); /* sent, and lost with the process */
	device_dies();
	balloon_set(&b, 0);
	settle();
	device_starts();
	settle();
	assert_int_equal(device_target, 0);
}

static void refusal_is_tried_again(void **state)
{
	static const char no[] = "{\"ok\":false,\"error\":\"no\"}";
	uint64_t began;
	char text[64];

	(void)state;
	begin(PRESSURE_OFF, 1);
	device_starts();
	balloon_set(&b, 7 * MIB);
	assert_true(recv(theirs, text, sizeof(text), 0) > 0);
	assert_int_equal(send(theirs, no, strlen(no), 0), (ssize_t)strlen(no));
	began = clock_ns();
	settle();
	assert_int_equal(device_target, 0);
	while (!device_answers())
		assert_int_equal(loop_once(&loop, 3000), 0);
	assert_true(clock_ns() - began >= 900000000);
	settle();
	assert_int_equal(device_target, 7 * MIB);
}

static void stuck_device_blocks_nobody(void **state)
{
	(void)state;
	begin(PRESSURE_OFF, 1);
	device_starts();
	for (uint64_t i = 0; i < 1000; i++)
		balloon_set(&b, i * MIB);
	for (int i = 0; i < 10; i++)
		assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(b.policy.target, 999 * MIB);
}

static void run_until_target(uint64_t bytes)
{
	for (int i = 0; i < 20000 && device_target != bytes; i++) {
		assert_int_equal(loop_once(&loop, 100), 0);
		settle();
	}
	assert_int_equal(device_target, bytes);
}

static void low_host_fills_it_and_a_roomy_one_empties_it(void **state)
{
	(void)state;
	begin(PRESSURE_PSI, 1000);
	device_starts();
	settle();
	host_has(99);
	b.pressure.noticed(&b.pressure);
	settle();
	assert_true(device_target >= STEP_MIB * MIB);
	run_until_target(1024 * MIB);
	host_has(2048);
	run_until_target(0);
	assert_int_equal(balloon_policy_due(&b.policy), 0);
}

static void host_is_looked_at_without_a_notice(void **state)
{
	(void)state;
	begin(PRESSURE_PSI, 1);
	device_starts();
	host_has(300); /* not low, but near it */
	b.pressure.noticed(&b.pressure);
	settle();
	host_has(50);
	run_until_target(STEP_MIB * MIB); /* after a second */
}

static void unreadable_host_changes_nothing(void **state)
{
	struct balloon_status s;

	(void)state;
	begin(PRESSURE_PSI, 1000);
	device_starts();
	assert_int_equal(truncate(meminfo, 0), 0);
	b.pressure.noticed(&b.pressure);
	settle();
	assert_int_equal(b.policy.target, 0);
	balloon_status(&b, &s);
	assert_false(s.has_reading);
	assert_string_equal(s.policy, "psi");
}

static void notice_that_cannot_be_acted_upon_is_not_heard_again_and_again(void **state)
{
	char dir[] = "/tmp/balloon-test-XXXXXX", notice[64];
	struct balloon_status now;
	uint64_t notices;
	auto_fd file = -1, fifo = -1;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(notice, sizeof(notice), "%s/notice", dir);
	assert_int_equal(mkfifo(notice, 0600), 0);
	fifo = open(notice, O_RDWR | O_CLOEXEC);
	assert_int_equal(write(fifo, "!", 1), 1); /* from now on the host is low */
	paths.chromeos_notice = notice;
	paths.chromeos_margin = paths.chromeos_available = meminfo; /* no number */
	begin(PRESSURE_CHROMEOS, 1);
	settle();
	settle();
	balloon_status(&b, &now);
	notices = now.notices;
	assert_true(notices <= 1);
	assert_int_equal(now.target_bytes, 0);

	file = open(meminfo, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_int_equal(write(file, "100\n", 4), 4);
	for (int i = 0; i < 5 && b.policy.target == 0; i++)
		assert_int_equal(loop_once(&loop, 3000), 0);
	assert_int_equal(b.policy.target, STEP_MIB * MIB);
	assert_int_equal(unlink(notice), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void policy_that_cannot_be_had_is_an_error_if_asked_for(void **state)
{
	struct balloon_config config = {.policy = PRESSURE_CHROMEOS};
	struct err e = {0};

	(void)state;
	assert_int_equal(balloon_init(&b, &loop, &config, 2048 * MIB, &paths, &e), -ENODEV);
	assert_non_null(strstr(e.text, "--balloon policy=chromeos: /nonexistent: "));
	balloon_fini(&b);
	paths.psi = "/nonexistent";
	config.policy = PRESSURE_AUTO;
	assert_int_equal(balloon_init(&b, &loop, &config, 2048 * MIB, &paths, &e), 0);
	assert_int_equal(b.pressure.kind, PRESSURE_OFF);
}

static uint64_t dice(uint64_t sides)
{
	static uint64_t x = 88172645463325252;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x % sides;
}

/* Policy, commands, deaths of the device and a guest that follows or does as it likes. */
static void account_and_device_agree_after_any_sequence(void **state)
{
	(void)state;
	begin(PRESSURE_PSI, 1000);
	device_starts();
	for (int i = 0; i < 3000; i++) {
		switch (dice(8)) {
		case 0:
			balloon_set(&b, dice(3072) * MIB);
			break;
		case 1:
			balloon_adjust(&b, (int64_t)dice(1 << 20) - (1 << 19));
			break;
		case 2:
			host_has((unsigned)dice(2) * 4096);
			b.pressure.noticed(&b.pressure);
			break;
		case 3:
			if (theirs >= 0)
				device_dies();
			break;
		case 4:
			if (theirs < 0)
				device_starts();
			break;
		case 5: /* the guest inflates as told, or takes some back to live */
			device_actual = dice(2) ? device_target : dice(device_target + 1);
			break;
		case 6:
			if (theirs >= 0)
				device_answers();
			break;
		default:
			settle();
		}
		assert_int_equal(loop_once(&loop, 0), 0);
		assert_true(b.policy.floor <= b.policy.target);
		assert_true(b.policy.target <= b.policy.limit);
		assert_true(device_actual <= MEM_MIB * MIB);
		if (dice(16) > 0 || theirs < 0)
			continue;
		settle();
		assert_int_equal(device_target, b.policy.target);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(device_is_told_what_a_command_asks_for),
		TEST(only_the_latest_target_waits_for_a_slow_device),
		TEST(command_before_the_device_is_there_is_kept),
		TEST(new_process_is_told_again),
		TEST(refusal_is_tried_again),
		TEST(stuck_device_blocks_nobody),
		TEST(low_host_fills_it_and_a_roomy_one_empties_it),
		TEST(host_is_looked_at_without_a_notice),
		TEST(unreadable_host_changes_nothing),
		TEST(notice_that_cannot_be_acted_upon_is_not_heard_again_and_again),
		TEST(policy_that_cannot_be_had_is_an_error_if_asked_for),
		TEST(account_and_device_agree_after_any_sequence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
