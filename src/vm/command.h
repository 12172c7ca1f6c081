/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command.h - subcommands other than run
 *
 * Each takes the words behind its name, prints, and returns an enum exit_code.
 */
#pragma once

struct command {
	const char *name;
	int (*run)(int argc, char **argv); /* the words after the name */
	const char *summary;		   /* NULL: not shown to people */
};

/* main.c; ends with a NULL name. */
extern const struct command commands[];

/* Clients of the control socket: crosvm stop [--json] SOCKET... and so on. */
int command_stop(int argc, char **argv);
int command_suspend(int argc, char **argv);
int command_resume(int argc, char **argv);
int command_status(int argc, char **argv);
int command_balloon(int argc, char **argv);
int command_balloon_stats(int argc, char **argv);
int command_disk(int argc, char **argv);
int command_link(int argc, char **argv);
int command_limit(int argc, char **argv);

/* Running VMs that have a name. */
int command_list(int argc, char **argv);

/* What the host has and lacks. */
int command_check(int argc, char **argv);

/* What a device may call once jailed. */
int command_policy(int argc, char **argv);

/* A new disk image. */
int command_create_qcow2(int argc, char **argv);

/* Device types built in; version of the program. */
int command_devices(int argc, char **argv);
int command_version(int argc, char **argv);

/* Not for people: parts of manual and completion, printed while building. */
int command_generate(int argc, char **argv);
