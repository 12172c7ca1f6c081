/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * console.c - consoles and named ports (virtio 1.2, 5.3)
 *
 * Port 0 has queues 0 (to the guest) and 1 (from it), the control queues are 2 and 3, port n > 0
 * has 2n + 2 and 2n + 3.  MULTIPORT is offered for one port, too: a driver without it does not say
 * when its console is open, and Linux throws away what it is sent before.
 *
 * What the guest must be told of a port is kept as a set of EVENT_ bits and sent,
 * lowest first, as control buffers come in: no message list that could grow.
 *
 *  I1  Input is read only into buffers that the guest has given: nothing is held here, nothing
 *	lost. Without a buffer the host's end is not watched.
 *  I2  A chain whose bytes the host's end does not take now is held in port.out until it does; the
 *	queue behind it waits, the loop does not.
 *  I3  At most BATCH_MAX chains of one queue are handled before others get their turn.
 *
 * After a restart of this process the guest does not introduce itself again.  So ports count as
 * open in the guest until DEVICE_READY says otherwise, and the state of the host's ends is told
 * at start.
 */
#include "backend/line.h"
#include "base/fd.h"
#include "base/leftover.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/num.h"
#include "base/wire.h"
#include "devices/device.h"
#include "virtio/ids.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_console.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
	PORTS_MAX = 8,
	QUEUES_MAX = 2 * (PORTS_MAX + 1),
	CONTROL_IN = 2, /* to the guest */
	CONTROL_OUT = 3,
	NAME_MAX_BYTES = 64,
	BATCH_MAX = 64,
};

/* In the order in which a guest wants to hear of them. */
enum {
	EVENT_ADD = 1 << 0,
	EVENT_CONSOLE = 1 << 1,
	EVENT_NAME = 1 << 2,
	EVENT_OPEN = 1 << 3,
	EVENT_SIZE = 1 << 4,
};

/* 5.3.6.2; a name or a size may follow */
struct control {
	le32 id;
	le16 event, value;
};

static_assert(sizeof(struct control) == 8, "as on the wire");

/* 5.3.6.2.  Linux before 6.15, and before the updates of 2025, takes the first for the rows. */
struct size {
	le16 columns, rows;
};

static_assert(sizeof(struct size) == 4, "as on the wire");

/* What may be said of a port; of port 0 directly, of others through ports=. */
struct port_options {
	int type; /* index of types */
	char *file, *socket, *name;
	int input, output;
	bool console;
	uint64_t limit;
};

enum type { TYPE_AUTO, TYPE_STDIO, TYPE_PTY, TYPE_SINK };

static const char *const types[] = {"auto", "stdio", "pty", "sink", NULL};

struct port {
	struct console *console;
	unsigned number;
	struct port_options options;
	struct line line;
	bool is_console, guest_is_open;
	unsigned events; /* EVENT_..., to be sent */
	struct vq *in_queue, *out_queue;
	bool has_in, has_out; /* a chain that is popped and not pushed */
	struct chain in, out;
};

struct console {
	struct device device;
	struct port_options first; /* options of port 0 */
	char *ports;
	struct port *port; /* nports of them */
	unsigned nports;
	unsigned nlisteners; /* taken of what is kept */
	uint16_t columns, rows;
	bool has_multiport; /* agreed */
	uint32_t busy;	    /* bit q: queue q has more than BATCH_MAX */
	struct watch again; /* an eventfd, for the busy ones */
	struct watch resize; /* a signalfd */
	struct chain control;
};

/* The rows of one port's options, at field f of struct s. */
#define PORT_OPTS(s, f) \
	{.name = "type", .kind = OPT_KIND_CHOICE, .offset = OPT_OFFSET(s, f.type, int), \
	 .choices = types, .first = true, .help = "Host's end; auto: what other keys say"}, \
	{.name = "file", .kind = OPT_KIND_TEXT, .offset = OPT_OFFSET(s, f.file, char *), \
	 .value = "FILE", .help = "Append output to a file"}, \
	{.name = "socket", .kind = OPT_KIND_TEXT, .offset = OPT_OFFSET(s, f.socket, char *), \
	 .value = "PATH", .help = "Listen on a UNIX socket, for one client at a time"}, \
	{.name = "name", .kind = OPT_KIND_TEXT, .offset = OPT_OFFSET(s, f.name, char *), \
	 .value = "NAME", .help = "A port of this name instead of a console"}, \
	{.name = "console", .kind = OPT_KIND_FLAG, .offset = OPT_OFFSET(s, f.console, bool), \
	 .help = "A console although it has a name"}, \
	{.name = "input", .kind = OPT_KIND_FD, .offset = OPT_OFFSET(s, f.input, int), \
	 .value = "FD", .help = "Descriptor to read, with stdio"}, \
	{.name = "output", .kind = OPT_KIND_FD, .offset = OPT_OFFSET(s, f.output, int), \
	 .value = "FD", .help = "Descriptor to write, with stdio"}, \
	{.name = "limit", .kind = OPT_KIND_SIZE, .offset = OPT_OFFSET(s, f.limit, uint64_t), \
	 .min = 1, .max = UINT64_MAX, .value = "SIZE", .help = "Largest size of the file"}

static const struct opt console_opts[] = {
	PORT_OPTS(struct console, first),
	OPT_TEXT(struct console, ports, "PORT;...", "More ports, each with the options above"),
	OPT_END,
};

static const struct opt port_opts[] = {
	PORT_OPTS(struct port, options),
	OPT_END,
};

static const struct call console_calls[] = {
	CALL(readv),
	CALL(writev),
	CALL(accept4),
	CALL_ARG(ioctl, 1, TIOCGWINSZ),
	CALL(poll), /* pipes that may block, and pseudoterminals: who holds the other end */
	CALL(ppoll),
	CALL(timerfd_settime),
	CALL_END,
};

static struct console *console_of(struct device *d)
{
	return container_of(d, struct console, device);
}

static unsigned in_index(unsigned port)
{
	return port == 0 ? 0 : 2 * port + 2;
}

/* ---- control messages ---- */

static uint16_t event_number(unsigned event)
{
	switch (event) {
	case EVENT_ADD:
		return VIRTIO_CONSOLE_PORT_ADD;
	case EVENT_CONSOLE:
		return VIRTIO_CONSOLE_CONSOLE_PORT;
	case EVENT_NAME:
		return VIRTIO_CONSOLE_PORT_NAME;
	case EVENT_OPEN:
		return VIRTIO_CONSOLE_PORT_OPEN;
	default:
		return VIRTIO_CONSOLE_RESIZE;
	}
}

/* Writes one message into the control chain; what does not fit the guest's buffer is left out. */
static void put_event(struct port *p, unsigned event)
{
	struct console *c = p->console;
	const char *name = p->options.name ? p->options.name : "";
	struct size size = {.rows = le16_of(c->rows), .columns = le16_of(c->columns)};
	struct control m = {
		.id = le32_of(p->number),
		.event = le16_of(event_number(event)),
		.value = le16_of(event != EVENT_OPEN || p->line.is_open),
	};
	bool fits = chain_put(&c->control, &m, sizeof(m));

	if (fits && event == EVENT_NAME)
		fits = chain_put(&c->control, name, strlen(name));
	if (fits && event == EVENT_SIZE)
		fits = chain_put(&c->control, &size, sizeof(size));
	(void)fits;
}

static void send_events(struct console *c)
{
	struct vq *q = &c->device.queues[CONTROL_IN];

	for (unsigned i = 0; i < c->nports; i++) {
		struct port *p = &c->port[i];

		while (p->events) {
			unsigned event = p->events & -p->events;

			if (!vq_pop(q, &c->control))
				goto out;
			p->events &= ~event;
			put_event(p, event);
			vq_push(q, &c->control);
		}
	}
out:
	vq_notify(q);
}

/* Tells the guest, if it is there to be told. */
static void tell(struct port *p, unsigned events)
{
	if (!p->console->device.started || !p->console->has_multiport)
		return;
	p->events |= events;
	send_events(p->console);
}

static void take_control(struct console *c, const struct control *m)
{
	uint32_t id = le32_get(m->id);
	uint16_t event = le16_get(m->event), value = le16_get(m->value);

	if (event == VIRTIO_CONSOLE_DEVICE_READY) {
		for (unsigned i = 0; i < c->nports; i++) {
			c->port[i].events = value == 1 ? EVENT_ADD : 0;
			c->port[i].guest_is_open = false;
		}
		return;
	}
	if (id >= c->nports)
		return;
	if (event == VIRTIO_CONSOLE_PORT_READY && value == 1)
		c->port[id].events |= (c->port[id].is_console ? EVENT_CONSOLE : 0) |
				      (c->port[id].options.name ? EVENT_NAME : 0) |
				      (c->port[id].line.is_open ? EVENT_OPEN : 0) |
				      (id == 0 && c->columns ? EVENT_SIZE : 0);
	else if (event == VIRTIO_CONSOLE_PORT_OPEN)
		c->port[id].guest_is_open = value;
}

/* ---- data ---- */

static void leave_for_later(struct console *c, unsigned queue)
{
	c->busy |= 1u << queue;
	fd_signal(c->again.fd);
}

static void want(struct port *p)
{
	line_want(&p->line, p->has_in && p->guest_is_open, p->has_out);
}

/* I1. Fills the guest's buffers with what there is. */
static void pump_in(struct port *p)
{
	unsigned batch = 0;

	for (; batch < BATCH_MAX && p->guest_is_open; batch++) {
		const struct iovec *v;
		unsigned n;
		ssize_t r;

		if (!p->has_in && !vq_pop(p->in_queue, &p->in))
			break;
		p->has_in = true;
		v = chain_iov(&p->in, CHAIN_WRITABLE, &n);
		r = n > 0 ? line_read(&p->line, v, n) : 0;
		if (r < 0 || (r == 0 && n > 0))
			break;
		if (!chain_skip(&p->in, CHAIN_WRITABLE, (size_t)r))
			vq_break(p->in_queue, "more was read than there was room for");
		vq_push(p->in_queue, &p->in);
		p->has_in = false;
	}
	vq_notify(p->in_queue);
	want(p);
	if (batch == BATCH_MAX)
		leave_for_later(p->console, p->in_queue->index);
}

/* Hands on what is left of the held chain; false while the host's end does not take it all. */
static bool write_out(struct port *p)
{
	while (chain_left(&p->out, CHAIN_READABLE) > 0) {
		unsigned n;
		const struct iovec *v = chain_iov(&p->out, CHAIN_READABLE, &n);
		ssize_t r = line_write(&p->line, v, n);

		if (r < 0)
			return false;
		if (!chain_skip(&p->out, CHAIN_READABLE, (size_t)r))
			break;
	}
	return true;
}

/* I2. */
static void pump_out(struct port *p)
{
	unsigned batch = 0;

	for (; batch < BATCH_MAX; batch++) {
		if (!p->has_out && !vq_pop(p->out_queue, &p->out))
			break;
		p->has_out = true;
		if (!write_out(p))
			break;
		vq_push(p->out_queue, &p->out);
		p->has_out = false;
	}
	vq_notify(p->out_queue);
	want(p);
	if (batch == BATCH_MAX)
		leave_for_later(p->console, p->out_queue->index);
}

static void pump_control(struct console *c)
{
	struct vq *q = &c->device.queues[CONTROL_OUT];
	unsigned batch = 0;

	for (; batch < BATCH_MAX && vq_pop(q, &c->control); batch++) {
		struct control m;

		if (chain_get(&c->control, &m, sizeof(m)))
			take_control(c, &m);
		vq_push(q, &c->control);
	}
	vq_notify(q);
	send_events(c);
	for (unsigned i = 0; i < c->nports; i++)
		pump_in(&c->port[i]); /* some may be open now */
	if (batch == BATCH_MAX)
		leave_for_later(c, CONTROL_OUT);
}

static void console_kick(struct device *d, unsigned q)
{
	struct console *c = console_of(d);
	unsigned port = q < 2 ? 0 : q / 2 - 1;

	if (c->has_multiport && q == CONTROL_IN)
		send_events(c);
	else if (c->has_multiport && q == CONTROL_OUT)
		pump_control(c);
	else if (port >= c->nports || (q >= 2 && !c->has_multiport))
		return; /* a queue of no port */
	else if (q % 2 == 0)
		pump_in(&c->port[port]);
	else
		pump_out(&c->port[port]);
}

static void again_ready(struct watch *w, uint32_t events)
{
	struct console *c = container_of(w, struct console, again);
	uint32_t busy = c->busy;

	(void)events;
	fd_drain(w->fd);
	c->busy = 0;
	for (; busy && c->device.started; busy &= busy - 1)
		console_kick(&c->device, (unsigned)__builtin_ctz(busy));
}

/* ---- the host's end ---- */

static struct port *port_of(struct line *l)
{
	return container_of(l, struct port, line);
}

static void port_readable(struct line *l)
{
	if (port_of(l)->console->device.started)
		pump_in(port_of(l));
}

static void port_writable(struct line *l)
{
	if (port_of(l)->console->device.started)
		pump_out(port_of(l));
}

static void port_changed(struct line *l)
{
	tell(port_of(l), EVENT_OPEN);
}

/* The terminal is that of port 0; columns 0 while it has none. */
static void update_size(struct console *c)
{
	uint16_t columns, rows;

	if (!line_size(&c->port[0].line, &columns, &rows) ||
	    (columns == c->columns && rows == c->rows))
		return;
	c->columns = columns;
	c->rows = rows;
	if (!c->device.started)
		return;
	tell(&c->port[0], EVENT_SIZE);
	device_config_changed(&c->device);
}

static void resize_ready(struct watch *w, uint32_t events)
{
	struct console *c = container_of(w, struct console, resize);
	struct signalfd_siginfo info;

	(void)events;
	if (read(w->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		update_size(c);
}

/* ---- life ---- */

static int console_start(struct device *d, struct err *e)
{
	struct console *c = console_of(d);

	(void)e;
	c->has_multiport = d->acked & VIRTIO_BIT(VIRTIO_CONSOLE_F_MULTIPORT);
	c->busy = 0;
	for (unsigned i = 0; i < c->nports; i++) {
		struct port *p = &c->port[i];

		p->in_queue = &d->queues[in_index(i)];
		p->out_queue = &d->queues[in_index(i) + 1];
		p->has_in = p->has_out = false;
		p->guest_is_open = true;
		p->events = c->has_multiport && !p->is_console ? EVENT_OPEN : 0;
	}
	update_size(c);
	return 0;
}

/* A held output chain is done in part: pushed, so that what it said is not said again. */
static void console_stop(struct device *d)
{
	struct console *c = console_of(d);

	for (unsigned i = 0; i < c->nports; i++) {
		struct port *p = &c->port[i];

		if (p->has_out)
			vq_push(p->out_queue, &p->out);
		if (p->has_in)
			vq_push(p->in_queue, &p->in);
		p->has_in = p->has_out = false;
		want(p);
	}
}

static void port_defaults(struct port_options *o)
{
	*o = (struct port_options){.input = -1, .output = -1, .limit = 64ull << 20};
}

static void console_defaults(struct device *d)
{
	port_defaults(&console_of(d)->first);
}

static int check_port(void *context UNUSED, const struct port_options *o, struct err *e)
{
	int named = (o->file != NULL) + (o->socket != NULL) + (o->type != TYPE_AUTO);

	if (named != 1)
		return err_say(e, EINVAL, "%s of stdio, pty, sink, file=FILE and socket=PATH%s",
			       named > 1 ? "only one" : "one", named > 1 ? "" : " is needed");
	if (o->name && strlen(o->name) > NAME_MAX_BYTES)
		return err_say(e, EINVAL, "name: \"%.100s\": more than %d bytes", o->name,
			       NAME_MAX_BYTES);
	return 0;
}

static void port_line_options(const struct port_options *o, struct line_options *ret)
{
	*ret = (struct line_options){
		.input = o->input, .output = o->output, .file_bytes = o->limit};
	ret->path = o->file;
	ret->kind = o->file   ? LINE_FILE
		    : o->socket ? LINE_SOCKET
		    : o->type == TYPE_STDIO ? LINE_FDS
		    : o->type == TYPE_PTY   ? LINE_PTY
					    : LINE_SINK;
	if (ret->kind == LINE_FDS && o->output < 0) {
		ret->input = STDIN_FILENO;
		ret->output = STDOUT_FILENO;
	}
}

typedef int (*port_visit)(void *context, const struct port_options *o, struct err *e);

static int visit_text(const char *text, unsigned number, port_visit visit, void *context,
		      struct err *e)
{
	struct port *p auto_free = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_set(e, ENOMEM, "cannot read the options");
	if (number >= PORTS_MAX)
		return err_say(e, E2BIG, "more than %d ports", PORTS_MAX);
	port_defaults(&p->options);
	r = opt_parse(port_opts, p, text, e);
	if (r == 0)
		r = visit(context, &p->options, e);
	opt_fini(port_opts, p);
	return r < 0 ? err_in(e, "port %u", number) : 0;
}

/* Calls visit for the options of each port, in their order, until it fails. */
static int visit_ports(const struct console *c, port_visit visit, void *context, struct err *e)
{
	auto_free char *copy = c->ports ? strdup(c->ports) : NULL;
	char *rest = copy, *text;
	int r = visit(context, &c->first, e);

	for (unsigned n = 1; r == 0 && rest && (text = strsep(&rest, ";")); n++)
		r = visit_text(text, n, visit, context, e);
	return r;
}

static int console_check(const struct device *d, struct err *e)
{
	return visit_ports(container_of(d, const struct console, device), check_port, NULL, e);
}

static int keep_port(void *context, const struct port_options *o, struct err *e)
{
	struct device *d = context;
	auto_fd fd = -1;
	int r;

	if (!o->socket)
		return 0;
	fd = listen_at(o->socket, 1, 0777, e);
	r = fd < 0 ? fd : leftover_add(o->socket, e);
	if (r == 0)
		device_kept_add_take(&d->kept, fd_take(&fd));
	return r;
}

/* Programs that connect while one process is gone are served by the next. */
static int console_keep(struct device *d, struct err *e)
{
	static_assert(PORTS_MAX + 2 <= DEVICE_KEPT_MAX, "standard in- and output come on top");
	return visit_ports(console_of(d), keep_port, d, e);
}

static void announce(const struct port *p)
{
	if (p->line.pty_path[0])
		log_info("port %u is %s", p->number, p->line.pty_path);
}

static int port_open(struct port *p, struct err *e)
{
	struct line_options o;
	int r;

	p->is_console = !p->options.name || p->options.console;
	p->line.readable = port_readable;
	p->line.writable = port_writable;
	p->line.changed = port_changed;
	port_line_options(&p->options, &o);
	if (o.kind == LINE_SOCKET)
		o.listener = fd_take(&p->console->device.kept.fd[p->console->nlisteners++]);
	r = line_open(&p->line, p->console->device.loop, &o, e);
	if (r == 0)
		announce(p);
	return r;
}

static int add_port(struct console *c, const char *text, struct err *e)
{
	struct port *p = &c->port[c->nports];
	int r = 0;

	p->console = c;
	p->number = c->nports++;
	port_defaults(&p->options);
	if (text)
		r = opt_parse(port_opts, p, text, e);
	else
		p->options = c->first;
	if (r == 0)
		r = port_open(p, e);
	return r < 0 ? err_in(e, "port %u", p->number) : 0;
}

/* Two for each port and two for all. */
static unsigned console_queues(const struct device *d)
{
	const struct console *c = container_of(d, const struct console, device);
	unsigned ports = c->ports ? 2 : 1;

	for (const char *at = c->ports; at && ports < PORTS_MAX && (at = strchr(at, ';')); at++)
		ports++;
	return 2 * (ports + 1);
}

static int add_ports(struct console *c, struct err *e)
{
	auto_free char *copy = c->ports ? strdup(c->ports) : NULL;
	char *rest = copy, *text;
	int r = add_port(c, NULL, e);

	while (r == 0 && rest && (text = strsep(&rest, ";")))
		r = add_port(c, text, e);
	return r;
}

static int console_open(struct device *d, struct err *e)
{
	struct console *c = console_of(d);
	int r;

	c->again.fd = c->resize.fd = -1;
	c->port = calloc(PORTS_MAX, sizeof(*c->port));
	if (!c->port)
		return err_set(e, ENOMEM, "cannot make ports");
	r = add_ports(c, e);
	if (r < 0)
		return r;
	c->again = (struct watch){.fd = fd_eventfd(), .ready = again_ready};
	if (c->again.fd < 0)
		return err_set(e, -c->again.fd, "cannot make an eventfd");
	r = loop_add(d->loop, &c->again, EPOLLIN);
	if (r < 0)
		return err_set(e, -r, "cannot watch an eventfd");
	update_size(c);
	if (c->columns == 0)
		d->features &= ~VIRTIO_BIT(VIRTIO_CONSOLE_F_SIZE);
	return 0;
}

/* Signals belong to threads: here is the one that serves. */
static int console_prepare(struct device *d, struct err *e)
{
	struct console *c = console_of(d);
	sigset_t set;
	int r;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE); /* a closed line is told by EPIPE */
	if (c->columns)
		sigaddset(&set, SIGWINCH);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (!c->columns)
		return 0;
	sigdelset(&set, SIGPIPE);
	c->resize = (struct watch){.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
				   .ready = resize_ready};
	if (c->resize.fd < 0)
		return err_set(e, errno, "cannot watch for changes of the terminal's size");
	r = loop_add(d->loop, &c->resize, EPOLLIN);
	return r < 0 ? err_set(e, -r, "cannot watch for changes of the terminal's size") : 0;
}

static void console_close(struct device *d)
{
	struct console *c = console_of(d);

	for (unsigned i = 0; i < c->nports; i++) {
		line_close(&c->port[i].line);
		if (i > 0)
			opt_fini(port_opts, &c->port[i]);
	}
	for (unsigned i = 0; i < 2; i++) {
		struct watch *w = i == 0 ? &c->again : &c->resize;

		if (w->fd >= 0)
			loop_remove(d->loop, w);
		fd_close(&w->fd);
	}
	free(c->port);
	c->port = NULL;
	c->nports = c->nlisteners = 0;
}

static void console_config(struct device *d, void *out)
{
	const struct console *c = console_of(d);
	const struct virtio_console_config config = {
		.cols = c->columns, .rows = c->rows, .max_nr_ports = c->nports};

	memcpy(out, &config, sizeof(config));
}

/* EMERG_WRITE: one character, from a kernel that has no queues yet or no longer. */
static void console_config_set(struct device *d, size_t at, const void *in, size_t n)
{
	struct console *c = console_of(d);
	char byte;
	struct iovec v = {&byte, 1};

	if (at != offsetof(struct virtio_console_config, emerg_wr) || n == 0)
		return;
	memcpy(&byte, in, 1);
	if (line_write(&c->port[0].line, &v, 1) < 0)
		return; /* nobody takes it now, and there is nowhere to keep it */
}

const struct device_type console_type = {
	.name = "console",
	.summary = "Console and serial ports",
	.virtio_id = VIRTIO_ID_CONSOLE,
	.nqueues = QUEUES_MAX,
	.queue_size = 64,
	.features = VIRTIO_BIT(VIRTIO_CONSOLE_F_SIZE) |
		    VIRTIO_BIT(VIRTIO_CONSOLE_F_MULTIPORT) |
		    VIRTIO_BIT(VIRTIO_CONSOLE_F_EMERG_WRITE),
	.size = sizeof(struct console),
	.config_size = sizeof(struct virtio_console_config),
	.writes_files = true,
	.fds = 3 * PORTS_MAX + 2, /* in, out, listening; again, resize */
	.opts = console_opts,
	.calls = console_calls,
	.check = console_check,
	.keep = console_keep,
	.defaults = console_defaults,
	.queues = console_queues,
	.open = console_open,
	.prepare = console_prepare,
	.kick = console_kick,
	.start = console_start,
	.stop = console_stop,
	.close = console_close,
	.config = console_config,
	.config_set = console_config_set,
};
