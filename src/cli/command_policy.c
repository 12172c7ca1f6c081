/* SPDX-License-Identifier: BSD-3-Clause */
/* command_policy.c - crosvm policy: what a device may call, in minijail's language */
#include "cli/command.h"

#include "base/args.h"
#include "base/exit_codes.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "devices/device.h"
#include "devices/serve.h"
#include "jail/policy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

const struct arg command_policy_args[] = {
	{.name = "arch", .value = "x86_64|aarch64", .help = "Architecture (default: this host's)"},
	{.name = "json", .help = "Print JSON"},
	{.name = "help", .letter = 'h', .help = "Print this text"},
	{.name = NULL},
};

enum { REPLY_MAX = 64 * 1024 };

struct wanted {
	const char *arch, *device;
	bool as_json;
};

static int take_option(void *context, const struct args_item *item, struct err *e UNUSED)
{
	struct wanted *w = context;

	if (item->value)
		w->arch = item->value;
	else
		w->as_json = true;
	return 0;
}

static int take_device(void *context, const char *word, struct err *e)
{
	struct wanted *w = context;

	if (w->device)
		return err_say(e, EINVAL, "\"%.100s\": one device is enough, %s", word, w->device);
	w->device = word;
	return 0;
}

static int check_words(void *context, struct err *e)
{
	const struct wanted *w = context;

	return w->device ? 0 : err_say(e, EINVAL, "a device is missing; crosvm devices lists them");
}

/* Lines "call: rule". */
static void put_calls(char *policy, struct json *j)
{
	char *line, *rule;

	json_open(j, "calls", '[');
	while ((line = strsep(&policy, "\n"))) {
		rule = strstr(line, ": ");
		if (!rule || line[0] == '#')
			continue;
		*rule = '\0';
		json_open(j, NULL, '{');
		json_text(j, "name", line);
		json_text(j, "rule", rule + 2);
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void print_json(const struct wanted *w, char *policy)
{
	static char text[REPLY_MAX];
	struct json j;

	json_init(&j, text, sizeof(text));
	json_open(&j, NULL, '{');
	json_text(&j, "device", w->device);
	json_text(&j, "arch", w->arch);
	put_calls(policy, &j);
	json_close(&j, '}');
	puts(text);
}

static int print(const struct wanted *w, const struct device_type *type, struct err *e)
{
	char *policy auto_free = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&policy, &n);
	int r;

	if (!out)
		return err_set(e, ENOMEM, "cannot print");
	r = policy_print_calls(w->arch, device_calls(type, true), out, e);
	if (fclose(out) != 0 && r == 0)
		r = err_set(e, ENOMEM, "cannot print");
	if (r < 0)
		return r;
	if (w->as_json)
		print_json(w, policy);
	else
		fputs(policy, stdout);
	return 0;
}

int command_policy(int argc, char **argv)
{
	static const struct command_reader reader = {take_option, take_device, check_words};
	struct utsname host;
	struct wanted w = {.arch = uname(&host) == 0 ? host.machine : "x86_64"};
	int code = command_read("policy", argc, argv, &reader, &w);
	const struct device_type *type;
	struct err e = {0};

	if (code != COMMAND_GOES_ON)
		return code;
	type = device_type_find(w.device);
	if (!type) {
		log_error("policy: \"%.100s\": no such device; crosvm devices lists them",
			  w.device);
		return EXIT_CODE_USAGE;
	}
	if (print(&w, type, &e) < 0) {
		log_error("policy: --arch: %s", e.text);
		return EXIT_CODE_USAGE;
	}
	return EXIT_CODE_OK;
}
