/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve.h - runs a device: open, jail, serve
 *
 * The program of every device process, and of the threads that replace them without a sandbox.
 * A child of the main process is started (jail/spawn.h) as
 *
 *	crosvm device TYPE --spawned --name block0 key=value,...
 *
 * with vhost-user on fd 3, the control socket on fd 4 and shared memory on fd 5; a device for other
 * programs as
 *
 *	crosvm device TYPE --socket PATH key=value,...	listens; one front end after the other
 *	crosvm device TYPE --fd N key=value,...		N is a connected socket
 *
 * Further options: --policy FILE (a policy instead of the built-in list), --log-level LEVEL,
 * --disable-jail, --help.  What a child of main says on stderr is for main to read, base/log.h.
 *
 * Exit codes: 0 the front end closed the connection, 1 the device could not be opened or jailed, 2
 * the command line was wrong.  A device process ends with its front end, unless it listens.
 */
#pragma once

#include "base/args.h"

#include <stdbool.h>

struct device_shared;
struct device_thread;

enum {
	DEVICE_FD_VHOST_USER = 3, /* SOCK_STREAM, see virtio/vhost_user.h */
	DEVICE_FD_CONTROL = 4,	  /* SOCK_SEQPACKET, see docs/control.md */
	DEVICE_FD_SHARED = 5,	  /* struct device_shared, closed before the device is opened */
	DEVICE_FD_KEPT = 6,	  /* from here on, with --kept N */
};

/* How a device process ends that has said on stderr why. */
enum { DEVICE_EXIT_FAILED = 1, DEVICE_EXIT_USAGE = 2 };

/* Options of `crosvm device`; those without help are not for people. Ends with a NULL name. */
extern const struct arg device_args[];

/* The words after `crosvm device`, ended by NULL. The exit code; prints its own messages. */
int device_main(int argc, char **argv);

struct call;
struct device_type;

/*
 * What a process of that type may call beyond seccomp_common: its own list and that of the harness,
 * with what one that waits for front ends at a socket needs, or without; in one array that ends as
 * usual.  Static; the next call overwrites it.
 */
const struct call *device_calls(const struct device_type *type, bool listens);

struct device_thread_args {
	const char *type, *options;
	const char *name;	      /* kept, not copied */
	int sock, control_sock;	      /* taken, also on failure; the second may be -1 */
	struct device_shared *shared; /* outlives the thread; NULL: has its own */
};

/*
 * The same in a thread of this process, without a jail: opens the device (messages through e) and
 * serves.
 */
int device_thread_start_take(const struct device_thread_args *args,
			     struct device_thread **ret_thread, struct err *e) MUST_CHECK;

/* Ends the thread, whatever it does, and frees it. NULL is fine. */
void device_thread_stop(struct device_thread *t);
