/* SPDX-License-Identifier: BSD-3-Clause */
/* terminal_test.c - escape keys, and settings restored on every way out of a process */
#include "chip/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <utmp.h>

#include <cmocka.h>

enum { WAIT_S = 10 };

static void assert_scan(const char *in, enum terminal_command command, size_t used, const char *out)
{
	struct terminal_keys k = {0};
	char buf[64];
	size_t n, got;

	assert_int_equal(terminal_keys_scan(&k, in, strlen(in), &got, buf, &n), command);
	assert_int_equal(got, used);
	assert_int_equal(n, strlen(out));
	assert_memory_equal(buf, out, n);
}

static void keys_pass_and_commands_are_taken_out(void **state)
{
	(void)state;
	assert_scan("ls -l\r", TERMINAL_NONE, 6, "ls -l\r");
	assert_scan("a\x01xb", TERMINAL_QUIT, 3, "a");
	assert_scan("\x01h", TERMINAL_HELP, 2, "");
	assert_scan("\x01?", TERMINAL_HELP, 2, "");
	assert_scan("ab\x01"
		    "b",
		    TERMINAL_BREAK, 4, "ab");
	assert_scan("\x01\x01\x01\x01x", TERMINAL_NONE, 5, "\x01\x01x");
	assert_scan("\x01qx", TERMINAL_NONE, 3, "\x01qx");
	assert_scan("", TERMINAL_NONE, 0, "");
}

static void escape_may_be_split_between_reads(void **state)
{
	struct terminal_keys k = {0};
	char buf[4];
	size_t n, used;

	(void)state;
	assert_int_equal(terminal_keys_scan(&k, "\x01", 1, &used, buf, &n), TERMINAL_NONE);
	assert_int_equal(n, 0);
	assert_int_equal(terminal_keys_scan(&k, "zz", 2, &used, buf, &n), TERMINAL_NONE);
	assert_int_equal(n, 3);
	assert_memory_equal(buf, "\x01zz", 3);
	assert_int_equal(terminal_keys_scan(&k, "\x01", 1, &used, buf, &n), TERMINAL_NONE);
	assert_int_equal(terminal_keys_scan(&k, "x", 1, &used, buf, &n), TERMINAL_QUIT);
}

/* A child with a terminal of its own takes it and then goes the way that end() takes. */
struct child {
	pid_t pid;
	int master, slave; /* open here, too, or the settings would go with the child */
	struct termios before;
};

static void tell(char c)
{
	if (write(STDOUT_FILENO, &c, 1) != 1)
		_exit(9);
}

static void child_terminal(struct child *c)
{
	assert_int_equal(openpty(&c->master, &c->slave, NULL, NULL, NULL), 0);
	memset(&c->before, 0, sizeof(c->before));
	assert_int_equal(tcgetattr(c->slave, &c->before), 0);
	c->before.c_lflag &= ~(tcflag_t)ECHOK; /* something that is not the default */
	c->before.c_cc[VERASE] = 'E';
	assert_int_equal(tcsetattr(c->slave, TCSANOW, &c->before), 0);
}

/* The test library has handlers of its own. */
static void child_signals(void)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	for (int signal_number = 1; signal_number < 32; signal_number++)
		signal(signal_number, SIG_DFL);
}

static void child_start(struct child *c, void (*end)(void))
{
	struct err e;
	char ready;

	child_terminal(c);
	c->pid = fork();
	assert_true(c->pid >= 0);
	if (c->pid == 0) {
		child_signals();
		close(c->master);
		if (login_tty(c->slave) < 0 || terminal_take(STDIN_FILENO, &e) < 0)
			_exit(8);
		tell('R');
		end();
		_exit(7);
	}
	assert_int_equal(read(c->master, &ready, 1), 1);
	assert_int_equal(ready, 'R');
}

static void settings(struct child *c, struct termios *ret)
{
	assert_int_equal(tcgetattr(c->master, ret), 0);
}

static void assert_raw(struct child *c)
{
	struct termios t;

	settings(c, &t);
	assert_int_equal(t.c_lflag & (ICANON | ECHO | ISIG | IEXTEN), 0);
	assert_int_equal(t.c_iflag & (ICRNL | IXON), 0);
	assert_int_equal(t.c_oflag, c->before.c_oflag);
}

static void assert_restored(struct child *c)
{
	struct termios t = {0};

	settings(c, &t);
	assert_int_equal(t.c_iflag, c->before.c_iflag);
	assert_int_equal(t.c_oflag, c->before.c_oflag);
	assert_int_equal(t.c_cflag, c->before.c_cflag);
	assert_int_equal(t.c_lflag, c->before.c_lflag);
	assert_memory_equal(t.c_cc, c->before.c_cc, sizeof(t.c_cc));
}

static void child_close(struct child *c)
{
	close(c->master);
	close(c->slave);
}

static int wait_for(struct child *c)
{
	int status = 0;

	assert_int_equal(waitpid(c->pid, &status, WUNTRACED | WCONTINUED), c->pid);
	return status;
}

static void end_wait(void)
{
	char c;

	while (read(STDIN_FILENO, &c, 1) == 1)
		if (c == 'q')
			return;
}

static void end_release(void)
{
	end_wait();
	terminal_release();
	_exit(0);
}

static void end_exit(void)
{
	exit(0);
}

static void end_fault(void)
{
	volatile char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*page = 1;
}

static volatile unsigned depth = UINT_MAX;

__attribute__((noinline)) static unsigned overflow(unsigned n)
{
	volatile char frame[4096];

	frame[n % 4096] = (char)n;
	return depth < n ? 0 : overflow(n + 1) + (unsigned)frame[0];
}

static void end_overflow(void)
{
	overflow(1);
}

static void release_restores_exactly(void **state)
{
	struct child c;

	(void)state;
	child_start(&c, end_release);
	assert_raw(&c);
	assert_int_equal(write(c.master, "q", 1), 1);
	assert_int_equal(wait_for(&c), 0);
	assert_restored(&c);
	child_close(&c);
}

static void exit_restores(void **state)
{
	struct child c;

	(void)state;
	child_start(&c, end_exit);
	assert_int_equal(wait_for(&c), 0);
	assert_restored(&c);
	child_close(&c);
}

static void deadly_signals_restore_and_still_kill(void **state)
{
	static const int signals[] = {SIGSEGV, SIGABRT, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGSYS};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		struct child c;
		int status;

		child_start(&c, end_wait);
		assert_raw(&c);
		kill(c.pid, signals[i]);
		status = wait_for(&c);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), signals[i]);
		assert_restored(&c);
		child_close(&c);
	}
}

static void crash_restores(void **state)
{
	struct child c;
	int status;

	(void)state;
	child_start(&c, end_fault);
	status = wait_for(&c);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	assert_restored(&c);
	child_close(&c);
}

static void stack_overflow_restores(void **state)
{
	struct child c;
	int status;

	(void)state;
	child_start(&c, end_overflow);
	status = wait_for(&c);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	assert_restored(&c);
	child_close(&c);
}

static void await_raw(struct child *c, bool is_raw)
{
	time_t end = time(NULL) + WAIT_S;
	struct termios t;

	do {
		settings(c, &t);
		assert_true(time(NULL) <= end);
	} while (!(t.c_lflag & ICANON) != is_raw);
}

static void stopped_process_gives_the_terminal_back(void **state)
{
	struct child c;

	(void)state;
	child_start(&c, end_release);
	kill(c.pid, SIGTSTP);
	assert_true(WIFSTOPPED(wait_for(&c)));
	assert_restored(&c);
	kill(c.pid, SIGCONT);
	assert_true(WIFCONTINUED(wait_for(&c)));
	await_raw(&c, true);
	assert_int_equal(write(c.master, "q", 1), 1);
	assert_int_equal(wait_for(&c), 0);
	assert_restored(&c);
	child_close(&c);
}

/* As a shell starts a job: a session with a terminal, and a process group in its background. */
static void leader(int slave)
{
	sigset_t usr1;
	pid_t job;
	int status;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	child_signals();
	signal(SIGTTOU, SIG_IGN);
	if (login_tty(slave) < 0)
		_exit(10);
	job = fork();
	if (job == 0) {
		struct termios t;
		struct err e;

		setpgid(0, 0);
		if (terminal_take(STDIN_FILENO, &e) < 0 || terminal_is_foreground(STDIN_FILENO))
			_exit(1);
		if (tcgetattr(STDIN_FILENO, &t) < 0 || !(t.c_lflag & ICANON))
			_exit(2);
		kill(getppid(), SIGUSR1);
		for (;;)
			pause();
	}
	sigwait(&usr1, &status);
	tcsetpgrp(STDIN_FILENO, job);
	kill(job, SIGCONT);
	waitpid(job, &status, 0);
	_exit(WIFSIGNALED(status) ? 0 : 20 + WEXITSTATUS(status));
}

static void background_process_takes_the_terminal_when_it_comes_forward(void **state)
{
	struct child c;

	(void)state;
	child_terminal(&c);
	c.pid = fork();
	if (c.pid == 0)
		leader(c.slave);
	await_raw(&c, true);
	assert_raw(&c);
	assert_int_equal(kill(-tcgetpgrp(c.master), SIGTERM), 0);
	assert_int_equal(wait_for(&c), 0);
	assert_restored(&c);
	child_close(&c);
}

static void what_is_no_terminal_is_left_alone(void **state)
{
	struct err e;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(terminal_take(fd, &e), 0);
	assert_int_equal(terminal_continued_fd(), -1);
	terminal_release();
	close(fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_pass_and_commands_are_taken_out),
		cmocka_unit_test(escape_may_be_split_between_reads),
		cmocka_unit_test(what_is_no_terminal_is_left_alone),
		cmocka_unit_test(release_restores_exactly),
		cmocka_unit_test(exit_restores),
		cmocka_unit_test(deadly_signals_restore_and_still_kill),
		cmocka_unit_test(crash_restores),
		cmocka_unit_test(stack_overflow_restores),
		cmocka_unit_test(stopped_process_gives_the_terminal_back),
		cmocka_unit_test(background_process_takes_the_terminal_when_it_comes_forward),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
