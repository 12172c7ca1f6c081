/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * devices.h - the device processes of a machine: started, watched, started again
 *
 * On the main thread, in this order:
 *
 *	devices_spawn	early: processes open their files and jail themselves side by side
 *	devices_plug	when memory and buses exist: front ends and transports
 *	devices_wait	once the guest runs: every device has been started, and has answered
 *
 * A guest that wants to know something of a device which has not answered waits for that.
 *
 * A process that ends is reported by name, started again and takes up where it was.  One that ends
 * DEVICE_DEATHS_MAX times in a row, without having completed a request or lived a second in
 * between, ends the VM; so does one that ends more often than vm/restarts.h bears, whatever it has
 * completed.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/loop.h"
#include "config/config.h"
#include "devices/device.h"
#include "devices/serve.h"
#include "jail/respawn.h"
#include "jail/spawn.h"
#include "mem/shared.h"
#include "transport/frontend.h"
#include "transport/virtio_mmio.h"
#include "transport/virtio_pci.h"
#include "vm/ask.h"
#include "vm/control.h"
#include "vm/device_log.h"
#include "vm/restarts.h"

#include <stdbool.h>
#include <stdint.h>

enum {
	DEVICE_DEATHS_MAX = 8,
	DEVICE_NAME_MAX = 24,
	DEVICE_ARGS_MAX = 16,
	DEVICE_FDS_OWN = DEVICE_KEPT_MAX, /* what is kept; a file; standard in- and output */
	DEVICE_FDS_COMMON = 3,            /* vhost-user, control, shared memory */
	DEVICE_FDS = DEVICE_FDS_COMMON + DEVICE_FDS_OWN,
};

struct machine;
struct config_device;

struct vm_device {
	struct machine *machine;
	const struct config_device *config;
	char name[DEVICE_NAME_MAX]; /* "block0" */
	char source[48];	    /* where its list of system calls is */
	char *options;		    /* of the process; owned */
	char *policy;		    /* file in place of the built-in lists, or NULL; owned */
	char *argv[DEVICE_ARGS_MAX];
	char kept_count[12];
	struct device_kept kept; /* for every process of the device; owned */
	struct shared shared;    /* struct device_shared; none of a device that is not ours */
	struct spawn_fd fds[DEVICE_FDS];
	int sock; /* to the process, until the front end takes it */
	int control_sock;
	bool has_asks;
	struct asks asks; /* on control_sock */
	bool is_process_due; /* asked for, and not answered */
	struct child child;
	struct device_log log; /* of its process */
	struct watch death;
	struct device_thread *thread; /* without a sandbox */
	bool has_frontend, is_plugged, has_failed;
	bool is_open;    /* devices_wait() has seen it answer */
	const char *why; /* it was lost before that, or NULL */
	struct frontend frontend;
	union {
		struct virtio_pci pci;
		struct virtio_mmio mmio;
	} transport;
	struct restarts restarts;
	struct timer delay; /* until the next process is started */
	char how[sizeof(((struct spawn_end *)0)->text)]; /* the last one ended */
	unsigned deaths_in_a_row;
	uint64_t attached_ns, progress; /* when, and how far requests were, at the last start */
};

struct vm_devices {
	struct vm_device *list; /* count of them */
	unsigned count;
	bool has_spawner, has_respawn;
	struct device_logs logs;
	struct spawner spawner;
	struct respawn respawn;
	struct watch respawn_end; /* it lives as long as main, unless it is killed */
	struct spawn_args *table; /* what respawn may start; one row a device */
};

/* Before guest memory is mapped. */
int devices_spawn(struct machine *m, struct err *e) MUST_CHECK;
int devices_plug(struct machine *m, struct err *e) MUST_CHECK;

/* Runs the loop meanwhile.  Returns 0 before its time, too, if the user ends the machine. */
int devices_wait(struct machine *m, struct err *e) MUST_CHECK;

/* Nobody waits any more for those that have not answered. */
void devices_give_up(struct machine *m);

/* Ends all processes and threads. NULL-safe in every state. */
void devices_fini(struct machine *m);

/* What the status command tells. */
void devices_status(struct machine *m, struct control_status *ret);

/* The control socket of a device; struct control_ops. */
struct asks *devices_find(struct machine *m, const char *type, const char *name, struct err *e)
	MUST_CHECK;

/* ---- device_process.c; for devices.c and deaths.c ---- */

/*
 * Has the type open what outlives its processes, by a device that is never opened itself.  Nothing
 * for threads, which open their own, and devices that are not ours.
 */
int device_process_keep(struct machine *m, struct vm_device *d, struct err *e) MUST_CHECK;

/* Makes all that a process of the device is started with, and the row for jail/respawn.h. */
int device_process_prepare(struct machine *m, struct vm_device *d, struct spawn_args *ret_row,
			   struct err *e) MUST_CHECK;

/* Starts whatever is to be at the other end of the sockets: process, thread, or not ours. */
int device_process_begin(struct machine *m, struct vm_device *d, struct err *e) MUST_CHECK;

/* Asks for a process; then waits until it has been started, if one was asked for. */
int device_process_ask(struct vm_device *d, struct err *e) MUST_CHECK;
int device_process_answer(struct vm_device *d, struct err *e) MUST_CHECK;

/* ---- deaths.c ---- */

/* Before the first device_attach(). */
int device_deaths_init(struct vm_device *d, struct err *e) MUST_CHECK;

/* From now on the end of its process is noticed, and another one is started. */
int device_watch(struct vm_device *d, struct err *e) MUST_CHECK;

/* Gives the socket to the front end. */
int device_attach(struct vm_device *d, struct err *e) MUST_CHECK;

/* The front end has lost its device; struct frontend_args. */
void device_lost(struct frontend *f, const char *why);

/*
 * The first handshake failed with r: says why, by what the process left behind, or leaves the text
 * empty because the process has said it. Returns r.
 */
int device_failed_to_open(struct vm_device *d, int r, struct err *e);
