/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * line.h - the host's end of a serial line: terminal, pseudo-terminal, file, UNIX socket, or
 * nothing
 *
 * Never blocks and buffers nothing: who can't write holds on to his data and asks, with
 * line_want(), to be called when it may work; who can't take input stops asking for it.  A line
 * is open while somebody is there: always for descriptors and files, while a client is connected
 * or the pseudo-terminal is held open for the other two.  What is written to a line that is not
 * open is dropped.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum line_kind { LINE_SINK, LINE_FDS, LINE_FILE, LINE_SOCKET, LINE_PTY };

struct line_options {
	enum line_kind kind;
	const char *path;    /* LINE_FILE: appended to */
	int listener;	     /* LINE_SOCKET: a socket that listens; line_open() takes it */
	int input, output;   /* LINE_FDS: borrowed until line_open() returns; input -1: none */
	uint64_t file_bytes; /* LINE_FILE: what is written beyond is dropped */
};

struct line {
	enum line_kind kind;
	struct loop *loop;
	struct watch in, out, listener; /* fd -1: not there; out.fd may equal in.fd */
	uint32_t in_events, out_events; /* watched for; 0: not in the loop */
	bool is_open;
	bool wants_input, wants_output;
	bool is_unpollable; /* in is a regular file: always ready */
	bool in_may_block,
		out_may_block; /* descriptors shared with others, that stay as they are */
	struct timer timer;    /* pty: is somebody there? */
	uint64_t room_bytes;   /* LINE_FILE */
	char pty_path[64];

	/* The owner's, set before line_open(); all required. */
	void (*readable)(struct line *l);
	void (*writable)(struct line *l);
	void (*changed)(struct line *l); /* is_open did */
};

/* Before the jail. On failure nothing is left open. */
int line_open(struct line *l, struct loop *loop, const struct line_options *o, struct err *e)
	MUST_CHECK;
void line_close(struct line *l);

/* Bytes; -EAGAIN: nothing now; 0: the end, and no readable() until it is open again. */
ssize_t line_read(struct line *l, const struct iovec *v, unsigned n) MUST_CHECK;

/* Bytes taken, which may be fewer or be dropped; -EAGAIN: none now.  No other errors. */
ssize_t line_write(struct line *l, const struct iovec *v, unsigned n) MUST_CHECK;

/* Which of readable() and writable() to call when it is time. readable() may be called at once. */
void line_want(struct line *l, bool input, bool output);

/* The size of the terminal in characters; false if it is none. */
bool line_size(const struct line *l, uint16_t *ret_columns, uint16_t *ret_rows);
