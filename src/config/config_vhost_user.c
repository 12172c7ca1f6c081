/* SPDX-License-Identifier: BSD-3-Clause */
/* config_vhost_user.c - --vhost-user: devices that other programs serve */
#include "config/config_table.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Types that foreign back ends serve, also those that are no device of ours. */
static const struct {
	const char *name;
	uint16_t virtio_id;
} foreign_types[] = {
	{"block", VIRTIO_ID_BLOCK},     {"net", VIRTIO_ID_NET},       {"rng", VIRTIO_ID_RNG},
	{"console", VIRTIO_ID_CONSOLE}, {"fs", VIRTIO_ID_FS},         {"scsi", VIRTIO_ID_SCSI},
	{"gpu", VIRTIO_ID_GPU},         {"input", VIRTIO_ID_INPUT},   {"vsock", VIRTIO_ID_VSOCK},
	{"sound", VIRTIO_ID_SOUND},     {"crypto", VIRTIO_ID_CRYPTO},
};

struct foreign {
	char *socket, *tag;
	uint32_t queues;
};

const struct opt config_vhost_user_opts[] = {
	OPT_TEXT(struct foreign, socket, "PATH", "UNIX socket on which the back end listens"),
	OPT_TEXT(struct foreign, tag, "NAME", "fs only: the name the guest mounts it by"),
	OPT_NUMBER(struct foreign, queues, 1, DEVICE_QUEUES_MAX, "Request queues to use"),
	OPT_END,
};

static int find_foreign(const char *name, size_t n, struct config_device *d, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(foreign_types); i++)
		if (strlen(foreign_types[i].name) == n &&
		    memcmp(foreign_types[i].name, name, n) == 0) {
			d->name = foreign_types[i].name;
			d->virtio_id = foreign_types[i].virtio_id;
			d->type = device_type_find(d->name);
			return 0;
		}
	return err_say(e, EINVAL,
		       "unknown type \"%.*s\"; known: block, net, rng, console, fs, scsi, "
		       "gpu, input, vsock, sound, crypto",
		       (int)(n < 64 ? n : 64), name);
}

static int check_foreign(const struct config_device *d, const struct foreign *f, struct err *e)
{
	struct stat st;

	if (!f->socket)
		return err_say(e, EINVAL, "socket=PATH is missing");
	if (f->tag && d->virtio_id != VIRTIO_ID_FS)
		return err_say(e, EINVAL, "tag: only fs has one");
	if (!f->tag && d->virtio_id == VIRTIO_ID_FS)
		return err_say(e, EINVAL, "tag=NAME is missing: the guest mounts it by that name");
	if (stat(f->socket, &st) < 0)
		return err_say(e, errno, "%s: %s; start the back end first", f->socket,
			       strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return err_say(e, ENOTSOCK, "%s: not a socket", f->socket);
	return 0;
}

int config_vhost_user_add(struct config *c, const char *text, struct err *e)
{
	struct config_device *d = config_device_next(c, e);
	struct foreign f = {0};
	size_t n = strcspn(text, ",");
	int r;

	if (!d)
		return -e->code;
	r = find_foreign(text, n, d, e);
	if (r == 0)
		r = opt_parse(config_vhost_user_opts, &f, text[n] ? text + n + 1 : "", e);
	if (r == 0)
		r = check_foreign(d, &f, e);
	if (r < 0) {
		opt_fini(config_vhost_user_opts, &f);
		return r;
	}
	d->options = strdup("");
	if (!d->options) {
		opt_fini(config_vhost_user_opts, &f);
		return err_set(e, ENOMEM, "cannot keep the options");
	}
	d->socket = f.socket;
	d->tag = f.tag;
	d->queues = f.queues;
	c->ndevices++;
	return 0;
}
