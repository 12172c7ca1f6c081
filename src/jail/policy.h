/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * policy.h - seccomp policies in minijail's language
 *
 *	line  = call ":" rule | "@include " path | "#" anything
 *	rule  = "1" | "return" [ errno ] | expr [ ";" "return" [ errno ] ]
 *	expr  = and { "||" and }		and  = atom { "&&" atom }
 *	atom  = "arg" 0-5  op  const		op   = == != < <= > >= & in
 *	const = item { "|" item }		item = name or number, as in C
 *
 * "1" allows; "return" alone kills, with an errno the call is not made; after an expression it says
 * what happens if that does not hold (nothing said: kills).  `&`: any bit of the mask; `in`: no bit
 * outside it.  All 64 bits count, relations are unsigned.  A call may have one line.  Paths start
 * with "/" or, seen from the folder of the file that includes, with "./"; one level only.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "jail/rules.h"

#include <stdio.h>

enum {
	POLICY_FILE_MAX = 65536, /* bytes; the longest in use have 3000 */
	POLICY_RULE_MAX = 1023,  /* bytes, as in minijail */
};

/* Reads a file into empty rules.  Errors begin "file:line: ". */
int policy_read(struct rules *r, const char *path, struct err *e) MUST_CHECK;

/* As policy_read() of a file with this name and these n bytes; @include is refused. */
int policy_parse(struct rules *r, const char *name, const char *text, size_t n, struct err *e)
	MUST_CHECK;

/* Writes the rules in this language, sorted by name, so that reading them gives the same rules. */
void policy_print(const struct rules *r, FILE *out);

/*
 * Writes what a device may call once jailed: seccomp_common and its own list. -EINVAL for an
 * unknown architecture, which *e names.
 */
int policy_print_calls(const char *arch, const struct call *calls, FILE *out, struct err *e)
	MUST_CHECK;
