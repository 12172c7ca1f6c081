/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * config.c - the command line of `crosvm run`
 *
 * The table that the words are matched against is config_options, then a row for each device type
 * built in, then the refused options.  A device that is built in therefore wins over a refusal.
 */
#include "vm/config.h"

#include "vm/config_table.h"

#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct parse {
	struct config *config;
	struct config_errors *errors;
	struct arg table[CONFIG_TABLE_MAX + 1];
	bool seen[CONFIG_TABLE_MAX + 1];
	size_t noptions, ndevices;
	bool had_kernel; /* also one that was refused */
};

static int config_init(struct config *c)
{
	*c = (struct config){
		.mem_bytes = 256 << 20,
		.cpus = 1,
		.sandbox = true,
		.transport = CONFIG_TRANSPORT_PCI,
		.log_level = LOG_LEVEL_INFO,
		.default_rng = true,
		.params = calloc(1, 1),
		.kvm_device = strdup("/dev/kvm"),
	};
	return c->params && c->kvm_device ? 0 : -ENOMEM;
}

void config_fini(struct config *c)
{
	if (!c)
		return;
	free(c->kernel);
	free(c->initrd);
	free(c->params);
	free(c->socket);
	free(c->policy_dir);
	free(c->kvm_device);
	for (unsigned i = 0; i < c->nserial; i++)
		opt_fini(serial_config_opts, &c->serial[i]);
	for (unsigned i = 0; i < c->ndevices; i++)
		config_device_fini(&c->devices[i]);
	*c = (struct config){0};
}

static void note_error(struct config_errors *errors, const struct err *e)
{
	if (errors->n < CONFIG_ERRORS_MAX)
		errors->list[errors->n] = *e;
	errors->n++;
}

static void table_init(struct parse *p)
{
	size_t n = 0;

	for (const struct config_option *o = config_options; o->arg.name; o++) {
		assert(n < CONFIG_TABLE_MAX);
		p->table[n++] = o->arg;
	}
	p->noptions = n;
	for (const struct device_type *const *t = device_types; *t; t++) {
		bool is_optional = config_device_is_optional(*t);

		assert(n < CONFIG_TABLE_MAX);
		p->table[n++] = (struct arg){.name = (*t)->name,
					     .value = (*t)->opts ? "KEY=VALUE,..." : NULL,
					     .keys = is_optional ? (*t)->opts : NULL};
	}
	p->ndevices = n - p->noptions;
	for (const struct arg *a = config_refused; a->name; a++) {
		assert(n < CONFIG_TABLE_MAX);
		p->table[n++] = *a;
	}
	p->table[n].name = NULL;
}

static int set_option(struct parse *p, const struct config_option *o, const char *value,
		      struct err *e)
{
	if (o->set && o->arg.value && !*value && !o->takes_empty)
		return err_say(e, EINVAL, "a value is missing: %s", o->arg.value);
	if (o->set)
		return o->set(p->config, value, e);
	return opt_set(&o->row, p->config, value, e);
}

static int apply(struct parse *p, const struct args_item *item, struct err *e)
{
	size_t i = (size_t)(item->arg - p->table);
	bool is_again = p->seen[i];

	p->seen[i] = true;
	if (i >= p->noptions + p->ndevices)
		return err_say(e, ENOSYS, "%s", item->arg->help);
	if (i >= p->noptions)
		return config_device_add(p->config, device_types[i - p->noptions],
					 item->value ? item->value : "", e);
	if (is_again && !config_options[i].is_repeatable)
		return err_say(e, EINVAL, "given twice");
	return set_option(p, &config_options[i], item->value, e);
}

static int set_kernel(struct parse *p, const char *path, struct err *e)
{
	int r;

	if (p->had_kernel)
		return err_say(e, EINVAL, "%s: one kernel is enough, %s", path,
			       p->config->kernel ? p->config->kernel : "another was given");
	p->had_kernel = true;
	r = config_file_check(path, R_OK, "give the path of a bzImage or vmlinux", e);
	if (r < 0)
		return err_in(e, "kernel");
	p->config->kernel = strdup(path);
	return p->config->kernel ? 0 : err_set(e, ENOMEM, "cannot keep the path");
}

static bool has_device(const struct config *c, unsigned virtio_id)
{
	for (unsigned i = 0; i < c->ndevices; i++)
		if (c->devices[i].virtio_id == virtio_id)
			return true;
	return false;
}

bool config_has_stdio_serial(const struct config *c)
{
	for (unsigned i = 0; i < c->nserial; i++)
		if (c->serial[i].type == SERIAL_STDIO)
			return true;
	return false;
}

/* What the user did not ask for but gets. */
static int add_defaults(struct config *c, struct err *e)
{
	const struct device_type *rng = device_type_find("rng");

	if (c->nserial == 0) {
		c->serial[c->nserial] = serial_config_default;
		if (config_has_stdio_device(c))
			c->serial[c->nserial].type = SERIAL_SINK;
		c->nserial++;
	}
	if (config_has_stdio_device(c) && config_has_stdio_serial(c))
		return err_say(e, EINVAL, "stdio: both a serial port and another device use it");
	if (!c->default_rng || !rng || has_device(c, VIRTIO_ID_RNG))
		return 0;
	return config_device_add(c, rng, "", e) < 0 ? err_in(e, "--rng") : 0;
}

static void check_whole(struct parse *p)
{
	struct err e = {0};

	if (!p->had_kernel) {
		err_say(&e, EINVAL, "a kernel is missing: crosvm run [OPTIONS] KERNEL");
		note_error(p->errors, &e);
	}
	if (add_defaults(p->config, &e) < 0)
		note_error(p->errors, &e);
}

/* Handles one item; true when help was asked for. */
static bool take(struct parse *p, enum args_kind kind, const struct args_item *item, struct err *e)
{
	if (kind == ARGS_OPTION && strcmp(item->arg->name, "help") == 0)
		return true;
	if (kind == ARGS_OPTION && apply(p, item, e) < 0) {
		err_in(e, "--%s", item->arg->name);
		kind = ARGS_WRONG;
	}
	if (kind == ARGS_WORD && set_kernel(p, item->value, e) < 0)
		kind = ARGS_WRONG;
	if (kind == ARGS_WRONG)
		note_error(p->errors, e);
	return false;
}

int config_parse(struct config *c, int argc, char *const *argv, struct config_errors *ret_errors)
{
	struct parse p = {.config = c, .errors = ret_errors};
	struct args_item item;
	enum args_kind kind;
	struct args args;
	struct err e = {0};

	ret_errors->n = 0;
	if (config_init(c) < 0) {
		err_set(&e, ENOMEM, "cannot read the command line");
		note_error(ret_errors, &e);
		return -EINVAL;
	}
	table_init(&p);
	args_init(&args, p.table, argc, argv);
	while ((kind = args_next(&args, &item, &e)) != ARGS_END)
		if (take(&p, kind, &item, &e))
			return CONFIG_HELP;
	check_whole(&p);
	return ret_errors->n > 0 ? -EINVAL : CONFIG_RUN;
}
