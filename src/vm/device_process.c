/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_process.c - what a device's process is started with: words, descriptors, shared memory
 *
 * All of it is fixed before the process that starts others is forked; what differs from one process
 * of a device to the next are the two sockets.
 */
#include "base/fd.h"
#include "base/log.h"
#include "mem/shared.h"
#include "vm/devices.h"
#include "vm/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The first number in the process of what is handed to it; what is kept comes before the others. */
enum { INHERITED_NUMBER = DEVICE_FD_KEPT };

/* What was handed to us by number, and standard in- and output, have other numbers there. */
static char *process_options(const struct config_device *config, unsigned nkept)
{
	const unsigned first = INHERITED_NUMBER + nkept;
	char *text = NULL, *at;
	char theirs[32];
	int r;

	if (config->on_stdio)
		return asprintf(&text, "%s,input=%u,output=%u", config->options, first,
				first + 1) < 0 ? NULL : text;
	if (config->inherited_fd < 0)
		return strdup(config->options);
	snprintf(theirs, sizeof(theirs), "/proc/self/fd/%d", config->inherited_fd);
	at = strstr(config->options, theirs);
	if (!at)
		return strdup(config->options);
	r = asprintf(&text, "%.*s/proc/self/fd/%u%s", (int)(at - config->options), config->options,
		     first, at + strlen(theirs));
	return r < 0 ? NULL : text;
}

static char *device_policy(const struct config *config, const char *type)
{
	char *path = NULL;

	if (!config->policy_dir ||
	    asprintf(&path, "%s/%s_device.policy", config->policy_dir, type) < 0)
		return NULL;
	return path;
}

static void device_arguments(struct vm_device *d)
{
	unsigned n = 0;

	d->argv[n++] = (char *)(uintptr_t)"crosvm";
	d->argv[n++] = (char *)(uintptr_t)"device";
	d->argv[n++] = (char *)(uintptr_t)d->config->name;
	d->argv[n++] = (char *)(uintptr_t)"--spawned";
	d->argv[n++] = (char *)(uintptr_t)"--name";
	d->argv[n++] = d->name;
	if (d->policy) {
		d->argv[n++] = (char *)(uintptr_t)"--policy";
		d->argv[n++] = d->policy;
	}
	d->argv[n++] = (char *)(uintptr_t)"--log-level";
	d->argv[n++] = (char *)(uintptr_t)log_level_names[log_level()];
	if (d->kept.n > 0) {
		snprintf(d->kept_count, sizeof(d->kept_count), "%u", d->kept.n);
		d->argv[n++] = (char *)(uintptr_t)"--kept";
		d->argv[n++] = d->kept_count;
	}
	if (d->options[0] != '\0')
		d->argv[n++] = d->options;
	d->argv[n] = NULL;
}

static int words_make(struct machine *m, struct vm_device *d, struct err *e)
{
	d->options = m->config->sandbox ? process_options(d->config, d->kept.n)
				       : strdup(d->config->options);
	d->policy = device_policy(m->config, d->config->name);
	if (!d->options || (m->config->policy_dir && !d->policy))
		return err_set(e, ENOMEM, "cannot keep the options of %s", d->name);
	snprintf(d->source, sizeof(d->source), "src/devices/%s.c", d->config->name);
	device_arguments(d);
	return 0;
}

/* What outlives the processes: their log, and what they count and record. */
static int memory_make(struct machine *m, struct vm_device *d, struct err *e)
{
	int r;

	if (d->config->socket) {
		recorder_device_add(&m->recorder, d->name, NULL);
		return 0;
	}
	if (m->config->sandbox && device_log_init(&d->log, &m->devices.logs, d->name, e) < 0)
		return -e->code;
	r = shared_new(&d->shared, d->name, sizeof(struct device_shared), e);
	if (r == 0)
		recorder_device_add(&m->recorder, d->name,
				    &((struct device_shared *)d->shared.at)->trace);
	return r;
}

/* What is handed to the process besides its sockets: how many. */
static size_t device_inherited(const struct vm_device *d, int ret_fds[DEVICE_FDS_OWN])
{
	size_t n = d->kept.n;

	memcpy(ret_fds, d->kept.fd, n * sizeof(ret_fds[0]));
	if (d->config->on_stdio || d->config->inherited_fd >= 0)
		ret_fds[n++] = d->config->on_stdio ? STDIN_FILENO : d->config->inherited_fd;
	if (d->config->on_stdio)
		ret_fds[n++] = STDOUT_FILENO;
	return n;
}

/* The numbers of all, and what they are but for the sockets; returns how many. */
static size_t fds_number(struct vm_device *d)
{
	int inherited[DEVICE_FDS_OWN];
	size_t n = device_inherited(d, inherited);

	d->fds[0] = (struct spawn_fd){-1, DEVICE_FD_VHOST_USER};
	d->fds[1] = (struct spawn_fd){-1, DEVICE_FD_CONTROL};
	d->fds[2] = (struct spawn_fd){d->shared.fd, DEVICE_FD_SHARED};
	for (size_t i = 0; i < n; i++)
		d->fds[DEVICE_FDS_COMMON + i] =
			(struct spawn_fd){inherited[i], INHERITED_NUMBER + (int)i};
	return DEVICE_FDS_COMMON + n;
}

int device_process_prepare(struct machine *m, struct vm_device *d, struct spawn_args *ret_row,
			   struct err *e)
{
	int r = words_make(m, d, e);

	if (r == 0)
		r = memory_make(m, d, e);
	if (r < 0)
		return r;
	*ret_row = (struct spawn_args){
		.name = d->name,
		.source = d->source,
		.argv = d->argv,
		.fds = d->fds,
		.nfds = fds_number(d),
		.log_fd = d->log.all ? d->log.out : 0,
		.is_foreground = d->config->on_stdio,
	};
	return 0;
}

int device_process_keep(struct machine *m, struct vm_device *d, struct err *e)
{
	const struct device_type *type = d->config->type;
	const char *list[] = {d->config->options, NULL};
	struct device *scratch;
	int r;

	if (!m->config->sandbox || d->config->socket || !type || !type->keep)
		return 0; /* a thread opens its own */
	scratch = device_new(type, d->name, list, e);
	if (!scratch)
		return -e->code;
	r = type->keep(scratch, e);
	if (r < 0)
		err_in(e, "%s", d->name);
	if (r == 0) {
		d->kept = scratch->kept;
		device_kept_init(&scratch->kept);
	}
	device_free(scratch);
	return r;
}

/* New pairs of sockets: our ends are kept in d, theirs are for the caller to close. */
static int device_sockets(struct vm_device *d, int ret_theirs[2], struct err *e)
{
	int user[2], control[2];
	int r = fd_socketpair(SOCK_STREAM, user);

	if (r == 0) {
		r = fd_socketpair(SOCK_SEQPACKET, control);
		if (r < 0) {
			fd_close(&user[0]);
			fd_close(&user[1]);
		}
	}
	if (r < 0)
		return err_set(e, -r, "%s: cannot make its sockets", d->name);
	fd_close(&d->control_sock);
	d->sock = user[0];
	d->control_sock = control[0];
	ret_theirs[0] = user[1];
	ret_theirs[1] = control[1];
	return 0;
}

int device_process_ask(struct vm_device *d, struct err *e)
{
	struct vm_devices *all = &d->machine->devices;
	int theirs[DEVICE_FDS];
	int r = device_sockets(d, theirs, e);

	if (r < 0)
		return r;
	theirs[2] = d->shared.fd;
	device_inherited(d, &theirs[DEVICE_FDS_COMMON]);
	r = respawn_ask(&all->respawn, (size_t)(d - all->list), theirs, e);
	d->is_process_due = r == 0;
	fd_close(&theirs[0]);
	fd_close(&theirs[1]);
	return r;
}

int device_process_answer(struct vm_device *d, struct err *e)
{
	struct vm_devices *all = &d->machine->devices;

	if (!d->is_process_due)
		return 0;
	d->is_process_due = false;
	return respawn_answer(&all->respawn, (size_t)(d - all->list), &d->child, e);
}

static int device_thread(struct vm_device *d, struct err *e)
{
	int theirs[2] = {-1, -1};
	int r = device_sockets(d, theirs, e);

	if (r < 0)
		return r;
	return device_thread_start_take(
		&(struct device_thread_args){
			.type = d->config->name,
			.name = d->name,
			.options = d->options,
			.sock = theirs[0],
			.control_sock = theirs[1],
			.shared = d->shared.at,
		},
		&d->thread, e);
}

static int foreign_connect(struct vm_device *d, struct err *e)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_set(e, errno, "%s: cannot make a socket", d->name);
	if (strlen(d->config->socket) >= sizeof(addr.sun_path))
		return err_say(e, ENAMETOOLONG,
			       "--vhost-user: %s: longer than a socket's path may be",
			       d->config->socket);
	memcpy(addr.sun_path, d->config->socket, strlen(d->config->socket) + 1);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_set(e, errno, "--vhost-user: %s: cannot connect", d->config->socket);
	d->sock = fd_take(&fd);
	return 0;
}

int device_process_begin(struct machine *m, struct vm_device *d, struct err *e)
{
	if (d->config->socket)
		return foreign_connect(d, e);
	if (!m->config->sandbox)
		return device_thread(d, e);
	return device_process_ask(d, e);
}
