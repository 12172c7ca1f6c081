/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * terminal.h - the user's terminal while a guest has it
 *
 * Raw mode from terminal_take() until terminal_release(), which also runs at exit() and before a
 * deadly signal strikes.  There is one controlling terminal, so this is the one place with state of
 * the whole process: signal handlers cannot be given any.
 *
 * A serial port of type stdio takes the terminal when it starts.  What is left to vm/run.c: to
 * block SIGTERM, SIGINT and SIGHUP in all threads and read them by a signalfd on the loop, so that
 * they end the run the ordinary way; to ignore SIGPIPE; and to call terminal_release() once the
 * serial ports are flushed, so that what follows is printed to a terminal in order.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Saves the terminal's settings and makes it raw (but for output processing, so that our own
 * messages look right).  Installs handlers for crashes, SIGTSTP and SIGCONT; ignores SIGTTIN and
 * SIGTTOU.  A background process takes the terminal only when it is brought to the foreground.
 * 0 also when the fd is no terminal: then nothing is done.
 */
int terminal_take(int fd, struct err *e) MUST_CHECK;

/* Restores the settings exactly; harmless when nothing was taken.  Async-signal-safe. */
void terminal_release(void);

/* Whether reading the fd now would not be refused because we run in the background. */
bool terminal_is_foreground(int fd);

/*
 * An eventfd (borrowed) that is signalled when the process is continued; -1 if nothing was taken.
 */
int terminal_continued_fd(void);

/*
 * Escape sequences in what the user types: Ctrl-A, then
 *	x       quit
 *	h or ?  list these
 *	b       send a break (magic SysRq)
 *	Ctrl-A  send Ctrl-A
 * Anything else after Ctrl-A is sent as it is, with the Ctrl-A in front.
 */
enum { TERMINAL_ESCAPE = 0x01 };

enum terminal_command { TERMINAL_NONE, TERMINAL_QUIT, TERMINAL_HELP, TERMINAL_BREAK };

struct terminal_keys {
	bool escaped; /* the last byte was Ctrl-A */
};

/*
 * Goes through n typed bytes up to the first command; *ret_used says how many were looked at,
 * *ret_n how many bytes for the guest were put in out, which has room for n + 1.
 */
enum terminal_command terminal_keys_scan(struct terminal_keys *k, const void *in, size_t n,
					 size_t *ret_used, void *out, size_t *ret_n);

/* Text for TERMINAL_HELP, lines ending in CR LF. */
extern const char terminal_help[];
