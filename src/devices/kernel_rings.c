/* SPDX-License-Identifier: BSD-3-Clause */
/* kernel_rings.c - queues of a device that a vhost device of the kernel serves */
#include "devices/kernel_rings.h"

#include "backend/vhost_kernel.h"
#include "base/log.h"

#include <assert.h>
#include <string.h>

static_assert((int)GMEM_REGIONS_MAX <= (int)VHOST_KERNEL_REGIONS_MAX, "all of memory fits");

int kernel_rings_begin(const struct device *d, int vhost_fd, uint64_t vhost_features, struct err *e)
{
	struct vhost_kernel_region regions[GMEM_REGIONS_MAX];

	for (unsigned i = 0; i < d->gmem->nregions; i++) {
		const struct gmem_region *r = &d->gmem->regions[i];

		regions[i] = (struct vhost_kernel_region){r->base, r->size, (uintptr_t)r->host};
	}
	return vhost_kernel_begin(vhost_fd, d->acked & vhost_features, regions, d->gmem->nregions,
				  e);
}

int kernel_ring_start(const struct device *d, unsigned q, int vhost_fd, unsigned index,
		      struct err *e)
{
	struct vhost_kernel_ring r = {.index = index, .call_fd = d->queues[q].call_fd};
	struct vq_layout layout;

	vq_layout(&d->queues[q], &layout);
	r.size = layout.size;
	r.base = layout.base;
	r.desc = layout.desc;
	r.driver = layout.driver;
	r.device = layout.device;
	device_ring_fds(d, q, &r.kick_fd, &r.err_fd);
	return vhost_kernel_ring_start(vhost_fd, &r, e);
}

void kernel_ring_stop(struct device *d, unsigned q, int vhost_fd, unsigned index)
{
	uint16_t base;

	if (vhost_kernel_ring_stop(vhost_fd, index, &base) == 0)
		vq_base_set(&d->queues[q], base);
	else
		log_warn("queue %u: the kernel does not say how far it got", q);
}
