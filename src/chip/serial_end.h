/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serial_end.h - the host's end of a serial port: opening, reading and writing without waiting
 *
 * Nothing here knows of chips or of the loop.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/opt.h"

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

struct serial_end {
	struct serial_config config; /* path borrowed */
	int in_fd, out_fd;           /* -1: not connected, or ended */
	int listen_fd;               /* unix */
	int pty_fd, opened_fd;       /* pty: its master; inotify of somebody opening the slave */
	char pty_name[64];           /* the slave's path */
	bool in_is_terminal;
	bool in_is_socket, out_is_socket;
	bool has_leftover;
	size_t out_at_once; /* most that a blocking descriptor takes when it is ready; 0: any */
};

/* Whether the options fit together: file and unix need a path, stdio and sink take none. */
int serial_config_check(const struct serial_config *c, struct err *e) MUST_CHECK;

int serial_end_open(struct serial_end *s, const struct serial_config *config, struct err *e)
	MUST_CHECK;
void serial_end_close(struct serial_end *s);

/*
 * Opens in_fd and out_fd to the client that waits at listen_fd, or to whoever has the
 * pseudoterminal open.  -EAGAIN when there is nobody (any more).
 */
int serial_end_connect(struct serial_end *s) MUST_CHECK;
void serial_end_disconnect(struct serial_end *s);

/* Like read() and write(), but -errno, and -EAGAIN in place of waiting. 0 from read is the end. */
ssize_t serial_end_read(struct serial_end *s, void *buf, size_t n);
ssize_t serial_end_write(struct serial_end *s, const void *buf, size_t n);
