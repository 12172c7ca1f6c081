/* SPDX-License-Identifier: BSD-3-Clause */
/* cpus_test.c - vCPU threads on a real /dev/kvm: pause, resume, stop, what ends a guest */
#include "base/fd.h"
#include "base/skip.h"
#include "mem/memfd.h"
#include "vm/cpus.h"

#include <errno.h>
#include <linux/kvm.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MEMORY_BYTES = 1 << 20, CODE_AT = 0x1000, COUNTER_AT = 0x3000, DONE_OFFSET = 3 };

struct bench {
	struct kvm kvm;
	struct vm vm;
	struct gmem memory;
	struct bus ports, mmio;
	struct cpus cpus;
	struct bus_dev port;
	uint64_t port_sum; /* of the values written to the port; vCPU thread */
	int ended_fd;
	enum cpu_end end;
	char why[256];
};

static void on_ended(void *context, struct cpu *c, enum cpu_end end, const char *why)
{
	struct bench *b = context;

	(void)c;
	b->end = end;
	strncpy(b->why, why, sizeof(b->why) - 1);
	fd_signal(b->ended_fd);
}

static void port_write(struct bus_dev *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct bench *b = container_of(d, struct bench, port);

	if (offset == DONE_OFFSET)
		fd_signal(b->ended_fd);
	else
		b->port_sum += value * size;
}

static uint64_t port_read(struct bus_dev *d, uint64_t offset, unsigned size)
{
	(void)d;
	(void)size;
	return 0x11223344 + offset;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	const struct cpus_events events = {.ended = on_ended, .context = b};
	struct err e = {0};
	int fd;

	*state = NULL;
	if (kvm_open(&b->kvm, "/dev/kvm", &e) < 0) {
		print_message("no usable KVM: %s\n", e.text);
		free(b);
		return 0;
	}
	gmem_init(&b->memory);
	fd = memfd_new("test", MEMORY_BYTES, false, &e);
	assert_int_equal(gmem_map_take(&b->memory, 0, MEMORY_BYTES, fd, 0), 0);
	assert_int_equal(vm_init(&b->vm, &b->kvm, &e), 0);
	assert_int_equal(vm_memory_set(&b->vm, &b->memory, &e), 0);
	bus_init(&b->ports);
	bus_init(&b->mmio);
	b->port = (struct bus_dev){.name = "port", .read = port_read, .write = port_write};
	assert_int_equal(bus_add(&b->ports, 0x40, 4, &b->port, &e), 0);
	assert_int_equal(cpus_init(&b->cpus, &b->vm, 1, &b->ports, &b->mmio, &events, &e), 0);
	b->ended_fd = fd_eventfd();
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	if (!b)
		return 0;
	cpus_fini(&b->cpus);
	bus_fini(&b->ports);
	bus_fini(&b->mmio);
	vm_fini(&b->vm);
	gmem_fini(&b->memory);
	kvm_close(&b->kvm);
	fd_close(&b->ended_fd);
	free(b);
	return 0;
}

static void segment_flat(struct kvm_segment *s, uint8_t type)
{
	*s = (struct kvm_segment){.limit = 0xffffffff, .selector = 8, .type = type, .present = 1,
				  .s = 1, .db = 1, .g = 1};
}

static void start(struct bench *b, const uint8_t *code, size_t n, bool is_protected)
{
	struct vcpu *v = &b->cpus.cpu[0].vcpu;
	struct kvm_regs regs = {.rip = CODE_AT, .rflags = 2, .rsp = 0x8000};
	struct kvm_sregs sregs;
	struct err e = {0};

	assert_true(gmem_write(&b->memory, CODE_AT, code, n));
	assert_int_equal(vcpu_ioctl(v, KVM_GET_SREGS, &sregs), 0);
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (is_protected) {
		sregs.cr0 |= 1;
		segment_flat(&sregs.cs, 11);
		segment_flat(&sregs.ds, 3);
		segment_flat(&sregs.ss, 3);
	}
	assert_int_equal(vcpu_ioctl(v, KVM_SET_SREGS, &sregs), 0);
	assert_int_equal(vcpu_ioctl(v, KVM_SET_REGS, &regs), 0);
	assert_int_equal(cpus_start(&b->cpus, &e), 0);
	cpus_resume(&b->cpus);
}

static void wait_for_end(struct bench *b)
{
	struct pollfd p = {.fd = b->ended_fd, .events = POLLIN};

	assert_int_equal(poll(&p, 1, 10000), 1);
	fd_drain(b->ended_fd); /* who has read sees what the vCPU did before */
}

static uint32_t counter(const struct bench *b)
{
	uint32_t n;

	assert_true(gmem_read(&b->memory, COUNTER_AT, &n, sizeof(n)));
	return n;
}

/* incl 0x3000; jmp back */
static const uint8_t counting[] = {0x66, 0xff, 0x06, 0x00, 0x30, 0xeb, 0xf9};

/* lidt of an empty table in protected mode, then ud2 */
static const uint8_t faulting[] = {0x0f, 0x01, 0x1d, 0x00, 0x30, 0x00, 0x00, 0x0f, 0x0b};

static void paused_guest_stands_still_and_goes_on(void **state)
{
	struct bench *b = *state;
	uint32_t at;

	SKIP_UNLESS(b, "a usable /dev/kvm");
	start(b, counting, sizeof(counting), false);
	for (unsigned round = 0; round < 50; round++) {
		while (counter(b) == 0) {
		}
		cpus_pause(&b->cpus);
		at = counter(b);
		cpus_pause(&b->cpus); /* twice is the same as once */
		for (unsigned i = 0; i < 1000; i++)
			assert_int_equal(counter(b), at);
		assert_true(gmem_fill(&b->memory, COUNTER_AT, 0, sizeof(at)));
		cpus_resume(&b->cpus);
	}
	cpus_stop(&b->cpus);
	at = counter(b);
	assert_int_equal(counter(b), at);
}

static void stop_works_while_paused(void **state)
{
	struct bench *b = *state;

	SKIP_UNLESS(b, "a usable /dev/kvm");
	start(b, counting, sizeof(counting), false);
	cpus_pause(&b->cpus);
	cpus_stop(&b->cpus);
	cpus_resume(&b->cpus); /* stopped stays stopped */
	assert_false(b->cpus.cpu[0].has_thread);
}

static void triple_fault_ends_the_guest(void **state)
{
	struct bench *b = *state;

	SKIP_UNLESS(b, "a usable /dev/kvm");
	start(b, faulting, sizeof(faulting), true);
	wait_for_end(b);
	assert_int_equal(b->end, CPU_END_TRIPLE_FAULT);
	cpus_pause(&b->cpus); /* a vCPU that ended counts as paused */
}

static void string_output_reaches_the_handler_element_by_element(void **state)
{
	static const uint8_t code[] = {
		0xbe, 0x00, 0x30,	/* mov $0x3000, %si */
		0xb9, 0x04, 0x00,	/* mov $4, %cx */
		0xba, 0x40, 0x00,	/* mov $0x40, %dx */
		0xfc, 0xf3, 0x6e,	/* cld; rep outsb */
		0xe7, 0x42,		/* out %ax, $0x42: ax is 0 */
		0x66, 0xe5, 0x40,	/* in $0x40, %eax */
		0x66, 0xa3, 0x10, 0x30, /* mov %eax, 0x3010 */
		0xe5, 0x50,		/* in $0x50, %ax: nobody there */
		0xa3, 0x14, 0x30,	/* mov %ax, 0x3014 */
		0xe6, 0x43, 0xeb, 0xfe, /* out %al, $0x43; spin */
	};
	static const uint8_t text[4] = {1, 2, 3, 4};
	struct bench *b = *state;
	uint32_t read_back;
	uint16_t absent;

	SKIP_UNLESS(b, "a usable /dev/kvm");
	assert_true(gmem_write(&b->memory, COUNTER_AT, text, sizeof(text)));
	start(b, code, sizeof(code), false);
	wait_for_end(b);
	assert_int_equal(b->port_sum, 10);
	assert_true(gmem_read(&b->memory, 0x3010, &read_back, sizeof(read_back)));
	assert_int_equal(read_back, 0x11223344);
	assert_true(gmem_read(&b->memory, 0x3014, &absent, sizeof(absent)));
	assert_int_equal(absent, 0xffff);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(paused_guest_stands_still_and_goes_on, setup,
						teardown),
		cmocka_unit_test_setup_teardown(stop_works_while_paused, setup, teardown),
		cmocka_unit_test_setup_teardown(triple_fault_ends_the_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(
			string_output_reaches_the_handler_element_by_element, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
