/* SPDX-License-Identifier: BSD-3-Clause */
/* log.c - lines for people, on stderr */
#include "base/log.h"

#include "base/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	LINE_MAX_BYTES = LOG_TEXT_MAX + 64, /* with all that stands in front of the text */
	ESCAPE_BYTES = 4,		    /* "\x1b" */
};

#define SECOND_NS UINT64_C(1000000000)

const char *const log_level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARN] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
	NULL,
};

static enum log_level level_shown = LOG_LEVEL_INFO;
static const char *process_name;
static _Thread_local const char *thread_name;
static void (*extra_sink)(enum log_level level, const char *name, const char *text);
static bool is_guarded, is_forwarded, wants_severity;

/* Of stderr: whoever holds it waits for nothing while it is guarded. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned lost GUARDED_BY(lock);

int log_level_find(const char *name)
{
	for (int i = 0; log_level_names[i]; i++)
		if (strcmp(log_level_names[i], name) == 0)
			return i;
	return -1;
}

void log_level_set(enum log_level level)
{
	level_shown = level;
}

enum log_level log_level(void)
{
	return level_shown;
}

void log_name_set(const char *name)
{
	process_name = name;
}

void log_thread_name_set(const char *name)
{
	thread_name = name;
}

void log_sink_set(void (*sink)(enum log_level level, const char *name, const char *text))
{
	extra_sink = sink;
}

/* The service manager says which file is its journal: systemd.exec(5), JOURNAL_STREAM. */
static bool is_journal(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(fd, &st) == 0 &&
	       st.st_dev == device && st.st_ino == inode;
}

/*
 * A terminal that has some room may have too little for a line, and would be waited for.  Whether
 * to wait belongs to an open file, which others have too: so the terminal is opened once more.
 */
static void terminal_reopen(void)
{
	char path[32];
	int fd;

	if (!isatty(STDERR_FILENO))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", STDERR_FILENO);
	fd = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return; /* another user's */
	dup2(fd, STDERR_FILENO);
	close(fd);
}

void log_guard(void)
{
	is_guarded = true;
	wants_severity = is_journal(STDERR_FILENO);
	terminal_reopen();
}

bool log_is_journal(void)
{
	return wants_severity;
}

void log_forward(void)
{
	is_forwarded = true;
}

unsigned log_severity(enum log_level level)
{
	static const unsigned char severities[] = {3, 4, 6, 7};

	return severities[level];
}

enum log_level log_level_of_severity(unsigned severity)
{
	if (severity <= 3)
		return LOG_LEVEL_ERROR;
	if (severity == 4)
		return LOG_LEVEL_WARN;
	return severity <= 6 ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
}

/* ---- text that can go to a terminal ---- */

/* RFC 3629, 4 */
size_t log_plain_bytes(const char *text, size_t n)
{
	static const struct {
		unsigned char first_low, first_high, second_low, second_high, bytes;
	} rows[] = {
		{0xc2, 0xc2, 0xa0, 0xbf, 2}, /* not U+0080 to U+009F, which are controls */
		{0xc3, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
		{0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3},
		{0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
		{0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	const unsigned char *p = (const unsigned char *)text;

	if (p[0] < 0x80)
		return p[0] >= 0x20 && p[0] != 0x7f;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool fits = p[0] >= rows[i].first_low && p[0] <= rows[i].first_high &&
			    n >= rows[i].bytes && p[1] >= rows[i].second_low &&
			    p[1] <= rows[i].second_high;

		for (size_t k = 2; fits && k < rows[i].bytes; k++)
			fits = (p[k] & 0xc0) == 0x80;
		if (fits)
			return rows[i].bytes;
	}
	return 0;
}

void log_clean(char *out, size_t room, const char *text, size_t n)
{
	const char *p = text, *end = text + n;
	size_t used = 0;

	while (p < end) {
		size_t bytes = log_plain_bytes(p, (size_t)(end - p));

		if (used + (bytes ? bytes : ESCAPE_BYTES) >= room)
			break;
		if (bytes) {
			memcpy(out + used, p, bytes);
			used += bytes;
			p += bytes;
		} else {
			snprintf(out + used, room - used, "\\x%02x",
				 (unsigned char)*p++);
			used += ESCAPE_BYTES;
		}
	}
	out[used] = '\0';
}

/* ---- stderr ---- */

/* A pipe that has room has it for a line. */
static bool takes_a_line(void)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};

	return !is_guarded || (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT));
}

static bool put(enum log_level level, const char *name, const char *text)
{
	static const char *const words[] = {"", "warning: ", "", "debug: "};
	char line[LINE_MAX_BYTES];
	size_t used = 0;

	if (wants_severity || is_forwarded)
		used = (size_t)snprintf(line, sizeof(line), "<%u>", log_severity(level));
	if (is_forwarded)
		snprintf(line + used, sizeof(line) - used - 1, "%s", text);
	else
		snprintf(line + used, sizeof(line) - used - 1, "crosvm: %.*s%s%s%s", LOG_NAME_MAX,
			 name ? name : "", name ? ": " : "", words[level], text);
	used = strlen(line);
	line[used] = '\n';
	return takes_a_line() && write(STDERR_FILENO, line, used + 1) == (ssize_t)used + 1;
}

static void stderr_line(enum log_level level, const char *name, const char *text)
{
	char note[64];

	pthread_mutex_lock(&lock);
	if (lost > 0) {
		snprintf(note, sizeof(note), "%u line%s lost: nobody took them", lost,
			 lost == 1 ? " was" : "s were");
		if (put(LOG_LEVEL_WARN, NULL, note))
			lost = 0;
	}
	if (!put(level, name, text))
		lost += is_guarded || is_forwarded;
	pthread_mutex_unlock(&lock);
}

static void line(enum log_level level, const char *name, const char *text)
{
	int saved_errno = errno;

	stderr_line(level, name, text);
	if (extra_sink)
		extra_sink(level, name, text);
	errno = saved_errno;
}

void log_line(enum log_level level, const char *name, const char *text)
{
	char clean[LOG_TEXT_MAX];

	if (level > level_shown)
		return;
	log_clean(clean, sizeof(clean), text, strlen(text));
	line(level, name, clean);
}

static PRINTF(3, 0) void write_line(enum log_level level, const char *suffix, const char *format,
				    va_list args)
{
	char text[LOG_TEXT_MAX], clean[LOG_TEXT_MAX];
	size_t used, room = sizeof(clean) - strlen(suffix);

	if (level > level_shown)
		return;
	vsnprintf(text, sizeof(text), format, args);
	log_clean(clean, room, text, strlen(text));
	used = strlen(clean);
	snprintf(clean + used, sizeof(clean) - used, "%s", suffix);
	line(level, thread_name ? thread_name : process_name, clean);
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

/* ---- limits ---- */

/* Of all: two vCPUs may be at the same one, and none is used often. */
static pthread_mutex_t limits_lock = PTHREAD_MUTEX_INITIALIZER;

static bool limit_allows(struct log_limit *limit, uint64_t now, char *suffix, size_t room)
	REQUIRES(limits_lock)
{
	if (limit->used >= LOG_LIMIT_BURST && now < limit->next_ns) {
		limit->dropped++;
		return false;
	}
	if (limit->dropped > 0)
		snprintf(suffix, room, " (%u more suppressed)", limit->dropped);
	if (limit->next_ns > 0 && now >= limit->next_ns + 60 * SECOND_NS)
		limit->used = 0;
	limit->used += limit->used < LOG_LIMIT_BURST;
	if (limit->used == LOG_LIMIT_BURST && limit->dropped == 0 && now < limit->next_ns)
		snprintf(suffix, room, "; from now on one such line a second");
	limit->dropped = 0;
	limit->next_ns = now + SECOND_NS;
	return true;
}

void log_limited(struct log_limit *limit, const char *format, ...)
{
	char suffix[64] = "";
	uint64_t now = clock_ns();
	bool is_allowed;
	va_list args;

	pthread_mutex_lock(&limits_lock);
	is_allowed = limit_allows(limit, now, suffix, sizeof(suffix));
	pthread_mutex_unlock(&limits_lock);
	if (!is_allowed)
		return;
	va_start(args, format);
	write_line(LOG_LEVEL_WARN, suffix, format, args);
	va_end(args);
}
