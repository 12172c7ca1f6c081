/* SPDX-License-Identifier: BSD-3-Clause */
/* console_fuzz.c - a console that is being typed at, and two ports */
#include "devices/harness_fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TYPED_MAX = 64 };

extern const struct device_type console_type;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static char options[128];
	static int typed[2] = {-1, -1};

	if (typed[0] < 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		if (pipe2(typed, O_NONBLOCK | O_CLOEXEC) < 0 || null < 0)
			abort();
		snprintf(options, sizeof(options),
			 "stdio,input=%d,output=%d,ports=sink,,name=fuzz;sink,,console", typed[0],
			 null);
	}
	if (write(typed[1], data, n < TYPED_MAX ? n : TYPED_MAX) < 0) {
		/* Full: there is enough to read. */
	}
	return fuzz_device(&console_type, options, data, n);
}
