/* SPDX-License-Identifier: BSD-3-Clause */
/* tool.c - other programs that prepare a guest's files, run without a shell */
#include "cli/tool.h"

#include "base/fd.h"
#include "jail/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SAID_MAX = 400, EXEC_FAILED = 127 };

/* A user's PATH may lack what belongs to the administrator. */
static const char usual_places[] = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

static int find_in(const char *places, const char *name, char *path, size_t room)
{
	while (*places) {
		size_t n = strcspn(places, ":");
		int used = snprintf(path, room, "%.*s/%s", (int)n, places, name);

		if (*places == '/' && used > 0 && (size_t)used < room && access(path, X_OK) == 0)
			return 0;
		places += n + (places[n] == ':');
	}
	return -ENOENT;
}

int tool_find(const char *name, char *path, size_t room)
{
	const char *places = getenv("PATH");

	if (places && find_in(places, name, path, room) == 0)
		return 0;
	return find_in(usual_places, name, path, room);
}

/* Moves fd to a number; what is there already may be the fd itself. */
static void place(int fd, int number)
{
	if (fd == number)
		fcntl(fd, F_SETFD, 0);
	else if (fd >= 0)
		dup2(fd, number);
	else
		close(number);
}

/* Its own program, which may be anywhere: PREFIX of PREFIX/bin/NAME. */
static int allow_prefix(int rules, const char *path)
{
	char *full auto_free = realpath(path, NULL);

	for (int i = 0; full && i < 2; i++) {
		char *slash = strrchr(full, '/');

		if (slash)
			*slash = '\0';
	}
	return full && *full ? landlock_allow_path(rules, full, LANDLOCK_RUNS) : 0;
}

/* 0 or -errno. */
static int reach_limit(const struct tool *t, const char *path)
{
	static const char *const places[] = {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64",
					     "/etc/ld.so.cache", "/nix/store", "/gnu/store"};
	auto_fd rules = landlock_new();
	int r = 0;

	if (rules < 0)
		return rules == -ENOSYS || rules == -EOPNOTSUPP ? 0 : rules;
	for (size_t i = 0; i < ARRAY_LEN(places) && r == 0; i++)
		r = landlock_allow_path(rules, places[i], LANDLOCK_RUNS);
	if (r == 0)
		r = landlock_allow_path(rules, "/dev/null", LANDLOCK_WRITES);
	if (r == 0)
		r = allow_prefix(rules, path);
	if (r == 0 && t->dir >= 0)
		r = landlock_allow(rules, t->dir, LANDLOCK_READS);
	if (r == 0 && t->file >= 0)
		r = landlock_allow(rules, t->file, LANDLOCK_WRITES);
	return r < 0 ? r : landlock_enter(rules);
}

/* Where it works, and what it can reach; before descriptors are moved.  0 or -errno. */
static int surroundings_set(const struct tool *t, const char *path)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (t->dir >= 0 && fchdir(t->dir) < 0)
		return -errno;
	return t->is_confined ? reach_limit(t, path) : 0;
}

_Noreturn static void child(const struct tool *t, const char *path, pid_t parent)
{
	const char *argv[TOOL_WORDS_MAX + 2] = {t->name};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fds[4];
	sigset_t none;
	int r = surroundings_set(t, path);

	/* Above the numbers they go to, so that none is overwritten before it is moved. */
	fds[0] = fcntl(t->in < 0 ? null : t->in, F_DUPFD_CLOEXEC, 16);
	fds[1] = fcntl(t->out < 0 ? null : t->out, F_DUPFD_CLOEXEC, 16);
	fds[2] = fcntl(t->said, F_DUPFD_CLOEXEC, 16);
	fds[TOOL_FD_FILE] = t->file < 0 ? -1 : fcntl(t->file, F_DUPFD_CLOEXEC, 16);
	for (int i = 0; i < 4; i++)
		place(fds[i], i);
	close_range(TOOL_FD_FILE + 1, ~0u, CLOSE_RANGE_CLOEXEC);
	memcpy(argv + 1, t->words, sizeof(t->words));
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	setenv("LC_ALL", "C", 1); /* messages that do not depend on the user */
	if (r == 0 && getppid() == parent) {
		execv(path, (char *const *)(uintptr_t)argv);
		r = -errno;
	}
	dprintf(STDERR_FILENO, "cannot be run: %s\n", strerror(-r));
	_exit(EXEC_FAILED);
}

int tool_start(struct tool *t, struct err *e)
{
	char path[TOOL_PATH_MAX];
	pid_t parent = getpid();

	if (tool_find(t->name, path, sizeof(path)) < 0)
		return err_say(e, ENOENT, "%s is not installed; install the package \"%s\"",
			       t->name, t->package);
	t->said = memfd_create("said", MFD_CLOEXEC);
	if (t->said < 0)
		return err_set(e, errno, "%s: cannot keep its messages", t->name);
	t->pid = fork();
	if (t->pid == 0)
		child(t, path, parent);
	if (t->pid < 0) {
		t->pid = 0;
		fd_close(&t->said);
		return err_set(e, errno, "%s: cannot be started", t->name);
	}
	return 0;
}

/* The last two lines of it as one, without what a terminal would take for a command. */
static void last_words(int said, char *text, size_t room)
{
	char all[4096];
	off_t size = lseek(said, 0, SEEK_END);
	off_t from = size > (off_t)sizeof(all) - 1 ? size - (off_t)sizeof(all) + 1 : 0;
	ssize_t n = size < 0 ? 0 : pread(said, all, sizeof(all) - 1, from);
	char *first, *last;

	all[n < 0 ? 0 : n] = '\0';
	for (char *p = all + strlen(all); p > all && p[-1] == '\n'; p--)
		p[-1] = '\0';
	last = strrchr(all, '\n');
	if (last)
		*last++ = '\0';
	first = last ? strrchr(all, '\n') : NULL;
	first = first ? first + 1 : all;
	snprintf(text, room, "%s%s%s", first, last ? "; " : "", last ? last : "");
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
}

int tool_wait(struct tool *t, struct err *e)
{
	char said[SAID_MAX];
	int status;

	while (waitpid(t->pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(e, errno, "%s: cannot wait for it", t->name);
	t->pid = 0;
	last_words(t->said, said, sizeof(said));
	fd_close(&t->said);
	if (WIFSIGNALED(status))
		return err_say(e, EIO, "%s was ended by signal %d", t->name, WTERMSIG(status));
	if (WEXITSTATUS(status) == 0)
		return 0;
	if (said[0] == '\0')
		return err_say(e, EIO, "%s failed with exit status %d", t->name,
			       WEXITSTATUS(status));
	return err_say(e, EIO, "%s: %s", t->name, said);
}

void tool_kill(struct tool *t)
{
	int status;

	if (t->pid == 0)
		return;
	kill(t->pid, SIGKILL);
	while (waitpid(t->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	t->pid = 0;
	fd_close(&t->said);
}

int tool_run(struct tool *t, struct err *e)
{
	int r = tool_start(t, e);

	return r < 0 ? r : tool_wait(t, e);
}
