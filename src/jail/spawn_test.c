/* SPDX-License-Identifier: BSD-3-Clause */
/* spawn_test.c - children of this very program, as root and as an ordinary user */
#include "jail/spawn.h"

#include "base/fd.h"
#include "jail/ns.h"
#include "jail/spawn_run.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static char found[RUN_TEXT_MAX];

#define SAY(...) (snprintf(found, sizeof(found), __VA_ARGS__), found)

static bool is_foreground;

static const char *start(const char *mode, const struct spawn_fd *fds, size_t nfds,
			 struct spawner *s, struct child *ret_child)
{
	char *argv[] = {(char *)(uintptr_t) "crosvm-test", (char *)(uintptr_t)mode, NULL};
	const struct spawn_args args = {
		.name = "block0",
		.source = "src/devices/block.c",
		.argv = argv,
		.fds = fds,
		.nfds = nfds,
		.is_foreground = is_foreground,
	};
	struct err e;

	if (spawner_init(s, &e) < 0)
		return SAY("%s", e.text);
	spawner_begin(s);
	if (spawn_start(s, &args, ret_child, &e) < 0)
		return SAY("%s", e.text);
	return NULL;
}

static const char *end_of(struct child *c, struct spawn_end *end)
{
	struct pollfd p = {.fd = c->pidfd, .events = POLLIN};
	int r;

	if (poll(&p, 1, 10000) != 1)
		return "the child does not end";
	r = spawn_reap(c, end);
	return r < 0 ? SAY("spawn_reap: %d", r) : NULL;
}

/* arg: { mode, text expected } */
static const char *ends_with(void *arg)
{
	const char *const *expected = arg;
	struct spawn_end end;
	struct spawner s;
	struct child c;
	const char *wrong = start(expected[0], NULL, 0, &s, &c);

	if (!wrong)
		wrong = end_of(&c, &end);
	if (!wrong && strcmp(end.text, expected[1]) != 0)
		wrong = SAY("%s", end.text);
	spawner_fini(&s);
	return wrong;
}

static void the_end_of_a_child_is_told(void **state UNUSED)
{
	const char *cases[][2] = {
		{"exit", "exited with code 7"},
		{"fault", "killed by signal 4 (ILL)"},
		{"wrong-argument", "exited with code 126"},
		{"assert", "aborted: a check of its own failed"},
		{"filtered", "killed by its seccomp filter: system call uname; allow it in "
			     "src/devices/block.c or with --seccomp-policy-dir DIR"},
		{"filtered-lie", "killed by its seccomp filter: system call not known; allow it in "
				 "src/devices/block.c or with --seccomp-policy-dir DIR"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		/* A sanitizer's library makes calls of its own before abort(). */
		if (strcmp(cases[i][0], "assert") == 0 && getenv("CROSVM_TEST_JAIL"))
			continue;
		run_both_ways(ends_with, cases[i]);
	}
}

/* A group that has no number in the child's PID namespace is one of outside. */
static void a_child_in_the_foreground_keeps_the_group(void **state UNUSED)
{
	const char *own[] = {"group", "exited with code 1"};
	const char *ours[] = {"group", "exited with code 0"};

	run_both_ways(ends_with, own);
	is_foreground = true;
	run_both_ways(ends_with, ours);
	is_foreground = false;
}

static void a_child_that_cannot_be_executed_says_why(void **state UNUSED)
{
	static char mode[256 * 1024]; /* Linux has an argument of at most 128 KiB */
	const char *expected[] = {mode, "cannot execute /proc/self/exe: Argument list too long"};

	memset(mode, 'x', sizeof(mode) - 1);
	run_both_ways(ends_with, expected);
}

static const char *sees_only_its_fds(void *arg UNUSED)
{
	const struct spawn_fd crossed[] = {{4, 3}, {3, 4}, {60, 5}, {7, 7}};
	struct spawn_end end;
	struct spawner s;
	struct child c;
	const char *wrong;
	int pair[2];

	/* 3 and 4 change places, 60 moves away from a number that is needed, 7 stays. */
	if (fd_socketpair(SOCK_STREAM, pair) < 0)
		return "no socket pair";
	if (fcntl(pair[0], F_DUPFD, 100) != 100 || fcntl(pair[1], F_DUPFD, 101) != 101)
		return "fds are not as expected";
	for (int fd = 3; fd < 100; fd++) /* the outcome is told through a higher one */
		close(fd);
	if (dup2(100, 3) != 3 || dup2(101, 4) != 4 || dup2(100, 60) != 60 || dup2(101, 7) != 7)
		return "fds are not as expected";
	wrong = start("fds", crossed, ARRAY_LEN(crossed), &s, &c);
	if (!wrong)
		wrong = end_of(&c, &end);
	if (!wrong && strcmp(end.text, "exited with code 0") != 0)
		wrong = SAY("%s", end.text);
	spawner_fini(&s);
	return wrong;
}

static void a_child_sees_only_the_fds_given_to_it(void **state UNUSED)
{
	run_both_ways(sees_only_its_fds, NULL);
}

static const char *starts_clean(void *arg UNUSED)
{
	struct spawn_end end;
	struct spawner s;
	struct child c;
	const char *wrong;
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	signal(SIGPIPE, SIG_IGN);
	setenv("SECRET", "1", 1);
	setenv("LD_EXAMPLE", "1", 1);
	wrong = start("clean", NULL, 0, &s, &c);
	if (!wrong)
		wrong = end_of(&c, &end);
	if (!wrong && strcmp(end.text, "exited with code 0") != 0)
		wrong = SAY("%s", end.text);
	if (!wrong && sigprocmask(SIG_SETMASK, NULL, &all) == 0 && !sigismember(&all, SIGUSR1))
		wrong = "the parent's signal mask has changed";
	spawner_fini(&s);
	return wrong;
}

static void a_child_starts_clean(void **state UNUSED)
{
	run_both_ways(starts_clean, NULL);
}

static const char *dies_with_parent(void *arg UNUSED)
{
	struct pollfd p = {.events = POLLIN};
	int held[2], told[2];
	char byte;
	pid_t pid;

	/* The child holds the writing end of `held`: its end is ours. */
	if (pipe2(held, O_CLOEXEC) < 0 || pipe2(told, O_CLOEXEC) < 0)
		return "no pipe";
	pid = fork();
	if (pid == 0) {
		const struct spawn_fd fds[] = {{held[1], 3}};
		struct spawner s;
		struct child c;
		const char *wrong = start("wait", fds, 1, &s, &c);

		if (write(told[1], wrong ? "-" : "+", 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(held[1]);
	if (read(told[0], &byte, 1) != 1 || byte != '+')
		return "the child has not started";
	waitpid(pid, NULL, 0);
	p.fd = held[0];
	if (poll(&p, 1, 10000) != 1 || read(held[0], &byte, 1) != 0)
		return "the child outlives its parent";
	return NULL;
}

static void a_child_dies_with_its_parent(void **state UNUSED)
{
	run_both_ways(dies_with_parent, NULL);
}

static const char *can_be_killed(void *arg UNUSED)
{
	struct spawn_end end;
	struct spawner s;
	struct child c;
	const char *wrong = start("wait", NULL, 0, &s, &c);

	if (wrong)
		return wrong;
	if (spawn_reap(&c, &end) != -EAGAIN)
		return "a living child was reaped";
	spawn_kill(&c);
	if (c.pid != -1 || c.pidfd != -1 || c.report_fd != -1)
		return "a killed child has fds left";
	spawn_kill(&c);
	spawner_fini(&s);
	return NULL;
}

/* One that ends is not waited for longer, one that does not is killed. */
static const char *can_be_dismissed(void *arg UNUSED)
{
	struct spawner s;
	struct child c;
	const char *wrong = start("exit", NULL, 0, &s, &c);

	if (wrong)
		return wrong;
	spawn_dismiss(&c, 60000);
	spawner_fini(&s);
	wrong = start("wait", NULL, 0, &s, &c);
	if (wrong)
		return wrong;
	spawn_dismiss(&c, 10);
	if (c.pid != -1 || c.pidfd != -1 || c.report_fd != -1)
		return "a dismissed child has fds left";
	spawn_dismiss(&c, 60000);
	spawner_fini(&s);
	return NULL;
}

static void a_child_can_be_dismissed(void **state UNUSED)
{
	run_both_ways(can_be_dismissed, NULL);
}

static void a_child_can_be_killed_once_or_twice(void **state UNUSED)
{
	run_both_ways(can_be_killed, NULL);
}

static const char *wrong_fds_are_refused(void *arg)
{
	const struct spawn_fd *fds = arg;
	struct spawner s;
	struct child c;
	const char *wrong = start("exit", fds, 2, &s, &c);

	spawner_fini(&s);
	if (!wrong)
		return "started";
	return strstr(wrong, "cannot start block0: ") == wrong ? NULL : wrong;
}

static void wrong_fds_are_an_error(void **state UNUSED)
{
	struct spawn_fd cases[][2] = {
		{{0, 3}, {0, 3}},  {{0, 3}, {0, 2}},   {{0, 3}, {0, 60}},
		{{0, 3}, {-1, 4}}, {{0, 3}, {999, 4}}, {{0, 3}, {0, -1}},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		run_forked(wrong_fds_are_refused, cases[i], false);
}

static const char *limit_is_explained(void *arg UNUSED)
{
	struct spawner s;
	struct err e;
	auto_fd limit = -1;

	/* The limit belongs to a user namespace, so it can be set without touching the host's. */
	if (geteuid() == 0 && !run_become_nobody())
		return "cannot become nobody";
	if (ns_user_enter(&e) < 0)
		return SAY("%s", e.text);
	limit = open("/proc/sys/user/max_user_namespaces", O_WRONLY | O_CLOEXEC);
	if (limit < 0 || write(limit, "0", 1) != 1)
		return "cannot set the limit";
	if (spawner_init(&s, &e) != -ENOSPC)
		return "more user namespaces than allowed";
	if (s.null_fd != -1 || s.self_fd != -1 || s.ns.fd != -1)
		return "fds are left";
	return strcmp(e.text,
		      "cannot make a user namespace: No space left on device: this host forbids "
		      "user namespaces; as root: sysctl user.max_user_namespaces=15000, or run "
		      "with --disable-sandbox, without isolation") == 0
		       ? NULL
		       : SAY("%s", e.text);
}

static void a_host_without_user_namespaces_is_explained(void **state UNUSED)
{
	run_forked(limit_is_explained, NULL, false);
}

static const char *chroot_is_explained(void *arg UNUSED)
{
	bool is_root = geteuid() == 0;
	struct err e;

	/* An ordinary user may chroot in a user namespace of his own. */
	if (!is_root && ns_user_enter(&e) < 0)
		return SAY("%s", e.text);
	if (chroot("/dev") < 0 || chdir("/") < 0 || (is_root && !run_become_nobody()))
		return "cannot chroot";
	if (ns_user_enter(&e) != -EPERM)
		return "a user namespace in a chroot";
	return strstr(e.text,
		      "cannot make a user namespace: Operation not permitted: a container, a "
		      "chroot or a security policy forbids namespaces") == e.text
		       ? NULL
		       : SAY("%s", e.text);
}

static void a_place_without_namespaces_is_explained(void **state UNUSED)
{
	run_forked(chroot_is_explained, NULL, false);
}

/* --- what runs in the child --- */

static int child_fds(void)
{
	const uint64_t expected = UINT64_C(3) << 60 | 1 << 7 | 1 << 5 | 1 << 4 | 1 << 3 | 7;

	for (int fd = 0; fd < 256; fd++) {
		int is_open = fcntl(fd, F_GETFD) >= 0;

		if (is_open != (fd < 64 ? (int)(expected >> fd & 1) : 0))
			return 100 + fd % 64;
	}
	/* What 3 writes comes out at 4 and 5, what 4 writes at 3 and 7. */
	if (write(3, "a", 1) != 1 || write(4, "bc", 2) != 2)
		return 1;
	for (int i = 0; i < 3; i++) {
		static const int fds[] = {5, 7, 3};
		char byte;

		if (read(fds[i], &byte, 1) != 1 || byte != "abc"[i])
			return 2 + i;
	}
	return 0;
}

static int child_clean(void)
{
	struct sigaction action;
	sigset_t mask;
	char byte;

	if (sigprocmask(SIG_SETMASK, NULL, &mask) < 0 || !sigisemptyset(&mask))
		return 1;
	if (sigaction(SIGPIPE, NULL, &action) < 0 || action.sa_handler != SIG_DFL)
		return 2;
	if (getenv("SECRET") || !getenv("LD_EXAMPLE"))
		return 3;
	if (getpid() != 1 || getppid() != 0)
		return 4;
	if (read(0, &byte, 1) != 0)
		return 5;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 6;
	return 0;
}

static int child_jailed(void)
{
	const struct jail_config config = {
		.name = "block0",
		.ns = &jail_ns_spawned,
		.report_fd = SPAWN_FD_REPORT,
	};
	struct err e;

	if (jail_enter(&config, &e) == 0)
		return 0;
	fprintf(stderr, "%s\n", e.text);
	return 1;
}

static int child_filtered(bool lies)
{
	const int32_t lie = 123456;

	if (child_jailed() != 0)
		return 1;
	if (lies && write(SPAWN_FD_REPORT, &lie, sizeof(lie)) < 0)
		return 2;
	syscall(SYS_uname, NULL);
	return 3;
}

/* The words of assert() itself are not part of the test's output. */
static int child_assert(void)
{
	static volatile bool holds;

	close(STDERR_FILENO);
	if (child_jailed() != 0)
		return 1;
	assert(holds);
	return 2;
}

static int child_main(const char *mode)
{
	if (strcmp(mode, "exit") == 0)
		return 7;
	if (strcmp(mode, "group") == 0)
		return getpgrp();
	if (strcmp(mode, "fds") == 0)
		return child_fds();
	if (strcmp(mode, "clean") == 0)
		return child_clean();
	if (strcmp(mode, "filtered") == 0)
		return child_filtered(false);
	if (strcmp(mode, "filtered-lie") == 0)
		return child_filtered(true);
	if (strcmp(mode, "assert") == 0)
		return child_assert();
	if (strcmp(mode, "fault") == 0)
		__builtin_trap();
	while (strcmp(mode, "wait") == 0)
		pause();
	return 126;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_end_of_a_child_is_told),
		cmocka_unit_test(a_child_in_the_foreground_keeps_the_group),
		cmocka_unit_test(a_child_that_cannot_be_executed_says_why),
		cmocka_unit_test(a_child_sees_only_the_fds_given_to_it),
		cmocka_unit_test(a_child_starts_clean),
		cmocka_unit_test(a_child_dies_with_its_parent),
		cmocka_unit_test(a_child_can_be_killed_once_or_twice),
		cmocka_unit_test(a_child_can_be_dismissed),
		cmocka_unit_test(wrong_fds_are_an_error),
		cmocka_unit_test(a_host_without_user_namespaces_is_explained),
		cmocka_unit_test(a_place_without_namespaces_is_explained),
	};

	if (argc > 1)
		return child_main(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
