/* SPDX-License-Identifier: BSD-3-Clause */
/* fake_host.h - a hypervisor that writes down what it is asked, for tests and fuzzers */
#pragma once

#include "bus/host.h"

#include <stdbool.h>
#include <stdint.h>

enum { FAKE_GSIS = 64, FAKE_BINDINGS = 128, FAKE_FIRST_MSI = 24 };

struct fake_route {
	bool used;
	uint64_t address;
	uint32_t data;
};

/* An irqfd, or a doorbell (then with its address and size). */
struct fake_binding {
	int eventfd; /* 0: free */
	unsigned gsi;
	uint64_t address;
	unsigned size;
	bool has_match;
	uint64_t match;
};

struct fake_host {
	struct host host;
	bool level[FAKE_GSIS];
	unsigned msi_limit; /* how many can be had */
	struct fake_route routes[FAKE_GSIS];
	struct fake_binding irqfds[FAKE_BINDINGS];
	struct fake_binding doorbells[FAKE_BINDINGS];
	unsigned nroute_calls, nsent, nirqfds, ndoorbells;
	uint64_t sent_address; /* of the last message sent */
	uint32_t sent_data;
	bool strict; /* taking off what is not on is an error of the caller's: assert */
};

void fake_host_init(struct fake_host *h);

/* The interrupt that the eventfd is bound to; -1 for none. */
int fake_host_irqfd(const struct fake_host *h, int eventfd);

/* The eventfd that a write there would signal; -1 for none. */
int fake_host_doorbell(const struct fake_host *h, uint64_t address, uint64_t value);
