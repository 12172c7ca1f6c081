/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tap.h - network interfaces of the host whose other end is a descriptor
 *
 * A tap has one descriptor for each pair of queues.  Those of a tap made by us are all there is of
 * it: it vanishes with the last one.
 */
#pragma once

#include "backend/net_backend.h"

#include <assert.h>
#include <stdbool.h>

enum { TAP_NAME_MAX = 16 }; /* IFNAMSIZ */

struct tap_options {
	const char *name; /* an interface; made if there is none.  NULL: vmtap%d is made */
	int fd;		  /* instead: the descriptor of one, borrowed; or -1 */
	unsigned pairs;

	/* To be set up and brought up; or NULL. */
	const char *host_ip, *netmask;
};

/*
 * Opens ret_fds[0..pairs) and writes the interface's name.  Names what is wrong, and what to do
 * about it.
 */
int tap_open(const struct tap_options *o, int *ret_fds, char ret_name[TAP_NAME_MAX],
	     struct err *e) MUST_CHECK;

struct tap {
	struct net_backend backend;
	unsigned enabled; /* pairs that get frames */
	bool can_switch;  /* pairs on and off */
};

/* A back end of open descriptors, which it takes: sets header and offloads. */
int tap_init_take(struct tap *t, const int *fds, unsigned pairs, struct err *e) MUST_CHECK;
