/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * passt.h - network of an ordinary user: passt, a process that turns frames into sockets
 *
 * The program comes from Debian's package "passt" and isolates itself; as root's it becomes nobody.
 * It is started as a child of whoever calls, before his jail.  For a device process, the first of
 * its PID namespace, that means that the kernel kills it when the device ends, and the device when
 * main does.  It ends by itself, too, when the socket is closed.  The other way round its end is
 * the socket's.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/log.h"
#include "base/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PASST_FORWARDS_MAX = 32, PASST_LINE_MAX = 256 };

struct passt_options {
	/* [ADDR:]HOSTPORT:GUESTPORT[/tcp|udp], separated by ";" or "+"; NULL: none */
	const char *forward;
	uint32_t mtu;	    /* told to the guest; 0: as large as may be */
	bool host_loopback; /* the gateway's address leads to the host's 127.0.0.1 */
};

struct passt {
	struct loop *loop;
	void (*ended)(struct passt *p); /* the owner's, set before passt_start() */
	struct watch messages; /* what it has to say; fd -1: nothing more */
	char line[PASST_LINE_MAX];
	size_t used;
	struct log_limit complaints;
};

/* Reads the list of forwarded ports; what is wrong names the one. */
int passt_forward_check(const char *list, struct err *e) MUST_CHECK;

/*
 * Starts it and waits, at most five seconds, until it serves; then logs what it says, at a limited
 * rate.  *ret_sock is the caller's.  An error has passt's own words.
 */
int passt_start(struct passt *p, struct loop *loop, const struct passt_options *o, int *ret_sock,
		struct err *e) MUST_CHECK;

/* Listens no more; the process ends when the socket is closed. Fine after a failed start. */
void passt_fini(struct passt *p);
