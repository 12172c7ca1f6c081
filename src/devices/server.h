/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server.h - an open device with the sockets it is served on; for serve*.c only
 *
 *	server_init_take -> [jail] -> server_prepare -> [filter] -> loop_run(&s.loop) -> server_fini
 *
 * In a process of its own (serve.c) or in a thread, where there is no jail (serve_thread.c).
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/loop.h"
#include "devices/device.h"
#include "devices/session.h"

#include <stdbool.h>

struct server {
	struct device *d;
	struct loop loop;
	struct session session;
	bool was_opened, in_session;
	int listen_fd, control_sock, inflight_fd; /* owned; -1 for none */
	struct watch listen_watch, control_watch;
};

/*
 * Opens the device and waits for its sockets, which it takes, as it takes d; nothing is read from
 * them before the loop runs.  Of sock, a front end that is connected, and listen_fd one is -1;
 * control_sock may be.
 */
int server_init_take(struct server *s, struct device *d, int sock, int listen_fd, int control_sock,
		     struct err *e) MUST_CHECK;
void server_fini(struct server *s);

/* By the thread that will run the loop: the prepare() of a device's type. */
int server_prepare(void *device, struct err *e) MUST_CHECK;
