/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * acpi_test.c - the tables as a kernel walks them, and as ACPI's own compiler reads them
 *
 * With CROSVM_ACPI_DUMP set to a folder, the tables are left there.
 */
#include "arch/x86_64/acpi.h"

#include "arch/x86_64/layout.h"
#include "base/skip.h"
#include "base/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MEMORY = 2 << 20, FOUND_MAX = 8 };

static uint8_t memory[MEMORY] __attribute__((aligned(4096)));
static struct gmem gmem;

struct found {
	unsigned n;
	uint64_t at[FOUND_MAX];
};

static const struct arch_platform typical = {
	.ncpus = 4,
	.serial_present = {true, true, true, true},
	.has_pvpanic = true,
	.has_pci = true,
	.pci = {.ecam_base = LAYOUT_ECAM,
		.mem32_base = LAYOUT_PCI32,
		.mem32_size = LAYOUT_PCI32_BYTES,
		.mem64_base = LAYOUT_4G,
		.mem64_size = UINT64_C(1) << 39,
		.intx_gsi = {16, 17, 18, 19}},
	.mmio_devices = {{LAYOUT_MMIO_DEVICES, 5}, {LAYOUT_MMIO_DEVICES + 0x1000, 20}},
	.nmmio_devices = 2,
};

static void platform_write(const struct arch_platform *p)
{
	struct err e = {0};

	memset(memory, 0, sizeof(memory));
	gmem_init(&gmem);
	assert_int_equal(gmem_add_borrowed(&gmem, 0, MEMORY, memory), 0);
	assert_int_equal(acpi_write(p, &gmem, &e), 0);
}

static uint32_t get32(uint64_t at)
{
	le32 v;

	memcpy(&v, memory + at, sizeof(v));
	return le32_get(v);
}

static uint64_t get64(uint64_t at)
{
	le64 v;

	memcpy(&v, memory + at, sizeof(v));
	return le64_get(v);
}

static uint8_t sum(uint64_t at, size_t n)
{
	uint8_t total = 0;

	while (n-- > 0)
		total = (uint8_t)(total + memory[at++]);
	return total;
}

/* All tables that the root names, and those that the FADT names. */
static struct found tables_find(void)
{
	const uint64_t xsdt = get64(LAYOUT_ACPI + 24);
	struct found found = {0};

	assert_memory_equal(memory + LAYOUT_ACPI, "RSD PTR ", 8);
	assert_memory_equal(memory + xsdt, "XSDT", 4);
	for (uint64_t at = xsdt + 36; at < xsdt + get32(xsdt + 4); at += 8)
		found.at[found.n++] = get64(at);
	assert_memory_equal(memory + found.at[0], "FACP", 4);
	found.at[found.n++] = get64(found.at[0] + 140);
	found.at[found.n++] = xsdt;
	return found;
}

static uint64_t table_find(const char *signature)
{
	const struct found found = tables_find();

	for (unsigned i = 0; i < found.n; i++)
		if (memcmp(memory + found.at[i], signature, 4) == 0)
			return found.at[i];
	return 0;
}

static void every_checksum_is_right(void **state)
{
	struct found found;

	(void)state;
	platform_write(&typical);

	found = tables_find();
	assert_int_equal(found.n, 5);
	assert_int_equal(sum(LAYOUT_ACPI, 20), 0);
	assert_int_equal(sum(LAYOUT_ACPI, 36), 0);
	for (unsigned i = 0; i < found.n; i++)
		assert_int_equal(sum(found.at[i], get32(found.at[i] + 4)), 0);
}

static void facs_is_aligned(void **state)
{
	uint64_t facs;

	(void)state;
	platform_write(&typical);

	facs = get32(table_find("FACP") + 36);
	assert_memory_equal(memory + facs, "FACS", 4);
	assert_int_equal(facs % 64, 0);
}

/* Counts entries of that type in the MADT; all entries must be whole. */
static unsigned madt_count(uint8_t type)
{
	const uint64_t madt = table_find("APIC");
	const uint64_t end = madt + get32(madt + 4);
	unsigned n = 0;
	uint64_t at = madt + 44;

	while (at < end) {
		n += memory[at] == type;
		assert_int_not_equal(memory[at + 1], 0);
		at += memory[at + 1];
	}
	assert_int_equal(at, end);
	return n;
}

static void madt_lists_every_processor(void **state)
{
	struct arch_platform p = typical;

	(void)state;
	platform_write(&p);
	assert_int_equal(madt_count(0), 4);
	assert_int_equal(madt_count(9), 0);
	assert_int_equal(madt_count(10), 0);

	p.ncpus = 300;
	platform_write(&p);
	assert_int_equal(madt_count(0), 255);
	assert_int_equal(madt_count(9), 45);
	assert_int_equal(madt_count(10), 1);
}

static void no_pci_means_no_mcfg(void **state)
{
	struct arch_platform p = typical;

	(void)state;
	p.has_pci = false;
	platform_write(&p);

	assert_int_equal(table_find("MCFG"), 0);
}

static void the_largest_platform_fits(void **state)
{
	struct arch_platform p = typical;

	(void)state;
	p.ncpus = 1024;
	p.nmmio_devices = ARCH_MMIO_DEVICES_MAX;
	for (unsigned i = 0; i < p.nmmio_devices; i++)
		p.mmio_devices[i] = arch_mmio_device(i);
	platform_write(&p);

	assert_int_equal(madt_count(9), 1024 - 255);
}

static void too_many_processors_are_an_error(void **state)
{
	struct arch_platform p = typical;
	struct err e = {0};

	(void)state;
	p.ncpus = 5000;

	assert_true(acpi_write(&p, &gmem, &e) < 0);
	assert_non_null(strstr(e.text, "5000 vCPUs"));
}

static void dump(const char *folder, const char *signature)
{
	const uint64_t at = table_find(signature);
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%.4s.dat", folder, signature);
	f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(memory + at, 1, get32(at + 4), f), get32(at + 4));
	fclose(f);
}

/* Runs a shell command in the folder; its output goes to the file "log" there. */
static int run(const char *folder, const char *command)
{
	char line[1024];

	snprintf(line, sizeof(line), "cd '%s' && %s >>log 2>&1", folder, command);
	return system(line); /* NOLINT: a fixed command in a folder of ours */
}

static void iasl_accepts_every_table(void **state)
{
	static const char *const names[] = {"FACP", "APIC", "MCFG", "DSDT", "XSDT"};
	char made[] = "/tmp/acpi-test-XXXXXX";
	const char *kept = getenv("CROSVM_ACPI_DUMP");
	const char *folder = kept;

	(void)state;
	SKIP_UNLESS(system("iasl -v >/dev/null 2>&1") == 0, "iasl (package acpica-tools)");
	if (!kept)
		folder = mkdtemp(made);
	assert_non_null(folder);
	platform_write(&typical);
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		dump(folder, names[i]);

	assert_int_equal(run(folder, "iasl -d *.dat"), 0);
	assert_int_equal(run(folder, "iasl -we DSDT.dsl FACP.dsl APIC.dsl MCFG.dsl"), 0);
	assert_int_not_equal(run(folder, "grep -iE 'warning|error|remark' log | grep -v ' 0 '"), 0);
	if (!kept)
		run(folder, "rm -f *.dat *.dsl *.aml log; rmdir \"$PWD\"; :");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_checksum_is_right),
		cmocka_unit_test(facs_is_aligned),
		cmocka_unit_test(madt_lists_every_processor),
		cmocka_unit_test(no_pci_means_no_mcfg),
		cmocka_unit_test(the_largest_platform_fits),
		cmocka_unit_test(too_many_processors_are_an_error),
		cmocka_unit_test(iasl_accepts_every_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
