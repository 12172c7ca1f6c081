/* SPDX-License-Identifier: BSD-3-Clause */
/* landlock.c - a program that may reach few files: the kernel's Landlock */
#include "jail/landlock.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FIRST_WITH_REFER = 2, FIRST_WITH_TRUNCATE = 3 };

static const uint64_t right_truncate = UINT64_C(1) << 14; /* younger than Debian 12's headers */
static const uint64_t rights_of_first =
	LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |
	LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR |
	LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
	LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
	LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;

/* Version of the kernel's interface, or -errno. */
static int version(void)
{
	long r = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return r < 0 ? -errno : (int)r;
}

int landlock_new(void)
{
	struct landlock_ruleset_attr a = {.handled_access_fs = rights_of_first};
	int known = version();
	long r;

	if (known < 0)
		return known;
	if (known >= FIRST_WITH_REFER)
		a.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
	if (known >= FIRST_WITH_TRUNCATE)
		a.handled_access_fs |= right_truncate;
	r = syscall(SYS_landlock_create_ruleset, &a, sizeof(a), 0);
	return r < 0 ? -errno : (int)r;
}

static uint64_t rights_of(enum landlock_access access, bool is_folder)
{
	uint64_t rights = LANDLOCK_ACCESS_FS_READ_FILE;

	if (is_folder)
		rights |= LANDLOCK_ACCESS_FS_READ_DIR;
	if (access == LANDLOCK_RUNS)
		rights |= LANDLOCK_ACCESS_FS_EXECUTE;
	if (access == LANDLOCK_WRITES)
		rights |= LANDLOCK_ACCESS_FS_WRITE_FILE;
	if (access == LANDLOCK_WRITES && version() >= FIRST_WITH_TRUNCATE)
		rights |= right_truncate;
	return rights;
}

int landlock_allow(int rules, int fd, enum landlock_access access)
{
	struct landlock_path_beneath_attr a = {.parent_fd = fd};
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	a.allowed_access = rights_of(access, S_ISDIR(st.st_mode));
	if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &a, 0) == 0)
		return 0;
	return errno == EBADFD ? 0 : -errno; /* a memfd, a pipe: never restricted */
}

int landlock_allow_path(int rules, const char *path, enum landlock_access access)
{
	auto_fd fd = open(path, O_PATH | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return landlock_allow(rules, fd, access);
}

int landlock_enter(int rules)
{
	return syscall(SYS_landlock_restrict_self, rules, 0) < 0 ? -errno : 0;
}
