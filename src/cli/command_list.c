/* SPDX-License-Identifier: BSD-3-Clause */
/* command_list.c - crosvm list: the running VMs of this user that have a name */
#include "cli/command.h"

#include "base/exit_codes.h"
#include "cli/client.h"
#include "cli/report.h"
#include "config/names.h"

#include "base/log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

static void show(const char *name, const char *reply)
{
	static struct report r;
	char up[REPORT_FIELD_MAX];

	if (report_read(reply, &r) < 0)
		return;
	report_uptime(r.uptime_ms, up, sizeof(up));
	printf("%-24s %-10s %8llu %12s %6llu MiB %5u\n", name, r.state, (unsigned long long)r.pid,
	       up, (unsigned long long)(r.mem_bytes >> 20), r.nvcpus);
}

struct listing {
	bool as_json;
	unsigned count; /* VMs that answered */
	int code;
};

static void list_one(void *context, const char *name)
{
	static struct client_reply reply;
	struct listing *l = context;
	struct err e = {0};
	char path[128];

	if (vm_name_find(name, path, sizeof(path), &e) < 0)
		return; /* too long: nobody could listen there */
	if (client_ask(path, "status\n", &reply, &e) < 0) {
		if (e.code == ECONNREFUSED || e.code == ENOENT)
			return; /* it has ended */
		log_error("list: %s: %s", path, e.text);
		l->code = EXIT_CODE_ERROR;
		return;
	}
	if (l->as_json)
		printf("%s{\"name\":\"%s\",\"status\":%s}", l->count ? "," : "", name, reply.text);
	else if (l->count == 0)
		printf("%-24s %-10s %8s %12s %10s %5s\n", "NAME", "STATE", "PROCESS", "UP",
		       "MEMORY", "VCPUS");
	if (!l->as_json)
		show(name, reply.text);
	l->count++;
}

static int list(bool as_json)
{
	struct listing l = {.as_json = as_json, .code = EXIT_CODE_OK};
	struct err e = {0};

	fputs(as_json ? "[" : "", stdout);
	if (vm_names_each(list_one, &l, &e) < 0) {
		log_error("list: %s", e.text);
		l.code = EXIT_CODE_ERROR;
	}
	if (as_json)
		puts("]");
	else if (l.count == 0 && l.code == EXIT_CODE_OK)
		puts("no VM with a name is running; crosvm run --name NAME gives it one");
	return l.code;
}

int command_list(int argc, char **argv)
{
	bool as_json = false;
	int code = command_read_json("list", argc, argv, &as_json);

	return code == COMMAND_GOES_ON ? list(as_json) : code;
}
