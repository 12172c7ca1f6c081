/* SPDX-License-Identifier: BSD-3-Clause */
/* memfd.c - what lies behind guest memory */
#include "mem/memfd.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* As memfd_create() wants it: the exponent in the upper bits. */
static unsigned huge_flags(uint64_t page_bytes)
{
	if (page_bytes == 0)
		return 0;
	return MFD_HUGETLB | (unsigned)__builtin_ctzll(page_bytes) << MFD_HUGE_SHIFT;
}

int memfd_new(const char *name, uint64_t size, uint64_t page_bytes, struct err *e)
{
	const unsigned seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	auto_fd fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | huge_flags(page_bytes));

	if (fd < 0 && page_bytes && errno != EMFILE)
		return err_say(e, errno, "hugepages: this host has none of %llu MiB: %s",
			       (unsigned long long)page_bytes >> 20, strerror(errno));
	if (fd < 0)
		return err_set(e, errno, "cannot create guest memory");
	if (ftruncate(fd, (off_t)size) < 0)
		return err_set(e, errno, "cannot make guest memory of %llu MiB",
			       (unsigned long long)size >> 20);
	if (fcntl(fd, F_ADD_SEALS, seals) < 0)
		return err_set(e, errno, "cannot seal guest memory");
	return fd_take(&fd);
}

int memfd_punch(int fd, uint64_t offset, uint64_t n)
{
	const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

	return fallocate(fd, mode, (off_t)offset, (off_t)n) < 0 ? -errno : 0;
}
