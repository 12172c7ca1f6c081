/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * syslog.h - lines to the host's syslog, by its datagram socket
 *
 * Not the C library's syslog(): that connects again by path when the daemon was restarted, and
 * waits for one that does not read.  A jailed process can do the first no more, and must not do the
 * second.  But a connection belongs to the socket, not to the process: another one that was forked
 * from this one, and still has paths, makes it anew for both (syslog_connect_again()).
 *
 * A line is "<14>Nov 22 20:31:02 crosvm[77]: block0: text", as local senders write it (RFC 3164
 * 4.1, without the host's name).
 */
#pragma once

#include "base/attr.h"
#include "base/log.h"

#include <stdbool.h>

#define SYSLOG_PATH "/dev/log"

enum syslog_use {
	SYSLOG_AUTO, /* if somebody listens, and stderr is not the journal already */
	SYSLOG_ON,   /* a warning if nobody does */
	SYSLOG_OFF,
};

struct syslog {
	int sock;               /* -1: none */
	bool is_away;           /* the last line found nobody */
	unsigned missed;        /* lines, since then */
	const char *path, *tag; /* borrowed */
	long pid;
};

/* Connects, and reads the time zone; before the jail.  0 or -errno. */
int syslog_open(struct syslog *s, const char *path, const char *tag) MUST_CHECK;
void syslog_close(struct syslog *s);

enum syslog_result {
	SYSLOG_TAKEN,
	SYSLOG_GONE, /* nobody listens there any more: the first line that finds that */
	SYSLOG_AWAY, /* and the others */
};

/*
 * Sends a line, at facility "user".  From any thread; never waits: what the daemon can't take is
 * dropped.  When somebody listens again the first line tells how many found nobody.
 */
enum syslog_result syslog_line(struct syslog *s, enum log_level level, const char *name,
			       const char *text);

/* In a process that has paths: connects the socket, which may be shared, to whoever listens. */
int syslog_connect_again(const struct syslog *s) MUST_CHECK;
