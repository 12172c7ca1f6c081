/* SPDX-License-Identifier: BSD-3-Clause */
/* client.h - one request to the control socket of a VM */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "vm/control.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { CLIENT_TIMEOUT_MS = 5000 };

/* Room for a reply without its newline. */
struct client_reply {
	char text[CONTROL_REPLY_MAX];
	bool is_ok;		   /* {"ok":true,...} */
	char error[JSON_TEXT_MAX]; /* else */
};

/*
 * Sends the line (with its newline) to the VM that word stands for (config/names.h) and waits for
 * the reply.  0, also for a reply that says no; or -errno.
 */
int client_ask(const char *word, const char *line, struct client_reply *ret_reply,
	       struct err *e) MUST_CHECK;

/* The same, of a VM that has so long to answer. */
int client_ask_within(const char *word, const char *line, unsigned ms,
		      struct client_reply *ret_reply, struct err *e) MUST_CHECK;

/* The same in parts: a connection, for the caller to close, or -errno; and a request on it. */
int client_dial(const char *word, struct err *e) MUST_CHECK;
int client_ask_on(int fd, const char *line, struct client_reply *ret_reply,
		  struct err *e) MUST_CHECK;

/*
 * Waits until the VM at the other end of *fd has let go of its socket, and removes the file if the
 * VM could not; *fd may become another connection to it.  0, or -ETIMEDOUT when it is still there
 * at end_ns of clock_ns() (UINT64_MAX: no limit).
 */
int client_wait(const char *word, int *fd, uint64_t end_ns) MUST_CHECK;

/* The process at the other end; 0 when it cannot be seen from here. */
pid_t client_pid(int fd);
