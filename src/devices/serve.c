/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serve.c - runs a device: open, jail, serve
 *
 * The process reads its command line, opens the device's files and its own sockets, jails itself,
 * and only then reads the first byte from the front end.  The thread of --disable-sandbox is the
 * same without the jail.
 */
#include "devices/serve.h"

#include "base/fd.h"
#include "base/leftover.h"
#include "base/listen.h"
#include "base/log.h"
#include "devices/session.h"
#include "jail/jail.h"
#include "jail/spawn.h"
#include "mem/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EXIT_USAGE = 2 };

/* A device with the sockets it is served on. */
struct server {
	struct device *d;
	struct loop loop;
	struct session session;
	bool was_opened, in_session;
	int listen_fd, control_sock, inflight_fd; /* owned; -1 for none */
	struct watch listen_watch, control_watch;
};

/* ---- control socket ---- */

/* One packet is one command. */
static void control_answer(struct server *s, char *command)
{
	static _Thread_local char text[DEVICE_PACKET_MAX]; /* too much for a small stack */
	struct json reply;

	json_init(&reply, text, sizeof(text));
	device_command_execute(s->d, command, &reply);
	if (fd_send(s->control_sock, text, reply.used, NULL, 0) < 0)
		log_debug("control socket: answer not sent");
}

static void control_ready(struct watch *w, uint32_t events UNUSED)
{
	struct server *s = container_of(w, struct server, control_watch);
	char command[DEVICE_PACKET_MAX + 1];
	size_t nfds;
	ssize_t n = fd_recv(w->fd, command, DEVICE_PACKET_MAX, NULL, 0, &nfds);

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		loop_remove(&s->loop, w);
		return;
	}
	command[n] = '\0';
	control_answer(s, command);
}

/* ---- serving ---- */

static void session_over(struct session *session)
{
	struct server *s = session->owner;

	s->in_session = false;
	if (s->listen_fd < 0 || loop_add(&s->loop, &s->listen_watch, EPOLLIN) < 0)
		loop_stop(&s->loop);
}

static int server_session_take(struct server *s, int sock)
{
	int r;

	s->session.on_end = session_over;
	s->session.owner = s;
	s->session.inflight_fd = s->inflight_fd;
	r = session_start_take(&s->session, s->d, &s->loop, sock);
	s->in_session = r == 0;
	return r;
}

static void listen_ready(struct watch *w, uint32_t events UNUSED)
{
	struct server *s = container_of(w, struct server, listen_watch);
	auto_fd sock = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);

	if (sock < 0 || server_session_take(s, sock) < 0)
		return;
	sock = -1;
	loop_remove(&s->loop, w); /* the next one waits */
}

static int control_start(struct server *s)
{
	if (s->control_sock < 0)
		return 0;
	if (fcntl(s->control_sock, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	s->control_watch = (struct watch){.fd = s->control_sock, .ready = control_ready};
	return loop_add(&s->loop, &s->control_watch, EPOLLIN);
}

static int listen_start(struct server *s)
{
	if (s->listen_fd < 0)
		return 0;
	s->listen_watch = (struct watch){.fd = s->listen_fd, .ready = listen_ready};
	return loop_add(&s->loop, &s->listen_watch, EPOLLIN);
}

static void server_fini(struct server *s)
{
	if (s->in_session)
		session_fini(&s->session);
	if (s->was_opened && s->d->type->close)
		s->d->type->close(s->d);
	device_free(s->d);
	s->d = NULL;
	fd_close(&s->listen_fd);
	fd_close(&s->control_sock);
	fd_close(&s->inflight_fd);
	loop_fini(&s->loop);
}

/*
 * Opens the device and waits for its sockets, which it takes, as it takes d; nothing is read from
 * them before the loop runs.
 */
static int server_init_take(struct server *s, struct device *d, int sock, int listen_fd,
			    int control_sock, struct err *e)
{
	auto_fd session_sock = sock;
	int r = loop_init(&s->loop);

	s->d = d;
	s->listen_fd = listen_fd;
	s->control_sock = control_sock;
	s->inflight_fd = -1;
	d->loop = &s->loop;
	if (r == 0)
		r = listen_start(s);
	if (r == 0)
		r = control_start(s);
	s->was_opened = r == 0;
	r = r < 0 ? err_set(e, -r, "cannot wait for its sockets")
		  : device_open(d, e);
	if (r == 0)
		s->inflight_fd = inflight_file_create(d); /* without, front ends get no log */
	if (r == 0 && sock >= 0) {
		r = server_session_take(s, sock);
		if (r == 0)
			session_sock = -1;
		else
			err_set(e, -r, "cannot serve its socket");
	}
	if (r < 0)
		server_fini(s);
	return r;
}

/* ---- the process ---- */

struct arguments {
	const struct device_type *type;
	const char *name, *socket_path, *policy_path, *log_level;
	int fd;
	unsigned kept; /* descriptors from DEVICE_FD_KEPT on */
	bool spawned, disable_jail, help;
	size_t noptions;
	const char *options[64]; /* ends with NULL */
};

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

static int device_prepare(void *device, struct err *e)
{
	struct device *d = device;

	return d->type->prepare ? d->type->prepare(d, e) : 0;
}

static int enter_jail(const struct arguments *a, struct device *d, struct err *e)
{
	enum { OWN_FDS = 16 };
	struct jail_config config = {
		.name = a->name,
		.calls = device_calls(a->type, a->socket_path),
		.policy_path = a->policy_path,
		.ns = a->spawned ? &jail_ns_spawned : NULL,
		.report_fd = a->spawned ? SPAWN_FD_REPORT : -1,
		.max_fds = SPAWN_FD_NET_NS + 1 + OWN_FDS + VU_FDS_MAX + GMEM_REGIONS_MAX +
			   3 * d->nqueues + a->type->fds,
		.writes_files = a->type->writes_files,
		.kernel_threads = a->type->kernel_threads || d->has_kernel_threads,
		.before_filter = device_prepare,
		.context = d,
	};

	mallopt(M_TRIM_THRESHOLD, INT_MAX); /* free() would call brk(), which the filter forbids */
	if (a->disable_jail)
		return device_prepare(d, e);
	leftovers_forget(); /* they would be in its jail with it */
	return jail_enter(&config, e);
}

static int sockets_open(const struct arguments *a, int *ret_sock, int *ret_listen, int *ret_control,
			struct err *e)
{
	*ret_sock = *ret_listen = *ret_control = -1;
	if (a->socket_path) {
		*ret_listen = listen_at(a->socket_path, 1, e);
		return *ret_listen < 0 ? *ret_listen : 0;
	}
	*ret_sock = a->spawned ? DEVICE_FD_VHOST_USER : a->fd;
	if (a->spawned)
		*ret_control = DEVICE_FD_CONTROL;
	if (fcntl(*ret_sock, F_SETFD, FD_CLOEXEC) < 0)
		return err_set(e, errno, "descriptor %d", *ret_sock);
	return 0;
}

static int process_run(const struct arguments *a, struct device *d, struct err *e)
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

/* ---- command line ---- */

/* Rows without help are between main and its children. */
const struct arg device_args[] = {
	{.name = "socket", .value = "PATH",
	 .help = "Listen there, and serve one front end after the other"},
	{.name = "fd", .value = "N",
	 .help = "Serve the connected socket with that number, and end with it"},
	{.name = "name", .value = "NAME", .help = "What the device calls itself in messages"},
	{.name = "policy", .value = "FILE",
	 .help = "Allow the system calls that FILE lists, not those built in"},
	{.name = "log-level", .value = "error|warning|info|debug",
	 .help = "Report as much on standard error"},
	{.name = "disable-jail", .help = "Do not give up any privilege; for debugging"},
	{.name = "spawned"},
	{.name = "kept", .value = "N"},
	{.name = "help", .letter = 'h', .help = "Print this text, or that of TYPE"},
	{.name = NULL},
};

static void usage(FILE *out, const struct device_type *type)
{
	fprintf(out, "Usage: crosvm device [OPTIONS] TYPE [KEY=VALUE,...]\n\n");
	if (type) {
		fprintf(out, "%s: %s.\n", type->name, type->summary);
		if (type->opts)
			opt_help(type->opts, "  ", out);
		return;
	}
	fprintf(out, "Serves a device to another program (vhost-user).\n\nOptions:\n");
	for (const struct arg *arg = device_args; arg->name; arg++)
		if (arg->help)
			args_help(arg, out);
	fprintf(out, "\nTYPE is one of:\n");
	for (const struct device_type *const *t = device_types; *t; t++)
		fprintf(out, "  %-12s %s\n", (*t)->name, (*t)->summary);
}

static int parse_fd(const char *text, int *ret, struct err *e)
{
	uint64_t number;

	if (opt_number(text, &number) < 0 || number > INT32_MAX)
		return err_say(e, EINVAL, "--fd: \"%.100s\": not the number of a descriptor", text);
	*ret = (int)number;
	return 0;
}

/* Of main only: how many descriptors it keeps for us. */
static int parse_kept(const char *text, unsigned *ret, struct err *e)
{
	uint64_t n;

	if (opt_number(text, &n) < 0 || n > DEVICE_KEPT_MAX)
		return err_say(e, EINVAL, "--kept: \"%.100s\": not a number from 0 to %d", text,
			       DEVICE_KEPT_MAX);
	*ret = (unsigned)n;
	return 0;
}

static int take_option(struct arguments *a, const struct args_item *item, struct err *e)
{
	const struct {
		const char *name, **text;
		bool *flag;
	} rows[] = {
		{"name", &a->name, NULL},	  {"socket", &a->socket_path, NULL},
		{"policy", &a->policy_path, NULL}, {"spawned", NULL, &a->spawned},
		{"log-level", &a->log_level, NULL},
		{"disable-jail", NULL, &a->disable_jail}, {"help", NULL, &a->help},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (strcmp(item->arg->name, rows[i].name) != 0)
			continue;
		if (rows[i].flag)
			*rows[i].flag = true;
		else
			*rows[i].text = item->value;
		return 0;
	}
	if (strcmp(item->arg->name, "fd") == 0)
		return parse_fd(item->value, &a->fd, e);
	return parse_kept(item->value, &a->kept, e);
}

/* The type, then its options. */
static int take_word(struct arguments *a, const char *word, struct err *e)
{
	if (a->noptions == ARRAY_LEN(a->options) - 1)
		return err_say(e, E2BIG, "more than %zu words", ARRAY_LEN(a->options) - 1);
	if (a->type) {
		a->options[a->noptions++] = word;
		return 0;
	}
	a->type = device_type_find(word);
	if (a->type || a->help)
		return 0;
	return err_say(e, EINVAL, "\"%.100s\": no such device; crosvm devices lists them", word);
}

static int parse_arguments(struct arguments *a, int argc, char **argv, struct err *e)
{
	struct args_item item = {0};
	enum args_kind kind;
	struct args args;
	int r = 0;

	args_init(&args, device_args, argc, argv);
	while (r == 0 && (kind = args_next(&args, &item, e)) != ARGS_END) {
		if (kind == ARGS_WRONG)
			r = -EINVAL;
		else
			r = kind == ARGS_WORD ? take_word(a, item.value, e)
					      : take_option(a, &item, e);
	}
	if (a->help)
		return 0;
	if (r < 0)
		return r;
	if (!a->type)
		return err_say(e, EINVAL, "a type of device is missing; crosvm devices lists them");
	if (!a->name)
		a->name = a->type->name;
	if ((a->socket_path != NULL) + (a->fd >= 0) + a->spawned != 1)
		return err_say(e, EINVAL, "one of --socket PATH and --fd N is needed");
	if (a->log_level && log_level_find(a->log_level) < 0)
		return err_say(e, EINVAL, "--log-level %.100s: error, warning, info or debug is "
			       "wanted", a->log_level);
	return 0;
}

/* What main hands over besides the sockets. */
static int inheritance_take(const struct arguments *a, struct device *d, struct err *e)
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
	return r;
}

int device_main(int argc, char **argv)
{
	enum { LARGE_BYTES = 8 * 1024 }; /* costs memory when used, not before; all is given back */
	struct arguments a = {.fd = -1};
	struct device *d = NULL;
	struct err e = {0};

	if (parse_arguments(&a, argc, argv, &e) < 0) {
		log_error("device: %s", e.text);
		return EXIT_USAGE;
	}
	if (a.help) {
		usage(stdout, a.type);
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
		return EXIT_USAGE;
	}
	if (inheritance_take(&a, d, &e) < 0 || process_run(&a, d, &e) < 0) {
		log_error("%s", e.text);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

/* ---- the thread ---- */

struct device_thread {
	struct server server;
	pthread_t thread;
	const char *name;
	int end_fd;
};

static void *thread_run(void *argument)
{
	struct device_thread *t = argument;
	struct err e = {0};
	int r;

	log_thread_name_set(t->name);
	r = device_prepare(t->server.d, &e);
	if (r == 0)
		r = loop_run(&t->server.loop);
	if (r < 0)
		log_error("%s", e.code ? e.text : strerror(-r));
	fd_signal(t->end_fd);
	return NULL;
}

static int thread_start_take(struct device_thread *t, struct device *d, int sock, int control_sock,
			     struct err *e)
{
	int r = server_init_take(&t->server, d, sock, -1, control_sock, e);

	if (r < 0)
		return r;
	t->end_fd = fd_eventfd();
	r = t->end_fd < 0 ? t->end_fd : -pthread_create(&t->thread, NULL, thread_run, t);
	if (r == 0)
		return 0;
	fd_close(&t->end_fd);
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
	fd_close(&t->end_fd);
	free(t);
}

int device_thread_end_fd(const struct device_thread *t)
{
	return t->end_fd;
}
