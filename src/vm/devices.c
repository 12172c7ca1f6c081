/* SPDX-License-Identifier: BSD-3-Clause */
/* devices.c - the device processes of a machine */
#include "vm/devices.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/num.h"
#include "base/wire.h"
#include "devices/device.h"
#include "virtio/ids.h"
#include "vm/machine.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Numbers in the process of what is handed to it. */
enum { INHERITED_NUMBER = DEVICE_FD_KEPT, INPUT_NUMBER = INHERITED_NUMBER, OUTPUT_NUMBER };

enum {
	SECOND_NS = 1000000000,
	MS_NS = 1000000,
	END_NS = SECOND_NS, /* for all processes together */
};

/* "block0", "block1", "rng0": numbered by kind, in the order of the command line. */
static void device_name(struct vm_devices *all, struct vm_device *d)
{
	unsigned n = 0;

	for (struct vm_device *other = all->list; other < d; other++)
		n += strcmp(other->config->name, d->config->name) == 0;
	snprintf(d->name, sizeof(d->name), "%s%u", d->config->name, n);
}

/* The file that was handed to us by number has another number in the process. */
static char *process_options(const struct config_device *config)
{
	char *text = NULL, *at;
	char theirs[32];
	int r;

	if (config->on_stdio)
		return asprintf(&text, "%s,input=%d,output=%d", config->options, INPUT_NUMBER,
				OUTPUT_NUMBER) < 0 ? NULL : text;
	if (config->inherited_fd < 0)
		return strdup(config->options);
	snprintf(theirs, sizeof(theirs), "/proc/self/fd/%d", config->inherited_fd);
	at = strstr(config->options, theirs);
	if (!at)
		return strdup(config->options);
	r = asprintf(&text, "%.*s/proc/self/fd/%d%s", (int)(at - config->options), config->options,
		     INHERITED_NUMBER, at + strlen(theirs));
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

/* Has the type open what outlives a process; by a device that is never opened itself. */
static int device_keep(struct machine *m, struct vm_device *d, struct err *e)
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

static int device_prepare(struct machine *m, struct vm_device *d, struct err *e)
{
	int r;

	d->options = m->config->sandbox ? process_options(d->config) : strdup(d->config->options);
	d->policy = device_policy(m->config, d->config->name);
	if (!d->options || (m->config->policy_dir && !d->policy))
		return err_set(e, ENOMEM, "cannot keep the options of %s", d->name);
	snprintf(d->source, sizeof(d->source), "src/devices/%s.c", d->config->name);
	device_arguments(d);
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

/* What is handed to the process besides its sockets: how many. */
static size_t device_inherited(const struct vm_device *d, int ret_fds[DEVICE_FDS_OWN])
{
	if (d->kept.n > 0) {
		memcpy(ret_fds, d->kept.fd, d->kept.n * sizeof(ret_fds[0]));
		return d->kept.n;
	}
	ret_fds[0] = d->config->on_stdio ? STDIN_FILENO : d->config->inherited_fd;
	ret_fds[1] = STDOUT_FILENO;
	return d->config->on_stdio ? 2 : ret_fds[0] >= 0;
}

int device_ask(struct vm_device *d, struct err *e)
{
	struct vm_devices *all = &d->machine->devices;
	int theirs[DEVICE_FDS];
	int r = device_sockets(d, theirs, e);

	if (r < 0)
		return r;
	theirs[2] = d->shared.fd;
	device_inherited(d, &theirs[DEVICE_FDS_COMMON]);
	r = respawn_ask(&all->respawn, (size_t)(d - all->list), theirs, e);
	d->is_asked = r == 0;
	fd_close(&theirs[0]);
	fd_close(&theirs[1]);
	return r;
}

int device_answer(struct vm_device *d, struct err *e)
{
	struct vm_devices *all = &d->machine->devices;

	if (!d->is_asked)
		return 0;
	d->is_asked = false;
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

/* Starts whatever is at the other end of the device's socket. */
static int device_begin(struct machine *m, struct vm_device *d, struct err *e)
{
	if (d->config->socket)
		return foreign_connect(d, e);
	if (!m->config->sandbox)
		return device_thread(d, e);
	return device_ask(d, e);
}

/* What is handed to the process, but for its sockets; returns how many with them. */
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

/* Complete, for the process that starts devices again has a copy. */
static int table_make(struct machine *m, struct err *e)
{
	struct vm_devices *all = &m->devices;

	for (unsigned i = 0; i < all->count; i++) {
		struct vm_device *d = &all->list[i];
		int r = device_prepare(m, d, e);

		if (r < 0)
			return r;
		all->table[i] = (struct spawn_args){
			.name = d->name,
			.source = d->source,
			.argv = d->argv,
			.fds = d->fds,
			.nfds = fds_number(d),
			.log_fd = d->log.all ? d->log.out : 0,
			.is_foreground = d->config->on_stdio,
		};
	}
	return 0;
}

/* Before an ordinary user's process gives up what rights it has: spawner_init(). */
static int devices_keep(struct machine *m, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; i < m->devices.count && r == 0; i++)
		r = device_keep(m, &m->devices.list[i], e);
	return r;
}

/* Every queue has two eventfds: many devices need more than a process usually may open. */
static void raise_limit_of_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_debug("cannot raise the limit of open files");
}

static int devices_begin(struct machine *m, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; i < m->devices.count && r == 0; i++)
		r = device_begin(m, &m->devices.list[i], e);
	return r;
}

static int spawner_start(struct vm_devices *all, const struct respawn_end *end, struct err *e)
{
	int r = spawner_init(&all->spawner, e);

	all->has_spawner = r == 0;
	if (r == 0) /* without devices it still removes what is left */
		r = respawn_init(&all->respawn, &all->spawner, all->table, all->count, end, e);
	all->has_respawn = all->has_spawner && r == 0;
	return r;
}

int devices_spawn(struct machine *m, struct err *e)
{
	struct vm_devices *all = &m->devices;
	int r;

	raise_limit_of_files();
	r = device_logs_init(&all->logs, &m->loop);
	if (r < 0)
		return err_set(e, -r, "cannot make a timer");
	all->list = calloc(m->config->ndevices + 1u, sizeof(*all->list));
	all->table = calloc(m->config->ndevices + 1u, sizeof(*all->table));
	if (!all->list || !all->table)
		return err_set(e, ENOMEM, "cannot keep %u devices", m->config->ndevices);
	for (unsigned i = 0; i < m->config->ndevices; i++) {
		struct vm_device *d = &all->list[i];

		*d = (struct vm_device){.machine = m,
					.config = &m->config->devices[i],
					.sock = -1,
					.control_sock = -1,
					.child = {.pidfd = -1, .report_fd = -1}};
		device_name(all, d);
		device_kept_init(&d->kept);
		shared_clear(&d->shared);
		all->count++;
	}
	r = devices_keep(m, e);
	if (r == 0)
		r = table_make(m, e);
	if (r == 0 && m->config->sandbox)
		r = spawner_start(all, postmortem_of(&m->postmortem, all), e);
	if (r == 0)
		r = devices_begin(m, e);
	for (unsigned i = 0; i < all->count && r == 0; i++) {
		r = device_log_start(&all->list[i].log);
		if (r < 0)
			err_set(e, -r, "%s: cannot watch its log", all->list[i].name);
	}
	return r;
}

/* virtio 1.2, 5.11.4: what the guest mounts a file system by; such back ends don't say. */
struct fs_config {
	char tag[36];
	le32 num_request_queues;
};
static_assert(sizeof(struct fs_config) == 40, "virtio 1.2, 5.11.4");

enum { FOREIGN_CONFIG_BYTES = 256, FS_QUEUES = 2 };

static void frontend_arguments(struct machine *m, struct vm_device *d, struct frontend_args *args,
			       struct fs_config *fs)
{
	const struct config_device *config = d->config;
	const struct device_type *type = config->type;

	*args = (struct frontend_args){
		.name = d->name,
		.virtio_id = config->virtio_id,
		.nqueues = FRONTEND_QUEUES_MAX,
		.config_size = FOREIGN_CONFIG_BYTES,
		.features_hidden = m->config->rings == CONFIG_RINGS_PACKED
					   ? 0
					   : VIRTIO_BIT(VIRTIO_F_RING_PACKED),
		.gmem = &m->gmem,
		.loop = &m->loop,
		.lost = device_lost,
		.owner = d,
	};
	if (!config->socket) {
		args->has_protocol = true;
		args->nqueues = type->nqueues;
		args->queue_size = type->queue_size;
		args->config_size = type->config_size;
	}
	if (config->queues > 0)
		args->nqueues = config->queues;
	if (!config->tag)
		return;
	if (config->queues == 0)
		args->nqueues = FS_QUEUES;
	memcpy(fs->tag, config->tag, min_size(strlen(config->tag), sizeof(fs->tag)));
	fs->num_request_queues =
		le32_of(args->nqueues - 1); /* all but the one for urgent requests */
	args->config = fs;
	args->config_size = sizeof(*fs);
}

/* Where the guest finds it. */
static int device_plug(struct machine *m, struct vm_device *d, struct err *e)
{
	struct arch_mmio_device place;

	if (m->config->transport == CONFIG_TRANSPORT_PCI)
		return virtio_pci_init(&d->transport.pci, &d->frontend, &m->pci, &m->vm.host,
				       &m->loop, e);
	if (m->platform.nmmio_devices == ARCH_MMIO_DEVICES_MAX)
		return err_say(e, ENOSPC, "no place for more than %d virtio-mmio devices",
			       ARCH_MMIO_DEVICES_MAX);
	place = arch_mmio_device(m->platform.nmmio_devices);
	m->platform.mmio_devices[m->platform.nmmio_devices++] = place;
	return virtio_mmio_init(&d->transport.mmio, &d->frontend, &m->mmio, place.base,
				&m->vm.host, place.gsi, e);
}

int devices_plug(struct machine *m, struct err *e)
{
	for (unsigned i = 0; i < m->devices.count; i++) {
		struct vm_device *d = &m->devices.list[i];
		struct fs_config fs = {0};
		struct frontend_args args;
		int r;

		r = device_answer(d, e);
		if (r < 0)
			return r;
		frontend_arguments(m, d, &args, &fs);
		r = frontend_init(&d->frontend, &args, e);
		if (r < 0)
			return err_in(e, "%s", d->name);
		d->has_frontend = true;
		r = asks_init(&d->asks, &m->loop, d->name);
		d->has_asks = r == 0;
		if (r < 0)
			return err_set(e, -r, "%s: cannot make a timer", d->name);
		r = device_attach(d, e);
		if (r < 0)
			return device_failed_to_open(d, r, e);
		r = device_plug(m, d, e);
		if (r < 0)
			return err_in(e, "%s", d->name);
		d->is_plugged = true;
	}
	return 0;
}

int devices_wait(struct machine *m, struct err *e)
{
	for (unsigned i = 0; i < m->devices.count; i++) {
		struct vm_device *d = &m->devices.list[i];
		int r = frontend_wait(&d->frontend, e);

		if (r < 0)
			return device_failed_to_open(d, r, e);
	}
	return 0;
}

/* Closes the connections, at which the process closes what it has open, and ends. */
static void device_hang_up(struct machine *m, struct vm_device *d)
{
	struct err ignored;

	if (device_answer(d, &ignored) < 0)
		log_debug("%s was not started", d->name);
	if (d->death.fd >= 0 && d->death.ready)
		loop_remove(&m->loop, &d->death);
	if (d->is_plugged && m->config->transport == CONFIG_TRANSPORT_PCI)
		virtio_pci_fini(&d->transport.pci);
	else if (d->is_plugged)
		virtio_mmio_fini(&d->transport.mmio);
	if (d->has_frontend)
		frontend_fini(&d->frontend);
	if (d->has_asks)
		asks_fini(&d->asks);
	fd_close(&d->sock);
	fd_close(&d->control_sock);
}

/* A disk has tables to leave in order; a process that takes too long for it is killed. */
static void devices_await(struct vm_devices *all)
{
	const uint64_t end = clock_ns() + END_NS;

	for (unsigned i = 0; i < all->count; i++) {
		struct pollfd p = {.fd = all->list[i].child.pidfd, .events = POLLIN};
		uint64_t now = clock_ns();

		if (all->list[i].child.pid > 0 && now < end)
			(void)poll(&p, 1, (int)((end - now) / MS_NS) + 1);
	}
}

static void device_fini(struct machine *m, struct vm_device *d)
{
	device_thread_stop(d->thread);
	if (m->devices.has_spawner)
		spawn_dismiss(&d->child, d->config->type ? d->config->type->end_ms : 0);
	device_log_drain(&d->log);
	device_log_fini(&d->log);
	device_kept_fini(&d->kept);
	shared_fini(&d->shared);
	free(d->options);
	free(d->policy);
}

void devices_fini(struct machine *m)
{
	struct vm_devices *all = &m->devices;

	for (unsigned i = 0; i < all->count; i++)
		device_hang_up(m, &all->list[i]);
	if (all->has_spawner)
		devices_await(all);
	for (unsigned i = 0; i < all->count; i++)
		device_fini(m, &all->list[i]);
	if (all->has_respawn)
		respawn_fini(&all->respawn);
	if (all->has_spawner)
		spawner_fini(&all->spawner);
	device_logs_fini(&all->logs);
	free(all->table);
	free(all->list);
	*all = (struct vm_devices){0};
}

static const char *device_state(const struct vm_device *d)
{
	if (d->has_failed)
		return "failed";
	return frontend_is_linked(&d->frontend) ? "running" : "restarting";
}

void devices_status(struct machine *m, struct control_status *ret)
{
	for (unsigned i = 0; i < m->devices.count && i < CONTROL_DEVICES_MAX; i++) {
		struct vm_device *d = &m->devices.list[i];
		const struct device_shared *shared = d->shared.at;

		ret->devices[ret->ndevices++] = (struct control_device){
			.name = d->name,
			.type = d->config->name,
			.state = device_state(d),
			.pid = d->child.pid,
			.restarts = frontend_restarts(&d->frontend),
			.asks = d->control_sock >= 0 ? &d->asks : NULL,
			.counters = shared ? shared->counters : NULL,
			.own_counters = d->config->type ? d->config->type->counters : NULL,
		};
	}
}

static bool is_meant(const struct vm_device *d, const char *type, const char *name)
{
	return d->control_sock >= 0 && strcmp(d->config->name, type) == 0 &&
	       (!*name || strcmp(d->name, name) == 0);
}

struct asks *devices_find(struct machine *m, const char *type, const char *name, struct err *e)
{
	struct vm_device *found = NULL;

	for (unsigned i = 0; i < m->devices.count; i++) {
		struct vm_device *d = &m->devices.list[i];

		if (!is_meant(d, type, name))
			continue;
		if (found) {
			err_say(e, EINVAL, "which one? name=%s or name=%s, for example",
				found->name, d->name);
			return NULL;
		}
		found = d;
	}
	if (!found && *name)
		err_say(e, ENODEV, "there is no %s device \"%s\"; status lists them", type, name);
	else if (!found)
		err_say(e, ENODEV, "there is no %s device", type);
	else if (found->has_failed)
		err_say(e, ENODEV, "%s is lost", found->name);
	else
		return &found->asks;
	return NULL;
}
