/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * top_sample.c - asks VMs what they count, and the host about their processes
 *
 * VMs come and go: one that was found in the directory of names disappears with its end, one that
 * was named by the user stays, with why there is no answer.
 */
#include "cli/top.h"

#include "base/fd.h"
#include "base/loop.h"
#include "cli/client.h"
#include "config/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND_NS UINT64_C(1000000000)

enum { PROC_TEXT_MAX = 1024, STAT_UTIME = 14 /* of proc(5), counted from 1 */ };

/* ---- processes ---- */

/* The text of /proc/PID/file; false when it cannot be read. */
static bool proc_read(uint64_t pid, const char *file, char text[PROC_TEXT_MAX])
{
	char path[64];
	auto_fd fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%llu/%s", (unsigned long long)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, PROC_TEXT_MAX - 1);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

bool top_cpu_parse(const char *stat, uint64_t ticks_a_second, uint64_t *ret_ns)
{
	const char *at = strrchr(stat, ')'); /* the process's name may have anything in it */
	unsigned long long user, system;

	for (int field = 2; at && field < STAT_UTIME; field++)
		at = strchr(at + 1, ' ');
	if (!at || ticks_a_second == 0 || sscanf(at, "%llu %llu", &user, &system) != 2)
		return false;
	*ret_ns = (user + system) * (SECOND_NS / ticks_a_second);
	return true;
}

bool top_memory_parse(const char *statm, uint64_t page_bytes, bool is_device, uint64_t *ret_bytes)
{
	unsigned long long resident, shared;

	if (sscanf(statm, "%*u %llu %llu", &resident, &shared) != 2 || shared > resident)
		return false;
	*ret_bytes = (is_device ? resident - shared : resident) * page_bytes;
	return true;
}

static uint64_t pss_parse(const char *rollup)
{
	const char *line = strstr(rollup, "\nPss:");
	unsigned long long kib;

	return line && sscanf(line, "\nPss: %llu", &kib) == 1 ? kib << 10 : 0;
}

static void process_sample(const struct top *t, uint64_t pid, bool is_device,
			   struct top_process *ret)
{
	const uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK);
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	char text[PROC_TEXT_MAX];

	*ret = (struct top_process){0};
	if (pid == 0)
		return;
	if (!proc_read(pid, "stat", text) || !top_cpu_parse(text, ticks, &ret->cpu_ns))
		ret->cpu_ns = 0;
	if (!proc_read(pid, "statm", text) ||
	    !top_memory_parse(text, page, is_device, &ret->resident_bytes))
		ret->resident_bytes = 0;
	if (t->wants_pss && proc_read(pid, "smaps_rollup", text))
		ret->pss_bytes = pss_parse(text);
}

/* ---- VMs ---- */

static void vm_free(struct top_vm *v)
{
	free(v->now);
	free(v->before);
	free(v);
}

static struct top_vm *vm_find(const struct top *t, const char *word)
{
	for (unsigned i = 0; i < t->nvms; i++)
		if (strcmp(t->vms[i]->word, word) == 0)
			return t->vms[i];
	return NULL;
}

/* One that is not known yet is added; NULL when there is no room for it. */
static struct top_vm *vm_get(struct top *t, const char *word)
{
	struct top_vm *v = vm_find(t, word);

	if (v || t->nvms == TOP_VMS_MAX)
		return v;
	v = calloc(1, sizeof(*v));
	if (v) {
		v->now = calloc(1, sizeof(*v->now));
		v->before = calloc(1, sizeof(*v->before));
	}
	if (!v || !v->now || !v->before) {
		if (v)
			vm_free(v);
		return NULL;
	}
	snprintf(v->word, sizeof(v->word), "%s", word);
	t->vms[t->nvms++] = v;
	return v;
}

/* The sample before becomes the room for the next one. */
static void samples_swap(struct top_vm *v)
{
	struct top_sample *spare = v->before;

	v->before = v->now;
	v->now = spare;
}

static bool is_same_vm(const struct top_sample *now, const struct top_sample *before)
{
	return now->report.pid == before->report.pid &&
	       now->report.uptime_ms >= before->report.uptime_ms;
}

static int vm_ask(const struct top *t, struct top_vm *v, struct err *e)
{
	static struct client_reply reply;
	char path[TOP_PATH_MAX];
	struct top_sample *s;
	int r = 0;

	snprintf(path, sizeof(path), "%s", v->word);
	if (v->is_found)
		r = vm_name_find(v->word, path, sizeof(path), e);
	if (r == 0)
		r = client_ask_within(path, "counters\n", TOP_ANSWER_MS, &reply, e);
	if (r == 0 && !reply.is_ok)
		r = err_say(e, EPROTO, "%.80s", reply.error);
	if (r < 0)
		return r;
	samples_swap(v);
	s = v->now;
	if (report_read(reply.text, &s->report) < 0)
		return err_say(e, EPROTO, "its answer makes no sense");
	s->at_ns = clock_ns();
	process_sample(t, s->report.pid, false, &s->main);
	for (unsigned i = 0; i < s->report.ndevices; i++)
		process_sample(t, s->report.devices[i].pid, true, &s->devices[i]);
	return 0;
}

static void vm_sample(const struct top *t, struct top_vm *v)
{
	bool was_alive = v->is_alive;
	struct err e = {0};

	v->is_alive = vm_ask(t, v, &e) == 0;
	v->has_before = v->is_alive && was_alive && is_same_vm(v->now, v->before);
	v->error_code = v->is_alive ? 0 : e.code;
	report_text(v->error, sizeof(v->error), v->is_alive ? "" : e.text);
}

static void add_found(void *context, const char *name)
{
	struct top_vm *v = vm_get(context, name);

	if (v)
		v->is_found = true;
}

static bool has_ended(const struct top_vm *v)
{
	return v->is_found && (v->error_code == ECONNREFUSED || v->error_code == ENOENT);
}

static void remove_ended(struct top *t)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->nvms; i++) {
		if (has_ended(t->vms[i]))
			vm_free(t->vms[i]);
		else
			t->vms[n++] = t->vms[i];
	}
	t->nvms = n;
}

int top_sample(struct top *t, struct err *e)
{
	if (t->nwords == 0 && vm_names_each(add_found, t, e) < 0)
		return -e->code;
	for (unsigned i = 0; i < t->nwords; i++)
		if (!vm_get(t, t->words[i]))
			return err_set(e, ENOMEM, "cannot keep %u VMs", t->nwords);
	for (unsigned i = 0; i < t->nvms; i++)
		vm_sample(t, t->vms[i]);
	remove_ended(t);
	return 0;
}

void top_fini(struct top *t)
{
	for (unsigned i = 0; i < t->nvms; i++)
		vm_free(t->vms[i]);
	t->nvms = 0;
}
