/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory.c - a library put before the C library's: counts allocations, makes one of them fail
 *
 * LD_FAULTS names a file of struct page, which every process of ours maps.  One is named by its
 * device, or "run"; what it forks and does not execute has the same name and a slash.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum { NAME_BYTES = 24, NAMES_MAX = 1021 };

struct page {
	char fail_name[NAME_BYTES];
	uint32_t fail_at;
	_Atomic uint32_t has_failed;
	uint64_t failed_from; /* the return address */
	struct {
		char name[NAME_BYTES];
		_Atomic uint32_t count;
	} names[NAMES_MAX]; /* by a hash */
};

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t n);
void *__libc_memalign(size_t align, size_t n);

static struct page *page;
static char own_name[NAME_BYTES - 1];
static pid_t own_pid;

static const char *own_argument(int argc, char **argv)
{
	for (int i = 2; i < argc - 1; i++)
		if (strcmp(argv[i], "--name") == 0)
			return argv[i + 1];
	return argc > 1 ? argv[1] : "";
}

static __attribute__((constructor)) void begin(int argc, char **argv)
{
	const char *path = getenv("LD_FAULTS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p = MAP_FAILED;

	if (fd >= 0) {
		p = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
	}
	if (p == MAP_FAILED || argc < 2 || (strcmp(argv[1], "run") && strcmp(argv[1], "device")))
		return;
	strncpy(own_name, own_argument(argc, argv), sizeof(own_name) - 1);
	own_pid = getpid();
	page = p;
}

/* Whether this allocation is the one. */
static bool fails(uintptr_t from)
{
	char name[NAME_BYTES] = "";
	size_t i = 0;
	uint32_t n;

	if (!page)
		return false;
	strcpy(name, own_name);
	if (getpid() != own_pid)
		strcat(name, "/");
	for (unsigned h = 0; name[h]; h++)
		i = (i * 31 + (unsigned char)name[h]) % NAMES_MAX;
	strcpy(page->names[i].name, name);
	n = atomic_fetch_add(&page->names[i].count, 1) + 1;
	if (n != page->fail_at || strcmp(name, page->fail_name) != 0)
		return false;
	page->failed_from = from;
	page->has_failed = true;
	errno = ENOMEM;
	return true;
}

#define FROM ((uintptr_t)__builtin_return_address(0))

void *malloc(size_t n)
{
	return fails(FROM) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return fails(FROM) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t n)
{
	return fails(FROM) ? NULL : __libc_realloc(old, n);
}

void *aligned_alloc(size_t align, size_t n)
{
	return fails(FROM) ? NULL : __libc_memalign(align, n);
}

int posix_memalign(void **ret, size_t align, size_t n)
{
	void *p = fails(FROM) ? NULL : __libc_memalign(align, n);

	if (!p)
		return ENOMEM;
	*ret = p;
	return 0;
}
