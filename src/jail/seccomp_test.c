/* SPDX-License-Identifier: BSD-3-Clause */
/* seccomp_test.c - filters in force, in forked processes */
#include "jail/seccomp.h"

#include "base/stderr_test.h"
#include "jail/filter_run.h"
#include "jail/policy.h"
#include "jail/rules.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int rows_load(const struct call *calls, struct err *e)
{
	struct filter *f = seccomp_prepare(calls, e);

	return f ? seccomp_thread_load(f, e) : -e->code;
}

/* The exit code of a body that returned, or minus the signal that ended it. */
static int run(int (*body)(const void *), const void *arg)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0 && signal(SIGSYS, SIG_DFL) != SIG_ERR) /* cmocka has a handler */
		_exit(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? 99 : body(arg));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

struct trial {
	const char *policy;
	int call;
	unsigned long args[4];
	int expected; /* errno the call fails with, or -SIGSYS */
};

static int trial_run(const void *arg)
{
	const struct trial *t = arg;
	char text[1024];
	struct rules *r = rules_new(names_arch_native());
	struct filter *f = NULL;
	struct err e;
	int n = snprintf(text, sizeof(text), "exit_group: 1\nsigaltstack: 1\n%s\n", t->policy);

	if (r && policy_parse(r, "test", text, (size_t)n, &e) == 0)
		f = seccomp_compile(r, &e);
	if (!f || seccomp_load_take(f, true, &e) < 0)
		return 98;
	errno = 0;
	syscall(t->call, t->args[0], t->args[1], t->args[2], t->args[3]);
	return errno;
}

/* getpriority takes any arguments: EINVAL tells that the call was made. */
static void the_kernel_does_what_a_rule_says(void **state UNUSED)
{
	static const struct trial trials[] = {
		{"getpid: 1", SYS_getpid, {0}, 0},
		{"", SYS_getpid, {0}, -SIGSYS},
		{"getpid: return", SYS_getpid, {0}, -SIGSYS},
		{"getpid: return EPERM", SYS_getpid, {0}, EPERM},
		{"clone3: return ENOSYS", SYS_clone3, {0}, ENOSYS},
		{"getpriority: arg0 == 77", SYS_getpriority, {77}, EINVAL},
		{"getpriority: arg0 == 77", SYS_getpriority, {78}, -SIGSYS},
		{"getpriority: arg0 == 77", SYS_getpriority, {0x10000004dUL}, -SIGSYS},
		{"getpriority: arg0 == 0x10000004d", SYS_getpriority, {0x10000004dUL}, EINVAL},
		{"getpriority: arg0 != 77", SYS_getpriority, {78}, EINVAL},
		{"getpriority: arg0 != 77", SYS_getpriority, {77}, -SIGSYS},
		{"getpriority: arg0 < 77", SYS_getpriority, {76}, EINVAL},
		{"getpriority: arg0 < 77", SYS_getpriority, {77}, -SIGSYS},
		{"getpriority: arg0 < 0x100000001", SYS_getpriority, {77}, EINVAL},
		{"getpriority: arg0 <= 77", SYS_getpriority, {77}, EINVAL},
		{"getpriority: arg0 <= 77", SYS_getpriority, {~0UL}, -SIGSYS},
		{"getpriority: arg0 > 77", SYS_getpriority, {~0UL}, EINVAL},
		{"getpriority: arg0 > 77", SYS_getpriority, {77}, -SIGSYS},
		{"getpriority: arg0 >= 77", SYS_getpriority, {77}, EINVAL},
		{"getpriority: arg0 & 0x50", SYS_getpriority, {0x10}, EINVAL},
		{"getpriority: arg0 & 0x50", SYS_getpriority, {0xaf}, -SIGSYS},
		{"getpriority: arg0 & 0x8000000000000000",
		 SYS_getpriority,
		 {1UL << 63 | 9},
		 EINVAL},
		{"getpriority: arg0 in 0xfffffffb", SYS_getpriority, {0xf8}, EINVAL},
		{"getpriority: arg0 in 0xfffffffb", SYS_getpriority, {4}, -SIGSYS},
		{"getpriority: arg0 in 0xfffffffb", SYS_getpriority, {1UL << 32}, -SIGSYS},
		{"getpriority: arg0 == 9 && arg1 == 2", SYS_getpriority, {9, 2}, EINVAL},
		{"getpriority: arg0 == 9 && arg1 == 2", SYS_getpriority, {9, 3}, -SIGSYS},
		{"getpriority: arg0 == 9 || arg1 == 2", SYS_getpriority, {8, 2}, EINVAL},
		{"getpriority: arg0 == 9 || arg1 == 2", SYS_getpriority, {8, 3}, -SIGSYS},
		{"getpriority: arg0 == 9; return EXDEV", SYS_getpriority, {8}, EXDEV},
		{"getpriority: arg0 == 9; return EXDEV", SYS_getpriority, {9}, EINVAL},
		{"mprotect: arg2 in 0xfffffffb", SYS_mprotect, {0, 0, PROT_EXEC}, -SIGSYS},
		{"mprotect: arg2 in 0xfffffffb", SYS_mprotect, {0, 0, PROT_READ}, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(trials); i++) {
		int got = run(trial_run, &trials[i]);

		if (got != trials[i].expected)
			fail_msg("%s: %d instead of %d", trials[i].policy, got, trials[i].expected);
	}
}

/* Sanitizers call sigaltstack before _exit(). */
static const struct call few[] = {CALL(exit_group), CALL(write), CALL(sigaltstack), CALL_END};

struct report {
	int fd;
	bool blocked;
};

static int refused_run(const void *arg)
{
	const struct report *report = arg;
	struct err e;
	sigset_t all;

	sigfillset(&all);
	if (report->blocked)
		sigprocmask(SIG_SETMASK, &all, NULL);
	if (seccomp_report_to("block0", report->fd, &e) < 0 || rows_load(few, &e) < 0)
		return 98;
	syscall(SYS_getcwd, NULL, 0);
	return 0;
}

static void a_refused_call_is_told_as_a_number(void **state UNUSED)
{
	int fds[2];
	int32_t number = -1;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(run(refused_run, &(struct report){.fd = fds[1]}), -SIGSYS);

	assert_int_equal(read(fds[0], &number, sizeof(number)), sizeof(number));
	assert_int_equal(number, SYS_getcwd);
	close(fds[0]);
	close(fds[1]);
}

static void a_refused_call_is_told_as_a_line(void **state UNUSED)
{
	const char *said;
	int got;

	assert_int_equal(stderr_catch(), 0);
	got = run(refused_run, &(struct report){.fd = -1});
	said = stderr_said();
	stderr_release();

	assert_int_equal(got, -SIGSYS);
	assert_string_equal(said, "crosvm: block0: the filter refused: getcwd\n");
}

static void say_goodbye(int signal_number UNUSED)
{
	if (write(STDOUT_FILENO, "", 0) == 0)
		_exit(77);
}

static int handled_run(const void *is_sent)
{
	struct err e;

	signal(SIGSYS, say_goodbye);
	if (seccomp_report_to("block0", -1, &e) < 0 || (!is_sent && rows_load(few, &e) < 0))
		return 98;
	close(STDERR_FILENO);
	if (is_sent)
		raise(SIGSYS);
	syscall(SYS_getcwd, NULL, 0);
	return 0;
}

static void an_older_handler_has_its_turn(void **state UNUSED)
{
	assert_int_equal(run(handled_run, NULL), 77);
	assert_int_equal(run(handled_run, "sent"), 77);
}

static void blocking_the_signal_does_not_help(void **state UNUSED)
{
	assert_int_equal(run(refused_run, &(struct report){.fd = -1, .blocked = true}), -SIGSYS);
}

static void *tighter_run(void *arg UNUSED)
{
	static const struct call tight[] = {CALL(write), CALL(getpid), CALL(exit), CALL_END};
	struct err e;

	if (rows_load(tight, &e) < 0)
		return NULL;
	syscall(SYS_getpid);
	syscall(SYS_getppid);
	return NULL;
}

static int threads_run(const void *is_main)
{
	static const struct call loose[] = {
		CALL(clone),    CALL(clone3),       CALL(exit),        CALL(exit_group),
		CALL(futex),    CALL(getpid),       CALL(getppid),     CALL(mmap),
		CALL(mprotect), CALL(munmap),       CALL(rseq),        CALL(rt_sigprocmask),
		CALL(write),    CALL(seccomp),      CALL(brk),         CALL(set_robust_list),
		CALL(madvise),  CALL(rt_sigaction), CALL(sigaltstack), CALL_END,
	};
	struct err e;
	pthread_t thread;

	if (rows_load(loose, &e) < 0)
		return 98;
	if (is_main)
		return syscall(SYS_getppid) > 0 ? 0 : 1;
	pthread_create(&thread, NULL, tighter_run, NULL);
	pthread_join(thread, NULL);
	return 1;
}

static void a_thread_can_have_less_than_its_process(void **state UNUSED)
{
	assert_int_equal(run(threads_run, "main"), 0);
	assert_int_equal(run(threads_run, NULL), -SIGSYS);
}

static int long_run(const void *arg UNUSED)
{
	struct rules *r = rules_new(names_arch_native());
	struct rule *rule;
	struct filter *f;
	struct err e;

	if (!r || rules_calls_add(r, few, &e) < 0)
		return 98;
	rule = rules_add(r, SYS_getpriority);
	for (uint64_t i = 0; i < 900; i++) {
		if (!rules_cond_add(r, rule, (struct call_cond){1000 + i, 0, CALL_TEST_EQ}, true))
			return 97;
	}
	f = seccomp_compile(r, &e);
	if (!f || seccomp_load_take(f, true, &e) < 0)
		return 96;
	errno = 0;
	syscall(SYS_getpriority, 1899, 0);
	return errno;
}

static void a_long_filter_loads_too(void **state UNUSED)
{
	assert_int_equal(run(long_run, NULL), EINVAL);
}

static void the_common_list_makes_nothing(void **state UNUSED)
{
	static const char *const never[] = {
		"open",         "openat",      "openat2",  "creat",
		"socket",       "connect",     "bind",     "execve",
		"execveat",     "clone",       "clone3",   "fork",
		"vfork",        "ptrace",      "kill",     "mount",
		"unshare",      "setns",       "bpf",      "io_uring_setup",
		"memfd_create", "ioctl",       "mprotect", "process_vm_writev",
		"pidfd_getfd",  "userfaultfd", "prctl",    "rt_sigaction",
	};
	struct rules *r = rules_new(names_arch_native());
	const uint64_t executable[6] = {0, 4096, PROT_READ | PROT_EXEC, MAP_SHARED};
	const uint64_t abort_self[6] = {1, 1, SIGABRT}, kill_self[6] = {1, 1, SIGKILL};
	const uint64_t private[6] = {0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE};
	struct err e;

	assert_int_equal(rules_calls_add(r, seccomp_common, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(never); i++) {
		int number = names_call_number(r->arch, never[i]);

		assert_int_not_equal(number, NAMES_UNKNOWN);
		assert_null(rules_find(r, number));
	}
	assert_int_equal(rules_outcome(r, SYS_mmap, executable), ENOMEM);
	assert_int_equal(rules_outcome(r, SYS_mmap, private), ENOMEM);
	assert_int_equal(rules_outcome(r, SYS_tgkill, abort_self), RULE_ALLOW);
	assert_int_equal(rules_outcome(r, SYS_tgkill, kill_self), RULE_KILL);
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_kernel_does_what_a_rule_says),
		cmocka_unit_test(a_refused_call_is_told_as_a_number),
		cmocka_unit_test(a_refused_call_is_told_as_a_line),
		cmocka_unit_test(an_older_handler_has_its_turn),
		cmocka_unit_test(blocking_the_signal_does_not_help),
		cmocka_unit_test(a_thread_can_have_less_than_its_process),
		cmocka_unit_test(a_long_filter_loads_too),
		cmocka_unit_test(the_common_list_makes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
