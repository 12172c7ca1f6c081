/* SPDX-License-Identifier: BSD-3-Clause */
/* similar.h - which of several names somebody meant who mistyped one */
#pragma once

#include "base/attr.h"

#include <stddef.h>

struct similar {
	const char *typed;
	size_t length;	  /* of typed */
	const char *best; /* the name nearest to it so far; NULL: none is near */
	size_t distance;
};

/* For the first length bytes of typed, which is borrowed. */
void similar_init(struct similar *s, const char *typed, size_t length);

/* Makes name, which is borrowed, s->best if it is nearer than those tried before. */
void similar_try(struct similar *s, const char *name);
