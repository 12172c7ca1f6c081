/* SPDX-License-Identifier: BSD-3-Clause */
/* device.c - devices, and the table of all that are built in; its rows come from meson.build */
#include "devices/device.h"

#include "base/fd.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE(device_name) extern const struct device_type device_name##_type;
#include "devices/table.h"
#undef DEVICE

#define DEVICE(device_name) &device_name##_type,
const struct device_type *const device_types[] = {
#include "devices/table.h"
	NULL
};
#undef DEVICE

const struct device_type *device_type_find(const char *name)
{
	for (const struct device_type *const *t = device_types; *t; t++)
		if (strcmp((*t)->name, name) == 0)
			return *t;
	return NULL;
}

void device_kept_init(struct device_kept *k)
{
	k->n = 0;
	for (unsigned i = 0; i < DEVICE_KEPT_MAX; i++)
		k->fd[i] = -1;
}

void device_kept_fini(struct device_kept *k)
{
	for (unsigned i = 0; i < k->n; i++)
		fd_close(&k->fd[i]);
	k->n = 0;
}

void device_kept_add_take(struct device_kept *k, int fd)
{
	assert(k->n < DEVICE_KEPT_MAX);
	k->fd[k->n++] = fd;
}

const struct counter device_counters[] = {
	[VQ_REQUESTS] = {"requests", COUNTER_EVENTS, "Requests that were completed"},
	[VQ_BYTES_OUT] = {"out_bytes", COUNTER_BYTES, "Bytes of the guest's in requests"},
	[VQ_BYTES_IN] = {"in_bytes", COUNTER_BYTES, "Bytes written into requests"},
	[VQ_INTERRUPTS] = {"interrupts", COUNTER_EVENTS, "Interrupts sent to the guest"},
	[VQ_BROKEN] = {"broken", COUNTER_EVENTS, "Times that the guest broke a queue's rules"},
	[DEVICE_KICKS] = {"kicks", COUNTER_EVENTS, "Times that the guest said there is work"},
	[DEVICE_ERRORS] = {"errors", COUNTER_EVENTS, "Requests that failed or made no sense"},
	[DEVICE_COUNTERS] = {.name = NULL},
};

static int shared_make(struct device *d, struct err *e)
{
	if (d->shared)
		return 0;
	d->own_shared = aligned_alloc(_Alignof(struct device_shared), sizeof(*d->own_shared));
	if (!d->own_shared)
		return err_set(e, ENOMEM, "cannot keep counters");
	memset(d->own_shared, 0, sizeof(*d->own_shared));
	d->shared = d->own_shared;
	return 0;
}

int device_open(struct device *d, struct err *e)
{
	int r = shared_make(d, e);

	if (r == 0 && d->type->keep && d->kept.n == 0)
		r = d->type->keep(d, e);
	return r == 0 && d->type->open ? d->type->open(d, e) : r;
}

void device_free(struct device *d)
{
	if (!d)
		return;
	device_kept_fini(&d->kept);
	if (d->type->opts)
		opt_fini(d->type->opts, d);
	free(d->own_shared);
	free(d->queues);
	free(d);
}

static int parse(struct device *d, const char *const *options, struct err *e)
{
	static const struct opt none[] = {OPT_END};
	int r = 0;

	for (; r == 0 && *options; options++)
		r = opt_parse(d->type->opts ? d->type->opts : none, d, *options, e);
	return r;
}

struct device *device_new(const struct device_type *type, const char *name,
			  const char *const *options, struct err *e)
{
	struct device *d = calloc(1, type->size);

	if (d) {
		d->type = type;
		d->name = name;
		d->nqueues = type->nqueues;
		d->features = type->features;
		device_kept_init(&d->kept);
		d->queues = calloc(type->nqueues, sizeof(struct vq));
	}
	if (!d || !d->queues) {
		err_set(e, ENOMEM, "cannot make device %s", name);
		free(d);
		return NULL;
	}
	if (type->defaults)
		type->defaults(d);
	if (parse(d, options, e) < 0 || (type->check && type->check(d, e) < 0)) {
		device_free(d);
		return NULL;
	}
	if (type->queues)
		d->nqueues = type->queues(d);
	return d;
}
