/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * seccomp.c - filters into the kernel, and the last words of a process that broke one
 *
 * A refused call raises SIGSYS.  The handler tells the number and then makes a call that every
 * filter answers with death, so it never returns.  Where the signal is blocked, or the handler is
 * refused a call itself, the kernel kills the process instead.
 */
#include "jail/seccomp.h"

#include "jail/filter.h"
#include "jail/rules.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * The loop, the two sockets, logging, mapping the guest's memory when main sends it, and the end.
 * No call that makes a file, a socket, a process or executable memory.
 */
const struct call seccomp_common[] = {
	CALL(clock_gettime),
	CALL(close),
	CALL(epoll_ctl),
	CALL(epoll_pwait),
	CALL(epoll_wait),
	CALL(exit_group),
	CALL_IF2(mmap, 2, CALL_TEST_IN, PROT_READ | PROT_WRITE, 3, CALL_TEST_EQ, MAP_SHARED),
	CALL_IF2(mmap, 2, CALL_TEST_IN, PROT_READ | PROT_WRITE, 3, CALL_TEST_EQ,
		 MAP_SHARED | MAP_NORESERVE),
	CALL(munmap),
	CALL(read),
	CALL(recvmsg),
	CALL(restart_syscall), /* a wait that was stopped and continued */
	CALL(sendmsg),
	CALL(write),

	/* What abort() does, after assert() or the stack protector has said why. */
	CALL(getpid),
	CALL(gettid),
	CALL_ERROR(mmap, ENOMEM),
	CALL(rt_sigprocmask),
	CALL_ARG(tgkill, 2, SIGABRT),
	CALL(writev),
	CALL_END,
};

/* What the handler needs; written before the filter is in place. */
static struct {
	int fd;
	char prefix[64];
	void (*next)(int signal_number); /* whoever handled SIGSYS before */
} report = {.fd = -1};

static void report_line(int number)
{
	const char *name = names_call(names_arch_native(), number);
	char line[160];
	size_t n = 0;

	for (const char *p = report.prefix; *p; p++)
		line[n++] = *p;
	for (const char *p = name ? name : "unknown"; *p && n < sizeof(line) - 1; p++)
		line[n++] = *p;
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return; /* nobody is left to tell */
}

enum { BY_FILTER = 1 }; /* the kernel's SYS_SECCOMP, which the C library does not name */

static void report_refusal(int signal_number, siginfo_t *info, void *context UNUSED)
{
	int32_t number = info->si_syscall;
	bool refused = info->si_code == BY_FILTER; /* not a signal that somebody sent */

	if (refused && (report.fd < 0 || write(report.fd, &number, sizeof(number)) < 0))
		report_line(number);
	if (report.next)
		report.next(signal_number);
	syscall(FILTER_KILL_NUMBER);
	__builtin_trap();
}

/* The first process of a PID namespace would survive SIGABRT and die of what abort() does next. */
static void report_abort(int signal_number UNUSED)
{
	const int32_t number = SECCOMP_REPORT_ABORTED;

	if (write(report.fd, &number, sizeof(number)) < 0)
		report_line(number);
	syscall(FILTER_KILL_NUMBER);
	__builtin_trap();
}

int seccomp_report_to(const char *name, int fd, struct err *e)
{
	struct sigaction action = {.sa_sigaction = report_refusal, .sa_flags = SA_SIGINFO};
	struct sigaction old = {.sa_handler = SIG_DFL};

	report.fd = fd;
	if (sigaction(SIGSYS, NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) &&
	    old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN)
		report.next = old.sa_handler;
	snprintf(report.prefix, sizeof(report.prefix), "crosvm: %.20s: the filter refused: ", name);
	if (sigaction(SIGSYS, &action, NULL) < 0)
		return err_set(e, errno, "cannot handle SIGSYS");
	if (fd >= 0 && signal(SIGABRT, report_abort) == SIG_ERR)
		return err_set(e, errno, "cannot handle SIGABRT");
	return 0;
}

/*
 * SPEC_ALLOW: older kernels else slow the process down against reads of its own memory by untrusted
 * code inside it, of which there is none.
 */
static int program_load(const struct sock_filter *insn, unsigned n, bool all_threads, struct err *e)
{
	struct sock_fprog program = {.len = (unsigned short)n,
				     .filter = (struct sock_filter *)(uintptr_t)insn};
	unsigned flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;
	long failed;

	if (all_threads)
		flags |= SECCOMP_FILTER_FLAG_TSYNC;
	failed = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	if (failed > 0)
		return err_say(e, EBUSY, "thread %ld has a filter of its own already", failed);
	if (failed < 0)
		return err_set(e, errno, "cannot load the system call filter");
	return 0;
}

int seccomp_load_take(struct filter *f, bool all_threads, struct err *e)
{
	enum { SMALL = 768 };
	struct sock_filter small[SMALL];
	unsigned n = filter_length(f);

	if (n > SMALL)
		return program_load(f->insn + f->first, n, all_threads, e);
	memcpy(small, f->insn + f->first, n * sizeof(small[0]));
	free(f);
	return program_load(small, n, all_threads, e);
}

struct filter *seccomp_compile(struct rules *r, struct err *e)
{
	struct filter *f = filter_new();

	if (!f) {
		err_set(e, ENOMEM, "cannot build the system call filter");
		return NULL;
	}
	if (filter_build(f, r, FILTER_TRAP, e) < 0) {
		free(f);
		return NULL;
	}
	return f;
}

struct filter *seccomp_prepare(const struct call *calls, struct err *e)
{
	struct rules *r = rules_new(names_arch_native());
	struct filter *f = NULL;

	if (!r) {
		err_set(e, ENOMEM, "cannot build the system call filter");
		return NULL;
	}
	if (rules_calls_add(r, calls, e) == 0)
		f = seccomp_compile(r, e);
	free(r);
	return f;
}

int seccomp_thread_load(const struct filter *f, struct err *e)
{
	return program_load(f->insn + f->first, filter_length(f), false, e);
}
