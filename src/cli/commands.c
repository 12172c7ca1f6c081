/* SPDX-License-Identifier: BSD-3-Clause */
/* commands.c - the subcommands, in the order of the help */
#include "cli/command.h"

#include "base/exit_codes.h"
#include "base/log.h"
#include "base/similar.h"
#include "devices/serve.h"

#include <errno.h>
#include <string.h>

#define SOCKET_ABOUT                                                                               \
	"SOCKET is the path that was given to crosvm run with -s, or the name with --name.\n"

/* --json and --help */
static const struct arg command_json_args[] = {
	{.name = "json", .help = "Print JSON"},
	{.name = "help", .letter = 'h', .help = "Print this text"},
	{.name = NULL},
};

const struct command commands[] = {
	{"run", command_run, "Boots a virtual machine", "KERNEL", NULL, NULL},
	{"stop", command_stop, "Ends virtual machines", "SOCKET...", command_stop_args,
	 "In good order, but the guests are asked only with --ask: by their ACPI power button.\n"
	 "Those that do not listen, or do not end in time, are ended all the same.\n" SOCKET_ABOUT},
	{"powerbtn", command_powerbtn, "Asks guests to shut down", "SOCKET...", command_json_args,
	 "By their ACPI power button, and without waiting for it.\n" SOCKET_ABOUT},
	{"suspend", command_suspend, "Stops the vCPUs of virtual machines", "SOCKET...",
	 command_json_args, SOCKET_ABOUT},
	{"resume", command_resume, "Lets the vCPUs of virtual machines go on", "SOCKET...",
	 command_json_args, SOCKET_ABOUT},
	{"status", command_status, "Tells how virtual machines are", "SOCKET...", command_json_args,
	 SOCKET_ABOUT},
	{"balloon", command_balloon, "Changes how much memory guests give back",
	 "[PAGE_ADJUST] SOCKET...", command_balloon_args,
	 "PAGE_ADJUST is a number of pages of 4096 bytes, as 256 or -256.\n" SOCKET_ABOUT},
	{"balloon-stats", command_balloon_stats, "Tells what guests say of their memory",
	 "SOCKET...", command_json_args, SOCKET_ABOUT},
	{"disk", command_disk, "Changes the size of a disk", "resize SOCKET NAME SIZE",
	 command_json_args,
	 "Disks only grow. NAME is what crosvm status calls the disk, as block0.\n" SOCKET_ABOUT},
	{"link", command_link, "Plugs a network cable in, or pulls it", "SOCKET NAME up|down",
	 command_json_args, "NAME is what crosvm status calls the card, as net0.\n" SOCKET_ABOUT},
	{"limit", command_limit, "Changes how fast a device may be", "SOCKET NAME [KEY=VALUE,...]",
	 command_json_args,
	 "NAME is that of a disk (block0) or network card (net0). The keys are bps, bytes a\n"
	 "second; iops for disks or pps for network cards, how many a second; and burst,\n"
	 "milliseconds. Those not given are lifted; without any, all are.\n" SOCKET_ABOUT},
	{"log", command_log, "Prints what a virtual machine logged lately", "SOCKET",
	 command_log_args, "What its devices logged is among it.\n" SOCKET_ABOUT},
	{"trace", command_trace, "Prints what a virtual machine did last", "SOCKET",
	 command_trace_args,
	 "Exits of vCPUs, and what devices and the main process did, with times.\n" SOCKET_ABOUT},
	{"list", command_list, "Lists the running virtual machines that have a name", "",
	 command_json_args, NULL},
	{"top", command_top, "Shows what virtual machines do, live", "[SOCKET...]",
	 command_top_args,
	 "Without SOCKET it shows a line for each running VM that has a name, with several for\n"
	 "each of these; with a single one that VM's processes, devices and reasons of exits.\n"
	 "The first sample is since the VM began, the others since the one before. The key q\n"
	 "ends the display, not the VM.\n" SOCKET_ABOUT},
	{"create_qcow2", command_create_qcow2, "Makes an empty disk image", "FILE SIZE",
	 command_create_args,
	 "In qcow2 format; what FILE held before is gone.\n"
	 "SIZE is in bytes, or a number with K, M, G or T; with --backing it may be left out.\n"},
	{"check", command_check, "Tells what this host has and lacks", "", command_json_args,
	 "And how to mend it.\n"},
	{"devices", command_devices, "Lists the types of devices built in", "", command_json_args,
	 "With --json also the options of each.\n"},
	{"device", device_main, "Serves a device to another program (vhost-user)",
	 "TYPE [KEY=VALUE,...]", device_args, NULL},
	{"policy", command_policy, "Prints which system calls a device may make", "TYPE",
	 command_policy_args, "As a policy for crosvm run --seccomp-policy-dir.\n"},
	{"version", command_version, "Prints the version", "", command_json_args, NULL},
	{"complete", command_complete, NULL, NULL, NULL, NULL},
	{"generate", command_generate, NULL, NULL, NULL, NULL},
	{.name = NULL},
};

const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (opt_is_same_key(c->name, name, strlen(name)))
			return c;
	return NULL;
}

/* What other programs call it, or what people expect. */
static const struct {
	const char *typed, *meant;
} synonyms[] = {
	{"boot", "run"},	  {"create", "create_qcow2"}, {"delete", "stop"},
	{"destroy", "stop"},	  {"info", "status"},	      {"kill", "stop"},
	{"ls", "list"},		  {"pause", "suspend"},	      {"poweroff", "powerbtn"},
	{"ps", "list"},		  {"quit", "stop"},	      {"resize", "disk"},
	{"shutdown", "powerbtn"}, {"start", "run"},	      {"unpause", "resume"},
};

const char *command_meant(const char *typed)
{
	struct similar similar;

	for (size_t i = 0; i < ARRAY_LEN(synonyms); i++)
		if (strcmp(synonyms[i].typed, typed) == 0)
			return synonyms[i].meant;
	similar_init(&similar, typed, strlen(typed));
	for (const struct command *c = commands; c->name; c++)
		if (c->summary)
			similar_try(&similar, c->name);
	return similar.best;
}

/* "crosvm list [OPTIONS] ..." and its options. */
static void command_help(const struct command *c, FILE *out)
{
	fprintf(out, "Usage: crosvm %s [OPTIONS]%s%s\n\n%s.\n%s\nOptions:\n", c->name,
		*c->words ? " " : "", c->words, c->summary, c->about ? c->about : "");
	for (const struct arg *a = c->args; a->name; a++)
		args_help(a, out);
}

static bool is_help(const struct args_item *item)
{
	return item->arg->letter == 'h' && strcmp(item->arg->name, "help") == 0;
}

/* Whether the words ask for help, be they wrong otherwise. */
static bool wants_help(const struct command *c, int argc, char **argv)
{
	struct args_item item = {0};
	enum args_kind kind;
	struct args args;
	struct err e = {0};

	args_init(&args, c->args, argc, argv);
	while ((kind = args_next(&args, &item, &e)) != ARGS_END)
		if (kind == ARGS_OPTION && is_help(&item))
			return true;
	return false;
}

static int take(const struct command_reader *reader, void *context, enum args_kind kind,
		const struct args_item *item, struct err *e)
{
	if (kind == ARGS_WRONG)
		return -EINVAL;
	if (item->value && !*item->value)
		return err_say(e, EINVAL, "%s%s\"\": an empty word has no meaning here",
			       item->arg ? item->arg->name : "", item->arg ? ": " : "");
	if (kind == ARGS_OPTION)
		return reader->option(context, item, e);
	if (reader->word)
		return reader->word(context, item->value, e);
	return err_say(e, EINVAL, "takes no arguments, \"%.100s\" was given", item->value);
}

int command_read(const char *name, int argc, char **argv, const struct command_reader *reader,
		 void *context)
{
	const struct command *c = command_find(name);
	struct args_item item = {0};
	int code = COMMAND_GOES_ON;
	enum args_kind kind;
	struct args args;
	struct err e = {0};

	if (wants_help(c, argc, argv)) {
		command_help(c, stdout);
		return EXIT_CODE_OK;
	}
	args_init(&args, c->args, argc, argv);
	while ((kind = args_next(&args, &item, &e)) != ARGS_END) {
		if (take(reader, context, kind, &item, &e) == 0)
			continue;
		log_error("%s: %s", name, e.text);
		code = EXIT_CODE_USAGE;
	}
	if (code == COMMAND_GOES_ON && reader->check && reader->check(context, &e) < 0) {
		log_error("%s: %s: crosvm %s%s%s", name, e.text, name, *c->words ? " " : "",
			  c->words);
		code = EXIT_CODE_USAGE;
	}
	return code;
}

int command_vm_take(void *context, const char *word, struct err *e)
{
	struct command_vm *vm = context;

	if (vm->name)
		return err_say(e, E2BIG, "\"%.100s\" is one word too many", word);
	vm->name = word;
	return 0;
}

int command_vm_check(void *context, struct err *e)
{
	const struct command_vm *vm = context;

	return vm->name ? 0 : err_say(e, EINVAL, "a socket is missing");
}

static int take_json(void *context, const struct args_item *item UNUSED, struct err *e UNUSED)
{
	*(bool *)context = true;
	return 0;
}

int command_read_json(const char *name, int argc, char **argv, bool *ret_as_json)
{
	static const struct command_reader reader = {.option = take_json};

	*ret_as_json = false;
	return command_read(name, argc, argv, &reader, ret_as_json);
}
