/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command.h - the subcommands, and how all but run read their words
 *
 * A subcommand is a row of commands[]: its help, its part of the manual and what shells complete
 * come from there.  Its function takes the words behind its name, prints, and returns an enum
 * exit_code.
 */
#pragma once

#include "base/args.h"

#include <stdbool.h>
#include <stdio.h>

enum { COMMAND_GOES_ON = -1 };

struct command {
	const char *name;
	int (*run)(int argc, char **argv); /* the words after the name */
	const char *summary;		   /* NULL: not shown to people */

	/*
	 * What stands behind the options, as the help shows it; "..." repeats the last.  Shells
	 * offer for SOCKET the running VMs, for FILE and KERNEL files, for TYPE types of devices,
	 * for up|down these words, for words in small letters themselves, and for others nothing.
	 */
	const char *words;
	const struct arg *args; /* its options */
	const char *about;	/* more for --help: whole lines, or NULL */
};

/* commands.c; ends with a NULL name. */
extern const struct command commands[];

/* The row of that name, in which "-" and "_" are the same, or NULL. */
const struct command *command_find(const char *name);

/* The name of the command that somebody means who typed another word, or NULL. */
const char *command_meant(const char *typed);

/* What becomes of the words.  Each returns 0 or -errno with *e; NULL: there are none to take. */
struct command_reader {
	int (*option)(void *context, const struct args_item *item, struct err *e);
	int (*word)(void *context, const char *word, struct err *e);
	int (*check)(void *context, struct err *e); /* when all were read, without a mistake */
};

/*
 * Reads the words of the command called name by its row.  Tells all mistakes, and then returns
 * EXIT_CODE_USAGE; prints the help where it is asked for, and returns EXIT_CODE_OK; else
 * COMMAND_GOES_ON.
 */
int command_read(const char *name, int argc, char **argv, const struct command_reader *reader,
		 void *context) MUST_CHECK;

/* The same for a command that takes --json and no words. */
int command_read_json(const char *name, int argc, char **argv, bool *ret_as_json) MUST_CHECK;

/*
 * For commands of one VM: their context begins with the word that it is named by, and these are
 * word and check of their reader; a second word, or none, is a mistake.
 */
struct command_vm {
	const char *name; /* or path of the socket, as the user gave it */
};

int command_vm_take(void *context, const char *word, struct err *e) MUST_CHECK;
int command_vm_check(void *context, struct err *e) MUST_CHECK;

/* A virtual machine: command_run.c. */
int command_run(int argc, char **argv);

/* Ends VMs, after their guests were asked if wanted. */
int command_stop(int argc, char **argv);

/* Clients of the control socket: crosvm suspend [--json] SOCKET... and so on. */
int command_powerbtn(int argc, char **argv);
int command_suspend(int argc, char **argv);
int command_resume(int argc, char **argv);
int command_status(int argc, char **argv);
int command_balloon(int argc, char **argv);
int command_balloon_stats(int argc, char **argv);
int command_disk(int argc, char **argv);
int command_link(int argc, char **argv);
int command_limit(int argc, char **argv);

/* What a VM logged lately, and did last. */
int command_log(int argc, char **argv);
int command_trace(int argc, char **argv);

/* Running VMs that have a name. */
int command_list(int argc, char **argv);

/* What running VMs do, live. */
int command_top(int argc, char **argv);

/* What the host has and lacks. */
int command_check(int argc, char **argv);

/* What a device may call once jailed. */
int command_policy(int argc, char **argv);

/* A new disk image. */
int command_create_qcow2(int argc, char **argv);

/* Device types built in; version of the program. */
int command_devices(int argc, char **argv);
int command_version(int argc, char **argv);

/* Not for people: parts of the manual, while building; what a shell offers, complete.c. */
int command_generate(int argc, char **argv);
int command_complete(int argc, char **argv);

/* Options of the commands above; each table ends with a NULL name. */
extern const struct arg command_balloon_args[];
extern const struct arg command_create_args[];
extern const struct arg command_log_args[];
extern const struct arg command_trace_args[];
extern const struct arg command_policy_args[];
extern const struct arg command_stop_args[];
extern const struct arg command_top_args[];
