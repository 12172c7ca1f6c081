/* SPDX-License-Identifier: BSD-3-Clause */
/* syslog.c - lines to the host's syslog, by its datagram socket */
#include "base/syslog.h"

#include "base/fd.h"
#include "base/num.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { FACILITY_USER = 1 << 3, DATAGRAM_MAX = LOG_TEXT_MAX + 128 };

static int connect_to(int sock, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	return connect(sock, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

int syslog_open(struct syslog *s, const char *path, const char *tag)
{
	auto_fd sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r = sock < 0 ? -errno : connect_to(sock, path);

	*s = (struct syslog){.sock = -1, .path = path, .tag = tag, .pid = getpid()};
	if (r < 0)
		return r;
	tzset(); /* there is no /etc in the jail */
	s->sock = fd_take(&sock);
	return 0;
}

void syslog_close(struct syslog *s)
{
	fd_close(&s->sock);
}

int syslog_connect_again(const struct syslog *s)
{
	return connect_to(s->sock, s->path);
}

/* 0, also of one that was dropped because the daemon does not read; or -errno: there is none. */
static int datagram_send(struct syslog *s, enum log_level level, const char *name, const char *text)
{
	char packet[DATAGRAM_MAX], time_text[32] = "";
	time_t now = time(NULL);
	struct tm local;
	int n;

	if (localtime_r(&now, &local))
		strftime(time_text, sizeof(time_text), "%b %e %H:%M:%S", &local);
	n = snprintf(packet, sizeof(packet), "<%u>%s %.32s[%ld]: %.*s%s%s",
		     FACILITY_USER | log_severity(level), time_text, s->tag, s->pid, LOG_NAME_MAX,
		     name ? name : "", name ? ": " : "", text);
	n = fd_send(s->sock, packet, min_size((size_t)n, sizeof(packet) - 1), NULL, 0);
	return n == -ECONNREFUSED || n == -ENOTCONN || n == -ECONNRESET ? n : 0;
}

/* The daemon is back: how much it missed.  0 or -errno. */
static int missed_tell(struct syslog *s)
{
	unsigned missed = __atomic_exchange_n(&s->missed, 0, __ATOMIC_RELAXED);
	char text[80];
	int r;

	if (missed == 0)
		return 0;
	snprintf(text, sizeof(text), "%u line%s did not reach the syslog; crosvm log may have %s",
		 missed, missed == 1 ? "" : "s", missed == 1 ? "it" : "them");
	r = datagram_send(s, LOG_LEVEL_WARN, NULL, text);
	if (r < 0)
		__atomic_add_fetch(&s->missed, missed, __ATOMIC_RELAXED);
	return r;
}

enum syslog_result syslog_line(struct syslog *s, enum log_level level, const char *name,
			       const char *text)
{
	if (s->sock < 0)
		return SYSLOG_TAKEN;
	if (missed_tell(s) == 0 && datagram_send(s, level, name, text) == 0) {
		__atomic_store_n(&s->is_away, false, __ATOMIC_RELAXED);
		return SYSLOG_TAKEN;
	}
	__atomic_add_fetch(&s->missed, 1, __ATOMIC_RELAXED);
	return __atomic_exchange_n(&s->is_away, true, __ATOMIC_RELAXED) ? SYSLOG_AWAY : SYSLOG_GONE;
}
