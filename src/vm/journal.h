/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * journal.h - what this VM and its devices logged lately, kept for `crosvm log`; and the syslog
 *
 * One in the process, as there is one stderr: the sink of base/log.h.  The last JOURNAL_LINES lines
 * are kept, or as many as JOURNAL_BYTES hold.  Lines have numbers that count up by one, so that a
 * reader who comes again knows what is new and what it missed.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/json.h"
#include "base/syslog.h"
#include "jail/respawn.h"

#include <stdbool.h>
#include <stdint.h>

enum { JOURNAL_LINES = 512, JOURNAL_BYTES = 65536 };

/* Begins to keep lines, and to send them on; before the jail.  tag is kept, not copied. */
void journal_start(enum syslog_use use, const char *tag);
void journal_stop(void);

/*
 * For respawn_init(): connects to the syslog again.  NULL: there is none.  ask is called, from any
 * thread, when that is wanted; NULL: not any more.
 */
const struct respawn_errand *journal_errand(void);
void journal_ask_set(void (*ask)(void *context), void *context);

/*
 * Adds members to the open object: "lines", those with numbers from since on, at most the last
 * last_max (0: all), as far as the room goes; "next", the number of the one behind them; "more",
 * whether there were more; "oldest", the lowest number that is kept.
 */
void journal_reply(uint64_t since, uint64_t last_max, struct json *reply);
