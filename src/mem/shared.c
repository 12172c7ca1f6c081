/* SPDX-License-Identifier: BSD-3-Clause */
/* shared.c - memory that two processes have */
#include "mem/shared.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static int map(struct shared *s, int fd, size_t bytes, struct err *e)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at == MAP_FAILED)
		return err_set(e, errno, "cannot map %zu bytes of shared memory", bytes);
	s->at = at;
	s->bytes = bytes;
	return 0;
}

int shared_new(struct shared *s, const char *name, size_t bytes, struct err *e)
{
	const unsigned seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	auto_fd fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	shared_clear(s);
	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0 || fcntl(fd, F_ADD_SEALS, seals) < 0)
		return err_set(e, errno, "cannot make shared memory of %zu bytes", bytes);
	r = map(s, fd, bytes, e);
	if (r == 0)
		s->fd = fd_take(&fd);
	return r;
}

int shared_map_take(struct shared *s, int fd, size_t bytes, struct err *e)
{
	auto_fd taken = fd;

	shared_clear(s);
	return map(s, taken, bytes, e);
}

void shared_fini(struct shared *s)
{
	if (s->at)
		munmap(s->at, s->bytes);
	fd_close(&s->fd);
	shared_clear(s);
}
