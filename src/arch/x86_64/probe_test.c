/* SPDX-License-Identifier: BSD-3-Clause */
/* probe_test.c - the probe against this host's KVM, whatever that can do */
#include "arch/probe.h"
#include "base/skip.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void probe_comes_to_a_verdict(void **state)
{
	struct kvm k = {.fd = -1};
	struct err e = {0};
	struct arch_probe p;

	(void)state;
	SKIP_UNLESS(kvm_open(&k, "/dev/kvm", &e) == 0, "a usable /dev/kvm");
	assert_int_equal(arch_probe(&k, &p, &e), 0);
	kvm_close(&k);

	assert_true(p.loops_per_second > 0);
	if (p.runs_kernels)
		assert_string_equal(p.refused, "");
	else
		assert_true(p.refused[0] || p.loops_per_second < ARCH_PROBE_LOOPS_MIN);
}

static void probe_without_kvm_is_an_error(void **state)
{
	struct kvm k = {.fd = -1};
	struct err e = {0};
	struct arch_probe p;

	(void)state;
	assert_true(arch_probe(&k, &p, &e) < 0);
	assert_false(p.runs_kernels);
	assert_true(e.text[0] != '\0');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(probe_comes_to_a_verdict),
		cmocka_unit_test(probe_without_kvm_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
