/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serial_end.c - the host's end of a serial port: opening, reading and writing without waiting
 *
 * Standard input and output are shared with other processes, so they must not be made non-blocking:
 * the shell would find them so.  Terminals and pipes are opened a second time, which makes a file
 * description of our own; sockets are asked per call; where neither works a write is preceded by
 * poll() and is no larger than what a ready descriptor certainly takes.
 *
 * A pseudoterminal tells when its slave is closed (end of input), but not when it is opened:
 * inotify does.
 */
#include "chip/serial_end.h"

#include "base/fd.h"
#include "base/leftover.h"
#include "base/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

static const char *const types[] = {"stdio", "file", "unix", "pty", "sink", NULL};

const struct opt serial_config_opts[] = {
	OPT_CHOICE_FIRST(struct serial_config, type, types, "Where the port ends"),
	OPT_TEXT(struct serial_config, path, "PATH",
		 "File for output, socket to listen on, or link to the pseudoterminal"),
	OPT_NUMBER(struct serial_config, com, 1, 4, "COM port"),
	OPT_FLAG(struct serial_config, append, "Keep what the file has"),
	OPT_SIZE(struct serial_config, limit, 1, UINT64_MAX, "Most that is written to the file"),
	OPT_END,
};

const struct serial_config serial_config_default = {.type = SERIAL_STDIO, .com = 1};

int serial_config_check(const struct serial_config *c, struct err *e)
{
	const char *type = types[c->type];

	if ((c->type == SERIAL_FILE || c->type == SERIAL_UNIX) && !c->path)
		return err_say(e, EINVAL, "type=%s needs path=PATH", type);
	if ((c->type == SERIAL_STDIO || c->type == SERIAL_SINK) && c->path)
		return err_say(e, EINVAL, "type=%s takes no path", type);
	if (c->type != SERIAL_FILE && (c->append || c->limit))
		return err_say(e, EINVAL, "append and limit go with type=file, not with type=%s",
			       type);
	return 0;
}

/* A descriptor with a description of our own if there can be one, else a copy. */
static int own_copy(int fd, int flags, bool *ret_is_socket, size_t *ret_at_once)
{
	struct stat st;
	char path[32];
	int copy;

	*ret_is_socket = false;
	*ret_at_once = 0;
	if (fstat(fd, &st) < 0)
		return -1; /* closed: as if it were /dev/null */
	*ret_is_socket = S_ISSOCK(st.st_mode);
	if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		copy = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (copy >= 0)
			return copy;
		*ret_at_once = S_ISFIFO(st.st_mode) ? PIPE_BUF : 1;
	}
	return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static void stdio_open(struct serial_end *s)
{
	size_t unused;

	s->in_fd = own_copy(STDIN_FILENO, O_RDONLY, &s->in_is_socket, &unused);
	s->out_fd = own_copy(STDOUT_FILENO, O_WRONLY, &s->out_is_socket, &s->out_at_once);
	s->in_is_terminal = s->in_fd >= 0 && isatty(s->in_fd);
}

static int file_open(struct serial_end *s, struct err *e)
{
	int how = s->config.append ? O_APPEND : O_TRUNC;

	s->out_fd = open(s->config.path,
			 O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | how, 0666);
	if (s->out_fd < 0)
		return err_set(e, errno, "%s: cannot open", s->config.path);
	return 0;
}

static int unix_open(struct serial_end *s, struct err *e)
{
	const char *path = s->config.path;
	int r;

	s->listen_fd = listen_at(path, 1, 0600, e);
	if (s->listen_fd < 0)
		return s->listen_fd;
	r = leftover_add(path, e);
	s->has_leftover = r == 0;
	return r;
}

static int pty_link(struct serial_end *s, struct err *e)
{
	const char *path = s->config.path;
	struct stat st;
	int r;

	if (!path)
		return 0;
	if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
		unlink(path);
	if (symlink(s->pty_name, path) < 0)
		return err_set(e, errno, "%s: cannot link to %s", path, s->pty_name);
	r = leftover_add(path, e);
	s->has_leftover = r == 0;
	return r;
}

static int pty_open(struct serial_end *s, struct err *e)
{
	struct termios t;

	s->pty_fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (s->pty_fd < 0 || grantpt(s->pty_fd) < 0 || unlockpt(s->pty_fd) < 0 ||
	    ptsname_r(s->pty_fd, s->pty_name, sizeof(s->pty_name)) != 0)
		return err_set(e, errno, "cannot open a pseudoterminal");
	if (tcgetattr(s->pty_fd, &t) == 0) {
		cfmakeraw(&t);
		tcsetattr(s->pty_fd, TCSANOW, &t);
	}
	s->opened_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (s->opened_fd < 0 || inotify_add_watch(s->opened_fd, s->pty_name, IN_OPEN) < 0)
		return err_set(e, errno, "%s: cannot watch", s->pty_name);
	return pty_link(s, e);
}

int serial_end_open(struct serial_end *s, const struct serial_config *config, struct err *e)
{
	int r = serial_config_check(config, e);

	*s = (struct serial_end){
		.config = *config,
		.in_fd = -1,
		.out_fd = -1,
		.listen_fd = -1,
		.pty_fd = -1,
		.opened_fd = -1,
	};
	if (r < 0)
		return r;
	switch ((enum serial_type)config->type) {
	case SERIAL_STDIO:
		stdio_open(s);
		break;
	case SERIAL_FILE:
		r = file_open(s, e);
		break;
	case SERIAL_UNIX:
		r = unix_open(s, e);
		break;
	case SERIAL_PTY:
		r = pty_open(s, e);
		break;
	case SERIAL_SINK:
		break;
	}
	if (r < 0)
		serial_end_close(s);
	return r;
}

void serial_end_close(struct serial_end *s)
{
	if (!s)
		return;
	if (s->has_leftover)
		leftovers_remove(); /* the VM is at its end */
	s->has_leftover = false;
	serial_end_disconnect(s);
	fd_close(&s->listen_fd);
	fd_close(&s->pty_fd);
	fd_close(&s->opened_fd);
}

static int unix_connect(struct serial_end *s)
{
	s->in_fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	s->in_is_socket = s->out_is_socket = true;
	return s->in_fd < 0 ? -errno : 0;
}

static int pty_connect(struct serial_end *s)
{
	struct pollfd state = {.fd = s->pty_fd};
	char events[1024];

	while (read(s->opened_fd, events, sizeof(events)) > 0)
		;
	if (poll(&state, 1, 0) > 0 && (state.revents & POLLHUP))
		return -EAGAIN; /* closed again already */
	s->in_fd = fcntl(s->pty_fd, F_DUPFD_CLOEXEC, 3);
	return s->in_fd < 0 ? -errno : 0;
}

int serial_end_connect(struct serial_end *s)
{
	int r = s->listen_fd >= 0 ? unix_connect(s) : pty_connect(s);

	if (r < 0)
		return r;
	s->out_fd = fcntl(s->in_fd, F_DUPFD_CLOEXEC, 3);
	if (s->out_fd < 0) {
		r = -errno;
		fd_close(&s->in_fd);
	}
	return r;
}

void serial_end_disconnect(struct serial_end *s)
{
	fd_close(&s->in_fd);
	fd_close(&s->out_fd);
}

static ssize_t result_of(ssize_t r)
{
	if (r >= 0)
		return r;
	return errno == EINTR ? -EAGAIN : -errno;
}

ssize_t serial_end_read(struct serial_end *s, void *buf, size_t n)
{
	if (s->in_is_socket)
		return result_of(recv(s->in_fd, buf, n, MSG_DONTWAIT));
	return result_of(read(s->in_fd, buf, n));
}

ssize_t serial_end_write(struct serial_end *s, const void *buf, size_t n)
{
	struct pollfd state = {.fd = s->out_fd, .events = POLLOUT};

	if (s->out_is_socket)
		return result_of(send(s->out_fd, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL));
	if (s->out_at_once > 0) {
		if (poll(&state, 1, 0) == 0)
			return -EAGAIN;
		n = n < s->out_at_once ? n : s->out_at_once;
	}
	return result_of(write(s->out_fd, buf, n));
}
