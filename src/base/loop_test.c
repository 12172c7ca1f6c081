/* SPDX-License-Identifier: BSD-3-Clause */
/* loop_test.c - readiness, removal while events are handed out, timers, stopping */
#include "base/loop.h"

#include "base/fd.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static struct loop loop;

struct counter {
	struct watch watch;
	unsigned calls;
	uint32_t events;
	struct watch *removes; /* when called */
	bool stops;
};

static void count(struct watch *w, uint32_t events)
{
	struct counter *c = container_of(w, struct counter, watch);

	fd_drain(w->fd);
	c->calls++;
	c->events = events;
	if (c->removes)
		loop_remove(&loop, c->removes);
	if (c->stops)
		loop_stop(&loop);
}

static int set_up(void **state)
{
	(void)state;
	return loop_init(&loop);
}

static int tear_down(void **state)
{
	(void)state;
	loop_fini(&loop);
	return 0;
}

static void ready_descriptor_is_told_once(void **state)
{
	struct counter c = {.watch = {.fd = fd_eventfd(), .ready = count}};

	(void)state;
	assert_int_equal(loop_add(&loop, &c.watch, EPOLLIN), 0);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(c.calls, 0);
	fd_signal(c.watch.fd);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(c.calls, 1);
	assert_int_equal(c.events, EPOLLIN);
	close(c.watch.fd);
}

static void interest_can_change(void **state)
{
	struct counter c = {.watch = {.fd = fd_eventfd(), .ready = count}};

	(void)state;
	assert_int_equal(loop_change(&loop, &c.watch, EPOLLOUT), -ENOENT);
	assert_int_equal(loop_add(&loop, &c.watch, EPOLLIN), 0);
	assert_int_equal(loop_add(&loop, &c.watch, EPOLLIN), -EEXIST);
	assert_int_equal(loop_change(&loop, &c.watch, EPOLLOUT), 0);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(c.events, EPOLLOUT);
	close(c.watch.fd);
}

static void removed_watch_is_not_called_in_the_same_batch(void **state)
{
	struct counter a = {.watch = {.fd = fd_eventfd(), .ready = count}};
	struct counter b = {.watch = {.fd = fd_eventfd(), .ready = count}};

	(void)state;
	a.removes = &b.watch;
	b.removes = &a.watch;
	assert_int_equal(loop_add(&loop, &a.watch, EPOLLIN), 0);
	assert_int_equal(loop_add(&loop, &b.watch, EPOLLIN), 0);
	fd_signal(a.watch.fd);
	fd_signal(b.watch.fd);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(a.calls + b.calls, 1);
	close(a.watch.fd);
	close(b.watch.fd);
}

static void run_ends_after_the_callback_that_stops_it(void **state)
{
	struct counter c = {.watch = {.fd = fd_eventfd(), .ready = count}, .stops = true};

	(void)state;
	assert_int_equal(loop_add(&loop, &c.watch, EPOLLIN), 0);
	fd_signal(c.watch.fd);
	assert_int_equal(loop_run(&loop), 0);
	assert_int_equal(c.calls, 1);
	fd_signal(c.watch.fd);
	assert_int_equal(loop_run(&loop), 0);
	assert_int_equal(c.calls, 2);
	close(c.watch.fd);
}

static void *stop_from_thread(void *unused)
{
	(void)unused;
	loop_stop(&loop);
	return NULL;
}

static void another_thread_can_stop_it(void **state)
{
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, stop_from_thread, NULL), 0);
	assert_int_equal(loop_run(&loop), 0);
	pthread_join(thread, NULL);
}

struct alarm {
	struct timer timer;
	unsigned times, stops_after;
};

static void ring(struct timer *t)
{
	struct alarm *a = container_of(t, struct alarm, timer);

	if (++a->times == a->stops_after)
		loop_stop(&loop);
}

static void timer_expires_again_and_again(void **state)
{
	struct alarm a = {.stops_after = 3};
	uint64_t begin = clock_ns();

	(void)state;
	assert_int_equal(timer_init(&a.timer, &loop, ring), 0);
	timer_set(&a.timer, 1000000, 1000000);
	assert_int_equal(loop_run(&loop), 0);
	assert_int_equal(a.times, 3);
	assert_true(clock_ns() - begin >= 3000000);
	timer_fini(&a.timer, &loop);
	assert_int_equal(a.timer.watch.fd, -1);
	timer_fini(&a.timer, &loop);
	timer_fini(NULL, &loop);
}

static void disarmed_timer_stays_silent(void **state)
{
	struct alarm quiet = {0}, end = {.stops_after = 1};

	(void)state;
	assert_int_equal(timer_init(&quiet.timer, &loop, ring), 0);
	assert_int_equal(timer_init(&end.timer, &loop, ring), 0);
	timer_set(&quiet.timer, 1000000, 0);
	timer_set(&end.timer, 3000000, 0);
	timer_set(&quiet.timer, 0, 0);
	assert_int_equal(loop_run(&loop), 0);
	assert_int_equal(quiet.times, 0);
	timer_fini(&quiet.timer, &loop);
	timer_fini(&end.timer, &loop);
}

static void lost_epoll_is_an_error(void **state)
{
	struct alarm a = {0};

	(void)state;
	fd_close(&loop.epoll_fd);
	assert_int_equal(loop_run(&loop), -EBADF);
	assert_int_equal(timer_init(&a.timer, &loop, ring), -EBADF);
	assert_int_equal(a.timer.watch.fd, -1);
}

static void running_out_of_descriptors_is_an_error(void **state)
{
	struct rlimit old, none;
	struct alarm a = {0};
	struct loop other;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (rlim_t extra = 0; extra < 2; extra++) {
		int lowest = dup(0);

		close(lowest);
		none = (struct rlimit){.rlim_cur = (rlim_t)lowest + extra,
				       .rlim_max = old.rlim_max};
		setrlimit(RLIMIT_NOFILE, &none);
		assert_int_equal(loop_init(&other), -EMFILE);
		setrlimit(RLIMIT_NOFILE, &old);
		assert_int_equal(other.epoll_fd, -1);
	}
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = old.rlim_max};
	setrlimit(RLIMIT_NOFILE, &none);
	assert_int_equal(timer_init(&a.timer, &loop, ring), -EMFILE);
	assert_int_equal(fd_eventfd(), -EMFILE);
	setrlimit(RLIMIT_NOFILE, &old);
	loop_fini(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ready_descriptor_is_told_once),
		TEST(interest_can_change),
		TEST(removed_watch_is_not_called_in_the_same_batch),
		TEST(run_ends_after_the_callback_that_stops_it),
		TEST(another_thread_can_stop_it),
		TEST(timer_expires_again_and_again),
		TEST(disarmed_timer_stays_silent),
		TEST(lost_epoll_is_an_error),
		TEST(running_out_of_descriptors_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
