/* SPDX-License-Identifier: BSD-3-Clause */
/* balloon_fuzz.c - the balloon: frames, statistics, hints, reports, commands */
#include "devices/harness_fuzz.h"

extern const struct device_type balloon_type;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	return fuzz_device(&balloon_type, NULL, data, n);
}
