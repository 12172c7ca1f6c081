/* SPDX-License-Identifier: BSD-3-Clause */
/* line.c - the host's end of a serial line */
#include "backend/line.h"

#include "base/fd.h"
#include "base/iov.h"
#include "base/num.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum {
	PTY_POLL_NS = 250000000, /* how soon it is noticed that a pseudo-terminal was opened */
	CAREFUL_BYTES = 256, /* what a descriptor that may block takes when it says it is ready */
};

/* Brings one watch of the loop in line with what is wanted. */
static int watch_for(struct line *l, struct watch *w, uint32_t *have, uint32_t events)
{
	int r = 0;

	if (*have == events || w->fd < 0)
		return 0;
	if (events == 0)
		loop_remove(l->loop, w);
	else if (*have == 0)
		r = loop_add(l->loop, w, events);
	else
		r = loop_change(l->loop, w, events);
	if (r == 0)
		*have = events;
	return r;
}

static void update_watches(struct line *l)
{
	uint32_t in = l->wants_input && l->is_open ? EPOLLIN : 0;
	uint32_t out = l->wants_output && l->is_open ? EPOLLOUT : 0;

	if (l->in.fd >= 0 && l->in.fd == l->out.fd) {
		in |= out;
		out = 0;
	}
	if (!l->is_unpollable && watch_for(l, &l->in, &l->in_events, in) == -EPERM)
		l->is_unpollable = true;
	if (watch_for(l, &l->out, &l->out_events, out) < 0 && l->wants_output)
		l->writable(l);
}

static void set_open(struct line *l, bool is_open)
{
	if (l->is_open == is_open)
		return;
	l->is_open = is_open;
	update_watches(l);
	l->changed(l);
	if (!is_open && l->wants_output)
		l->writable(l); /* will be dropped */
}

static void hang_up(struct line *l)
{
	watch_for(l, &l->in, &l->in_events, 0);
	if (l->kind == LINE_SOCKET) {
		fd_close(&l->in.fd);
		l->out.fd = -1;
		l->out_events = 0;
	} else if (l->kind == LINE_PTY) {
		timer_set(&l->timer, PTY_POLL_NS, PTY_POLL_NS);
	} else {
		fd_close(&l->in.fd); /* the end of input; output goes on */
		return;
	}
	set_open(l, false);
}

static void in_ready(struct watch *w, uint32_t events)
{
	struct line *l = container_of(w, struct line, in);

	if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) && l->wants_output)
		l->writable(l);
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && l->wants_input && l->in.fd >= 0)
		l->readable(l);
}

static void out_ready(struct watch *w, uint32_t events)
{
	struct line *l = container_of(w, struct line, out);

	(void)events;
	if (l->wants_output)
		l->writable(l);
}

static void client_ready(struct watch *w, uint32_t events)
{
	struct line *l = container_of(w, struct line, listener);
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	if (l->in.fd >= 0) { /* one at a time: the newcomer sees the end at once */
		close(fd);
		return;
	}
	l->in.fd = l->out.fd = fd;
	set_open(l, true);
}

/* A pseudo-terminal says "hung up" while nobody has its other end open. */
static bool pty_is_held(const struct line *l)
{
	struct pollfd p = {.fd = l->in.fd, .events = POLLIN};

	return poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP);
}

static void pty_look(struct timer *t)
{
	struct line *l = container_of(t, struct line, timer);

	if (!pty_is_held(l))
		return;
	timer_set(&l->timer, 0, 0);
	set_open(l, true);
}

static bool is_ready(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, 0) == 1;
}

ssize_t line_read(struct line *l, const struct iovec *v, unsigned n)
{
	ssize_t r;

	if (l->in.fd < 0 || !l->is_open || (l->in_may_block && !is_ready(l->in.fd, POLLIN)))
		return -EAGAIN;
	r = readv(l->in.fd, v, (int)n);
	if (r > 0)
		return r;
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	hang_up(l);
	return 0;
}

/* At most limit bytes, of the first ranges. */
static ssize_t write_some(int fd, const struct iovec *v, unsigned n, size_t limit)
{
	struct iovec first = v[0];

	if (iov_length(v, n) <= limit)
		return writev(fd, v, (int)n);
	first.iov_len = min_size(first.iov_len, limit);
	return writev(fd, &first, 1);
}

ssize_t line_write(struct line *l, const struct iovec *v, unsigned n)
{
	size_t all = iov_length(v, n), limit = SIZE_MAX;
	ssize_t r;

	if (l->kind == LINE_FILE)
		limit = l->room_bytes;
	else if (l->out_may_block)
		limit = CAREFUL_BYTES;
	if (l->out.fd < 0 || !l->is_open || all == 0 || limit == 0)
		return (ssize_t)all;
	if (l->out_may_block && !is_ready(l->out.fd, POLLOUT))
		return -EAGAIN;
	r = write_some(l->out.fd, v, n, limit);
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (r < 0)
		return (ssize_t)all; /* gone, or full: nobody to tell */
	if (l->kind == LINE_FILE)
		l->room_bytes -= (size_t)r;
	return r;
}

void line_want(struct line *l, bool input, bool output)
{
	bool is_new = input && !l->wants_input;

	l->wants_input = input;
	l->wants_output = output;
	update_watches(l);
	if (is_new && l->is_unpollable && l->in.fd >= 0)
		l->readable(l);
}

bool line_size(const struct line *l, uint16_t *ret_columns, uint16_t *ret_rows)
{
	struct winsize w;

	if (l->kind != LINE_FDS || l->out.fd < 0 || ioctl(l->out.fd, TIOCGWINSZ, &w) < 0)
		return false;
	*ret_columns = w.ws_col;
	*ret_rows = w.ws_row;
	return true;
}

/*
 * A descriptor of our own for the same thing, that does not block: O_NONBLOCK on the one we got
 * would change it for everybody who shares it.  What can't be opened anew is used with care.
 */
static int reopen(int fd, int access, bool *ret_may_block)
{
	char path[32];
	struct stat st;
	int own;

	*ret_may_block = false;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode)) { /* one would be read and written from its beginning */
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (own >= 0)
			return own;
		*ret_may_block = true;
	}
	own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return own < 0 ? -errno : own;
}

static int open_fds(struct line *l, const struct line_options *o, struct err *e)
{
	if (o->input >= 0) {
		l->in.fd = reopen(o->input, O_RDONLY, &l->in_may_block);
		if (l->in.fd < 0)
			return err_set(e, -l->in.fd, "cannot use descriptor %d for input",
				       o->input);
	}
	l->out.fd = reopen(o->output, O_WRONLY, &l->out_may_block);
	if (l->out.fd < 0)
		return err_set(e, -l->out.fd, "cannot use descriptor %d for output", o->output);
	l->is_open = true;
	return 0;
}

static int open_file(struct line *l, const struct line_options *o, struct err *e)
{
	struct stat st;

	l->out.fd = open(o->path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
			 0666);
	if (l->out.fd < 0)
		return err_set(e, errno, "%s: cannot open for writing", o->path);
	l->room_bytes = o->file_bytes;
	if (fstat(l->out.fd, &st) == 0 && S_ISREG(st.st_mode))
		l->room_bytes -= min_u64(l->room_bytes, (uint64_t)st.st_size);
	l->is_open = true;
	return 0;
}

static int open_socket(struct line *l, const struct line_options *o, struct err *e)
{
	auto_fd fd = o->listener;
	int r;

	l->listener.fd = fd;
	r = loop_add(l->loop, &l->listener, EPOLLIN);
	if (r < 0) {
		l->listener.fd = -1;
		return err_set(e, -r, "cannot watch a socket");
	}
	l->listener.fd = fd_take(&fd);
	return 0;
}

static int open_pty(struct line *l, struct err *e)
{
	auto_fd slave = -1;
	struct termios t;
	int r;

	l->in.fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (l->in.fd < 0 || grantpt(l->in.fd) < 0 || unlockpt(l->in.fd) < 0 ||
	    ptsname_r(l->in.fd, l->pty_path, sizeof(l->pty_path)) != 0)
		return err_set(e, errno, "cannot make a pseudo-terminal");
	l->out.fd = l->in.fd;
	slave = open(l->pty_path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || tcgetattr(slave, &t) < 0)
		return err_set(e, errno, "%s: cannot open", l->pty_path);
	cfmakeraw(&t);
	if (tcsetattr(slave, TCSANOW, &t) < 0)
		return err_set(e, errno, "%s: cannot set", l->pty_path);
	r = timer_init(&l->timer, l->loop, pty_look);
	if (r < 0)
		return err_set(e, -r, "cannot make a timer");
	timer_set(&l->timer, PTY_POLL_NS, PTY_POLL_NS);
	return 0;
}

static int open_kind(struct line *l, const struct line_options *o, struct err *e)
{
	switch (o->kind) {
	case LINE_SINK:
		l->is_open = true;
		return 0;
	case LINE_FDS:
		return open_fds(l, o, e);
	case LINE_FILE:
		return open_file(l, o, e);
	case LINE_SOCKET:
		return open_socket(l, o, e);
	case LINE_PTY:
		return open_pty(l, e);
	}
	return err_say(e, EINVAL, "no such kind of line");
}

int line_open(struct line *l, struct loop *loop, const struct line_options *o, struct err *e)
{
	int r;

	assert(l->readable && l->writable && l->changed);
	l->kind = o->kind;
	l->loop = loop;
	l->in = (struct watch){.fd = -1, .ready = in_ready};
	l->out = (struct watch){.fd = -1, .ready = out_ready};
	l->listener = (struct watch){.fd = -1, .ready = client_ready};
	l->timer.watch.fd = -1;
	r = open_kind(l, o, e);
	if (r < 0)
		line_close(l);
	return r;
}

void line_close(struct line *l)
{
	if (!l || !l->loop)
		return;
	watch_for(l, &l->in, &l->in_events, 0);
	watch_for(l, &l->out, &l->out_events, 0);
	if (l->listener.fd >= 0)
		loop_remove(l->loop, &l->listener);
	timer_fini(&l->timer, l->loop);
	if (l->out.fd == l->in.fd)
		l->out.fd = -1;
	fd_close(&l->in.fd);
	fd_close(&l->out.fd);
	fd_close(&l->listener.fd);
	l->loop = NULL;
}
