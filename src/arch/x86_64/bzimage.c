/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bzimage.c - Linux's 64-bit boot protocol (Documentation/arch/x86/boot.rst)
 *
 * The file is a real-mode setup part, which is not used, followed by the part that decompresses the
 * kernel.  That goes to the address that the header prefers, where init_size bytes must be free;
 * it is entered 0x200 behind its start with RSI pointing at the zero page.
 */
#include "arch/x86_64/bzimage.h"

#include "arch/x86_64/cmdline.h"
#include "arch/x86_64/layout.h"
#include "arch/x86_64/memory.h"
#include "arch/x86_64/zeropage.h"
#include "base/num.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

enum {
	SECTOR_BYTES = 512,
	SYSSIZE_UNIT = 16,
	SETUP_SECTORS_OLD = 4, /* what 0 means */
	HEADER_AT = offsetof(struct boot_params, hdr),
	JUMP_AT = HEADER_AT + offsetof(struct setup_header, jump),
	MAGIC_AT = HEADER_AT + offsetof(struct setup_header, header),
	VERSION_MIN = 0x20C, /* the first with xloadflags */
	ENTRY64 = 0x200,
	CMDLINE_OLD = 255,
};

struct bzimage {
	struct setup_header header;
	uint64_t payload_at, payload_bytes; /* in the file */
	uint64_t start, end;                /* in memory, with what it needs while it unpacks */
};

bool bzimage_matches(const struct kernel_file *f)
{
	return f->head_bytes >= MAGIC_AT + 4 && memcmp(f->head + MAGIC_AT, "HdrS", 4) == 0;
}

/* The header is as long as the jump over it says; what newer protocols append is not for us. */
static int header_read(const struct kernel_file *f, struct setup_header *ret, struct err *e)
{
	const size_t end = MAGIC_AT + (size_t)f->head[JUMP_AT + 1];

	*ret = (struct setup_header){0};
	if (end > f->head_bytes)
		return err_say(e, EINVAL,
			       "%s: truncated: the setup header ends at %zu of %zu bytes", f->path,
			       end, f->head_bytes);
	memcpy(ret, f->head + HEADER_AT, min_size(end - HEADER_AT, sizeof(*ret)));
	if (ret->boot_flag != ZEROPAGE_BOOT_FLAG)
		return err_say(e, EINVAL, "%s: bad boot flag 0x%04x in the setup header", f->path,
			       ret->boot_flag);
	if (ret->version < VERSION_MIN)
		return err_say(e, EINVAL,
			       "%s: boot protocol %u.%u is too old: 2.12 (Linux 3.8) or later is "
			       "needed",
			       f->path, ret->version >> 8, ret->version & 0xFFu);
	if (!(ret->xloadflags & XLF_KERNEL_64))
		return err_say(e, EINVAL, "%s: a 32-bit Linux kernel: a 64-bit one is needed",
			       f->path);
	return 0;
}

static int payload_find(const struct kernel_file *f, struct bzimage *b, struct err *e)
{
	const unsigned sectors = b->header.setup_sects ? b->header.setup_sects : SETUP_SECTORS_OLD;
	const uint64_t bytes = (uint64_t)b->header.syssize * SYSSIZE_UNIT;
	uint64_t left;

	b->payload_at = (sectors + 1) * (uint64_t)SECTOR_BYTES;
	left = f->size > b->payload_at ? f->size - b->payload_at : 0;
	/* syssize is rounded up; behind it there may be a signature. */
	if (bytes >= left + SYSSIZE_UNIT)
		return err_say(e, EINVAL,
			       "%s: truncated: the kernel of %llu bytes at offset %llu lies beyond "
			       "the file's %llu bytes",
			       f->path, (unsigned long long)bytes,
			       (unsigned long long)b->payload_at, (unsigned long long)f->size);
	b->payload_bytes = min_u64(bytes, left);
	if (b->payload_bytes <= ENTRY64)
		return err_say(e, EINVAL, "%s: a kernel of %llu bytes has no 64-bit entry", f->path,
			       (unsigned long long)b->payload_bytes);
	return 0;
}

static int place(const struct kernel_file *f, struct bzimage *b, uint64_t memory_end, struct err *e)
{
	const uint64_t need = max_u64(b->header.init_size, b->payload_bytes);
	const uint64_t align = b->header.relocatable_kernel ? b->header.kernel_alignment : 1;

	if (!is_power_of_two(align) || align > LAYOUT_HOLE)
		return err_say(e, EINVAL, "%s: bad alignment 0x%llx in the setup header", f->path,
			       (unsigned long long)align);
	b->start = b->header.pref_address;
	if (b->header.relocatable_kernel && b->start < LAYOUT_HIGH)
		b->start = LAYOUT_HIGH;
	if (b->start < LAYOUT_HIGH || b->start >= LAYOUT_HOLE)
		return err_say(e, EINVAL,
			       "%s: cannot be loaded at 0x%llx, which its header asks for", f->path,
			       (unsigned long long)b->start);
	b->start = round_up(b->start, align);
	if (!is_inside(b->start, need, memory_end))
		return err_say(
			e, ENOMEM,
			"%s: this kernel needs at least %llu MiB of memory to start (see -m)",
			f->path, (unsigned long long)((b->start + need) >> 20) + 1);
	b->end = b->start + need;
	return 0;
}

static size_t cmdline_limit(const struct setup_header *header)
{
	return header->cmdline_size ? header->cmdline_size : CMDLINE_OLD;
}

int bzimage_load(const struct kernel_file *f, const struct arch_kernel *k, struct gmem *m,
		 struct arch_entry *ret, struct err *e)
{
	const uint64_t memory_end = memory_low_end(m);
	struct bzimage b;
	struct initrd initrd;
	int r = header_read(f, &b.header, e);

	if (r == 0)
		r = payload_find(f, &b, e);
	if (r == 0)
		r = place(f, &b, memory_end, e);
	if (r == 0)
		r = initrd_place_high(k, b.end,
				      min_u64(memory_end, (uint64_t)b.header.initrd_addr_max + 1),
				      &initrd, e);
	if (r == 0)
		r = cmdline_write(m, arch_cmdline_base(), k->cmdline, cmdline_limit(&b.header), e);
	if (r == 0)
		r = kernel_file_load(f, b.payload_at, b.payload_bytes, m, b.start, "the kernel", e);
	if (r == 0)
		r = initrd_load(k, &initrd, m, e);
	if (r < 0)
		return r;
	b.header.code32_start = (uint32_t)b.start;
	*ret = (struct arch_entry){
		.mode = ARCH_ENTRY_LONG, .pc = b.start + ENTRY64, .argument = {LAYOUT_ZERO_PAGE}};
	return zeropage_write(m, &b.header, &initrd, e);
}
