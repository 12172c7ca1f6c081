/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * deaths.c - a device process that ends is started again
 *
 * Two things are heard of a death, in either order: the front end loses its connection, and the
 * process's pidfd becomes readable.  The first makes sure of the second (a process that broke the
 * protocol is killed), and the second starts the next process, at once or later: vm/restarts.h.
 */
#include "base/exit_codes.h"
#include "base/fd.h"
#include "base/log.h"
#include "devices/serve.h"
#include "vm/devices.h"
#include "vm/machine.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LAST_WORDS_MS = 1000 };

static const uint64_t second_ns = 1000000000;

static void death_ready(struct watch *w, uint32_t events);

int device_watch(struct vm_device *d, struct err *e)
{
	int r;

	if (d->child.pidfd < 0)
		return 0;
	d->death = (struct watch){.fd = d->child.pidfd, .ready = death_ready};
	r = loop_add(&d->machine->loop, &d->death, EPOLLIN);
	return r < 0 ? err_set(e, -r, "%s: cannot watch process %d", d->name, (int)d->child.pid)
		     : 0;
}

int device_attach(struct vm_device *d, struct err *e)
{
	int r = frontend_attach_take(&d->frontend, d->sock, e);

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
	if (!d->is_open) {
		d->why = why; /* devices_wait() lets it say itself */
		return;
	}
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
	if (r == 0)
		r = device_watch(d, e);
	return r < 0 ? r : device_attach(d, e);
}

static void device_restart(struct vm_device *d)
{
	struct err e = {0};

	trace_device(d, TRACE_DEVICE_AGAIN, 0);
	if (device_respawn(d, &e) < 0)
		machine_end(d->machine, EXIT_CODE_DEVICE, "%s: %s; and can't be started again: %s",
			    d->name, d->how, e.text);
}

static void delay_over(struct timer *t)
{
	device_restart(container_of(t, struct vm_device, delay));
}

int device_deaths_init(struct vm_device *d, struct err *e)
{
	int r = timer_init(&d->delay, &d->machine->loop, delay_over);

	return r < 0 ? err_set(e, -r, "%s: cannot make a timer", d->name) : 0;
}

static void device_give_up(struct vm_device *d)
{
	const struct restarts *r = &d->restarts;
	const uint64_t seconds = (r->last_ns - r->first_ns) / second_ns + 1;

	if (d->deaths_in_a_row >= DEVICE_DEATHS_MAX)
		machine_end(d->machine, EXIT_CODE_DEVICE, "%s died %u times in a row, last: %s",
			    d->name, d->deaths_in_a_row + 1, d->how);
	else
		machine_end(d->machine, EXIT_CODE_DEVICE,
			    "%s died too often, %u times within %" PRIu64 " s, last: %s",
			    d->name, r->count, seconds, d->how);
}

static void device_died(struct vm_device *d)
{
	int wait_ms = restarts_count(&d->restarts, clock_ns());

	d->deaths_in_a_row = is_in_a_row(d) ? d->deaths_in_a_row + 1 : 0;
	if (wait_ms == RESTARTS_NEVER || d->deaths_in_a_row >= DEVICE_DEATHS_MAX) {
		device_give_up(d);
	} else if (wait_ms > 0) {
		log_error("%s: %s; started again in %d ms", d->name, d->how, wait_ms);
		timer_set(&d->delay, (uint64_t)wait_ms * 1000000, 0);
	} else {
		log_error("%s: %s; started again", d->name, d->how);
		device_restart(d);
	}
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
	memcpy(d->how, end.text, sizeof(d->how));
	device_died(d);
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
	if (spawn_reap(&d->child, &end) < 0)
		return r;
	if (end.kind == SPAWN_EXITED &&
	    (end.code == DEVICE_EXIT_FAILED || end.code == DEVICE_EXIT_USAGE))
		return err_told(e, -r);
	return err_say(e, -r, "%s: %s", d->name, end.text);
}
