/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * json.h - the replies of control sockets: written by the VM and its devices, read by commands
 *
 * The writer fills a fixed buffer and never allocates.  The reader calls back for every value with
 * the path that leads to it, "devices.0.name"; it takes any JSON text, for the other end of a
 * socket need not be one of ours.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct json {
	char *buf;
	size_t room, used;
	bool needs_comma, is_full;
};

/* buf stays the caller's; it is always a terminated string. */
void json_init(struct json *j, char *buf, size_t room);

/* key is NULL inside arrays and for the outermost value. */
void json_open(struct json *j, const char *key, char bracket); /* '{' or '[' */
void json_close(struct json *j, char bracket);		       /* '}' or ']' */
void json_text(struct json *j, const char *key, const char *value); /* bytes >= 0x80 as they are */
void json_number(struct json *j, const char *key, uint64_t value);
void json_bool(struct json *j, const char *key, bool value);
void json_raw(struct json *j, const char *key, const char *value); /* JSON already */

/* Replaces all that was written by {"ok":false,"error":"..."}. */
void json_error(struct json *j, const struct err *e);

enum { JSON_DEPTH_MAX = 8, JSON_PATH_MAX = 128, JSON_TEXT_MAX = 1024 };

/*
 * Calls value() for each text, number, true, false and null of the text, numbers and words as
 * written, strings without escapes (\u above 0x7f becomes '?'), cut at JSON_TEXT_MAX.
 * 0, or -EINVAL when the text is not JSON or nested too deeply; values before were handed out.
 */
int json_read(const char *text, void (*value)(void *context, const char *path, const char *value),
	      void *context) MUST_CHECK;

/*
 * Whether the text is exactly one JSON object in which nothing nests deeper than depth_max levels
 * (at most 64, the object itself is one), in UTF-8 without control characters, so that it can stand
 * inside a reply, or go to a terminal, as it is.
 */
bool json_is_object(const char *text, unsigned depth_max) MUST_CHECK;
