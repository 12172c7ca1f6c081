/* SPDX-License-Identifier: BSD-3-Clause */
/* leftover.c - files that must not outlive the process */
#include "base/leftover.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct leftover {
	atomic_bool is_there;
	int dir_fd;
	dev_t dev;
	ino_t ino;
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

int leftover_add(const char *path, struct err *e)
{
	struct leftover *l = leftovers;
	struct stat st;
	int r;

	while (l < leftovers + LEFTOVERS_MAX && atomic_load(&l->is_there))
		l++;
	if (l == leftovers + LEFTOVERS_MAX)
		return err_say(e, ENOSPC, "%s: too many files to remove at the end", path);
	r = directory_open(l, path, e);
	if (r < 0)
		return r;
	if (fstatat(l->dir_fd, l->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		r = err_set(e, errno, "%s", path);
		fd_close(&l->dir_fd);
		return r;
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	atomic_store(&l->is_there, true);
	return 0;
}

void leftovers_remove(void)
{
	for (struct leftover *l = leftovers; l < leftovers + LEFTOVERS_MAX; l++) {
		struct stat st;

		if (!atomic_exchange(&l->is_there, false))
			continue;
		if (fstatat(l->dir_fd, l->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    st.st_dev == l->dev && st.st_ino == l->ino)
			unlinkat(l->dir_fd, l->name, 0);
		fd_close(&l->dir_fd);
	}
}

void leftovers_forget(void)
{
	for (struct leftover *l = leftovers; l < leftovers + LEFTOVERS_MAX; l++)
		if (atomic_exchange(&l->is_there, false))
			fd_close(&l->dir_fd);
}

bool leftover_has_fd(int fd)
{
	for (const struct leftover *l = leftovers; l < leftovers + LEFTOVERS_MAX; l++)
		if (atomic_load(&l->is_there) && l->dir_fd == fd)
			return true;
	return false;
}
