/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c - subcommands, nothing else */
#include "base/exit_codes.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/first_steps.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void usage(FILE *out)
{
	fprintf(out, "Usage: crosvm [--log-level error|warning|info|debug] COMMAND [ARGUMENTS]\n\n"
		     "Commands:\n");
	for (const struct command *c = commands; c->name; c++)
		if (c->summary)
			fprintf(out, "  %-14s %s\n", c->name, c->summary);
	fprintf(out, "\nExit status:\n");
	exit_code_help(out);
}

/* Whoever closed a standard stream must not find a disk or a socket of ours in its place. */
static void streams_open(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR); /* the next programs want theirs, too */
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* --log-level LEVEL and --log-level=LEVEL in front of the command; how many words, or -1. */
static int level_take(int argc, char **argv)
{
	static const char option[] = "--log-level";
	const size_t n = sizeof(option) - 1;
	const char *level = argc > 2 ? argv[2] : "";
	int words = 2;

	if (argc < 2 || strncmp(argv[1], option, n) != 0 || (argv[1][n] && argv[1][n] != '='))
		return 0;
	if (argv[1][n] == '=') {
		level = argv[1] + n + 1;
		words = 1;
	}
	if (log_level_find(level) < 0) {
		log_error("%s: \"%s\": not one of error, warning, info, debug", option, level);
		return -1;
	}
	log_level_set((enum log_level)log_level_find(level));
	return words;
}

int main(int argc, char **argv)
{
	const struct command *command;
	int words;

	streams_open();
	words = level_take(argc, argv);
	if (words < 0)
		return EXIT_CODE_USAGE;
	argc -= words;
	argv += words;
	if (argc < 2) {
		first_steps_print(stderr);
		return EXIT_CODE_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		usage(stdout);
		return EXIT_CODE_OK;
	}
	if (strcmp(argv[1], "--version") == 0)
		return command_version(argc - 2, argv + 2);
	command = command_find(argv[1]);
	if (command)
		return command->run(argc - 2, argv + 2);
	log_error("%s: no such command; crosvm --help lists them", argv[1]);
	return EXIT_CODE_USAGE;
}
