/* SPDX-License-Identifier: BSD-3-Clause */
/* interrupts.c - timer, serial port and inter-processor interrupts; halts; other processors */
#include "bare.h"

#include "layout.h"

enum {
	PIC1 = 0x20,
	PIC2 = 0xa0,
	PIC_BASE = 0x20,
	TIMER = 0x40, /* vectors */
	SERIAL = 0x41,
	CALL = 0x42,
	SCI = 0x43,
	PM_STATUS = 0x600,
	PM_ENABLE = 0x602,
	PM_CONTROL = 0x604,
	PM_TIMER = 0x608,
	POWER_BUTTON = 0x100,
	SLEEP_S5 = 5 << 10 | 1 << 13,
};

static volatile uint32_t ticks, received, calls;
static volatile uint32_t others_ready;
extern volatile uint32_t others_started;
void other_main(void);

uint64_t pm_timer_wait(uint32_t wanted)
{
	uint32_t start = inl(PM_TIMER), passed;

	do
		passed = inl(PM_TIMER) - start;
	while (passed < wanted);
	return passed;
}

/* 8259 and 8254 */

static void pic_init(uint16_t unmasked)
{
	static const uint8_t words[2][4] = {{0x11, PIC_BASE, 4, 1}, {0x11, PIC_BASE + 8, 2, 1}};

	for (unsigned i = 0; i < 4; i++) {
		outb(i ? PIC1 + 1 : PIC1, words[0][i]);
		outb(i ? PIC2 + 1 : PIC2, words[1][i]);
	}
	outb(PIC1 + 1, (uint8_t)~unmasked);
	outb(PIC2 + 1, (uint8_t)(~unmasked >> 8));
}

static void pit_tick(void)
{
	ticks++;
	outb(PIC1, 0x20);
}

void test_pit(void)
{
	uint32_t start = inl(PM_TIMER), passed;

	pic_init(1);
	interrupt_handle(PIC_BASE, pit_tick);
	outb(0x43, 0x34); /* channel 0, rate generator */
	outb(0x40, 11932 & 0xff);
	outb(0x40, 11932 >> 8); /* 100 Hz */
	wait_for(&ticks, 5);
	passed = inl(PM_TIMER) - start;
	CHECK(passed > 3579545 / 100 * 4, true);
	CHECK(passed < 3579545 * 10u, true);
}

/* APICs */

void apic_init(void)
{
	write32(APIC + 0xf0, 0x1ff);
	write32(APIC + 0x80, 0);
}

void apic_eoi(void)
{
	write32(APIC + 0xb0, 0);
}

void apic_send(uint32_t to, uint32_t command)
{
	write32(APIC + 0x310, to << 24);
	write32(APIC + 0x300, command);
	while (read32(APIC + 0x300) & 0x1000)
		;
}

void ioapic_route(unsigned gsi, uint8_t vector, bool is_level)
{
	write32(IOAPIC, 0x11 + 2 * gsi);
	write32(IOAPIC + 0x10, 0);
	write32(IOAPIC, 0x10 + 2 * gsi);
	write32(IOAPIC + 0x10, vector | (is_level ? 0x8000u : 0));
}

static void apic_tick(void)
{
	ticks++;
	apic_eoi();
}

void test_apic(void)
{
	pic_init(0);
	apic_init();
	interrupt_handle(TIMER, apic_tick);
	write32(APIC + 0x3e0, 0xb);
	write32(APIC + 0x320, 0x20000 | TIMER); /* periodic */
	write32(APIC + 0x380, 1000000);
	wait_for(&ticks, 5);
	write32(APIC + 0x320, 0x10000);
	ticks = 0;
	write32(APIC + 0x320, TIMER); /* once */
	write32(APIC + 0x380, 1000000);
	wait_for(&ticks, 1);
	asm volatile("sti");
	pm_timer_wait(36000);
	asm volatile("cli");
	CHECK(ticks, 1);
}

/* The serial port: 16 bytes at a time, each batch on an interrupt of the transmitter. */
static const char *to_send;
static uint8_t got[64];

static void serial_interrupt(void)
{
	for (uint8_t iir; !((iir = inb(COM1 + 2)) & 1);) {
		if ((iir & 0xf) == 2)
			for (unsigned i = 0; i < 16 && *to_send; i++)
				outb(COM1, (uint8_t)*to_send++);
		while (inb(COM1 + 5) & 1)
			got[received++ % sizeof(got)] = inb(COM1);
	}
	ticks++;
	apic_eoi();
}

static void serial_init(void)
{
	pic_init(0);
	apic_init();
	interrupt_handle(SERIAL, serial_interrupt);
	ioapic_route(4, SERIAL, false);
	outb(COM1 + 2, 0x07);
	outb(COM1 + 4, 0x0b);
}

void test_serial_interrupt(void)
{
	static const char text[] = "sixteen bytes at a time, each batch on an interrupt\n";

	serial_init();
	to_send = text;
	outb(COM1 + 1, 2);
	while (to_send != text + sizeof(text) - 1)
		wait_for(&ticks, ticks + 1);
	outb(COM1 + 1, 0);
	CHECK(ticks > 0, true);
}

/* Gives back what it receives, each byte one higher, up to a newline. */
void test_echo(void)
{
	uint32_t done = 0;

	serial_init();
	to_send = "";
	outb(COM1 + 1, 1);
	print("ready\n");
	for (;;) {
		wait_for(&received, done + 1);
		while (done < received) {
			uint8_t c = got[done++ % sizeof(got)];

			if (c == '\n' || c == '\r')
				return;
			c++;
			print_bytes(&c, 1);
		}
	}
}

/* Other processors */

static void call_counted(void)
{
	__atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST);
	apic_eoi();
}

void other_main(void)
{
	interrupts_init();
	apic_init();
	__atomic_fetch_add(&others_ready, 1, __ATOMIC_SEQ_CST);
	for (;;)
		asm volatile("sti; hlt");
}

static void await(volatile uint32_t *count, uint32_t n)
{
	for (unsigned i = 0; i < 2000 && *count < n; i++)
		pm_timer_wait(3580); /* 1 ms */
	CHECK(*count, n);
}

void test_smp(void)
{
	uint32_t others = (uint32_t)option_number("cpus") - 1;

	pic_init(0);
	apic_init();
	interrupt_handle(CALL, call_counted);
	CHECK(read32(APIC + 0x20) >> 24, 0);
	for (uint32_t i = 1; i <= others; i++) {
		apic_send(i, 0x4500); /* INIT */
		apic_send(i, 0x4600 | TRAMPOLINE >> 12);
		await(&others_ready, i);
	}
	CHECK(others_started, others);
	for (uint32_t i = 1; i <= others; i++)
		apic_send(i, 0x4000 | CALL);
	await(&calls, others);
	apic_send(0, 0xc4000 | CALL); /* to all but us */
	await(&calls, 2 * others);
	print("others 0x");
	print_hex(others_started);
	print("\n");
}

/*
 * The power button: interrupts for each press until the status is cleared.  After the last of
 * presses=N: off=1 powers off, deaf=1 goes on without an end.
 */
static volatile uint32_t presses;

static void button_pressed(void)
{
	if (inw(PM_STATUS) & POWER_BUTTON) { /* a level may interrupt once more when it is gone */
		outw(PM_STATUS, POWER_BUTTON);
		CHECK(inw(PM_STATUS) & POWER_BUTTON, 0);
		presses++;
	}
	apic_eoi();
}

void test_power_button(void)
{
	uint32_t wanted = (uint32_t)option_number("presses");

	pic_init(0);
	apic_init();
	interrupt_handle(SCI, button_pressed);
	ioapic_route(9, SCI, true);
	CHECK(inw(PM_CONTROL) & 1, 1); /* ACPI is on */
	outw(PM_ENABLE, POWER_BUTTON);
	CHECK(inw(PM_ENABLE), POWER_BUTTON);
	print("listening\n");
	for (uint32_t i = 1; i <= wanted; i++) {
		wait_for(&presses, i);
		print("pressed\n");
	}
	if (option_number("off"))
		outw(PM_CONTROL, SLEEP_S5);
	for (uint32_t i = wanted; option_number("off") || option_number("deaf"); i++)
		wait_for(&presses, i + 1);
	CHECK(presses, wanted);
}

void test_halt(void)
{
	print("halting\n");
	for (;;)
		asm volatile("cli; hlt");
}
