/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * listen.c - UNIX sockets that listen at a path
 *
 * The name is taken under a lock on the directory, so that a socket which is bound but does not
 * listen yet is not mistaken for one that a dead process left behind.
 */
#include "base/listen.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_PAUSE_NS = 5000000, LOCK_TRIES = 400 };

/* Many times as long as others need it; whoever may read the directory could keep it for ever. */
static int lock_wait(int fd, const char *path, struct err *e)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};

	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK; i++) {
		if (i == LOCK_TRIES)
			return err_say(e, EBUSY,
				       "%s: another program keeps its directory locked (flock); "
				       "choose another directory", path);
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* 0, and the lock; a directory that cannot be read goes without. */
static int directory_lock(const char *path, int *ret_lock, struct err *e)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)] = ".";
	const char *slash = strrchr(path, '/');

	if (slash) {
		memcpy(dir, path, (size_t)(slash - path) + 1);
		dir[slash - path + 1] = '\0';
	}
	*ret_lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret_lock < 0 ? 0 : lock_wait(*ret_lock, path, e);
}

/* Removes what a dead process left behind. */
static int stale_remove(const struct sockaddr_un *a, struct err *e)
{
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (fd < 0)
		return err_set(e, errno, "cannot make a socket");
	if (lstat(a->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : err_set(e, errno, "%s", a->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return err_say(e, EEXIST, "%s: exists and is no socket; choose another path",
			       a->sun_path);
	if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0 || errno == EAGAIN)
		return err_say(e, EADDRINUSE,
			       "%s: a running program listens there; choose another path",
			       a->sun_path);
	if (errno != ECONNREFUSED)
		return err_set(e, errno, "%s: exists and does not answer", a->sun_path);
	if (unlink(a->sun_path) < 0 && errno != ENOENT)
		return err_set(e, errno, "%s: cannot remove what a dead process left behind",
			       a->sun_path);
	return 0;
}

static int name_take(int sock, const struct sockaddr_un *a, struct err *e)
{
	int r;

	if (bind(sock, (const struct sockaddr *)a, sizeof(*a)) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return err_set(e, errno, "cannot listen at %s", a->sun_path);
	r = stale_remove(a, e);
	if (r == 0 && bind(sock, (const struct sockaddr *)a, sizeof(*a)) < 0)
		r = err_set(e, errno, "cannot listen at %s", a->sun_path);
	return r;
}

void listen_stale_remove(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	auto_fd lock = -1;
	struct err ignored;

	if (strlen(path) >= sizeof(a.sun_path))
		return;
	memcpy(a.sun_path, path, strlen(path));
	if (directory_lock(path, &lock, &ignored) == 0 && lock >= 0)
		stale_remove(&a, &ignored); /* what stays is another's, or not ours to remove */
}

int listen_at(const char *path, int backlog, mode_t mode, struct err *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	auto_fd lock = -1;
	int r;

	if (fd < 0)
		return err_set(e, errno, "cannot make a socket");
	if (strlen(path) >= sizeof(a.sun_path))
		return err_say(e, ENAMETOOLONG,
			       "%s: longer than a socket's path can be (%zu bytes)", path,
			       sizeof(a.sun_path) - 1);
	memcpy(a.sun_path, path, strlen(path));
	if (fchmod(fd, mode) < 0)
		return err_set(e, errno, "cannot set the mode of %s", path);
	r = directory_lock(path, &lock, e);
	if (r == 0)
		r = name_take(fd, &a, e);
	if (r == 0 && listen(fd, backlog) < 0) {
		r = err_set(e, errno, "cannot listen at %s", path);
		unlink(path);
	}
	return r < 0 ? r : fd_take(&fd);
}
