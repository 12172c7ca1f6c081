/* SPDX-License-Identifier: BSD-3-Clause */
/* ask_test.c - commands to a device: in order, in time, and what a hostile one can do */
#include "vm/ask.h"

#include "base/fd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { LONG_MS = 60000, SHORT_MS = 1 };

struct question {
	struct ask ask;
	unsigned ndone;
	int code; /* 0: answered */
	char text[ASK_REPLY_MAX + 1];
	struct question *next; /* asked by done() */
};

static struct loop loop;
static struct asks asks;
static int ours, theirs;
static struct question one, two, three;

static void done(struct ask *a, const char *reply, size_t n, const struct err *e)
{
	struct question *q = container_of(a, struct question, ask);

	q->ndone++;
	q->code = reply ? 0 : e->code;
	snprintf(q->text, sizeof(q->text), "%s", reply ? reply : e->text);
	if (reply)
		assert_int_equal(n, strlen(reply));
	if (q->next)
		ask_send(&asks, &q->next->ask, "again", LONG_MS);
}

static void connect_device(void)
{
	int pair[2];

	assert_int_equal(fd_socketpair(SOCK_SEQPACKET, pair), 0);
	ours = pair[0];
	theirs = pair[1];
	asks_attach(&asks, ours);
}

static void disconnect_device(void)
{
	asks_detach(&asks);
	fd_close(&ours);
	fd_close(&theirs);
}

static int set_up(void **state)
{
	(void)state;
	one = two = three = (struct question){.ask.done = done};
	ours = theirs = -1;
	return loop_init(&loop) < 0 || asks_init(&asks, &loop, "lamp0") < 0;
}

static int tear_down(void **state)
{
	(void)state;
	asks_fini(&asks);
	fd_close(&ours);
	fd_close(&theirs);
	loop_fini(&loop);
	return 0;
}

static void settle(void)
{
	for (int i = 0; i < 10; i++)
		assert_int_equal(loop_once(&loop, 0), 0);
}

/* Waits until the question has been answered. */
static void wait_for(const struct question *q)
{
	while (q->ndone == 0)
		assert_int_equal(loop_once(&loop, 10000), 0);
}

static void device_hears(const char *expected)
{
	char text[ASK_REPLY_MAX + 1];
	ssize_t n = recv(theirs, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (!expected) {
		assert_int_equal(n, -1);
		return;
	}
	assert_true(n >= 0);
	text[n] = '\0';
	assert_string_equal(text, expected);
}

static void device_says(const char *text, size_t n)
{
	assert_int_equal(send(theirs, text, n, MSG_DONTWAIT), (ssize_t)n);
	settle();
}

static void say(const char *text)
{
	device_says(text, strlen(text));
}

static void requests_are_put_one_after_the_other(void **state)
{
	(void)state;
	connect_device();
	ask_send(&asks, &one.ask, "dim watts=2", LONG_MS);
	ask_send(&asks, &two.ask, "flash", LONG_MS);

	device_hears("dim watts=2");
	device_hears(NULL);
	say("{\"ok\":true,\"before\":40}");
	assert_int_equal(one.ndone, 1);
	assert_string_equal(one.text, "{\"ok\":true,\"before\":40}");
	assert_int_equal(two.ndone, 0);
	device_hears("flash");
	say("{\"ok\":true}");
	assert_string_equal(two.text, "{\"ok\":true}");
	assert_int_equal(one.ndone + two.ndone, 2);
}

static void asking_again_from_the_answer_is_fine(void **state)
{
	(void)state;
	connect_device();
	one.next = &two;
	ask_send(&asks, &one.ask, "first", LONG_MS);
	device_hears("first");
	say("{\"ok\":true}");
	device_hears("again");
	say("{\"ok\":true}");
	assert_int_equal(two.ndone, 1);
}

static void refusal_comes_with_the_name_of_the_device(void **state)
{
	(void)state;
	connect_device();
	ask_send(&asks, &one.ask, "dim", LONG_MS);
	say("{\"ok\":false,\"error\":\"no \\\"can\\\" \\u001b[2Jdo\"}");
	assert_int_equal(one.code, EIO);
	assert_string_equal(one.text, "lamp0: no \"can\" ?[2Jdo");
}

static void nonsense_is_an_error(void **state)
{
	static const char *const wrong[] = {
		"hello",
		"[]",
		"{\"ok\":true",
		"{\"ok\":true}\n",
		"{\"ok\":true}{}",
		"{\"ok\":trueish}",
		"{}",
		"{\"ok\":false}",
		"{\"error\":\"x\"}",
		"{\"ok\":true,\"a\":[[[[1]]]]}",
		"{\"ok\":\"true\"}",
	};
	static const char with_nul[] = "{\"ok\":true}\0{";

	(void)state;
	connect_device();
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		one.ndone = 0;
		ask_send(&asks, &one.ask, "dim", LONG_MS);
		say(wrong[i]);
		if (one.ndone != 1 || one.code != EPROTO)
			fail_msg("%s: %u, %s", wrong[i], one.ndone, one.text);
	}
	ask_send(&asks, &one.ask, "dim", LONG_MS);
	device_says(with_nul, sizeof(with_nul));
	assert_int_equal(one.code, EPROTO);
}

static void reply_that_is_too_long_is_an_error(void **state)
{
	static char text[2 * ASK_REPLY_MAX];

	(void)state;
	connect_device();
	memset(text, ' ', sizeof(text));
	memcpy(text, "{\"ok\":true}", 11);
	ask_send(&asks, &one.ask, "dim", LONG_MS);
	device_says(text, ASK_REPLY_MAX);
	assert_int_equal(one.code, 0);
	ask_send(&asks, &one.ask, "dim", LONG_MS);
	device_says(text, ASK_REPLY_MAX + 1);
	assert_int_equal(one.code, EMSGSIZE);
	ask_send(&asks, &one.ask, "dim", LONG_MS);
	device_says(text, sizeof(text));
	assert_int_equal(one.code, EMSGSIZE);
	assert_int_equal(one.ndone, 3);
}

static void silence_has_a_limit_and_the_late_answer_is_dropped(void **state)
{
	(void)state;
	connect_device();
	ask_send(&asks, &one.ask, "dim", SHORT_MS);
	wait_for(&one);
	assert_int_equal(one.code, ETIMEDOUT);
	assert_string_equal(one.text, "lamp0: no answer");
	assert_false(asks_is_alive(&asks));

	ask_send(&asks, &two.ask, "flash", LONG_MS);
	device_hears("dim");
	device_hears(NULL); /* it still owes the answer before */
	say("{\"ok\":true,\"late\":1}");
	assert_int_equal(one.ndone, 1);
	assert_int_equal(two.ndone, 0);
	assert_true(asks_is_alive(&asks));
	device_hears("flash");
	say("{\"ok\":true}");
	assert_int_equal(two.ndone, 1);
}

static void limit_counts_while_waiting_for_others(void **state)
{
	(void)state;
	connect_device();
	ask_send(&asks, &one.ask, "dim", LONG_MS);
	ask_send(&asks, &two.ask, "flash", SHORT_MS);
	ask_send(&asks, &three.ask, "hum", LONG_MS);
	wait_for(&two);
	assert_int_equal(two.code, ETIMEDOUT);
	assert_int_equal(one.ndone, 0);
	device_hears("dim");
	say("{\"ok\":true}");
	device_hears("hum");
	assert_int_equal(two.ndone, 1);
}

static void what_was_not_asked_for_is_not_read(void **state)
{
	unsigned sent = 0;

	(void)state;
	connect_device();
	while (send(theirs, "{\"ok\":true}", 11, MSG_DONTWAIT) == 11)
		sent++;
	settle();
	assert_int_equal(loop_once(&loop, 0), 0);
	ask_send(&asks, &one.ask, "dim", LONG_MS);
	settle();
	assert_int_equal(one.ndone, 1); /* it can lie, as it always could */
	for (unsigned i = 0; i < sent + 10; i++) {
		ask_send(&asks, &one.ask, "dim", SHORT_MS);
		settle();
		if (one.ask.asks)
			ask_cancel(&one.ask);
	}
}

static void death_fails_what_was_sent_and_keeps_the_rest(void **state)
{
	(void)state;
	connect_device();
	ask_send(&asks, &one.ask, "dim", LONG_MS);
	ask_send(&asks, &two.ask, "flash", LONG_MS);
	disconnect_device();
	assert_int_equal(one.code, EPIPE);
	assert_string_equal(one.text, "lamp0: it ended before it answered");
	assert_int_equal(two.ndone, 0);
	assert_false(asks_is_alive(&asks));

	connect_device();
	device_hears("flash");
	say("{\"ok\":true}");
	assert_int_equal(two.ndone, 1);
	assert_int_equal(two.code, 0);
	assert_int_equal(one.ndone, 1);
}

static void hang_up_is_noticed_while_an_answer_is_owed(void **state)
{
	(void)state;
	connect_device();
	ask_send(&asks, &one.ask, "dim", LONG_MS);
	fd_close(&theirs);
	settle();
	assert_int_equal(one.code, EPIPE);
	asks_detach(&asks);
	assert_int_equal(one.ndone, 1);
}

static void hang_up_before_the_question_is_noticed(void **state)
{
	(void)state;
	connect_device();
	fd_close(&theirs);
	ask_send(&asks, &one.ask, "dim", LONG_MS);
	settle();
	assert_int_equal(one.code, EPIPE);
}

static void without_a_process_the_limit_holds(void **state)
{
	(void)state;
	ask_send(&asks, &one.ask, "dim", SHORT_MS);
	wait_for(&one);
	assert_int_equal(one.code, ETIMEDOUT);
}

static void cancelled_requests_are_never_done(void **state)
{
	(void)state;
	connect_device();
	ask_send(&asks, &one.ask, "dim", LONG_MS);
	ask_send(&asks, &two.ask, "flash", LONG_MS);
	ask_send(&asks, &three.ask, "hum", LONG_MS);
	ask_cancel(&one.ask);
	ask_cancel(&two.ask);
	ask_cancel(&two.ask);
	device_hears("dim");
	say("{\"ok\":true}");
	device_hears("hum");
	say("{\"ok\":true}");
	assert_int_equal(one.ndone + two.ndone, 0);
	assert_int_equal(three.ndone, 1);
}

static void end_forgets_what_waits(void **state)
{
	(void)state;
	connect_device();
	ask_send(&asks, &one.ask, "dim", LONG_MS);
	ask_send(&asks, &two.ask, "flash", LONG_MS);
	asks_fini(&asks);
	asks_fini(&asks);
	assert_int_equal(one.ndone + two.ndone, 0);
	assert_null(one.ask.asks);
	assert_null(two.ask.asks);
}

static void what_is_kept_is_told_to_the_next_process_first(void **state)
{
	(void)state;
	connect_device();
	asks_keep(&asks, "dim watts=3");
	asks_keep(&asks, "dimmer");
	asks_keep(&asks, "dim watts=5");
	disconnect_device();
	ask_send(&asks, &one.ask, "flash", LONG_MS);
	connect_device();
	device_hears("dim watts=5");
	say("{\"ok\":true}");
	device_hears("dimmer");
	say("{\"ok\":false,\"error\":\"no\"}");
	device_hears("flash");
	say("{\"ok\":true}");
	assert_int_equal(one.ndone, 1);
	assert_int_equal(one.code, 0);
}

static void what_is_kept_survives_deaths_while_it_is_told(void **state)
{
	(void)state;
	asks_keep(&asks, "dim watts=3");
	asks_keep(&asks, "colour red");
	for (unsigned i = 0; i < 3; i++) {
		connect_device();
		device_hears("dim watts=3");
		if (i == 1) {
			say("{\"ok\":true}");
			device_hears("colour red");
		}
		disconnect_device();
	}
	connect_device();
	device_hears("dim watts=3");
}

static void what_is_kept_is_told_to_a_slow_process_too(void **state)
{
	(void)state;
	asks_keep(&asks, "dim watts=3");
	asks_keep(&asks, "colour red");
	connect_device();
	ask_send(&asks, &one.ask, "flash", 2 * ASK_LIMIT_MS + 100);
	wait_for(&one);
	assert_int_equal(one.code, ETIMEDOUT);
	device_hears("dim watts=3");
	say("{\"ok\":true}");
	device_hears("colour red"); /* and not given up for lost */
	say("{\"ok\":true}");
	device_hears(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(requests_are_put_one_after_the_other),
		TEST(asking_again_from_the_answer_is_fine),
		TEST(refusal_comes_with_the_name_of_the_device),
		TEST(nonsense_is_an_error),
		TEST(reply_that_is_too_long_is_an_error),
		TEST(silence_has_a_limit_and_the_late_answer_is_dropped),
		TEST(limit_counts_while_waiting_for_others),
		TEST(what_was_not_asked_for_is_not_read),
		TEST(death_fails_what_was_sent_and_keeps_the_rest),
		TEST(hang_up_is_noticed_while_an_answer_is_owed),
		TEST(hang_up_before_the_question_is_noticed),
		TEST(without_a_process_the_limit_holds),
		TEST(cancelled_requests_are_never_done),
		TEST(end_forgets_what_waits),
		TEST(what_is_kept_is_told_to_the_next_process_first),
		TEST(what_is_kept_survives_deaths_while_it_is_told),
		TEST(what_is_kept_is_told_to_a_slow_process_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
