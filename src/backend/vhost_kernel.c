/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost_kernel.c - devices that the kernel drives */
#include "backend/vhost_kernel.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <string.h>
#include <sys/ioctl.h>

int vhost_kernel_open(const char *path, const char *module, uint64_t *ret_features, struct err *e)
{
	auto_fd fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && (errno == ENOENT || errno == ENODEV))
		return err_say(e, errno, "%s: not there; as root: modprobe %s", path, module);
	if (fd < 0 && errno != EACCES && errno != EPERM)
		return err_set(e, errno, "%s", path);
	if (fd < 0)
		return err_say(e, errno, "%s: %s; make it readable and writable for you", path,
			       strerror(errno));
	if (ioctl(fd, VHOST_GET_FEATURES, ret_features) < 0)
		return err_set(e, errno, "%s: cannot ask for its features", path);
	return fd_take(&fd);
}

int vhost_kernel_own(int fd, struct err *e)
{
	if (ioctl(fd, VHOST_SET_OWNER) < 0)
		return err_set(e, errno, "vhost: cannot be used by this process");
	return 0;
}

int vhost_kernel_begin(int fd, uint64_t features, const struct vhost_kernel_region *regions,
		       unsigned n, struct err *e)
{
	union {
		struct vhost_memory head;
		uint8_t bytes[sizeof(struct vhost_memory) +
			      VHOST_KERNEL_REGIONS_MAX * sizeof(struct vhost_memory_region)];
	} table = {0};

	if (n > VHOST_KERNEL_REGIONS_MAX)
		return err_say(e, E2BIG, "vhost: more than %d regions of memory",
			       VHOST_KERNEL_REGIONS_MAX);
	table.head.nregions = n;
	for (unsigned i = 0; i < n; i++)
		table.head.regions[i] =
			(struct vhost_memory_region){.guest_phys_addr = regions[i].guest,
						     .memory_size = regions[i].size,
						     .userspace_addr = regions[i].host};
	if (ioctl(fd, VHOST_SET_FEATURES, &features) < 0)
		return err_set(e, errno, "vhost: cannot agree on features 0x%llx",
			       (unsigned long long)features);
	if (ioctl(fd, VHOST_SET_MEM_TABLE, &table) < 0)
		return err_set(e, errno, "vhost: cannot share guest memory");
	return 0;
}

int vhost_kernel_ring_start(int fd, const struct vhost_kernel_ring *r, struct err *e)
{
	struct vhost_vring_state size = {.index = r->index, .num = r->size};
	struct vhost_vring_state base = {.index = r->index, .num = r->base};
	struct vhost_vring_addr areas = {.index = r->index,
					 .desc_user_addr = r->desc,
					 .avail_user_addr = r->driver,
					 .used_user_addr = r->device};
	struct vhost_vring_file kick = {.index = r->index, .fd = r->kick_fd};
	struct vhost_vring_file call = {.index = r->index, .fd = r->call_fd};
	struct vhost_vring_file err = {.index = r->index, .fd = r->err_fd};
	const struct {
		unsigned long request;
		void *argument;
	} steps[] = {
		{VHOST_SET_VRING_NUM, &size},	{VHOST_SET_VRING_BASE, &base},
		{VHOST_SET_VRING_ADDR, &areas}, {VHOST_SET_VRING_CALL, &call},
		{VHOST_SET_VRING_ERR, &err},	{VHOST_SET_VRING_KICK, &kick},
	};

	for (size_t i = 0; i < ARRAY_LEN(steps); i++)
		if (ioctl(fd, steps[i].request, steps[i].argument) < 0)
			return err_set(e, errno, "vhost: cannot start ring %u (step %zu)", r->index,
				       i);
	return 0;
}

int vhost_kernel_ring_stop(int fd, unsigned index, uint16_t *ret_base)
{
	struct vhost_vring_state base = {.index = index};

	if (ioctl(fd, VHOST_GET_VRING_BASE, &base) < 0)
		return -errno;
	*ret_base = (uint16_t)base.num;
	return 0;
}
