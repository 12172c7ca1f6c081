/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * control_status.c - the reply to status
 *
 * The machine's part is read when the reply is written.  What devices say of themselves is asked of
 * all of them at once; the reply goes out when the last has answered, at the latest after
 * CONTROL_REPORT_MS.  One that did not answer an earlier command in time, and still owes it, is not
 * asked: it is stuck, and would hold up this reply as well.  Clients that ask meanwhile get the
 * same reports.
 */
#include "vm/control_parts.h"

#include "devices/device.h"
#include "vm/cpus.h"
#include "vm/exits.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

static const struct control_status *machine_status(struct control *c)
{
	static struct control_status status; /* one loop, one command at a time */

	memset(&status, 0, sizeof(status));
	c->ops->status(c->vm, &status);
	assert(status.ndevices <= CONTROL_DEVICES_MAX && status.nvcpus <= CONTROL_VCPUS_MAX);
	return &status;
}

static void put_report(const struct control_report *r, struct json *reply)
{
	if (r->error)
		json_text(reply, "error", r->error);
	else if (r->text[0])
		json_raw(reply, "reports", r->text);
}

/* One member for each row of the table; the values are those behind it. */
static void put_counters(const struct counter *table, const uint64_t *values, struct json *reply)
{
	for (const struct counter *row = table; row && row->name; row++)
		json_number(reply, row->name, counter_get(values + (row - table)));
}

static void put_vcpu(const uint64_t *counters, struct json *reply)
{
	uint64_t exits = 0;

	for (unsigned i = 0; i < CPU_COUNTERS; i++)
		exits += counter_get(&counters[i]);
	json_open(reply, NULL, '{');
	json_number(reply, "exits", exits);
	json_open(reply, "reasons", '{');
	put_counters(cpu_counters, counters, reply);
	json_close(reply, '}');
	json_close(reply, '}');
}

/* The process may have written anything: they are numbers, whatever they say. */
static void put_device_counters(const struct control_device *d, struct json *reply)
{
	if (!d->counters)
		return;
	json_open(reply, "counters", '{');
	put_counters(device_counters, d->counters, reply);
	put_counters(d->own_counters, d->counters + DEVICE_COUNTERS, reply);
	json_close(reply, '}');
}

/* with_reports: what they say of themselves has been asked for. */
static void put_devices(const struct control *c, const struct control_status *status,
			bool with_reports, struct json *reply)
{
	json_open(reply, "devices", '[');
	for (unsigned i = 0; i < status->ndevices; i++) {
		const struct control_device *d = &status->devices[i];

		json_open(reply, NULL, '{');
		json_text(reply, "name", d->name);
		json_text(reply, "type", d->type);
		json_text(reply, "state", d->state);
		if (d->pid > 0)
			json_number(reply, "pid", (uint64_t)d->pid);
		json_number(reply, "restarts", d->restarts);
		put_device_counters(d, reply);
		if (with_reports)
			put_report(&c->reports[i], reply);
		json_close(reply, '}');
	}
	json_close(reply, ']');
}

void control_status_balloon(const struct balloon_status *b, struct json *reply)
{
	json_number(reply, "target_bytes", b->target_bytes);
	json_number(reply, "floor_bytes", b->floor_bytes);
	json_number(reply, "limit_bytes", b->limit_bytes);
	json_text(reply, "policy", b->policy);
	json_number(reply, "policy_max_bytes", b->max_bytes);
	if (!b->has_reading)
		return;
	json_number(reply, "notices", b->notices);
	json_number(reply, "host_available_bytes", b->available_bytes);
	json_number(reply, "host_margin_bytes", b->margin_bytes);
}

/* Into the open object. */
static void put_status(struct control *c, bool with_reports, struct json *reply)
{
	const struct control_status *status = machine_status(c);

	json_text(reply, "state", status->state);
	json_number(reply, "pid", (uint64_t)getpid());
	json_number(reply, "uptime_ms", status->uptime_ms);
	json_number(reply, "mem_bytes", status->mem_bytes);
	json_open(reply, "vcpus", '[');
	for (unsigned i = 0; i < status->nvcpus; i++)
		put_vcpu(status->vcpu_counters[i], reply);
	json_close(reply, ']');
	json_number(reply, "interrupts", status->interrupts);
	json_number(reply, "control_commands", c->ncommands);
	if (status->has_balloon) {
		json_open(reply, "balloon", '{');
		control_status_balloon(&status->balloon, reply);
		json_close(reply, '}');
	}
	put_devices(c, status, with_reports, reply);
}

/* All replies are written before one is sent: a client's next request may ask anew. */
static void reply_to_all(struct control *c)
{
	bool waited[CONTROL_CLIENTS_MAX] = {false};

	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct control_client *k = &c->clients[i];
		struct json reply;

		waited[i] = k->watch.fd >= 0 && k->wait == CONTROL_WAITS_FOR_REPORTS;
		if (!waited[i])
			continue;
		control_reply_begin(k, &reply);
		json_open(&reply, NULL, '{');
		json_bool(&reply, "ok", true);
		put_status(c, true, &reply);
		json_close(&reply, '}');
		control_reply_end(k, &reply);
	}
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (waited[i])
			control_go_on(&c->clients[i]);
}

static void report_came(struct ask *a, const char *reply, size_t n, const struct err *e)
{
	static const char head[] = "{\"ok\":true,";
	struct control_report *r = container_of(a, struct control_report, ask);
	size_t skipped = strlen(head) - 1; /* the comma becomes the bracket */

	r->text[0] = '\0';
	r->error = NULL;
	if (!reply) {
		r->error = e->code == ETIMEDOUT ? "no answer" : "no sense in its answer";
	} else if (n - skipped >= sizeof(r->text)) {
		r->error = "its answer is too long";
	} else if (strncmp(reply, head, strlen(head)) == 0) {
		memcpy(r->text, reply + skipped, n - skipped + 1);
		r->text[0] = '{';
	}
	if (--r->control->nreports_due == 0)
		reply_to_all(r->control);
}

static void ask_all(struct control *c, const struct control_status *status)
{
	for (unsigned i = 0; i < status->ndevices; i++) {
		struct control_report *r = &c->reports[i];
		struct asks *asks = status->devices[i].asks;

		r->text[0] = '\0';
		r->error = asks ? "no answer" : NULL;
		if (!asks || !asks_is_alive(asks))
			continue;
		r->control = c;
		r->ask.done = report_came;
		c->nreports_due++;
		ask_send(asks, &r->ask, "status", CONTROL_REPORT_MS);
	}
}

int control_status_reply(struct control_client *k, struct json *reply)
{
	struct control *c = k->control;

	if (c->nreports_due == 0)
		ask_all(c, machine_status(c));
	if (c->nreports_due > 0) {
		k->wait = CONTROL_WAITS_FOR_REPORTS;
		return CONTROL_LATER;
	}
	put_status(c, true, reply);
	return 0;
}

void control_status_counters(struct control_client *k, struct json *reply)
{
	put_status(k->control, false, reply);
}

void control_status_init(struct control *c)
{
	c->nreports_due = 0;
	for (size_t i = 0; i < CONTROL_DEVICES_MAX; i++)
		c->reports[i].ask.asks = NULL;
}

void control_status_fini(struct control *c)
{
	for (size_t i = 0; i < CONTROL_DEVICES_MAX; i++)
		ask_cancel(&c->reports[i].ask);
}
