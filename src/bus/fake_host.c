/* SPDX-License-Identifier: BSD-3-Clause */
/* fake_host.c - a hypervisor that writes down what it is asked, for tests and fuzzers */
#include "bus/fake_host.h"

#include "base/attr.h"

#include <assert.h>
#include <errno.h>

static struct fake_host *fake(struct host *h)
{
	return container_of(h, struct fake_host, host);
}

static int line_set(struct host *h, unsigned gsi, bool level)
{
	assert(gsi < FAKE_GSIS);
	fake(h)->level[gsi] = level;
	return 0;
}

static bool is_same(const struct fake_binding *a, const struct fake_binding *b)
{
	return a->eventfd == b->eventfd && a->gsi == b->gsi && a->address == b->address &&
	       a->has_match == b->has_match && a->match == b->match;
}

static struct fake_binding *find(struct fake_binding *table, const struct fake_binding *b)
{
	for (unsigned i = 0; i < FAKE_BINDINGS; i++)
		if (is_same(&table[i], b))
			return &table[i];
	return NULL;
}

/* Puts a binding into the table, where it may not be yet, or takes it out. */
static int binding_set(struct fake_binding *table, const struct fake_binding *b, bool on)
{
	struct fake_binding *old = find(table, b);
	struct fake_binding *place = on ? find(table, &(struct fake_binding){0}) : old;

	if (on && old)
		return -EEXIST;
	if (!place)
		return on ? -ENOSPC : -ENOENT;
	*place = on ? *b : (struct fake_binding){0};
	return 0;
}

static int irqfd(struct host *h, unsigned gsi, int eventfd, bool on)
{
	struct fake_binding b = {.eventfd = eventfd, .gsi = gsi};
	int r = binding_set(fake(h)->irqfds, &b, on);

	assert(gsi < FAKE_GSIS);
	assert(r == 0 || !fake(h)->strict);
	fake(h)->nirqfds += r < 0 ? 0u : on ? 1u : -1u;
	return r;
}

static int msi_alloc(struct host *h, unsigned *ret_gsi)
{
	for (unsigned gsi = FAKE_FIRST_MSI; gsi < FAKE_FIRST_MSI + fake(h)->msi_limit; gsi++) {
		if (!fake(h)->routes[gsi].used) {
			fake(h)->routes[gsi].used = true;
			*ret_gsi = gsi;
			return 0;
		}
	}
	return -ENOSPC;
}

static void msi_free(struct host *h, unsigned gsi)
{
	assert(gsi < FAKE_GSIS && fake(h)->routes[gsi].used);
	fake(h)->routes[gsi] = (struct fake_route){0};
}

static int msi_route(struct host *h, unsigned gsi, uint64_t address, uint32_t data)
{
	assert(gsi < FAKE_GSIS && fake(h)->routes[gsi].used);
	fake(h)->routes[gsi] = (struct fake_route){.used = true, .address = address, .data = data};
	fake(h)->nroute_calls++;
	return 0;
}

static int msi_send(struct host *h, uint64_t address, uint32_t data)
{
	fake(h)->nsent++;
	fake(h)->sent_address = address;
	fake(h)->sent_data = data;
	return 0;
}

static int doorbell(struct host *h, bool pio, uint64_t addr, unsigned size, const uint64_t *match,
		    int eventfd, bool on)
{
	struct fake_binding b = {.eventfd = eventfd,
				 .address = addr,
				 .size = size,
				 .has_match = match != NULL,
				 .match = match ? *match : 0};
	int r = binding_set(fake(h)->doorbells, &b, on);

	assert(!pio);
	assert(r == 0 || !fake(h)->strict);
	fake(h)->ndoorbells += r < 0 ? 0u : on ? 1u : -1u;
	return r;
}

static const struct host_ops ops = {
	.line_set = line_set,
	.irqfd = irqfd,
	.msi_alloc = msi_alloc,
	.msi_free = msi_free,
	.msi_route = msi_route,
	.msi_send = msi_send,
	.doorbell = doorbell,
};

void fake_host_init(struct fake_host *h)
{
	*h = (struct fake_host){
		.host.ops = &ops, .msi_limit = FAKE_GSIS - FAKE_FIRST_MSI, .strict = true};
}

int fake_host_irqfd(const struct fake_host *h, int eventfd)
{
	for (unsigned i = 0; i < FAKE_BINDINGS; i++)
		if (h->irqfds[i].eventfd == eventfd)
			return (int)h->irqfds[i].gsi;
	return -1;
}

int fake_host_doorbell(const struct fake_host *h, uint64_t address, uint64_t value)
{
	for (unsigned i = 0; i < FAKE_BINDINGS; i++) {
		const struct fake_binding *b = &h->doorbells[i];

		if (b->eventfd && b->address == address && (!b->has_match || b->match == value))
			return b->eventfd;
	}
	return -1;
}
