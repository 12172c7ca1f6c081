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
#include "base/err.h"
#include "base/json.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/un.h>

enum {
	CONTROL_CLIENTS_MAX = 16,  /* one more drops the one that was silent longest */
	CONTROL_LINE_MAX = 4096,   /* a request */
	CONTROL_REPLY_MAX = 32768, /* status with every device fits */
	CONTROL_DEVICES_MAX = 64,
	CONTROL_VCPUS_MAX = 255,
};

/* What the status command tells of one device. */
struct control_device {
	const char *name;  /* "block0" */
	const char *type;  /* "block" */
	const char *state; /* "running", "restarting", "failed", ... */
	pid_t pid;         /* of its process; 0: a thread, or not ours */
	unsigned restarts;
};

struct control_status {
	const char *state; /* "running", "suspended" */
	unsigned nvcpus;
	uint64_t vcpu_exits[CONTROL_VCPUS_MAX];
	uint64_t mem_bytes;
	uint64_t uptime_ms; /* since the VM was started */
	unsigned ndevices;
	struct control_device devices[CONTROL_DEVICES_MAX];
};

/* What commands may ask of the VM; called on the loop's thread. */
struct control_ops {
	bool (*is_suspended)(void *vm);
	void (*stop)(void *vm); /* ends the loop; the reply goes out first */
	int (*suspend)(void *vm, struct err *e);
	int (*resume)(void *vm, struct err *e);
	void (*status)(void *vm, struct control_status *ret); /* *ret is zeroed */
};

struct control;

struct control_client {
	struct control *control;
	struct watch watch; /* fd -1: free */
	uint64_t used_ns;   /* when it last sent something */
	bool is_skipping;   /* the rest of a line that was too long */
	bool has_ended;     /* no more requests will come */
	size_t in_used, out_used, out_sent;
	char in[CONTROL_LINE_MAX];
	char out[CONTROL_REPLY_MAX];
};

struct control {
	struct loop *loop;
	const struct control_ops *ops;
	void *vm;
	struct watch watch; /* of the listening socket */
	struct control_client clients[CONTROL_CLIENTS_MAX];
};

/*
 * Listens at path, or in that directory at crosvm-PID.sock.  A socket that a dead VM left behind is
 * replaced, one that answers is refused.  c must be zeroed; control_fini() is due in every case.
 */
int control_init(struct control *c, struct loop *l, const char *path, const struct control_ops *ops,
		 void *vm, struct err *e) MUST_CHECK;

/* Sends what can be sent at once, hangs up, removes the socket. */
void control_fini(struct control *c);

/* Removes the socket's file, if it is still ours; for signal handlers of a process that crashed. */
void control_unlink(void);

/* The path of the socket; "" while there is none. */
const char *control_path(void);

/* Executes one line without its newline and writes the reply, without one. */
void control_execute(struct control *c, char *line, struct json *reply);

/* The commands as an mdoc list. */
void control_mdoc(FILE *out);
