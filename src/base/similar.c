/* SPDX-License-Identifier: BSD-3-Clause */
/* similar.c - which of several names somebody meant who mistyped one */
#include "base/similar.h"

#include "base/num.h"

#include <string.h>

enum {
	LENGTH_MAX = 32, /* longer names are not compared */
	LENGTH_MIN = 3,	 /* in shorter ones everything is near everything */
	LENGTH_SHORT = 5,
};

void similar_init(struct similar *s, const char *typed, size_t length)
{
	*s = (struct similar){.typed = typed,
			      .length = length,
			      .distance = length < LENGTH_SHORT ? 2 : 3};
}

/* Letters to change, add or leave out to make b of a. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t row[LENGTH_MAX + 1];

	for (size_t j = 0; j <= b_length; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_length; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_length; j++) {
			size_t changed = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = min_size(changed, 1 + min_size(row[j], row[j - 1]));
		}
	}
	return row[b_length];
}

void similar_try(struct similar *s, const char *name)
{
	size_t length = strlen(name);
	size_t d;

	if (s->length < LENGTH_MIN || s->length > LENGTH_MAX || length > LENGTH_MAX)
		return;
	d = distance(s->typed, s->length, name, length);
	if (d < s->distance && d < length) {
		s->best = name;
		s->distance = d;
	}
}
