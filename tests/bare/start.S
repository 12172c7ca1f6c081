/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * start.S - from a multiboot loader's 32-bit mode, and from a start-up IPI's real mode, to main()
 *
 * Memory: code at 1 MiB, the trampoline of other processors copied to 0x8000, page tables in bss
 * that map the first 4 GiB as they are.
 */
#include "layout.h"

	.section .multiboot, "a"
	.balign 4
	.long	0x1BADB002, 0, -0x1BADB002

	.text
	.code32
	.globl	_start
_start:
	cli
	cld
	mov	$stacks + STACK_BYTES, %esp
	mov	%ebx, multiboot_info

	/* Level 2: 2048 pages of 2 MiB, writable, present. */
	mov	$level2, %edi
	mov	$0x83, %eax
	mov	$2048, %ecx
1:	mov	%eax, (%edi)
	add	$8, %edi
	add	$0x200000, %eax
	loop	1b
	movl	$level3 + 3, level4
	movl	$level2 + 3, level3
	movl	$level2 + 0x1003, level3 + 8
	movl	$level2 + 0x2003, level3 + 16
	movl	$level2 + 0x3003, level3 + 24

	/* The trampoline, for processors to come. */
	mov	$trampoline, %esi
	mov	$TRAMPOLINE, %edi
	mov	$trampoline_end - trampoline, %ecx
	rep	movsb
	call	long_mode_enable
	ljmp	$CODE64, $1f
	.code64
1:	mov	multiboot_info, %edi
	call	main
	jmp	halt

	.code32
long_mode_enable:
	lgdt	gdt_pointer
	mov	$0x20, %eax			/* PAE */
	mov	%eax, %cr4
	mov	$level4, %eax
	mov	%eax, %cr3
	mov	$0xC0000080, %ecx		/* EFER.LME */
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	$0x80000011, %eax		/* PG, ET, PE */
	mov	%eax, %cr0
	mov	$DATA, %eax
	mov	%eax, %ds
	mov	%eax, %es
	mov	%eax, %ss
	ret

	/* Another processor: real mode, CS = TRAMPOLINE / 16. */
	.code16
trampoline:
	cli
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	TRAMPOLINE + gdt_pointer_copy - trampoline
	mov	$0x11, %eax
	mov	%eax, %cr0
	ljmpl	$CODE32, $other_start
gdt_pointer_copy:
	.word	gdt_end - gdt - 1
	.long	gdt
trampoline_end:

	.code32
other_start:
	mov	$DATA, %eax
	mov	%eax, %ds
	mov	%eax, %ss
	mov	$1, %eax
	lock	xadd %eax, others_started
	inc	%eax				/* stack 0 is the first processor's */
	inc	%eax
	imul	$STACK_BYTES, %eax
	add	$stacks, %eax
	mov	%eax, %esp
	call	long_mode_enable
	ljmp	$CODE64, $1f
	.code64
1:	call	other_main
halt:	cli
	hlt
	jmp	halt

	/*
	 * Handlers: each vector pushes its number and goes to one place.  Vectors of faults with an
	 * error code leave it on the stack; none of them returns.
	 */
	.globl	vectors
	.balign	16
vectors:
	.set	i, 0
	.rept	256
	.balign	16
	push	$i
	jmp	vector_common
	.set	i, i + 1
	.endr
vector_common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	mov	72(%rsp), %rdi
	mov	%rsp, %rsi
	cld
	call	interrupt
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$8, %rsp
	iretq

	.data
	.balign	8
gdt:	.quad	0
	.quad	0x00CF9B000000FFFF		/* CODE32 */
	.quad	0x00CF93000000FFFF		/* DATA */
	.quad	0x00AF9B000000FFFF		/* CODE64 */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.quad	gdt
	.globl	multiboot_info, others_started
multiboot_info:	.long 0
others_started:	.long 0

	.bss
	.balign	4096
level4:	.skip	4096
level3:	.skip	4096
level2:	.skip	4 * 4096
stacks:	.skip	STACKS * STACK_BYTES
	.section .note.GNU-stack, "", @progbits
