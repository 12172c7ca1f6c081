/* SPDX-License-Identifier: BSD-3-Clause */
/* leftover.c - files that must not outlive the process */
#include "base/leftover.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct leftover {
	atomic_bool is_there;
	int dir_fd;
	int file_fd; /* while it is open, no other file gets this one's inode number */
	char name[LEFTOVER_NAME_MAX];
};

static struct leftover leftovers[LEFTOVERS_MAX];

/* Opens the directory of path and fills in the last part of its name. */
static int directory_open(struct leftover *l, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char dir[4096] = ".";
	int n = snprintf(l->name, sizeof(l->name), "%s", slash ? slash + 1 : path);

	if (n <= 0 || (size_t)n >= sizeof(l->name))
		return err_say(e, ENAMETOOLONG, "%s: name is empty or too long", path);
	if (slash && snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path + 1), path) >= 4096)
		return err_say(e, ENAMETOOLONG, "%s: too long", path);
	l->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return l->dir_fd < 0 ? err_set(e, errno, "%s: cannot open its directory", path) : 0;
}

static int leftover_register(const char *path, struct err *e)
{
	struct leftover *l = leftovers;
	int r;

	while (l < leftovers + LEFTOVERS_MAX && atomic_load(&l->is_there))
		l++;
	if (l == leftovers + LEFTOVERS_MAX)
		return err_say(e, ENOSPC, "%s: too many files to remove at the end", path);
	r = directory_open(l, path, e);
	if (r < 0)
		return r;
	l->file_fd = openat(l->dir_fd, l->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (l->file_fd < 0) {
		r = err_set(e, errno, "%s", path);
		fd_close(&l->dir_fd);
		return r;
	}
	atomic_store(&l->is_there, true);
	return 0;
}

int leftover_add(const char *path, struct err *e)
{
	int r = leftover_register(path, e);

	if (r < 0)
		unlink(path);
	return r;
}

/* 0, also if the name does not stand for the file any more, or -errno. */
static int file_remove(const struct leftover *l)
{
	struct stat now, then;

	if (fstatat(l->dir_fd, l->name, &now, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(l->file_fd, &then) < 0)
		return -errno;
	if (now.st_dev != then.st_dev || now.st_ino != then.st_ino)
		return 0;
	return unlinkat(l->dir_fd, l->name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static void forget(struct leftover *l)
{
	fd_close(&l->file_fd);
	fd_close(&l->dir_fd);
}

/* Not by log.h: a signal may have come while this very thread had stderr's lock. */
static void warn(const struct leftover *l, int error)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	char line[LEFTOVER_NAME_MAX + 128];
	char *end = stpcpy(line, "crosvm: warning: ");

	end = stpcpy(end, l->name);
	end = stpcpy(end, ": cannot be removed: ");
	end = stpncpy(end, strerrordesc_np(error), 64);
	*end++ = '\n';
	if (poll(&p, 1, 0) == 1 && write(STDERR_FILENO, line, (size_t)(end - line)) < 0)
		return;
}

void leftovers_remove(void)
{
	for (struct leftover *l = leftovers; l < leftovers + LEFTOVERS_MAX; l++) {
		int r;

		if (!atomic_exchange(&l->is_there, false))
			continue;
		r = file_remove(l);
		if (r < 0)
			warn(l, -r);
		forget(l);
	}
}

void leftovers_forget(void)
{
	for (struct leftover *l = leftovers; l < leftovers + LEFTOVERS_MAX; l++)
		if (atomic_exchange(&l->is_there, false))
			forget(l);
}

int leftover_fd_from(int first)
{
	int found = -1;

	for (const struct leftover *l = leftovers; l < leftovers + LEFTOVERS_MAX; l++) {
		const int fds[] = {l->dir_fd, l->file_fd};

		for (size_t i = 0; i < ARRAY_LEN(fds) && atomic_load(&l->is_there); i++)
			if (fds[i] >= first && (found < 0 || fds[i] < found))
				found = fds[i];
	}
	return found;
}
