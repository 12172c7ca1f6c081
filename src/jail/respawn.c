/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * respawn.c - starts children for a process that has jailed itself
 *
 * One request, one answer, each a packet.  A request is the index of a row and comes with the row's
 * fds; it is answered with the pid, with its pidfd and the reading end of its report, or with an
 * error as text.  The server checks the index and the number of fds and believes nothing else.  It
 * clones with CLONE_PARENT, so the child's parent is main.  One index stands for the errand, which
 * is not answered.
 */
#include "jail/respawn.h"

#include "base/fd.h"
#include "base/leftover.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	ANSWER_FDS = 2,
	ANSWER_MS = 10000,
	ERRAND_AGAIN_MS = 1000,
};

static const uint32_t errand_index = UINT32_MAX;

struct answer {
	int32_t pid;   /* or 0 and: */
	int32_t error; /* an errno */
	char text[ERR_TEXT_MAX];
};

struct server {
	const struct respawn *main;
	struct spawner spawner;
	int sock;
	pid_t group; /* main's; its own is another, see server_run() */
	bool is_errand_due;
};

/* Children are born into the server's process group: for one of main's it goes there. */
static int row_spawn(struct server *s, const struct spawn_args *args, struct child *ret_child,
		     struct err *e)
{
	sigset_t all, old;
	int r;

	if (!args->is_foreground)
		return spawn_start(&s->spawner, args, ret_child, e);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	if (setpgid(0, s->group) < 0)
		r = err_set(e, errno, "%s: cannot join the foreground", args->name);
	else
		r = spawn_start(&s->spawner, args, ret_child, e);
	if (setpgid(0, 0) < 0)
		_exit(1);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return r;
}

static int row_start(struct server *s, uint32_t index, const int *fds, size_t nfds,
		     struct child *ret_child, struct err *e)
{
	struct spawn_fd numbered[FD_PASS_MAX];
	struct spawn_args args;

	if (index >= s->main->count)
		return err_say(e, EINVAL, "no such child");
	args = s->main->table[index];
	if (nfds != args.nfds)
		return err_say(e, EINVAL, "cannot start %s with %zu fds", args.name, nfds);
	for (size_t i = 0; i < nfds; i++)
		numbered[i] = (struct spawn_fd){.fd = fds[i], .number = args.fds[i].number};
	args.fds = numbered;
	return row_spawn(s, &args, ret_child, e);
}

static int answer_send(int sock, const struct child *c, const struct err *e)
{
	const int fds[ANSWER_FDS] = {c->pidfd, c->report_fd};
	struct answer a = {.pid = c->pid, .error = e->code};

	if (c->pid > 0)
		return fd_send(sock, &a, sizeof(a), fds, ANSWER_FDS);
	if (e->code)
		memcpy(a.text, e->text, sizeof(a.text));
	return fd_send(sock, &a, sizeof(a), NULL, 0);
}

static void errand_try(struct server *s)
{
	const struct respawn_errand *errand = s->main->errand;

	s->is_errand_due = errand && !errand->run(errand->context);
}

/* Until there is a request. */
static void server_wait(struct server *s)
{
	struct pollfd p = {.fd = s->sock, .events = POLLIN};

	while (s->is_errand_due && poll(&p, 1, ERRAND_AGAIN_MS) == 0)
		errand_try(s);
}

/* Nothing is to be started any more, but what main leaves at its end is this one's all the same. */
static void server_retire(struct server *s)
{
	uint32_t index;
	ssize_t n;

	shutdown(s->sock, SHUT_WR); /* main, which may wait for an answer, hears of it */
	do
		n = recv(s->sock, &index, sizeof(index), 0);
	while (n > 0 || (n < 0 && errno == EINTR));
}

/* One request; false when main has gone, or talks nonsense. */
static bool server_turn(struct server *s)
{
	struct child c = {.pid = 0, .pidfd = -1, .report_fd = -1};
	struct err e = {.code = 0};
	int fds[FD_PASS_MAX];
	uint32_t index;
	size_t nfds;
	ssize_t n = fd_recv(s->sock, &index, sizeof(index), fds, FD_PASS_MAX, &nfds);
	bool goes_on = n == (ssize_t)sizeof(index);

	if (goes_on && index == errand_index)
		errand_try(s);
	else if (goes_on && row_start(s, index, fds, nfds, &c, &e) < 0)
		c.pid = 0;
	for (size_t i = 0; i < nfds; i++)
		fd_close(&fds[i]);
	if (goes_on && index != errand_index && answer_send(s->sock, &c, &e) < 0)
		goes_on = false;
	fd_close(&c.pidfd);
	fd_close(&c.report_fd);
	if (!goes_on && n != 0)
		server_retire(s);
	return goes_on;
}

/* The lower one of two, but none below first; -1 is none. */
static int lower_from(int first, int a, int b)
{
	return b >= first && (a < 0 || b < a) ? b : a;
}

/* The lowest fd from that number on that the server needs; -1: none. */
static int server_needs_from(const struct server *s, int first)
{
	const int own[] = {s->sock, s->spawner.null_fd, s->spawner.self_fd, s->spawner.ns.fd,
			   s->spawner.maker.fd, leftover_fd_from(first),
			   s->main->errand ? s->main->errand->fd : -1};
	int found = -1;

	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		found = lower_from(first, found, own[i]);
	for (size_t i = 0; i < s->main->count; i++)
		found = lower_from(first, found, s->main->table[i].log_fd);
	for (size_t i = 0; s->main->end && i < s->main->end->nfds; i++)
		found = lower_from(first, found, s->main->end->fds[i]);
	return found;
}

/* Of what main had open, the server keeps what spawn_start() uses and what it is to clean up. */
static int server_close_others(const struct server *s)
{
	int first = STDERR_FILENO + 1, fd;

	while ((fd = server_needs_from(s, first)) >= 0) {
		if (fd > first && syscall(SYS_close_range, first, fd - 1, 0) < 0)
			return -errno;
		first = fd + 1;
	}
	return syscall(SYS_close_range, first, ~0U, 0) < 0 ? -errno : 0;
}

static NORETURN void server_run(const struct respawn *r, const struct spawner *spawner, int sock)
{
	const struct spawner none = {
		.null_fd = -1, .self_fd = -1, .ns = {.fd = -1}, .maker = {.fd = -1}};
	struct server s = {.main = r, .spawner = spawner ? *spawner : none, .sock = sock};

	prctl(PR_SET_NAME, "crosvm-respawn", 0, 0, 0);
	/* What the terminal sends is for main; this one still has work at main's end. */
	s.group = getpgrp();
	setpgid(0, 0);
	s.spawner.clone_flags = CLONE_PARENT;
	if (server_close_others(&s) < 0) /* with main's end it would not see main's */
		_exit(1);
	signal(SIGCHLD, SIG_IGN); /* of the namespaces' maker, the only child of its own */
	if (spawner)
		spawner_begin(&s.spawner);
	do
		server_wait(&s);
	while (server_turn(&s));
	leftovers_remove(); /* main, which is nobody by now, may not */
	if (r->end)
		r->end->run(r->end->context);
	_exit(0);
}

static int server_fork(struct respawn *r, const struct spawner *s, int server_sock, struct err *e)
{
	pid_t pid = fork();

	if (pid < 0)
		return err_set(e, errno, "cannot make the process that restarts devices");
	if (pid == 0)
		server_run(r, s, server_sock);
	r->server.name = "respawn";
	r->server.pid = pid;
	r->server.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (r->server.pidfd < 0)
		return err_set(e, errno, "cannot watch the process that restarts devices");
	return 0;
}

int respawn_init(struct respawn *r, struct spawner *s, const struct spawn_args *table, size_t count,
		 const struct respawn_end *end, const struct respawn_errand *errand, struct err *e)
{
	auto_fd main_sock = -1;
	auto_fd server_sock = -1;
	int pair[2];
	int ret = fd_socketpair(SOCK_SEQPACKET, pair);

	*r = (struct respawn){
		.sock = -1, .table = table, .count = count, .end = end, .errand = errand};
	r->server = (struct child){.pid = -1, .pidfd = -1, .report_fd = -1};
	if (ret < 0)
		return err_set(e, -ret, "cannot make a socket pair");
	main_sock = pair[0];
	server_sock = pair[1];
	for (size_t i = 0; i < count; i++) {
		if (table[i].nfds > FD_PASS_MAX)
			return err_say(e, EINVAL, "%s: too many fds to restart it", table[i].name);
	}
	ret = fd_timeout_set(main_sock, ANSWER_MS);
	if (ret < 0)
		return err_set(e, -ret, "cannot set a time limit");
	ret = server_fork(r, s, server_sock, e);
	if (ret < 0) {
		respawn_fini(r);
		return ret;
	}
	r->sock = fd_take(&main_sock);
	return 0;
}

void respawn_fini(struct respawn *r)
{
	if (!r)
		return;
	fd_close(&r->sock); /* at which it ends */
	if (r->server.pid > 0)
		spawn_wait(&r->server);
}

static int no_answer(const struct respawn *r, size_t index, ssize_t n, struct err *e)
{
	return err_set(e, n < 0 ? (int)-n : EPROTO, "%s: no answer from the process that starts it",
		       r->table[index].name);
}

int respawn_ask(struct respawn *r, size_t index, const int *fds, struct err *e)
{
	const uint32_t request = (uint32_t)index;
	int ret = fd_send(r->sock, &request, sizeof(request), fds, r->table[index].nfds);

	return ret < 0 ? no_answer(r, index, ret, e) : 0;
}

int respawn_answer(struct respawn *r, size_t index, struct child *ret_child, struct err *e)
{
	int fds[ANSWER_FDS];
	size_t nfds = 0;
	struct answer a = {.pid = 0};
	ssize_t n = fd_recv(r->sock, &a, sizeof(a), fds, ANSWER_FDS, &nfds);

	if (n == (ssize_t)sizeof(a) && a.error == 0 && nfds == ANSWER_FDS) {
		*ret_child = (struct child){
			.name = r->table[index].name,
			.source = r->table[index].source,
			.pid = a.pid,
			.pidfd = fds[0],
			.report_fd = fds[1],
		};
		return 0;
	}
	for (size_t i = 0; i < nfds; i++)
		fd_close(&fds[i]);
	if (n == (ssize_t)sizeof(a) && a.error > 0)
		return err_say(e, a.error, "%.*s", (int)sizeof(a.text) - 1, a.text);
	return no_answer(r, index, n, e);
}

void respawn_errand_ask(const struct respawn *r)
{
	if (r->errand)
		fd_send_now(r->sock, &errand_index, sizeof(errand_index));
}
