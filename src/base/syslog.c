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

int syslog_open(struct syslog *s, const char *path, const char *tag)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	auto_fd sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	*s = (struct syslog){.sock = -1, .tag = tag, .pid = getpid()};
	if (sock < 0)
		return -errno;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	if (connect(sock, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	tzset(); /* there is no /etc in the jail */
	s->sock = fd_take(&sock);
	return 0;
}

void syslog_close(struct syslog *s)
{
	fd_close(&s->sock);
}

bool syslog_line(struct syslog *s, enum log_level level, const char *name, const char *text)
{
	char packet[DATAGRAM_MAX], time_text[32] = "";
	time_t now = time(NULL);
	struct tm local;
	int n;

	if (s->sock < 0 || __atomic_load_n(&s->is_lost, __ATOMIC_RELAXED))
		return true;
	if (localtime_r(&now, &local))
		strftime(time_text, sizeof(time_text), "%b %e %H:%M:%S", &local);
	n = snprintf(packet, sizeof(packet), "<%u>%s %.32s[%ld]: %.*s%s%s",
		     FACILITY_USER | log_severity(level), time_text, s->tag, s->pid, LOG_NAME_MAX,
		     name ? name : "", name ? ": " : "", text);
	n = fd_send(s->sock, packet, min_size((size_t)n, sizeof(packet) - 1), NULL, 0);
	if (n != -ECONNREFUSED && n != -ENOTCONN && n != -ECONNRESET)
		return true;
	return __atomic_exchange_n(&s->is_lost, true, __ATOMIC_RELAXED); /* true: told before */
}
