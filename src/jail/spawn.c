/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * spawn.c - start a child that is ourselves, with numbered fds, in namespaces of its own
 *
 * What a child costs decided how it is made (one core of a 2-core virtual machine, kernel 6.18; the
 * whole life of an empty program is 220 us static, 310 us dynamic, of which 100 us are what CPUID
 * costs the C library in a virtual machine):
 *
 *	clone					 30 us, of ours with its pages 60 us
 *	+ new PID, IPC and UTS namespaces	+35 us
 *	exec, to main()				300 us static, 500 us dynamic
 *	new mount namespace, emptied		 90 us
 *	new network namespace			310 us
 *
 * So pages are not copied: until exec the child runs in our memory, on a stack of its own, while we
 * sleep; it says through its report what failed.  Mount and network namespaces, which are empty and
 * read-only for all, are made once, on the side, and joined by every child when it comes to that: 4
 * us.
 *
 * Joining takes rights over the user namespace in which they were made.  Root has them.  An
 * ordinary user's main process therefore enters a user namespace before it makes them; children
 * start there and leave it in jail_enter(), each into its own, so that afterwards none has rights
 * over what they share, or over another.  Across exec an ordinary user keeps capabilities only if
 * they are ambient.
 *
 * All signals are blocked until the child has no handler left.
 */
#include "jail/spawn.h"

#include "base/fd.h"
#include "jail/caps.h"
#include "jail/names.h"
#include "jail/ns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	NUMBERS_END = SPAWN_FD_NS + 1,
	MOVES_MAX = SPAWN_FDS_MAX + 5, /* stdin, stdout, stderr, report and namespaces */
	STACK_BYTES = 64 << 10,        /* some builds write their profile before exec */
	ENV_MAX = 64,
	EXIT_NOT_STARTED = 127,
};

/* Where a child failed before exec; its report is this number and an errno. */
enum step { STEP_TIE, STEP_GROUP, STEP_FDS, STEP_CLOSE, STEP_CAPS, STEP_PRIVS, STEP_EXEC, STEPS };

static const char *const step_failed[STEPS] = {
	[STEP_TIE] = "cannot tie it to its parent",
	[STEP_GROUP] = "cannot give it a process group",
	[STEP_FDS] = "cannot hand over fds",
	[STEP_CLOSE] = "cannot close fds",
	[STEP_CAPS] = "cannot pass on the right to join namespaces",
	[STEP_PRIVS] = "cannot set no_new_privs",
	[STEP_EXEC] = "cannot execute /proc/self/exe",
};

struct failure {
	int32_t step, error;
};

struct job {
	const struct spawn_args *args;
	bool is_root;
	int parent; /* a pidfd */
	struct spawn_fd move[MOVES_MAX];
	const struct spawn_fd *report; /* one of these */
	size_t count;
	uint64_t used; /* numbers, one bit each */
	char *env[ENV_MAX + 1];
};

/* What the environment may tell a child: where its libraries, its display and its profile are. */
static const char *const env_kept[] = {
	"LD_",         "LANG=",         "LC_",           "XDG_RUNTIME_DIR=", "WAYLAND_DISPLAY=",
	"DISPLAY=",    "PULSE_SERVER=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=",   "LLVM_PROFILE_FILE=",
	"GCOV_PREFIX",
};

int spawner_init(struct spawner *s, struct err *e)
{
	int r = 0;

	*s = (struct spawner){
		.null_fd = -1, .self_fd = -1, .ns = {-1}, .maker = {.fd = -1}};
	s->is_root = geteuid() == 0;
	s->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (s->null_fd < 0)
		return err_set(e, errno, "cannot open /dev/null");
	s->self_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (s->self_fd < 0)
		r = err_set(e, errno, "cannot watch itself");
	if (r == 0 && !s->is_root)
		r = ns_user_enter(e);
	if (r == 0)
		r = ns_maker_init(&s->maker, &s->ns, e);
	if (r < 0)
		spawner_fini(s);
	return r;
}

void spawner_begin(struct spawner *s)
{
	ns_maker_start(&s->maker);
}

int spawner_finish(struct spawner *s, struct err *e)
{
	return ns_maker_finish(&s->maker, &s->ns, e);
}

void spawner_fini(struct spawner *s)
{
	if (!s)
		return;
	ns_maker_fini(&s->maker);
	fd_close(&s->null_fd);
	fd_close(&s->self_fd);
	fd_close(&s->ns.fd);
}

static void signals_reset(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int n = 1; n < NSIG; n++)
		sigaction(n, &action, NULL); /* two of them can't be changed, and are not */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Sources out of the way of other fds' numbers; then each to its number. */
static int fds_move(struct job *job)
{
	for (size_t i = 0; i < job->count; i++) {
		struct spawn_fd *m = &job->move[i];

		if (m->fd == m->number || m->fd >= NUMBERS_END || !(job->used >> m->fd & 1))
			continue;
		m->fd = fcntl(m->fd, F_DUPFD_CLOEXEC, NUMBERS_END);
		if (m->fd < 0)
			return -1;
	}
	for (size_t i = 0; i < job->count; i++) {
		const struct spawn_fd *m = &job->move[i];

		if (m->fd == m->number ? fcntl(m->fd, F_SETFD, 0) < 0 : dup2(m->fd, m->number) < 0)
			return -1;
	}
	return 0;
}

static int fds_close_others(const struct job *job)
{
	unsigned first = 0;

	for (unsigned n = 0; n <= NUMBERS_END; n++) {
		if (n < NUMBERS_END && !(job->used >> n & 1))
			continue;
		if (first < n && syscall(SYS_close_range, first, n - 1, 0) < 0)
			return -1;
		first = n + 1;
	}
	return (int)syscall(SYS_close_range, NUMBERS_END, ~0U, 0);
}

/* A parent that died before it was named sends no signal. */
static bool has_ended(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) != 0;
}

static enum step child_prepare(struct job *job)
{
	const uint64_t to_join = CAP_BIT(CAP_SYS_ADMIN) | CAP_BIT(CAP_SYS_CHROOT);

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || has_ended(job->parent))
		return STEP_TIE;
	/* Ctrl-C is for the main process; children end when it does. */
	if (!job->args->is_foreground && setpgid(0, 0) < 0)
		return STEP_GROUP;
	if (fds_move(job) < 0)
		return STEP_FDS;
	if (fds_close_others(job) < 0)
		return STEP_CLOSE;
	if (!job->is_root && caps_pass_on(to_join) < 0)
		return STEP_CAPS;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return STEP_PRIVS;
	signals_reset();
	execve("/proc/self/exe", job->args->argv, job->env);
	return STEP_EXEC;
}

/* It makes system calls and nothing else, for all it writes to is ours. */
static int child_run(void *argument)
{
	struct job *job = argument;
	struct failure f = {.step = (int32_t)child_prepare(job)};
	int fd = f.step > STEP_FDS ? SPAWN_FD_REPORT : job->report->fd;

	f.error = errno;
	if (write(fd, &f, sizeof(f)) < 0)
		_exit(EXIT_NOT_STARTED - 1);
	_exit(EXIT_NOT_STARTED);
}

static int move_add(struct job *job, int fd, int number)
{
	if (fcntl(fd, F_GETFD) < 0 || (job->used >> number & 1))
		return -EINVAL;
	job->move[job->count++] = (struct spawn_fd){.fd = fd, .number = number};
	job->used |= UINT64_C(1) << number;
	return 0;
}

static int moves_plan(struct job *job, const struct spawner *s, int report_fd)
{
	const struct spawn_args *args = job->args;
	int log_fd = args->log_fd > 0 ? args->log_fd : STDERR_FILENO;
	int r = args->nfds > SPAWN_FDS_MAX ? -EINVAL : 0;

	for (size_t i = 0; r == 0 && i < args->nfds; i++) {
		if (args->fds[i].number < SPAWN_FD_FIRST || args->fds[i].number > SPAWN_FD_LAST)
			return -EINVAL;
		r = move_add(job, args->fds[i].fd, args->fds[i].number);
	}
	if (r < 0)
		return r;
	(void)move_add(job, s->null_fd, STDIN_FILENO);
	(void)move_add(job, log_fd, STDOUT_FILENO);
	(void)move_add(job, log_fd, STDERR_FILENO);
	job->report = &job->move[job->count];
	r = move_add(job, report_fd, SPAWN_FD_REPORT);
	if (r == 0)
		r = move_add(job, s->ns.fd, SPAWN_FD_NS);
	return r;
}

static void env_plan(struct job *job)
{
	size_t n = 0;

	for (char **var = environ; *var && n < ENV_MAX; var++) {
		for (size_t i = 0; i < ARRAY_LEN(env_kept); i++) {
			if (strncmp(*var, env_kept[i], strlen(env_kept[i])) != 0)
				continue;
			job->env[n++] = *var;
			break;
		}
	}
	job->env[n] = NULL;
}

static int job_clone(struct job *job, int extra_flags, int *ret_pidfd, struct err *e)
{
	static _Alignas(16) char stack[STACK_BYTES]; /* one is enough: we sleep while it is used */
	const int flags = CLONE_VM | CLONE_VFORK | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
			  CLONE_PIDFD | SIGCHLD;
	sigset_t all, old;
	int pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = clone(child_run, stack + sizeof(stack), flags | extra_flags, job, ret_pidfd);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return ns_refused(e, errno, "cannot make a process with namespaces of its own");
	return pid;
}

static void child_wait(int pidfd)
{
	while (waitid(P_PIDFD, (id_t)pidfd, NULL, WEXITED) < 0 && errno == EINTR)
		;
}

static int job_start(struct job *job, const struct spawner *s, struct child *ret_child,
		     struct err *e)
{
	auto_fd report_in = -1;
	auto_fd report_out = -1;
	auto_fd pidfd = -1;
	int report[2];
	pid_t pid;

	if (pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_set(e, errno, "cannot make a pipe");
	report_in = report[0];
	report_out = report[1];
	if (moves_plan(job, s, report_out) < 0)
		return err_say(e, EINVAL, "fds cannot be numbered as asked");
	env_plan(job);
	pid = job_clone(job, s->clone_flags, &pidfd, e);
	if (pid < 0)
		return pid;
	*ret_child = (struct child){
		.name = job->args->name,
		.source = job->args->source,
		.pid = pid,
		.pidfd = fd_take(&pidfd),
		.report_fd = fd_take(&report_in),
	};
	return 0;
}

int spawn_start(struct spawner *s, const struct spawn_args *args, struct child *ret_child,
		struct err *e)
{
	struct job job = {.args = args, .is_root = s->is_root, .parent = s->self_fd};
	int r = job_start(&job, s, ret_child, e);

	return r < 0 ? err_in(e, "cannot start %s", args->name) : 0;
}

/* It did not get as far as exec, or says so. */
static void end_unstarted(struct spawn_end *end, const struct child *c)
{
	struct failure f;

	if (read(c->report_fd, &f, sizeof(f)) == (ssize_t)sizeof(f) && f.step >= 0 &&
	    f.step < STEPS)
		snprintf(end->text, sizeof(end->text), "%s: %s", step_failed[f.step],
			 strerror(f.error));
}

/* SIGSYS: the child has told why, or was killed before it could. */
static void end_filtered(struct spawn_end *end, const struct child *c)
{
	const char *call;
	int32_t number;

	if (read(c->report_fd, &number, sizeof(number)) != (ssize_t)sizeof(number))
		number = -1;
	if (number == SECCOMP_REPORT_ABORTED) {
		end->kind = SPAWN_SIGNALLED;
		end->code = SIGABRT;
		snprintf(end->text, sizeof(end->text), "aborted: a check of its own failed");
		return;
	}
	call = names_call(names_arch_native(), number);
	end->kind = SPAWN_FILTERED;
	end->code = call ? number : -1;
	snprintf(end->text, sizeof(end->text),
		 "killed by its seccomp filter: system call %s; "
		 "allow it in %.80s or with --seccomp-policy-dir DIR",
		 call ? call : "not known", c->source ? c->source : "its list");
}

static void end_describe(struct spawn_end *end, const struct child *c, const siginfo_t *info)
{
	const char *name = sigabbrev_np(info->si_status);

	end->code = info->si_status;
	if (info->si_code == CLD_EXITED) {
		end->kind = SPAWN_EXITED;
		snprintf(end->text, sizeof(end->text), "exited with code %d", info->si_status);
		if (info->si_status == EXIT_NOT_STARTED)
			end_unstarted(end, c);
	} else if (info->si_status == SIGSYS) {
		end_filtered(end, c);
	} else {
		end->kind = SPAWN_SIGNALLED;
		snprintf(end->text, sizeof(end->text), "killed by signal %d (%s)", info->si_status,
			 name ? name : "unnamed");
	}
}

static void child_close(struct child *c)
{
	fd_close(&c->pidfd);
	fd_close(&c->report_fd);
	c->pid = -1;
}

void spawn_dismiss(struct child *c, unsigned wait_ms)
{
	struct pollfd pfd = {.fd = c->pidfd, .events = POLLIN};

	if (c->pid > 0 && wait_ms > 0)
		poll(&pfd, 1, (int)wait_ms); /* interrupted: it has waited long enough */
	spawn_kill(c);
}

void spawn_wait(struct child *c)
{
	child_wait(c->pidfd);
	child_close(c);
}

int spawn_reap(struct child *c, struct spawn_end *ret_end)
{
	siginfo_t info;

	if (!has_ended(c->pidfd))
		return -EAGAIN;
	while (waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED) < 0) { /* a debugger goes first */
		if (errno != EINTR)
			return -errno;
	}
	end_describe(ret_end, c, &info);
	child_close(c);
	return 0;
}

void spawn_kill(struct child *c)
{
	if (c->pid <= 0)
		return;
	if (syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0) == 0)
		child_wait(c->pidfd);
	child_close(c);
}
