/* SPDX-License-Identifier: BSD-3-Clause */
/* client.h - one request to the control socket of a VM */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "vm/control.h"

#include <stdbool.h>

enum { CLIENT_TIMEOUT_MS = 5000 };

/* Room for a reply without its newline. */
struct client_reply {
	char text[CONTROL_REPLY_MAX];
	bool is_ok;		   /* {"ok":true,...} */
	char error[JSON_TEXT_MAX]; /* else */
};

/*
 * Sends the line (with its newline) to the VM that word stands for (config/names.h) and waits for
 * the reply, and then, if wait_for_end, for the VM to hang up.  0, also for a reply that says no;
 * or -errno.
 */
int client_ask(const char *word, const char *line, bool wait_for_end,
	       struct client_reply *ret_reply, struct err *e) MUST_CHECK;

/* The same, of a VM that has so long to answer. */
int client_ask_within(const char *word, const char *line, unsigned ms,
		      struct client_reply *ret_reply, struct err *e) MUST_CHECK;
