/* SPDX-License-Identifier: BSD-3-Clause */
/* balloon_config.c - the names of the balloon's policies */
#include "config/balloon_config.h"

#include "base/attr.h"

#include <stddef.h>
#include <string.h>

static const char *const names[] = {
	[PRESSURE_AUTO] = "auto",
	[PRESSURE_CHROMEOS] = "chromeos",
	[PRESSURE_PSI] = "psi",
	[PRESSURE_OFF] = "off",
};

const char *pressure_name(enum pressure_kind kind)
{
	return names[kind];
}

enum pressure_kind pressure_kind(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(names[i], name) == 0)
			return (enum pressure_kind)i;
	return PRESSURE_AUTO;
}
