/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * balloon_policy.h - when a VM gives memory back to its host: the account and the rules
 *
 * A pure state machine.  Time, random numbers and readings of memory are arguments, so every second
 * of it is tested without waiting; balloon.c feeds it.
 *
 *	low      the host is low on memory: the balloon grows by a step at once, and
 *	check    1 s later it is looked whether the host still is; if so, that is `low` again.
 *	         Until then further notices mean nothing.
 *	review   1 min after the last `low`, then every 30 s: if there is enough memory, the
 *	         balloon shrinks by a step, until it is back where it was
 *
 * How much, by the size of the VM's memory (MB and GB are 2^20 and 2^30 bytes, as with --mem):
 *
 *	more than 1.5 GB		all but 1 GB
 *	at least 500 MB, to 1.5 GB	half
 *	less				nothing
 *
 * cut to whole pages; a step is a sixteenth of that, in pages, rounded up, so that sixteen steps
 * are always enough.  There is enough memory when what is available is the margin and two steps
 * more: then a step taken back leaves the host a step away from being low.
 *
 * Jitter is added to every delay, or VMs that the host made grow in the same moment would go on
 * moving together.  It is as large as these two promises allow, whatever the random numbers:
 *
 *	P1  full at most 16 s after pressure began that lasts: 15 delays of 1 s + 60 ms
 *	P2  back at most 9 min after there was enough: 60 s + 6 s, then 15 delays of 30 s + 1.5 s
 *
 * The account is in main alone, for the policy and for commands alike:
 *
 *	A1  floor <= target <= limit, all of them whole pages
 *	A2  a command sets floor and target; the policy moves the target between the floor and its
 *	    own maximum, and never above a higher floor
 *	A3  the device is told the target, never a difference; what the guest makes of it, and what
 *	    it takes back, changes neither
 */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stdint.h>

enum { BALLOON_PAGE = 4096, BALLOON_STEPS = 16 };

#define BALLOON_MS               UINT64_C(1000000) /* in nanoseconds */

#define BALLOON_CHECK_NS         (1000 * BALLOON_MS)
#define BALLOON_CHECK_JITTER_NS  (60 * BALLOON_MS)
#define BALLOON_FIRST_NS         (60000 * BALLOON_MS)
#define BALLOON_FIRST_JITTER_NS  (6000 * BALLOON_MS)
#define BALLOON_REVIEW_NS        (30000 * BALLOON_MS)
#define BALLOON_REVIEW_JITTER_NS (1500 * BALLOON_MS)

/* The host's memory. */
struct balloon_reading {
	bool is_low;
	uint64_t available_bytes, margin_bytes;
};

struct balloon_policy {
	uint64_t limit;         /* most that a command may ask for */
	uint64_t max, step;     /* the policy's */
	uint64_t target, floor; /* bytes */
	uint64_t check_ns;      /* when to look whether the host is still low; 0: it is not */
	uint64_t review_ns;     /* when to see whether there is enough; 0: nothing to give back */
	uint64_t random;        /* state of the generator of jitter; not 0 */
};

/* By the rules above. */
uint64_t balloon_policy_max(uint64_t mem_bytes);

/*
 * max_bytes replaces the rule of the maximum, 0: the rule; it bounds commands, too.  seed: any
 * number, another for each VM.
 */
void balloon_policy_init(struct balloon_policy *p, uint64_t mem_bytes, uint64_t max_bytes,
			 uint64_t seed);

/* A command: to so many bytes, or by so many pages; cut to pages and to 0..limit. */
void balloon_policy_set(struct balloon_policy *p, uint64_t bytes);
void balloon_policy_adjust(struct balloon_policy *p, int64_t pages);

/*
 * Time has passed, or the host told that it may be low.  Returns whether the target has changed.
 * now_ns > 0 never goes back.
 */
bool balloon_policy_turn(struct balloon_policy *p, uint64_t now_ns,
			 const struct balloon_reading *reading);

/* Whether a notice of the host is of interest: not between a `low` and its check. */
bool balloon_policy_listens(const struct balloon_policy *p);

/* When balloon_policy_turn() is due next; 0: only at a notice. */
uint64_t balloon_policy_due(const struct balloon_policy *p);
