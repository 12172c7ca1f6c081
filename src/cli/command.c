/* SPDX-License-Identifier: BSD-3-Clause */
/* command.c - subcommands that only print */
#include "cli/command.h"

#include "base/exit_codes.h"

#include "base/json.h"
#include "cli/version.h"
#include "devices/device.h"

#include <stdio.h>

enum { REPLY_MAX = 128 * 1024 };

static void put_row(const struct opt *row, struct json *j)
{
	char accepts[256];

	opt_describe(row, accepts, sizeof(accepts));
	json_open(j, NULL, '{');
	json_text(j, "name", row->name);
	json_text(j, "accepts", accepts);
	json_bool(j, "repeatable", row->many);
	if (row->choices) {
		json_open(j, "choices", '[');
		for (const char *const *choice = row->choices; *choice; choice++)
			json_text(j, NULL, *choice);
		json_close(j, ']');
	}
	if (row->help)
		json_text(j, "summary", row->help);
	json_close(j, '}');
}

static void put_options(const struct opt *table, struct json *j)
{
	json_open(j, "options", '[');
	for (const struct opt *row = table; row && row->kind != OPT_KIND_END; row++)
		put_row(row, j);
	json_close(j, ']');
}

static void put_commands(const struct device_command *table, struct json *j)
{
	json_open(j, "commands", '[');
	for (const struct device_command *c = table; c && c->name; c++) {
		json_open(j, NULL, '{');
		json_text(j, "name", c->name);
		json_text(j, "summary", c->summary);
		put_options(c->opts, j);
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void print_json(void)
{
	static char text[REPLY_MAX];
	struct json j;

	json_init(&j, text, sizeof(text));
	json_open(&j, NULL, '[');
	for (const struct device_type *const *t = device_types; *t; t++) {
		json_open(&j, NULL, '{');
		json_text(&j, "name", (*t)->name);
		json_text(&j, "summary", (*t)->summary);
		json_number(&j, "virtio_id", (*t)->virtio_id);
		json_number(&j, "queues", (*t)->nqueues);
		put_options((*t)->opts, &j);
		put_commands((*t)->commands, &j);
		json_close(&j, '}');
	}
	json_close(&j, ']');
	puts(text);
}

int command_devices(int argc, char **argv)
{
	bool as_json = false;
	int code = command_read_json("devices", argc, argv, &as_json);

	if (code != COMMAND_GOES_ON)
		return code;
	if (as_json)
		print_json();
	for (const struct device_type *const *t = device_types; *t && !as_json; t++)
		printf("%-12s %s\n", (*t)->name, (*t)->summary);
	return EXIT_CODE_OK;
}

int command_version(int argc, char **argv)
{
	bool as_json = false;
	int code = command_read_json("version", argc, argv, &as_json);

	if (code != COMMAND_GOES_ON)
		return code;
	puts(as_json ? "{\"version\":\"" CROSVM_VERSION "\"}" : "crosvm " CROSVM_VERSION);
	return EXIT_CODE_OK;
}
