/* SPDX-License-Identifier: BSD-3-Clause */
/* skip.h - for tests: what one of them cannot do without; ./dev test repeats the reason */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* SKIP("iasl (package acpica-tools)"): ends the test, uncounted, and says what is missing. */
#define SKIP(what)                                            \
	do {                                                  \
		print_message("# skipped, needs " what "\n"); \
		skip();                                       \
	} while (0)

#define SKIP_UNLESS(is_there, what) \
	do {                        \
		if (!(is_there))    \
			SKIP(what); \
	} while (0)
