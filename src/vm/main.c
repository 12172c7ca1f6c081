/* SPDX-License-Identifier: BSD-3-Clause */
/* main.c - subcommands, nothing else */
#include "base/log.h"
#include "devices/serve.h"
#include "vm/command.h"
#include "vm/config.h"
#include "vm/exit_codes.h"
#include "vm/machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int run_configured(const struct config *config)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct err e = {0};
	int code = EXIT_CODE_ERROR;

	if (!m) {
		log_error("out of memory");
		return EXIT_CODE_ERROR;
	}
	log_level_set((enum log_level)config->log_level);
	if (machine_build(m, config, &code, &e) < 0)
		log_error("%s", e.text);
	else
		code = machine_run(m);
	machine_fini(m);
	free(m);
	return code;
}

static int command_run(int argc, char **argv)
{
	static struct config config;
	static struct config_errors errors;
	int r = config_parse(&config, argc, argv, &errors);
	int code = EXIT_CODE_USAGE;

	if (r == CONFIG_RUN)
		code = run_configured(&config);
	else if (r == CONFIG_HELP)
		config_help(stdout);
	else if (r == CONFIG_DUMP)
		fputs(config.dump, stdout);
	for (unsigned i = 0; i < errors.n && i < CONFIG_ERRORS_MAX; i++)
		log_error("%s", errors.list[i].text);
	if (errors.n > CONFIG_ERRORS_MAX)
		log_error("and %u more errors", errors.n - CONFIG_ERRORS_MAX);
	config_fini(&config);
	return r == CONFIG_HELP || r == CONFIG_DUMP ? EXIT_CODE_OK : code;
}

const struct command commands[] = {
	{"run", command_run, "Boots a virtual machine"},
	{"stop", command_stop, "Ends virtual machines"},
	{"suspend", command_suspend, "Stops the vCPUs of virtual machines"},
	{"resume", command_resume, "Lets the vCPUs of virtual machines go on"},
	{"status", command_status, "Tells how virtual machines are"},
	{"balloon", command_balloon, "Changes how much memory guests give back"},
	{"balloon-stats", command_balloon_stats, "Tells what guests say of their memory"},
	{"disk", command_disk, "Changes the size of a disk"},
	{"link", command_link, "Plugs a network cable in, or pulls it"},
	{"limit", command_limit, "Changes how fast a device may be"},
	{"list", command_list, "Lists the running virtual machines that have a name"},
	{"create_qcow2", command_create_qcow2, "Makes an empty disk image"},
	{"check", command_check, "Tells what this host has and lacks"},
	{"devices", command_devices, "Lists the types of devices built in"},
	{"device", device_main, "Serves a device to another program (vhost-user)"},
	{"policy", command_policy, "Prints which system calls a device may make"},
	{"version", command_version, "Prints the version"},
	{"generate", command_generate, NULL},
	{.name = NULL},
};

static void usage(FILE *out)
{
	fprintf(out, "Usage: crosvm COMMAND [ARGUMENTS]\n\nCommands:\n");
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

int main(int argc, char **argv)
{
	streams_open();
	if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		usage(stdout);
		return EXIT_CODE_OK;
	}
	if (strcmp(argv[1], "--version") == 0)
		return command_version(argc - 2, argv + 2);
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(argv[1], c->name) == 0)
			return c->run(argc - 2, argv + 2);
	log_error("%s: no such command; crosvm --help lists them", argv[1]);
	return EXIT_CODE_USAGE;
}
