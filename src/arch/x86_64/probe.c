/* SPDX-License-Identifier: BSD-3-Clause */
/* probe.c - a guest of a few instructions in ring 0, which tells what KVM can do */
#include "arch/probe.h"

#include "arch/x86_64/cpuid.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/regs.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/wire.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"
#include "mem/memfd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
	MEMORY_BYTES = 4 << 20,
	CODE_AT = 0x100000,
	HANDLER_AT = 0x101000, /* of every exception */
	IDT_AT = 0x102000,
	DATA_AT = 0x103000, /* zeroed, aligned for what the instructions want */
	IDT_ENTRIES = 32,
	PORT_DONE = 0x10,
	PORT_EXCEPTION = 0x11,
	LOOPS = 100000,
	CODE_SELECTOR = 0x10,
	GATE_INTERRUPT = 0x8E00, /* present, ring 0, 64-bit interrupt gate */
	CR4_OSFXSR = 0x600,
	CR4_OSXSAVE = 0x40000,
	CR0_MP_NE_WP = 0x10022,
};

struct guest {
	struct vm vm;
	struct gmem memory;
	struct vcpu vcpu;
	struct kvm_sregs sregs; /* as at the start of each try */
};

/* An instruction, the CPUID bit that promises it, and where its end shows. */
struct trial {
	const char *name;
	uint32_t leaf, bit; /* of ECX unless in_ebx; bit 32: always there */
	bool in_ebx;
	uint64_t cr4;
	uint16_t port;
	uint8_t code[24]; /* ends with OUT to PORT_DONE */
};

static const struct trial trials[] = {
	{"int3", 1, 32, false, 0, PORT_EXCEPTION, {0xCC, 0xE6, PORT_DONE}},
	{"popcnt", 1, 23, false, 0, PORT_DONE, {0xF3, 0x48, 0x0F, 0xB8, 0xC7, 0xE6, PORT_DONE}},
	{"cmpxchg16b",
	 1,
	 13,
	 false,
	 0,
	 PORT_DONE,
	 {0xF0, 0x48, 0x0F, 0xC7, 0x0C, 0x25, 0x00, 0x30, 0x10, 0x00, 0xE6, PORT_DONE}},
	{"xrstor",
	 1,
	 26,
	 false,
	 CR4_OSXSAVE,
	 PORT_DONE,
	 {0x31, 0xC0, 0x31, 0xD2, 0x0F, 0xAE, 0x2C, 0x25, 0x00, 0x30, 0x10, 0x00, 0xE6, PORT_DONE}},
	{"clac", 7, 20, true, 0, PORT_DONE, {0x0F, 0x01, 0xCA, 0xE6, PORT_DONE}},
};

/* DEC RCX, JNZ back, OUT. */
static const uint8_t loop_code[] = {0x48, 0xFF, 0xC9, 0x75, 0xFB, 0xE6, PORT_DONE};

static bool memory_write(struct gmem *m)
{
	const uint8_t handler[] = {0xE6, PORT_EXCEPTION, 0xF4};
	le16 gates[IDT_ENTRIES][8] = {0};

	for (int i = 0; i < IDT_ENTRIES; i++) {
		gates[i][0] = le16_of(HANDLER_AT & 0xFFFF);
		gates[i][1] = le16_of(CODE_SELECTOR);
		gates[i][2] = le16_of(GATE_INTERRUPT);
		gates[i][3] = le16_of(HANDLER_AT >> 16);
	}
	return paging_write(m) && regs_gdt_write(m, ARCH_ENTRY_LONG) &&
	       gmem_write(m, HANDLER_AT, handler, sizeof(handler)) &&
	       gmem_write(m, IDT_AT, gates, sizeof(gates));
}

static int memory_init(struct gmem *m, struct err *e)
{
	int fd = memfd_new("probe", MEMORY_BYTES, false, e);
	int r;

	if (fd < 0)
		return fd;
	r = gmem_map_take(m, 0, MEMORY_BYTES, fd, 0);
	if (r < 0)
		return err_set(e, -r, "cannot map guest memory");
	return memory_write(m) ? 0 : err_say(e, EINVAL, "guest memory is too small");
}

static void guest_fini(struct guest *g)
{
	vcpu_fini(&g->vcpu);
	vm_fini(&g->vm);
	gmem_fini(&g->memory);
}

static int guest_init(struct guest *g, struct kvm *k, struct err *e)
{
	int r = memory_init(&g->memory, e);

	if (r == 0)
		r = vm_init(&g->vm, k, e);
	if (r == 0)
		r = vm_memory_set(&g->vm, &g->memory, e);
	if (r == 0)
		r = vcpu_init(&g->vcpu, &g->vm, 0, e);
	if (r == 0)
		r = cpuid_init(&g->vcpu, 1, e);
	if (r < 0)
		return r;
	r = vcpu_ioctl(&g->vcpu, KVM_GET_SREGS, &g->sregs);
	if (r < 0)
		return err_set(e, -r, "cannot read registers");
	regs_special(ARCH_ENTRY_LONG, &g->sregs);
	g->sregs.idt = (struct kvm_dtable){.base = IDT_AT, .limit = IDT_ENTRIES * 16 - 1};
	g->sregs.cr4 |= CR4_OSFXSR;
	g->sregs.cr0 |= CR0_MP_NE_WP;
	return 0;
}

/* Runs the code; true when it ended with an OUT to port. */
static bool guest_try(struct guest *g, const void *code, size_t n, uint64_t cr4, uint16_t port)
{
	const struct arch_entry entry = {.mode = ARCH_ENTRY_LONG, .pc = CODE_AT};
	struct kvm_sregs sregs = g->sregs;
	struct kvm_regs regs;
	int r;

	regs_general(&entry, &regs);
	regs.rcx = LOOPS;
	sregs.cr4 |= cr4;
	if (!gmem_write(&g->memory, CODE_AT, code, n) ||
	    vcpu_ioctl(&g->vcpu, KVM_SET_SREGS, &sregs) < 0 ||
	    vcpu_ioctl(&g->vcpu, KVM_SET_REGS, &regs) < 0)
		return false;
	do
		r = vcpu_run(&g->vcpu);
	while (r == -EINTR);
	return r == 0 && g->vcpu.run->exit_reason == KVM_EXIT_IO && g->vcpu.run->io.port == port;
}

static bool is_promised(const struct kvm_cpuid2 *table, const struct trial *t)
{
	if (t->bit == 32)
		return true;
	for (unsigned i = 0; i < table->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &table->entries[i];

		if (entry->function == t->leaf && entry->index == 0)
			return (t->in_ebx ? entry->ebx : entry->ecx) >> t->bit & 1;
	}
	return false;
}

static void note_refused(struct arch_probe *p, const char *name)
{
	size_t used = strlen(p->refused);

	snprintf(p->refused + used, sizeof(p->refused) - used, "%s%s", used ? ", " : "", name);
}

static void try_instructions(struct guest *g, const struct kvm_cpuid2 *table, struct arch_probe *p)
{
	for (size_t i = 0; i < ARRAY_LEN(trials); i++) {
		const struct trial *t = &trials[i];

		if (is_promised(table, t) &&
		    !guest_try(g, t->code, sizeof(t->code), t->cr4, t->port))
			note_refused(p, t->name);
	}
}

static uint64_t measure(struct guest *g)
{
	uint64_t begin, spent;

	if (!guest_try(g, loop_code, sizeof(loop_code), 0, PORT_DONE))
		return 0;
	begin = clock_ns();
	if (!guest_try(g, loop_code, sizeof(loop_code), 0, PORT_DONE))
		return 0;
	spent = clock_ns() - begin;
	return LOOPS * UINT64_C(1000000000) / (spent > 0 ? spent : 1);
}

int arch_probe(struct kvm *k, struct arch_probe *ret, struct err *e)
{
	struct kvm_cpuid2 *table auto_free =
		calloc(1, sizeof(*table) + CPUID_MAX * sizeof(table->entries[0]));
	struct guest *g auto_free = calloc(1, sizeof(*g));
	int r;

	*ret = (struct arch_probe){0};
	if (!table || !g)
		return err_set(e, ENOMEM, "cannot make a guest");
	table->nent = CPUID_MAX;
	if (ioctl(k->fd, KVM_GET_SUPPORTED_CPUID, table) < 0)
		table->nent = 0;
	gmem_init(&g->memory);
	r = guest_init(g, k, e);
	if (r == 0) {
		try_instructions(g, table, ret);
		ret->loops_per_second = measure(g);
		ret->runs_kernels =
			!ret->refused[0] && ret->loops_per_second >= ARCH_PROBE_LOOPS_MIN;
	}
	guest_fini(g);
	return r;
}
