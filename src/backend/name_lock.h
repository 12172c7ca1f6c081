/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * name_lock.h - names that only one of our processes on a network may use at a time
 *
 * An abstract UNIX socket that bears the name: it belongs to the network namespace, leaves no file
 * behind, and is gone with the last process that has it.
 */
#pragma once

#include "base/attr.h"

/* The descriptor that holds "crosvm/KIND/NAME", -EADDRINUSE if another does, or -errno. */
int name_lock(const char *kind, const char *name) MUST_CHECK;
