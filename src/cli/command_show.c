/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_show.c - replies of the control socket, for people
 *
 * What a device reports comes from a process that is presumed captured, and goes to a terminal:
 * nothing of it is printed but numbers and names cleaned of control characters.
 */
#include "cli/command_show.h"

#include "base/json.h"
#include "cli/report.h"

#include <stdio.h>
#include <string.h>

static unsigned long long mib(uint64_t bytes)
{
	return bytes >> 20;
}

static void show_device(const struct report_device *d)
{
	printf("  %-10s %-8s %-10s", d->name, d->type, d->state);
	if (d->pid)
		printf(" process %llu", (unsigned long long)d->pid);
	if (d->restarts)
		printf(", restarted %llu times", (unsigned long long)d->restarts);
	if (d->error[0])
		printf(", %s", d->error);
	putchar('\n');
}

void show_status(const char *socket, const char *reply)
{
	static struct report r;
	char up[REPORT_FIELD_MAX];

	if (report_read(reply, &r) < 0)
		return;
	report_uptime(r.uptime_ms, up, sizeof(up));
	printf("%s: %s, process %llu, up %s, %llu MiB, %u vCPU%s\n", socket, r.state,
	       (unsigned long long)r.pid, up, mib(r.mem_bytes), r.nvcpus, r.nvcpus == 1 ? "" : "s");
	if (r.target_bytes > 0 || r.actual_bytes > 0)
		printf("  balloon: %llu MiB of %llu\n", mib(r.actual_bytes), mib(r.target_bytes));
	for (unsigned i = 0; i < r.ndevices; i++)
		show_device(&r.devices[i]);
}

struct shown_balloon {
	uint64_t target_bytes, limit_bytes;
};

static void take_balloon(void *context, const char *path, const char *value)
{
	struct shown_balloon *b = context;

	if (strcmp(path, "target_bytes") == 0)
		b->target_bytes = report_number(value);
	else if (strcmp(path, "limit_bytes") == 0)
		b->limit_bytes = report_number(value);
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
	char name[REPORT_FIELD_MAX];
	size_t n;

	(void)context;
	if (strncmp(path, prefix, strlen(prefix)) != 0)
		return;
	report_text(name, sizeof(name), path + strlen(prefix));
	n = strlen(name);
	if (n > strlen(suffix) && strcmp(name + n - strlen(suffix), suffix) == 0)
		printf("  %-20.*s %llu MiB\n", (int)(n - strlen(suffix)), name,
		       mib(report_number(value)));
	else
		printf("  %-20s %llu\n", name, (unsigned long long)report_number(value));
}

void show_balloon_stats(const char *socket, const char *reply)
{
	printf("%s:\n", socket);
	if (json_read(reply, print_stat, NULL) < 0)
		printf("  (the reply is not JSON)\n");
}
