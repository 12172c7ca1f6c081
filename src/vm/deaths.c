/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * deaths.c - a device process that ends is started again
 *
 * Two things are heard of a death, in either order: the front end loses its connection, and the
 * process's pidfd becomes readable.  The first makes sure of the second (a process that broke the
 * protocol is killed), and the second starts the next process.
 */
#include "base/exit_codes.h"
#include "base/fd.h"
#include "base/log.h"
#include "devices/serve.h"
#include "vm/devices.h"
#include "vm/machine.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LAST_WORDS_MS = 1000 };

static const uint64_t second_ns = 1000000000;

static void death_ready(struct watch *w, uint32_t events);

int device_attach(struct vm_device *d, struct err *e)
{
	int r;

	if (d->child.pidfd >= 0) {
		d->death = (struct watch){.fd = d->child.pidfd, .ready = death_ready};
		r = loop_add(&d->machine->loop, &d->death, EPOLLIN);
		if (r < 0)
			return err_set(e, -r, "%s: cannot watch process %d", d->name,
				       (int)d->child.pid);
	}
	r = frontend_attach_take(&d->frontend, d->sock, e);
	if (r < 0)
		return r;
	d->sock = -1;
	if (d->control_sock >= 0)
		asks_attach(&d->asks, d->control_sock);
	if (d->control_sock >= 0 && d->config->virtio_id == VIRTIO_ID_BALLOON)
		balloon_attached(&d->machine->balloon, &d->asks);
	d->attached_ns = clock_ns();
	return 0;
}

static void trace_device(const struct vm_device *d, enum trace_device what, int detail)
{
	trace(TRACE_DEVICE, what, (uint32_t)(d - d->machine->devices.list), (uint64_t)detail, 0);
}

void device_lost(struct frontend *f, const char *why)
{
	struct vm_device *d = f->args.owner;

	trace_device(d, TRACE_DEVICE_LOST, 0);
	if (d->child.pidfd >= 0) {
		log_debug("%s: %s", d->name, why);
		syscall(SYS_pidfd_send_signal, d->child.pidfd, SIGKILL, NULL, 0);
		return;
	}
	log_error("%s: %s; it is lost to the guest", d->name, why);
	d->has_failed = true;
	asks_detach(&d->asks);
	frontend_give_up(f);
}

/* Whether this death counts as one in a row: nothing done and hardly lived since the one before. */
static bool is_in_a_row(struct vm_device *d)
{
	uint64_t progress = frontend_progress(&d->frontend);
	bool stood_still = progress == d->progress;

	d->progress = progress;
	return stood_still && clock_ns() - d->attached_ns < second_ns;
}

static int device_respawn(struct vm_device *d, struct err *e)
{
	int r = device_process_ask(d, e);

	if (r == 0)
		r = device_process_answer(d, e);
	return r < 0 ? r : device_attach(d, e);
}

static void device_restart(struct vm_device *d, const char *how)
{
	struct err e = {0};

	d->deaths_in_a_row = is_in_a_row(d) ? d->deaths_in_a_row + 1 : 0;
	if (d->deaths_in_a_row >= DEVICE_DEATHS_MAX) {
		machine_end(d->machine, EXIT_CODE_DEVICE, "%s died %u times in a row, last: %s",
			    d->name, d->deaths_in_a_row + 1, how);
		return;
	}
	log_error("%s: %s; started again", d->name, how);
	trace_device(d, TRACE_DEVICE_AGAIN, 0);
	if (device_respawn(d, &e) < 0)
		machine_end(d->machine, EXIT_CODE_DEVICE, "%s: %s; and can't be started again: %s",
			    d->name, how, e.text);
}

static void death_ready(struct watch *w, uint32_t events)
{
	struct vm_device *d = container_of(w, struct vm_device, death);
	struct spawn_end end;

	(void)events;
	loop_remove(&d->machine->loop, w);
	w->fd = -1;
	if (spawn_reap(&d->child, &end) < 0)
		return;
	trace_device(d, end.kind == SPAWN_EXITED ? TRACE_DEVICE_EXITED : TRACE_DEVICE_KILLED,
		     end.kind == SPAWN_FILTERED ? SIGSYS : end.code);
	device_log_drain(&d->log); /* it may have said why */
	frontend_detach(&d->frontend);
	asks_detach(&d->asks);
	fd_close(&d->sock);
	device_restart(d, end.text);
}

int device_failed_to_open(struct vm_device *d, int r, struct err *e)
{
	struct pollfd p = {.fd = d->child.pidfd, .events = POLLIN};
	struct spawn_end end;

	/* Wait for what it says itself. */
	if (d->child.pidfd < 0 || poll(&p, 1, LAST_WORDS_MS) != 1) {
		device_log_drain(&d->log);
		return r;
	}
	device_log_drain(&d->log);
	loop_remove(&d->machine->loop, &d->death);
	d->death.fd = -1;
	if (spawn_reap(&d->child, &end) < 0)
		return r;
	if (end.kind == SPAWN_EXITED &&
	    (end.code == DEVICE_EXIT_FAILED || end.code == DEVICE_EXIT_USAGE))
		return err_told(e, -r);
	return err_say(e, -r, "%s: %s", d->name, end.text);
}
