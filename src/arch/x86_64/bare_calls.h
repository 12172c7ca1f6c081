/* SPDX-License-Identifier: BSD-3-Clause */
/* bare_calls.h - entry point and system calls of a program that has no C library */
#pragma once

#include <asm/unistd.h>

/* main() of such a program: the stack as the kernel leaves it, argc first.  Must not return. */
_Noreturn void bare_main(long *stack);

__asm__(".globl _start\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call bare_main\n"
	"	ud2\n");

/* The system call's result: below 0 a negative errno value. */
static inline long bare_call(long number, long a, long b, long c, long d, long e)
{
	long result = number;
	register long fourth __asm__("r10") = d;
	register long fifth __asm__("r8") = e;

	__asm__ volatile("syscall"
			 : "+a"(result)
			 : "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth)
			 : "rcx", "r11", "memory");
	return result;
}
