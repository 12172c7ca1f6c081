/* SPDX-License-Identifier: BSD-3-Clause */
/* egress_log.c - a file that says which packets were refused */
#include "backend/egress_log.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 256, MS_NS = 1000000 };

int egress_log_open(struct egress_log *l, const char *path, const char *name, struct err *e)
{
	struct stat st;

	*l = (struct egress_log){.fd = -1, .name = name};
	if (!path)
		return 0;
	l->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644);
	if (l->fd < 0)
		return err_set(e, errno, "log: %s: cannot open%s", path,
			       errno == ENXIO ? " a FIFO that nobody reads" : "");
	l->room = EGRESS_LOG_BYTES_MAX;
	if (fstat(l->fd, &st) == 0 && S_ISREG(st.st_mode))
		l->room = st.st_size < EGRESS_LOG_BYTES_MAX
				  ? (uint64_t)(EGRESS_LOG_BYTES_MAX - st.st_size)
				  : 0;
	else
		l->room = UINT64_MAX;
	return 0;
}

void egress_log_close(struct egress_log *l)
{
	fd_close(&l->fd);
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000 * MS_NS + (uint64_t)t.tv_nsec;
}

static size_t line_make(const struct egress_log *l, const struct egress_packet *p,
			enum egress_verdict verdict, char line[LINE_BYTES])
{
	uint64_t now_ms = now_ns(CLOCK_REALTIME) / MS_NS;
	char packet[160], left_out[48] = "";

	egress_describe(p, packet, sizeof(packet));
	if (l->left_out > 0)
		snprintf(left_out, sizeof(left_out), " (%llu more before)",
			 (unsigned long long)l->left_out);
	snprintf(line, LINE_BYTES, "%llu.%03u %s: %s: %s%s\n", (unsigned long long)now_ms / 1000,
		 (unsigned)(now_ms % 1000), l->name, packet, egress_reasons[verdict], left_out);
	return strlen(line);
}

void egress_log_refused(struct egress_log *l, const struct egress_packet *p,
			enum egress_verdict verdict)
{
	char line[LINE_BYTES];
	uint64_t now;
	size_t n;

	if (l->fd < 0)
		return;
	now = now_ns(CLOCK_MONOTONIC);
	if (l->lines.rate == 0)
		bucket_set(&l->lines, EGRESS_LOG_RATE, (uint64_t)EGRESS_LOG_BURST_MS * MS_NS, now);
	l->left_out++;
	if (bucket_wait(&l->lines, now) > 0)
		return;
	l->left_out--;
	bucket_take(&l->lines, now, 1);
	n = line_make(l, p, verdict, line);
	if (n > l->room || write(l->fd, line, n) != (ssize_t)n) {
		l->left_out++;
		return;
	}
	l->room -= l->room == UINT64_MAX ? 0 : n;
	l->left_out = 0;
}
