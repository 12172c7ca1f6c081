/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * exit_codes.h - what the exit status of crosvm means
 *
 * The codes are stable: scripts depend on them.  The help and the manual print the same table.
 */
#pragma once

#include <stdio.h>

enum exit_code {
	EXIT_CODE_OK = 0,	    /* the guest powered off, or was stopped by command */
	EXIT_CODE_ERROR = 1,	    /* something failed while the guest ran, or a command failed */
	EXIT_CODE_USAGE = 2,	    /* a mistake on the command line */
	EXIT_CODE_HOST = 3,	    /* the host lacks something */
	EXIT_CODE_BUILD = 4,	    /* kernel, disk or other input cannot be used */
	EXIT_CODE_RESET = 32,	    /* the guest asked for a reset */
	EXIT_CODE_PANIC = 33,	    /* the guest's kernel panicked (pvpanic) */
	EXIT_CODE_TRIPLE_FAULT = 34,
	EXIT_CODE_KVM = 35,	    /* KVM could not go on */
	EXIT_CODE_DEVICE = 36,	    /* a device process died too often */
	EXIT_CODE_DEBUG_FIRST = 64, /* the guest wrote 0 to the debug-exit port */
	EXIT_CODE_DEBUG_LAST = 127, /* the guest wrote 63 or more */
	EXIT_CODE_SIGNAL = 128,	    /* plus the number of the signal that stopped us */
};

/* The code for a value that the guest wrote to the debug-exit port. */
int exit_code_debug(unsigned value);

/* The table, for --help and as an mdoc list. */
void exit_code_help(FILE *out);
void exit_code_mdoc(FILE *out);
