/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log.h - lines for people, on stderr
 *
 * One line each: "crosvm: [name:] text".  No timestamps (the journal adds them), no colours.
 * Functions that log never take a struct err.  Safe to call from any thread; a line is one write().
 */
#pragma once

#include "base/attr.h"

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Lines above this level are dropped; LOG_LEVEL_INFO at start. */
void log_level_set(enum log_level level);

/* The name of this process in every line, such as "block0"; kept, not copied.  NULL for none. */
void log_name_set(const char *name);

/* The same for lines of the calling thread only; kept, not copied. */
void log_thread_name_set(const char *name);

void log_error(const char *format, ...) PRINTF(1, 2);
void log_warn(const char *format, ...) PRINTF(1, 2);
void log_info(const char *format, ...) PRINTF(1, 2);
void log_debug(const char *format, ...) PRINTF(1, 2);

/*
 * For lines that the guest can cause: at most LOG_LIMIT_BURST lines, then one a second with a count
 * of those left out.  Zero-initialised; one static or embedded object a place.
 */
enum { LOG_LIMIT_BURST = 5 };

struct log_limit {
	uint64_t next_ns;
	unsigned used, dropped;
};

void log_limited(struct log_limit *limit, const char *format, ...) PRINTF(2, 3);
