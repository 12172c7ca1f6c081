/* SPDX-License-Identifier: BSD-3-Clause */
/* journal.c - what this VM and its devices logged lately, kept for `crosvm log`; and the syslog */
#include "vm/journal.h"

#include "base/num.h"
#include "base/syslog.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { ENTRY_ROOM = 2 * LOG_TEXT_MAX + 256 }; /* of a line in a reply, with every byte escaped */

struct entry {
	uint64_t at; /* of its text, counted from the first byte ever; modulo JOURNAL_BYTES */
	uint64_t time_ms;
	unsigned bytes;
	enum log_level level;
	char name[LOG_NAME_MAX];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct {
	uint64_t oldest, next; /* numbers of lines; each at its number modulo JOURNAL_LINES */
	uint64_t bytes;	       /* that were ever written */
	struct entry entries[JOURNAL_LINES];
	char text[JOURNAL_BYTES];
} journal GUARDED_BY(lock);

static struct syslog host = {.sock = -1};

/* Set while there is one thread. */
static struct {
	void (*ask)(void *context);
	void *context;
} asker;

static struct entry *entry_of(uint64_t number)
{
	return &journal.entries[number % JOURNAL_LINES];
}

static void text_copy_in(uint64_t at, const char *text, size_t n)
{
	size_t start = at % JOURNAL_BYTES, first = min_size(n, JOURNAL_BYTES - start);

	memcpy(journal.text + start, text, first);
	memcpy(journal.text, text + first, n - first);
}

static void text_copy_out(const struct entry *entry, char *out)
{
	size_t start = entry->at % JOURNAL_BYTES;
	size_t first = min_size(entry->bytes, JOURNAL_BYTES - start);

	memcpy(out, journal.text + start, first);
	memcpy(out + first, journal.text, entry->bytes - first);
	out[entry->bytes] = '\0';
}

/* Forgets the oldest until there is room for one of n bytes. */
static void make_room(size_t n)
{
	while (journal.oldest < journal.next &&
	       (journal.next - journal.oldest == JOURNAL_LINES ||
		journal.bytes + n - entry_of(journal.oldest)->at > JOURNAL_BYTES))
		journal.oldest++;
}

static uint64_t wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void keep(enum log_level level, const char *name, const char *text)
{
	size_t n = min_size(strlen(text), LOG_TEXT_MAX - 1);
	struct entry *entry;

	pthread_mutex_lock(&lock);
	make_room(n);
	entry = entry_of(journal.next++);
	*entry = (struct entry){.at = journal.bytes,
				.time_ms = wall_ms(),
				.bytes = (unsigned)n,
				.level = level};
	snprintf(entry->name, sizeof(entry->name), "%s", name ? name : "");
	text_copy_in(entry->at, text, n);
	journal.bytes += n;
	pthread_mutex_unlock(&lock);
}

static void take_line(enum log_level level, const char *name, const char *text)
{
	enum syslog_result r;

	keep(level, name, text);
	r = syslog_line(&host, level, name, text);
	if (r != SYSLOG_TAKEN && asker.ask)
		asker.ask(asker.context);
	if (r == SYSLOG_GONE)
		log_warn("nobody listens at " SYSLOG_PATH " any more; lines go to stderr only, "
			 "until somebody does");
}

/* In the process that has paths. */
static bool connect_again(void *context)
{
	return syslog_connect_again(context) == 0;
}

const struct respawn_errand *journal_errand(void)
{
	static struct respawn_errand errand = {.run = connect_again, .context = &host};

	errand.fd = host.sock;
	return host.sock >= 0 ? &errand : NULL;
}

void journal_ask_set(void (*ask)(void *context), void *context)
{
	asker.ask = ask;
	asker.context = context;
}

void journal_start(enum syslog_use use, const char *tag)
{
	int r = 0;

	log_sink_set(take_line);
	if (use == SYSLOG_ON || (use == SYSLOG_AUTO && !log_is_journal()))
		r = syslog_open(&host, SYSLOG_PATH, tag);
	if (r < 0 && use == SYSLOG_ON)
		log_warn("--syslog: " SYSLOG_PATH ": %s; lines go to stderr only", strerror(-r));
}

void journal_stop(void)
{
	log_sink_set(NULL);
	syslog_close(&host);
}

static void entry_reply(uint64_t number, struct json *reply)
{
	const struct entry *entry = entry_of(number);
	char text[LOG_TEXT_MAX];

	text_copy_out(entry, text);
	json_open(reply, NULL, '{');
	json_number(reply, "number", number);
	json_number(reply, "time_ms", entry->time_ms);
	json_text(reply, "level", log_level_names[entry->level]);
	json_text(reply, "source", entry->name[0] ? entry->name : "main");
	json_text(reply, "text", text);
	json_close(reply, '}');
}

void journal_reply(uint64_t since, uint64_t last_max, struct json *reply)
{
	uint64_t number;

	pthread_mutex_lock(&lock);
	number = since > journal.oldest ? since : journal.oldest;
	if (last_max > 0 && journal.next > last_max && number < journal.next - last_max)
		number = journal.next - last_max;
	json_open(reply, "lines", '[');
	while (number < journal.next && reply->room - reply->used > ENTRY_ROOM)
		entry_reply(number++, reply);
	json_close(reply, ']');
	json_number(reply, "oldest", journal.oldest);
	json_number(reply, "next", number < journal.next ? number : journal.next);
	json_bool(reply, "more", number < journal.next);
	pthread_mutex_unlock(&lock);
}
