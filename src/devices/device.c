/* SPDX-License-Identifier: BSD-3-Clause */
/* device.c - the table of all devices built in; its rows come from src/devices/meson.build */
#include "devices/device.h"

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
