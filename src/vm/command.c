/* SPDX-License-Identifier: BSD-3-Clause */
/* command.c - subcommands that only print */
#include "vm/command.h"

#include "vm/config.h"
#include "vm/exit_codes.h"

#include "base/log.h"
#include "base/opt.h"
#include "devices/device.h"
#include "vm/version.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int refuse_words(const char *name, int argc, char **argv)
{
	if (argc == 0)
		return EXIT_CODE_OK;
	log_error("%s: takes no arguments, \"%s\" was given", name, argv[0]);
	return EXIT_CODE_USAGE;
}

int command_devices(int argc, char **argv)
{
	int code = refuse_words("devices", argc, argv);

	if (code != EXIT_CODE_OK)
		return code;
	for (const struct device_type *const *t = device_types; *t; t++)
		printf("%-12s %s\n", (*t)->name, (*t)->summary);
	return EXIT_CODE_OK;
}

int command_version(int argc, char **argv)
{
	int code = refuse_words("version", argc, argv);

	if (code == EXIT_CODE_OK)
		puts("crosvm " CROSVM_VERSION);
	return code;
}
