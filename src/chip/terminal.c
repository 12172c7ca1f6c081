/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * terminal.c - the user's terminal while a guest has it
 *
 *  I1  While taken.is_raw the terminal has settings of ours and taken.saved what it had before. The
 *      flag is set before the settings change and cleared after they are back, so that a signal in
 *      between restores once more rather than not at all.
 *  I2  Settings are changed only by a process in the foreground: in the background they belong to
 *      the shell, or to what it runs now.
 *
 * Stopped by SIGTSTP we give the terminal back first.  SIGCONT comes both for "fg" and for "bg": in
 * the foreground we take the terminal again, in the background we forget that we had it.
 */
#include "chip/terminal.h"

#include "base/fd.h"
#include "base/leftover.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

enum { HANDLER_STACK = 32768 /* for the handler of a stack that overflowed */ };

static struct {
	int fd; /* -1: nothing was ever taken */
	int continued_fd;
	volatile sig_atomic_t is_raw;
	struct termios saved, raw;
} taken = {.fd = -1, .continued_fd = -1};

/* Deadly signals whose default action would leave the terminal as it is. */
static const int deadly[] = {
	SIGSEGV, SIGBUS,  SIGILL,  SIGFPE,  SIGABRT, SIGSYS, SIGTRAP,
	SIGQUIT, SIGXCPU, SIGXFSZ, SIGTERM, SIGINT,  SIGHUP,
};

bool terminal_is_foreground(int fd)
{
	pid_t group = tcgetpgrp(fd);

	return group < 0 || group == getpgrp(); /* no job control: nobody to share it with */
}

static void raw_set(void)
{
	taken.is_raw = 1;
	tcsetattr(taken.fd, TCSANOW, &taken.raw);
}

void terminal_release(void)
{
	int saved_errno = errno;

	if (taken.is_raw && terminal_is_foreground(taken.fd))
		tcsetattr(taken.fd, TCSANOW, &taken.saved);
	taken.is_raw = 0;
	errno = saved_errno;
}

/* The action is the default again: the signal strikes when the handler returns. */
static void deadly_handler(int signal)
{
	terminal_release();
	leftovers_remove();
	raise(signal);
}

static void stop_handler(int signal)
{
	(void)signal;
	terminal_release();
	raise(SIGSTOP);
}

static void continue_handler(int signal)
{
	int saved_errno = errno;

	(void)signal;
	if (terminal_is_foreground(taken.fd))
		raw_set();
	else
		taken.is_raw = 0;
	fd_signal(taken.continued_fd);
	errno = saved_errno;
}

/* Handles the signal unless somebody else does, or it is ignored (as under nohup). */
static void handle(int signal, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags}, old;

	if (sigaction(signal, NULL, &old) < 0 || old.sa_handler != SIG_DFL)
		return;
	sigfillset(&action.sa_mask);
	sigaction(signal, &action, NULL);
}

static void handlers_install(void)
{
	static char stack[HANDLER_STACK];
	stack_t other = {.ss_sp = stack, .ss_size = sizeof(stack)}, old;

	if (sigaltstack(NULL, &old) == 0 && (old.ss_flags & SS_DISABLE))
		sigaltstack(&other, NULL);
	for (size_t i = 0; i < ARRAY_LEN(deadly); i++)
		handle(deadly[i], deadly_handler, SA_ONSTACK | (int)SA_RESETHAND);
	handle(SIGTSTP, stop_handler, SA_RESTART);
	handle(SIGCONT, continue_handler, SA_RESTART);
	signal(SIGTTIN, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	atexit(terminal_release);
}

/* Every byte as it is typed, at once; output as before, for the lines that we write ourselves. */
static void make_raw(struct termios *t)
{
	t->c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	t->c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	t->c_cc[VMIN] = 1;
	t->c_cc[VTIME] = 0;
}

int terminal_take(int fd, struct err *e)
{
	int r;

	if (taken.fd >= 0 || !isatty(fd))
		return 0;
	if (tcgetattr(fd, &taken.saved) < 0)
		return err_set(e, errno, "cannot read the terminal's settings");
	r = fd_eventfd();
	if (r < 0)
		return err_set(e, -r, "cannot create an eventfd");
	taken.continued_fd = r;
	taken.raw = taken.saved;
	make_raw(&taken.raw);
	taken.fd = fd;
	handlers_install();
	if (terminal_is_foreground(fd))
		raw_set();
	return 0;
}

int terminal_continued_fd(void)
{
	return taken.continued_fd;
}

const char terminal_help[] = "\r\n"
			     "Ctrl-A x  quit: the guest is not asked\r\n"
			     "Ctrl-A b  send a break (Linux: magic SysRq)\r\n"
			     "Ctrl-A h  this list\r\n"
			     "Ctrl-A Ctrl-A  send Ctrl-A\r\n";

static enum terminal_command command_of(char c)
{
	switch (c) {
	case 'x':
		return TERMINAL_QUIT;
	case 'h':
	case '?':
		return TERMINAL_HELP;
	case 'b':
		return TERMINAL_BREAK;
	default:
		return TERMINAL_NONE;
	}
}

enum terminal_command terminal_keys_scan(struct terminal_keys *k, const void *in, size_t n,
					 size_t *ret_used, void *out, size_t *ret_n)
{
	enum terminal_command command = TERMINAL_NONE;
	const char *typed = in;
	char *to = out;
	size_t used = 0;

	while (used < n && command == TERMINAL_NONE) {
		char c = typed[used++];

		if (!k->escaped && c == TERMINAL_ESCAPE) {
			k->escaped = true;
			continue;
		}
		if (k->escaped) {
			command = command_of(c);
			if (command == TERMINAL_NONE)
				*to++ = TERMINAL_ESCAPE;
		}
		if (command == TERMINAL_NONE && !(k->escaped && c == TERMINAL_ESCAPE))
			*to++ = c;
		k->escaped = false;
	}
	*ret_used = used;
	*ret_n = (size_t)(to - (char *)out);
	return command;
}
