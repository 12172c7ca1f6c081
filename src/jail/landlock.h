/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * landlock.h - a program that may reach few files: the kernel's Landlock
 *
 *	int rules = landlock_new();
 *	landlock_allow(rules, dir_fd, LANDLOCK_READS);
 *	landlock_enter(rules);
 *
 * For programs of others, which are exec'ed and need their libraries; our own processes have an
 * empty root (jail/jail.h).  What is open already is not restricted.
 */
#pragma once

#include "base/attr.h"

/* A set of rules, for the caller to close, or -errno: -ENOSYS or -EOPNOTSUPP of a host without. */
int landlock_new(void) MUST_CHECK;

enum landlock_access {
	LANDLOCK_READS, /* files and folders */
	LANDLOCK_RUNS,  /* besides, programs */
	LANDLOCK_WRITES /* reads, writes, makes shorter; makes nothing */
};

/* What fd stands for, and all below it. 0 or -errno. */
int landlock_allow(int rules, int fd, enum landlock_access access) MUST_CHECK;

/* The same of a path; one that is not there is no error. */
int landlock_allow_path(int rules, const char *path, enum landlock_access access) MUST_CHECK;

/* From now on, for this thread and what it starts; no_new_privs is set. 0 or -errno. */
int landlock_enter(int rules) MUST_CHECK;
