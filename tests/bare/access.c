/* SPDX-License-Identifier: BSD-3-Clause */
/* access.c - ports and memory: every size, strings, and what nobody answers */
#include "bare.h"

enum {
	NOBODY_PORT = 0x5550,
	SCRATCH = COM1 + 7,
	LINE_CONTROL = COM1 + 3,
	DLAB = 0x80,
	LARGE = 5000, /* more than a page of port data */
};

void test_ports(void)
{
	CHECK(inb(NOBODY_PORT), 0xff);
	CHECK(inw(NOBODY_PORT), 0xffff);
	CHECK(inl(NOBODY_PORT), 0xffffffff);
	outb(NOBODY_PORT, 1);
	outw(NOBODY_PORT, 1);
	outl(NOBODY_PORT, 1);

	outb(SCRATCH, 0x5a);
	CHECK(inb(SCRATCH), 0x5a);
	CHECK(inw(SCRATCH), 0xff5a); /* the next port has nobody */
	outw(COM1 + 6, 0xa500);	     /* modem status is read-only */
	CHECK(inb(SCRATCH), 0xa5);

	outb(LINE_CONTROL, DLAB | 3);
	outw(COM1, 0x1234);
	CHECK(inb(COM1), 0x34);
	CHECK(inb(COM1 + 1), 0x12);
	CHECK(inw(COM1), 0x1234);
	CHECK(inl(COM1) & 0xff00ffff, 0x83001234);
	outl(COM1, 0x03070001); /* divisor, FIFO control, line control */
	CHECK(inb(LINE_CONTROL), 3);
	CHECK(inb(COM1 + 2), 0xc1);

	outw(0x70, 0xbe40); /* CMOS index and data in one */
	CHECK(inb(0x71), 0xbe);
	outb(0x70, 0xc0); /* the NMI bit does not count */
	CHECK(inb(0x71), 0xbe);
	CHECK(inb(0x64) & 2, 0);
	CHECK(inb(0x80), 0xff);
	CHECK(inl(0x608) != inl(0x608) || inl(0x608) != inl(0x608), true);
}

/* Port data goes element by element, also where one instruction makes several exits. */
void test_strings(void)
{
	static uint8_t buf[LARGE + 8];
	static const char text[] = "rep outsb reaches the serial port\n";

	outsb(COM1, text, sizeof(text) - 1);
	for (unsigned i = 0; i < LARGE; i++)
		buf[i] = (uint8_t)(i * 7);
	outsb(SCRATCH, buf, LARGE);
	CHECK(inb(SCRATCH), (uint8_t)((LARGE - 1) * 7));

	insb(NOBODY_PORT, buf, LARGE);
	for (unsigned i = 0; i < LARGE; i++)
		CHECK(buf[i], 0xff);
	CHECK(buf[LARGE], 0);
	outb(SCRATCH, 0x3c);
	insb(SCRATCH, buf, 100);
	CHECK(buf[0] & buf[99], 0x3c);
	CHECK(buf[100], 0xff);
	insw(SCRATCH, buf, 50);
	CHECK(read16((uintptr_t)buf), 0xff3c);
	CHECK(read16((uintptr_t)buf + 98), 0xff3c);
	insl(NOBODY_PORT, buf, LARGE / 4);
	CHECK(read32((uintptr_t)buf + LARGE - 4), 0xffffffff);
	CHECK(buf[LARGE], 0);

	outb(LINE_CONTROL, DLAB | 3);
	write32((uintptr_t)buf, 0x00021111);
	outsw(COM1, buf, 2);
	CHECK(inw(COM1), 2);
	outb(LINE_CONTROL, 3);
	outsb(COM1, buf, 0);
}

/* Where neither memory nor a device is: behind memory, below the PCI window. */
enum { NOWHERE = 0xc0000000u };

void test_memory(void)
{
	uint8_t line[64];

	CHECK(read8(NOWHERE), 0xff);
	CHECK(read8(NOWHERE + 0xfff), 0xff);
	CHECK(read16(NOWHERE), 0xffff);
	CHECK(read32(NOWHERE), 0xffffffff);
	CHECK(read64(NOWHERE), UINT64_MAX);
	write8(NOWHERE, 1);
	write16(NOWHERE, 1);
	write32(NOWHERE, 1);
	write64(NOWHERE, 1);
	CHECK(read64(NOWHERE), UINT64_MAX);

	/* Odd addresses, and accesses that no bus has in one piece. */
	CHECK(read16(NOWHERE + 1), 0xffff);
	CHECK(read32(NOWHERE + 0xffd), 0xffffffff);
	CHECK(read64(NOWHERE + 0xffd), UINT64_MAX);
	for (unsigned i = 0; i < sizeof(line); i++)
		line[i] = 0;
	void *to = line;
	const void *from = (void *)(uintptr_t)NOWHERE;
	size_t n = 33;

	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	CHECK(line[0] & line[32], 0xff);
	CHECK(line[33], 0);
}
