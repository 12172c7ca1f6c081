/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmlinux.c - ELF64 kernels entered in 64-bit mode
 *
 * Two kinds of Linux come as ELF: the kernel proper, linked at 16 MiB with its physical entry in
 * the header, and arch/x86/boot/compressed/vmlinux, linked at 0 and position-independent, which is
 * put at 2 MiB.  The latter reads alignment and init_size from the zero page; as no header says how
 * much it needs, it may use all that lies between it and the initrd, within reason.
 */
#include "arch/x86_64/vmlinux.h"

#include "arch/x86_64/cmdline.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/memory.h"
#include "arch/x86_64/zeropage.h"
#include "base/num.h"

#include <errno.h>

enum {
	LINUX_START = 0x1000000, /* where Linux is linked, and its alignment */
	CMDLINE_MAX = 2047,      /* COMMAND_LINE_SIZE on x86, less the terminator */
	INITRD_MAX = 0x7FFFFFFF,
	INIT_SIZE_MAX = 0x10000000,
	INIT_SIZE_UNIT = 0x200000,
	VERSION = 0x20F,
};

static uint32_t init_size(const struct elf *elf, const struct initrd *initrd, uint64_t memory_end)
{
	const uint64_t start = max_u64(elf->start, LINUX_START);
	const uint64_t end = initrd->size > 0 ? initrd->base : memory_end;

	if (end <= start)
		return 0;
	return (uint32_t)round_down(min_u64(end - start, INIT_SIZE_MAX), INIT_SIZE_UNIT);
}

static int enter(const struct kernel_file *f, struct elf *elf, struct arch_entry *ret,
		 struct err *e)
{
	uint64_t entry, up = 0;
	int r = elf_entry(f, elf, &entry, e);

	if (r < 0)
		return r;
	if (elf->start == 0)
		up = LAYOUT_LINKED_AT_0;
	if (elf_move(elf, up) < 0)
		return err_say(e, EINVAL, "%s: ELF segments end beyond 2^64", f->path);
	*ret = (struct arch_entry){
		.mode = ARCH_ENTRY_LONG, .pc = entry + up, .argument = {LAYOUT_ZERO_PAGE}};
	return 0;
}

int vmlinux_load(const struct kernel_file *f, struct elf *elf, const struct arch_kernel *k,
		 struct gmem *m, struct arch_entry *ret, struct err *e)
{
	const uint64_t memory_end = memory_low_end(m);
	struct setup_header header = {
		.boot_flag = ZEROPAGE_BOOT_FLAG,
		.header = ZEROPAGE_MAGIC,
		.version = VERSION,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = INITRD_MAX,
		.kernel_alignment = LINUX_START,
		.cmdline_size = CMDLINE_MAX,
	};
	struct initrd initrd;
	int r = enter(f, elf, ret, e);

	if (r == 0)
		r = cmdline_write(m, arch_cmdline_base(), k->cmdline, CMDLINE_MAX, e);
	if (r == 0)
		r = elf_load(f, elf, m, LAYOUT_HIGH, e);
	if (r == 0)
		r = initrd_place_high(k, elf->end, min_u64(memory_end, INITRD_MAX), &initrd, e);
	if (r == 0)
		r = initrd_load(k, &initrd, m, e);
	if (r < 0)
		return r;
	header.init_size = init_size(elf, &initrd, memory_end);
	return zeropage_write(m, &header, &initrd, e);
}
