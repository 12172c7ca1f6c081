/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * balloon.h - what main does for the balloon: the host's memory in, targets out
 *
 * The account and its rules are balloon_policy.h's; the process of the device is told the target by
 * ask.h, one at a time and the latest only, so nothing here waits.  A process that was started
 * again knows nothing and is told anew.  One that refuses or does not answer is asked again after a
 * second, for as long as it takes.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/loop.h"
#include "config/balloon_config.h"
#include "vm/ask.h"
#include "vm/balloon_policy.h"
#include "vm/pressure.h"

#include <stdbool.h>
#include <stdint.h>

struct balloon {
	struct loop *loop; /* NULL: not begun */
	struct balloon_policy policy;
	struct pressure pressure;
	struct timer timer;
	uint64_t speed, base_ns;
	uint64_t look_ns, retry_ns; /* when, by our clock; 0: not */
	bool is_blind;              /* the last reading failed, and this was said */

	struct asks *asks; /* of the device; NULL: none yet */
	struct ask ask;    /* to tell the target */
	char text[48];
	uint64_t told; /* what was put to the process last */
	bool is_told,
		has_refused; /* told has been confirmed; the last was not, and this was said */
};

/* What there is to tell of it. */
struct balloon_status {
	uint64_t target_bytes, floor_bytes, limit_bytes, max_bytes;
	const char *policy; /* "chromeos", "psi", "off" */
	uint64_t notices;
	bool has_reading;
	uint64_t available_bytes, margin_bytes; /* of the host */
};

/*
 * Opens what there is to know of the host's memory.  Fails if the policy that was asked for by name
 * cannot be had; with PRESSURE_AUTO the VM runs on without, and a line says so.
 */
int balloon_init(struct balloon *b, struct loop *l, const struct balloon_config *config,
		 uint64_t mem_bytes, const struct pressure_paths *paths, struct err *e) MUST_CHECK;
void balloon_fini(struct balloon *b);

/* A process of the device has started, for the first time or again. */
void balloon_attached(struct balloon *b, struct asks *asks);

/* Commands; by pages of 4096 bytes from where it is. */
void balloon_set(struct balloon *b, uint64_t bytes);
void balloon_adjust(struct balloon *b, int64_t pages);

void balloon_status(const struct balloon *b, struct balloon_status *ret);
