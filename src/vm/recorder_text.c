/* SPDX-License-Identifier: BSD-3-Clause */
/* recorder_text.c - a record of the flight recorder, in words */
#include "vm/recorder.h"

#include "virtio/vhost_user.h"

#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Text of a fixed room that is filled piece by piece. */
struct text {
	char *at;
	size_t room;
};

static PRINTF(2, 3) void add(struct text *t, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(t->at, t->room, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= t->room)
		n = (int)t->room - 1;
	t->at += n;
	t->room -= (size_t)n;
}

static void add_access(struct text *t, const struct trace_record *record, const char *in,
		       const char *out)
{
	unsigned size = record->n & 0xff, count = record->n >> 16;
	bool writes = record->n & TRACE_ACCESS_WRITES;
	uint64_t mask = size < 8 ? (UINT64_C(1) << 8 * size) - 1 : UINT64_MAX;

	add(t, "exit %s 0x%llx", writes ? out : in, (unsigned long long)record->a);
	if (record->n & TRACE_ACCESS_HAS_VALUE)
		add(t, " = 0x%0*llx", (int)(size <= 8 ? 2 * size : 16),
		    (unsigned long long)(record->b & mask));
	else
		add(t, ", %u bytes", size);
	if (count > 1)
		add(t, " and %u more", count - 1);
}

static void text_exit(struct text *t, const struct recorder *r, const struct trace_record *record)
{
	(void)r;
	switch (record->what) {
	case KVM_EXIT_IO:
		add_access(t, record, "port read", "port write");
		return;
	case KVM_EXIT_MMIO:
		add_access(t, record, "mmio read", "mmio write");
		return;
	case KVM_EXIT_HLT:
		add(t, "exit halt");
		return;
	case KVM_EXIT_INTR:
		add(t, "exit interrupted");
		return;
	case KVM_EXIT_SHUTDOWN:
		add(t, "exit shutdown: triple fault");
		return;
	case KVM_EXIT_SYSTEM_EVENT:
		add(t, "exit system event %llu", (unsigned long long)record->a);
		return;
	case KVM_EXIT_INTERNAL_ERROR:
		add(t, "exit internal error %llu", (unsigned long long)record->a);
		return;
	case KVM_EXIT_FAIL_ENTRY:
		add(t, "exit entry failed 0x%llx", (unsigned long long)record->a);
		return;
	default:
		add(t, "exit %u", record->what);
	}
}

static void text_line(struct text *t, const struct recorder *r, const struct trace_record *record)
{
	(void)r;
	add(t, "interrupt line %u %s", record->n, record->a ? "raised" : "lowered");
}

static void text_message(struct text *t, const struct recorder *r,
			 const struct trace_record *record)
{
	(void)r;
	add(t, "interrupt message 0x%llx = 0x%llx", (unsigned long long)record->a,
	    (unsigned long long)record->b);
}

static void text_command(struct text *t, const struct recorder *r,
			 const struct trace_record *record)
{
	char name[17] = "";

	(void)r;
	memcpy(name, &record->a, 8);
	memcpy(name + 8, &record->b, 8);
	for (char *p = name; *p; p++)
		if (!(*p >= 'a' && *p <= 'z') && *p != '-')
			*p = '?';
	add(t, "command %s", name);
}

static void text_vm(struct text *t, const struct recorder *r, const struct trace_record *record)
{
	(void)r;
	switch (record->what) {
	case TRACE_VM_RUNS:
		add(t, "the guest runs");
		return;
	case TRACE_VM_SUSPENDED:
		add(t, "suspended");
		return;
	case TRACE_VM_RESUMED:
		add(t, "resumed");
		return;
	default:
		add(t, "ends with exit code %lld", (long long)record->a);
	}
}

static void text_device(struct text *t, const struct recorder *r,
			const struct trace_record *record)
{
	unsigned index = r->first_device + record->n;

	add(t, "%s ", record->n < r->nsources && index < r->nsources ? r->sources[index].name
								     : "a device");
	switch (record->what) {
	case TRACE_DEVICE_LOST:
		add(t, "hung up");
		return;
	case TRACE_DEVICE_EXITED:
		add(t, "exited with code %lld", (long long)record->a);
		return;
	case TRACE_DEVICE_KILLED:
		add(t, "killed by signal %lld", (long long)record->a);
		return;
	default:
		add(t, "started again");
	}
}

static void text_kick(struct text *t, const struct recorder *r, const struct trace_record *record)
{
	(void)r;
	add(t, "kick queue %u", record->n);
}

static void text_take(struct text *t, const struct recorder *r, const struct trace_record *record)
{
	(void)r;
	add(t, "request of queue %u: %llu bytes out, %llu in", record->n,
	    (unsigned long long)record->a, (unsigned long long)record->b);
}

static void text_call(struct text *t, const struct recorder *r, const struct trace_record *record)
{
	(void)r;
	add(t, "interrupt for queue %u: %llu done", record->n, (unsigned long long)record->a);
}

static void text_broken(struct text *t, const struct recorder *r,
			const struct trace_record *record)
{
	(void)r;
	add(t, "queue %u broken", record->n);
}

static void text_request(struct text *t, const struct recorder *r,
			 const struct trace_record *record)
{
	(void)r;
	add(t, "front end: %s 0x%llx", vu_request_name(record->what),
	    (unsigned long long)record->a);
}

static void text_start(struct text *t, const struct recorder *r, const struct trace_record *record)
{
	(void)r;
	add(t, "starts, features 0x%llx", (unsigned long long)record->a);
}

static void text_stop(struct text *t, const struct recorder *r, const struct trace_record *record)
{
	(void)r;
	(void)record;
	add(t, "stops");
}

static void (*const texts[])(struct text *t, const struct recorder *r,
			     const struct trace_record *record) = {
	[TRACE_EXIT] = text_exit,	[TRACE_LINE] = text_line,
	[TRACE_MESSAGE] = text_message, [TRACE_COMMAND] = text_command,
	[TRACE_VM] = text_vm,		[TRACE_DEVICE] = text_device,
	[TRACE_KICK] = text_kick,	[TRACE_TAKE] = text_take,
	[TRACE_CALL] = text_call,	[TRACE_BROKEN] = text_broken,
	[TRACE_REQUEST] = text_request, [TRACE_START] = text_start,
	[TRACE_STOP] = text_stop,
};
static_assert(ARRAY_LEN(texts) == TRACE_KINDS, "every kind has words");

void recorder_text(const struct recorder *r, const struct trace_record *record, bool is_device,
		   char text[RECORDER_TEXT_MAX])
{
	struct text t = {.at = text, .room = RECORDER_TEXT_MAX};
	unsigned kind = record->kind;
	bool belongs = kind != TRACE_NONE && kind < TRACE_KINDS &&
		       is_device == (kind >= TRACE_OF_DEVICES);

	if (belongs)
		texts[kind](&t, r, record);
	else
		add(&t, "unknown record %u", kind);
}
