/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * report.h - what a VM said of itself, taken apart
 *
 * The reply comes from the other end of a socket, and parts of it from device processes that are
 * presumed captured: texts are cut and cleaned of control characters, numbers are whatever they
 * are.
 */
#pragma once

#include "base/attr.h"
#include "vm/control.h"

#include <stddef.h>
#include <stdint.h>

enum {
	REPORT_FIELD_MAX = 64,
	REPORT_COUNTERS_MAX = 32, /* of a device, or reasons of exits */
	REPORT_NAME_MAX = 24,
};

struct report_counter {
	char name[REPORT_NAME_MAX];
	uint64_t value;
};

struct report_counters {
	unsigned n;
	struct report_counter list[REPORT_COUNTERS_MAX];
};

struct report_device {
	char name[REPORT_FIELD_MAX], type[REPORT_FIELD_MAX], state[REPORT_FIELD_MAX];
	char error[REPORT_FIELD_MAX];
	uint64_t pid; /* 0: not a process */
	uint64_t restarts;
	struct report_counters counters;
};

struct report {
	char state[REPORT_FIELD_MAX];
	uint64_t pid, uptime_ms, mem_bytes, target_bytes, actual_bytes;
	uint64_t exits, interrupts;     /* exits of all vCPUs */
	struct report_counters reasons; /* of them */
	unsigned nvcpus, ndevices;
	struct report_device devices[CONTROL_DEVICES_MAX];
};

/* 0, or -EINVAL when the text is not JSON; what came before is in *ret, which is set anew. */
int report_read(const char *text, struct report *ret) MUST_CHECK;

/* The value of that name, or 0. */
uint64_t report_value(const struct report_counters *c, const char *name);

/* "1:02:03" */
void report_uptime(uint64_t ms, char *buf, size_t room);

/* Text without control characters, cut to fit. */
void report_text(char *field, size_t room, const char *value);

/* 0 where the text is no number. */
uint64_t report_number(const char *value);
