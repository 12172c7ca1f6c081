/* SPDX-License-Identifier: BSD-3-Clause */
/* boot_test.c - hand-made kernels of every kind started on a real /dev/kvm */
#include "arch/arch.h"

#include "arch/x86_64/layout.h"
#include "arch/x86_64/sample_kernels.h"
#include "base/fd.h"
#include "base/skip.h"

#include <errno.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define MEMORY_BYTES (UINT64_C(64) << 20)

enum { PORT = 0xF4 };

struct machine {
	struct kvm kvm;
	struct vm vm;
	struct vcpu vcpu;
	struct gmem memory;
};

static const struct ram_options ordinary;
static struct sample sample;
static char printed[4096];

static int machine_setup(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct err e = {0};

	*state = NULL;
	if (kvm_open(&m->kvm, "/dev/kvm", &e) < 0) {
		print_message("no usable KVM: %s\n", e.text);
		free(m);
		return 0;
	}
	assert_int_equal(vm_init(&m->vm, &m->kvm, &e), 0);
	assert_int_equal(arch_memory_new(&m->memory, MEMORY_BYTES, &ordinary, &e), 0);
	assert_int_equal(vm_memory_set(&m->vm, &m->memory, &e), 0);
	assert_int_equal(arch_vm_init(&m->vm, &e), 0);
	*state = m;
	return 0;
}

static int machine_teardown(void **state)
{
	struct machine *m = *state;

	if (!m)
		return 0;
	vcpu_fini(&m->vcpu);
	vm_fini(&m->vm);
	gmem_fini(&m->memory);
	kvm_close(&m->kvm);
	free(m);
	return 0;
}

#define NEED_KVM(m) SKIP_UNLESS(m, "a usable /dev/kvm")

static void start(struct machine *m)
{
	auto_fd fd = memfd_create("kernel", MFD_CLOEXEC);
	struct arch_kernel k = {.path = "kernel", .fd = fd, .cmdline = "quiet"};
	struct arch_entry entry;
	struct err e = {0};

	assert_int_equal(fd_write_all(fd, sample.bytes, sample.n), 0);
	if (arch_kernel_load(&k, &m->memory, &entry, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(vcpu_init(&m->vcpu, &m->vm, 0, &e), 0);
	if (arch_vcpu_init(&m->vcpu, 0, 1, &entry, &m->memory, &e) < 0)
		fail_msg("%s", e.text);
}

/* Runs up to the next write to the port. */
static uint32_t value_next(struct machine *m)
{
	struct kvm_run *run = m->vcpu.run;
	uint32_t value;

	assert_int_equal(vcpu_run(&m->vcpu), 0);
	assert_int_equal(run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(run->io.port, PORT);
	memcpy(&value, (char *)run + run->io.data_offset, sizeof(value));
	return value;
}

/* Stack, zero page through RSI, CPUID leaf 1. */
static const uint8_t code64[] = {
	0x50, 0x58,                         /* push %rax; pop %rax */
	0x8B, 0x86, 0x02, 0x02, 0x00, 0x00, /* mov 0x202(%rsi), %eax */
	0xE7, PORT,                         /* out %eax, $PORT */
	0xB8, 0x01, 0x00, 0x00, 0x00,       /* mov $1, %eax */
	0x31, 0xC9, 0x0F, 0xA2,             /* xor %ecx, %ecx; cpuid */
	0x89, 0xC8, 0xE7, PORT,             /* mov %ecx, %eax; out %eax, $PORT */
	0xF4,
};

static void check64(struct machine *m)
{
	start(m);

	assert_int_equal(value_next(m), 0x53726448); /* "HdrS" */
	assert_true(value_next(m) & 1u << 31);       /* under a hypervisor */
}

static void bzimage_runs_in_64_bit_mode(void **state)
{
	NEED_KVM(*state);
	sample_bzimage(&sample, code64, sizeof(code64));
	check64(*state);
}

static void vmlinux_runs_in_64_bit_mode(void **state)
{
	NEED_KVM(*state);
	sample_elf64(&sample, SAMPLE_ELF_ADDRESS, code64, sizeof(code64));
	check64(*state);
}

static void image_linked_at_0_runs_where_it_was_put(void **state)
{
	NEED_KVM(*state);
	sample_elf64(&sample, 0, code64, sizeof(code64));
	check64(*state);
}

static void pvh_kernel_finds_its_start_information(void **state)
{
	static const uint8_t code[] = {
		0x8B, 0x03, 0xE7, PORT,       /* mov (%ebx), %eax; out %eax, $PORT */
		0x8B, 0x43, 0x18, 0x8B, 0x00, /* mov 24(%ebx), %eax; mov (%eax), %eax */
		0xE7, PORT, 0xF4,
	};
	struct machine *m = *state;

	NEED_KVM(m);
	sample_pvh(&sample, code, sizeof(code));
	start(m);

	assert_int_equal(value_next(m), 0x336EC578);
	assert_int_equal(value_next(m), 0x736E6F63); /* "cons" */
}

static const uint8_t code_multiboot[] = {
	0xE7, PORT,                   /* out %eax, $PORT */
	0x50, 0x58,                   /* push %eax; pop %eax */
	0x8B, 0x43, 0x10, 0x8B, 0x00, /* mov 16(%ebx), %eax; mov (%eax), %eax */
	0xE7, PORT, 0xF4,
};

static void check_multiboot(struct machine *m)
{
	start(m);

	assert_int_equal(value_next(m), 0x2BADB002);
	assert_int_equal(value_next(m), 0x6E72656B); /* "kern" */
}

static void multiboot_kernel_finds_magic_and_command_line(void **state)
{
	NEED_KVM(*state);
	sample_multiboot(&sample, 0x4000, code_multiboot, sizeof(code_multiboot));
	check_multiboot(*state);
}

static void flat_multiboot_kernel_runs(void **state)
{
	NEED_KVM(*state);
	sample_multiboot_flat(&sample, 0x100000, code_multiboot, sizeof(code_multiboot));
	check_multiboot(*state);
}

PRINTF(1, 2)
static void print_line(const char *format, ...)
{
	const size_t used = strlen(printed);
	va_list args;

	va_start(args, format);
	vsnprintf(printed + used, sizeof(printed) - used, format, args);
	va_end(args);
}

static void dump_shows_registers_and_code(void **state)
{
	struct machine *m = *state;

	NEED_KVM(m);
	sample_elf64(&sample, SAMPLE_ELF_ADDRESS, code64, sizeof(code64));
	start(m);
	printed[0] = '\0';

	arch_vcpu_dump(&m->vcpu, &m->memory, print_line);

	assert_non_null(strstr(printed, "rip 0000000001200000"));
	assert_non_null(strstr(printed, "rsi 0000000000007000"));
	assert_non_null(strstr(printed, "(physical 1200000): 50 58 8b 86 02 02"));
}

static void refused_register_is_named(void **state)
{
	struct arch_entry entry = {.mode = ARCH_ENTRY_LONG};
	struct machine *m = *state;
	struct err e = {0};
	struct vcpu broken;

	NEED_KVM(m);
	assert_int_equal(vcpu_init(&m->vcpu, &m->vm, 0, &e), 0);
	broken = m->vcpu;
	broken.fd = m->vm.fd; /* takes none of a vCPU's calls */

	assert_true(arch_vcpu_init(&broken, 0, 1, &entry, &m->memory, &e) < 0);
	assert_non_null(strstr(e.text, "vCPU 0: cannot set processor features"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, machine_setup, machine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(bzimage_runs_in_64_bit_mode),
		T(vmlinux_runs_in_64_bit_mode),
		T(image_linked_at_0_runs_where_it_was_put),
		T(pvh_kernel_finds_its_start_information),
		T(multiboot_kernel_finds_magic_and_command_line),
		T(flat_multiboot_kernel_runs),
		T(dump_shows_registers_and_code),
		T(refused_register_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
