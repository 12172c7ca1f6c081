/* SPDX-License-Identifier: BSD-3-Clause */
/* config_table.h - the table behind `crosvm run`; for config*.c only */
#pragma once

#include "base/args.h"
#include "base/opt.h"
#include "config/config.h"
#include "devices/device.h"

struct config_option {
	struct arg arg;
	bool is_repeatable;
	bool takes_empty; /* a value of no characters */

	/* One of: a plain field of struct config, or a function. */
	struct opt row; /* OPT_KIND_END: none */
	int (*set)(struct config *c, const char *value, struct err *e);

	const struct opt *keys;   /* of the value, for help and manual; NULL for plain values */
	const char *default_text; /* for the help, or NULL */
};

enum { CONFIG_TABLE_MAX = 160 };

/*
 * Every option that is not a device of its own; ended by a NULL name.  Order is that of the help.
 */
extern const struct config_option config_options[];

/* Options of other builds and programs, with what to say as their help; ended by a NULL name. */
extern const struct arg config_refused[];

/* The keys of --rootfs; set fields of struct config_rootfs. */
extern const struct opt config_rootfs_opts[];

/* config_device.c: each appends to c->devices (and the root= word to c->params). */
int config_device_add(struct config *c, const struct device_type *type, const char *text,
		      struct err *e) MUST_CHECK;
int config_disk_add(struct config *c, const char *path, const char *format, bool is_writable,
		    bool is_root, struct err *e) MUST_CHECK;
int config_rootfs_add(struct config *c, const char *text, struct err *e) MUST_CHECK;

/* A new last row, which counts when c->ndevices is raised; or NULL. */
struct config_device *config_device_next(struct config *c, struct err *e);
void config_device_fini(struct config_device *d);

/* config_vhost_user.c: the keys behind the type, and another such device. */
extern const struct opt config_vhost_user_opts[];
int config_vhost_user_add(struct config *c, const char *text, struct err *e) MUST_CHECK;

/* config_net.c: --tap-fd; and the cards, when the whole command line was read. */
int config_tap_fd_add(struct config *c, const char *value, struct err *e) MUST_CHECK;
int config_net_finish(struct config *c, struct err *e) MUST_CHECK;
void config_net_fini(struct config_net *n);

/* Whether --NAME can go without a value: no text is wanted as its first word. */
bool config_device_is_optional(const struct device_type *type);

/* --NAME of a device, as the help shows it. */
struct arg config_device_arg(const struct device_type *type);

/* Appends words to the kernel command line; none is fine. */
int config_param_add(struct config *c, const char *text, struct err *e) MUST_CHECK;

/* Whether path can be opened with mode (R_OK, R_OK | W_OK); remedy ends the message. */
int config_file_check(const char *path, int mode, const char *remedy, struct err *e) MUST_CHECK;
