/* SPDX-License-Identifier: BSD-3-Clause */
/* memfd.c - what lies behind guest memory */
#include "mem/memfd.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int memfd_new(const char *name, uint64_t size, bool huge_pages, struct err *e)
{
	const unsigned seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	auto_fd fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING |
						(huge_pages ? (unsigned)MFD_HUGETLB : 0));

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
