/* SPDX-License-Identifier: BSD-3-Clause */
/* command_policy.c - crosvm policy: what a device may call, in minijail's language */
#include "vm/command.h"

#include "base/log.h"
#include "devices/device.h"
#include "devices/serve.h"
#include "jail/policy.h"
#include "base/args.h"
#include "vm/exit_codes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

const struct arg command_policy_args[] = {
	{.name = "arch", .value = "x86_64|aarch64", .help = "Architecture (default: this host's)"},
	{.name = "help", .letter = 'h', .help = "Print this text"},
	{.name = NULL},
};

struct wanted {
	const char *arch, *device;
};

static int take_arch(void *context, const struct args_item *item, struct err *e UNUSED)
{
	struct wanted *w = context;

	w->arch = item->value;
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

int command_policy(int argc, char **argv)
{
	static const struct command_reader reader = {take_arch, take_device, check_words};
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
	if (policy_print_calls(w.arch, device_calls(type, true), stdout, &e) < 0) {
		log_error("policy: --arch: %s", e.text);
		return EXIT_CODE_USAGE;
	}
	return EXIT_CODE_OK;
}
