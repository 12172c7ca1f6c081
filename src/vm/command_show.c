/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_show.c - replies of the control socket, for people
 *
 * What a device reports comes from a process that is presumed captured, and goes to a terminal:
 * nothing of it is printed but numbers and names cleaned of control characters.
 */
#include "vm/command_show.h"

#include "base/json.h"
#include "base/opt.h"
#include "vm/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_FIELD_MAX = 64 };

/* What the reply to status says, as text. */
struct shown_device {
	char name[STATUS_FIELD_MAX], type[STATUS_FIELD_MAX], state[STATUS_FIELD_MAX];
	char pid[STATUS_FIELD_MAX], restarts[STATUS_FIELD_MAX], error[STATUS_FIELD_MAX];
};

struct shown {
	uint64_t uptime_ms, mem_bytes;
	uint64_t target_bytes, actual_bytes;
	char state[STATUS_FIELD_MAX], pid[STATUS_FIELD_MAX];
	unsigned nvcpus, ndevices;
	struct shown_device devices[CONTROL_DEVICES_MAX];
};

static uint64_t number_of(const char *value)
{
	uint64_t n;

	return opt_number(value, &n) == 0 ? n : 0;
}

static unsigned long long mib(uint64_t bytes)
{
	return bytes >> 20;
}

static void keep(char *field, const char *value)
{
	snprintf(field, STATUS_FIELD_MAX, "%s", value);
	for (; *field; field++)
		if ((unsigned char)*field < 0x20 || *field == 0x7f)
			*field = '?';
}

/* path is "devices.3.name". */
static void keep_device(struct shown *s, const char *path, const char *value)
{
	char *end;
	unsigned long n = strtoul(path + strlen("devices."), &end, 10);
	struct shown_device *d;

	if (n >= CONTROL_DEVICES_MAX)
		return;
	if (n >= s->ndevices)
		s->ndevices = (unsigned)n + 1;
	d = &s->devices[n];
	if (strcmp(end, ".name") == 0)
		keep(d->name, value);
	else if (strcmp(end, ".type") == 0)
		keep(d->type, value);
	else if (strcmp(end, ".state") == 0)
		keep(d->state, value);
	else if (strcmp(end, ".pid") == 0)
		keep(d->pid, value);
	else if (strcmp(end, ".restarts") == 0)
		keep(d->restarts, value);
	else if (strcmp(end, ".error") == 0)
		keep(d->error, value);
	else if (strcmp(end, ".reports.actual_bytes") == 0)
		s->actual_bytes = number_of(value);
}

static void take_status(void *context, const char *path, const char *value)
{
	struct shown *s = context;

	if (strcmp(path, "state") == 0)
		keep(s->state, value);
	else if (strcmp(path, "pid") == 0)
		keep(s->pid, value);
	else if (strcmp(path, "uptime_ms") == 0)
		s->uptime_ms = number_of(value);
	else if (strcmp(path, "mem_bytes") == 0)
		s->mem_bytes = number_of(value);
	else if (strcmp(path, "balloon.target_bytes") == 0)
		s->target_bytes = number_of(value);
	else if (strncmp(path, "vcpus.", 6) == 0 && strstr(path, ".exits"))
		s->nvcpus++;
	else if (strncmp(path, "devices.", 8) == 0)
		keep_device(s, path, value);
}

void show_status(const char *socket, const char *reply)
{
	static struct shown s;
	uint64_t seconds;

	memset(&s, 0, sizeof(s));
	if (json_read(reply, take_status, &s) < 0)
		return;
	seconds = s.uptime_ms / 1000;
	printf("%s: %s, process %s, up %llu:%02u:%02u, %llu MiB, %u vCPU%s\n", socket, s.state,
	       s.pid, (unsigned long long)(seconds / 3600), (unsigned)(seconds / 60 % 60),
	       (unsigned)(seconds % 60), (unsigned long long)(s.mem_bytes >> 20), s.nvcpus,
	       s.nvcpus == 1 ? "" : "s");
	if (s.target_bytes + s.actual_bytes > 0)
		printf("  balloon: %llu MiB of %llu\n", mib(s.actual_bytes), mib(s.target_bytes));
	for (unsigned i = 0; i < s.ndevices; i++) {
		const struct shown_device *d = &s.devices[i];

		printf("  %-10s %-8s %-10s%s%s", d->name, d->type, d->state,
		       d->pid[0] ? " process " : "", d->pid);
		if (strcmp(d->restarts, "0") != 0)
			printf(", restarted %s times", d->restarts);
		if (d->error[0])
			printf(", %s", d->error);
		putchar('\n');
	}
}

struct shown_balloon {
	uint64_t target_bytes, limit_bytes;
};

static void take_balloon(void *context, const char *path, const char *value)
{
	struct shown_balloon *b = context;

	if (strcmp(path, "target_bytes") == 0)
		b->target_bytes = number_of(value);
	else if (strcmp(path, "limit_bytes") == 0)
		b->limit_bytes = number_of(value);
}

void show_balloon(const char *socket, const char *reply)
{
	struct shown_balloon b = {0};

	if (json_read(reply, take_balloon, &b) == 0)
		printf("%s: the balloon is to hold %llu MiB, of at most %llu\n", socket,
		       mib(b.target_bytes), mib(b.limit_bytes));
}

/* "stats.free_bytes" as "free: 12 MiB", others as they are. */
static void print_stat(void *context, const char *path, const char *value)
{
	static const char prefix[] = "stats.", suffix[] = "_bytes";
	char name[STATUS_FIELD_MAX];
	size_t n;

	(void)context;
	if (strncmp(path, prefix, strlen(prefix)) != 0)
		return;
	keep(name, path + strlen(prefix));
	n = strlen(name);
	if (n > strlen(suffix) && strcmp(name + n - strlen(suffix), suffix) == 0)
		printf("  %-20.*s %llu MiB\n", (int)(n - strlen(suffix)), name,
		       mib(number_of(value)));
	else
		printf("  %-20s %llu\n", name, (unsigned long long)number_of(value));
}

void show_balloon_stats(const char *socket, const char *reply)
{
	printf("%s:\n", socket);
	if (json_read(reply, print_stat, NULL) < 0)
		printf("  (the reply is not JSON)\n");
}
