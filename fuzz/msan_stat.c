/* SPDX-License-Identifier: BSD-3-Clause */
/* msan_stat.c - for clang 14's MSan, which does not know what stat() and statx() write */
#include <fcntl.h>
#include <sanitizer/msan_interface.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int fstatat(int dir, const char *restrict path, struct stat *restrict st, int flags)
{
	int r = (int)syscall(SYS_newfstatat, dir, path, st, flags);

	if (r == 0)
		__msan_unpoison(st, sizeof(*st));
	return r;
}

int fstat(int fd, struct stat *st)
{
	return fstatat(fd, "", st, AT_EMPTY_PATH);
}

int stat(const char *restrict path, struct stat *restrict st)
{
	return fstatat(AT_FDCWD, path, st, 0);
}

int lstat(const char *restrict path, struct stat *restrict st)
{
	return fstatat(AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW);
}

int statx(int dir, const char *restrict path, int flags, unsigned mask, struct statx *restrict x)
{
	int r = (int)syscall(SYS_statx, dir, path, flags, mask, x);

	if (r == 0)
		__msan_unpoison(x, sizeof(*x));
	return r;
}
