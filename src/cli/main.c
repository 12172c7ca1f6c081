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

static bool is_one_of(const char *word, const char *const *list)
{
	while (*list && strcmp(*list, word) != 0)
		list++;
	return *list != NULL;
}

static void unknown_tell(const char *word)
{
	const char *meant = command_meant(word);

	if (*word == '-')
		log_error("%s: no option of crosvm itself; those of a command stand behind its "
			  "name: crosvm run %s ...", word, word);
	else if (meant)
		log_error("%s: no such command; did you mean crosvm %s?", word, meant);
	else if (access(word, F_OK) == 0)
		log_error("%s: no such command; to boot this file: crosvm run %s", word, word);
	else
		log_error("%s: no such command; crosvm --help lists them", word);
}

/* One command; argv begins with its name. */
static int command_call(int argc, char **argv)
{
	static const char *const help[] = {"--help", "-h", "help", NULL};
	static const char *const version[] = {"--version", "-V", NULL};
	static char help_option[] = "--help";
	const struct command *command;

	if (is_one_of(argv[0], version))
		return command_version(argc - 1, argv + 1);
	if (is_one_of(argv[0], help) && argc > 1 && command_find(argv[1])) {
		argv[0] = argv[1];
		argv[1] = help_option;
	} else if (is_one_of(argv[0], help)) {
		usage(stdout);
		return EXIT_CODE_OK;
	}
	command = command_find(argv[0]);
	if (command)
		return command->run(argc - 1, argv + 1);
	unknown_tell(argv[0]);
	return EXIT_CODE_USAGE;
}

int main(int argc, char **argv)
{
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
	return command_call(argc - 1, argv + 1);
}
