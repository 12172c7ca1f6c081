/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * passt.c - network of an ordinary user: starting passt
 *
 * It writes its process id to a pipe, by a path in its own /proc, once it has bound its ports and
 * isolated itself: then it is ready.  What it says goes to another pipe.
 */
#include "backend/passt.h"

#include "base/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	READY_MS = 5000,
	SOCKET_NUMBER = 3, /* in its process */
	READY_NUMBER,
	NUMBERS_END,
	SPEC_MAX = INET6_ADDRSTRLEN + 32,
	ARGUMENTS_MAX = 24 + 2 * PASST_FORWARDS_MAX,
};

static const char *const programs[] = {"/usr/bin/passt", "/usr/local/bin/passt", "/bin/passt"};

struct command {
	const char *program;
	const char *argv[ARGUMENTS_MAX];
	unsigned argc;
	char specs[PASST_FORWARDS_MAX][SPEC_MAX]; /* as passt writes forwards */
	char mtu[16];
	unsigned nforwards;
	int sock, ready, messages; /* the child's ends */
};

static void argument_add(struct command *c, const char *word)
{
	if (word && c->argc < ARGUMENTS_MAX - 1)
		c->argv[c->argc++] = word;
}

/* ---- forwards ---- */

struct forward {
	char addr[INET6_ADDRSTRLEN];
	unsigned host_port, guest_port;
	bool is_udp;
};

/* A port and what follows it; false for none. */
static bool port_read(const char **text, char end, unsigned *ret)
{
	char *behind;
	unsigned long n;

	if (**text < '0' || **text > '9')
		return false;
	n = strtoul(*text, &behind, 10);
	if (n < 1 || n > 65535 || behind - *text > 5 || (end && *behind != end))
		return false;
	*text = behind + (end != '\0');
	*ret = (unsigned)n;
	return true;
}

/* "127.0.0.1:" or "[::1]:"; false if it looks like an address and is none. */
static bool address_read(struct forward *f, const char **text)
{
	bool is_v6 = **text == '[';
	const char *from = *text + is_v6;
	size_t n = strcspn(from, is_v6 ? "]" : ":");
	uint8_t bytes[16];

	if (!is_v6 && !memchr(from, '.', n)) {
		snprintf(f->addr, sizeof(f->addr), "127.0.0.1");
		return true;
	}
	if (n >= sizeof(f->addr) || strncmp(from + n, is_v6 ? "]:" : ":", is_v6 ? 2 : 1) != 0)
		return false;
	memcpy(f->addr, from, n);
	f->addr[n] = '\0';
	*text = from + n + (is_v6 ? 2 : 1);
	return inet_pton(is_v6 ? AF_INET6 : AF_INET, f->addr, bytes) == 1;
}

static bool forward_read(struct forward *f, const char *text)
{
	if (!address_read(f, &text) || !port_read(&text, ':', &f->host_port) ||
	    !port_read(&text, '\0', &f->guest_port))
		return false;
	f->is_udp = strcmp(text, "/udp") == 0;
	return f->is_udp || !*text || strcmp(text, "/tcp") == 0;
}

static int forward_add(struct command *c, const char *text, struct err *e)
{
	struct forward f = {.addr = ""};
	char *spec;

	if (!forward_read(&f, text))
		return err_say(e, EINVAL,
			       "\"%s\": not [ADDRESS:]HOSTPORT:GUESTPORT[/tcp|udp], as in 2222:22 "
			       "or 0.0.0.0:8080:80/tcp", text);
	if (c->nforwards == PASST_FORWARDS_MAX)
		return err_say(e, E2BIG, "more than %d", PASST_FORWARDS_MAX);
	spec = c->specs[c->nforwards++];
	snprintf(spec, SPEC_MAX, "%s/%u:%u", f.addr, f.host_port, f.guest_port);
	argument_add(c, f.is_udp ? "-u" : "-t");
	argument_add(c, spec);
	return 0;
}

static int forwards_add(struct command *c, const char *list, struct err *e)
{
	int r = 0;

	while (list && *list && r == 0) {
		size_t n = strcspn(list, ";+");
		char text[2 * SPEC_MAX];

		snprintf(text, sizeof(text), "%.*s", (int)n, list);
		r = forward_add(c, text, e);
		list += n + (list[n] != '\0');
	}
	return r < 0 ? err_in(e, "forward") : 0;
}

int passt_forward_check(const char *list, struct err *e)
{
	struct command c = {.argc = 0};

	return forwards_add(&c, list, e);
}

/* ---- starting ---- */

static int command_make(struct command *c, const struct passt_options *o, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(programs) && !c->program; i++)
		if (access(programs[i], X_OK) == 0)
			c->program = programs[i];
	if (!c->program)
		return err_say(e, ENOENT,
			       "user: passt is not installed; install the package \"passt\"");
	argument_add(c, "passt");
	argument_add(c, "--foreground");
	argument_add(c, "--quiet");
	argument_add(c, "--fd");
	argument_add(c, "3");
	argument_add(c, "--pid");
	argument_add(c, "/proc/self/fd/4");
	if (!o->host_loopback)
		argument_add(c, "--no-map-gw");
	if (o->mtu > 0) {
		snprintf(c->mtu, sizeof(c->mtu), "%u", o->mtu);
		argument_add(c, "--mtu");
		argument_add(c, c->mtu);
	}
	return forwards_add(c, o->forward, e);
}

/* In the child, which may be one of a process with threads: system calls only. */
static NORETURN void child_run(const struct command *c)
{
	static char *const environment[] = {NULL};
	int sock = fcntl(c->sock, F_DUPFD, NUMBERS_END);
	int ready = fcntl(c->ready, F_DUPFD, NUMBERS_END);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	setpgid(0, 0);
	if (dup2(c->messages, STDOUT_FILENO) >= 0 && dup2(c->messages, STDERR_FILENO) >= 0 &&
	    dup2(sock, SOCKET_NUMBER) >= 0 && dup2(ready, READY_NUMBER) >= 0 &&
	    syscall(SYS_close_range, NUMBERS_END, ~0U, 0) == 0)
		execve(c->program, (char *const *)(uintptr_t)c->argv, environment);
	_exit(127);
}

/* What it said last, without the end of the line. */
static const char *last_line(char *text)
{
	char *line;

	while (*text && text[strlen(text) - 1] == '\n')
		text[strlen(text) - 1] = '\0';
	line = strrchr(text, '\n');
	return line ? line + 1 : text;
}

static int failed(int messages, struct err *e)
{
	char text[1024];
	ssize_t n = read(messages, text, sizeof(text) - 1);
	const char *line;

	text[n > 0 ? n : 0] = '\0';
	if (n <= 0)
		return err_say(e, EIO, "user: passt does not start");
	line = last_line(text);
	return err_say(e, EIO, "user: passt does not start: %s%s", line,
		       strstr(line, "interface") ? "; the host needs a default route" : "");
}

static bool is_ready(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char pid[16];
	int r;

	do
		r = poll(&p, 1, READY_MS);
	while (r < 0 && errno == EINTR);
	return r == 1 && read(fd, pid, sizeof(pid)) > 0;
}

static void command_close(struct command *c)
{
	fd_close(&c->sock);
	fd_close(&c->ready);
	fd_close(&c->messages);
}

static int child_start(struct command *c, int ready, int messages, struct err *e)
{
	pid_t pid = fork();

	if (pid < 0)
		return err_set(e, errno, "user: cannot start passt");
	if (pid == 0)
		child_run(c);
	command_close(c); /* so that its end is the pipe's */
	if (is_ready(ready))
		return 0;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return failed(messages, e);
}

/* A pipe that whoever passt becomes may open. */
static int pipe_make(int ret[2])
{
	if (pipe2(ret, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	if (fchmod(ret[1], 0666) == 0)
		return 0;
	fd_close(&ret[0]);
	fd_close(&ret[1]);
	return -EPERM;
}

/* ---- listening ---- */

static void say(struct passt *p, const char *line)
{
	static const char no_syslog[] = "Failed to send ";

	if (*line && strncmp(line, no_syslog, strlen(no_syslog)) != 0)
		log_limited(&p->complaints, "passt: %s", line);
}

static void messages_ready(struct watch *w, uint32_t events)
{
	struct passt *p = container_of(w, struct passt, messages);
	ssize_t n = read(w->fd, p->line + p->used, sizeof(p->line) - 1 - p->used);
	char *end;

	(void)events;
	if (n <= 0) {
		if (n == 0 || errno != EAGAIN) {
			passt_fini(p);
			p->ended(p);
		}
		return;
	}
	p->used += (size_t)n;
	p->line[p->used] = '\0';
	while ((end = memchr(p->line, '\n', p->used)) || p->used == sizeof(p->line) - 1) {
		size_t length = end ? (size_t)(end - p->line) + 1 : p->used;

		p->line[length - 1] = '\0';
		say(p, p->line);
		p->used -= length;
		memmove(p->line, p->line + length, p->used);
	}
}

static int listen_take(struct passt *p, struct loop *loop, int fd, struct err *e)
{
	char text[1024];
	int r;

	while (read(fd, text, sizeof(text)) > 0)
		; /* remarks on how it starts are nothing to worry about */
	p->loop = loop;
	p->messages = (struct watch){.fd = fd, .ready = messages_ready};
	r = loop_add(loop, &p->messages, EPOLLIN);
	if (r < 0) {
		fd_close(&p->messages.fd);
		return err_set(e, -r, "user: cannot listen to passt");
	}
	return 0;
}

void passt_fini(struct passt *p)
{
	if (p->messages.fd < 0 || !p->messages.ready)
		return;
	loop_remove(p->loop, &p->messages);
	fd_close(&p->messages.fd);
}

/* A pair of ends: ours, and that of the child. */
static int ends_make(int (*make)(int ret[2]), int *ret_ours, int *ret_theirs)
{
	int pair[2];
	int r = make(pair);

	if (r == 0) {
		*ret_ours = pair[0];
		*ret_theirs = pair[1];
	}
	return r;
}

static int socket_make(int ret[2])
{
	return fd_socketpair(SOCK_STREAM, ret);
}

int passt_start(struct passt *p, struct loop *loop, const struct passt_options *o, int *ret_sock,
		struct err *e)
{
	struct command c = {.sock = -1, .ready = -1, .messages = -1};
	auto_fd sock = -1;
	auto_fd ready = -1;
	auto_fd messages = -1;
	int r;

	*p = (struct passt){.messages = {.fd = -1}, .ended = p->ended};
	r = command_make(&c, o, e);
	if (r < 0)
		return r;
	r = ends_make(socket_make, &sock, &c.sock);
	if (r == 0)
		r = ends_make(pipe_make, &ready, &c.ready);
	if (r == 0)
		r = ends_make(pipe_make, &messages, &c.messages);
	r = r < 0 ? err_set(e, -r, "user: cannot make a socket") : 0;
	if (r == 0)
		r = child_start(&c, ready, messages, e);
	command_close(&c);
	if (r == 0)
		r = listen_take(p, loop, fd_take(&messages), e);
	if (r == 0)
		*ret_sock = fd_take(&sock);
	return r;
}
