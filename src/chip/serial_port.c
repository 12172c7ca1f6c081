/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serial_port.c - where a serial port of the guest ends on the host
 *
 * A vCPU thread that sends the first byte of a batch sets the port's timer; the main loop then
 * hands on all there is with one write.  The timer is set for FLUSH_NS after the last time, so a
 * byte that comes alone (an echoed key) is out at once and a stream (a boot log) costs at most a
 * hundred writes a second.
 *
 *  I1  Output goes chip -> out[] -> descriptor in order; out[] is refilled only when it is empty.
 *      When the descriptor takes no more we wait for it to be writable, and the chip's buffer fills
 *      up: the guest finds the transmitter busy.
 *  I2  Input goes descriptor -> in[] -> chip.  It is not read again before in[] is empty; when the
 *      chip refuses some, the descriptor is not watched until UART_ROOM.
 *  I3  While nobody is connected, output is thrown away, so that a guest does not wait for people.
 */
#include "chip/serial_port.h"

#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum {
	FLUSH_NS = 10000000,
	AT_ONCE_NS = 1,
	WRITES_AT_ONCE = 16, /* then other watches get their turn */
};

static bool reconnects(const struct serial_port *p)
{
	return p->end.listen_fd >= 0 || p->end.pty_fd >= 0;
}

/* ---- events of the chip, from vCPU threads ---- */

static void chip_event(void *context, enum uart_event event)
{
	struct serial_port *p = context;
	uint64_t now, due, delay = AT_ONCE_NS;

	if (event == UART_OUTPUT) {
		now = clock_ns();
		due = atomic_load_explicit(&p->flushed_ns, memory_order_relaxed) + FLUSH_NS;
		if (due > now)
			delay = due - now;
	}
	timer_set(&p->timer, delay, 0);
}

/* ---- watching ---- */

static void in_watch_set(struct serial_port *p, bool on)
{
	if (on == p->in_watched)
		return;
	if (on && loop_add(p->loop, &p->in_watch, EPOLLIN) < 0)
		return;
	if (!on)
		loop_remove(p->loop, &p->in_watch);
	p->in_watched = on;
}

static void out_watch_set(struct serial_port *p, bool on)
{
	if (on == p->out_watched)
		return;
	if (on && loop_add(p->loop, &p->out_watch, EPOLLOUT) < 0)
		return;
	if (!on)
		loop_remove(p->loop, &p->out_watch);
	p->out_watched = on;
}

static void disconnect(struct serial_port *p)
{
	in_watch_set(p, false);
	out_watch_set(p, false);
	serial_end_disconnect(&p->end);
	p->in_at = p->in_count = 0;
	if (p->end.listen_fd >= 0 && loop_add(p->loop, &p->listen_watch, EPOLLIN) < 0)
		log_warn("COM%u: cannot listen for the next client", p->com);
}

/* ---- output ---- */

static void out_failed(struct serial_port *p, int errnum)
{
	if (reconnects(p)) {
		disconnect(p);
		return;
	}
	log_warn("COM%u: output is lost from now on: %s", p->com, strerror(errnum));
	out_watch_set(p, false);
	close(p->end.out_fd);
	p->end.out_fd = -1;
}

/* How many of n bytes the limit lets through. */
static size_t within_limit(const struct serial_port *p, size_t n)
{
	uint64_t limit = p->end.config.limit, left = limit - p->written;

	return limit && n > left ? (size_t)left : n;
}

/* Writes from out[]; false when that has to wait. */
static bool out_write(struct serial_port *p)
{
	size_t n = within_limit(p, p->out_count - p->out_at);
	ssize_t r;

	if (p->end.out_fd < 0) {
		p->out_at = p->out_count;
		return true;
	}
	if (n == 0) {
		out_failed(p, EFBIG);
		return true;
	}
	r = serial_end_write(&p->end, p->out + p->out_at, n);
	if (r == -EAGAIN) {
		out_watch_set(p, true);
		return false;
	}
	if (r < 0) {
		out_failed(p, (int)-r);
		return true;
	}
	p->out_at += (size_t)r;
	p->written += (size_t)r;
	return true;
}

/* Hands on output; true when there is none left. */
static bool out_pump(struct serial_port *p)
{
	atomic_store_explicit(&p->flushed_ns, clock_ns(), memory_order_relaxed);
	for (unsigned i = 0; i < WRITES_AT_ONCE; i++) {
		if (p->out_at == p->out_count) {
			p->out_at = 0;
			p->out_count = uart8250_take(p->uart, p->out, sizeof(p->out));
		}
		if (p->out_count == 0) {
			out_watch_set(p, false);
			return true;
		}
		if (!out_write(p))
			return false;
	}
	timer_set(&p->timer, AT_ONCE_NS, 0);
	return false;
}

static void out_ready(struct watch *w, uint32_t events)
{
	struct serial_port *p = container_of(w, struct serial_port, out_watch);

	(void)events;
	out_pump(p);
}

/* ---- input ---- */

static void command_do(struct serial_port *p, enum terminal_command command)
{
	switch (command) {
	case TERMINAL_NONE:
		break;
	case TERMINAL_QUIT:
		if (p->quit)
			p->quit(p->quit_context);
		break;
	case TERMINAL_HELP:
		if (write(STDERR_FILENO, terminal_help, strlen(terminal_help)) < 0)
			break; /* nobody to read it */
		break;
	case TERMINAL_BREAK:
		uart8250_break(p->uart);
		break;
	}
}

/* Puts what was typed in in[], without commands, and does those. */
static void typed(struct serial_port *p, const uint8_t *keys, size_t n)
{
	p->in_at = p->in_count = 0;
	while (n > 0) {
		size_t used, passed;
		enum terminal_command command =
			terminal_keys_scan(&p->keys, keys, n, &used, p->in + p->in_count, &passed);

		p->in_count += passed;
		keys += used;
		n -= used;
		command_do(p, command);
	}
}

/* A client that has shut down its sending side may still listen. */
static void in_ended(struct serial_port *p, bool hung_up)
{
	if (reconnects(p) && (hung_up || p->end.pty_fd >= 0)) {
		disconnect(p);
		return;
	}
	if (reconnects(p)) {
		if (loop_change(p->loop, &p->in_watch, 0) < 0)
			disconnect(p);
		return;
	}
	in_watch_set(p, false);
	close(p->end.in_fd);
	p->end.in_fd = -1;
}

/* Fills in[] with one read; false when nothing came. */
static bool in_read(struct serial_port *p, bool hung_up)
{
	uint8_t keys[SERIAL_CHUNK];
	ssize_t r = serial_end_read(&p->end, keys, sizeof(keys));

	if (r == -EAGAIN)
		return false;
	if (r <= 0) {
		in_ended(p, hung_up || r < 0);
		return false;
	}
	if (p->end.in_is_terminal) {
		typed(p, keys, (size_t)r);
		return true;
	}
	memcpy(p->in, keys, (size_t)r);
	p->in_at = 0;
	p->in_count = (size_t)r;
	return true;
}

static void in_pump(struct serial_port *p)
{
	do {
		if (p->in_at < p->in_count)
			p->in_at +=
				uart8250_give(p->uart, p->in + p->in_at, p->in_count - p->in_at);
		if (p->in_at < p->in_count) {
			in_watch_set(p, false);
			return;
		}
	} while (p->in_always_ready && p->end.in_fd >= 0 && in_read(p, false));
	if (p->end.in_fd >= 0 && !p->in_always_ready)
		in_watch_set(p, true);
}

static void in_ready(struct watch *w, uint32_t events)
{
	struct serial_port *p = container_of(w, struct serial_port, in_watch);

	/* Now it is the shell's; we are told when it is ours again. */
	if (p->end.in_is_terminal && !terminal_is_foreground(p->end.in_fd)) {
		in_watch_set(p, false);
		return;
	}
	if (in_read(p, events & EPOLLHUP))
		in_pump(p);
}

static void timer_expired(struct timer *t)
{
	struct serial_port *p = container_of(t, struct serial_port, timer);

	out_pump(p);
	in_pump(p);
}

/* ---- coming and going ---- */

static void continued(struct watch *w, uint32_t events)
{
	struct serial_port *p = container_of(w, struct serial_port, continued_watch);

	(void)events;
	fd_drain(w->fd);
	in_pump(p);
}

static void connected(struct serial_port *p)
{
	int r;

	if (p->end.in_fd >= 0)
		return;
	r = serial_end_connect(&p->end);
	if (r == -EAGAIN)
		return;
	if (r < 0) {
		log_warn("COM%u: cannot connect: %s", p->com, strerror(-r));
		return;
	}
	p->in_watch.fd = p->end.in_fd;
	p->out_watch.fd = p->end.out_fd;
	in_watch_set(p, true);
}

static void client_came(struct watch *w, uint32_t events)
{
	struct serial_port *p = container_of(w, struct serial_port, listen_watch);

	(void)events;
	connected(p);
	if (p->end.in_fd >= 0)
		loop_remove(p->loop, &p->listen_watch);
}

static void slave_opened(struct watch *w, uint32_t events)
{
	struct serial_port *p = container_of(w, struct serial_port, opened_watch);
	char opened[1024];

	(void)events;
	if (p->end.in_fd < 0)
		connected(p);
	else if (read(w->fd, opened, sizeof(opened)) < 0)
		return; /* a second one opened it: nothing changes */
}

/* ---- set-up ---- */

static int in_start(struct serial_port *p, struct err *e)
{
	int r;

	if (p->end.in_is_terminal) {
		r = terminal_take(STDIN_FILENO, e);
		if (r < 0)
			return r;
		p->continued_watch = (struct watch){terminal_continued_fd(), continued};
		if (p->continued_watch.fd >= 0 &&
		    loop_add(p->loop, &p->continued_watch, EPOLLIN) < 0)
			return err_set(e, ENOMEM, "cannot watch the terminal");
	}
	r = loop_add(p->loop, &p->in_watch, EPOLLIN);
	p->in_watched = r == 0;
	p->in_always_ready = r == -EPERM;
	if (p->in_always_ready)
		timer_set(&p->timer, AT_ONCE_NS, 0);
	else if (r < 0)
		return err_set(e, -r, "cannot watch standard input");
	return 0;
}

static int connections_start(struct serial_port *p, struct err *e)
{
	int r = 0;

	p->listen_watch = (struct watch){p->end.listen_fd, client_came};
	p->opened_watch = (struct watch){p->end.opened_fd, slave_opened};
	if (p->end.listen_fd >= 0)
		r = loop_add(p->loop, &p->listen_watch, EPOLLIN);
	if (r == 0 && p->end.opened_fd >= 0)
		r = loop_add(p->loop, &p->opened_watch, EPOLLIN);
	return r < 0 ? err_set(e, -r, "cannot watch for connections") : 0;
}

int serial_port_open(struct serial_port *p, const struct serial_config *config, struct err *e)
{
	int r;

	memset(p, 0, offsetof(struct serial_port, in));
	p->com = config->com;
	p->timer.watch.fd = -1;
	r = serial_end_open(&p->end, config, e);
	return r < 0 ? err_in(e, "COM%u", p->com) : 0;
}

int serial_port_start(struct serial_port *p, struct uart8250 *uart, struct loop *loop,
		      struct err *e)
{
	int r;

	p->uart = uart;
	p->loop = loop;
	p->in_watch = (struct watch){p->end.in_fd, in_ready};
	p->out_watch = (struct watch){p->end.out_fd, out_ready};
	if (p->end.config.type == SERIAL_SINK)
		return 0;
	r = timer_init(&p->timer, loop, timer_expired);
	if (r < 0)
		err_set(e, -r, "cannot create a timer");
	if (r == 0)
		r = connections_start(p, e);
	if (r == 0 && p->end.in_fd >= 0)
		r = in_start(p, e);
	if (r < 0)
		return err_in(e, "COM%u", p->com);
	uart8250_connect(uart, chip_event, p);
	return 0;
}

void serial_port_flush(struct serial_port *p, unsigned timeout_ms)
{
	uint64_t end = clock_ns() + timeout_ms * 1000000ull, now;

	if (!p->uart || p->timer.watch.fd < 0)
		return;
	while (!out_pump(p)) {
		struct pollfd state = {.fd = p->end.out_fd, .events = POLLOUT};

		now = clock_ns();
		if (now >= end)
			return;
		poll(&state, 1, (int)((end - now) / 1000000 + 1));
	}
}

void serial_port_fini(struct serial_port *p)
{
	if (!p || p->com == 0)
		return; /* never opened */
	if (p->loop) {
		in_watch_set(p, false);
		out_watch_set(p, false);
		timer_fini(&p->timer, p->loop);
	}
	serial_end_close(&p->end);
}
