/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qcow2_walk_test.h - a second reading of qcow2 images, for tests: references counted, sectors read
 *
 * Written from the description of the format alone, and shares no code with the images under test.
 * Works on an image in memory, in microseconds, where qemu-img check takes milliseconds: so that
 * thousands of states that a power cut could leave can be judged.
 */
#pragma once

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct walk {
	const uint8_t *p; /* the image */
	uint64_t bytes;

	unsigned version, cluster_bits, refcount_order;
	uint64_t disk_bytes;
	bool is_dirty; /* refcounts are not to be believed */

	uint64_t leaks, faults; /* clusters */
	char first[200];	/* the first fault, for people */

	uint64_t l1_at, l1_entries, table_at, table_clusters, snapshots_at;
	unsigned nsnapshots;
	uint16_t *seen; /* references to each cluster of the file */
	uint64_t nclusters;
	uint64_t held; /* L2 entry of what was inflated last */
};

/* False: not an image that can be looked at; first says why. */
bool walk_open(struct walk *w, const uint8_t *p, uint64_t bytes) MUST_CHECK;

/* Counts references; sets leaks, faults, first. */
void walk_check(struct walk *w);

/* One sector of the disk as the guest would see it, NULL when it reads as zero. */
const uint8_t *walk_sector(struct walk *w, uint64_t sector);
