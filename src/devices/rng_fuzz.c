/* SPDX-License-Identifier: BSD-3-Clause */
/* rng_fuzz.c - the entropy device, and with it the whole of a session */
#include "devices/harness_fuzz.h"

extern const struct device_type rng_type;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	return fuzz_device(&rng_type, "rate=1G", data, n);
}
