/* SPDX-License-Identifier: BSD-3-Clause */
/* name_lock.c - names that only one of our processes on a network may use at a time */
#include "backend/name_lock.h"

#include "base/fd.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

int name_lock(const char *kind, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	auto_fd fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	/* A first byte of zero makes it abstract. */
	int n = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "crosvm/%s/%s", kind,
			 name);
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);

	if (n < 0 || (size_t)n >= sizeof(address.sun_path) - 1)
		return -ENAMETOOLONG;
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, length) < 0)
		return -errno;
	return fd_take(&fd);
}
