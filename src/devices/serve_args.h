/* SPDX-License-Identifier: BSD-3-Clause */
/* serve_args.h - the words behind `crosvm device`; for serve*.c only */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "devices/device.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* fd is -1 and all else zero before they are read. */
struct serve_args {
	const struct device_type *type;
	const char *name, *socket_path, *policy_path, *log_level;
	int fd;
	unsigned kept; /* descriptors from DEVICE_FD_KEPT on */
	bool spawned, disable_jail, help;
	size_t noptions;
	const char *options[64]; /* ends with NULL */
};

/* Reads the words. -EINVAL with *e set; what was asked for is there, unless help was. */
int serve_args_parse(struct serve_args *a, int argc, char **argv, struct err *e) MUST_CHECK;

/* For --help: of all types, or of one. */
void serve_args_help(FILE *out, const struct device_type *type);
