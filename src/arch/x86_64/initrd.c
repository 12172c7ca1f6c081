/* SPDX-License-Identifier: BSD-3-Clause */
/* initrd.c - the initial RAM disk */
#include "arch/x86_64/initrd.h"

#include "base/num.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096 };

static int size_find(const struct arch_kernel *k, uint64_t *ret, struct err *e)
{
	struct stat st;
	off_t size;

	*ret = 0;
	if (!k->initrd_path)
		return 0;
	if (fstat(k->initrd_fd, &st) < 0)
		return err_set(e, errno, "%s", k->initrd_path);
	if (S_ISDIR(st.st_mode))
		return err_set(e, EISDIR, "%s", k->initrd_path);
	size = lseek(k->initrd_fd, 0, SEEK_END);
	if (size < 0)
		return err_say(e, EINVAL, "%s: not a file that can be read from any position",
			       k->initrd_path);
	if (size == 0)
		return err_say(e, EINVAL, "%s: the initrd is empty", k->initrd_path);
	*ret = (uint64_t)size;
	return 0;
}

/* Finds the size and checks that it fits between the borders, which become whole pages. */
static int fit(const struct arch_kernel *k, uint64_t *min, uint64_t *max, uint64_t *ret_size,
	       struct err *e)
{
	int r = size_find(k, ret_size, e);

	if (r < 0 || *ret_size == 0)
		return r;
	*min = round_up(*min, PAGE_BYTES);
	*max = round_down(*max, PAGE_BYTES);
	if (*max < *min || *ret_size > *max - *min)
		return err_say(e, ENOMEM,
			       "%s: initrd of %llu KiB does not fit: %llu KiB of memory are left "
			       "beside the kernel (see -m)",
			       k->initrd_path, (unsigned long long)*ret_size >> 10,
			       (unsigned long long)(*max < *min ? 0 : *max - *min) >> 10);
	return 0;
}

int initrd_place_high(const struct arch_kernel *k, uint64_t min, uint64_t max, struct initrd *ret,
		      struct err *e)
{
	uint64_t size;
	int r = fit(k, &min, &max, &size, e);

	if (r < 0)
		return r;
	*ret = (struct initrd){.size = size};
	if (size > 0)
		ret->base = round_down(max - size, PAGE_BYTES);
	return 0;
}

int initrd_place_low(const struct arch_kernel *k, uint64_t min, uint64_t max, struct initrd *ret,
		     struct err *e)
{
	uint64_t size;
	int r = fit(k, &min, &max, &size, e);

	if (r < 0)
		return r;
	*ret = (struct initrd){.size = size};
	if (size > 0)
		ret->base = min;
	return 0;
}

int initrd_load(const struct arch_kernel *k, const struct initrd *initrd, struct gmem *m,
		struct err *e)
{
	int r;

	if (initrd->size == 0)
		return 0;
	r = gmem_load(m, initrd->base, initrd->size, k->initrd_fd, 0);
	return r < 0 ? err_set(e, -r, "%s: cannot read the initrd", k->initrd_path) : 0;
}
