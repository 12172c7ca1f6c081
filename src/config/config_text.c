/* SPDX-License-Identifier: BSD-3-Clause */
/* config_text.c - the options of `crosvm run` as help and as parts of the manual */
#include "config/config_table.h"

#include "base/exit_codes.h"

static void option_help(const struct config_option *o, FILE *out)
{
	char text[256];
	struct arg shown = o->arg;

	if (o->default_text) {
		snprintf(text, sizeof(text), "%s (default: %s)", o->arg.help, o->default_text);
		shown.help = text;
	}
	args_help(&shown, out);
	if (o->keys)
		opt_help(o->keys, "            ", out);
}

struct arg config_device_arg(const struct device_type *t)
{
	bool is_optional = config_device_is_optional(t);

	return (struct arg){.name = t->name,
			    .value = t->opts ? "KEY=VALUE,..." : NULL,
			    .keys = is_optional ? t->opts : NULL,
			    .help = t->summary};
}

void config_help(FILE *out)
{
	fputs("Usage: crosvm run [OPTIONS] [KERNEL]\n"
	      "\n"
	      "Runs a virtual machine with the Linux kernel KERNEL (bzImage or vmlinux), which\n"
	      "may be left out with --rootfs.\n"
	      "\n"
	      "Options:\n",
	      out);
	for (const struct config_option *o = config_options; o->arg.name; o++)
		option_help(o, out);
	fputs("\nDevices (each may be given more than once; a comma in a value is written "
	      "twice):\n",
	      out);
	for (const struct device_type *const *t = device_types; *t; t++) {
		struct arg arg = config_device_arg(*t);

		args_help(&arg, out);
		if ((*t)->opts)
			opt_help((*t)->opts, "            ", out);
	}
	fputs("\nExit status:\n", out);
	exit_code_help(out);
}

/* ".It Fl m , Fl -mem Ns = Ns Ar MIB" */
static void mdoc_item(const struct arg *arg, FILE *out)
{
	fputs(".It ", out);
	if (arg->letter)
		fprintf(out, "Fl %c , ", arg->letter);
	fprintf(out, "Fl -%s", arg->name);
	if (arg->value)
		fprintf(out, arg->keys ? " Ns Oo = Ns Ar %s Oc" : " Ar %s", arg->value);
	fprintf(out, "\n%s.\n", arg->help);
}

void config_mdoc_options(FILE *out)
{
	fputs(".Bl -tag -width Ds\n", out);
	for (const struct config_option *o = config_options; o->arg.name; o++) {
		mdoc_item(&o->arg, out);
		if (o->default_text)
			fprintf(out, "The default is\n.Cm %s .\n", o->default_text);
		if (o->is_repeatable && o->arg.value)
			fputs("May be given more than once.\n", out);
		if (o->keys)
			opt_mdoc(o->keys, out);
	}
	fputs(".El\n", out);
}

void config_mdoc_devices(FILE *out)
{
	fputs(".Bl -tag -width Ds\n", out);
	for (const struct device_type *const *t = device_types; *t; t++) {
		struct arg arg = config_device_arg(*t);

		mdoc_item(&arg, out);
		if ((*t)->opts)
			opt_mdoc((*t)->opts, out);
	}
	fputs(".El\n", out);
}
