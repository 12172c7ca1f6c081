/* SPDX-License-Identifier: BSD-3-Clause */
/* stderr_test.h - what is written to stderr, caught in a pipe, for tests */
#pragma once

#include <fcntl.h>
#include <unistd.h>

static int stderr_saved, stderr_pipe[2];

/* 0, or not; writers do not wait when the pipe is full. */
static inline int stderr_catch(void)
{
	stderr_saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	if (stderr_saved < 0 || pipe2(stderr_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	return dup2(stderr_pipe[1], STDERR_FILENO) < 0;
}

static inline void stderr_release(void)
{
	dup2(stderr_saved, STDERR_FILENO);
	close(stderr_saved);
	close(stderr_pipe[0]);
	close(stderr_pipe[1]);
}

/* What was written since the last call, 8 KiB of it at most; the text stays until the next. */
static inline const char *stderr_said(void)
{
	static char text[8192];
	ssize_t n = read(stderr_pipe[0], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}
