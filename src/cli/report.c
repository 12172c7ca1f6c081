/* SPDX-License-Identifier: BSD-3-Clause */
/* report.c - what a VM said of itself, taken apart */
#include "cli/report.h"

#include "base/json.h"
#include "base/log.h"
#include "base/opt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void report_text(char *field, size_t room, const char *value)
{
	log_clean(field, room, value, strlen(value));
}

uint64_t report_number(const char *value)
{
	uint64_t n;

	return opt_number(value, &n) == 0 ? n : 0;
}

void report_uptime(uint64_t ms, char *buf, size_t room)
{
	const uint64_t seconds = ms / 1000;

	snprintf(buf, room, "%llu:%02u:%02u", (unsigned long long)(seconds / 3600),
		 (unsigned)(seconds / 60 % 60), (unsigned)(seconds % 60));
}

static struct report_counter *counter_find(const struct report_counters *c, const char *name)
{
	for (unsigned i = 0; i < c->n; i++)
		if (strcmp(c->list[i].name, name) == 0)
			return (struct report_counter *)(uintptr_t)&c->list[i];
	return NULL;
}

uint64_t report_value(const struct report_counters *c, const char *name)
{
	const struct report_counter *found = counter_find(c, name);

	return found ? found->value : 0;
}

/* Adds to the counter of that name; what is too much is left out. */
static void counter_take(struct report_counters *c, const char *name, uint64_t value)
{
	char clean[REPORT_NAME_MAX];
	struct report_counter *found;

	report_text(clean, sizeof(clean), name);
	found = counter_find(c, clean);
	if (!found && c->n < REPORT_COUNTERS_MAX) {
		found = &c->list[c->n++];
		memcpy(found->name, clean, sizeof(clean));
		found->value = 0;
	}
	if (found)
		found->value += value;
}

/* What stands behind the prefix in the path, or NULL. */
static const char *behind(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(path, prefix, n) == 0 ? path + n : NULL;
}

/* path is "3.name", of the array of devices. */
static void take_device(struct report *r, const char *path, const char *value)
{
	char *end;
	const unsigned long n = strtoul(path, &end, 10);
	const char *counter = behind(end, ".counters.");
	struct report_device *d;

	if (end == path || n >= CONTROL_DEVICES_MAX)
		return;
	for (; r->ndevices <= n; r->ndevices++)
		memset(&r->devices[r->ndevices], 0, sizeof(r->devices[0]));
	d = &r->devices[n];
	if (counter)
		counter_take(&d->counters, counter, report_number(value));
	else if (strcmp(end, ".name") == 0)
		report_text(d->name, sizeof(d->name), value);
	else if (strcmp(end, ".type") == 0)
		report_text(d->type, sizeof(d->type), value);
	else if (strcmp(end, ".state") == 0)
		report_text(d->state, sizeof(d->state), value);
	else if (strcmp(end, ".error") == 0)
		report_text(d->error, sizeof(d->error), value);
	else if (strcmp(end, ".pid") == 0)
		d->pid = report_number(value);
	else if (strcmp(end, ".restarts") == 0)
		d->restarts = report_number(value);
}

/* path is "0.exits", of the array of vCPUs. */
static void take_vcpu(struct report *r, const char *path, const char *value)
{
	const char *member = path + strspn(path, "0123456789");
	const char *reason = behind(member, ".reasons.");

	if (reason) {
		counter_take(&r->reasons, reason, report_number(value));
	} else if (strcmp(member, ".exits") == 0) {
		r->exits += report_number(value);
		r->nvcpus++;
	}
}

static void take(void *context, const char *path, const char *value)
{
	struct report *r = context;
	const struct {
		const char *path;
		uint64_t *number;
	} numbers[] = {
		{"pid", &r->pid},
		{"uptime_ms", &r->uptime_ms},
		{"mem_bytes", &r->mem_bytes},
		{"interrupts", &r->interrupts},
		{"balloon.target_bytes", &r->target_bytes},
	};
	const char *rest;

	if ((rest = behind(path, "devices.")) != NULL)
		take_device(r, rest, value);
	else if ((rest = behind(path, "vcpus.")) != NULL)
		take_vcpu(r, rest, value);
	else if (strcmp(path, "state") == 0)
		report_text(r->state, sizeof(r->state), value);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		if (strcmp(path, numbers[i].path) == 0)
			*numbers[i].number = report_number(value);
}

int report_read(const char *text, struct report *ret)
{
	int r;

	memset(ret, 0, offsetof(struct report, devices)); /* they are large, and usually few */
	r = json_read(text, take, ret);
	for (unsigned i = 0; i < ret->ndevices; i++)
		if (strcmp(ret->devices[i].type, "balloon") == 0)
			ret->actual_bytes +=
				report_value(&ret->devices[i].counters, "actual_bytes");
	return r;
}
