/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * names.h - virtual machines by name
 *
 * The control socket of VM web is web.sock in a directory of the user's own:
 * $XDG_RUNTIME_DIR/crosvm, or /run/crosvm for root without that variable.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>

enum { VM_NAME_MAX = 48 };

/* Letters, digits, ".", "_" and "-", not at the beginning the last two or ".". 0 or -EINVAL. */
int vm_name_check(const char *name, struct err *e) MUST_CHECK;

/* The directory; -ENOENT: there is none for this user. */
int vm_name_dir(char *buf, size_t room, struct err *e) MUST_CHECK;

/* Makes the directory unless it is there, and makes sure that nobody else can write to it. */
int vm_name_dir_make(struct err *e) MUST_CHECK;

/* The path of a file of that name, such as with ".trace" as its ending. */
int vm_name_file(const char *name, const char *ending, char *buf, size_t room,
		 struct err *e) MUST_CHECK;

/* The path of the socket of that name, whether it is there or not. */
int vm_name_path(const char *name, char *buf, size_t room, struct err *e) MUST_CHECK;

/*
 * The same, or that of crosvm@NAME.service (/run/crosvm-NAME/control.sock) if there is only that
 * one and this user may use it.
 */
int vm_name_find(const char *name, char *buf, size_t room, struct err *e) MUST_CHECK;

/*
 * Calls back for each name whose socket is there, in their order; the VM may have ended without
 * removing it.  0, also without a directory; or -errno.
 */
int vm_names_each(void (*each)(void *context, const char *name), void *context,
		  struct err *e) MUST_CHECK;

/*
 * What a command is given: a path, if it has a "/" or is a file here; else a name.  buf gets the
 * path, cut if it does not fit, which no socket has.
 */
void vm_name_resolve(const char *word, char *buf, size_t room);
