/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * config_device.c - devices on the command line
 *
 * A device's text is parsed into a scratch struct of the device's own type, so that mistakes are
 * found before anything is started; the process that becomes the device parses it again.
 */
#include "config/config_table.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void config_disk_name(unsigned n, char *buf, size_t room)
{
	char letters[8];
	size_t at = sizeof(letters) - 1;

	letters[at] = '\0';
	do {
		letters[--at] = (char)('a' + n % 26);
		n /= 26;
	} while (n-- > 0 && at > 0);
	snprintf(buf, room, "vd%s", letters + at);
}

int config_param_add(struct config *c, const char *text, struct err *e)
{
	size_t used = strlen(c->params);
	char *grown;

	if (!*text)
		return 0;
	grown = realloc(c->params, used + 1 + strlen(text) + 1);
	if (!grown)
		return err_set(e, ENOMEM, "cannot keep the kernel command line");
	c->params = grown;
	if (used > 0)
		grown[used++] = ' ';
	memcpy(grown + used, text, strlen(text) + 1);
	return 0;
}

int config_file_check(const char *path, int mode, const char *remedy, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_say(e, errno, "%s: %s; %s", path, strerror(errno), remedy);
	if (S_ISDIR(st.st_mode))
		return err_say(e, EISDIR, "%s: this is a directory; %s", path, remedy);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_say(e, EINVAL, "%s: neither a regular file nor a block device; %s", path,
			       remedy);
	if (faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0)
		return 0;
	return err_say(e, errno, "%s: %s; uid %u needs permission to %s it", path, strerror(errno),
		       (unsigned)geteuid(), mode & W_OK ? "read and write" : "read");
}

/* Checks that N of /proc/self/fd/N is open and meant to be inherited. */
static int check_inherited(const char *path, const char *name, int *ret_fd, struct err *e)
{
	uint64_t n;
	int flags;

	if (opt_number(name, &n) < 0 || n > INT_MAX)
		return err_say(e, EINVAL, "%s: not the number of a descriptor", path);
	flags = fcntl((int)n, F_GETFD);
	if (flags < 0)
		return err_say(e, EBADF, "%s: descriptor %s is not open; open it with %s<FILE",
			       path, name, name);
	if (flags & FD_CLOEXEC)
		return err_say(e, EINVAL, "%s: this descriptor is not yours to give", path);
	*ret_fd = (int)n;
	return 0;
}

static int check_inherited_type(const char *path, int fd, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(e, errno, "%s", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_say(e, EINVAL, "%s: neither a regular file nor a block device", path);
	return 0;
}

/* A disk's file; fd N when the path is /proc/self/fd/N, else -1. */
static int check_disk(const char *path, bool is_writable, int *ret_fd, struct err *e)
{
	static const char prefix[] = "/proc/self/fd/";
	int mode = is_writable ? R_OK | W_OK : R_OK;

	*ret_fd = -1;
	if (strncmp(path, prefix, strlen(prefix)) == 0) {
		int r = check_inherited(path, path + strlen(prefix), ret_fd, e);

		return r < 0 ? r : check_inherited_type(path, *ret_fd, e);
	}
	return config_file_check(path, mode,
				 strpbrk(path, "=,")
					 ? "a disk with options is --block path=FILE,KEY=VALUE,..."
					 : "give the path of a disk image",
				 e);
}

struct config_device *config_device_next(struct config *c, struct err *e)
{
	if (c->ndevices == CONFIG_DEVICES_MAX) {
		err_say(e, E2BIG, "too many devices; %d fit", CONFIG_DEVICES_MAX);
		return NULL;
	}
	c->devices[c->ndevices] = (struct config_device){.inherited_fd = -1};
	return &c->devices[c->ndevices];
}

void config_device_fini(struct config_device *d)
{
	free(d->options);
	free(d->socket);
	free(d->tag);
	*d = (struct config_device){.inherited_fd = -1};
}

static unsigned count_disks(const struct config *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->ndevices; i++)
		n += c->devices[i].virtio_id == VIRTIO_ID_BLOCK;
	return n;
}

/* root=/dev/vdX for the disk that will be added next. */
static int add_root(struct config *c, bool is_writable, struct err *e)
{
	char name[16], text[64];

	if (strncmp(c->params, "root=/dev/vd", 12) == 0 || strstr(c->params, " root=/dev/vd"))
		return err_say(e, EINVAL, "another disk or --params is the root already");
	config_disk_name(count_disks(c), name, sizeof(name));
	snprintf(text, sizeof(text), "root=/dev/%s %s", name, is_writable ? "rw" : "ro");
	return config_param_add(c, text, e);
}

static const char *text_of(const struct opt *table, void *target, const char *key)
{
	const struct opt *row = opt_find(table, key);

	return row && row->kind == OPT_KIND_TEXT ? *(char **)opt_field(row, target) : NULL;
}

static bool flag_of(const struct opt *table, void *target, const char *key)
{
	const struct opt *row = opt_find(table, key);

	return row && row->kind == OPT_KIND_FLAG && *(bool *)opt_field(row, target);
}

/* What only main can know of a disk. */
static int check_block(struct config *c, const struct opt *table, void *scratch, int *ret_fd,
		       struct err *e)
{
	const char *path = text_of(table, scratch, "path");
	bool is_writable = !flag_of(table, scratch, "ro");
	int r;

	if (!path)
		return err_say(e, EINVAL, "path=FILE is missing");
	r = check_disk(path, is_writable, ret_fd, e);
	if (r == 0 && flag_of(table, scratch, "root"))
		r = add_root(c, is_writable, e);
	return r;
}

static uint64_t size_of(const struct opt *table, void *target, const char *key)
{
	const struct opt *row = opt_find(table, key);

	return row && row->kind == OPT_KIND_SIZE ? *(uint64_t *)opt_field(row, target) : 0;
}

/* What main does for a balloon. */
static void take_balloon(struct config *c, const struct opt *table, void *scratch)
{
	const struct opt *policy = opt_find(table, "policy"), *speed = opt_find(table, "speed");

	c->balloon.margin = size_of(table, scratch, "margin");
	c->balloon.max = size_of(table, scratch, "max");
	if (policy && policy->kind == OPT_KIND_CHOICE)
		c->balloon.policy =
			(int)pressure_kind(policy->choices[*(int *)opt_field(policy, scratch)]);
	if (speed && speed->kind == OPT_KIND_NUMBER)
		c->balloon.speed = *(uint32_t *)opt_field(speed, scratch);
}

static bool has_balloon(const struct config *c)
{
	for (unsigned i = 0; i < c->ndevices; i++)
		if (c->devices[i].virtio_id == VIRTIO_ID_BALLOON)
			return true;
	return false;
}

/* Type "stdio", without descriptors of its own. */
static bool is_on_stdio(const struct opt *table, void *scratch)
{
	const struct opt *type = opt_find(table, "type"), *output = opt_find(table, "output");

	return type && type->kind == OPT_KIND_CHOICE && output && output->kind == OPT_KIND_FD &&
	       strcmp(type->choices[*(int *)opt_field(type, scratch)], "stdio") == 0 &&
	       *(int *)opt_field(output, scratch) < 0;
}

bool config_has_stdio_device(const struct config *c)
{
	for (unsigned i = 0; i < c->ndevices; i++)
		if (c->devices[i].on_stdio)
			return true;
	return false;
}

/* What only main can know of virtual sockets. */
static int check_vsock(const struct config *c, struct err *e)
{
	for (unsigned i = 0; i < c->ndevices; i++)
		if (c->devices[i].virtio_id == VIRTIO_ID_VSOCK)
			return err_say(e, EINVAL, "a guest takes one such device, and has one");
	return 0;
}

/* Virtual sockets without socket=PATH are the kernel's. */
static const struct device_type *vsock_kind(const struct device_type *type, const char *text)
{
	const struct device_type *kernels = device_type_find("vhost_vsock");
	void *scratch auto_free = calloc(1, type->size);
	struct err unused = {0};
	bool has_socket = !scratch || opt_parse(type->opts, scratch, text, &unused) < 0 ||
			  text_of(type->opts, scratch, "socket");

	if (scratch)
		opt_fini(type->opts, scratch);
	return has_socket || !kernels ? type : kernels;
}

/* Reads the options of device d, which is not in the list yet. */
static int check_text(struct config *c, const struct device_type *type, const char *text,
		      struct config_device *d, struct err *e)
{
	static const struct opt none[] = {OPT_END};
	const struct opt *table = type->opts ? type->opts : none;
	void *scratch auto_free = calloc(1, type->size);
	int r;

	if (!scratch)
		return err_set(e, ENOMEM, "cannot read the options");
	if (type->defaults)
		type->defaults(scratch);
	r = opt_parse(table, scratch, text, e);
	if (r == 0 && type->check)
		r = type->check(scratch, e);
	if (r == 0 && type->virtio_id == VIRTIO_ID_BLOCK)
		r = check_block(c, table, scratch, &d->inherited_fd, e);
	if (r == 0 && type->virtio_id == VIRTIO_ID_BALLOON && has_balloon(c))
		r = err_say(e, EINVAL, "there is one already; a guest uses only one");
	if (r == 0 && type->virtio_id == VIRTIO_ID_BALLOON)
		take_balloon(c, table, scratch);
	if (r == 0 && type->virtio_id == VIRTIO_ID_VSOCK)
		r = check_vsock(c, e);
	d->queues = r == 0 && type->queues ? type->queues(scratch) : 0;
	d->on_stdio = r == 0 && is_on_stdio(table, scratch);
	if (d->on_stdio && config_has_stdio_device(c))
		r = err_say(e, EINVAL, "stdio is used by another device already");
	opt_fini(table, scratch);
	return r;
}

int config_device_add(struct config *c, const struct device_type *type, const char *text,
		      struct err *e)
{
	struct config_device *d = config_device_next(c, e);
	int r;

	if (!d)
		return -e->code;
	if (strcmp(type->name, "vsock") == 0)
		type = vsock_kind(type, text);
	r = check_text(c, type, text, d, e);
	if (r < 0)
		return r;
	d->options = strdup(text);
	if (!d->options)
		return err_set(e, ENOMEM, "cannot keep the options");
	d->type = type;
	d->name = type->name;
	d->virtio_id = type->virtio_id;
	c->ndevices++;
	return 0;
}

int config_disk_add(struct config *c, const char *path, const char *format, bool is_writable,
		    bool is_root, struct err *e)
{
	const struct device_type *type = device_type_find("block");
	size_t n = 2 * strlen(path) + sizeof("path=,format=qcow2,ro");
	char *text auto_free = calloc(1, n);

	if (!type)
		return err_say(e, ENODEV, "not built in: build with -Ddevices=block");
	if (!text)
		return err_set(e, ENOMEM, "cannot keep the path");
	if (opt_append(text, n, "path", path) < 0 ||
	    (format && opt_append(text, n, "format", format) < 0) ||
	    (!is_writable && opt_append(text, n, "ro", NULL) < 0))
		return err_set(e, ENOSPC, "cannot keep the path");
	if (is_root && add_root(c, is_writable, e) < 0)
		return -e->code;
	return config_device_add(c, type, text, e);
}

const struct opt config_rootfs_opts[] = {
	OPT_FIRST(struct config_rootfs, path, "DIR|TAR",
		  "Directory, or tar archive, also packed; \"-\" is standard input"),
	OPT_FLAG(struct config_rootfs, ro, "Refuse writes, rather than keep them in memory"),
	OPT_TEXT(struct config_rootfs, modules, "DIR",
		 "Where the kernel's lib/modules is, or none if it needs none"),
	OPT_END,
};

/* The disk's row; the file that it is comes later. */
static int reserve_disk(struct config *c, struct err *e)
{
	const struct device_type *type = device_type_find("block");
	struct config_device *d = config_device_next(c, e);

	if (!type)
		return err_say(e, ENODEV, "not built in: build with -Ddevices=block");
	if (!d || add_root(c, !c->rootfs.ro, e) < 0)
		return -e->code;
	d->options = strdup("");
	if (!d->options)
		return err_set(e, ENOMEM, "cannot keep the options");
	d->type = type;
	d->name = type->name;
	d->virtio_id = type->virtio_id;
	c->rootfs.device = c->ndevices++;
	return 0;
}

int config_rootfs_add(struct config *c, const char *text, struct err *e)
{
	struct stat st;

	if (opt_parse(config_rootfs_opts, &c->rootfs, text, e) < 0)
		return -e->code;
	if (!c->rootfs.path)
		return err_say(e, EINVAL, "a directory or a tar archive is missing");
	if (strcmp(c->rootfs.path, "-") != 0 &&
	    (stat(c->rootfs.path, &st) < 0 || access(c->rootfs.path, R_OK) < 0))
		return err_say(e, errno, "%s: %s; give a directory or a tar archive that uid %u "
					 "can read",
			       c->rootfs.path, strerror(errno), (unsigned)geteuid());
	return reserve_disk(c, e);
}

bool config_device_is_optional(const struct device_type *type)
{
	const struct opt *row = type->opts;

	for (; row && row->kind != OPT_KIND_END; row++)
		if (row->first && row->kind == OPT_KIND_TEXT)
			return false;
	return true;
}
