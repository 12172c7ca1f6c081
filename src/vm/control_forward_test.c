/* SPDX-License-Identifier: BSD-3-Clause */
/* control_forward_test.c - commands that devices answer, and what they say in status */
#include "vm/control_fixture.h"

#include <poll.h>

static int lamp_ours[LAMPS], lamp_theirs[LAMPS];

static void lamps_begin(void)
{
	static const char *const names[LAMPS] = {"lamp0", "lamp1"};

	for (size_t i = 0; i < LAMPS; i++) {
		int pair[2];

		assert_int_equal(fd_socketpair(SOCK_SEQPACKET, pair), 0);
		lamp_ours[i] = pair[0];
		lamp_theirs[i] = pair[1];
		assert_int_equal(asks_init(&lamps[i], &loop, names[i]), 0);
		asks_attach(&lamps[i], pair[0]);
	}
	vm.nlamps = vm.ndevices = LAMPS;
}

static void lamps_end(void)
{
	for (size_t i = 0; i < LAMPS; i++) {
		asks_fini(&lamps[i]);
		fd_close(&lamp_ours[i]);
		fd_close(&lamp_theirs[i]);
	}
}

static void lamp_hears(size_t lamp, const char *expected)
{
	char text[4096];
	ssize_t n = recv(lamp_theirs[lamp], text, sizeof(text) - 1, MSG_DONTWAIT);

	text[n > 0 ? n : 0] = '\0';
	assert_string_equal(text, expected);
}

static void lamp_says(size_t lamp, const char *text)
{
	assert_int_equal(send(lamp_theirs[lamp], text, strlen(text), MSG_DONTWAIT),
			 (ssize_t)strlen(text));
	settle();
}

static void device_answers_its_commands(void **state)
{
	int fd = client(), other = client();

	(void)state;
	lamps_begin();
	say(fd, "lamp-dim watts=3,name=lamp1\nsuspend\n");
	lamp_hears(1, "dim watts=3");
	hear(fd, "");
	assert_false(vm.is_suspended); /* in their order */
	say(other, "help\n");
	hear(other, "{\"ok\":true,\"commands\":[\"stop\",\"powerbtn\",\"suspend\","
		    "\"resume\",\"status\",\"counters\",\"balloon\",\"log\",\"trace\","
		    "\"help\",\"lamp-dim\",\"lamp-flash\"]}\n");
	lamp_says(1, "{\"ok\":true,\"before\":[2]}");
	hear(fd, "{\"ok\":true,\"before\":[2]}\n{\"ok\":true}\n");
	lamps_end();
	close(fd);
	close(other);
}

static void name_may_stand_anywhere(void **state)
{
	static const struct {
		const char *say, *hear;
	} rows[] = {
		{"lamp-dim name=lamp0,watts=5\n", "dim watts=5"},
		{"lamp-dim watts=5,name=lamp0\n", "dim watts=5"},
		{"lamp-dim   name=lamp0\n", "dim"},
		{"lamp-flash name=lamp0\n", "flash"},
	};
	int fd = client();

	(void)state;
	lamps_begin();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		say(fd, rows[i].say);
		lamp_hears(0, rows[i].hear);
		lamp_says(0, "{\"ok\":true}");
		hear(fd, "{\"ok\":true}\n");
	}
	lamps_end();
	close(fd);
}

static void a_lasting_command_is_told_to_the_next_process(void **state)
{
	char zeros[ASK_KEPT_BYTES + 64];
	int fd = client();

	(void)state;
	lamps_begin();
	say(fd, "lamp-dim watts=3,name=lamp0\n");
	lamp_hears(0, "dim watts=3");
	lamp_says(0, "{\"ok\":true}");
	say(fd, "lamp-dim watts=4,name=lamp0\n");
	lamp_hears(0, "dim watts=4");
	lamp_says(0, "{\"ok\":false,\"error\":\"no\"}"); /* not done: not kept */
	say(fd, "lamp-flash name=lamp0\n");
	lamp_hears(0, "flash");
	lamp_says(0, "{\"ok\":true}");
	asks_detach(&lamps[0]);
	asks_attach(&lamps[0], lamp_ours[0]);
	lamp_hears(0, "dim watts=3");
	lamp_says(0, "{\"ok\":true}");
	lamp_hears(0, "");
	hear(fd, "{\"ok\":true}\n{\"ok\":false,\"error\":\"lamp0: no\"}\n{\"ok\":true}\n");
	snprintf(zeros, sizeof(zeros), "lamp-dim name=lamp0,watts=%0*d\n", ASK_KEPT_BYTES, 7);
	say(fd, zeros);
	hear(fd, "{\"ok\":false,\"error\":\"lamp-dim: more than 255 bytes\"}\n");
	lamps_end();
	close(fd);
}

static void a_lasting_command_is_kept_for_a_client_that_left(void **state)
{
	int fd = client();

	(void)state;
	lamps_begin();
	say(fd, "lamp-dim watts=3,name=lamp0\n");
	lamp_hears(0, "dim watts=3");
	close(fd);
	fd = client(); /* by now the end of the other is known */
	say(fd, "help\n");
	lamp_says(0, "{\"ok\":true}");
	asks_detach(&lamps[0]);
	asks_attach(&lamps[0], lamp_ours[0]);
	lamp_hears(0, "dim watts=3");
	lamps_end();
	close(fd);
}

static void mistakes_do_not_reach_the_device(void **state)
{
	static const char *const rows[][2] = {
		{"lamp-dim watts=61,name=lamp0\n", "lamp-dim: watts"},
		{"lamp-dim colour=red,name=lamp0\n", "unknown key"},
		{"lamp-dim name=lamp0,name=lamp1\n", "unknown key"},
		{"lamp-dim watts=4,,name=lamp0\n", "watts"},
		{"lamp-dim watts=4,name=lamp7\n", "lamp-dim: no \\\"lamp7\\\""},
		{"lamp-dim watts=4\n", "no \\\"\\\""},
		{"lamp-dim name=\n", "not the name of a device"},
		{"lamp-dim name=a-name-that-is-longer-than-any\n", "not the name of a device"},
		{"lamp-sing name=lamp0\n", "unknown command"},
		{"lamp name=lamp0\n", "unknown command"},
		{"balloon-target name=lamp0\n", "unknown command"},
	};
	int fd = client();

	(void)state;
	lamps_begin();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[1024] = "";

		say(fd, rows[i][0]);
		if (read(fd, text, sizeof(text) - 1) <= 0 || !strstr(text, rows[i][1]) ||
		    !strstr(text, "\"ok\":false"))
			fail_msg("%s: %s", rows[i][0], text);
		lamp_hears(0, "");
	}
	lamps_end();
	close(fd);
}

static void refusal_and_death_of_a_device_are_told(void **state)
{
	int fd = client();

	(void)state;
	lamps_begin();
	say(fd, "lamp-flash name=lamp0\n");
	lamp_says(0, "{\"ok\":false,\"error\":\"no bulb\"}");
	hear(fd, "{\"ok\":false,\"error\":\"lamp0: no bulb\"}\n");
	say(fd, "lamp-flash name=lamp0\n");
	asks_detach(&lamps[0]);
	settle();
	hear(fd, "{\"ok\":false,\"error\":\"lamp0: it ended before it answered\"}\n");
	say(fd, "suspend\n");
	hear(fd, "{\"ok\":true}\n");
	lamps_end();
	close(fd);
}

static void client_that_leaves_takes_its_question_along(void **state)
{
	int fd = client(), other = client();

	(void)state;
	lamps_begin();
	say(fd, "lamp-flash name=lamp0\n");
	close(fd);
	settle();
	say(other, "lamp-dim name=lamp0\n");
	lamp_hears(0, "flash");
	lamp_says(0, "{\"ok\":true,\"a\":1}");
	lamp_hears(0, "dim");
	hear(other, "");
	lamp_says(0, "{\"ok\":true,\"a\":2}");
	hear(other, "{\"ok\":true,\"a\":2}\n");
	lamps_end();
	close(other);
}

static void half_closed_client_waits_for_the_device(void **state)
{
	int fd = client();

	(void)state;
	lamps_begin();
	assert_int_equal(write(fd, "lamp-flash name=lamp0\n", 22), 22);
	shutdown(fd, SHUT_WR);
	settle();
	lamp_says(0, "{\"ok\":true}");
	hear(fd, "{\"ok\":true}\n");
	assert_true(has_hung_up(fd));
	lamps_end();
	close(fd);
}

static void has_reports(int fd, const char *first, const char *second)
{
	static char text[65536];
	ssize_t n = read(fd, text, sizeof(text) - 1);
	char expected[512];

	text[n > 0 ? n : 0] = '\0';
	snprintf(expected, sizeof(expected),
		 "\"restarts\":3%s},{\"name\":\"block0\",\"type\":\"block\","
		 "\"state\":\"running\",\"pid\":42,\"restarts\":3%s}]}\n",
		 first, second);
	if (!strstr(text, expected))
		fail_msg("%s instead of %s", text, expected);
}

static void status_has_what_devices_report(void **state)
{
	int fd = client(), other = client();

	(void)state;
	lamps_begin();
	say(fd, "status\n");
	lamp_says(1, "{\"ok\":true}");
	say(other, "status\n"); /* the same reports */
	hear(fd, "");
	hear(other, "");
	lamp_says(0, "{\"ok\":true,\"on\":true,\"watts\":40}");
	has_reports(fd, ",\"reports\":{\"on\":true,\"watts\":40}", "");
	has_reports(other, ",\"reports\":{\"on\":true,\"watts\":40}", "");
	lamp_hears(0, "status");
	lamp_hears(0, "");
	lamps_end();
	close(fd);
	close(other);
}

static void several_status_of_one_client_are_several_questions(void **state)
{
	int fd = client();

	(void)state;
	lamps_begin();
	vm.nlamps = 1;
	say(fd, "status\nstatus\n");
	lamp_says(0, "{\"ok\":true,\"n\":1}");
	has_reports(fd, ",\"reports\":{\"n\":1}", "");
	lamp_says(0, "{\"ok\":true,\"n\":2}");
	has_reports(fd, ",\"reports\":{\"n\":2}", "");
	lamps_end();
	close(fd);
}

static void status_goes_on_without_a_stuck_device(void **state)
{
	int fd = client();
	uint64_t began_ns;
	struct pollfd p = {.fd = fd, .events = POLLIN};

	(void)state;
	lamps_begin();
	say(fd, "status\n");
	lamp_says(1, "{\"ok\":false,\"error\":\"x\"}");
	while (poll(&p, 1, 0) == 0)
		assert_int_equal(loop_once(&loop, 10000), 0);
	has_reports(fd, ",\"error\":\"no answer\"", ",\"error\":\"no sense in its answer\"");

	began_ns = clock_ns(); /* the next time it is not asked */
	say(fd, "status\n");
	lamp_says(1, "{\"ok\":true}");
	has_reports(fd, ",\"error\":\"no answer\"", "");
	assert_true(clock_ns() - began_ns < CONTROL_REPORT_MS * UINT64_C(1000000));
	lamps_end();
	close(fd);
}

static void long_report_is_left_out(void **state)
{
	char text[CONTROL_REPORT_MAX + 32];
	int fd = client();

	(void)state;
	lamps_begin();
	vm.nlamps = 1;
	memset(text, 'x', sizeof(text));
	memcpy(text, "{\"ok\":true,\"a\":\"", 16);
	strcpy(text + sizeof(text) - 3, "\"}");
	say(fd, "status\n");
	lamp_says(0, text);
	has_reports(fd, ",\"error\":\"its answer is too long\"", "");
	lamps_end();
	close(fd);
}

static void end_comes_while_devices_are_asked(void **state)
{
	int fd = client(), other = client();

	(void)state;
	lamps_begin();
	say(fd, "status\n");
	say(other, "lamp-flash name=lamp0\n");
	control_fini(&control);
	lamp_says(0, "{\"ok\":true}");
	lamp_says(1, "{\"ok\":true}");
	lamps_end();
	close(fd);
	close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(device_answers_its_commands),
		TEST(name_may_stand_anywhere),
		TEST(a_lasting_command_is_told_to_the_next_process),
		TEST(a_lasting_command_is_kept_for_a_client_that_left),
		TEST(mistakes_do_not_reach_the_device),
		TEST(refusal_and_death_of_a_device_are_told),
		TEST(client_that_leaves_takes_its_question_along),
		TEST(half_closed_client_waits_for_the_device),
		TEST(status_has_what_devices_report),
		TEST(several_status_of_one_client_are_several_questions),
		TEST(status_goes_on_without_a_stuck_device),
		TEST(long_report_is_left_out),
		TEST(end_comes_while_devices_are_asked),
	};

	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
