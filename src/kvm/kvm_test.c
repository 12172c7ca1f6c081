/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kvm_test.c - the typed calls against a real /dev/kvm, with guests of a few instructions
 *
 * Real mode only: that runs on every KVM, also on one that interprets kernel mode.
 */
#include "base/fd.h"
#include "base/skip.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"
#include "mem/memfd.h"

#include <errno.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MEMORY_BYTES = 1 << 20, CODE_AT = 0x1000 };

struct guest {
	struct kvm kvm;
	struct vm vm;
	struct vcpu vcpu;
	struct gmem memory;
};

static int guest_setup(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct err e = {0};
	int fd;

	if (kvm_open(&g->kvm, "/dev/kvm", &e) < 0) {
		print_message("no usable KVM: %s\n", e.text);
		free(g);
		*state = NULL;
		return 0;
	}
	gmem_init(&g->memory);
	fd = memfd_new("test", MEMORY_BYTES, false, &e);
	assert_true(fd >= 0);
	assert_int_equal(gmem_map_take(&g->memory, 0, MEMORY_BYTES, fd, 0), 0);
	assert_int_equal(vm_init(&g->vm, &g->kvm, &e), 0);
	assert_int_equal(vm_memory_set(&g->vm, &g->memory, &e), 0);
	assert_int_equal(vcpu_init(&g->vcpu, &g->vm, 0, &e), 0);
	*state = g;
	return 0;
}

static int guest_teardown(void **state)
{
	struct guest *g = *state;

	if (!g)
		return 0;
	vcpu_fini(&g->vcpu);
	vm_fini(&g->vm);
	gmem_fini(&g->memory);
	kvm_close(&g->kvm);
	free(g);
	return 0;
}

#define NEED_KVM(g) SKIP_UNLESS(g, "a usable /dev/kvm")

static void load(struct guest *g, const uint8_t *code, size_t n)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = {.rip = CODE_AT, .rflags = 2, .rsp = 0x8000};

	assert_true(gmem_write(&g->memory, CODE_AT, code, n));
	assert_int_equal(vcpu_ioctl(&g->vcpu, KVM_GET_SREGS, &sregs), 0);
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	assert_int_equal(vcpu_ioctl(&g->vcpu, KVM_SET_SREGS, &sregs), 0);
	assert_int_equal(vcpu_ioctl(&g->vcpu, KVM_SET_REGS, &regs), 0);
}

static void guest_adds_and_prints(void **state)
{
	static const uint8_t code[] = {
		0xba, 0xf8, 0x03, /* mov $0x3f8, %dx */
		0xb0, 0x02,	  /* mov $2, %al */
		0x04, 0x37,	  /* add $0x37, %al */
		0xee,		  /* out %al, %dx */
		0xf4,		  /* hlt */
	};
	struct guest *g = *state;

	NEED_KVM(g);
	load(g, code, sizeof(code));
	assert_int_equal(vcpu_run(&g->vcpu), 0);
	assert_int_equal(g->vcpu.run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(g->vcpu.run->io.port, 0x3f8);
	assert_int_equal(((char *)g->vcpu.run)[g->vcpu.run->io.data_offset], '9');
	assert_int_equal(vcpu_run(&g->vcpu), 0);
	assert_int_equal(g->vcpu.run->exit_reason, KVM_EXIT_HLT);
}

static void doorbell_counts_matching_writes(void **state)
{
	static const uint8_t code[] = {
		0xb0, 0x88, 0xe6, 0x20, /* mov $0x88, %al; out %al, $0x20 */
		0xb0, 0x00, 0xe6, 0x20, /* another value: comes to us */
		0xb0, 0x88, 0xe6, 0x20, 0xf4,
	};
	const uint64_t match = 0x88;
	struct guest *g = *state;
	auto_fd fd = fd_eventfd();

	NEED_KVM(g);
	load(g, code, sizeof(code));
	assert_int_equal(g->vm.host.ops->doorbell(&g->vm.host, true, 0x20, 1, &match, fd, true), 0);
	assert_int_equal(vcpu_run(&g->vcpu), 0);
	assert_int_equal(g->vcpu.run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(vcpu_run(&g->vcpu), 0);
	assert_int_equal(g->vcpu.run->exit_reason, KVM_EXIT_HLT);
	assert_int_equal(fd_drain(fd), 2);
	assert_int_equal(g->vm.host.ops->doorbell(&g->vm.host, true, 0x20, 1, &match, fd, false),
			 0);
	assert_int_equal(g->vm.host.ops->doorbell(&g->vm.host, true, 0x20, 1, &match, fd, false),
			 -ENOENT);
}

static void immediate_exit_returns_before_the_guest_runs(void **state)
{
	static const uint8_t code[] = {0xf4};
	struct guest *g = *state;

	NEED_KVM(g);
	load(g, code, sizeof(code));
	vcpu_immediate_exit(&g->vcpu, true);
	assert_int_equal(vcpu_run(&g->vcpu), -EINTR);
	vcpu_immediate_exit(&g->vcpu, false);
	assert_int_equal(vcpu_run(&g->vcpu), 0);
	assert_int_equal(g->vcpu.run->exit_reason, KVM_EXIT_HLT);
}

static void msi_routes_are_given_out_until_none_are_left(void **state)
{
	struct guest *g = *state;
	struct host *h;
	unsigned gsi;

	NEED_KVM(g);
	h = &g->vm.host;
	for (unsigned i = 0; i < VM_MSI_ROUTES; i++)
		assert_int_equal(h->ops->msi_alloc(h, &gsi), 0);
	assert_int_equal(h->ops->msi_alloc(h, &gsi), -ENOSPC);
	h->ops->msi_free(h, VM_IRQCHIP_PINS + 7);
	assert_int_equal(h->ops->msi_alloc(h, &gsi), 0);
	assert_int_equal(gsi, VM_IRQCHIP_PINS + 7);
}

static void routed_msi_takes_an_irqfd(void **state)
{
	struct guest *g = *state;
	auto_fd fd = fd_eventfd();
	struct host *h;
	unsigned gsi;

	NEED_KVM(g);
	h = &g->vm.host;
	/* An interrupt controller can't be made after a vCPU: this VM is for this test alone. */
	vcpu_fini(&g->vcpu);
	vm_fini(&g->vm);
	assert_int_equal(vm_init(&g->vm, &g->kvm, &(struct err){0}), 0);
	assert_int_equal(vm_ioctl(&g->vm, KVM_CREATE_IRQCHIP, NULL), 0);
	assert_int_equal(vm_lines_route(&g->vm), 0);
	assert_int_equal(h->ops->msi_alloc(h, &gsi), 0);
	assert_int_equal(h->ops->msi_route(h, gsi, 0xfee00000, 0x41), 0);
	assert_int_equal(h->ops->irqfd(h, gsi, fd, true), 0);
	assert_int_equal(h->ops->irqfd(h, gsi, fd, true), -EBUSY);
	assert_int_equal(h->ops->irqfd(h, gsi, fd, false), 0);
	assert_int_equal(h->ops->line_set(h, 5, true), 0);
	assert_int_equal(h->ops->line_set(h, 5, false), 0);
}

static void missing_device_says_how_to_get_it(void **state)
{
	struct err e = {0};
	struct kvm k;

	(void)state;
	assert_int_equal(kvm_open(&k, "/dev/no-such-kvm", &e), -ENOENT);
	assert_non_null(strstr(e.text, "modprobe"));
	assert_int_equal(kvm_open(&k, "/dev/null", &e), -ENOTTY);
	assert_non_null(strstr(e.text, "not a KVM device"));
}

#define GUEST_TEST(f) cmocka_unit_test_setup_teardown(f, guest_setup, guest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		GUEST_TEST(guest_adds_and_prints),
		GUEST_TEST(doorbell_counts_matching_writes),
		GUEST_TEST(immediate_exit_returns_before_the_guest_runs),
		GUEST_TEST(msi_routes_are_given_out_until_none_are_left),
		GUEST_TEST(routed_msi_takes_an_irqfd),
		cmocka_unit_test(missing_device_says_how_to_get_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
