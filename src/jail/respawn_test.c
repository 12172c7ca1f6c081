/* SPDX-License-Identifier: BSD-3-Clause */
/* respawn_test.c - a jailed process gets children of its own */
#include "jail/respawn.h"

#include "base/fd.h"
#include "base/skip.h"
#include "jail/spawn_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { ECHO_FD = 8 };

static char found[RUN_TEXT_MAX];

#define SAY(...) (snprintf(found, sizeof(found), __VA_ARGS__), found)

/* What main needs besides the common calls to start and reap. */
static const struct call main_calls[] = {CALL(waitid), CALL(pidfd_send_signal), CALL(poll),
					 CALL_END};

static const struct spawn_fd echo_fds[] = {{.fd = -1, .number = ECHO_FD}};
static char group_word[] = "group";
static char *const group_argv[] = {group_word, group_word, NULL};
static char echo_word[] = "echo", exit_word[] = "exit";
static char *const echo_argv[] = {echo_word, echo_word, NULL};
static char *const exit_argv[] = {exit_word, exit_word, NULL};

static const struct spawn_args table[] = {
	{.name = "exit", .argv = exit_argv},
	{.name = "echo", .argv = echo_argv, .fds = echo_fds, .nfds = ARRAY_LEN(echo_fds)},
	{.name = "front", .argv = group_argv, .is_foreground = true},
	{.name = "back", .argv = group_argv},
};

struct trio {
	struct spawner s;
	struct respawn r;
	const struct respawn_end *end;
	const struct respawn_errand *errand;
	struct err e;
};

static const char *set_up(struct trio *x, bool jailed)
{
	const struct jail_config config = {
		.name = "main",
		.calls = main_calls,
		.ns = &x->s.ns,
		.report_fd = -1,
		.max_fds = 4096,
	};

	if (spawner_init(&x->s, &x->e) < 0 ||
	    respawn_init(&x->r, &x->s, table, ARRAY_LEN(table), x->end, x->errand, &x->e) < 0 ||
	    spawner_finish(&x->s, &x->e) < 0)
		return x->e.text;
	if (jailed && jail_enter(&config, &x->e) < 0)
		return x->e.text;
	return NULL;
}

static int respawn_start(struct respawn *r, size_t index, const int *fds, struct child *ret_child,
			 struct err *e)
{
	int ret = respawn_ask(r, index, fds, e);

	return ret < 0 ? ret : respawn_answer(r, index, ret_child, e);
}

static const char *end_is(struct child *c, const char *text)
{
	struct spawn_end end = {.text = "no end"};
	struct pollfd p = {.fd = c->pidfd, .events = POLLIN};

	poll(&p, 1, 10000);
	if (spawn_reap(c, &end) < 0 || strcmp(end.text, text) != 0)
		return SAY("%s: %s", c->name, end.text);
	return NULL;
}

static const char *one_round(struct trio *x, int pair[2])
{
	struct child echo, quick;
	const char *wrong;
	char text[8] = "";

	if (respawn_start(&x->r, 1, &pair[1], &echo, &x->e) < 0 ||
	    respawn_start(&x->r, 0, NULL, &quick, &x->e) < 0)
		return x->e.text;
	if (fd_write_all(pair[0], "hello", 5) < 0 || fd_read_all(pair[0], text, 5) < 0 ||
	    strcmp(text, "hello") != 0)
		return "no echo";
	if (fd_write_all(pair[0], ".", 1) < 0) /* at which it ends */
		return "no word to the echo";
	wrong = end_is(&echo, "exited with code 0");
	return wrong ? wrong : end_is(&quick, "exited with code 7");
}

static const char *starts_again_and_again(void *arg UNUSED)
{
	static struct trio x;
	const char *wrong;
	int pair[2];

	if (fd_socketpair(SOCK_STREAM, pair) < 0)
		return "no socket pair";
	wrong = set_up(&x, true);
	for (unsigned i = 0; !wrong && i < 20; i++)
		wrong = one_round(&x, pair);
	respawn_fini(&x.r);
	return wrong;
}

/* Whoever started us may have left us any number of descriptors. */
static const char *starts_with_high_numbers(void *arg)
{
	enum { FIRST = 1200 };
	const struct rlimit enough = {FIRST + 100, FIRST + 100};

	if (setrlimit(RLIMIT_NOFILE, &enough) < 0)
		return "no higher limit";
	for (int fd = 0; fd < FIRST;) {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return "no descriptor";
	}
	return starts_again_and_again(arg);
}

static void descriptors_with_high_numbers_are_kept(void **state UNUSED)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	SKIP_UNLESS(limit.rlim_max >= 1300, "a limit of 1300 open files (ulimit -Hn)");
	run_both_ways(starts_with_high_numbers, NULL);
}

static void a_jailed_process_starts_children_that_are_its_own(void **state UNUSED)
{
	run_both_ways(starts_again_and_again, NULL);
}

static const char *groups(void *arg UNUSED)
{
	static struct trio x;
	struct child front, back;
	const char *wrong = set_up(&x, true);

	if (wrong)
		return wrong;
	for (unsigned i = 0; i < 3 && !wrong; i++) {
		if (respawn_start(&x.r, 2, NULL, &front, &x.e) < 0 ||
		    respawn_start(&x.r, 3, NULL, &back, &x.e) < 0)
			return x.e.text;
		wrong = end_is(&front, "exited with code 0");
		if (!wrong)
			wrong = end_is(&back, "exited with code 1");
	}
	respawn_fini(&x.r);
	return wrong;
}

static void a_child_for_the_terminal_is_in_mains_group(void **state UNUSED)
{
	run_both_ways(groups, NULL);
}

static const char *absurd_requests(void *arg UNUSED)
{
	static struct trio x;
	static char large[4096];
	struct child c;
	const char *wrong = set_up(&x, false);

	if (wrong)
		return wrong;
	x.r.count = 1000; /* what a captured main process might claim */
	x.r.table = calloc(1000, sizeof(table[0]));
	if (respawn_start(&x.r, 999, NULL, &c, &x.e) != -EINVAL ||
	    strcmp(x.e.text, "no such child") != 0)
		return "a child that is not in the table";
	if (respawn_start(&x.r, 1, NULL, &c, &x.e) != -EINVAL)
		return "a child with fds missing";
	x.r.table = table;
	if (respawn_start(&x.r, 0, NULL, &c, &x.e) < 0)
		return "the server does not live on";
	wrong = end_is(&c, "exited with code 7");
	if (!wrong && fd_send(x.r.sock, large, sizeof(large), NULL, 0) < 0)
		wrong = "cannot send";
	/* A packet of another size ends the server, and that is an error here, not a wait. */
	if (!wrong && respawn_start(&x.r, 0, NULL, &c, &x.e) == 0)
		wrong = "the server goes on";
	respawn_fini(&x.r);
	return wrong;
}

static void absurd_requests_start_nothing(void **state UNUSED)
{
	run_both_ways(absurd_requests, NULL);
}

static void run_end(void *context)
{
	if (write(*(int *)context, "!", 1) != 1)
		_exit(1);
}

static const char *end_is_mains(void *arg UNUSED)
{
	static struct trio x;
	static int held[2];
	struct respawn_end end = {.run = run_end, .context = &held[1], .fds = &held[1], .nfds = 1};
	struct pollfd p = {.events = POLLIN};
	const char *wrong;
	struct child c;

	if (pipe2(held, O_CLOEXEC) < 0)
		return "no pipe";
	p.fd = held[0];
	x.end = &end;
	wrong = set_up(&x, false);
	if (wrong)
		return wrong;
	if (fd_send(x.r.sock, "?", 1, NULL, 0) < 0) /* no request: nothing is started any more */
		return "cannot send";
	if (respawn_start(&x.r, 0, NULL, &c, &x.e) == 0)
		wrong = "the server goes on";
	else if (poll(&p, 1, 50) != 0)
		wrong = "it is at its end although main is not";
	respawn_fini(&x.r);
	return wrong || poll(&p, 1, 10000) == 1 ? wrong : "main's end is missed";
}

static void a_server_at_a_loss_waits_for_mains_end(void **state UNUSED)
{
	run_both_ways(end_is_mains, NULL);
}

static const char *server_keeps_little(void *arg UNUSED)
{
	static struct trio x;
	struct pollfd p = {.events = POLLIN};
	const char *wrong;
	int held[2];
	char byte;

	if (pipe2(held, O_CLOEXEC) < 0)
		return "no pipe";
	wrong = set_up(&x, false);
	close(held[1]);
	p.fd = held[0];
	if (!wrong && (poll(&p, 1, 10000) != 1 || read(held[0], &byte, 1) != 0))
		wrong = "the server keeps an fd of main's";
	respawn_fini(&x.r);
	return wrong;
}

/* Fails once. */
static bool run_errand(void *context)
{
	static unsigned times;

	return write(*(int *)context, "!", 1) == 1 && ++times > 1;
}

static const char *errand_is_run(void *arg UNUSED)
{
	static struct trio x;
	static int pair[2];
	struct respawn_errand errand = {.run = run_errand, .context = &pair[1]};
	struct child quick;
	const char *wrong;
	char text[2];

	if (fd_socketpair(SOCK_STREAM, pair) < 0 || fd_timeout_set(pair[0], 10000) < 0)
		return "no socket pair";
	errand.fd = pair[1];
	x.errand = &errand;
	wrong = set_up(&x, true);
	if (wrong)
		return wrong;
	respawn_errand_ask(&x.r);
	if (respawn_start(&x.r, 0, NULL, &quick, &x.e) < 0) /* the answers do not get mixed up */
		return x.e.text;
	if (fd_read_all(pair[0], text, 2) < 0)
		return "not run, or not again";
	wrong = end_is(&quick, "exited with code 7");
	respawn_fini(&x.r);
	return wrong;
}

static void an_errand_is_run_until_it_succeeds(void **state UNUSED)
{
	run_both_ways(errand_is_run, NULL);
}

static void the_server_keeps_no_fd_of_mains(void **state UNUSED)
{
	run_both_ways(server_keeps_little, NULL);
}

static void too_many_fds_are_an_error(void **state UNUSED)
{
	const struct spawn_args many[] = {{.name = "many", .nfds = FD_PASS_MAX + 1}};
	struct respawn r;
	struct spawner s = {.null_fd = -1, .self_fd = -1, .ns = {-1}};
	struct err e;

	assert_int_equal(respawn_init(&r, &s, many, 1, NULL, NULL, &e), -EINVAL);
	assert_string_equal(e.text, "many: too many fds to restart it");
	respawn_fini(&r);
	respawn_fini(NULL);
}

static int child_echo(void)
{
	char text[64];
	ssize_t n;

	while ((n = read(ECHO_FD, text, sizeof(text))) > 0 && text[0] != '.') {
		if (write(ECHO_FD, text, (size_t)n) != n)
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_jailed_process_starts_children_that_are_its_own),
		cmocka_unit_test(descriptors_with_high_numbers_are_kept),
		cmocka_unit_test(a_child_for_the_terminal_is_in_mains_group),
		cmocka_unit_test(absurd_requests_start_nothing),
		cmocka_unit_test(an_errand_is_run_until_it_succeeds),
		cmocka_unit_test(a_server_at_a_loss_waits_for_mains_end),
		cmocka_unit_test(the_server_keeps_no_fd_of_mains),
		cmocka_unit_test(too_many_fds_are_an_error),
	};

	if (argc > 1 && strcmp(argv[1], "group") == 0)
		return getpgrp();
	if (argc > 1)
		return strcmp(argv[1], "echo") == 0 ? child_echo() : 7;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
