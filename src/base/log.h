/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log.h - lines for people, on stderr
 *
 * One line each: "crosvm: [name:] text".  No timestamps (the journal adds them), no colours; where
 * stderr is the journal, "<4>" in front tells it the severity.  Functions that log never take a
 * struct err.  Safe to call from any thread; a line is one write().
 *
 * Three kinds of processes log.  A command writes to stderr and waits for it.  A process that runs
 * a guest (log_guard()) waits for nobody: what stderr does not take at once is dropped, counted,
 * and told by the next line that is taken.  A device process that main has started (log_forward())
 * writes "<4>text" into a pipe, and main puts the name in front, see vm/device_log.h.
 */
#pragma once

#include "base/attr.h"

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

enum {
	LOG_TEXT_MAX = 1100, /* bytes of a line's text with its end; what is longer is cut */
	LOG_NAME_MAX = 24,
};

/* "error", "warning", "info", "debug", NULL. */
extern const char *const log_level_names[];

/* The level of that name; -1: there is none. */
int log_level_find(const char *name);

/* Lines above this level are dropped; LOG_LEVEL_INFO at start. */
void log_level_set(enum log_level level);
enum log_level log_level(void);

/* The name of this process in every line, such as "block0"; kept, not copied.  NULL for none. */
void log_name_set(const char *name);

/* The same for lines of the calling thread only; kept, not copied. */
void log_thread_name_set(const char *name);

/* What kind of process this is, see above; while it has one thread. */
void log_guard(void);
void log_forward(void);

/* Whether stderr was found to be the journal. */
bool log_is_journal(void);

/*
 * Gets every line that is shown besides stderr, from any thread; name is NULL for main's own.  NULL
 * for nobody.
 */
void log_sink_set(void (*sink)(enum log_level level, const char *name, const char *text));

void log_error(const char *format, ...) PRINTF(1, 2);
void log_warn(const char *format, ...) PRINTF(1, 2);
void log_info(const char *format, ...) PRINTF(1, 2);
void log_debug(const char *format, ...) PRINTF(1, 2);

/* A line in the name of another process, whose text is presumed hostile. */
void log_line(enum log_level level, const char *name, const char *text);

/*
 * Copies n bytes of text so that they can go to a terminal: control characters and what is not
 * UTF-8 become "\x1b".  Cut where room ends, never inside a character.
 */
void log_clean(char *out, size_t room, const char *text, size_t n);

/* Bytes of the character at text, n of them or fewer, that may stay as it is there; 0: none. */
size_t log_plain_bytes(const char *text, size_t n);

/* The severity of a level in the syslog protocol, RFC 5424 6.2.1; and the level of a severity. */
unsigned log_severity(enum log_level level);
enum log_level log_level_of_severity(unsigned severity);

/*
 * For lines that the guest can cause: at most LOG_LIMIT_BURST lines, then one a second with a count
 * of those left out, until a minute went by without one.  Zero-initialised; one static or embedded
 * object a cause.
 */
enum { LOG_LIMIT_BURST = 5 };

struct log_limit {
	uint64_t next_ns;
	unsigned used, dropped;
};

void log_limited(struct log_limit *limit, const char *format, ...) PRINTF(2, 3);
