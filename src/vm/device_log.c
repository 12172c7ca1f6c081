/* SPDX-License-Identifier: BSD-3-Clause */
/* device_log.c - what device processes say on stderr, put out by main */
#include "vm/device_log.h"

#include "base/fd.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MS_NS UINT64_C(1000000)

enum { DRAIN_READS = 32 }; /* twice what a pipe holds */

int device_log_init(struct device_log *log, struct device_logs *all, const char *name,
		    struct err *e)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_set(e, errno, "%s: cannot make a pipe for its log", name);
	*log = (struct device_log){
		.all = all, .name = name, .out = fds[1], .allowance = DEVICE_LOG_BURST};
	log->watch.fd = fds[0];
	return 0;
}

/* ---- lines ---- */

/* D2: whether one more may be shown. */
static bool spend(struct device_log *log)
{
	uint64_t now = clock_ns(), more = (now - log->filled_ns) / (DEVICE_LOG_REFILL_MS * MS_NS);

	if (more > 0) {
		log->filled_ns = now;
		log->allowance = more < DEVICE_LOG_BURST - log->allowance
					 ? log->allowance + (unsigned)more
					 : DEVICE_LOG_BURST;
	}
	if (log->allowance == 0)
		return false;
	log->allowance--;
	return true;
}

static void suppressed_tell(struct device_log *log)
{
	char text[64];

	if (log->suppressed == 0)
		return;
	snprintf(text, sizeof(text), "%u more lines suppressed", log->suppressed);
	log->suppressed = 0;
	log_line(LOG_LEVEL_WARN, log->name, text);
}

/* Whether none are left untold. */
static bool spend_on_suppressed(struct device_log *log)
{
	if (log->suppressed > 0 && spend(log))
		suppressed_tell(log);
	return log->suppressed == 0;
}

/* Ours begin with their severity; what the C library says at an abort does not. */
static void line_end(struct device_log *log)
{
	enum log_level level = LOG_LEVEL_ERROR;
	const char *text = log->text;

	log->text[log->used] = '\0';
	log->used = 0;
	if (text[0] == '<' && text[1] >= '0' && text[1] <= '7' && text[2] == '>') {
		level = log_level_of_severity((unsigned)(text[1] - '0'));
		text += strlen("<4>");
	}
	if (*text == '\0' || level > log_level())
		return;
	if (spend_on_suppressed(log) && spend(log))
		log_line(level, log->name, text);
	else
		log->suppressed++;
}

static void bytes_take(struct device_log *log, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] == '\n') {
			if (!log->is_skipping)
				line_end(log);
			log->is_skipping = false;
		} else if (!log->is_skipping) {
			log->text[log->used++] = bytes[i] ? bytes[i] : '?';
			log->is_skipping = log->used == sizeof(log->text) - 1;
			if (log->is_skipping)
				line_end(log);
		}
	}
}

/* Whether there was something. */
static bool read_some(struct device_log *log)
{
	char bytes[DEVICE_LOG_READ];
	ssize_t n = read(log->watch.fd, bytes, sizeof(bytes));

	if (n > 0)
		bytes_take(log, bytes, (size_t)n);
	return n > 0;
}

/* ---- reading, and resting ---- */

static void rest(struct device_log *log)
{
	struct device_logs *all = log->all;

	if (log->is_watched)
		loop_remove(all->loop, &log->watch);
	log->is_watched = false;
	if (log->is_resting)
		return;
	if (!all->resting)
		timer_set(&all->rest, DEVICE_LOG_REST_MS * MS_NS, 0);
	log->is_resting = true;
	log->next_resting = all->resting;
	all->resting = log;
}

static void log_ready(struct watch *w, uint32_t events UNUSED)
{
	struct device_log *log = container_of(w, struct device_log, watch);

	/* A pipe whose writers are gone is ready for ever. */
	if (read_some(log)) {
		rest(log);
	} else {
		loop_remove(log->all->loop, w);
		log->is_watched = false;
	}
}

static void rested(struct timer *t)
{
	struct device_logs *all = container_of(t, struct device_logs, rest);
	struct device_log *log = all->resting;

	all->resting = NULL;
	while (log) {
		struct device_log *next = log->next_resting;

		log->is_resting = false;
		if (spend_on_suppressed(log))
			log->is_watched = loop_add(all->loop, &log->watch, EPOLLIN) == 0;
		else
			rest(log);
		log = next;
	}
}

int device_log_start(struct device_log *log)
{
	int r;

	if (!log->all)
		return 0;
	fd_close(&log->out);
	log->watch.ready = log_ready;
	r = loop_add(log->all->loop, &log->watch, EPOLLIN);
	log->is_watched = r == 0;
	return r;
}

void device_log_drain(struct device_log *log)
{
	if (!log->all)
		return;
	for (int i = 0; i < DRAIN_READS && read_some(log); i++)
		;
	if (log->used > 0 && !log->is_skipping)
		line_end(log);
	log->is_skipping = false; /* what comes now is of another process */
	spend_on_suppressed(log);
}

void device_log_fini(struct device_log *log)
{
	struct device_log **link;

	if (!log || !log->all)
		return;
	suppressed_tell(log);
	for (link = &log->all->resting; *link && *link != log; link = &(*link)->next_resting)
		;
	if (*link)
		*link = log->next_resting;
	if (log->is_watched)
		loop_remove(log->all->loop, &log->watch);
	fd_close(&log->watch.fd);
	fd_close(&log->out);
	log->all = NULL;
}

int device_logs_init(struct device_logs *all, struct loop *l)
{
	*all = (struct device_logs){.loop = l};
	return timer_init(&all->rest, l, rested);
}

void device_logs_fini(struct device_logs *all)
{
	if (all && all->loop)
		timer_fini(&all->rest, all->loop);
}
