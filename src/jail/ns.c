/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ns.c - namespaces
 *
 * An empty root is a read-only tmpfs of one inode.  It is mounted over /proc, the one folder that
 * every host has, made the root by pivot_root(".", "."), and the old root, then on top, is detached.
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
		{ "/proc/sys/user/max_user_namespaces", "sysctl user.max_user_namespaces=15000", '0' },
		{ "/proc/sys/kernel/unprivileged_userns_clone",
		  "sysctl kernel.unprivileged_userns_clone=1", '0' },
		{ "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
		  "sysctl kernel.apparmor_restrict_unprivileged_userns=0", '1' },
	};

	for (size_t i = 0; i < ARRAY_LEN(sysctls); i++) {
		if (sysctl_first_byte(sysctls[i].path) == sysctls[i].forbids)
			return err_say(e, errnum,
				       "%s: %s: this host forbids user namespaces; as root: %s, "
				       "or run with --disable-sandbox, without isolation",
				       what, strerror(errnum), sysctls[i].remedy);
	}
	if (errnum == EPERM || errnum == EACCES || errnum == ENOSPC || errnum == EUSERS)
		return err_say(e, errnum,
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

enum { STACK_SIZE = 16384 };

struct maker {
	int mount, net;
	const char *failed;
	int error;
	char stack[STACK_SIZE];
};

/* Shares memory and fds with the parent, which waits: what it opens is the parent's. */
static int maker_run(void *arg)
{
	struct maker *m = arg;

	m->failed = "cannot open own namespaces in /proc";
	m->mount = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	m->net = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (m->mount >= 0 && m->net >= 0)
		m->failed = root_empty();
	m->error = errno;
	_exit(0);
}

int ns_empty_make(struct jail_ns *ret_ns, struct err *e)
{
	const int flags = CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_NEWNS | CLONE_NEWNET;
	auto_free struct maker *m = malloc(sizeof(*m));
	sigset_t all, old;
	pid_t pid;

	if (!m)
		return err_set(e, ENOMEM, "cannot make namespaces");
	sigfillset(&all);
	m->mount = -1;
	m->net = -1;
	m->failed = "cannot make mount and network namespaces";
	m->error = EINTR; /* killed before it came to anything */
	pthread_sigmask(SIG_SETMASK, &all, &old); /* no handler of ours may run in the child */
	pid = clone(maker_run, m->stack + STACK_SIZE, flags, m);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return ns_refused(e, errno, m->failed);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	if (m->failed) {
		fd_close(&m->mount);
		fd_close(&m->net);
		return ns_refused(e, m->error, m->failed);
	}
	*ret_ns = (struct jail_ns){ .mount = m->mount, .net = m->net };
	return 0;
}
