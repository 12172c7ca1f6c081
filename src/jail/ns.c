/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ns.c - namespaces
 *
 * An empty root is a read-only tmpfs of one inode.  It is mounted over /proc, the one folder that
 * every host has, made the root by pivot_root(".", "."), and the old root, then on top, is
 * detached.
 */
#include "jail/ns.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char sysctl_first_byte(const char *path)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	char c = '\0';

	if (fd < 0 || read(fd, &c, 1) != 1)
		return '\0';
	return c;
}

int ns_refused(struct err *e, int errnum, const char *what)
{
	static const struct {
		const char *path, *remedy;
		char forbids;
	} sysctls[] = {
		{"/proc/sys/user/max_user_namespaces", "sysctl user.max_user_namespaces=15000",
		 '0'},
		{"/proc/sys/kernel/unprivileged_userns_clone",
		 "sysctl kernel.unprivileged_userns_clone=1", '0'},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
		 "sysctl kernel.apparmor_restrict_unprivileged_userns=0", '1'},
	};

	for (size_t i = 0; i < ARRAY_LEN(sysctls); i++) {
		if (sysctl_first_byte(sysctls[i].path) == sysctls[i].forbids)
			return err_say(e, errnum,
				       "%s: %s: this host forbids user namespaces; as root: %s, "
				       "or run with --disable-sandbox, without isolation",
				       what, strerror(errnum), sysctls[i].remedy);
	}
	if (errnum == EPERM || errnum == EACCES || errnum == ENOSPC || errnum == EUSERS)
		return err_say(
			e, errnum,
			"%s: %s: a container, a chroot or a security policy forbids namespaces; "
			"allow them there (docker: --security-opt seccomp=unconfined), "
			"or run with --disable-sandbox, without isolation",
			what, strerror(errnum));
	return err_set(e, errnum, "%s", what);
}

static int file_write(const char *path, const char *text)
{
	auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fd_write_all(fd, text, strlen(text));
}

int ns_user_enter(struct err *e)
{
	unsigned uid = geteuid(), gid = getegid();
	char uid_map[32], gid_map[32];
	int r;

	snprintf(uid_map, sizeof(uid_map), "%u %u 1", uid, uid);
	snprintf(gid_map, sizeof(gid_map), "%u %u 1", gid, gid);
	if (unshare(CLONE_NEWUSER) < 0)
		return ns_refused(e, errno, "cannot make a user namespace");
	r = file_write("/proc/self/uid_map", uid_map);
	if (r == 0)
		r = file_write("/proc/self/setgroups", "deny");
	if (r == 0)
		r = file_write("/proc/self/gid_map", gid_map);
	if (r < 0)
		return ns_refused(e, -r, "cannot map own ids into a user namespace");
	return 0;
}

int ns_user_seal(struct err *e)
{
	if (unshare(CLONE_NEWUSER) < 0)
		return ns_refused(e, errno, "cannot make a user namespace");
	return 0;
}

/* Async-signal-safe; NULL or what failed, with errno. */
static const char *root_empty(void)
{
	const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return "cannot make mounts private";
	if (mount("empty", "/proc", "tmpfs", flags, "size=4k,nr_inodes=1,mode=555") < 0)
		return "cannot mount an empty root";
	if (chdir("/proc") < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return "cannot change to the empty root";
	if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return "cannot detach the host's files";
	return NULL;
}

int ns_empty_enter(bool with_root, bool with_network, struct err *e)
{
	int flags = (with_root ? CLONE_NEWNS : 0) | (with_network ? CLONE_NEWNET : 0);
	const char *failed;

	if (unshare(flags) < 0)
		return ns_refused(e, errno, "cannot make mount and network namespaces");
	if (!with_root)
		return 0;
	failed = root_empty();
	return failed ? ns_refused(e, errno, failed) : 0;
}

/* What the maker tells; its text is a literal that both processes have at the same place. */
struct made {
	const char *failed;
	int error;
	struct jail_ns ns;
};

static NORETURN void maker_run(int tell_fd)
{
	struct made m = {.ns = {-1, -1}};

	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0) {
		m.failed = "cannot make mount and network namespaces";
	} else {
		m.ns.mount = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
		m.ns.net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		m.failed = m.ns.mount < 0 || m.ns.net < 0 ? "cannot open own namespaces in /proc"
							  : root_empty();
	}
	m.error = errno;
	if (write(tell_fd, &m, sizeof(m)) < 0)
		_exit(1);
	_exit(0);
}

int ns_maker_start(struct ns_maker *m, struct err *e)
{
	auto_fd told = -1;
	auto_fd tell = -1;
	sigset_t all, old;
	int fds[2];
	long pid;

	*m = (struct ns_maker){.told_fd = -1, .tell_fd = -1};
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(e, errno, "cannot make a pipe");
	told = fds[0];
	tell = fds[1];
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* no handler of ours may run in the maker */
	/* What it opens is ours; no signal at its end.  glibc's fork() can do neither. */
	pid = syscall(SYS_clone, CLONE_FILES, NULL, NULL, NULL, NULL);
	if (pid == 0)
		maker_run(tell);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return err_set(e, errno, "cannot make a process");
	m->pid = (pid_t)pid;
	m->told_fd = fd_take(&told);
	m->tell_fd = fd_take(&tell);
	return 0;
}

int ns_maker_finish(struct ns_maker *m, struct jail_ns *ret_ns, struct err *e)
{
	struct made made;
	int r;

	while (waitpid(m->pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	fd_close(&m->tell_fd); /* so that there is an end to read */
	r = fd_read_all(m->told_fd, &made, sizeof(made));
	fd_close(&m->told_fd);
	m->pid = 0;
	if (r < 0)
		return err_say(e, ECHILD, "the process that makes namespaces was killed");
	if (made.failed) {
		fd_close(&made.ns.mount);
		fd_close(&made.ns.net);
		return ns_refused(e, made.error, made.failed);
	}
	*ret_ns = made.ns;
	return 0;
}
