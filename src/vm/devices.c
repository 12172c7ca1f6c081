/* SPDX-License-Identifier: BSD-3-Clause */
/* devices.c - the devices of a machine: begun, plugged in, waited for, ended, told of */
#include "vm/devices.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/num.h"
#include "base/wire.h"
#include "devices/device.h"
#include "virtio/ids.h"
#include "vm/journal.h"
#include "vm/machine.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
	MS_NS = 1000000,
	END_NS = 1000 * MS_NS, /* for all processes together */
	TURN_MS = 20,
};

/* "block0", "block1", "rng0": numbered by kind, in the order of the command line. */
static void device_name(struct vm_devices *all, struct vm_device *d)
{
	unsigned n = 0;

	for (struct vm_device *other = all->list; other < d; other++)
		n += strcmp(other->config->name, d->config->name) == 0;
	snprintf(d->name, sizeof(d->name), "%s%u", d->config->name, n);
}

/* Complete, for the process that starts devices has a copy. */
static int table_make(struct machine *m, struct err *e)
{
	struct vm_devices *all = &m->devices;
	int r = 0;

	for (unsigned i = 0; i < all->count && r == 0; i++)
		r = device_process_prepare(m, &all->list[i], &all->table[i], e);
	return r;
}

/* Before an ordinary user's process gives up what rights it has: spawner_init(). */
static int devices_keep(struct machine *m, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; i < m->devices.count && r == 0; i++)
		r = device_process_keep(m, &m->devices.list[i], e);
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
		r = device_process_begin(m, &m->devices.list[i], e);
	return r;
}

/* The guest can do without it, as long as no device ends. */
static void respawn_ended(struct watch *w, uint32_t events)
{
	struct vm_devices *all = container_of(w, struct vm_devices, respawn_end);
	struct machine *m = container_of(all, struct machine, devices);
	struct spawn_end end;

	(void)events;
	loop_remove(&m->loop, w);
	w->fd = -1;
	if (spawn_reap(&all->respawn.server, &end) < 0)
		return;
	if (all->has_spawner)
		log_error("the process that starts devices again is gone, %s: a device that ends "
			  "now ends the VM, and files of its sockets stay behind",
			  end.text);
	else
		log_error("the process that would write a trace file is gone, %s", end.text);
	postmortem_forsake(&m->postmortem);
}

static int respawn_watch(struct machine *m, struct err *e)
{
	struct vm_devices *all = &m->devices;
	int r;

	all->respawn_end =
		(struct watch){.fd = all->respawn.server.pidfd, .ready = respawn_ended};
	r = loop_add(&m->loop, &all->respawn_end, EPOLLIN);
	return r < 0 ? err_set(e, -r, "cannot watch the process that restarts devices") : 0;
}

static void errand_ask(void *respawn)
{
	respawn_errand_ask(respawn);
}

/* Without devices that are processes it still removes what is left, and writes the last trace. */
static int respawn_begin(struct machine *m, struct err *e)
{
	struct vm_devices *all = &m->devices;
	const struct respawn_end *end = postmortem_of(&m->postmortem, all);
	int r = 0;

	if (m->config->sandbox) {
		r = spawner_init(&all->spawner, e);
		all->has_spawner = r == 0;
	}
	if (r == 0)
		r = respawn_init(&all->respawn, all->has_spawner ? &all->spawner : NULL,
				 all->table, all->has_spawner ? all->count : 0, end,
				 journal_errand(), e);
	all->has_respawn = r == 0;
	if (r == 0)
		journal_ask_set(errand_ask, &all->respawn);
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
					.child = {.pidfd = -1, .report_fd = -1},
					.delay = {.watch = {.fd = -1}}};
		device_name(all, d);
		device_kept_init(&d->kept);
		shared_clear(&d->shared);
		all->count++;
	}
	r = devices_keep(m, e);
	if (r == 0)
		r = table_make(m, e);
	if (r == 0)
		r = respawn_begin(m, e);
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

/* Its end of the socket is closed: it has ended, or was never started. */
static int device_is_gone(struct vm_device *d, int r, struct err *e)
{
	struct vm_device *before = d->machine->devices.list;
	int asked = 0;

	for (; before <= d && asked == 0; before++) /* answers come in the order of questions */
		asked = device_process_answer(before, e);
	return asked < 0 ? asked : device_failed_to_open(d, r, e);
}

int devices_plug(struct machine *m, struct err *e)
{
	for (unsigned i = 0; i < m->devices.count; i++) {
		struct vm_device *d = &m->devices.list[i];
		struct fs_config fs = {0};
		struct frontend_args args;
		int r;

		frontend_arguments(m, d, &args, &fs);
		r = frontend_init(&d->frontend, &args, e);
		if (r < 0)
			return r;
		d->has_frontend = true;
		r = asks_init(&d->asks, &m->loop, d->name);
		d->has_asks = r == 0;
		if (r < 0)
			return err_set(e, -r, "%s: cannot make a timer", d->name);
		r = device_deaths_init(d, e);
		if (r < 0)
			return r;
		r = device_attach(d, e);
		if (r < 0)
			return device_is_gone(d, r, e);
		r = device_plug(m, d, e);
		if (r < 0)
			return err_in(e, "%s", d->name);
		d->is_plugged = true;
	}
	return 0;
}

/* In turns, for the loop does not hear of an answer that a vCPU has waited for, and taken. */
static int device_wait(struct machine *m, struct vm_device *d, uint64_t until_ns, struct err *e)
{
	int r = 0;

	while (r == 0 && !m->is_unwanted && !d->why && !frontend_is_linked(&d->frontend)) {
		if (clock_ns() >= until_ns)
			d->why = "did not answer in time";
		else
			r = loop_once(&m->loop, TURN_MS);
	}
	if (r < 0)
		return err_set(e, -r, "cannot wait for events");
	if (!d->why)
		return 0;
	r = err_say(e, EPROTO, "%s: the device %s", d->name, d->why);
	return device_is_gone(d, r, e);
}

int devices_wait(struct machine *m, struct err *e)
{
	const uint64_t until_ns = clock_ns() + FRONTEND_LIMIT_MS * (uint64_t)MS_NS;
	int r = 0;

	for (unsigned i = 0; i < m->devices.count && r == 0; i++)
		r = device_wait(m, &m->devices.list[i], until_ns, e);
	/* Only then, as a device that dies is asked for anew, which all answers must precede. */
	for (unsigned i = 0; i < m->devices.count && r == 0 && !m->is_unwanted; i++) {
		struct vm_device *d = &m->devices.list[i];

		d->is_open = true;
		r = device_process_answer(d, e);
		if (r == 0)
			r = device_watch(d, e);
	}
	/* Until then a device tells that it was not started. */
	return r == 0 ? respawn_watch(m, e) : r;
}

void devices_give_up(struct machine *m)
{
	for (unsigned i = 0; i < m->devices.count; i++)
		if (!m->devices.list[i].is_open && m->devices.list[i].has_frontend)
			frontend_give_up(&m->devices.list[i].frontend);
}

/* Closes the connections, at which the process closes what it has open, and ends. */
static void device_hang_up(struct machine *m, struct vm_device *d)
{
	struct err ignored;

	if (device_process_answer(d, &ignored) < 0)
		log_debug("%s was not started", d->name);
	if (d->death.fd >= 0 && d->death.ready)
		loop_remove(&m->loop, &d->death);
	timer_fini(&d->delay, &m->loop);
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
	journal_ask_set(NULL, NULL);
	if (all->has_respawn && all->respawn_end.fd >= 0 && all->respawn_end.ready)
		loop_remove(&m->loop, &all->respawn_end);
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
