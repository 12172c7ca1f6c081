/* SPDX-License-Identifier: BSD-3-Clause */
/* recorder.c - reads the flight recorder: all rings of a VM, merged by time */
#include "vm/recorder.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/num.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEAD_BYTES = 4096 };
static_assert(sizeof(struct recorder_head) <= HEAD_BYTES, "rings begin at a page");

#define SECOND_NS UINT64_C(1000000000)

static struct recorder_source *source_add(struct recorder *r, const char *name,
					  const struct trace_ring *ring)
{
	struct recorder_source *s = &r->sources[r->nsources++];

	assert(r->nsources <= RECORDER_SOURCES);
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->ring = ring;
	return s;
}

int recorder_init(struct recorder *r, unsigned ncpus, struct err *e)
{
	const size_t bytes = HEAD_BYTES + (1 + (size_t)ncpus) * sizeof(struct trace_ring);
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char name[LOG_NAME_MAX];

	if (memory == MAP_FAILED)
		return err_set(e, errno, "cannot keep what %u vCPUs do last", ncpus);
	r->memory = memory;
	r->bytes = bytes;
	r->head = memory;
	r->rings = (struct trace_ring *)(void *)((char *)memory + HEAD_BYTES);
	r->head->start_ticks = trace_now();
	r->head->start_ns = clock_ns();
	source_add(r, "main", &r->rings[0]);
	for (unsigned i = 0; i < ncpus; i++) {
		snprintf(name, sizeof(name), "vcpu%u", i);
		source_add(r, name, &r->rings[1 + i]);
	}
	r->first_device = r->nsources;
	trace_begin(&r->rings[0]);
	return 0;
}

void recorder_fini(struct recorder *r)
{
	if (!r || !r->memory)
		return;
	trace_begin(NULL);
	munmap(r->memory, r->bytes);
	r->memory = NULL;
}

struct trace_ring *recorder_cpu_ring(struct recorder *r, unsigned cpu)
{
	return r->memory ? &r->rings[1 + cpu] : NULL;
}

void recorder_device_add(struct recorder *r, const char *name, const struct trace_ring *ring)
{
	if (r->memory)
		source_add(r, name, ring)->is_device = true;
}

void recorder_state_set(struct recorder *r, enum recorder_state state, int exit_code,
			const char *why)
{
	if (!r->memory)
		return;
	r->head->exit_code = exit_code;
	snprintf(r->head->why, sizeof(r->head->why), "%s", why);
	__atomic_store_n(&r->head->state, state, __ATOMIC_RELEASE);
}

/* ---- reading ---- */

/* F2: false, if it is not to be had. */
static bool record_copy(const struct trace_ring *ring, uint64_t n, struct trace_record *ret)
{
	const struct trace_record *from = &ring->records[n % TRACE_RECORDS];

	ret->time = __atomic_load_n(&from->time, __ATOMIC_RELAXED);
	ret->kind = __atomic_load_n(&from->kind, __ATOMIC_RELAXED);
	ret->what = __atomic_load_n(&from->what, __ATOMIC_RELAXED);
	ret->n = __atomic_load_n(&from->n, __ATOMIC_RELAXED);
	ret->a = __atomic_load_n(&from->a, __ATOMIC_RELAXED);
	ret->b = __atomic_load_n(&from->b, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&ring->next, __ATOMIC_RELAXED) - n < TRACE_RECORDS;
}

static void source_advance(struct recorder *r, struct recorder_source *s)
{
	s->has_next = false;
	while (s->at != s->end && !s->has_next) {
		if (!record_copy(s->ring, s->at++, &s->next))
			continue;
		s->has_next = s->next.time >= r->head->start_ticks && s->next.time <= r->now_ticks;
		r->left_out += !s->has_next;
	}
}

static void walk_rewind(struct recorder *r)
{
	r->left_out = 0;
	for (unsigned i = 0; i < r->nsources; i++) {
		struct recorder_source *s = &r->sources[i];

		s->at = s->end < TRACE_RECORDS ? 0 : s->end - (TRACE_RECORDS - 1);
		source_advance(r, s);
	}
}

/* What is written from now on is not of this walk. */
static void walk_begin(struct recorder *r)
{
	for (unsigned i = 0; i < r->nsources; i++) {
		struct recorder_source *s = &r->sources[i];

		s->end = s->ring ? __atomic_load_n(&s->ring->next, __ATOMIC_ACQUIRE) : 0;
	}
	r->now_ns = clock_ns();
	r->now_ticks = trace_now();
	walk_rewind(r);
}

/* The source whose next record is the oldest; NULL: there is none left. */
static struct recorder_source *oldest(struct recorder *r)
{
	struct recorder_source *best = NULL;

	for (unsigned i = 0; i < r->nsources; i++) {
		struct recorder_source *s = &r->sources[i];

		if (s->has_next && (!best || s->next.time < best->next.time))
			best = s;
	}
	return best;
}

void recorder_walk(struct recorder *r, uint64_t last_max)
{
	struct recorder_source *s;
	uint64_t count = 0;

	walk_begin(r);
	if (last_max == UINT64_MAX)
		return;
	while ((s = oldest(r))) {
		source_advance(r, s);
		count++;
	}
	walk_rewind(r);
	for (; count > last_max && (s = oldest(r)); count--)
		source_advance(r, s);
}

/* Both clocks were read at the beginning and now; what lies between is on the line. */
static uint64_t time_of(const struct recorder *r, uint64_t ticks)
{
	uint64_t all_ticks = r->now_ticks - r->head->start_ticks;
	uint64_t all_ns = r->now_ns - r->head->start_ns;

	if (all_ticks == 0)
		return 0;
	return (uint64_t)((unsigned __int128)(ticks - r->head->start_ticks) * all_ns / all_ticks);
}

bool recorder_next(struct recorder *r, struct recorder_event *ret)
{
	struct recorder_source *s = oldest(r);

	if (!s)
		return false;
	ret->time_ns = time_of(r, s->next.time);
	ret->source = s->name;
	recorder_text(r, &s->next, s->is_device, ret->text);
	source_advance(r, s);
	return true;
}

/* ---- telling ---- */

void recorder_reply(struct recorder *r, unsigned last_max, struct json *reply)
{
	struct recorder_event event;

	json_open(reply, "events", '[');
	if (r->memory)
		recorder_walk(r, last_max);
	while (r->memory && recorder_next(r, &event)) {
		json_open(reply, NULL, '{');
		json_number(reply, "time_ns", event.time_ns);
		json_text(reply, "source", event.source);
		json_text(reply, "event", event.text);
		json_close(reply, '}');
	}
	json_close(reply, ']');
	json_number(reply, "left_out", r->left_out);
}

/* Lines for a file, gathered. */
struct out {
	int fd, error;
	size_t used;
	char bytes[2048];
};

static void out_flush(struct out *o)
{
	if (o->error == 0)
		o->error = fd_write_all(o->fd, o->bytes, o->used);
	o->used = 0;
}

static PRINTF(2, 3) void out_line(struct out *o, const char *format, ...)
{
	va_list args;
	int n;

	if (sizeof(o->bytes) - o->used < RECORDER_TEXT_MAX + RECORDER_WHY_MAX + 64)
		out_flush(o);
	va_start(args, format);
	n = vsnprintf(o->bytes + o->used, sizeof(o->bytes) - o->used, format, args);
	va_end(args);
	o->used += min_size(n > 0 ? (size_t)n : 0, sizeof(o->bytes) - o->used - 1);
}

/* Main, which may have been captured, wrote why: it need not end, nor be fit for a terminal. */
static void write_end(const struct recorder *r, struct out *o)
{
	const struct recorder_head *head = r->head;
	char why[RECORDER_WHY_MAX];

	log_clean(why, sizeof(why), head->why, strnlen(head->why, sizeof(head->why)));
	out_line(o, "exit code %d: %s\n", head->exit_code, why);
}

int recorder_write(struct recorder *r, int fd)
{
	struct out o = {.fd = fd};
	struct recorder_event event;

	if (__atomic_load_n(&r->head->state, __ATOMIC_ACQUIRE) == RECORDER_RUNS)
		out_line(&o, "the main process died\n");
	else
		write_end(r, &o);
	recorder_walk(r, UINT64_MAX);
	while (recorder_next(r, &event))
		out_line(&o, "%5llu.%06u %-10s %s\n",
			 (unsigned long long)(event.time_ns / SECOND_NS),
			 (unsigned)(event.time_ns % SECOND_NS / 1000), event.source, event.text);
	if (r->left_out > 0)
		out_line(&o, "%llu records of impossible times are left out\n",
			 (unsigned long long)r->left_out);
	out_flush(&o);
	return o.error;
}
