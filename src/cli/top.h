/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * top.h - crosvm top: what running VMs do, from one moment to the next
 *
 *	top_sample.c	asks VMs, and the host about their processes
 *	top_rate.c	differences between two samples
 *	top_show.c	tables for people
 *	top_json.c	objects for scripts
 *	top_screen.c	the terminal
 *
 * Nothing that a VM says is trusted: its texts were cleaned (cli/report.h), its counters may be
 * absurd, or go backwards when it is another VM than a moment ago.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "cli/report.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
	TOP_VMS_MAX = 512,
	TOP_PATH_MAX = 128,
	TOP_ANSWER_MS = 500,
	TOP_WIDTH_MAX = 512,
};

/* What the host says of a process; 0 where it says nothing. */
struct top_process {
	uint64_t cpu_ns;         /* so far */
	uint64_t resident_bytes; /* of a device: without what others have too */
	uint64_t pss_bytes;      /* its share of all; only if asked for, and permitted */
};

struct top_sample {
	struct report report;
	uint64_t at_ns;
	struct top_process main, devices[CONTROL_DEVICES_MAX];
};

struct top_vm {
	char word[TOP_PATH_MAX];          /* name or path, as given */
	bool is_found;                    /* in the directory of names: it may end unnoticed */
	bool is_alive;                    /* it answered last time */
	char error[REPORT_FIELD_MAX * 2]; /* why not */
	int error_code;
	struct top_sample *now, *before;
	bool has_before;
};

struct top {
	char *const *words; /* VMs that were named; none: all that can be found */
	unsigned nwords;
	bool wants_pss;
	struct top_vm *vms[TOP_VMS_MAX];
	unsigned nvms;
};

/* ---- top_sample.c ---- */

/* Asks every VM once. 0; -errno with *e set when nothing can be asked at all. */
int top_sample(struct top *t, struct err *e) MUST_CHECK;
void top_fini(struct top *t);

/* Out of the text of /proc/PID/stat; false if it is none. */
bool top_cpu_parse(const char *stat, uint64_t ticks_a_second, uint64_t *ret_ns) MUST_CHECK;

/* Out of the text of /proc/PID/statm. */
bool top_memory_parse(const char *statm, uint64_t page_bytes, bool is_device, uint64_t *ret_bytes)
	MUST_CHECK;

/* ---- top_rate.c ---- */

/* Nanoseconds between the samples; of a first sample since the VM began. At least one. */
uint64_t top_interval_ns(const struct top_vm *v);

/* A second, of a counter that was before; 0 when it went backwards. */
double top_rate(const struct top_vm *v, uint64_t now, uint64_t before);

double top_counter_rate(const struct top_vm *v, unsigned device, const char *name);

/* Of all devices of a type. */
double top_type_rate(const struct top_vm *v, const char *type, const char *name);
double top_exit_rate(const struct top_vm *v, const char *reason); /* NULL: all */

/* Percent of one processor: of one process, or of all. */
double top_cpu(const struct top_vm *v, unsigned device);
double top_cpu_main(const struct top_vm *v);
double top_cpu_all(const struct top_vm *v);
uint64_t top_resident_all(const struct top_vm *v);

/* What a counter of that name is; of one that is not known, by its name. */
enum counter_kind top_counter_kind(const char *type, const char *name);

/* ---- top_show.c ---- */

/* Lines of at most width columns, at most height of them. */
struct top_text {
	char *buf;
	size_t room, used;
	unsigned width, height, lines;
	const char *line_end;
};

/* All VMs, those that need most first; or the first one in detail. */
void top_show(const struct top *t, bool in_detail, struct top_text *out);

/* At most six characters: "0", "1.5", "12K", "1023M"; a K is 1024 of bytes, else 1000. */
void top_amount(double value, bool is_bytes, char *buf, size_t room);

/* ---- top_json.c ---- */

/* One object on one line. */
void top_json(const struct top *t, FILE *out);

/* ---- top_screen.c ---- */

/* Takes the terminal: keys come one by one, the screen is ours, and given back at every end. */
int top_screen_take(struct err *e) MUST_CHECK;
void top_screen_release(void);
void top_screen_size(unsigned *ret_width, unsigned *ret_height);
