/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * err.h - an error that the user will read
 *
 * The message is built where the facts are, context is put in front on the way up:
 *
 *	--block: disk.img: cannot open: Permission denied
 *
 * A struct err is a fixed buffer that the caller owns, usually on main's stack: nothing to
 * allocate, nothing to free.  Functions that take one return 0 or -errno and never log.
 */
#pragma once

#include "base/attr.h"

enum { ERR_TEXT_MAX = 1024 };

struct err {
	int code;		 /* errno value, positive; 0 while no error is set */
	char text[ERR_TEXT_MAX]; /* one line, no newline, cut at the buffer's end; or empty */
};

/*
 * Sets the message to "<text>: <what errnum means>", with "; <what mends it>" for those numbers for
 * which one answer fits all, and returns -errnum.  errnum > 0.
 */
int err_set(struct err *e, int errnum, const char *format, ...) PRINTF(3, 4);

/* Sets the message to exactly the text and returns -errnum; for errors errno has no words for. */
int err_say(struct err *e, int errnum, const char *format, ...) PRINTF(3, 4);

/* Sets no message, for somebody else has told the user already, and returns -errnum. */
int err_told(struct err *e, int errnum);

/* Puts "<text>: " in front of the message that is there and returns -code. */
int err_in(struct err *e, const char *format, ...) PRINTF(2, 3);
