/* SPDX-License-Identifier: BSD-3-Clause */
/* names.h - system calls, architectures and constants by name */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

/* An index of jail/calls_table.h. */
typedef unsigned call_arch;

/* The architecture this program is built for. */
call_arch names_arch_native(void);

/* "x86_64" or "aarch64". false for any other text. */
bool names_arch(const char *text, call_arch *ret_arch) MUST_CHECK;

/* The kernel's AUDIT_ARCH_ value, as filters see it. */
uint32_t names_arch_token(call_arch arch);

/* The number of a system call; -1: no architecture has it, -2: this one does not. */
enum { NAMES_UNKNOWN = -1, NAMES_ABSENT = -2 };
int names_call_number(call_arch arch, const char *text);

/* The name of a number; NULL if it has none.  Async-signal-safe. */
const char *names_call(call_arch arch, int number);

/*
 * The value of a constant of the kernel's interface, such as PROT_READ, KVM_RUN or ENOSYS; text is
 * n bytes and needs no end.  false if it is not known.
 */
bool names_constant(const char *text, size_t n, uint64_t *ret_value) MUST_CHECK;
