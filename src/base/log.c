/* SPDX-License-Identifier: BSD-3-Clause */
/* log.c - lines for people, on stderr */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1200 };

static enum log_level level_shown = LOG_LEVEL_INFO;
static const char *process_name;
static _Thread_local const char *thread_name;

void log_level_set(enum log_level level)
{
	level_shown = level;
}

void log_name_set(const char *name)
{
	process_name = name;
}

void log_thread_name_set(const char *name)
{
	thread_name = name;
}

/* Control characters from outside must not reach a terminal. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

static PRINTF(3, 0) void write_line(enum log_level level, const char *suffix, const char *format,
				    va_list args)
{
	static const char *const words[] = {"", "warning: ", "", "debug: "};
	const char *name = thread_name ? thread_name : process_name;
	char line[LINE_MAX_BYTES];
	int saved_errno = errno;
	size_t used;

	if (level > level_shown)
		return;
	snprintf(line, sizeof(line), "crosvm: %s%s%s", name ? name : "", name ? ": " : "",
		 words[level]);
	used = strlen(line);
	vsnprintf(line + used, sizeof(line) - used - 1, format, args);
	used = strlen(line);
	snprintf(line + used, sizeof(line) - used - 1, "%s", suffix);
	make_printable(line);
	used = strlen(line);
	line[used] = '\n';
	if (write(STDERR_FILENO, line, used + 1) < 0) {
		/* nobody reads: there is nowhere left to say it */
	}
	errno = saved_errno;
}

#define LOG_FUNCTION(name, level)                          \
	void name(const char *format, ...)                 \
	{                                                  \
		va_list args;                              \
		va_start(args, format);                    \
		write_line(level, "", format, args);       \
		va_end(args);                              \
	}

LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void log_limited(struct log_limit *limit, const char *format, ...)
{
	char suffix[64] = "";
	uint64_t now = now_ns();
	va_list args;

	if (limit->used >= LOG_LIMIT_BURST && now < limit->next_ns) {
		limit->dropped++;
		return;
	}
	if (limit->used < LOG_LIMIT_BURST)
		limit->used++;
	if (limit->dropped > 0)
		snprintf(suffix, sizeof(suffix), " (%u more like this)", limit->dropped);
	limit->dropped = 0;
	limit->next_ns = now + 1000000000u;
	va_start(args, format);
	write_line(LOG_LEVEL_WARN, suffix, format, args);
	va_end(args);
}
