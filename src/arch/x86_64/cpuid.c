/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cpuid.c - what a vCPU says about itself (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E)
 *
 * Most is what KVM supports on this host.  What is changed:
 *
 *  - topology: ncpus cores of one socket, one thread each, third-level cache shared by all;
 *  - the hypervisor bit is set, so that guests look for KVM's leaves (clock, end of interrupt);
 *  - MONITOR is hidden: KVM would run it as a no-op, and the guest would spin;
 *  - the TSC deadline timer, which KVM has but does not list.
 */
#include "arch/x86_64/cpuid.h"

#include "base/fd.h"
#include "base/num.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
	LEAF_VENDOR = 0,
	LEAF_FEATURES = 1,
	LEAF_CACHE = 4,
	LEAF_MONITOR = 5,
	LEAF_POWER = 6,
	LEAF_TOPOLOGY = 0xB,
	LEAF_TOPOLOGY2 = 0x1F,
};

#define LEAF_EXTENDED     0x80000001u
#define LEAF_SIZES        0x80000008u
#define LEAF_AMD_CACHE    0x8000001Du
#define LEAF_AMD_TOPOLOGY 0x8000001Eu
#define LEAF_AMD_LEVELS   0x80000026u

enum {
	ECX_MONITOR = 1 << 3,
	ECX_X2APIC = 1 << 21,
	ECX_TSC_DEADLINE = 1 << 24,
	EDX_HTT = 1 << 28,
	ECX_EPB = 1 << 3,        /* leaf 6: energy performance bias */
	ECX_CMP_LEGACY = 1 << 1, /* leaf 0x80000001, AMD */
	LEVEL_THREAD = 1,
	LEVEL_CORE = 2,
};

#define ECX_HYPERVISOR (1u << 31)

/* How many bits number n things: 0 for one. */
static unsigned bits_for(unsigned n)
{
	unsigned bits = 0;

	while ((1u << bits) < n)
		bits++;
	return bits;
}

static void features_adjust(struct kvm_cpuid_entry2 *leaf, const struct cpuid_facts *facts)
{
	const uint32_t ids = (uint32_t)min_u64(1u << bits_for(facts->ncpus), 255);

	leaf->ebx = (leaf->ebx & 0xFFFF) | ids << 16 | (facts->index & 0xFF) << 24;
	leaf->ecx = (leaf->ecx & ~(uint32_t)ECX_MONITOR) | ECX_HYPERVISOR | ECX_X2APIC;
	if (facts->has_tsc_deadline)
		leaf->ecx |= ECX_TSC_DEADLINE;
	if (facts->ncpus > 1)
		leaf->edx |= EDX_HTT;
	else
		leaf->edx &= ~(uint32_t)EDX_HTT;
}

/* Who shares a cache: everyone the third level, nobody the others. EAX bits 14 to 25, less 1. */
static uint32_t sharing(uint32_t eax, unsigned ncpus)
{
	const unsigned level = eax >> 5 & 7;
	const uint32_t sharers = level == 3 ? (1u << bits_for(ncpus)) - 1 : 0;

	return (eax & ~(UINT32_C(0xFFF) << 14)) | (uint32_t)min_u64(sharers, 0xFFF) << 14;
}

static void cache_adjust(struct kvm_cpuid_entry2 *leaf, const struct cpuid_facts *facts)
{
	const uint32_t cores = (uint32_t)min_u64((1u << bits_for(facts->ncpus)) - 1, 63);

	if ((leaf->eax & 0x1F) != 0) /* else there is no such cache */
		leaf->eax = (sharing(leaf->eax, facts->ncpus) & 0x3FFFFFF) | cores << 26;
}

static void extended_adjust(struct kvm_cpuid_entry2 *leaf, const struct cpuid_facts *facts)
{
	if (facts->ncpus > 1)
		leaf->ecx |= ECX_CMP_LEGACY;
	else
		leaf->ecx &= ~(uint32_t)ECX_CMP_LEGACY;
}

/* AMD: number of cores, and how many bits of the APIC id number them. */
static void sizes_adjust(struct kvm_cpuid_entry2 *leaf, const struct cpuid_facts *facts)
{
	const uint32_t cores = (uint32_t)min_u64(facts->ncpus - 1, 255);

	leaf->ecx = (leaf->ecx & ~UINT32_C(0xF0FF)) | cores | bits_for(facts->ncpus) << 12;
}

static void amd_topology_adjust(struct kvm_cpuid_entry2 *leaf, const struct cpuid_facts *facts)
{
	leaf->eax = facts->index;
	leaf->ebx = facts->index & 0xFF; /* core; one thread */
	leaf->ecx = 0;                   /* node 0 of one */
}

static void leaf_adjust(struct kvm_cpuid_entry2 *leaf, bool is_amd, const struct cpuid_facts *facts)
{
	switch (leaf->function) {
	case LEAF_VENDOR:
		leaf->eax = (uint32_t)max_u64(leaf->eax, LEAF_TOPOLOGY);
		break;
	case LEAF_FEATURES:
		features_adjust(leaf, facts);
		break;
	case LEAF_CACHE:
		cache_adjust(leaf, facts);
		break;
	case LEAF_MONITOR:
		leaf->eax = leaf->ebx = leaf->ecx = leaf->edx = 0;
		break;
	case LEAF_POWER:
		leaf->ecx &= ~(uint32_t)ECX_EPB;
		break;
	case LEAF_EXTENDED:
		if (is_amd)
			extended_adjust(leaf, facts);
		break;
	case LEAF_SIZES:
		if (is_amd)
			sizes_adjust(leaf, facts);
		break;
	case LEAF_AMD_CACHE:
		leaf->eax = sharing(leaf->eax, facts->ncpus);
		break;
	case LEAF_AMD_TOPOLOGY:
		amd_topology_adjust(leaf, facts);
		break;
	default:
		break;
	}
}

static bool is_topology(uint32_t function)
{
	return function == LEAF_TOPOLOGY || function == LEAF_TOPOLOGY2 ||
	       function == LEAF_AMD_LEVELS;
}

/*
 * Drops all entries of the topology leaves; returns whether leaf 0x1F was one.  AMD's own list of
 * levels, which describes the host, is not replaced: guests then take leaf 0xB.
 */
static bool topology_drop(struct kvm_cpuid2 *table)
{
	bool had_second = false;
	unsigned kept = 0;

	for (unsigned i = 0; i < table->nent; i++) {
		had_second |= table->entries[i].function == LEAF_TOPOLOGY2;
		if (!is_topology(table->entries[i].function))
			table->entries[kept++] = table->entries[i];
	}
	table->nent = kept;
	return had_second;
}

/* Threads, cores, end of the list. */
static int topology_add(struct kvm_cpuid2 *table, unsigned max, uint32_t function,
			const struct cpuid_facts *facts)
{
	const struct {
		uint32_t eax, ebx, type;
	} levels[] = {
		{0, 1, LEVEL_THREAD},
		{bits_for(facts->ncpus), facts->ncpus, LEVEL_CORE},
		{0, 0, 0},
	};

	if (max < table->nent || max - table->nent < ARRAY_LEN(levels))
		return -E2BIG;
	for (uint32_t i = 0; i < ARRAY_LEN(levels); i++)
		table->entries[table->nent++] = (struct kvm_cpuid_entry2){
			.function = function,
			.index = i,
			.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = levels[i].eax,
			.ebx = levels[i].ebx,
			.ecx = levels[i].type << 8 | i,
			.edx = facts->index,
		};
	return 0;
}

static bool table_is_amd(const struct kvm_cpuid2 *table)
{
	for (unsigned i = 0; i < table->nent; i++) {
		const struct kvm_cpuid_entry2 *leaf = &table->entries[i];

		if (leaf->function == LEAF_VENDOR) /* "Auth" or "Hygo", in the first register */
			return leaf->ebx == 0x68747541 || leaf->ebx == 0x6F677948;
	}
	return false;
}

int cpuid_adjust(struct kvm_cpuid2 *table, unsigned max, const struct cpuid_facts *facts)
{
	const bool is_amd = table_is_amd(table);
	const bool had_second = topology_drop(table);
	int r;

	for (unsigned i = 0; i < table->nent; i++)
		leaf_adjust(&table->entries[i], is_amd, facts);
	r = topology_add(table, max, LEAF_TOPOLOGY, facts);
	if (r == 0 && had_second)
		r = topology_add(table, max, LEAF_TOPOLOGY2, facts);
	return r;
}

int cpuid_init(struct vcpu *v, unsigned ncpus, struct err *e)
{
	const struct cpuid_facts facts = {
		.index = v->index,
		.ncpus = ncpus,
		.has_tsc_deadline = kvm_capability(v->vm->kvm, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
	};
	struct kvm_cpuid2 *table auto_free =
		calloc(1, sizeof(*table) + CPUID_MAX * sizeof(table->entries[0]));
	int r;

	if (!table)
		return err_set(e, ENOMEM, "vCPU %u", v->index);
	table->nent = CPUID_MAX;
	if (ioctl(v->vm->kvm->fd, KVM_GET_SUPPORTED_CPUID, table) < 0)
		return err_set(e, errno, "cannot read which processor features KVM supports");
	r = cpuid_adjust(table, CPUID_MAX, &facts);
	if (r == 0)
		r = vcpu_ioctl(v, KVM_SET_CPUID2, table);
	return r < 0 ? err_set(e, -r, "vCPU %u: cannot set processor features", v->index) : 0;
}
