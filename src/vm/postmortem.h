/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * postmortem.h - what is left of a VM that ended badly: its flight recorder, in a file
 *
 * The main process is jailed and can open no file; and it may be the one that died.  So the process
 * that outlives it (jail/respawn.h) opens the file, and a child of that one, which may do nothing
 * but read and write what is open, fills it: records of devices are hostile input.  The file
 * appears under its name when it is complete, in the place of an older one.
 *
 * Where there is no file, the last few events are logged.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "jail/respawn.h"

#include <stdbool.h>

enum {
	POSTMORTEM_PATH_MAX = 4096,
	POSTMORTEM_LINES = 8, /* that are logged where there is no file */
	POSTMORTEM_FDS_MAX = 64,
};

struct recorder;
struct vm_devices;

struct postmortem {
	struct recorder *recorder;
	struct vm_devices *devices;
	char path[POSTMORTEM_PATH_MAX]; /* "": no file */
	int fds[POSTMORTEM_FDS_MAX];	/* of the devices' logs */
	struct respawn_end end;
};

/*
 * file: as the user wants it, where a file can be made as far as can be told without making one; or
 * NULL: that of the VM's name, if it has one.
 */
int postmortem_init(struct postmortem *p, struct recorder *recorder, const char *file,
		    const char *name, struct err *e) MUST_CHECK;

/* For respawn_init(), when the devices' logs are there; writes the file if main left cause to. */
const struct respawn_end *postmortem_of(struct postmortem *p, struct vm_devices *devices);

/* Nobody will outlive main to write the file. */
void postmortem_forsake(struct postmortem *p);

/* Whether an exit code means that something went wrong. */
bool postmortem_is_due(int exit_code);

/* Main, at a bad end: says where the file will be, or logs the last events. */
void postmortem_tell(struct postmortem *p);
