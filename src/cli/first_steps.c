/* SPDX-License-Identifier: BSD-3-Clause */
/* first_steps.c - what to type first, for those who gave no kernel */
#include "cli/first_steps.h"

#include "base/err.h"
#include "config/host_kernel.h"

#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* Distributions' kernels need the initial RAM disk that was made with them. */
static void print_disk(const char *kernel, FILE *out)
{
	const char *dash = strchr(kernel, '-');
	char initrd[256];
	bool has_initrd;

	snprintf(initrd, sizeof(initrd), "/boot/initrd.img-%s", dash ? dash + 1 : "");
	has_initrd = access(initrd, R_OK) == 0;
	fprintf(out, "  crosvm run --rwdisk disk.img -p 'root=/dev/vda rw'%s%s %s\n",
		has_initrd ? " -i " : "", has_initrd ? initrd : "", kernel);
}

void first_steps_print(FILE *out)
{
	char kernel[256];
	struct err unused = {0};
	int r = host_kernel_find(&host_kernel_paths, kernel, sizeof(kernel), &unused);
	bool has_kernel = r == 0;

	fputs("crosvm runs a Linux kernel, and a system for it:\n\n", out);
	fprintf(out, "  crosvm run --rootfs DIR%s\n", has_kernel ? "" : " KERNEL");
	print_disk(has_kernel ? kernel : "KERNEL", out);
	fputs("\nDIR is a directory or a tar archive that holds a system, for instance from\n\n"
	      "  mmdebstrap --include=systemd-sysv,udev \\\n"
	      "      --customize-hook='chroot \"$1\" passwd -d root' bookworm debian.tar\n\n",
	      out);
	if (has_kernel)
		fprintf(out, "KERNEL is %s unless said.  ", kernel);
	else
		fprintf(out, "%s.\n", unused.text);
	fputs("More: crosvm --help, man crosvm, crosvm check\n", out);
}
