/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * spawn_run.h - for tests: run something as root or as an ordinary user, in a process of its own
 *
 * A body returns NULL when all is as it should be, or else what is not.
 */
#pragma once

#include "base/attr.h"

#include <grp.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

typedef const char *(*run_body)(void *arg);

enum { RUN_NOBODY = 65534, RUN_TEXT_MAX = 1200, RUN_TELL_FD = 200 };

static inline void run_write(int fd, const char *text)
{
	if (write(fd, text, strlen(text)) < 0)
		_exit(99);
}

static inline bool run_become_nobody(void)
{
	return setgroups(0, NULL) == 0 && setresgid(RUN_NOBODY, RUN_NOBODY, RUN_NOBODY) == 0 &&
	       setresuid(RUN_NOBODY, RUN_NOBODY, RUN_NOBODY) == 0 &&
	       prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
}

/* Asserts that the body, in a forked process, finds nothing. */
static inline void run_forked(run_body body, void *arg, bool as_nobody)
{
	char text[RUN_TEXT_MAX] = "";
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(dup2(fds[1], RUN_TELL_FD), RUN_TELL_FD);
	close(fds[1]);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const char *found =
			as_nobody && !run_become_nobody() ? "cannot become nobody" : body(arg);

		run_write(RUN_TELL_FD, found ? found : "ok");
		_exit(0);
	}
	close(RUN_TELL_FD);
	if (read(fds[0], text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_string_equal(text, "ok");
}

/* As the user who runs the test and, if that is root, as nobody too. */
static inline void run_both_ways(run_body body, void *arg)
{
	run_forked(body, arg, false);
	if (geteuid() == 0)
		run_forked(body, arg, true);
}
