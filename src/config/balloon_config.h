/* SPDX-License-Identifier: BSD-3-Clause */
/* balloon_config.h - the keys of --balloon that are main's */
#pragma once

#include <stdint.h>

/* How main learns that the host is short of memory (vm/pressure.h). */
enum pressure_kind { PRESSURE_AUTO, PRESSURE_CHROMEOS, PRESSURE_PSI, PRESSURE_OFF };

struct balloon_config {
	int policy; /* enum pressure_kind */
	uint64_t margin, max;
	uint32_t speed; /* how much faster the policy's clock goes; 0: as ours */
};

/* "auto", "chromeos", "psi", "off"; and back: PRESSURE_AUTO for any other word. */
const char *pressure_name(enum pressure_kind kind);
enum pressure_kind pressure_kind(const char *name);
