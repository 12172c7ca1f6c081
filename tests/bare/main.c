/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c - runs the guest that the command line names: test=NAME */
#include "bare.h"

#include "layout.h"

extern uint32_t multiboot_info;
extern char vectors[];
void main(uint32_t info);
void interrupt(uint64_t vector, const uint64_t *frame);

struct gate {
	uint16_t offset_low, selector, flags, offset_mid;
	uint32_t offset_high, reserved;
};

static struct gate idt[256] __attribute__((aligned(16)));
static handler handlers[256];
static const char *cmdline;

void print_bytes(const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n-- > 0) {
		while (!(inb(COM1 + 5) & 0x20))
			;
		outb(COM1, *at++);
	}
}

void print(const char *text)
{
	size_t n = 0;

	while (text[n])
		n++;
	print_bytes(text, n);
}

void print_hex(uint64_t value)
{
	char digits[16];

	for (int i = 15; i >= 0; i--, value >>= 4)
		digits[i] = "0123456789abcdef"[value & 15];
	print_bytes(digits, 16);
}

_Noreturn void end(uint32_t code)
{
	outb(0xf4, (uint8_t)code);
	for (;;)
		asm volatile("cli; hlt");
}

void check_at(const char *file, unsigned line, uint64_t is, uint64_t wanted, const char *what)
{
	if (is == wanted)
		return;
	print("FAILED ");
	print(file);
	print(" line 0x");
	print_hex(line);
	print(": ");
	print(what);
	print(" is 0x");
	print_hex(is);
	print(", not 0x");
	print_hex(wanted);
	print("\n");
	end(FAILED);
}

/* The rest of text after the prefix, or NULL. */
static const char *after(const char *text, const char *prefix)
{
	while (*prefix)
		if (*text++ != *prefix++)
			return NULL;
	return text;
}

const char *option(const char *name)
{
	for (const char *p = cmdline; *p; p++) {
		const char *value = p == cmdline || p[-1] == ' ' ? after(p, name) : NULL;

		if (value && *value == '=')
			return value + 1;
	}
	return NULL;
}

uint64_t option_number(const char *name)
{
	const char *p = option(name);
	uint64_t n = 0;

	for (; p && *p >= '0' && *p <= '9'; p++)
		n = n * 10 + (uint64_t)(*p - '0');
	return n;
}

static bool is_word(const char *at, const char *word)
{
	const char *rest = at ? after(at, word) : NULL;

	return rest && (*rest == ' ' || *rest == '\0');
}

void interrupts_init(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = {sizeof(idt) - 1, (uintptr_t)idt};

	for (unsigned i = 0; i < 256; i++) {
		uintptr_t at = (uintptr_t)vectors + 16 * i;

		idt[i] = (struct gate){(uint16_t)at, CODE64, 0x8e00, (uint16_t)(at >> 16), 0, 0};
	}
	asm volatile("lidt %0" : : "m"(pointer));
}

void interrupt_handle(uint8_t vector, handler h)
{
	handlers[vector] = h;
}

void interrupt(uint64_t vector, const uint64_t *frame)
{
	if (handlers[(uint8_t)vector]) {
		handlers[(uint8_t)vector]();
		return;
	}
	print("FAILED unexpected vector 0x");
	print_hex(vector);
	print(", stack");
	for (unsigned i = 10; i < 14; i++) {
		print(" 0x");
		print_hex(frame[i]);
	}
	print("\n");
	end(FAILED);
}

void wait_for(volatile uint32_t *count, uint32_t n)
{
	for (;;) {
		asm volatile("cli" ::: "memory");
		if (*count >= n)
			return;
		asm volatile("sti; hlt" ::: "memory"); /* no interrupt between the two */
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"ports", test_ports},	 {"strings", test_strings}, {"memory", test_memory},
	{"pit", test_pit},	 {"apic", test_apic},	    {"serial", test_serial_interrupt},
	{"echo", test_echo},	 {"smp", test_smp},	    {"pci", test_pci},
	{"clock", test_clock},	 {"tables", test_tables},   {"flood", test_flood},
	{"end", test_end},	 {"halt", test_halt},	    {"button", test_power_button},
};

void main(uint32_t info)
{
	const uint32_t *fields = (const uint32_t *)(uintptr_t)info;

	cmdline = (const char *)(uintptr_t)fields[4];
	interrupts_init();
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (is_word(option("test"), tests[i].name)) {
			tests[i].run();
			print("PASSED\n");
			end(PASSED);
		}
	}
	print("FAILED no such test: ");
	print(cmdline);
	end(FAILED);
}
