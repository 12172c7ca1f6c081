/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_mmio.c - virtio over MMIO */
#include "transport/virtio_mmio.h"

#include "base/fd.h"
#include "virtio/ids.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <string.h>

enum {
	MAGIC = 0x74726976, /* "virt" */
	VERSION = 2,
	VENDOR = 0,

	/* Section 4.2.2; not in this kernel's headers. */
	QUEUE_RESET = 0x0c0,
};

/* Registers of ours. */
static uint32_t own_read(struct virtio_mmio *v, uint64_t at)
{
	uint32_t value = 0;

	pthread_mutex_lock(&v->lock);
	switch (at) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		value = v->device_feature_select;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		value = v->driver_feature_select;
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		value = v->queue_select;
		break;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		value = v->config_has_changed ? VIRTIO_MMIO_INT_CONFIG : 0;
		break;
	default:
		break;
	}
	pthread_mutex_unlock(&v->lock);
	return value;
}

static void own_write(struct virtio_mmio *v, uint64_t at, uint32_t value)
{
	pthread_mutex_lock(&v->lock);
	switch (at) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		v->device_feature_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		v->driver_feature_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		v->queue_select = value;
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		if (value & VIRTIO_MMIO_INT_CONFIG)
			v->config_has_changed = false;
		break;
	default: /* read-only, or not there */
		break;
	}
	pthread_mutex_unlock(&v->lock);
}

static uint32_t feature_word(struct virtio_mmio *v)
{
	uint32_t word = own_read(v, VIRTIO_MMIO_DEVICE_FEATURES_SEL);

	return word < 2 ? (uint32_t)(frontend_features(v->frontend) >> (32 * word)) : 0;
}

static uint32_t interrupt_status(struct virtio_mmio *v)
{
	bool is_ready = frontend_status(v->frontend) & VIRTIO_CONFIG_S_DRIVER_OK;

	return own_read(v, VIRTIO_MMIO_INTERRUPT_STATUS) | (is_ready ? VIRTIO_MMIO_INT_VRING : 0);
}

static uint32_t register_read(struct virtio_mmio *v, uint64_t at)
{
	struct frontend *f = v->frontend;

	switch (at) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return f->args.virtio_id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return feature_word(v);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return frontend_queue_size_max(f, own_read(v, VIRTIO_MMIO_QUEUE_SEL));
	case VIRTIO_MMIO_QUEUE_READY:
		return frontend_queue_enabled(f, own_read(v, VIRTIO_MMIO_QUEUE_SEL));
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return interrupt_status(v);
	case VIRTIO_MMIO_STATUS:
		return frontend_status(f);
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return frontend_generation(f);
	case VIRTIO_MMIO_SHM_LEN_LOW: /* all ones: there is no such region */
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX;
	default: /* write-only, or not there */
		return 0;
	}
}

/* Opens or closes the queue's doorbell.  Without one, writes exit to us. */
static void door_set(struct virtio_mmio *v, unsigned q, bool open)
{
	uint64_t match = q;

	if (q >= v->frontend->args.nqueues)
		return;
	pthread_mutex_lock(&v->lock);
	if (v->door_is_open[q] != open &&
	    v->host->ops->doorbell(v->host, false, v->base + VIRTIO_MMIO_QUEUE_NOTIFY, 4, &match,
				   v->frontend->queues[q].kick_fd, open) == 0)
		v->door_is_open[q] = open;
	pthread_mutex_unlock(&v->lock);
}

static void status_write(struct virtio_mmio *v, uint32_t status)
{
	frontend_status_set(v->frontend, (uint8_t)status);
	if ((uint8_t)status != 0)
		return;
	for (unsigned q = 0; q < v->frontend->args.nqueues; q++)
		door_set(v, q, false);
	own_write(v, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
}

static void queue_stop(struct virtio_mmio *v, unsigned q)
{
	frontend_queue_reset(v->frontend, q);
	door_set(v, q, false);
}

static void queue_ready_write(struct virtio_mmio *v, unsigned q, uint32_t value)
{
	if (value == 1) {
		frontend_queue_enable(v->frontend, q);
		door_set(v, q, frontend_queue_enabled(v->frontend, q));
	} else if (value == 0 && frontend_queue_enabled(v->frontend, q)) {
		queue_stop(v, q);
	}
}

static void queue_write(struct virtio_mmio *v, uint64_t at, uint32_t value)
{
	unsigned q = own_read(v, VIRTIO_MMIO_QUEUE_SEL);
	struct frontend *f = v->frontend;

	switch (at) {
	case VIRTIO_MMIO_QUEUE_NUM:
		frontend_queue_size_set(f, q, value);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		queue_ready_write(v, q, value);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		frontend_queue_address_set(f, q, FRONTEND_DESC, at & 4, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		frontend_queue_address_set(f, q, FRONTEND_DRIVER, at & 4, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		frontend_queue_address_set(f, q, FRONTEND_DEVICE, at & 4, value);
		break;
	case QUEUE_RESET:
		if (value == 1 && frontend_has_queue_reset(f))
			queue_stop(v, q);
		break;
	default:
		own_write(v, at, value);
		break;
	}
}

static void register_write(struct virtio_mmio *v, uint64_t at, uint32_t value)
{
	struct frontend *f = v->frontend;

	switch (at) {
	case VIRTIO_MMIO_DRIVER_FEATURES:
		frontend_driver_features_set(f, own_read(v, VIRTIO_MMIO_DRIVER_FEATURES_SEL),
					     value);
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if (value < f->args.nqueues)
			fd_signal(f->queues[value].kick_fd);
		break;
	case VIRTIO_MMIO_STATUS:
		status_write(v, value);
		break;
	default:
		queue_write(v, at, value);
		break;
	}
}

/* Registers are read and written whole, the device's configuration in any way. */
static uint64_t window_read(struct bus_dev *w, uint64_t offset, unsigned size)
{
	struct virtio_mmio *v = container_of(w, struct virtio_mmio, window);
	uint64_t value = 0;

	if (offset >= VIRTIO_MMIO_CONFIG)
		frontend_config_read(v->frontend, offset - VIRTIO_MMIO_CONFIG, &value, size);
	else if (size == 4 && offset % 4 == 0)
		value = register_read(v, offset);
	return value;
}

static void window_write(struct bus_dev *w, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio_mmio *v = container_of(w, struct virtio_mmio, window);

	if (offset >= VIRTIO_MMIO_CONFIG)
		frontend_config_write(v->frontend, offset - VIRTIO_MMIO_CONFIG, &value, size);
	else if (size == 4 && offset % 4 == 0)
		register_write(v, offset, (uint32_t)value);
}

static void config_changed(struct frontend_listener *l)
{
	struct virtio_mmio *v = container_of(l, struct virtio_mmio, listener);

	pthread_mutex_lock(&v->lock);
	v->config_has_changed = true;
	pthread_mutex_unlock(&v->lock);
	fd_signal(v->config_fd);
}

static int calls_bind(struct virtio_mmio *v)
{
	int r = v->host->ops->irqfd(v->host, v->gsi, v->config_fd, true);

	for (unsigned q = 0; q < v->frontend->args.nqueues && r == 0; q++) {
		r = v->host->ops->irqfd(v->host, v->gsi, v->frontend->queues[q].call_fd, true);
		v->call_is_bound[q] = r == 0;
	}
	return r;
}

int virtio_mmio_init(struct virtio_mmio *v, struct frontend *f, struct bus *mmio, uint64_t base,
		     struct host *host, unsigned gsi, struct err *e)
{
	int r;

	*v = (struct virtio_mmio){
		.window = {.name = f->args.name, .read = window_read, .write = window_write},
		.frontend = f,
		.listener.config_changed = config_changed,
		.host = host,
		.base = base,
		.gsi = gsi,
	};
	pthread_mutex_init(&v->lock, NULL);
	v->config_fd = fd_eventfd();
	r = v->config_fd < 0 ? v->config_fd : calls_bind(v);
	if (r < 0)
		return err_set(e, -r, "%s: cannot bind its interrupts", f->args.name);
	f->listener = &v->listener;
	return bus_add(mmio, base, VIRTIO_MMIO_BYTES, &v->window, e);
}

void virtio_mmio_fini(struct virtio_mmio *v)
{
	if (!v || !v->frontend)
		return;
	for (unsigned q = 0; q < v->frontend->args.nqueues; q++) {
		door_set(v, q, false);
		if (v->call_is_bound[q])
			v->host->ops->irqfd(v->host, v->gsi, v->frontend->queues[q].call_fd, false);
	}
	if (v->config_fd >= 0)
		v->host->ops->irqfd(v->host, v->gsi, v->config_fd, false);
	v->frontend->listener = NULL;
	fd_close(&v->config_fd);
	pthread_mutex_destroy(&v->lock);
	v->frontend = NULL;
}
