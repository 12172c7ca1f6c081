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

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
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

/* What the maker leaves; its text is a literal, which is in the same place in who started it. */
struct made {
	const char *failed;
	intptr_t error; /* no padding: it would take some of the maker's stack into every jail */
};

static_assert(sizeof(struct made) == 2 * sizeof(intptr_t), "no padding");

enum { MADE_FDS = 2 }; /* mount, network */

/* failed: NULL, or why there are no fds, with errno.  Who does not hear of it sees the end. */
static int made_tell(int sock, const char *failed, const int fds[MADE_FDS])
{
	const struct made m = {.failed = failed, .error = errno};

	return fd_send(sock, &m, sizeof(m), fds, failed ? 0 : MADE_FDS);
}

static NORETURN void maker_run(int sock)
{
	const char *failed = "cannot make mount and network namespaces";
	int fds[MADE_FDS] = {-1, -1};

	if (unshare(CLONE_NEWNS | CLONE_NEWNET) == 0) {
		fds[0] = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
		fds[1] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		failed = fds[0] < 0 || fds[1] < 0 ? "cannot open own namespaces in /proc"
						  : root_empty();
	}
	_exit(made_tell(sock, failed, fds) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

int ns_maker_init(struct ns_maker *m, struct jail_ns *ret_ns, struct err *e)
{
	int pair[2];
	int r = fd_socketpair(SOCK_SEQPACKET, pair);

	*m = (struct ns_maker){.fd = -1};
	if (r < 0)
		return err_set(e, -r, "cannot make a socket pair");
	ret_ns->fd = pair[0];
	m->fd = pair[1];
	return 0;
}

void ns_maker_start(struct ns_maker *m)
{
	sigset_t all, old;
	pid_t pid;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old); /* no handler of ours may run in the maker */
	pid = fork();
	if (pid == 0)
		maker_run(m->fd);
	m->pid = pid > 0 ? pid : 0;
	if (pid < 0 && made_tell(m->fd, "cannot make a process", NULL) < 0)
		m->pid = 0; /* its end of the socket closes, which tells as much */
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	fd_close(&m->fd);
}

/* What the maker left, with fds only if nothing failed; 0 if it left nothing, or -errno. */
static ssize_t made_look(const struct jail_ns *ns, struct made *ret, int ret_fds[MADE_FDS],
			 size_t *ret_nfds)
{
	return fd_peek(ns->fd, ret, sizeof(*ret), ret_fds, MADE_FDS, ret_nfds);
}

void ns_maker_fini(struct ns_maker *m)
{
	fd_close(&m->fd);
	while (m->pid > 0 && waitpid(m->pid, NULL, 0) < 0 && errno == EINTR)
		;
	m->pid = 0;
}

int ns_maker_finish(struct ns_maker *m, const struct jail_ns *ns, struct err *e)
{
	int fds[MADE_FDS];
	struct made made;
	size_t nfds;
	ssize_t n;

	ns_maker_fini(m);
	n = made_look(ns, &made, fds, &nfds);
	for (size_t i = 0; i < nfds; i++)
		fd_close(&fds[i]);
	if (n < 0)
		return err_set(e, (int)-n, "cannot receive the empty namespaces");
	if (n != (ssize_t)sizeof(made))
		return err_say(e, ECHILD, "the process that makes namespaces was killed");
	return made.failed ? ns_refused(e, (int)made.error, made.failed) : 0;
}

int ns_made_join(const struct jail_ns *ns, bool with_root, bool with_network, struct err *e)
{
	auto_fd mount_ns = -1;
	auto_fd net_ns = -1;
	int fds[MADE_FDS];
	struct made made;
	size_t nfds;
	ssize_t n = made_look(ns, &made, fds, &nfds);

	if (n < 0)
		return err_set(e, (int)-n, "cannot receive the empty namespaces");
	if (n != (ssize_t)sizeof(made) || nfds != MADE_FDS)
		_exit(EXIT_FAILURE);
	mount_ns = fds[0];
	net_ns = fds[1];
	if (with_network && setns(net_ns, CLONE_NEWNET) < 0)
		return ns_refused(e, errno, "cannot join the empty network namespace");
	if (with_root && setns(mount_ns, CLONE_NEWNS) < 0)
		return ns_refused(e, errno, "cannot join the empty mount namespace");
	return 0;
}
