/* SPDX-License-Identifier: BSD-3-Clause */
/* platform.c - PCI, clock, tables, floods of output, and every way to end */
#include "bare.h"

enum { CONFIG_ADDRESS = 0xcf8, CONFIG_DATA = 0xcfc };

/* The address of the first table with that signature in the area where they lie. */
static uintptr_t table(const char *signature)
{
	for (uintptr_t at = 0xe0000; at < 0x100000; at += 4)
		if (read32(at) == *(const uint32_t *)(const void *)signature)
			return at;
	return 0;
}

static uint32_t config_address(unsigned slot, unsigned at)
{
	return 0x80000000u | slot << 11 | (at & 0xfcu);
}

static uint32_t config(unsigned slot, unsigned at)
{
	outl(CONFIG_ADDRESS, config_address(slot, at));
	return inl(CONFIG_DATA);
}

static void check_slot(uintptr_t ecam, unsigned slot)
{
	for (unsigned at = 0; at < 256; at += 4) {
		uint32_t value = config(slot, at);
		uintptr_t there = ecam + (slot << 15) + at;

		CHECK(read32(there), value);
		CHECK(read16(there + 2), value >> 16);
		CHECK(read8(there + 3), value >> 24);
		CHECK(inw(CONFIG_DATA + 2), value >> 16);
		CHECK(inb(CONFIG_DATA + 1), value >> 8 & 0xff);
		if (at >= 64)
			at += 28;
	}
}

void test_pci(void)
{
	uintptr_t mcfg = table("MCFG"), ecam;
	unsigned found = 0;

	CHECK(mcfg != 0, true);
	ecam = read32(mcfg + 44);
	CHECK(config(0, 8) >> 16, 0x0600); /* host bridge */
	for (unsigned slot = 0; slot < 32; slot++) {
		if (config(slot, 0) == 0xffffffff) {
			CHECK(read64(ecam + (slot << 15)), UINT64_MAX);
			continue;
		}
		found++;
		check_slot(ecam, slot);
	}
	CHECK(found, option_number("functions"));

	/* Only whole dwords reach the address register; bytes written elsewhere change nothing. */
	outl(CONFIG_ADDRESS, config_address(0, 0));
	CHECK(inl(CONFIG_ADDRESS), config_address(0, 0));
	outb(CONFIG_ADDRESS, 0x40);
	outw(CONFIG_ADDRESS + 2, 0);
	CHECK(inl(CONFIG_ADDRESS), config_address(0, 0));
	outl(CONFIG_ADDRESS, 0); /* not enabled */
	CHECK(inl(CONFIG_DATA), 0xffffffff);
	outl(CONFIG_ADDRESS, 0x80010000u); /* bus 1 */
	CHECK(inl(CONFIG_DATA), 0xffffffff);
	write32(ecam, 0);
	CHECK(read32(ecam), config(0, 0)); /* identity is read-only */
	CHECK(read32(ecam + 0x100), 0);	   /* no extended capabilities */
}

static uint8_t cmos(uint8_t index)
{
	outb(0x70, index);
	return inb(0x71);
}

/* Prints the time as the clock has it, when it can be read safely. */
void test_clock(void)
{
	static const uint8_t registers[] = {0x32, 9, 8, 7, 4, 2, 0};
	uint32_t pm = inl(0x608);
	uint8_t second;

	CHECK(cmos(13), 0x80);
	CHECK(cmos(11) & 6, 2); /* BCD, 24 hours */
	while (cmos(10) & 0x80)
		;
	print("time ");
	for (unsigned i = 0; i < sizeof(registers); i++) {
		uint8_t v = cmos(registers[i]);
		char digits[2] = {(char)('0' + (v >> 4)), (char)('0' + (v & 15))};

		print_bytes(digits, 2);
	}
	print("\n");
	second = cmos(0);
	cmos(12);
	while (cmos(0) == second)
		;
	CHECK(cmos(12), 0x10);
	CHECK(inl(0x608) - pm < 3579545 * 3u, true);
}

void test_tables(void)
{
	CHECK(table("RSD ") != 0, true);
	CHECK(table("APIC") != 0, true);
	CHECK(table("FACP") != 0, true);
	CHECK(table("_MP_") != 0, true);
}

/* Much output, from a guest that minds the transmitter; its pattern shows any loss. */
void test_flood(void)
{
	static char line[64];
	uint64_t lines = option_number("lines");

	for (uint64_t i = 0; i < lines; i++) {
		for (unsigned k = 0; k < 63; k++)
			line[k] = (char)('!' + (i + k) % 90);
		line[63] = '\n';
		for (unsigned k = 0; k < 64; k += 16) {
			while (!(inb(COM1 + 5) & 0x20))
				;
			outsb(COM1, line + k, 16);
		}
	}
}

static bool is(const char *word, const char *text)
{
	while (*text)
		if (*word++ != *text++)
			return false;
	return *word == ' ' || *word == '\0';
}

static void triple_fault(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = {0, 0};

	asm volatile("lidt %0; ud2" : : "m"(none));
}

void test_end(void)
{
	const char *how = option("by");

	print("ending\n");
	if (is(how, "cf9"))
		outb(0xcf9, 6);
	if (is(how, "i8042"))
		outb(0x64, 0xfe);
	if (is(how, "port92"))
		outb(0x92, 1);
	if (is(how, "acpi"))
		outw(0x604, 5 << 10 | 1 << 13);
	if (is(how, "pvpanic"))
		outb(0x505, 1);
	if (is(how, "triple"))
		triple_fault();
	if (is(how, "debug"))
		outl(0xf4, (uint32_t)option_number("code"));
	for (;;)
		asm volatile("cli; hlt");
}
