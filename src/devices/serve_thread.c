/* SPDX-License-Identifier: BSD-3-Clause */
/* serve_thread.c - a device in a thread of main's, as with --disable-sandbox: open, serve */
#include "devices/serve.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/trace.h"
#include "devices/server.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct device_thread {
	struct server server;
	pthread_t thread;
	const char *name;
	sem_t is_prepared;
	int prepared; /* 0 or -errno with *error set, from then on */
	struct err *error;
};

static void *thread_run(void *argument)
{
	struct device_thread *t = argument;
	int r;

	log_thread_name_set(t->name);
	trace_begin(&t->server.d->shared->trace);
	r = t->prepared = server_prepare(t->server.d, t->error);
	sem_post(&t->is_prepared); /* t->error is gone now */
	if (r < 0)
		return NULL;
	r = loop_run(&t->server.loop);
	if (r < 0)
		log_error("cannot wait for events: %s", strerror(-r));
	return NULL;
}

/* Like a process, it says what failed before it serves. */
static int thread_wait(struct device_thread *t)
{
	while (sem_wait(&t->is_prepared) < 0 && errno == EINTR)
		;
	if (t->prepared < 0)
		pthread_join(t->thread, NULL);
	return t->prepared;
}

/* It takes none of the signals that end the program: main waits for those on its loop. */
static int thread_create(struct device_thread *t)
{
	static const int main_takes[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGWINCH};
	sigset_t blocked, before;
	int r;

	sigemptyset(&blocked);
	for (size_t i = 0; i < ARRAY_LEN(main_takes); i++)
		sigaddset(&blocked, main_takes[i]);
	pthread_sigmask(SIG_BLOCK, &blocked, &before);
	r = -pthread_create(&t->thread, NULL, thread_run, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static int thread_start_take(struct device_thread *t, struct device *d, int sock, int control_sock,
			     struct err *e)
{
	int r = server_init_take(&t->server, d, sock, -1, control_sock, e);

	if (r < 0)
		return err_in(e, "%s", t->name);
	t->error = e;
	sem_init(&t->is_prepared, 0, 0);
	r = thread_create(t);
	if (r < 0)
		err_set(e, -r, "cannot start a thread");
	else
		r = thread_wait(t);
	if (r == 0)
		return 0;
	sem_destroy(&t->is_prepared);
	server_fini(&t->server);
	return err_in(e, "%s", t->name);
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
	sem_destroy(&t->is_prepared);
	server_fini(&t->server);
	free(t);
}
