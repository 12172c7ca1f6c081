/* SPDX-License-Identifier: BSD-3-Clause */
/* serve_args.c - the words behind `crosvm device` */
#include "devices/serve_args.h"

#include "base/log.h"
#include "devices/serve.h"

#include <errno.h>
#include <string.h>

/* Rows without help are between main and its children. */
const struct arg device_args[] = {
	{.name = "socket", .value = "PATH",
	 .help = "Listen there, and serve one front end after the other"},
	{.name = "fd", .value = "N",
	 .help = "Serve the connected socket with that number, and end with it"},
	{.name = "name", .value = "NAME", .help = "What the device calls itself in messages"},
	{.name = "policy", .value = "FILE",
	 .help = "Allow the system calls that FILE lists, not those built in"},
	{.name = "log-level", .value = "error|warning|info|debug",
	 .help = "Report as much on standard error"},
	{.name = "disable-jail", .help = "Do not give up any privilege; for debugging"},
	{.name = "spawned"},
	{.name = "kept", .value = "N"},
	{.name = "help", .letter = 'h', .help = "Print this text, or that of TYPE"},
	{.name = NULL},
};

void serve_args_help(FILE *out, const struct device_type *type)
{
	fprintf(out, "Usage: crosvm device [OPTIONS] TYPE [KEY=VALUE,...]\n\n");
	if (type) {
		fprintf(out, "%s: %s.\n", type->name, type->summary);
		if (type->opts)
			opt_help(type->opts, "  ", out);
		return;
	}
	fprintf(out, "Serves a device to another program (vhost-user).\n\nOptions:\n");
	for (const struct arg *arg = device_args; arg->name; arg++)
		if (arg->help)
			args_help(arg, out);
	fprintf(out, "\nTYPE is one of:\n");
	for (const struct device_type *const *t = device_types; *t; t++)
		fprintf(out, "  %-12s %s\n", (*t)->name, (*t)->summary);
}

static int parse_fd(const char *text, int *ret, struct err *e)
{
	uint64_t number;

	if (opt_number(text, &number) < 0 || number > INT32_MAX)
		return err_say(e, EINVAL, "--fd: \"%.100s\": not the number of a descriptor", text);
	*ret = (int)number;
	return 0;
}

/* Of main only: how many descriptors it keeps for us. */
static int parse_kept(const char *text, unsigned *ret, struct err *e)
{
	uint64_t n;

	if (opt_number(text, &n) < 0 || n > DEVICE_KEPT_MAX)
		return err_say(e, EINVAL, "--kept: \"%.100s\": not a number from 0 to %d", text,
			       DEVICE_KEPT_MAX);
	*ret = (unsigned)n;
	return 0;
}

static int take_option(struct serve_args *a, const struct args_item *item, struct err *e)
{
	const struct {
		const char *name, **text;
		bool *flag;
	} rows[] = {
		{"name", &a->name, NULL},	  {"socket", &a->socket_path, NULL},
		{"policy", &a->policy_path, NULL}, {"spawned", NULL, &a->spawned},
		{"log-level", &a->log_level, NULL},
		{"disable-jail", NULL, &a->disable_jail}, {"help", NULL, &a->help},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (strcmp(item->arg->name, rows[i].name) != 0)
			continue;
		if (rows[i].flag)
			*rows[i].flag = true;
		else
			*rows[i].text = item->value;
		return 0;
	}
	if (strcmp(item->arg->name, "fd") == 0)
		return parse_fd(item->value, &a->fd, e);
	return parse_kept(item->value, &a->kept, e);
}

/* The type, then its options. */
static int take_word(struct serve_args *a, const char *word, struct err *e)
{
	if (a->noptions == ARRAY_LEN(a->options) - 1)
		return err_say(e, E2BIG, "more than %zu words", ARRAY_LEN(a->options) - 1);
	if (a->type) {
		a->options[a->noptions++] = word;
		return 0;
	}
	a->type = device_type_find(word);
	if (a->type || a->help)
		return 0;
	return err_say(e, EINVAL, "\"%.100s\": no such device; crosvm devices lists them", word);
}

int serve_args_parse(struct serve_args *a, int argc, char **argv, struct err *e)
{
	struct args_item item = {0};
	enum args_kind kind;
	struct args args;
	int r = 0;

	args_init(&args, device_args, argc, argv);
	while (r == 0 && (kind = args_next(&args, &item, e)) != ARGS_END) {
		if (kind == ARGS_WRONG)
			r = -EINVAL;
		else
			r = kind == ARGS_WORD ? take_word(a, item.value, e)
					      : take_option(a, &item, e);
	}
	if (a->help)
		return 0;
	if (r < 0)
		return r;
	if (!a->type)
		return err_say(e, EINVAL, "a type of device is missing; crosvm devices lists them");
	if (!a->name)
		a->name = a->type->name;
	if ((a->socket_path != NULL) + (a->fd >= 0) + a->spawned != 1)
		return err_say(e, EINVAL, "one of --socket PATH and --fd N is needed");
	if (a->log_level && log_level_find(a->log_level) < 0)
		return err_say(e, EINVAL, "--log-level %.100s: error, warning, info or debug is "
			       "wanted", a->log_level);
	return 0;
}
