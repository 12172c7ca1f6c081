/* SPDX-License-Identifier: BSD-3-Clause */
/* line.c - an interrupt line that several chips share */
#include "chip/line.h"

#include "base/log.h"

#include <assert.h>

void line_init(struct line *l, struct host *host, unsigned gsi)
{
	*l = (struct line){.host = host, .gsi = gsi};
	pthread_mutex_init(&l->lock, NULL);
}

void line_fini(struct line *l)
{
	if (l)
		pthread_mutex_destroy(&l->lock);
}

void line_set(struct line *l, unsigned source, bool level)
{
	static struct log_limit limit;
	uint32_t bit = 1u << source;
	int r = 0;

	assert(source < LINE_SOURCES_MAX);
	pthread_mutex_lock(&l->lock);
	uint32_t sources = level ? l->sources | bit : l->sources & ~bit;
	bool changed = !sources != !l->sources;

	l->sources = sources;
	if (changed && l->host)
		r = host_line_set(l->host, l->gsi, sources != 0);
	pthread_mutex_unlock(&l->lock);
	if (r < 0)
		log_limited(&limit, "interrupt line %u: cannot be set (error %d)", l->gsi, -r);
}
