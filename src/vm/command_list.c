/* SPDX-License-Identifier: BSD-3-Clause */
/* command_list.c - crosvm list: the running VMs of this user that have a name */
#include "vm/command.h"

#include "vm/client.h"
#include "vm/exit_codes.h"
#include "vm/names.h"

#include "base/json.h"
#include "base/log.h"
#include "base/opt.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELD_MAX = 24 };

struct row {
	char state[FIELD_MAX], pid[FIELD_MAX];
	uint64_t uptime_ms, mem_bytes;
	unsigned nvcpus;
};

static void keep(char *field, const char *value)
{
	snprintf(field, FIELD_MAX, "%s", value);
	for (; *field; field++)
		if ((unsigned char)*field < 0x20 || *field == 0x7f)
			*field = '?';
}

static uint64_t number_of(const char *value)
{
	uint64_t n;

	return opt_number(value, &n) == 0 ? n : 0;
}

static void take(void *context, const char *path, const char *value)
{
	struct row *row = context;

	if (strcmp(path, "state") == 0)
		keep(row->state, value);
	else if (strcmp(path, "pid") == 0)
		keep(row->pid, value);
	else if (strcmp(path, "uptime_ms") == 0)
		row->uptime_ms = number_of(value);
	else if (strcmp(path, "mem_bytes") == 0)
		row->mem_bytes = number_of(value);
	else if (strncmp(path, "vcpus.", 6) == 0 && strstr(path, ".exits"))
		row->nvcpus++;
}

static void show(const char *name, const char *reply)
{
	struct row row = {.state = "?", .pid = "?"};
	uint64_t seconds;

	if (json_read(reply, take, &row) < 0)
		return;
	seconds = row.uptime_ms / 1000;
	printf("%-24s %-10s %8s %6llu:%02u:%02u %6llu MiB %5u\n", name, row.state, row.pid,
	       (unsigned long long)(seconds / 3600), (unsigned)(seconds / 60 % 60),
	       (unsigned)(seconds % 60), (unsigned long long)(row.mem_bytes >> 20), row.nvcpus);
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
