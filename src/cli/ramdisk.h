/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ramdisk.h - writes an initial RAM disk: a cpio archive in the format "newc", in memory
 *
 *	struct ramdisk d;
 *	ramdisk_init(&d, &e);
 *	ramdisk_folder(&d, "modules");
 *	ramdisk_begin(&d, "modules/0", 0644);
 *	... anything that writes to d.fd, also another program ...
 *	ramdisk_end(&d, &e);
 *	ramdisk_finish(&d, &e);
 *
 * Errors of writing are kept and told by ramdisk_end() and ramdisk_finish().
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ramdisk {
	int fd;          /* owned; a memfd, at the place to write to */
	int error;       /* -errno of the first write that failed, or 0 */
	uint32_t number; /* of the last file */
	off_t header;    /* of the file that is being written */
	off_t data;
};

int ramdisk_init(struct ramdisk *d, struct err *e) MUST_CHECK;
void ramdisk_fini(struct ramdisk *d);

/* Names are relative to the root; the folders above come first. */
void ramdisk_folder(struct ramdisk *d, const char *name);
void ramdisk_character_device(struct ramdisk *d, const char *name, unsigned major, unsigned minor);
void ramdisk_file(struct ramdisk *d, const char *name, unsigned mode, const void *data, size_t n);

/* A file whose data the caller writes to d->fd in between. */
void ramdisk_begin(struct ramdisk *d, const char *name, unsigned mode);
int ramdisk_end(struct ramdisk *d, struct err *e) MUST_CHECK;

/* The trailer; d->fd is at its start again. */
int ramdisk_finish(struct ramdisk *d, struct err *e) MUST_CHECK;
