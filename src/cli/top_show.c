/* SPDX-License-Identifier: BSD-3-Clause */
/* top_show.c - tables of what VMs do, for people */
#include "cli/top.h"

#include "base/counter.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { CELL_MAX = 64 };

/* ---- text ---- */

/* How many bytes of the line fit into so many columns; a character is taken for one. */
static size_t bytes_that_fit(const char *line, unsigned width)
{
	size_t n = 0;

	for (unsigned columns = 0; line[n]; n++) {
		const bool begins = ((unsigned char)line[n] & 0xc0) != 0x80;

		if (begins && columns++ == width)
			break;
	}
	return n;
}

static PRINTF(2, 3) void put_line(struct top_text *out, const char *format, ...)
{
	char line[TOP_WIDTH_MAX * 4];
	va_list args;
	size_t n, end = strlen(out->line_end);

	if (out->lines == out->height)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	n = bytes_that_fit(line, out->width);
	while (n > 0 && line[n - 1] == ' ')
		n--;
	if (out->used + n + end >= out->room)
		return;
	memcpy(out->buf + out->used, line, n);
	memcpy(out->buf + out->used + n, out->line_end, end + 1);
	out->used += n + end;
	out->lines++;
}

/* ---- numbers ---- */

void top_amount(double value, bool is_bytes, char *buf, size_t room)
{
	const double base = is_bytes ? 1024 : 1000;
	const char *unit = "\0KMGTPE";

	if (!(value > 0)) { /* also what is no number */
		snprintf(buf, room, "0");
		return;
	}
	while (value >= base - 0.5 && unit[1]) {
		value /= base;
		unit++;
	}
	if (value >= base - 0.5)
		snprintf(buf, room, "many");
	else if (value < 9.95 && (*unit || value != (double)(int)value))
		snprintf(buf, room, "%.1f%c", value, *unit);
	else
		snprintf(buf, room, "%.0f%c", value, *unit);
}

static void put_percent(double value, char *buf, size_t room)
{
	snprintf(buf, room, "%.1f", value < 99999 ? value : 99999);
}

/* ---- all VMs ---- */

static void cell_name(const struct top_vm *v, char cell[CELL_MAX])
{
	report_text(cell, CELL_MAX, v->word);
}

static void cell_pid(const struct top_vm *v, char cell[CELL_MAX])
{
	snprintf(cell, CELL_MAX, "%llu", (unsigned long long)v->now->report.pid);
}

static void cell_state(const struct top_vm *v, char cell[CELL_MAX])
{
	snprintf(cell, CELL_MAX, "%s", v->now->report.state);
}

static void cell_cpu(const struct top_vm *v, char cell[CELL_MAX])
{
	put_percent(top_cpu_all(v), cell, CELL_MAX);
}

static void put_bytes(double bytes, char cell[CELL_MAX])
{
	top_amount(bytes, true, cell, CELL_MAX);
}

static void put_events(double events, char cell[CELL_MAX])
{
	top_amount(events, false, cell, CELL_MAX);
}

static void cell_resident(const struct top_vm *v, char cell[CELL_MAX])
{
	put_bytes((double)top_resident_all(v), cell);
}

static void cell_memory(const struct top_vm *v, char cell[CELL_MAX])
{
	put_bytes((double)v->now->report.mem_bytes, cell);
}

static void cell_balloon(const struct top_vm *v, char cell[CELL_MAX])
{
	put_bytes((double)v->now->report.actual_bytes, cell);
}

static void cell_exits(const struct top_vm *v, char cell[CELL_MAX])
{
	put_events(top_exit_rate(v, NULL), cell);
}

static void cell_reads(const struct top_vm *v, char cell[CELL_MAX])
{
	put_events(top_type_rate(v, "block", "reads"), cell);
}

static void cell_writes(const struct top_vm *v, char cell[CELL_MAX])
{
	put_events(top_type_rate(v, "block", "writes"), cell);
}

static void cell_read_bytes(const struct top_vm *v, char cell[CELL_MAX])
{
	put_bytes(top_type_rate(v, "block", "read_bytes"), cell);
}

static void cell_written_bytes(const struct top_vm *v, char cell[CELL_MAX])
{
	put_bytes(top_type_rate(v, "block", "written_bytes"), cell);
}

static void cell_rx_bytes(const struct top_vm *v, char cell[CELL_MAX])
{
	put_bytes(top_type_rate(v, "net", "rx_bytes"), cell);
}

static void cell_tx_bytes(const struct top_vm *v, char cell[CELL_MAX])
{
	put_bytes(top_type_rate(v, "net", "tx_bytes"), cell);
}

/* From the left what matters most: narrow terminals cut the rest off. */
static const struct column {
	const char *title;
	int width; /* less than 0: its text begins at the left */
	void (*put)(const struct top_vm *v, char cell[CELL_MAX]);
} columns[] = {
	{"NAME", -16, cell_name},     {"PID", 7, cell_pid},
	{"STATE", -9, cell_state},    {"CPU%", 6, cell_cpu},
	{"EXITS/s", 7, cell_exits},   {"RES", 6, cell_resident},
	{"MEMORY", 6, cell_memory},   {"BALLOON", 7, cell_balloon},
	{"READS/s", 7, cell_reads},   {"READB/s", 7, cell_read_bytes},
	{"WRITES/s", 8, cell_writes}, {"WRITEB/s", 8, cell_written_bytes},
	{"RXB/s", 6, cell_rx_bytes},  {"TXB/s", 6, cell_tx_bytes},
};

static void put_header(struct top_text *out)
{
	char line[TOP_WIDTH_MAX];
	size_t used = 0;

	for (size_t i = 0; i < ARRAY_LEN(columns); i++)
		used += (size_t)snprintf(line + used, sizeof(line) - used, "%*s ", columns[i].width,
					 columns[i].title);
	put_line(out, "%s", line);
}

static void put_vm(struct top_text *out, const struct top_vm *v)
{
	char line[TOP_WIDTH_MAX * 2], cell[CELL_MAX];
	size_t used = 0;

	cell_name(v, cell);
	if (!v->is_alive) {
		put_line(out, "%-16s %s", cell, v->error);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
		columns[i].put(v, cell);
		used += (size_t)snprintf(line + used, sizeof(line) - used, "%*s ", columns[i].width,
					 cell);
	}
	put_line(out, "%s", line);
}

static int by_need(const void *a, const void *b)
{
	const struct top_vm *const *v = a, *const *w = b;
	double left = (*v)->is_alive ? top_cpu_all(*v) : -1;
	double right = (*w)->is_alive ? top_cpu_all(*w) : -1;

	if (left != right)
		return left < right ? 1 : -1;
	return strcmp((*v)->word, (*w)->word);
}

static void show_all(const struct top *t, struct top_text *out)
{
	struct top_vm *sorted[TOP_VMS_MAX];

	memcpy(sorted, t->vms, t->nvms * sizeof(t->vms[0]));
	qsort(sorted, t->nvms, sizeof(sorted[0]), by_need);
	put_header(out);
	for (unsigned i = 0; i < t->nvms; i++)
		put_vm(out, sorted[i]);
	if (t->nvms == 0)
		put_line(out, "no VM with a name is running");
}

/* ---- one VM ---- */

static void show_head(const struct top_vm *v, struct top_text *out)
{
	const struct report *r = &v->now->report;
	char name[CELL_MAX], up[CELL_MAX], cpu[CELL_MAX], resident[CELL_MAX], pss[CELL_MAX];
	char memory[CELL_MAX], balloon[CELL_MAX], target[CELL_MAX];

	cell_name(v, name);
	report_uptime(r->uptime_ms, up, sizeof(up));
	put_percent(top_cpu_main(v), cpu, sizeof(cpu));
	put_bytes((double)v->now->main.resident_bytes, resident);
	put_bytes((double)v->now->main.pss_bytes, pss);
	put_bytes((double)r->mem_bytes, memory);
	put_bytes((double)r->actual_bytes, balloon);
	put_bytes((double)r->target_bytes, target);
	put_line(out, "%s: %s, up %s, %u vCPU%s, memory %s, balloon %s of %s", name, r->state, up,
		 r->nvcpus, r->nvcpus == 1 ? "" : "s", memory, balloon, target);
	put_line(out, "%s", "");
	put_line(out, "%-12s %7s %-10s %6s %6s %6s %8s", "PROCESS", "PID", "STATE", "CPU%", "RES",
		 "PSS", "RESTARTS");
	put_line(out, "%-12s %7llu %-10s %6s %6s %6s", "main", (unsigned long long)r->pid, "", cpu,
		 resident, v->now->main.pss_bytes ? pss : "-");
}

static void show_process(const struct top_vm *v, unsigned i, struct top_text *out)
{
	const struct report_device *d = &v->now->report.devices[i];
	const struct top_process *p = &v->now->devices[i];
	char cpu[CELL_MAX] = "-", resident[CELL_MAX] = "-", pss[CELL_MAX] = "-",
	     pid[CELL_MAX] = "-";

	if (d->pid) {
		snprintf(pid, sizeof(pid), "%llu", (unsigned long long)d->pid);
		put_percent(top_cpu(v, i), cpu, sizeof(cpu));
		put_bytes((double)p->resident_bytes, resident);
	}
	if (p->pss_bytes)
		put_bytes((double)p->pss_bytes, pss);
	put_line(out, "%-12s %7s %-10s %6s %6s %6s %8llu", d->name, pid, d->state, cpu, resident,
		 pss, (unsigned long long)d->restarts);
}

static void show_counter(const char *of, const char *name, uint64_t value, double rate,
			 enum counter_kind kind, struct top_text *out)
{
	const bool is_bytes = kind == COUNTER_BYTES || kind == COUNTER_LEVEL_BYTES;
	char amount[CELL_MAX], a_second[CELL_MAX] = "";

	top_amount((double)value, is_bytes, amount, sizeof(amount));
	if (kind == COUNTER_EVENTS || kind == COUNTER_BYTES)
		top_amount(rate, is_bytes, a_second, sizeof(a_second));
	put_line(out, "%-12s %-16s %8s %8s", of, name, amount, a_second);
}

static void show_device(const struct top_vm *v, unsigned i, struct top_text *out)
{
	const struct report_device *d = &v->now->report.devices[i];

	for (unsigned n = 0; n < d->counters.n; n++) {
		const struct report_counter *c = &d->counters.list[n];

		if (c->value > 0)
			show_counter(d->name, c->name, c->value, top_counter_rate(v, i, c->name),
				     top_counter_kind(d->type, c->name), out);
	}
}

static void show_one(const struct top_vm *v, struct top_text *out)
{
	const struct report *r = &v->now->report;

	if (!v->is_alive) {
		put_vm(out, v);
		return;
	}
	show_head(v, out);
	for (unsigned i = 0; i < r->ndevices; i++)
		show_process(v, i, out);
	put_line(out, "%s", "");
	put_line(out, "%-12s %-16s %8s %8s", "OF", "COUNTER", "SO FAR", "A SECOND");
	for (unsigned i = 0; i < r->reasons.n; i++)
		if (r->reasons.list[i].value > 0)
			show_counter("exits", r->reasons.list[i].name, r->reasons.list[i].value,
				     top_exit_rate(v, r->reasons.list[i].name), COUNTER_EVENTS,
				     out);
	show_counter("main", "interrupts", r->interrupts,
		     top_rate(v, r->interrupts, v->before->report.interrupts), COUNTER_EVENTS, out);
	for (unsigned i = 0; i < r->ndevices; i++)
		show_device(v, i, out);
}

void top_show(const struct top *t, bool in_detail, struct top_text *out)
{
	out->used = 0;
	out->lines = 0;
	out->buf[0] = '\0';
	if (in_detail && t->nvms > 0)
		show_one(t->vms[0], out);
	else
		show_all(t, out);
}
