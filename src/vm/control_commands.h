/* SPDX-License-Identifier: BSD-3-Clause */
/* control_commands.h - the parts of the control socket; for control*.c only */
#pragma once

#include "base/err.h"
#include "vm/json.h"

/* Writes {"ok":false,"error":"..."}. */
void control_reply_error(struct json *reply, const struct err *e);

/*
 * control_listen.c: a listening socket at path or in that directory, close-on-exec and
 * non-blocking, whose file control_unlink() will remove.
 */
int control_listen(const char *path, struct err *e) MUST_CHECK;
