/* SPDX-License-Identifier: BSD-3-Clause */
/* command_policy.c - crosvm policy: what a device may call, in minijail's language */
#include "vm/command.h"

#include "base/log.h"
#include "devices/device.h"
#include "devices/serve.h"
#include "jail/policy.h"
#include "vm/args.h"
#include "vm/exit_codes.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

static const struct arg table[] = {
	{.name = "arch", .value = "x86_64|aarch64", .help = "Architecture (default: this host's)"},
	{.name = "help", .letter = 'h', .help = "Print this text"},
	{.name = NULL},
};

struct wanted {
	const char *arch, *device;
	bool help;
};

static int parse(struct wanted *w, int argc, char **argv, struct err *e)
{
	struct args_item item;
	struct args args;

	args_init(&args, table, argc, argv);
	for (;;) {
		switch (args_next(&args, &item, e)) {
		case ARGS_END:
			if (w->device || w->help)
				return 0;
			return err_say(e, EINVAL, "a device is missing; crosvm devices lists them");
		case ARGS_WRONG:
			return -EINVAL;
		case ARGS_WORD:
			if (w->device)
				return err_say(e, EINVAL, "one device is enough, %s", w->device);
			w->device = item.value;
			break;
		case ARGS_OPTION:
			if (item.value)
				w->arch = item.value;
			else
				w->help = true;
			break;
		}
	}
}

int command_policy(int argc, char **argv)
{
	struct utsname host;
	struct wanted w = {.arch = uname(&host) == 0 ? host.machine : "x86_64"};
	const struct device_type *type;
	struct err e = {0};

	if (parse(&w, argc, argv, &e) < 0) {
		log_error("policy: %s", e.text);
		return EXIT_CODE_USAGE;
	}
	if (w.help) {
		puts("Usage: crosvm policy [--arch ARCH] DEVICE\n\n"
		     "Prints the system calls that a device may make, as a policy for\n"
		     "crosvm run --seccomp-policy-dir.\n\nOptions:");
		for (const struct arg *a = table; a->name; a++)
			args_help(a, stdout);
		return EXIT_CODE_OK;
	}
	type = device_type_find(w.device);
	if (!type) {
		log_error("policy: %s: no such device; crosvm devices lists them", w.device);
		return EXIT_CODE_USAGE;
	}
	if (policy_print_calls(w.arch, device_calls(type, true), stdout, &e) < 0) {
		log_error("policy: %s", e.text);
		return EXIT_CODE_USAGE;
	}
	return EXIT_CODE_OK;
}
