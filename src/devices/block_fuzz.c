/* SPDX-License-Identifier: BSD-3-Clause */
/* block_fuzz.c - the disk, on a file in memory that must neither grow nor shrink */
#include "devices/harness_fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DISK_BYTES = 1 << 20 };

extern const struct device_type block_type;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static char options[96];
	static int fd = -1;
	struct stat st;

	if (fd < 0) {
		fd = memfd_create("disk", 0);
		if (fd < 0 || ftruncate(fd, DISK_BYTES) < 0)
			abort();
		snprintf(options, sizeof(options), "path=/proc/self/fd/%d,queues=4,id=fuzz", fd);
	}
	fuzz_device(&block_type, options, data, n);
	if (fstat(fd, &st) < 0 || st.st_size != DISK_BYTES)
		abort();
	return 0;
}
