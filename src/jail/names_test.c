/* SPDX-License-Identifier: BSD-3-Clause */
/* names_test.c */
#include "jail/names.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static bool constant_is(const char *text, uint64_t value)
{
	uint64_t got = ~value;

	return names_constant(text, strlen(text), &got) && got == value;
}

static void calls_have_the_numbers_of_this_kernel(void **state UNUSED)
{
	call_arch native = names_arch_native();

	assert_int_equal(names_call_number(native, "read"), SYS_read);
	assert_int_equal(names_call_number(native, "openat"), SYS_openat);
	assert_int_equal(names_call_number(native, "close_range"), SYS_close_range);
	assert_int_equal(names_call_number(native, "_sysctl") == NAMES_UNKNOWN, 0);
	assert_string_equal(names_call(native, SYS_ioctl), "ioctl");
}

static void calls_are_known_per_architecture(void **state UNUSED)
{
	call_arch x86, arm;

	assert_true(names_arch("x86_64", &x86));
	assert_true(names_arch("aarch64", &arm));
	assert_false(names_arch("vax", &arm));
	assert_true(names_arch("aarch64", &arm));

	assert_int_equal(names_call_number(x86, "epoll_wait"), 232);
	assert_int_equal(names_call_number(arm, "epoll_wait"), NAMES_ABSENT);
	assert_int_equal(names_call_number(arm, "epoll_pwait"), 22);
	assert_int_equal(names_call_number(x86, "epoll"), NAMES_UNKNOWN);
	assert_int_equal(names_call_number(x86, ""), NAMES_UNKNOWN);
	assert_int_not_equal(names_arch_token(x86), names_arch_token(arm));
}

static void every_number_leads_back_to_its_name(void **state UNUSED)
{
	unsigned found = 0;

	for (call_arch a = 0; a < 2; a++) {
		for (int n = -5; n < 2000; n++) {
			const char *name = names_call(a, n);

			if (!name)
				continue;
			assert_int_equal(names_call_number(a, name), n);
			found++;
		}
	}
	assert_true(found > 600);
}

static void constants_have_their_values(void **state UNUSED)
{
	uint64_t value;

	assert_true(constant_is("PROT_EXEC", PROT_EXEC));
	assert_true(constant_is("MADV_DONTDUMP", 16));
	assert_true(constant_is("KVM_RUN", KVM_RUN));
	assert_true(constant_is("VHOST_SET_MEM_TABLE", 0x4008af03));
	assert_true(constant_is("VFIO_DEVICE_GET_PCI_HOT_RESET_INFO", 0x3b70));
	assert_true(constant_is("ENOSYS", ENOSYS));
	assert_true(constant_is("EAGAIN", EAGAIN));
	assert_true(constant_is("AT_FDCWD", 0xffffff9c));
	assert_true(names_constant("PROT_EXEC|PROT_READ", 9, &value));
	assert_false(names_constant("PROT_EXECX", 10, &value));
	assert_false(names_constant("PROT_EXE", 8, &value));
	assert_false(names_constant("", 0, &value));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_have_the_numbers_of_this_kernel),
		cmocka_unit_test(calls_are_known_per_architecture),
		cmocka_unit_test(every_number_leads_back_to_its_name),
		cmocka_unit_test(constants_have_their_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
