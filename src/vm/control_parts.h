/* SPDX-License-Identifier: BSD-3-Clause */
/* control_parts.h - the parts of the control socket; for control*.c only */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/json.h"
#include "vm/control.h"

#include <stdbool.h>
#include <stdio.h>

/* What handlers return besides 0 and -errno: k->wait is set, the reply comes later. */
enum { CONTROL_LATER = 1 };

/*
 * control_commands.c: executes one line without its newline, which it may change.  True: the reply
 * is written, without a newline; false: it comes later.
 */
bool control_execute(struct control_client *k, char *line, struct json *reply) MUST_CHECK;

/*
 * control_listen.c: a listening socket at path or in that directory, close-on-exec and
 * non-blocking, whose file leftovers_remove() will remove.
 */
int control_listen(const char *path, struct err *e) MUST_CHECK;

/*
 * control.c: a reply is written between begin and end, after which the client waits no more; go_on
 * sends it and looks at the client's next requests.  The client may be gone afterwards.
 */
void control_reply_begin(struct control_client *k, struct json *reply);
void control_reply_end(struct control_client *k, struct json *reply);
void control_go_on(struct control_client *k);

/* control_status.c: the reply to status; 0 or CONTROL_LATER. */
void control_status_balloon(const struct balloon_status *b, struct json *reply); /* its members */
int control_status_reply(struct control_client *k, struct json *reply) MUST_CHECK;
void control_status_counters(struct control_client *k, struct json *reply); /* asks nobody */
void control_status_init(struct control *c);
void control_status_fini(struct control *c);

/* control_forward.c: commands that a device answers, found by TYPE-COMMAND. */
struct control_forward {
	const struct device_type *type;
	const struct device_command *command;
};

bool control_forward_find(const struct device_type *const *types, const char *name,
			  struct control_forward *ret) MUST_CHECK;

/* text may be changed. CONTROL_LATER or -errno. */
int control_forward_run(struct control_client *k, const struct control_forward *f, char *text,
			struct err *e) MUST_CHECK;

/* Calls back for each, with its full name. */
void control_forward_each(const struct device_type *const *types,
			  void (*each)(void *context, const char *name,
				       const struct control_forward *f),
			  void *context);
