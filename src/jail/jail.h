/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * jail.h - the third of open, jail, serve
 *
 * jail_enter() is called once, when every file is open and before the first byte of the guest is
 * read.  Afterwards the process has
 *
 *  J1  an empty, read-only root and no other mount;
 *  J2  a network namespace with nothing but a loopback device that is down (unless keep_network);
 *  J3  a user namespace of its own, in which no identity but its own is mapped or none at all;
 *  J4  no capability in any set, and no way to get one (no_new_privs, locked securebits);
 *  J5  no core dump, no ptrace by its own user, no process or file of its own making;
 *  J6  a filter that kills it at the first call that is not in its list.
 *
 * A process started by jail/spawn.h is besides alone in PID, IPC and UTS namespaces.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "jail/seccomp.h"

#include <stdbool.h>

/* An empty mount and an empty network namespace, made once by spawner_init() and shared. */
struct jail_ns {
	int fd; /* a socket with a packet that has both, when they are made; see jail/ns.h */
};

/* Those of a process started by spawn_start(). */
extern struct jail_ns jail_ns_spawned;

struct jail_config {
	const char *name;         /* for messages, such as "block0" */
	const struct call *calls; /* what the process needs beyond seccomp_common */
	const char *policy_path;  /* NULL, or a policy file that replaces both lists */
	struct jail_ns *ns;       /* NULL: makes its own; closed, and set to -1, once entered */
	int report_fd;            /* SPAWN_FD_REPORT, or -1: a refused call is told on stderr */
	unsigned max_fds;         /* highest fd + 1 the process may get; 0: JAIL_MAX_FDS */
	bool writes_files;        /* files may grow beyond JAIL_FILE_MAX bytes */
	bool kernel_threads;      /* io_uring: the kernel makes threads of the process */
	bool keep_network;        /* stays in the network namespace it is in */
	bool keep_root;           /* stays in the mount namespace it is in */

	/*
	 * Called when all is done but the limits on processes and the filter; may be NULL.  The
	 * place to start threads: the filter then covers them too.  It must wait until they run
	 * their own code, or the filter meets the calls with which the C library starts a thread.
	 */
	int (*before_filter)(void *context, struct err *e);
	void *context;
};

enum {
	/*
	 * Least limit on descriptors of a process that sends some: Linux holds it against all that
	 * its user has in flight, in whichever sockets and programs (ETOOMANYREFS).
	 */
	JAIL_SENDER_FDS = 4096,
	JAIL_MAX_FDS = 256,
	JAIL_FILE_MAX = 16 << 20, /* memfds are files too: the log of requests in flight is one */
};

/*
 * Jails the calling process.  It must have one thread.  0, or -errno with *e set; a process whose
 * call failed is half jailed and must exit.
 */
int jail_enter(const struct jail_config *config, struct err *e) MUST_CHECK;
