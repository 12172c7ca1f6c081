/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * control.h - the control socket of a running VM
 *
 * A UNIX stream socket.  A request is one line: a command's name, then, after a space, its options
 * as key=value,...; the reply is one line of JSON, {"ok":true,...} or {"ok":false,"error":"..."}.
 * docs/control.md lists the commands.
 */
#pragma once

#include "base/attr.h"
#include "base/counter.h"
#include "base/err.h"
#include "base/json.h"
#include "base/loop.h"
#include "vm/ask.h"
#include "vm/balloon.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/un.h>

enum {
	CONTROL_CLIENTS_MAX = 16,   /* one more drops the one that was silent longest */
	CONTROL_LINE_MAX = 4096,    /* a request */
	CONTROL_REPLY_MAX = 262144, /* status with every device fits */
	CONTROL_DEVICES_MAX = 64,
	CONTROL_REPORT_MAX = 1536, /* of what a device says in it */
	CONTROL_REPORT_MS = 200,   /* in which it says it */
	CONTROL_VCPUS_MAX = 255,
};

struct device_type;

/* What the status command tells of one device. */
struct control_device {
	const char *name;  /* "block0" */
	const char *type;  /* "block" */
	const char *state; /* "running", "restarting", "failed", ... */
	pid_t pid;         /* of its process; 0: a thread, or not ours */
	unsigned restarts;
	struct asks *asks; /* its control socket; NULL: it has none */

	/* Borrowed, written by its process at any time; see devices/device.h. Or NULL. */
	const uint64_t *counters;
	const struct counter *own_counters; /* of its type, or NULL */
};

struct control_status {
	const char *state; /* "running", "suspended" */
	unsigned nvcpus;
	const uint64_t *vcpu_counters[CONTROL_VCPUS_MAX]; /* enum cpu_counter; borrowed */
	uint64_t interrupts;                              /* that main itself raised */
	uint64_t mem_bytes;
	uint64_t uptime_ms; /* since the VM was started */
	bool has_balloon;
	struct balloon_status balloon;
	unsigned ndevices;
	struct control_device devices[CONTROL_DEVICES_MAX];
};

/* How the balloon's target is to change. */
struct control_balloon {
	bool has_target;
	uint64_t target_bytes;
	int64_t pages; /* else: by so many */
};

/* What commands may ask of the VM; called on the loop's thread. */
struct control_ops {
	const struct device_type *const *types; /* whose commands are forwarded; ended by NULL */
	bool (*is_suspended)(void *vm);
	void (*stop)(void *vm); /* ends the loop; the reply goes out first */
	int (*suspend)(void *vm, struct err *e);
	int (*resume)(void *vm, struct err *e);
	int (*power_button)(void *vm, struct err *e); /* presses it */
	void (*status)(void *vm, struct control_status *ret); /* *ret is zeroed */

	/* The device of that type and name; name "": the only one of the type. NULL with *e set. */
	struct asks *(*find_device)(void *vm, const char *type, const char *name, struct err *e);

	int (*balloon)(void *vm, const struct control_balloon *change, struct balloon_status *ret,
		       struct err *e);

	/* Adds the last events of the flight recorder to the open object. */
	void (*trace)(void *vm, unsigned last_max, struct json *reply);
};

struct control;

/* What the reply to a client's request waits for. */
enum control_wait { CONTROL_WAITS_NOT, CONTROL_WAITS_FOR_DEVICE, CONTROL_WAITS_FOR_REPORTS };

struct control_client {
	struct control *control;
	struct watch watch; /* fd -1: free */
	uint64_t used_ns;   /* when it last sent something */
	enum control_wait wait;
	struct ask ask; /* of CONTROL_WAITS_FOR_DEVICE */
	bool is_skipping; /* the rest of a line that was too long */
	bool has_ended;   /* no more requests will come */
	size_t in_used, out_used, out_sent;
	char in[CONTROL_LINE_MAX];
	char ask_text[CONTROL_LINE_MAX];
	char out[CONTROL_REPLY_MAX];
};

/* What one device says of itself, for status. */
struct control_report {
	struct control *control;
	struct ask ask;
	const char *error; /* NULL: text is what it said, "" for nothing */
	char text[CONTROL_REPORT_MAX];
};

struct control {
	uint64_t ncommands; /* taken so far */
	struct loop *loop;
	const struct control_ops *ops;
	void *vm;
	struct watch watch; /* of the listening socket */
	int spare_fd; /* holds a number for when there are no more */
	struct control_client clients[CONTROL_CLIENTS_MAX];
	unsigned nreports_due;
	struct control_report reports[CONTROL_DEVICES_MAX]; /* in the order of status */
};

/*
 * Listens at path, or in that directory at crosvm-PID.sock.  A socket that a dead VM left behind is
 * replaced, one that answers is refused.  Clients wait until control_start().  c must be zeroed;
 * control_fini() is due in every case.
 */
int control_init(struct control *c, struct loop *l, const char *path, const struct control_ops *ops,
		 void *vm, struct err *e) MUST_CHECK;

int control_start(struct control *c, struct err *e) MUST_CHECK;

/* Sends what can be sent at once, hangs up, removes the socket. */
void control_fini(struct control *c);

/* The commands as an mdoc list. */
void control_mdoc(FILE *out);
