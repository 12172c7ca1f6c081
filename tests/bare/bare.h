/* SPDX-License-Identifier: BSD-3-Clause */
/* bare.h - what bare guests use: ports, memory, printing, checks, interrupts */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { COM1 = 0x3f8, PASSED = 0, FAILED = 1 };

#define PORT_FUNCTIONS(suffix, type)                                       \
	static inline void out##suffix(uint16_t port, type value)         \
	{                                                                  \
		asm volatile("out %0, %1" : : "a"(value), "Nd"(port));     \
	}                                                                  \
	static inline type in##suffix(uint16_t port)                       \
	{                                                                  \
		type value;                                                \
		asm volatile("in %1, %0" : "=a"(value) : "Nd"(port));      \
		return value;                                              \
	}                                                                  \
	static inline void outs##suffix(uint16_t port, const void *p, size_t n) \
	{                                                                  \
		asm volatile("rep outs" #suffix : "+S"(p), "+c"(n) : "d"(port) : "memory"); \
	}                                                                  \
	static inline void ins##suffix(uint16_t port, void *p, size_t n)   \
	{                                                                  \
		asm volatile("rep ins" #suffix : "+D"(p), "+c"(n) : "d"(port) : "memory"); \
	}
PORT_FUNCTIONS(b, uint8_t)
PORT_FUNCTIONS(w, uint16_t)
PORT_FUNCTIONS(l, uint32_t)

/* One access of exactly this size. */
#define MEMORY_FUNCTIONS(bits)                                                       \
	static inline uint##bits##_t read##bits(uintptr_t at)                        \
	{                                                                            \
		return *(volatile uint##bits##_t *)at;                               \
	}                                                                            \
	static inline void write##bits(uintptr_t at, uint##bits##_t value)           \
	{                                                                            \
		*(volatile uint##bits##_t *)at = value;                              \
	}
MEMORY_FUNCTIONS(8)
MEMORY_FUNCTIONS(16)
MEMORY_FUNCTIONS(32)
MEMORY_FUNCTIONS(64)

/* Prints to COM1: text, a number in hexadecimal. */
void print(const char *text);
void print_hex(uint64_t value);
void print_bytes(const void *p, size_t n);

/* Ends the guest by the debug-exit port. */
_Noreturn void end(uint32_t code);

/* Ends it as failed, with both values, unless they are equal. */
void check_at(const char *file, unsigned line, uint64_t is, uint64_t wanted, const char *what);
#define CHECK(is, wanted) check_at(__FILE__, __LINE__, (uint64_t)(is), (uint64_t)(wanted), #is)

/* The value of "name=..." on the command line, ended by a blank or NUL; NULL if it is not there. */
const char *option(const char *name);
uint64_t option_number(const char *name);

/* Interrupts: a handler per vector; those that come unasked end the guest as failed. */
typedef void (*handler)(void);
void interrupts_init(void);
void interrupt_handle(uint8_t vector, handler h);

/* Waits with interrupts on until *count is at least n. */
void wait_for(volatile uint32_t *count, uint32_t n);

/* Local APIC of this processor. */
enum { APIC = 0xfee00000u, IOAPIC = 0xfec00000u };
void apic_init(void);
void apic_eoi(void);
void apic_send(uint32_t to, uint32_t command);
void ioapic_route(unsigned gsi, uint8_t vector, bool is_level);

uint64_t pm_timer_wait(uint32_t ticks);

/* The guests. */
void test_ports(void), test_strings(void), test_memory(void), test_pit(void), test_apic(void),
	test_serial_interrupt(void), test_echo(void), test_smp(void), test_pci(void),
	test_clock(void), test_tables(void), test_flood(void), test_end(void), test_halt(void),
	test_power_button(void);
