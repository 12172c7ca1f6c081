/* SPDX-License-Identifier: BSD-3-Clause */
/* top_json.c - what VMs do, for scripts */
#include "cli/top.h"

#include "base/json.h"

#include <time.h>

static void put_percent(struct json *j, const char *key, double value)
{
	char text[32];

	snprintf(text, sizeof(text), "%.1f", value < 1e9 ? value : 1e9);
	json_raw(j, key, text);
}

static void put_rate(struct json *j, const char *key, double rate)
{
	json_number(j, key, rate < 1e18 ? (uint64_t)(rate + 0.5) : UINT64_C(1000000000000000000));
}

static void put_counters(struct json *j, const char *key, const struct report_counters *c)
{
	json_open(j, key, '{');
	for (unsigned i = 0; i < c->n; i++)
		json_number(j, c->list[i].name, c->list[i].value);
	json_close(j, '}');
}

static void put_device(struct json *j, const struct top_vm *v, unsigned i)
{
	const struct report_device *d = &v->now->report.devices[i];

	json_open(j, NULL, '{');
	json_text(j, "name", d->name);
	json_text(j, "type", d->type);
	json_text(j, "state", d->state);
	if (d->pid) {
		json_number(j, "pid", d->pid);
		put_percent(j, "cpu_percent", top_cpu(v, i));
		json_number(j, "resident_bytes", v->now->devices[i].resident_bytes);
	}
	json_number(j, "restarts", d->restarts);
	put_counters(j, "counters", &d->counters);
	json_open(j, "counters_a_second", '{');
	for (unsigned n = 0; n < d->counters.n; n++) {
		const char *name = d->counters.list[n].name;
		enum counter_kind kind = top_counter_kind(d->type, name);

		if (kind == COUNTER_EVENTS || kind == COUNTER_BYTES)
			put_rate(j, name, top_counter_rate(v, i, name));
	}
	json_close(j, '}');
	json_close(j, '}');
}

static void put_exits(struct json *j, const struct top_vm *v)
{
	const struct report *r = &v->now->report;

	json_number(j, "exits", r->exits);
	put_rate(j, "exits_a_second", top_exit_rate(v, NULL));
	put_counters(j, "reasons", &r->reasons);
	json_open(j, "reasons_a_second", '{');
	for (unsigned i = 0; i < r->reasons.n; i++)
		put_rate(j, r->reasons.list[i].name, top_exit_rate(v, r->reasons.list[i].name));
	json_close(j, '}');
	json_number(j, "interrupts", r->interrupts);
}

static void put_vm(struct json *j, const struct top_vm *v)
{
	const struct report *r = &v->now->report;
	char name[TOP_PATH_MAX];

	report_text(name, sizeof(name), v->word);
	json_open(j, NULL, '{');
	json_text(j, "name", name);
	if (!v->is_alive) {
		json_text(j, "error", v->error);
		json_close(j, '}');
		return;
	}
	json_text(j, "state", r->state);
	json_number(j, "pid", r->pid);
	json_number(j, "uptime_ms", r->uptime_ms);
	json_number(j, "interval_ms", top_interval_ns(v) / 1000000);
	json_number(j, "vcpus", r->nvcpus);
	put_percent(j, "cpu_percent", top_cpu_all(v));
	json_number(j, "resident_bytes", top_resident_all(v));
	json_number(j, "mem_bytes", r->mem_bytes);
	json_number(j, "balloon_bytes", r->actual_bytes);
	put_exits(j, v);
	json_open(j, "devices", '[');
	for (unsigned i = 0; i < r->ndevices; i++)
		put_device(j, v, i);
	json_close(j, ']');
	json_close(j, '}');
}

void top_json(const struct top *t, FILE *out)
{
	static char text[CONTROL_REPLY_MAX];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	fprintf(out, "{\"time_ms\":%llu,\"vms\":[",
		(unsigned long long)now.tv_sec * 1000 + (unsigned long long)now.tv_nsec / 1000000);
	for (unsigned i = 0; i < t->nvms; i++) {
		struct json j;

		json_init(&j, text, sizeof(text));
		put_vm(&j, t->vms[i]);
		fprintf(out, "%s%s", i > 0 ? "," : "", text);
	}
	fputs("]}\n", out);
	fflush(out);
}
