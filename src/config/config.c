/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * config.c - the command line of `crosvm run` and its configuration files
 *
 * What is said is collected first, files before the command line whatever their order, and then
 * given to the options one by one.  An item that a later source says anew is dropped.
 *
 * The table that the words are matched against is config_options, then a row for each device type
 * built in, then the refused options.  A device that is built in therefore wins over a refusal.
 */
#include "config/config.h"

#include "config/config_items.h"
#include "config/config_table.h"
#include "config/host_kernel.h"
#include "config/names.h"

#include "base/fd.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct parse {
	struct config *config;
	struct config_errors *errors;
	struct arg *table; /* CONFIG_TABLE_MAX rows and the end */
	size_t noptions, ndevices;
	struct config_items files, words;
	bool wants_dump;
	bool follows_unknown; /* the last option: a word may be its value */
	bool may_lack_kernel; /* one such, or a wrong file, may have been to name it */
};

static int config_init(struct config *c)
{
	*c = (struct config){
		.mem_bytes = 256 << 20,
		.cpus = 1,
		.sandbox = true,
		.transport = CONFIG_TRANSPORT_PCI,
		.log_level = (int)log_level(),
		.default_rng = true,
		.default_balloon = true,
		.rootfs = {.image_fd = -1, .initrd_fd = -1},
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
	if (c->rootfs.path) { /* else there are no files, or all is zero */
		fd_close(&c->rootfs.image_fd);
		fd_close(&c->rootfs.initrd_fd);
	}
	opt_fini(config_rootfs_opts, &c->rootfs);
	free(c->params);
	free(c->socket);
	free(c->name);
	free(c->policy_dir);
	free(c->kvm_device);
	free(c->syslog_tag);
	free(c->trace_file);
	free(c->dump);
	config_net_fini(&c->net);
	for (unsigned i = 0; i < c->nserial; i++)
		opt_fini(serial_config_opts, &c->serial[i]);
	for (unsigned i = 0; i < c->ndevices; i++)
		config_device_fini(&c->devices[i]);
	*c = (struct config){0};
}

void config_error_note(struct config_errors *errors, const struct err *e)
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

static int set_kernel(struct config *c, const char *path, struct err *e)
{
	int r = *path ? config_file_check(path, R_OK, "give the path of a bzImage or vmlinux", e)
		      : err_say(e, EINVAL, "\"\": not the path of a bzImage or vmlinux");

	if (r < 0)
		return err_in(e, "kernel");
	c->kernel = strdup(path);
	return c->kernel ? 0 : err_set(e, ENOMEM, "cannot keep the path");
}

static int apply_option(struct parse *p, const struct config_item *item, struct err *e)
{
	size_t i = (size_t)(item->arg - p->table);

	if (i >= p->noptions + p->ndevices)
		return err_say(e, ENOSYS, "%s", item->arg->help);
	if (i >= p->noptions)
		return config_device_add(p->config, device_types[i - p->noptions],
					 item->value ? item->value : "", e);
	return set_option(p, &config_options[i], item->value, e);
}

static bool is_repeatable(const struct parse *p, const struct config_item *item)
{
	size_t i = (size_t)(item->arg - p->table);

	return item->arg && (i >= p->noptions || config_options[i].is_repeatable);
}

static bool is_same_source(const struct config_item *a, const struct config_item *b)
{
	return a->file && b->file ? strcmp(a->file, b->file) == 0 : a->file == b->file;
}

/* Whether a later source says what item says; or the same one twice: an error. */
static bool is_overruled(struct parse *p, const struct config_items *items, size_t at,
			 struct err *e)
{
	const struct config_item *item = &items->list[at];

	for (size_t i = 0; i < items->n && !is_repeatable(p, item); i++) {
		const struct config_item *other = &items->list[i];

		if (i == at || other->arg != item->arg)
			continue;
		if (!is_same_source(other, item)) {
			if (i > at)
				return true;
		} else if (i < at && item->arg) {
			err_say(e, EINVAL, "given twice");
		} else if (i < at) {
			err_say(e, EINVAL, "%s: one kernel is enough, %s", item->value,
				other->value);
		}
	}
	return false;
}

static void apply(struct parse *p, const struct config_item *item, struct err *e)
{
	if (!e->code && item->arg)
		apply_option(p, item, e);
	else if (!e->code)
		set_kernel(p->config, item->value, e);
	if (e->code && item->arg)
		err_in(e, item->file ? "%s" : "--%s", item->arg->name);
	if (e->code && item->file)
		err_in(e, "%s:%u", item->file, item->line);
	if (e->code)
		config_error_note(p->errors, e);
}

/* Gives every item to its option; those that count go to kept. */
static void apply_all(struct parse *p, const struct config_items *all, struct config_items *kept)
{
	for (size_t i = 0; i < all->n; i++) {
		struct err e = {0};

		if (is_overruled(p, all, i, &e))
			continue;
		apply(p, &all->list[i], &e);
		if (config_item_add(kept, &all->list[i], &e) < 0)
			config_error_note(p->errors, &e);
	}
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

/* The control socket of a VM that has a name. */
static int add_socket(struct config *c, struct err *e)
{
	char path[128];

	if (c->socket)
		return err_say(e, EINVAL, "--name: a control socket is given by -s already");
	if (vm_name_path(c->name, path, sizeof(path), e) < 0)
		return err_in(e, "--name");
	c->socket = strdup(path);
	return c->socket ? 0 : err_set(e, ENOMEM, "cannot keep the name");
}

/* Unless it is not wanted, not built in or there already. */
static int add_default(struct config *c, bool is_wanted, const char *name, struct err *e)
{
	const struct device_type *type = device_type_find(name);

	if (!is_wanted || !type || has_device(c, type->virtio_id))
		return 0;
	return config_device_add(c, type, "", e) < 0 ? err_in(e, "--%s", name) : 0;
}

/* What the user did not ask for but gets. */
static int add_defaults(struct config *c, struct err *e)
{
	int r;

	if (c->nserial == 0) {
		c->serial[c->nserial] = serial_config_default;
		if (config_has_stdio_device(c))
			c->serial[c->nserial].type = SERIAL_SINK;
		c->nserial++;
	}
	if (config_has_stdio_device(c) && config_has_stdio_serial(c))
		return err_say(e, EINVAL, "stdio: both a serial port and another device use it");
	r = config_net_finish(c, e);
	if (r < 0)
		return r;
	r = add_default(c, c->default_rng, "rng", e);
	return r < 0 ? r : add_default(c, c->default_balloon, "balloon", e);
}

static bool has_kernel(const struct config_items *items)
{
	for (size_t i = 0; i < items->n; i++)
		if (!items->list[i].arg)
			return true;
	return false;
}

/* A root file system goes with a kernel of the host's; nothing else does. */
static int add_kernel(struct parse *p, struct err *e)
{
	char path[256];

	if (!p->config->rootfs.path) {
		p->errors->lacks_kernel = true;
		return err_say(e, EINVAL, "a kernel is missing: crosvm run [OPTIONS] KERNEL");
	}
	if (host_kernel_find(&host_kernel_paths, path, sizeof(path), e) < 0)
		return err_in(e, "--rootfs");
	p->config->kernel = strdup(path);
	return p->config->kernel ? 0 : err_set(e, ENOMEM, "cannot keep the path");
}

/* What seems to be missing then is perhaps what could not be kept. */
static bool lacks_memory(const struct config_errors *errors)
{
	for (unsigned i = 0; i < errors->n && i < CONFIG_ERRORS_MAX; i++)
		if (errors->list[i].code == ENOMEM)
			return true;
	return false;
}

static void check_whole(struct parse *p, const struct config_items *kept)
{
	struct err e = {0};

	if (lacks_memory(p->errors))
		return;
	if (!has_kernel(kept) && !p->may_lack_kernel && add_kernel(p, &e) < 0)
		config_error_note(p->errors, &e);
	if (p->config->rootfs.path && p->config->initrd) {
		err_say(&e, EINVAL, "--rootfs: brings an initial RAM disk; leave out --initrd");
		config_error_note(p->errors, &e);
	}
	if (p->config->name && add_socket(p->config, &e) < 0)
		config_error_note(p->errors, &e);
	if (add_defaults(p->config, &e) < 0)
		config_error_note(p->errors, &e);
	if (p->config->ram.dump && p->config->sandbox) {
		err_say(&e, EINVAL, "--mem: dump: what is in a jail leaves no core dumps; add "
				    "--disable-sandbox");
		config_error_note(p->errors, &e);
	}
}

static void dump(struct parse *p, const struct config_items *kept)
{
	size_t n;
	FILE *out = open_memstream(&p->config->dump, &n);
	struct err e = {0};

	if (!out)
		err_set(&e, errno, "cannot write the configuration");
	else if (config_items_dump(kept, out, &e) == 0 && fflush(out) != 0)
		err_set(&e, errno, "cannot write the configuration");
	if (out)
		fclose(out);
	if (e.code) {
		err_in(&e, "--dump-config");
		config_error_note(p->errors, &e);
	}
}

/* Whether it may be the value of an option that is not known, rather than the kernel. */
static bool is_stray(struct parse *p, enum args_kind kind, const struct args_item *said)
{
	bool is_stray = kind == ARGS_WORD && p->follows_unknown;
	bool is_unknown = (kind == ARGS_WRONG && !said->arg) ||
			  (kind == ARGS_OPTION && said->arg->is_refused);

	p->follows_unknown = is_unknown && !said->value;
	p->may_lack_kernel = p->may_lack_kernel || is_unknown;
	return is_stray;
}

/* Keeps one thing of the command line; true when help was asked for. */
static bool take(struct parse *p, enum args_kind kind, const struct args_item *said, struct err *e)
{
	const char *name = kind == ARGS_OPTION ? said->arg->name : "";
	union {
		const char *in;
		char *out;
	} value = {.in = said->value};
	struct config_item item = {.arg = said->arg, .value = value.out};

	if (strcmp(name, "help") == 0)
		return true;
	if (strcmp(name, "cfg") == 0 && !*said->value) {
		err_say(e, EINVAL, "--cfg: a value is missing: FILE");
		kind = ARGS_WRONG;
	} else if (strcmp(name, "cfg") == 0) {
		unsigned before = p->errors->n;

		config_file_read(&p->files, p->table, said->value, p->errors);
		p->may_lack_kernel = p->may_lack_kernel || p->errors->n > before;
	} else if (strcmp(name, "dump-config") == 0) {
		p->wants_dump = true;
	} else if (kind != ARGS_WRONG && config_item_add(&p->words, &item, e) < 0) {
		kind = ARGS_WRONG;
	}
	if (kind == ARGS_WRONG)
		config_error_note(p->errors, e);
	return false;
}

static bool take_words(struct parse *p, int argc, char *const *argv)
{
	struct args_item item = {0};
	enum args_kind kind;
	struct args args;
	struct err e = {0};

	args_init(&args, p->table, argc, argv);
	while ((kind = args_next(&args, &item, &e)) != ARGS_END)
		if (!is_stray(p, kind, &item) && take(p, kind, &item, &e))
			return true;
	return false;
}

static bool is_second_kernel(const struct config_items *items, size_t at)
{
	for (size_t i = 0; i < items->n; i++)
		if (i != at && !items->list[i].arg && !items->list[at].arg)
			return true;
	return false;
}

/*
 * --vsock 3 KERNEL: a word behind an option that can go without a value, if it is no file and there
 * is another kernel, is the option's, which then says what is wrong with it.
 */
static void values_join(struct config_items *items)
{
	for (size_t i = 1; i < items->n; i++) {
		struct config_item *option = &items->list[i - 1], *word = &items->list[i];

		if (!option->arg || !option->arg->keys || option->value ||
		    !is_second_kernel(items, i) || access(word->value, F_OK) == 0)
			continue;
		option->value = word->value;
		items->n--;
		memmove(word, word + 1, (items->n - i) * sizeof(*word));
	}
}

/* The files' items, then the command line's. */
static void take_all(struct parse *p)
{
	struct config_items *files = &p->files, *words = &p->words, kept = {0};
	struct err e = {0};

	values_join(words);
	for (size_t i = 0; i < words->n && !e.code; i++)
		if (config_item_add(files, &words->list[i], &e) < 0)
			config_error_note(p->errors, &e);
	apply_all(p, files, &kept);
	check_whole(p, &kept);
	if (p->wants_dump)
		dump(p, &kept);
	config_items_fini(&kept);
}

int config_parse(struct config *c, int argc, char *const *argv, struct config_errors *ret_errors)
{
	struct arg *table auto_free = calloc(CONFIG_TABLE_MAX + 1, sizeof(*table));
	struct parse p = {.config = c, .errors = ret_errors, .table = table};
	struct err e = {0};
	bool wants_help;

	ret_errors->n = 0;
	ret_errors->lacks_kernel = false;
	if (config_init(c) < 0 || !table) {
		err_set(&e, ENOMEM, "cannot read the command line");
		config_error_note(ret_errors, &e);
		return -EINVAL;
	}
	table_init(&p);
	wants_help = take_words(&p, argc, argv);
	if (!wants_help)
		take_all(&p);
	config_items_fini(&p.files);
	config_items_fini(&p.words);
	if (wants_help)
		return CONFIG_HELP;
	if (ret_errors->n > 0)
		return -EINVAL;
	return p.wants_dump ? CONFIG_DUMP : CONFIG_RUN;
}
