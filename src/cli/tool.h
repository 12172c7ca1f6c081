/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tool.h - other programs that prepare a guest's files, run without a shell
 *
 *	struct tool t = TOOL("xz", "xz-utils", "-dc");
 *	t.in = archive;
 *	t.out = pipe;
 *	tool_start(&t, &e);
 *	tool_wait(&t, &e);
 *
 * A tool has the rights of whoever runs crosvm and can gain no more; it dies with crosvm.  Of the
 * open files it sees only its own: what it writes to standard error is kept for the message.
 *
 * One that is confined can open no other files than .file, what is in .dir, and the programs and
 * libraries of the host, where links may lead that somebody puts there in the meantime.  On a host
 * without Landlock (Linux before 5.13) it is not.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum { TOOL_WORDS_MAX = 40, TOOL_FD_FILE = 3, TOOL_PATH_MAX = 512 };

/* How the tool calls the file .file. */
#define TOOL_FILE "/proc/self/fd/3"

struct tool {
	const char *name;    /* of the program, looked up in PATH and the usual places */
	const char *package; /* Debian's, for the remedy */
	const char *words[TOOL_WORDS_MAX + 1]; /* behind the name; ends with NULL */
	int in, out; /* standard input and output, borrowed; -1: /dev/null */
	int file;    /* descriptor TOOL_FD_FILE, borrowed; -1: none */
	int dir;     /* its working directory, borrowed; -1: ours */
	bool is_confined;

	pid_t pid; /* 0: does not run */
	int said;  /* what it wrote to standard error */
};

#define TOOL(n, p, ...)                                                                            \
	{                                                                                          \
		.name = n, .package = p, .words = {__VA_ARGS__}, .in = -1, .out = -1, .file = -1,  \
		.dir = -1, .said = -1                                                              \
	}

/* Where the program is. -ENOENT. */
int tool_find(const char *name, char *path, size_t room) MUST_CHECK;

/* Does not wait.  An error names the package to install. */
int tool_start(struct tool *t, struct err *e) MUST_CHECK;

/* Waits for its end; an error unless its exit status is 0: the last two lines of what it said. */
int tool_wait(struct tool *t, struct err *e) MUST_CHECK;

/* Kills it, if it runs. */
void tool_kill(struct tool *t);

/* Both. */
int tool_run(struct tool *t, struct err *e) MUST_CHECK;
