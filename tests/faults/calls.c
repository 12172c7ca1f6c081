/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * calls.c - runs a command, writes down every system call, makes one of them fail
 *
 *	calls [-l LOG] [-p PROCESS -c NUMBER -n N -e ERRNO] [-t SECONDS] COMMAND...
 *
 * A process (or thread) is named by its line of birth: "0" is the command, "0.2" the second that it
 * made.  Calls of the same number in a process are counted from 1, but for the dynamic loader's: so
 * the N-th is the same one in every run that went the same way.  A line of the log is one of
 *
 *	call PROCESS NUMBER N ARGUMENT ARGUMENT ARGUMENT	before the call
 *	fail PROCESS NUMBER N ARGUMENT ARGUMENT ARGUMENT	the call that was made to fail
 *	exec PROCESS NAME		a program that begins
 *	end PROCESS SIGNAL NAME		a process that was killed by a signal
 *	left PROCESS NAME		a process that was there a while after the command's end
 *
 * A call fails without being made: the kernel is asked in advance to emulate the next one
 * (PTRACE_SYSEMU), which it does before any filter is asked; one that was not meant is made again.
 * The exit status is the command's, 128 and the signal's number, 124 when the time is over, 125
 * when this program fails.
 */
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	TASKS_MAX = 256,
	CALLS_MAX = 512,
	NAME_MAX_BYTES = 64,
	EXIT_TIME = 124,
	EXIT_OURS = 125,
	AFTER_MS = 3000, /* what others may take to end after the command */
	EVENT_STOP = 128,
	TRAP_CALL = SIGTRAP | 0x80,
};

struct task {
	pid_t pid; /* 0: free */
	char name[NAME_MAX_BYTES]; /* "": its parent has not told of it yet */
	char program[16];
	unsigned children, calls[CALLS_MAX];
	bool waits;  /* stopped, until its parent tells */
	bool in_call, emulated;
	bool redone; /* the next call is one that was emulated in vain */
	uint64_t loader, loader_end;
};

static struct task tasks[TASKS_MAX];
static FILE *output;
static const char *fail_name = "";
static unsigned fail_call, fail_at;
static int fail_with;
static bool has_begun, has_failed;
static volatile sig_atomic_t is_over;

static void give_up(const char *what)
{
	fprintf(stderr, "calls: %s: %s\n", what, strerror(errno));
	exit(EXIT_OURS);
}

static struct task *task_of(pid_t pid)
{
	struct task *unused = NULL;

	for (size_t i = 0; i < TASKS_MAX; i++) {
		if (tasks[i].pid == pid)
			return &tasks[i];
		if (tasks[i].pid == 0 && !unused)
			unused = &tasks[i];
	}
	if (!unused) {
		errno = EAGAIN;
		give_up("too many processes");
	}
	*unused = (struct task){.pid = pid};
	return unused;
}

/* First word of a file in /proc of the task, as a name. */
static void program_read(struct task *t)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)t->pid);
	file = fopen(path, "re");
	if (!file)
		return;
	if (fgets(t->program, sizeof(t->program), file))
		t->program[strcspn(t->program, "\n")] = '\0';
	fclose(file);
}

/* Where the dynamic loader lies, of a program that begins. */
static void loader_find(struct task *t)
{
	char path[64], line[512];
	FILE *file;

	t->loader = t->loader_end = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)t->pid);
	file = fopen(path, "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		unsigned long from, to;

		if (!strstr(line, "/ld-") || sscanf(line, "%lx-%lx", &from, &to) != 2)
			continue;
		if (!t->loader)
			t->loader = from;
		t->loader_end = to;
	}
	fclose(file);
}

static bool may_fail_next(const struct task *t)
{
	return has_begun && !has_failed && fail_at > 0 && t->calls[fail_call] + 1 == fail_at &&
	       strcmp(t->name, fail_name) == 0;
}

static void go_on(struct task *t, int sig)
{
	bool emulate = !t->in_call && !t->redone && may_fail_next(t);

	t->emulated = emulate;
	/* ESRCH: killed meanwhile, which waitpid() tells */
	if (ptrace(emulate ? PTRACE_SYSEMU : PTRACE_SYSCALL, t->pid, 0, sig) < 0 && errno != ESRCH)
		give_up("ptrace");
}

static void result_set(const struct task *t, long result)
{
	struct user_regs_struct regs;
	struct iovec iov = {&regs, sizeof(regs)};

	if (ptrace(PTRACE_GETREGSET, t->pid, NT_PRSTATUS, &iov) < 0)
		return;
#ifdef __x86_64__
	regs.rax = (unsigned long)result;
#else
	regs.regs[0] = (unsigned long)result;
#endif
	(void)ptrace(PTRACE_SETREGSET, t->pid, NT_PRSTATUS, &iov);
}

/* The kernel cannot be told to emulate but every call: the loader's are made up for. */
static void call_redo(struct task *t)
{
	struct user_regs_struct regs;
	struct iovec iov = {&regs, sizeof(regs)};

	if (ptrace(PTRACE_GETREGSET, t->pid, NT_PRSTATUS, &iov) < 0)
		return;
#ifdef __x86_64__
	regs.rax = regs.orig_rax;
	regs.rip -= 2;
#else
	regs.pc -= 4;
#endif
	(void)ptrace(PTRACE_SETREGSET, t->pid, NT_PRSTATUS, &iov);
}

/* Whether it is of the program, and to be counted. */
static bool is_counted(const struct task *t, const struct __ptrace_syscall_info *info)
{
	return has_begun && info->entry.nr < CALLS_MAX &&
	       (info->instruction_pointer < t->loader ||
		info->instruction_pointer >= t->loader_end);
}

static void call_begins(struct task *t, const struct __ptrace_syscall_info *info)
{
	const uint64_t *args = info->entry.args;
	unsigned number = (unsigned)info->entry.nr;

	t->in_call = true;
	if (t->emulated && (!is_counted(t, info) || number != fail_call)) {
		t->redone = true;
		call_redo(t);
		return;
	}
	t->redone = false;
	if (!is_counted(t, info))
		return;
	t->calls[number]++;
	fprintf(output, "%s %s %u %u %llx %llx %llx\n", t->emulated ? "fail" : "call", t->name,
		number, t->calls[number], (unsigned long long)args[0], (unsigned long long)args[1],
		(unsigned long long)args[2]);
	if (!t->emulated)
		return;
	result_set(t, -fail_with);
	has_failed = true;
}

static void call_stop(struct task *t)
{
	struct __ptrace_syscall_info info = {.op = PTRACE_SYSCALL_INFO_NONE};
	long n = ptrace(PTRACE_GET_SYSCALL_INFO, t->pid, sizeof(info), &info);

	if (n > 0 && info.op == PTRACE_SYSCALL_INFO_ENTRY)
		call_begins(t, &info);
	else if (n > 0 && info.op == PTRACE_SYSCALL_INFO_EXIT)
		t->in_call = false;
	go_on(t, 0);
}

static void birth(struct task *parent)
{
	unsigned long pid = 0;
	struct task *t;

	if (ptrace(PTRACE_GETEVENTMSG, parent->pid, 0, &pid) < 0)
		return;
	t = task_of((pid_t)pid);
	parent->children++;
	snprintf(t->name, sizeof(t->name), "%.50s.%u", parent->name, parent->children);
	memcpy(t->program, parent->program, sizeof(t->program));
	t->loader = parent->loader;
	t->loader_end = parent->loader_end;
	if (t->waits)
		go_on(t, 0);
	t->waits = false;
}

static void stopped(struct task *t, int status)
{
	int event = status >> 16, sig = WSTOPSIG(status);

	if (event == 0 && sig == TRAP_CALL) {
		call_stop(t);
		return;
	}
	if (event == EVENT_STOP && t->name[0] == '\0') {
		t->waits = true;
		return;
	}
	if (event == EVENT_STOP && sig != SIGTRAP) { /* SIGSTOP and its like */
		(void)ptrace(PTRACE_LISTEN, t->pid, 0, 0);
		return;
	}
	if (event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_FORK ||
	    event == PTRACE_EVENT_VFORK) {
		birth(t);
	} else if (event == PTRACE_EVENT_EXEC) {
		loader_find(t);
		program_read(t);
		fprintf(output, "exec %s %s\n", t->name, t->program);
		has_begun = true;
	}
	go_on(t, event == 0 ? sig : 0);
}

static pid_t begin(char **argv)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
			     PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	int go[2];
	pid_t pid;
	char c = 0;

	if (pipe(go) < 0)
		give_up("pipe");
	pid = fork();
	if (pid < 0)
		give_up("fork");
	if (pid == 0) {
		close(go[1]);
		if (read(go[0], &c, 1) != 1)
			_exit(EXIT_OURS);
		close(go[0]);
		execv(argv[0], argv);
		_exit(EXIT_OURS);
	}
	close(go[0]);
	strcpy(task_of(pid)->name, "0");
	if (ptrace(PTRACE_SEIZE, pid, 0, options) < 0)
		give_up("cannot trace");
	if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0 || write(go[1], &c, 1) != 1)
		give_up("cannot begin");
	close(go[1]);
	return pid;
}

static void tell_left(void)
{
	for (size_t i = 0; i < TASKS_MAX; i++) {
		if (tasks[i].pid == 0)
			continue;
		program_read(&tasks[i]);
		fprintf(output, "left %s %s\n", tasks[i].name, tasks[i].program);
	}
}

static void time_over(int sig)
{
	(void)sig;
	is_over = true;
}

static void alarm_in(unsigned ms)
{
	const struct itimerspec when = {.it_interval = {.tv_nsec = 100000000},
					.it_value = {ms / 1000, (long)(ms % 1000) * 1000000}};
	static timer_t timer;
	static bool is_made;

	if (!is_made && timer_create(CLOCK_MONOTONIC, NULL, &timer) < 0)
		give_up("timer_create");
	is_made = true;
	timer_settime(timer, 0, &when, NULL);
}

static void ended(const struct task *t, int status)
{
	if (WIFSIGNALED(status))
		fprintf(output, "end %s %d %s\n", t->name, WTERMSIG(status), t->program);
}

/* Until all have ended; the exit status of the first. */
static int watch(pid_t first)
{
	int code = EXIT_TIME;

	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, __WALL);
		struct task *t;

		if (pid < 0 && errno == ECHILD)
			return code;
		if (is_over) {
			tell_left();
			return code; /* at our end they are killed */
		}
		if (pid < 0)
			continue;
		t = task_of(pid);
		if (WIFSTOPPED(status)) {
			stopped(t, status);
			continue;
		}
		ended(t, status);
		t->pid = 0;
		if (pid != first)
			continue;
		code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		alarm_in(AFTER_MS);
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = time_over};
	unsigned seconds = 20;
	int option;

	output = stderr;
	while ((option = getopt(argc, argv, "+l:p:c:n:e:t:")) != -1) {
		if (option == 'l')
			output = fopen(optarg, "we");
		else if (option == 'p')
			fail_name = optarg;
		else if (option == 'c')
			fail_call = (unsigned)atoi(optarg) % CALLS_MAX;
		else if (option == 'n')
			fail_at = (unsigned)atoi(optarg);
		else if (option == 'e')
			fail_with = atoi(optarg);
		else if (option == 't')
			seconds = (unsigned)atoi(optarg);
		else
			return EXIT_OURS;
	}
	if (!output || !argv[optind])
		return EXIT_OURS;
	sigaction(SIGALRM, &action, NULL);
	alarm_in(seconds * 1000);
	option = watch(begin(argv + optind));
	return fclose(output) == 0 ? option : EXIT_OURS;
}
