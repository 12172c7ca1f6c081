/* SPDX-License-Identifier: BSD-3-Clause */
/* top_rate.c - differences between two samples of a VM */
#include "cli/top.h"

#include "base/counter.h"
#include "devices/device.h"

#include <string.h>

#define SECOND_NS 1e9
#define MS_NS     UINT64_C(1000000)

uint64_t top_interval_ns(const struct top_vm *v)
{
	uint64_t ns = 0;

	if (!v->has_before) /* of an absurd uptime no more than fits */
		ns = v->now->report.uptime_ms < UINT64_MAX / MS_NS
			     ? v->now->report.uptime_ms * MS_NS
			     : UINT64_MAX;
	else if (v->now->at_ns > v->before->at_ns)
		ns = v->now->at_ns - v->before->at_ns;
	return ns > 0 ? ns : 1;
}

double top_rate(const struct top_vm *v, uint64_t now, uint64_t before)
{
	if (!v->has_before)
		before = 0;
	if (now < before)
		return 0;
	return (double)(now - before) * SECOND_NS / (double)top_interval_ns(v);
}

/* Which device that was; CONTROL_DEVICES_MAX for none. */
static unsigned index_before(const struct top_vm *v, unsigned device)
{
	const struct report *before = &v->before->report;
	const char *name = v->now->report.devices[device].name;

	for (unsigned i = 0; v->has_before && i < before->ndevices; i++)
		if (strcmp(before->devices[i].name, name) == 0)
			return i;
	return CONTROL_DEVICES_MAX;
}

/* The same device, with the same process or another, in the sample before; NULL: there was none. */
static const struct report_device *device_before(const struct top_vm *v, unsigned device)
{
	unsigned i = index_before(v, device);

	return i < CONTROL_DEVICES_MAX ? &v->before->report.devices[i] : NULL;
}

double top_counter_rate(const struct top_vm *v, unsigned device, const char *name)
{
	const struct report_device *d = &v->now->report.devices[device];
	const struct report_device *before = device_before(v, device);

	return top_rate(v, report_value(&d->counters, name),
			before ? report_value(&before->counters, name) : 0);
}

double top_type_rate(const struct top_vm *v, const char *type, const char *name)
{
	const struct report *r = &v->now->report;
	double sum = 0;

	for (unsigned i = 0; i < r->ndevices; i++)
		if (strcmp(r->devices[i].type, type) == 0)
			sum += top_counter_rate(v, i, name);
	return sum;
}

double top_exit_rate(const struct top_vm *v, const char *reason)
{
	const struct report *now = &v->now->report, *before = &v->before->report;

	if (!reason)
		return top_rate(v, now->exits, before->exits);
	return top_rate(v, report_value(&now->reasons, reason),
			report_value(&before->reasons, reason));
}

static double percent(const struct top_vm *v, uint64_t now_ns, uint64_t before_ns)
{
	return top_rate(v, now_ns, before_ns) * 100 / SECOND_NS;
}

double top_cpu_main(const struct top_vm *v)
{
	return percent(v, v->now->main.cpu_ns, v->before->main.cpu_ns);
}

double top_cpu(const struct top_vm *v, unsigned device)
{
	unsigned before = index_before(v, device);
	uint64_t before_ns = 0;

	/* Another process counts from its beginning. */
	if (before < CONTROL_DEVICES_MAX &&
	    v->before->report.devices[before].pid == v->now->report.devices[device].pid)
		before_ns = v->before->devices[before].cpu_ns;
	return percent(v, v->now->devices[device].cpu_ns, before_ns);
}

double top_cpu_all(const struct top_vm *v)
{
	double sum = top_cpu_main(v);

	for (unsigned i = 0; i < v->now->report.ndevices; i++)
		sum += top_cpu(v, i);
	return sum;
}

uint64_t top_resident_all(const struct top_vm *v)
{
	uint64_t sum = v->now->main.resident_bytes;

	for (unsigned i = 0; i < v->now->report.ndevices; i++)
		sum += v->now->devices[i].resident_bytes;
	return sum;
}

static const struct counter *counter_in(const struct counter *table, const char *name)
{
	for (; table && table->name; table++)
		if (strcmp(table->name, name) == 0)
			return table;
	return NULL;
}

enum counter_kind top_counter_kind(const char *type, const char *name)
{
	static const char suffix[] = "_bytes";
	const struct device_type *known = device_type_find(type);
	const struct counter *row = counter_in(device_counters, name);
	size_t n = strlen(name);

	if (!row && known)
		row = counter_in(known->counters, name);
	if (row)
		return row->kind;
	return n >= strlen(suffix) && strcmp(name + n - strlen(suffix), suffix) == 0
		       ? COUNTER_BYTES
		       : COUNTER_EVENTS;
}
