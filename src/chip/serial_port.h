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
#include "chip/serial_end.h"
#include "chip/terminal.h"
#include "chip/uart8250.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { SERIAL_CHUNK = 4096 };

struct serial_port {
	unsigned com;          /* 1 to 4 */
	struct uart8250 *uart; /* NULL before the start */
	struct loop *loop;
	void (*quit)(void *context); /* the user typed the escape sequence; main thread; or NULL */
	void *quit_context;

	/* Main thread. */
	struct serial_end end;
	struct watch in_watch, out_watch, listen_watch, opened_watch, continued_watch;
	struct timer timer; /* output is due, or input is wanted */
	bool in_watched, out_watched;
	bool in_always_ready; /* a file, which epoll refuses */
	uint64_t written;
	struct terminal_keys keys;
	size_t in_count, in_at, out_count, out_at;

	/* Main thread and vCPU threads. */
	_Atomic uint64_t flushed_ns; /* when output was last handed on */

	/* Main thread; last: not touched before they are used. */
	uint8_t in[SERIAL_CHUNK + 1], out[SERIAL_CHUNK];
};

/* Opens what the configuration names, and checks it; config->path is borrowed until the end. */
int serial_port_open(struct serial_port *p, const struct serial_config *config, struct err *e)
	MUST_CHECK;

/*
 * Connects the port to its chip and the loop, and takes the terminal if that is what stdin is.
 * Before vCPUs run; set quit first.
 */
int serial_port_start(struct serial_port *p, struct uart8250 *uart, struct loop *loop,
		      struct err *e) MUST_CHECK;

/* Hands on what the guest has sent, for at most timeout_ms; no vCPU runs any more. */
void serial_port_flush(struct serial_port *p, unsigned timeout_ms);

/* Closes everything, removes socket and link. */
void serial_port_fini(struct serial_port *p);
