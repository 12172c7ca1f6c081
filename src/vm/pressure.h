/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pressure.h - whether the host is short of memory
 *
 * Two kinds of kernel tell:
 *
 *	chromeos  /dev/chromeos-low-mem is readable while available memory is below the margin;
 *		  both are files below /sys/kernel/mm/chromeos-low_mem, in MiB
 *	psi	  a trigger on /proc/pressure/memory, or, where that is not permitted, on the
 *		  memory.pressure of our control group, tells when tasks had to wait for memory;
 *		  what is available is MemAvailable of /proc/meminfo, and the margin an option
 *
 * A trigger fires only when tasks wait already, which is late on a host that loses memory slowly;
 * so with psi the one who uses this also looks from time to time: pressure_look_ns().
 *
 * Everything is opened by pressure_open(), before the process is confined.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/loop.h"
#include "config/balloon_config.h"
#include "vm/balloon_policy.h"

#include <stdbool.h>
#include <stdint.h>

struct pressure_paths {
	const char *chromeos_notice, *chromeos_margin, *chromeos_available;
	const char *psi, *own_cgroup, *cgroup_root, *meminfo;
};

extern const struct pressure_paths pressure_paths;

struct pressure {
	enum pressure_kind kind; /* what was found; PRESSURE_OFF: nothing */
	int notice_fd;           /* fd -1 for what there is not */
	int margin_fd, available_fd;
	uint64_t margin_bytes; /* of psi */
	struct loop *loop;
	struct watch watch;
	bool listens, is_deaf; /* is_deaf: the trigger is gone */
	uint64_t notices;

	/* The host may be short of memory: pressure_read() tells. Called while listening. */
	void (*noticed)(struct pressure *p);
};

/*
 * Finds what there is of the kind, or of any (PRESSURE_AUTO).  margin_bytes 0: a sixteenth of the
 * host's memory; with chromeos the kernel says.  -ENODEV with *e set and kind PRESSURE_OFF when
 * there is nothing.  p is usable in every case.
 */
int pressure_open(struct pressure *p, enum pressure_kind kind, uint64_t margin_bytes,
		  const struct pressure_paths *paths, struct err *e) MUST_CHECK;
void pressure_close(struct pressure *p);

/* Calls p->noticed() on the loop from now on; while not listening nothing is lost or kept. */
void pressure_listen(struct pressure *p, struct loop *l, bool listens);

/* 0 or -errno, with *e set. */
int pressure_read(const struct pressure *p, struct balloon_reading *ret, struct err *e) MUST_CHECK;

/* In how many nanoseconds to read again without a notice, after this reading; 0: never. */
uint64_t pressure_look_ns(const struct pressure *p, const struct balloon_reading *r);
