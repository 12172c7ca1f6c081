/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fd.h - file descriptors with an owner
 *
 * A struct owns its fds from _init (-1) to _fini; a local fd is auto_fd; handing one on is written
 * fd_take(&fd).  Parameters are borrowed unless the name says take.  close() is never retried.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <sys/types.h>

/* Closes *fd if it is open and sets it to -1; keeps errno. */
void fd_close(int *fd);

#define auto_fd int CLEANUP(fd_close)

/* Gives *fd to the caller and leaves -1 behind. */
MUST_CHECK static inline int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* malloc'ed memory freed at the end of the scope; fields that are handed on are set to NULL. */
void free_at_exit(void *pointer_to_pointer);

#define auto_free CLEANUP(free_at_exit)

/* Whole transfers: 0, or -errno; a short read is -ENODATA.  EINTR is retried. */
int fd_read_all(int fd, void *buf, size_t n) MUST_CHECK;
int fd_write_all(int fd, const void *buf, size_t n) MUST_CHECK;
int fd_pread_all(int fd, void *buf, size_t n, uint64_t offset) MUST_CHECK;

/* An eventfd, close-on-exec and non-blocking; -errno on failure. */
int fd_eventfd(void) MUST_CHECK;

/* Adds 1 to an eventfd; a full counter is as good as a signal.  Never blocks. */
void fd_signal(int eventfd);

/* Takes the count of a non-blocking eventfd; 0 if there was none. */
uint64_t fd_drain(int eventfd);

/* A pair of connected UNIX sockets, close-on-exec; type SOCK_STREAM or SOCK_SEQPACKET. */
int fd_socketpair(int type, int ret_pair[2]) MUST_CHECK;

enum { FD_PASS_MAX = 16 };

/*
 * Sends all n bytes with up to FD_PASS_MAX descriptors attached to the first byte.
 * 0 or -errno; -EAGAIN when a timeout set on the socket runs out.  Never raises SIGPIPE.
 */
int fd_send(int sock, const void *buf, size_t n, const int *fds, size_t nfds) MUST_CHECK;

/* Sends one packet if there is room for it now. */
void fd_send_now(int sock, const void *buf, size_t n);

/*
 * One receive of at most n bytes and max_fds descriptors (close-on-exec).  Returns the bytes read,
 * 0 at the end of the stream, or -errno.  *ret_nfds is always set; descriptors beyond max_fds are
 * closed and make the call fail with -EMFILE.  -EMSGSIZE when a packet was longer than n.
 */
ssize_t fd_recv(int sock, void *buf, size_t n, int *fds, size_t max_fds,
		size_t *ret_nfds) MUST_CHECK;

/*
 * The same of a packet that stays where it is, for the next who looks; its descriptors are
 * duplicates.  Waits for one, or for the end.
 */
ssize_t fd_peek(int sock, void *buf, size_t n, int *fds, size_t max_fds,
		size_t *ret_nfds) MUST_CHECK;

/* Send and receive timeouts of a socket in milliseconds. 0 or -errno. */
int fd_timeout_set(int sock, unsigned milliseconds) MUST_CHECK;
