/* SPDX-License-Identifier: BSD-3-Clause */
/* command_list.c - crosvm list: the running VMs of this user that have a name */
#include "vm/command.h"

#include "vm/client.h"
#include "vm/exit_codes.h"
#include "vm/names.h"
#include "vm/report.h"

#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* One socket's name without its ending; *count counts the VMs that answer. */
static int list_one(const char *name, bool as_json, unsigned *count)
{
	static struct client_reply reply;
	struct err e = {0};
	char path[128];

	if (vm_name_path(name, path, sizeof(path), &e) < 0)
		return 0; /* not one of ours */
	if (client_ask(path, "status\n", false, &reply, &e) < 0) {
		if (e.code == ECONNREFUSED || e.code == ENOENT)
			return 0; /* it has ended */
		log_error("list: %s: %s", path, e.text);
		return -e.code;
	}
	if (as_json)
		printf("%s{\"name\":\"%s\",\"status\":%s}", *count ? "," : "", name, reply.text);
	else if (*count == 0)
		printf("%-24s %-10s %8s %12s %10s %5s\n", "NAME", "STATE", "PROCESS", "UP",
		       "MEMORY", "VCPUS");
	if (!as_json)
		show(name, reply.text);
	++*count;
	return 0;
}

static int is_socket(const struct dirent *entry)
{
	const char *end = strrchr(entry->d_name, '.');

	return end && strcmp(end, ".sock") == 0;
}

static int list(bool as_json)
{
	char dir[128];
	struct dirent **entries = NULL;
	unsigned count = 0;
	struct err e = {0};
	int code = EXIT_CODE_OK, n = 0;

	if (vm_name_dir(dir, sizeof(dir), &e) == 0)
		n = scandir(dir, &entries, is_socket, alphasort);
	if (n < 0 && errno != ENOENT)
		err_set(&e, errno, "%s", dir);
	if (e.code) {
		log_error("list: %s", e.text);
		return EXIT_CODE_ERROR;
	}
	fputs(as_json ? "[" : "", stdout);
	for (int i = 0; i < n; i++) {
		*strrchr(entries[i]->d_name, '.') = '\0';
		if (list_one(entries[i]->d_name, as_json, &count) < 0)
			code = EXIT_CODE_ERROR;
		free(entries[i]);
	}
	free(entries);
	if (as_json)
		puts("]");
	else if (count == 0 && code == EXIT_CODE_OK)
		puts("no VM with a name is running; crosvm run --name NAME gives it one");
	return code;
}

int command_list(int argc, char **argv)
{
	bool as_json = false;
	int code = command_read_json("list", argc, argv, &as_json);

	return code == COMMAND_GOES_ON ? list(as_json) : code;
}
