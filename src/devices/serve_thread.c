/* SPDX-License-Identifier: BSD-3-Clause */
/* serve_thread.c - a device in a thread of main's, as with --disable-sandbox: open, serve */
#include "devices/serve.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/trace.h"
#include "devices/server.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct device_thread {
	struct server server;
	pthread_t thread;
	const char *name;
};

static void *thread_run(void *argument)
{
	struct device_thread *t = argument;
	struct err e = {0};
	int r;

	log_thread_name_set(t->name);
	trace_begin(&t->server.d->shared->trace);
	r = server_prepare(t->server.d, &e);
	if (r == 0)
		r = loop_run(&t->server.loop);
	if (r < 0)
		log_error("%s", e.code ? e.text : strerror(-r));
	return NULL;
}

static int thread_start_take(struct device_thread *t, struct device *d, int sock, int control_sock,
			     struct err *e)
{
	int r = server_init_take(&t->server, d, sock, -1, control_sock, e);

	if (r < 0)
		return r;
	r = -pthread_create(&t->thread, NULL, thread_run, t);
	if (r == 0)
		return 0;
	server_fini(&t->server);
	return err_set(e, -r, "cannot start a thread");
}

int device_thread_start_take(const struct device_thread_args *args,
			     struct device_thread **ret_thread, struct err *e)
{
	const struct device_type *type = device_type_find(args->type);
	struct device_thread *t = calloc(1, sizeof(*t));
	const char *list[] = {args->options, NULL};
	int sock = args->sock, control_sock = args->control_sock;
	struct device *d = NULL;
	int r;

	if (!type)
		err_say(e, EINVAL, "%s: no such device, or not built in", args->type);
	else if (!t)
		err_set(e, ENOMEM, "cannot make device %s", args->name);
	else
		d = device_new(type, args->name, list, e);
	if (!d) {
		free(t);
		fd_close(&sock);
		fd_close(&control_sock);
		return -e->code;
	}
	t->name = args->name;
	d->shared = args->shared;
	r = thread_start_take(t, d, sock, control_sock, e);
	if (r < 0)
		free(t);
	else
		*ret_thread = t;
	return r;
}

void device_thread_stop(struct device_thread *t)
{
	if (!t)
		return;
	loop_stop(&t->server.loop);
	pthread_join(t->thread, NULL);
	server_fini(&t->server);
	free(t);
}
