/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kernel_test.c - loading good, odd and hostile kernel files
 *
 * With CROSVM_KERNEL_DUMP set to a folder, the sample kernels are left there.
 */
#include "arch/arch.h"

#include "arch/x86_64/layout.h"
#include "arch/x86_64/sample_kernels.h"
#include "base/fd.h"
#include "base/wire.h"

#include <asm/bootparam.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { MEMORY = 64 << 20, PAGE = 4096, FUZZED_HEADERS = 100000 };

static const uint8_t code[] = {0xB0, 0x07, 0xE6, 0xF4, 0xF4}; /* mov $7,%al; out %al,$0xf4; hlt */
static struct gmem gmem;
static uint8_t *memory;
static struct sample sample;
static struct arch_entry entry;
static struct err err;

static int memory_start(void **state)
{
	(void)state;
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	gmem_init(&gmem);
	return memory == MAP_FAILED ? -1 : gmem_add_borrowed(&gmem, 0, MEMORY, memory);
}

static int memory_clear(void **state)
{
	(void)state;
	err = (struct err){0};
	return madvise(memory, MEMORY, MADV_DONTNEED);
}

static int file_of(const void *bytes, size_t n)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, bytes, n), 0);
	return fd;
}

/* Loads bytes as a kernel, with an initrd unless its size is 0. */
static int load_bytes(const void *bytes, size_t n, size_t initrd_bytes, const char *cmdline)
{
	auto_fd fd = file_of(bytes, n);
	auto_fd initrd = memfd_create("initrd", MFD_CLOEXEC);
	struct arch_kernel k = {
		.path = "kernel",
		.fd = fd,
		.initrd_path = initrd_bytes > 0 ? "initrd" : NULL,
		.initrd_fd = initrd,
		.cmdline = cmdline,
	};

	assert_int_equal(ftruncate(initrd, (off_t)initrd_bytes), 0);
	if (initrd_bytes > 0)
		assert_int_equal(pwrite(initrd, "first", 5, 0), 5);
	return arch_kernel_load(&k, &gmem, &entry, &err);
}

static int load(size_t initrd_bytes)
{
	return load_bytes(sample.bytes, sample.n, initrd_bytes, "quiet");
}

static const struct boot_params *zero_page(void)
{
	return (const struct boot_params *)(const void *)(memory + LAYOUT_ZERO_PAGE);
}

static uint32_t word(uint64_t at)
{
	le32 v;

	assert_true(at <= MEMORY - sizeof(v));
	memcpy(&v, memory + at, sizeof(v));
	return le32_get(v);
}

static void bzimage_goes_where_it_prefers(void **state)
{
	(void)state;
	sample_bzimage(&sample, code, sizeof(code));

	assert_int_equal(load(0), 0);

	assert_int_equal(entry.mode, ARCH_ENTRY_LONG);
	assert_int_equal(entry.pc, SAMPLE_PREF_ADDRESS + 0x200);
	assert_int_equal(entry.argument[0], LAYOUT_ZERO_PAGE);
	assert_memory_equal(memory + entry.pc, code, sizeof(code));
}

static void zero_page_tells_what_linux_needs(void **state)
{
	const struct boot_params *p = zero_page();

	(void)state;
	sample_bzimage(&sample, code, sizeof(code));

	assert_int_equal(load(0), 0);

	assert_int_equal(p->hdr.type_of_loader, 0xFF);
	assert_int_equal(p->hdr.header, 0x53726448);
	assert_int_equal(p->hdr.init_size, SAMPLE_INIT_SIZE);
	assert_int_equal(p->hdr.ramdisk_size, 0);
	assert_int_equal(p->sentinel, 0);
	assert_int_equal(p->acpi_rsdp_addr, LAYOUT_ACPI);
	assert_string_equal((char *)memory + p->hdr.cmd_line_ptr, "console=ttyS0 panic=1 quiet");
	assert_int_equal(p->e820_entries, 6);
	assert_int_equal(p->e820_table[3].addr, LAYOUT_HIGH);
	assert_int_equal(p->e820_table[3].size, MEMORY - LAYOUT_HIGH);
	assert_int_equal(p->e820_table[3].type, 1);
}

static void seed_differs_from_start_to_start(void **state)
{
	uint8_t first[48];

	(void)state;
	sample_bzimage(&sample, code, sizeof(code));

	assert_int_equal(load(0), 0);
	memcpy(first, memory + LAYOUT_SETUP_DATA, sizeof(first));
	assert_int_equal(load(0), 0);

	assert_int_equal(word(LAYOUT_SETUP_DATA + 8), SETUP_RNG_SEED);
	assert_memory_equal(first, memory + LAYOUT_SETUP_DATA, 16);
	assert_memory_not_equal(first + 16, memory + LAYOUT_SETUP_DATA + 16, 32);
}

static void initrd_lies_as_high_as_possible(void **state)
{
	const struct boot_params *p = zero_page();

	(void)state;
	sample_bzimage(&sample, code, sizeof(code));

	assert_int_equal(load(PAGE + 1), 0);

	assert_int_equal(p->hdr.ramdisk_size, PAGE + 1);
	assert_int_equal(p->hdr.ramdisk_image, MEMORY - 2 * PAGE);
	assert_memory_equal(memory + p->hdr.ramdisk_image, "first", 5);
}

static struct setup_header *sample_header(void)
{
	return (struct setup_header *)(void *)(sample.bytes + offsetof(struct boot_params, hdr));
}

static void initrd_stays_below_the_kernels_limit(void **state)
{
	(void)state;
	sample_bzimage(&sample, code, sizeof(code));
	sample_header()->initrd_addr_max = 0x1FFFFFF;

	assert_int_equal(load(PAGE), 0);

	assert_int_equal(zero_page()->hdr.ramdisk_image, 0x2000000 - PAGE);
}

static void initrd_never_lies_on_the_kernel(void **state)
{
	const size_t room = MEMORY - SAMPLE_PREF_ADDRESS - SAMPLE_INIT_SIZE;

	(void)state;
	sample_bzimage(&sample, code, sizeof(code));

	assert_int_equal(load(room), 0);
	assert_int_equal(zero_page()->hdr.ramdisk_image, SAMPLE_PREF_ADDRESS + SAMPLE_INIT_SIZE);
	assert_true(load(room + 1) < 0);
	assert_non_null(strstr(err.text, "initrd"));
}

static void command_line_is_limited_by_the_kernel(void **state)
{
	const size_t room = SAMPLE_CMDLINE_MAX - strlen("console=ttyS0 panic=1 ");
	char words[SAMPLE_CMDLINE_MAX + 1];

	(void)state;
	sample_bzimage(&sample, code, sizeof(code));
	memset(words, 'x', sizeof(words));

	words[room] = '\0';
	assert_int_equal(load_bytes(sample.bytes, sample.n, 0, words), 0);
	words[room] = 'x';
	words[room + 1] = '\0';
	assert_true(load_bytes(sample.bytes, sample.n, 0, words) < 0);
	assert_non_null(strstr(err.text, "101 characters"));
}

static void expect_refusal(const char *text)
{
	assert_true(load(0) < 0);
	if (!strstr(err.text, text))
		fail_msg("\"%s\" does not contain \"%s\"", err.text, text);
	assert_null(strchr(err.text, '\n'));
}

static void bzimage_headers_are_checked(void **state)
{
	(void)state;
	sample_bzimage(&sample, code, sizeof(code));
	sample_header()->xloadflags = 0;
	expect_refusal("32-bit");

	sample_bzimage(&sample, code, sizeof(code));
	sample_header()->version = 0x20B;
	expect_refusal("2.11 is too old");

	sample_bzimage(&sample, code, sizeof(code));
	sample_header()->kernel_alignment = 3;
	expect_refusal("alignment");

	sample_bzimage(&sample, code, sizeof(code));
	sample_header()->pref_address = UINT64_MAX - 10;
	expect_refusal("0xfffffffffffffff5");

	sample_bzimage(&sample, code, sizeof(code));
	sample_header()->init_size = 0xFFFFFFFF;
	expect_refusal("memory");

	sample_bzimage(&sample, code, sizeof(code));
	sample_header()->syssize = 0xFFFFFFFF;
	expect_refusal("truncated");

	sample_bzimage(&sample, code, sizeof(code));
	sample_header()->syssize = 0x10;
	expect_refusal("no 64-bit entry");
}

static void fixed_kernel_below_1_mib_is_refused(void **state)
{
	(void)state;
	sample_bzimage(&sample, code, sizeof(code));
	sample_header()->pref_address = 0x1000;

	assert_int_equal(load(0), 0); /* relocatable: moved up */
	assert_int_equal(entry.pc, 0x200000 + 0x200);
	sample_header()->relocatable_kernel = 0;
	expect_refusal("0x1000");
}

static void vmlinux_starts_at_its_entry(void **state)
{
	(void)state;
	sample_elf64(&sample, SAMPLE_ELF_ADDRESS, code, sizeof(code));

	assert_int_equal(load(PAGE), 0);

	assert_int_equal(entry.mode, ARCH_ENTRY_LONG);
	assert_int_equal(entry.pc, SAMPLE_ELF_ADDRESS);
	assert_memory_equal(memory + entry.pc, code, sizeof(code));
	assert_int_equal(zero_page()->hdr.ramdisk_image, MEMORY - PAGE);
}

static void virtual_entry_becomes_physical(void **state)
{
	const uint64_t virtual = SAMPLE_ELF_ADDRESS + 0xFFFFFFFF80000000;

	(void)state;
	sample_elf64(&sample, SAMPLE_ELF_ADDRESS, code, sizeof(code));
	memcpy(sample.bytes + 24, &virtual, sizeof(virtual));

	assert_int_equal(load(0), 0);

	assert_int_equal(entry.pc, SAMPLE_ELF_ADDRESS);
}

static void image_linked_at_0_is_moved(void **state)
{
	(void)state;
	sample_elf64(&sample, 0, code, sizeof(code));

	assert_int_equal(load(0), 0);

	assert_int_equal(entry.pc, LAYOUT_LINKED_AT_0);
	assert_memory_equal(memory + entry.pc, code, sizeof(code));
	assert_true(zero_page()->hdr.init_size > 0);
	assert_true(zero_page()->hdr.init_size <= MEMORY - 0x1000000);
}

static void segments_must_lie_in_free_memory(void **state)
{
	(void)state;
	sample_elf64(&sample, 0x7000, code, sizeof(code));
	expect_refusal("tables");
	sample_elf64(&sample, MEMORY - 0x1000, code, sizeof(code));
	expect_refusal("see -m");
	sample_elf64(&sample, UINT64_MAX - 0x1000, code, sizeof(code));
	expect_refusal("impossible");
	sample_multiboot(&sample, 0x9F000, code, sizeof(code));
	expect_refusal("tables");
	sample_multiboot(&sample, 0x800, code, sizeof(code));
	expect_refusal("tables");
}

static void pvh_note_is_preferred(void **state)
{
	uint64_t info;

	(void)state;
	sample_pvh(&sample, code, sizeof(code));

	assert_int_equal(load(PAGE), 0);

	info = entry.argument[1];
	assert_int_equal(entry.mode, ARCH_ENTRY_PROTECTED);
	assert_int_equal(entry.pc, SAMPLE_ELF_ADDRESS + SAMPLE_PVH_OFFSET);
	assert_int_equal(word(info), 0x336EC578);
	assert_int_equal(word(info + 12), 1); /* modules */
	assert_string_equal((char *)memory + word(info + 24), "console=ttyS0 panic=1 quiet");
	assert_int_equal(word(info + 32), LAYOUT_ACPI);
	assert_int_equal(word(info + 48), 6); /* entries of the memory map */
	assert_memory_equal(memory + word(word(info + 16)), "first", 5);
	assert_int_equal(word(word(info + 40) + 3 * 24), LAYOUT_HIGH);
}

static void multiboot_gets_its_information(void **state)
{
	uint64_t info;

	(void)state;
	sample_multiboot(&sample, 0x4000, code, sizeof(code));

	assert_int_equal(load(PAGE), 0);

	info = entry.argument[1];
	assert_int_equal(entry.mode, ARCH_ENTRY_PROTECTED);
	assert_int_equal(entry.pc, 0x4000);
	assert_int_equal(entry.argument[2], 0x2BADB002);
	assert_int_equal(word(info), 1 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
	assert_int_equal(word(info + 4), 639);
	assert_int_equal(word(info + 8), (MEMORY >> 10) - 1024);
	assert_string_equal((char *)memory + word(info + 16), "kernel quiet");
	assert_int_equal(word(info + 20), 1);
	assert_memory_equal(memory + word(word(info + 24)), "first", 5);
	assert_int_equal(word(info + 44), 6 * 24);
	assert_int_equal(word(word(info + 48)), 20);
	assert_string_equal((char *)memory + word(info + 64), "crosvm");
}

static void flat_multiboot_follows_its_header(void **state)
{
	(void)state;
	sample_multiboot_flat(&sample, 0x200000, code, sizeof(code));

	assert_int_equal(load(0), 0);

	assert_int_equal(entry.pc, 0x200040);
	assert_memory_equal(memory + entry.pc, code, sizeof(code));
	assert_int_equal(word(entry.argument[1]) & (1 << 3), 0); /* no module */
}

static void other_files_are_named(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *text;
	} files[] = {
		{"", 0, "an empty file"},
		{"\x1f\x8b\x08\0", 4, "gzip"},
		{"\xfd"
		 "7zXZ\0",
		 6, "xz"},
		{"\x28\xb5\x2f\xfd", 4, "zstd"},
		{"hsqs", 4, "squashfs"},
		{"#!/bin/sh\n", 10, "a script"},
		{"hello\n", 6, "a text file"},
		{"\0\0\0\0", 4, "zeros"},
		{"\x01\x02\x03\x04", 4, "unknown kind"},
		{"QFI\xfb", 4, "qcow2"},
		{"070701", 6, "initrd"},
		{"\x7f"
		 "ELF",
		 4, "truncated"},
		{"\x7f"
		 "ELF\x03\x01\x01\0\0\0\0\0\0\0\0\0",
		 16, "unknown class"},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
		assert_true(load_bytes(files[i].bytes, files[i].n, 0, "") < 0);
		if (!strstr(err.text, files[i].text))
			fail_msg("\"%s\" does not contain \"%s\"", err.text, files[i].text);
	}
}

static void arm_image_is_named(void **state)
{
	(void)state;
	memset(&sample, 0, sizeof(sample));
	sample.n = 4096;
	memcpy(sample.bytes + 0x38, "ARM\x64", 4);
	expect_refusal("aarch64");
}

static void foreign_elf_files_are_named(void **state)
{
	(void)state;
	sample_elf64(&sample, SAMPLE_ELF_ADDRESS, code, sizeof(code));
	sample.bytes[18] = 183;
	expect_refusal("aarch64");

	sample_elf64(&sample, SAMPLE_ELF_ADDRESS, code, sizeof(code));
	sample.bytes[5] = 2;
	expect_refusal("big-endian");

	sample_elf64(&sample, SAMPLE_ELF_ADDRESS, code, sizeof(code));
	sample.bytes[16] = 1;
	expect_refusal("not linked");

	sample_multiboot(&sample, 0x100000, code, sizeof(code));
	sample.bytes[0x300] = 0;
	expect_refusal("ELF32");
}

static void directory_is_named(void **state)
{
	struct arch_kernel k = {.path = "/", .fd = open("/", O_RDONLY | O_CLOEXEC), .cmdline = ""};

	(void)state;
	assert_true(arch_kernel_load(&k, &gmem, &entry, &err) < 0);
	assert_non_null(strstr(err.text, "directory"));
	close(k.fd);
}

static void initrd_must_be_a_file_with_something_in_it(void **state)
{
	auto_fd kernel = -1, empty = memfd_create("initrd", MFD_CLOEXEC);
	auto_fd folder = open("/", O_RDONLY | O_CLOEXEC);
	struct arch_kernel k = {.path = "kernel", .initrd_path = "initrd", .cmdline = ""};

	(void)state;
	sample_bzimage(&sample, code, sizeof(code));
	kernel = file_of(sample.bytes, sample.n);
	k.fd = kernel;

	k.initrd_fd = empty;
	assert_true(arch_kernel_load(&k, &gmem, &entry, &err) < 0);
	assert_non_null(strstr(err.text, "initrd: the initrd is empty"));
	k.initrd_fd = folder;
	assert_true(arch_kernel_load(&k, &gmem, &entry, &err) < 0);
	assert_non_null(strstr(err.text, "initrd: Is a directory"));
	k.initrd_fd = -1;
	assert_true(arch_kernel_load(&k, &gmem, &entry, &err) < 0);
	assert_non_null(strstr(err.text, "initrd: Bad file descriptor"));
}

static void multiboot_needs_that_we_lack_are_named(void **state)
{
	const uint32_t magic = 0x1BADB002;
	uint32_t header[3] = {magic, 1 << 2, 0u - magic - (1 << 2)};

	(void)state;
	sample_multiboot(&sample, 0x100000, code, sizeof(code));
	memcpy(sample.bytes + 0x300, header, sizeof(header));
	expect_refusal("video mode");

	header[1] = 1 << 9;
	header[2] = 0u - magic - (1 << 9);
	memcpy(sample.bytes + 0x300, header, sizeof(header));
	expect_refusal("unknown needs 0x200");
}

static void pvh_entry_outside_of_the_kernel_is_refused(void **state)
{
	(void)state;
	sample_pvh(&sample, code, sizeof(code));
	sample.bytes[0x200 + 16 + 3] = 0x70; /* of the note's address */
	expect_refusal("PVH entry 0x70");
}

static void samples_make(struct sample all[5])
{
	sample_bzimage(&all[0], code, sizeof(code));
	sample_elf64(&all[1], SAMPLE_ELF_ADDRESS, code, sizeof(code));
	sample_pvh(&all[2], code, sizeof(code));
	sample_multiboot(&all[3], 0x100000, code, sizeof(code));
	sample_multiboot_flat(&all[4], 0x100000, code, sizeof(code));
}

static void truncated_files_are_refused_at_every_length(void **state)
{
	static struct sample all[5];

	(void)state;
	samples_make(all);
	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		assert_int_equal(load_bytes(all[i].bytes, all[i].n, 0, ""), 0);
		/* syssize counts units of 16 bytes. */
		for (size_t n = 0; n < all[i].n - (i == 0 ? 15 : 0); n++) {
			err = (struct err){0};
			if (load_bytes(all[i].bytes, n, 0, "") == 0)
				fail_msg("%s cut at %zu loads", all[i].name, n);
			assert_int_not_equal(err.text[0], 0);
			assert_null(strchr(err.text, '\n'));
		}
	}
}

/* xorshift64: the same files in every run. */
static uint64_t random_next(void)
{
	static uint64_t x = 0x9E3779B97F4A7C15;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void mutate(const struct sample *from)
{
	static const uint8_t odd[] = {0, 1, 0x7F, 0x80, 0xFF};
	const unsigned changes = 1 + (unsigned)(random_next() % 8);

	memcpy(sample.bytes, from->bytes, from->n);
	for (unsigned i = 0; i < changes; i++) {
		const size_t at = random_next() % from->n;
		const uint64_t r = random_next();

		sample.bytes[at] = r & 1 ? (uint8_t)(r >> 8) : odd[(r >> 8) % sizeof(odd)];
	}
}

static void fuzzed_headers_never_crash(void **state)
{
	static struct sample all[5];
	auto_fd fd = memfd_create("kernel", MFD_CLOEXEC);
	struct arch_kernel k = {.path = "kernel", .fd = fd, .cmdline = "quiet"};
	unsigned loaded = 0;

	(void)state;
	samples_make(all);
	for (unsigned i = 0; i < FUZZED_HEADERS; i++) {
		const struct sample *from = &all[i % ARRAY_LEN(all)];

		mutate(from);
		assert_int_equal(pwrite(fd, sample.bytes, from->n, 0), (ssize_t)from->n);
		assert_int_equal(ftruncate(fd, (off_t)from->n), 0);
		err = (struct err){0};
		if (arch_kernel_load(&k, &gmem, &entry, &err) == 0) {
			loaded++;
			assert_true(entry.pc < MEMORY);
		} else {
			assert_int_not_equal(err.text[0], 0);
		}
	}
	assert_true(loaded > 0 && loaded < FUZZED_HEADERS);
}

static void samples_dump(const char *folder)
{
	static struct sample all[5];

	samples_make(all);
	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		char path[512];
		FILE *f;

		snprintf(path, sizeof(path), "%s/%s", folder, all[i].name);
		f = fopen(path, "wb");
		if (f && fwrite(all[i].bytes, 1, all[i].n, f) == all[i].n)
			fclose(f);
	}
}

#define T(name) cmocka_unit_test_setup(name, memory_clear)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(bzimage_goes_where_it_prefers),
		T(zero_page_tells_what_linux_needs),
		T(seed_differs_from_start_to_start),
		T(initrd_lies_as_high_as_possible),
		T(initrd_stays_below_the_kernels_limit),
		T(initrd_never_lies_on_the_kernel),
		T(command_line_is_limited_by_the_kernel),
		T(bzimage_headers_are_checked),
		T(fixed_kernel_below_1_mib_is_refused),
		T(vmlinux_starts_at_its_entry),
		T(virtual_entry_becomes_physical),
		T(image_linked_at_0_is_moved),
		T(segments_must_lie_in_free_memory),
		T(pvh_note_is_preferred),
		T(multiboot_gets_its_information),
		T(flat_multiboot_follows_its_header),
		T(other_files_are_named),
		T(arm_image_is_named),
		T(foreign_elf_files_are_named),
		T(directory_is_named),
		T(initrd_must_be_a_file_with_something_in_it),
		T(multiboot_needs_that_we_lack_are_named),
		T(pvh_entry_outside_of_the_kernel_is_refused),
		T(truncated_files_are_refused_at_every_length),
		T(fuzzed_headers_never_crash),
	};

	if (getenv("CROSVM_KERNEL_DUMP"))
		samples_dump(getenv("CROSVM_KERNEL_DUMP"));
	return cmocka_run_group_tests(tests, memory_start, NULL);
}
