/* SPDX-License-Identifier: BSD-3-Clause */
/* ram.c - a guest's memory: the file, its mapping, and what the host sets behind it */
#include "mem/ram.h"

#include "base/fd.h"
#include "mem/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* The text of a small file; false if there is none. */
static bool file_text(const char *path, char *buf, size_t room)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, room - 1);

	if (n < 0)
		return false;
	buf[n] = '\0';
	return true;
}

/* ---- huge pages set aside ---- */

static uint64_t pool_number(uint64_t page_bytes, const char *file)
{
	char path[128], text[32];

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%llukB/%s",
		 (unsigned long long)page_bytes >> 10, file);
	return file_text(path, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

static int pool_too_small(uint64_t size, uint64_t page_bytes, struct err *e)
{
	const uint64_t needed = size / page_bytes, all = pool_number(page_bytes, "nr_hugepages"),
		       idle = pool_number(page_bytes, "free_hugepages"),
		       promised = pool_number(page_bytes, "resv_hugepages"),
		       left = idle > promised ? idle - promised : 0, wanted = all - left + needed;

	return err_say(e, ENOMEM,
		       "hugepages: %llu of %llu MiB each are needed, %llu are free; as root: "
		       "echo %llu >/sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages",
		       (unsigned long long)needed, (unsigned long long)page_bytes >> 20,
		       (unsigned long long)left, (unsigned long long)wanted,
		       (unsigned long long)page_bytes >> 10);
}

/*
 * The first mapping of such a file sets pages aside for all that come, or fails: otherwise it would
 * be the guest that found out, at a moment when nobody can help.
 */
static int pool_reserve(int fd, uint64_t size, uint64_t page_bytes, struct err *e)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED && errno == ENOMEM)
		return pool_too_small(size, page_bytes, e);
	if (p == MAP_FAILED)
		return err_set(e, errno, "cannot map %llu bytes of huge pages",
			       (unsigned long long)size);
	munmap(p, size);
	return 0;
}

/* ---- huge pages that the host puts together ---- */

/* Whether the word in brackets, which is the one that counts, lets memory files have them. */
static bool selects_huge(const char *text)
{
	return strstr(text, "[always]") || strstr(text, "[advise]") ||
	       strstr(text, "[within_size]") || strstr(text, "[force]");
}

static int thp_set(const struct gmem_region *r, struct err *e)
{
	static const char all[] = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
	static const char one[] =
		"/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/shmem_enabled";
	char text[128];

	if (madvise(r->host, r->size, MADV_HUGEPAGE) < 0)
		return err_say(e, errno, "thp: this kernel has no transparent huge pages: %s",
			       strerror(errno));
	if ((file_text(all, text, sizeof(text)) && selects_huge(text)) ||
	    (file_text(one, text, sizeof(text)) && selects_huge(text)))
		return 0;
	return err_say(e, ENOTSUP,
		       "thp: the host puts no huge pages behind shared memory; as root: "
		       "echo advise >%s",
		       all);
}

/* ---- the rest ---- */

static int lock_all(const struct gmem_region *r, struct err *e)
{
	struct rlimit limit = {0};

	if (mlock2(r->host, r->size, 0) == 0) /* mlock(), which sanitizers leave out */
		return 0;
	if (errno == EPERM || (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur < r->size))
		return err_say(e, EPERM,
			       "lock: this user may lock %llu KiB, %llu are needed; raise the "
			       "limit (ulimit -l, LimitMEMLOCK= of a unit) or leave lock out",
			       (unsigned long long)limit.rlim_cur >> 10,
			       (unsigned long long)r->size >> 10);
	return err_say(e, errno, "lock: %llu MiB cannot be locked: %s",
		       (unsigned long long)r->size >> 20, strerror(errno));
}

static int options_apply(const struct gmem_region *r, const struct ram_options *o, struct err *e)
{
	int error = o->thp ? thp_set(r, e) : 0;

	if (error == 0 && o->dump && madvise(r->host, r->size, MADV_DODUMP) < 0)
		error = err_set(e, errno, "dump: memory cannot be made part of core dumps");
	return error == 0 && o->lock ? lock_all(r, e) : error;
}

int ram_add(struct gmem *m, const char *name, gpa base, uint64_t size, const struct ram_options *o,
	    struct err *e)
{
	auto_fd fd = memfd_new(name, size, o->page_bytes, e);
	int r = fd;

	if (fd >= 0 && o->page_bytes)
		r = pool_reserve(fd, size, o->page_bytes, e);
	if (r < 0)
		return r;
	r = gmem_map_take(m, base, size, fd, 0);
	if (r < 0)
		return err_set(e, -r, "cannot map %llu bytes of guest memory",
			       (unsigned long long)size);
	fd = -1; /* the region has it now */
	for (unsigned i = 0; i < m->nregions; i++)
		if (m->regions[i].base == base)
			return options_apply(&m->regions[i], o, e);
	return 0;
}
