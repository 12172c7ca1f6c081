/* SPDX-License-Identifier: BSD-3-Clause */
/* kernel.c - recognises what kind of kernel a file is and has it loaded */
#include "arch/arch.h"

#include "arch/x86_64/bzimage.h"
#include "arch/x86_64/elf.h"
#include "arch/x86_64/kernel_file.h"
#include "arch/x86_64/multiboot.h"
#include "arch/x86_64/pvh.h"
#include "arch/x86_64/vmlinux.h"
#include "base/fd.h"

#include <errno.h>
#include <stdlib.h>

const char *arch_cmdline_base(void)
{
	return "console=ttyS0 panic=1";
}

static int elf_kernel_load(const struct kernel_file *f, const struct arch_kernel *k, struct gmem *m,
			   struct arch_entry *ret, struct err *e)
{
	struct elf elf;
	int r = elf_parse(f, &elf, e);

	if (r < 0)
		return r;
	if (elf.has_pvh)
		return pvh_load(f, &elf, k, m, ret, e);
	if (!elf.is_64)
		return err_say(e, ENOEXEC,
			       "%s: an ELF32 file without PVH note or multiboot header; accepted "
			       "are a Linux bzImage, an ELF64 vmlinux and multiboot kernels",
			       f->path);
	return vmlinux_load(f, &elf, k, m, ret, e);
}

int arch_kernel_load(const struct arch_kernel *k, struct gmem *m, struct arch_entry *ret,
		     struct err *e)
{
	struct kernel_file *f auto_free = malloc(sizeof(*f));
	int r;

	if (!f)
		return err_set(e, ENOMEM, "%s", k->path);
	r = kernel_file_init(f, k->path, k->fd, e);
	if (r < 0)
		return r;
	if (bzimage_matches(f))
		return bzimage_load(f, k, m, ret, e);
	if (multiboot_matches(f))
		return multiboot_load(f, k, m, ret, e);
	if (elf_matches(f))
		return elf_kernel_load(f, k, m, ret, e);
	return err_say(
		e, ENOEXEC,
		"%s: %s; accepted are a Linux bzImage, an ELF64 vmlinux and multiboot kernels",
		k->path, kernel_file_kind(f));
}
