/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve.c - a device process: open, jail, serve
 *
 * It reads its command line, opens the device's files and its own sockets, jails itself, and only
 * then reads the first byte from the front end.
 */
#include "devices/serve.h"

#include "base/fd.h"
#include "base/leftover.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/trace.h"
#include "devices/serve_args.h"
#include "devices/server.h"
#include "jail/jail.h"
#include "jail/spawn.h"
#include "mem/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

static const struct call listen_calls[] = {CALL(accept4), CALL_END};

const struct call *device_calls(const struct device_type *type, bool listens)
{
	static struct call all[128];
	const struct call *lists[] = {session_calls, listens ? listen_calls : NULL, type->calls};
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		for (const struct call *c = lists[i]; c && c->name && n < ARRAY_LEN(all) - 1; c++)
			all[n++] = *c;
	all[n] = (struct call)CALL_END;
	return all;
}

static int enter_jail(const struct serve_args *a, struct device *d, struct err *e)
{
	struct jail_config config = {
		.name = a->name,
		.calls = device_calls(a->type, a->socket_path),
		.policy_path = a->policy_path,
		.ns = a->spawned ? &jail_ns_spawned : NULL,
		.report_fd = a->spawned ? SPAWN_FD_REPORT : -1,
		.max_fds = JAIL_SENDER_FDS + a->type->fds, /* the in-flight log is sent */
		.writes_files = a->type->writes_files,
		.kernel_threads = a->type->kernel_threads || d->has_kernel_threads,
		.before_filter = server_prepare,
		.context = d,
	};

	mallopt(M_TRIM_THRESHOLD, INT_MAX); /* free() would call brk(), which the filter forbids */
	if (a->disable_jail)
		return server_prepare(d, e);
	leftovers_forget(); /* they would be in its jail with it */
	return jail_enter(&config, e);
}

static int sockets_open(const struct serve_args *a, int *ret_sock, int *ret_listen,
			int *ret_control, struct err *e)
{
	struct stat st;

	*ret_sock = *ret_listen = *ret_control = -1;
	if (a->socket_path) {
		*ret_listen = listen_at(a->socket_path, 1, 0777, e);
		return *ret_listen < 0 ? err_in(e, "--socket") : 0;
	}
	*ret_sock = a->spawned ? DEVICE_FD_VHOST_USER : a->fd;
	if (a->spawned)
		*ret_control = DEVICE_FD_CONTROL;
	if (fcntl(*ret_sock, F_SETFD, FD_CLOEXEC) < 0)
		return err_say(e, errno, "--fd: descriptor %d is not open", *ret_sock);
	if (fstat(*ret_sock, &st) < 0 || !S_ISSOCK(st.st_mode))
		return err_say(e, ENOTSOCK, "--fd: descriptor %d is no socket", *ret_sock);
	return 0;
}

static int process_run(const struct serve_args *a, struct device *d, struct err *e)
{
	static struct server server;
	int sock, listen_fd, control_sock, r;

	r = sockets_open(a, &sock, &listen_fd, &control_sock, e);
	if (r < 0)
		return r;
	r = server_init_take(&server, d, sock, listen_fd, control_sock, e);
	if (r == 0)
		r = enter_jail(a, d, e);
	if (r < 0)
		return r; /* the process ends: nothing needs to be given back */
	r = loop_run(&server.loop);
	if (r < 0)
		return err_set(e, -r, "cannot wait for events");
	server_fini(&server);
	return 0;
}

/* What main hands over besides the sockets. */
static int inheritance_take(const struct serve_args *a, struct device *d, struct err *e)
{
	static struct shared shared;
	int r = 0;

	for (unsigned i = 0; i < a->kept; i++) {
		device_kept_add_take(&d->kept, DEVICE_FD_KEPT + (int)i);
		if (fcntl(DEVICE_FD_KEPT + (int)i, F_SETFD, FD_CLOEXEC) < 0)
			log_debug("descriptor %u is not there", DEVICE_FD_KEPT + i);
	}
	if (a->spawned)
		r = shared_map_take(&shared, DEVICE_FD_SHARED, sizeof(struct device_shared), e);
	d->shared = shared.at;
	if (d->shared)
		trace_begin(&d->shared->trace);
	return r;
}

int device_main(int argc, char **argv)
{
	enum { LARGE_BYTES = 8 * 1024 }; /* costs memory when used, not before; all is given back */
	struct serve_args a = {.fd = -1};
	struct device *d = NULL;
	struct err e = {0};

	if (serve_args_parse(&a, argc, argv, &e) < 0) {
		log_error("device: %s", e.text);
		return DEVICE_EXIT_USAGE;
	}
	if (a.help) {
		serve_args_help(stdout, a.type);
		return EXIT_SUCCESS;
	}
	log_name_set(a.name);
	if (a.log_level)
		log_level_set((enum log_level)log_level_find(a.log_level));
	if (a.spawned)
		log_forward();
	mallopt(M_TOP_PAD, 0); /* or all but the largest would come from a heap made in advance */
	mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
	d = device_new(a.type, a.name, a.options, &e);
	if (!d) {
		log_error("%s", e.text);
		return DEVICE_EXIT_USAGE;
	}
	if (inheritance_take(&a, d, &e) < 0 || process_run(&a, d, &e) < 0) {
		log_error("%s", e.text);
		return DEVICE_EXIT_FAILED;
	}
	return EXIT_SUCCESS;
}
