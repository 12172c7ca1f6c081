/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * config_items.h - what was said, before it means anything; for config*.c only
 *
 * The command line and configuration files become one list of items, in order; config.c gives each
 * to the option it names.  The list can be written as a configuration file again.
 */
#pragma once

#include "base/args.h"
#include "base/attr.h"
#include "base/err.h"
#include "config/config.h"

#include <stdio.h>

struct config_item {
	const struct arg *arg; /* of the table; NULL: the kernel */
	char *value;           /* owned; NULL for none */
	char *file;            /* owned; NULL: the command line */
	unsigned line;         /* of file, from 1 */
};

struct config_items {
	struct config_item *list; /* n of them */
	size_t n, room;
};

/* Copies the texts. */
int config_item_add(struct config_items *items, const struct config_item *item,
		    struct err *e) MUST_CHECK;
void config_items_fini(struct config_items *items);

/*
 * Reads a configuration file (crosvm.conf(5)): lines "key = value" and sections "[device]".  Every
 * mistake goes to errors with file and line.
 */
void config_file_read(struct config_items *items, const struct arg *table, const char *path,
		      struct config_errors *errors);

/* Writes items so that reading them gives the same list. -EINVAL: a value cannot be written. */
int config_items_dump(const struct config_items *items, FILE *out, struct err *e) MUST_CHECK;

/* config.c */
void config_error_note(struct config_errors *errors, const struct err *e);
