/* SPDX-License-Identifier: BSD-3-Clause */
/* control_commands.h - the parts of the control socket; for control*.c only */
#pragma once

#include "base/attr.h"
#include "base/err.h"

/*
 * control_listen.c: a listening socket at path or in that directory, close-on-exec and
 * non-blocking, whose file control_unlink() will remove.
 */
int control_listen(const char *path, struct err *e) MUST_CHECK;
