/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serial_port.h - where a serial port of the guest ends on the host
 *
 *	stdio  standard input and output; Ctrl-A x quits, see chip/terminal.h
 *	file   output to a file: emptied first, unless append; no input
 *	unix   listens on a socket; one client at a time, the next when it has gone
 *	pty    a pseudoterminal; its name is logged, and path becomes a symbolic link to it
 *	sink   output is thrown away, there is no input
 *
 * Opened before the jail, run by the main loop, flushed before the end.  While nobody is connected
 * to a unix or pty port its output is thrown away.  A receiver that is connected and does not read
 * holds the guest's transmitter up (it polls, or waits for an interrupt), never a vCPU thread.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/opt.h"
#include "chip/terminal.h"
#include "chip/uart8250.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum serial_type { SERIAL_STDIO, SERIAL_FILE, SERIAL_UNIX, SERIAL_PTY, SERIAL_SINK };

/* One --serial option. */
struct serial_config {
	int type; /* enum serial_type */
	char *path;
	uint32_t com; /* 1 to 4 */
	bool append;
	uint64_t limit; /* bytes after which a file gets no more; 0: none */
};

extern const struct opt serial_config_opts[];
extern const struct serial_config serial_config_default; /* stdio on COM1 */

enum { SERIAL_CHUNK = 4096 };

struct serial_port {
	struct serial_config config; /* a copy; path borrowed */
	struct uart8250 *uart;
	struct loop *loop;
	char pty_name[64]; /* of a pty, after opening */
	void (*quit)(void *context); /* the user typed the escape sequence to quit */
	void *quit_context;

	/* Main thread. */
	int in_fd, out_fd; /* out_fd may be the same as in_fd */
	int listen_fd, inotify_fd;
	struct watch in_watch, out_watch, listen_watch, inotify_watch, continued_watch;
	struct timer timer; /* output is due, or input is wanted */
	bool in_watched, out_watched, in_always_ready;
	bool in_ended, out_failed, unlink_at_end;
	size_t out_at_once; /* how much a write may be given without blocking */
	uint64_t written;
	struct terminal_keys keys;
	size_t in_count, in_at, out_count, out_at;
	uint8_t in[SERIAL_CHUNK + 1], out[SERIAL_CHUNK];

	/* Main thread and vCPU threads. */
	_Atomic uint64_t flushed_ns; /* when output was last handed on */
};

/*
 * Opens what the configuration names.  The errors name it.  config is checked: file and unix need a
 * path, sink and stdio take none.
 */
int serial_port_open(struct serial_port *p, const struct serial_config *config, struct err *e) MUST_CHECK;

/* Connects the port to its chip (notify must be serial_port_notify) and the loop. */
int serial_port_start(struct serial_port *p, struct uart8250 *uart, struct loop *loop,
		      struct err *e) MUST_CHECK;

/* Hands on what the guest has sent, for at most timeout_ms; no vCPU runs any more. */
void serial_port_flush(struct serial_port *p, unsigned timeout_ms);

/* Closes everything, removes socket and link. */
void serial_port_fini(struct serial_port *p);
