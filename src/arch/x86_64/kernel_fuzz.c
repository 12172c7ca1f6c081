/* SPDX-License-Identifier: BSD-3-Clause */
/* kernel_fuzz.c - any file as a kernel: it loads or is refused, and nothing else happens */
#include "arch/arch.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MEMORY = 64 << 20, INITRD_BYTES = 5000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct {
	struct gmem gmem;
	int kernel_fd, initrd_fd;
} fuzz;

static void fuzz_start(void)
{
	void *memory;

	if (fuzz.gmem.nregions > 0)
		return;
	memory = calloc(1, MEMORY);
	fuzz.kernel_fd = memfd_create("kernel", MFD_CLOEXEC);
	fuzz.initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
	if (!memory || ftruncate(fuzz.initrd_fd, INITRD_BYTES) < 0 ||
	    gmem_add_borrowed(&fuzz.gmem, 0, MEMORY, memory) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arch_kernel k = {.path = "kernel", .initrd_path = "initrd", .cmdline = "quiet"};
	struct arch_entry entry;
	struct err e = {0};

	fuzz_start();
	k.fd = fuzz.kernel_fd;
	k.initrd_fd = fuzz.initrd_fd;
	if (ftruncate(k.fd, 0) < 0 || pwrite(k.fd, data, n, 0) != (ssize_t)n)
		abort();
	if (arch_kernel_load(&k, &fuzz.gmem, &entry, &e) < 0) {
		if (e.code == 0 || e.text[0] == '\0')
			abort(); /* an error must say what it is */
	} else if (!gmem_covers(&fuzz.gmem, entry.pc, 1)) {
		abort();
	}
	return 0;
}
