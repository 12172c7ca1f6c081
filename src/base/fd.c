/* SPDX-License-Identifier: BSD-3-Clause */
/* fd.c - file descriptors with an owner */
#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

void fd_close(int *fd)
{
	int saved_errno = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved_errno;
}

void free_at_exit(void *pointer_to_pointer)
{
	void *p;

	memcpy(&p, pointer_to_pointer, sizeof(p));
	free(p);
}

int fd_read_all(int fd, void *buf, size_t n)
{
	char *at = buf;

	while (n > 0) {
		ssize_t r = read(fd, at, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -ENODATA;
		at += r;
		n -= (size_t)r;
	}
	return 0;
}

int fd_write_all(int fd, const void *buf, size_t n)
{
	const char *at = buf;

	while (n > 0) {
		ssize_t r = write(fd, at, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		at += r;
		n -= (size_t)r;
	}
	return 0;
}

int fd_pread_all(int fd, void *buf, size_t n, uint64_t offset)
{
	char *at = buf;

	while (n > 0) {
		ssize_t r = pread(fd, at, n, (off_t)offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -ENODATA;
		at += r;
		n -= (size_t)r;
		offset += (uint64_t)r;
	}
	return 0;
}

int fd_eventfd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

void fd_signal(int eventfd)
{
	const uint64_t one = 1;
	ssize_t r;

	do
		r = write(eventfd, &one, sizeof(one));
	while (r < 0 && errno == EINTR);
}

uint64_t fd_drain(int eventfd)
{
	uint64_t count = 0;
	ssize_t r;

	do
		r = read(eventfd, &count, sizeof(count));
	while (r < 0 && errno == EINTR);
	return r == (ssize_t)sizeof(count) ? count : 0;
}

int fd_socketpair(int type, int ret_pair[2])
{
	return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ret_pair) < 0 ? -errno : 0;
}

union fd_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
};

static void attach(struct msghdr *msg, union fd_control *control, const int *fds, size_t nfds)
{
	struct cmsghdr *c;

	memset(control, 0, sizeof(*control));
	msg->msg_control = control->buf;
	msg->msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
	c = CMSG_FIRSTHDR(msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
}

int fd_send(int sock, const void *buf, size_t n, const int *fds, size_t nfds)
{
	union fd_control control;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = n};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (nfds > FD_PASS_MAX)
		return -EINVAL;
	if (nfds > 0)
		attach(&msg, &control, fds, nfds);
	while (iov.iov_len > 0) {
		ssize_t r = sendmsg(sock, &msg, MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		iov.iov_base = (char *)iov.iov_base + r;
		iov.iov_len -= (size_t)r;
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
	}
	return 0;
}

void fd_send_now(int sock, const void *buf, size_t n)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = n};
	const struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t r;

	do
		r = sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
}

/* Keeps the first max_fds descriptors of a message, closes the others; false if there were any. */
static bool collect(struct msghdr *msg, int *fds, size_t max_fds, size_t *ret_nfds)
{
	struct cmsghdr *c;
	bool fits = true;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (*ret_nfds < max_fds) {
				fds[(*ret_nfds)++] = fd;
				continue;
			}
			close(fd);
			fits = false;
		}
	}
	return fits && !(msg->msg_flags & MSG_CTRUNC);
}

static ssize_t receive(int sock, int flags, void *buf, size_t n, int *fds, size_t max_fds,
		       size_t *ret_nfds)
{
	union fd_control control;
	struct iovec iov = {.iov_base = buf, .iov_len = n};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	int failure = 0;
	ssize_t r;

	*ret_nfds = 0;
	do
		r = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | flags);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	if (!collect(&msg, fds, max_fds, ret_nfds))
		failure = -EMFILE;
	else if (msg.msg_flags & MSG_TRUNC)
		failure = -EMSGSIZE;
	if (failure == 0)
		return r;
	for (size_t i = 0; i < *ret_nfds; i++)
		fd_close(&fds[i]);
	*ret_nfds = 0;
	return failure;
}

ssize_t fd_recv(int sock, void *buf, size_t n, int *fds, size_t max_fds, size_t *ret_nfds)
{
	return receive(sock, 0, buf, n, fds, max_fds, ret_nfds);
}

/* Of many who wait inside recvmsg() a packet wakes one; poll() wakes all. */
ssize_t fd_peek(int sock, void *buf, size_t n, int *fds, size_t max_fds, size_t *ret_nfds)
{
	struct pollfd p = {.fd = sock, .events = POLLIN};

	*ret_nfds = 0;
	while (poll(&p, 1, -1) < 0)
		if (errno != EINTR)
			return -errno;
	return receive(sock, MSG_PEEK | MSG_DONTWAIT, buf, n, fds, max_fds, ret_nfds);
}

int fd_timeout_set(int sock, unsigned milliseconds)
{
	struct timeval t = {.tv_sec = milliseconds / 1000,
			    .tv_usec = (suseconds_t)(milliseconds % 1000) * 1000};

	if (setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) < 0 ||
	    setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) < 0)
		return -errno;
	return 0;
}
