/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_pci.c - virtio over PCI */
#include "transport/virtio_pci.h"

#include "base/fd.h"
#include "base/num.h"
#include "base/wire.h"
#include "transport/virtio_pci_calls.h"
#include "virtio/ids.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <string.h>

enum {
	VENDOR = 0x1af4,
	FIRST_DEVICE = 0x1040, /* plus the virtio device id */
	SUBSYSTEM = 0x1100,

	/* What is where in the BAR; a page each, so that doorbells share theirs with nothing. */
	BAR = 0,
	BAR_BYTES = 0x8000,
	PART_BYTES = 0x1000,
	COMMON_AT = 0x0000,
	ISR_AT = 0x1000,
	CONFIG_AT = 0x2000,
	NOTIFY_AT = 0x3000,
	TABLE_AT = 0x4000,
	PENDING_AT = 0x5000,
};

/* The common structure, section 4.1.4.3; 64-bit fields are two halves. */
enum {
	DEVICE_FEATURE_SELECT = 0x00,
	DEVICE_FEATURE = 0x04,
	DRIVER_FEATURE_SELECT = 0x08,
	DRIVER_FEATURE = 0x0c,
	CONFIG_MSIX_VECTOR = 0x10,
	NUM_QUEUES = 0x12,
	DEVICE_STATUS = 0x14,
	CONFIG_GENERATION = 0x15,
	QUEUE_SELECT = 0x16,
	QUEUE_SIZE = 0x18,
	QUEUE_MSIX_VECTOR = 0x1a,
	QUEUE_ENABLE = 0x1c,
	QUEUE_NOTIFY_OFF = 0x1e,
	QUEUE_DESC = 0x20,
	QUEUE_DESC_HIGH = 0x24,
	QUEUE_DRIVER = 0x28,
	QUEUE_DRIVER_HIGH = 0x2c,
	QUEUE_DEVICE = 0x30,
	QUEUE_DEVICE_HIGH = 0x34,
	QUEUE_NOTIFY_DATA = 0x38,
	QUEUE_RESET = 0x3a,
	COMMON_BYTES = 0x3c,
};

/* Field after field; their sizes are what the driver has to use. */
static const struct field {
	uint8_t at, size;
} fields[] = {
	{DEVICE_FEATURE_SELECT, 4}, {DEVICE_FEATURE, 4},
	{DRIVER_FEATURE_SELECT, 4}, {DRIVER_FEATURE, 4},
	{CONFIG_MSIX_VECTOR, 2},    {NUM_QUEUES, 2},
	{DEVICE_STATUS, 1},         {CONFIG_GENERATION, 1},
	{QUEUE_SELECT, 2},          {QUEUE_SIZE, 2},
	{QUEUE_MSIX_VECTOR, 2},     {QUEUE_ENABLE, 2},
	{QUEUE_NOTIFY_OFF, 2},      {QUEUE_DESC, 4},
	{QUEUE_DESC_HIGH, 4},       {QUEUE_DRIVER, 4},
	{QUEUE_DRIVER_HIGH, 4},     {QUEUE_DEVICE, 4},
	{QUEUE_DEVICE_HIGH, 4},     {QUEUE_NOTIFY_DATA, 2},
	{QUEUE_RESET, 2},
};

static struct virtio_pci *of_dev(struct pci_dev *d)
{
	return container_of(d, struct virtio_pci, dev);
}

/* ---- common structure: no lock held ---- */

/* A register of ours, and the queue that is selected. */
static uint32_t own_read(struct virtio_pci *v, unsigned field)
{
	uint32_t value = 0;

	pthread_mutex_lock(&v->lock);
	switch (field) {
	case DEVICE_FEATURE_SELECT:
		value = v->device_feature_select;
		break;
	case DRIVER_FEATURE_SELECT:
		value = v->driver_feature_select;
		break;
	case CONFIG_MSIX_VECTOR:
		value = v->config_vector;
		break;
	case QUEUE_SELECT:
		value = v->queue_select;
		break;
	case QUEUE_MSIX_VECTOR:
		value = v->queue_select < v->nqueues ? v->queues[v->queue_select].vector
						     : VIRTIO_MSI_NO_VECTOR;
		break;
	default:
		break;
	}
	pthread_mutex_unlock(&v->lock);
	return value;
}

static uint32_t feature_word(uint64_t features, uint32_t word)
{
	return word < 2 ? (uint32_t)(features >> (32 * word)) : 0;
}

static uint32_t address_read(struct virtio_pci *v, unsigned field)
{
	enum frontend_area area = (field - QUEUE_DESC) / 8;
	uint64_t address = frontend_queue_address(v->frontend, own_read(v, QUEUE_SELECT), area);

	return (uint32_t)(field % 8 == 4 ? address >> 32 : address);
}

static uint32_t field_read(struct virtio_pci *v, unsigned field)
{
	struct frontend *f = v->frontend;

	switch (field) {
	case DEVICE_FEATURE:
		return feature_word(frontend_features(f), own_read(v, DEVICE_FEATURE_SELECT));
	case DRIVER_FEATURE:
		return feature_word(frontend_driver_features(f),
				    own_read(v, DRIVER_FEATURE_SELECT));
	case NUM_QUEUES:
		return frontend_nqueues(f);
	case DEVICE_STATUS:
		return frontend_status(f);
	case CONFIG_GENERATION:
		return frontend_generation(f);
	case QUEUE_SIZE:
		return frontend_queue_size(f, own_read(v, QUEUE_SELECT));
	case QUEUE_ENABLE:
		return frontend_queue_enabled(f, own_read(v, QUEUE_SELECT));
	case QUEUE_NOTIFY_OFF: /* the multiplier does the rest */
	case QUEUE_NOTIFY_DATA:
		return own_read(v, QUEUE_SELECT);
	case QUEUE_DESC:
	case QUEUE_DESC_HIGH:
	case QUEUE_DRIVER:
	case QUEUE_DRIVER_HIGH:
	case QUEUE_DEVICE:
	case QUEUE_DEVICE_HIGH:
		return address_read(v, field);
	case QUEUE_RESET: /* over by the time that the write returns */
		return 0;
	default:
		return own_read(v, field);
	}
}

static void own_write(struct virtio_pci *v, unsigned field, uint32_t value)
{
	pthread_mutex_lock(&v->lock);
	switch (field) {
	case DEVICE_FEATURE_SELECT:
		v->device_feature_select = value;
		break;
	case DRIVER_FEATURE_SELECT:
		v->driver_feature_select = value;
		break;
	case CONFIG_MSIX_VECTOR:
		v->config_vector =
			value < v->msix.nvectors ? (uint16_t)value : VIRTIO_MSI_NO_VECTOR;
		break;
	case QUEUE_SELECT:
		v->queue_select = (uint16_t)value;
		break;
	case QUEUE_MSIX_VECTOR:
		calls_vector_set(v, v->queue_select, value);
		break;
	default: /* read-only */
		break;
	}
	pthread_mutex_unlock(&v->lock);
}

static void status_write(struct virtio_pci *v, uint8_t status)
{
	frontend_status_set(v->frontend, status);
	if (status != 0)
		return;
	for (unsigned q = 0; q < v->nqueues; q++)
		door_set(v, q, false);
	pthread_mutex_lock(&v->lock);
	calls_forget(v);
	pthread_mutex_unlock(&v->lock);
}

static void queue_enable(struct virtio_pci *v, unsigned q)
{
	frontend_queue_enable(v->frontend, q);
	door_set(v, q, frontend_queue_enabled(v->frontend, q));
}

static void queue_reset(struct virtio_pci *v, unsigned q)
{
	if (!frontend_has_queue_reset(v->frontend) || q >= v->nqueues)
		return;
	frontend_queue_reset(v->frontend, q);
	door_set(v, q, false);
	pthread_mutex_lock(&v->lock);
	calls_queue_forget(v, q);
	pthread_mutex_unlock(&v->lock);
}

static void field_write(struct virtio_pci *v, unsigned field, uint32_t value)
{
	struct frontend *f = v->frontend;
	unsigned q = own_read(v, QUEUE_SELECT);

	switch (field) {
	case DRIVER_FEATURE:
		frontend_driver_features_set(f, own_read(v, DRIVER_FEATURE_SELECT), value);
		break;
	case DEVICE_STATUS:
		status_write(v, (uint8_t)value);
		break;
	case QUEUE_SIZE:
		frontend_queue_size_set(f, q, value);
		break;
	case QUEUE_ENABLE:
		if (value == 1)
			queue_enable(v, q);
		break;
	case QUEUE_DESC:
	case QUEUE_DESC_HIGH:
	case QUEUE_DRIVER:
	case QUEUE_DRIVER_HIGH:
	case QUEUE_DEVICE:
	case QUEUE_DEVICE_HIGH:
		frontend_queue_address_set(f, q, (field - QUEUE_DESC) / 8, field % 8 == 4, value);
		break;
	case QUEUE_RESET:
		if (value == 1)
			queue_reset(v, q);
		break;
	default:
		own_write(v, field, value);
		break;
	}
}

/* The field that the byte belongs to, or NULL behind the last. */
static const struct field *field_find(uint64_t at)
{
	for (unsigned i = 0; i < ARRAY_LEN(fields); i++)
		if (at - fields[i].at < fields[i].size)
			return &fields[i];
	return NULL;
}

/* Reads that are not of one field's size get the bytes of the fields they touch. */
static uint64_t common_read(struct virtio_pci *v, uint64_t at, unsigned size)
{
	const struct field *f = field_find(at);
	uint64_t value = 0;

	if (f && f->at == at && f->size == size)
		return field_read(v, f->at);
	for (unsigned done = 0; done < size;) {
		unsigned skip, n;

		f = field_find(at + done);
		if (!f)
			break;
		skip = (unsigned)(at + done - f->at);
		n = f->size - skip;
		value |= (uint64_t)(field_read(v, f->at) >> (8 * skip)) << (8 * done);
		done += n;
	}
	return size < 8 ? value & ((1ull << (8 * size)) - 1) : value;
}

/* Writes that are not of one field's size are dropped, but for 64-bit fields in one piece. */
static void common_write(struct virtio_pci *v, uint64_t at, unsigned size, uint64_t value)
{
	const struct field *f = field_find(at);

	if (size == 8 && at >= QUEUE_DESC && at < QUEUE_NOTIFY_DATA && at % 8 == 0) {
		field_write(v, (unsigned)at, (uint32_t)value);
		field_write(v, (unsigned)at + 4, (uint32_t)(value >> 32));
	} else if (f && f->at == at && f->size == size) {
		field_write(v, f->at, (uint32_t)value);
	}
}

/* ---- the BAR ---- */

/* Reading acknowledges. */
static uint64_t isr_read(struct virtio_pci *v, uint64_t at)
{
	uint8_t isr;

	if (at != 0)
		return 0;
	pthread_mutex_lock(&v->lock);
	isr = calls_isr_take(v);
	pthread_mutex_unlock(&v->lock);
	return isr;
}

static uint64_t bar_read(struct pci_dev *d, unsigned bar, uint64_t offset, unsigned size)
{
	struct virtio_pci *v = of_dev(d);
	uint64_t at = offset % PART_BYTES, value = 0;

	(void)bar;
	switch (offset - at) {
	case COMMON_AT:
		return common_read(v, at, size);
	case ISR_AT:
		return isr_read(v, at);
	case CONFIG_AT:
		frontend_config_read(v->frontend, at, &value, size);
		return value;
	case TABLE_AT:
		pthread_mutex_lock(&v->lock);
		value = msix_table_read(&v->msix, at, size);
		pthread_mutex_unlock(&v->lock);
		return value;
	case PENDING_AT:
		pthread_mutex_lock(&v->lock);
		value = msix_pba_read(&v->msix, at, size);
		pthread_mutex_unlock(&v->lock);
		return value;
	default:
		return 0;
	}
}

static void bar_write(struct pci_dev *d, unsigned bar, uint64_t offset, unsigned size,
		      uint64_t value)
{
	struct virtio_pci *v = of_dev(d);
	uint64_t at = offset % PART_BYTES;

	(void)bar;
	switch (offset - at) {
	case COMMON_AT:
		common_write(v, at, size, value);
		break;
	case CONFIG_AT:
		frontend_config_write(v->frontend, at, &value, size);
		break;
	case NOTIFY_AT:
		if (at / NOTIFY_BYTES < v->nqueues)
			fd_signal(v->frontend->queues[at / NOTIFY_BYTES].kick_fd);
		break;
	case TABLE_AT:
		pthread_mutex_lock(&v->lock);
		msix_table_write(&v->msix, at, size, value);
		pthread_mutex_unlock(&v->lock);
		break;
	default:
		break;
	}
}

/* ---- configuration space ---- */

/* Where the window of the access capability (section 4.1.4.9) points; false if nowhere. */
static bool window(struct virtio_pci *v, uint32_t *ret_offset, unsigned *ret_size)
{
	unsigned at = v->config_access;
	uint32_t offset = pci_config_get(&v->dev, at + VIRTIO_PCI_CAP_OFFSET, 4);
	uint32_t size = pci_config_get(&v->dev, at + VIRTIO_PCI_CAP_LENGTH, 4);

	*ret_offset = offset;
	*ret_size = size;
	return pci_config_get(&v->dev, at + VIRTIO_PCI_CAP_BAR, 1) == BAR &&
	       (size == 1 || size == 2 || size == 4) && offset % size == 0 &&
	       is_inside(offset, size, BAR_BYTES);
}

static bool touches_window(const struct virtio_pci *v, unsigned at, unsigned size)
{
	unsigned data = v->config_access + sizeof(struct virtio_pci_cap);

	return at < data + 4 && at + size > data;
}

static void config_read(struct pci_dev *d, unsigned at, unsigned size)
{
	struct virtio_pci *v = of_dev(d);
	unsigned n, data = v->config_access + sizeof(struct virtio_pci_cap);
	uint32_t offset;

	if (touches_window(v, at, size) && window(v, &offset, &n))
		pci_config_set(d, data, n, (uint32_t)bar_read(d, BAR, offset, n));
}

/*
 * A driver that takes away the right to be bus master, as before a kexec, wants no more access to
 * memory.  Only that is heeded: many a simple driver never gives the right in the first place.
 */
static void master_follow(struct virtio_pci *v)
{
	bool is_master = pci_config_get(&v->dev, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
	bool was_master;

	pthread_mutex_lock(&v->lock);
	was_master = v->is_master;
	v->is_master = is_master;
	pthread_mutex_unlock(&v->lock);
	if (was_master && !is_master)
		frontend_pause(v->frontend);
	if (is_master && !was_master)
		frontend_resume(v->frontend);
}

static void config_written(struct pci_dev *d, unsigned at, unsigned size)
{
	struct virtio_pci *v = of_dev(d);
	unsigned n, data = v->config_access + sizeof(struct virtio_pci_cap);
	uint32_t offset;

	if (touches_window(v, at, size) && window(v, &offset, &n))
		bar_write(d, BAR, offset, n, pci_config_get(d, data, n));
	if (at <= PCI_COMMAND && at + size > PCI_COMMAND)
		master_follow(v);
	pthread_mutex_lock(&v->lock);
	msix_config_written(&v->msix);
	calls_follow(v);
	pthread_mutex_unlock(&v->lock);
}

static void bar_mapped(struct pci_dev *d, unsigned bar, uint64_t address, bool mapped)
{
	(void)bar;
	doors_move(of_dev(d), address + NOTIFY_AT, mapped);
}

static const struct pci_ops ops = {
	.bar_read = bar_read,
	.bar_write = bar_write,
	.bar_mapped = bar_mapped,
	.config_read = config_read,
	.config_written = config_written,
};

/* ---- set-up ---- */

/* What a driver without one for the device itself may go by. */
static uint32_t class_of(uint16_t virtio_id)
{
	switch (virtio_id) {
	case VIRTIO_ID_NET:
		return 0x020000;
	case VIRTIO_ID_BLOCK:
	case VIRTIO_ID_SCSI:
		return 0x010000;
	case VIRTIO_ID_CONSOLE:
	case VIRTIO_ID_VSOCK:
		return 0x078000;
	case VIRTIO_ID_GPU:
		return 0x038000;
	case VIRTIO_ID_INPUT:
		return 0x098000;
	case VIRTIO_ID_SOUND:
		return 0x040100;
	case VIRTIO_ID_FS:
		return 0x018000;
	default:
		return 0xff0000;
	}
}

struct capability {
	uint8_t id, next, length, type, bar, instance, padding[2];
	le32 offset, size, extra; /* extra: notification multiplier, or the access window's data */
};
static_assert(sizeof(struct capability) == sizeof(struct virtio_pci_cap) + 4, "virtio 4.1.4");

static unsigned add_capability(struct virtio_pci *v, uint8_t type, uint32_t at, size_t size)
{
	bool is_longer = type == VIRTIO_PCI_CAP_NOTIFY_CFG || type == VIRTIO_PCI_CAP_PCI_CFG;
	struct capability c = {
		.id = PCI_CAP_ID_VNDR,
		.length = (uint8_t)(sizeof(struct virtio_pci_cap) + (is_longer ? 4 : 0)),
		.type = type,
		.bar = BAR,
		.offset = le32_of(at),
		.size = le32_of((uint32_t)size),
		.extra = le32_of(type == VIRTIO_PCI_CAP_NOTIFY_CFG ? NOTIFY_BYTES : 0),
	};

	return pci_dev_capability(&v->dev, &c, c.length);
}

static void add_capabilities(struct virtio_pci *v)
{
	unsigned at;

	add_capability(v, VIRTIO_PCI_CAP_COMMON_CFG, COMMON_AT, COMMON_BYTES);
	add_capability(v, VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY_AT, NOTIFY_BYTES * v->nqueues);
	add_capability(v, VIRTIO_PCI_CAP_ISR_CFG, ISR_AT, 1);
	if (v->frontend->args.config_size > 0)
		add_capability(v, VIRTIO_PCI_CAP_DEVICE_CFG, CONFIG_AT,
			       v->frontend->args.config_size);
	msix_init(&v->msix, &calls_msix_ops, &v->dev, v->host, v->nqueues + 1, BAR, TABLE_AT,
		  PENDING_AT);
	at = add_capability(v, VIRTIO_PCI_CAP_PCI_CFG, 0, 0);
	memset(&v->dev.writable[at + VIRTIO_PCI_CAP_BAR], 0xff, 1);
	memset(&v->dev.writable[at + VIRTIO_PCI_CAP_OFFSET], 0xff, 12);
	v->config_access = at;
}

int virtio_pci_init(struct virtio_pci *v, struct frontend *f, struct pci_bus *bus,
		    struct host *host, struct loop *loop, struct err *e)
{
	uint16_t id = f->args.virtio_id;
	int r;

	*v = (struct virtio_pci){.frontend = f,
				 .host = host,
				 .loop = loop,
				 .nqueues = f->args.nqueues,
				 .config_vector = VIRTIO_MSI_NO_VECTOR};
	for (unsigned q = 0; q < v->nqueues; q++)
		v->queues[q].vector = VIRTIO_MSI_NO_VECTOR;
	pthread_mutex_init(&v->lock, NULL);
	pthread_mutex_init(&v->door_lock, NULL);
	pci_dev_init(&v->dev, f->args.name, &ops, VENDOR, (uint16_t)(FIRST_DEVICE + id),
		     class_of(id), VENDOR, SUBSYSTEM);
	v->dev.config[PCI_REVISION_ID] = 1;
	pci_dev_bar(&v->dev, BAR, BAR_BYTES, true, false);
	add_capabilities(v);
	r = calls_init(v);
	if (r < 0)
		return err_set(e, -r, "%s: cannot watch its interrupts", f->args.name);
	f->listener = &v->listener;
	return pci_add(bus, &v->dev, e);
}

void virtio_pci_fini(struct virtio_pci *v)
{
	if (!v || !v->frontend)
		return;
	for (unsigned q = 0; q < v->nqueues; q++)
		door_set(v, q, false);
	v->frontend->listener = NULL;
	calls_fini(v);
	msix_fini(&v->msix);
	pthread_mutex_destroy(&v->lock);
	pthread_mutex_destroy(&v->door_lock);
	v->frontend = NULL;
}
