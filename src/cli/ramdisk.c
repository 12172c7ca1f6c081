/* SPDX-License-Identifier: BSD-3-Clause */
/* ramdisk.c - writes an initial RAM disk: Documentation/driver-api/early-userspace/buffer-format */
#include "cli/ramdisk.h"

#include "base/fd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	ALIGNMENT = 4,
	HEADER_BYTES = 110,
	SIZE_AT = 6 + 6 * 8, /* behind magic, inode, mode, uid, gid, links, time */
	NUMBER_DIGITS = 8,
};

static void put(struct ramdisk *d, const void *data, size_t n)
{
	int r = fd_write_all(d->fd, data, n);

	if (r < 0 && d->error == 0)
		d->error = r;
}

static off_t position(struct ramdisk *d)
{
	off_t at = lseek(d->fd, 0, SEEK_CUR);

	if (at < 0 && d->error == 0)
		d->error = -errno;
	return at;
}

static void align(struct ramdisk *d)
{
	static const char zeros[ALIGNMENT];
	off_t over = position(d) % ALIGNMENT;

	if (over > 0)
		put(d, zeros, (size_t)(ALIGNMENT - over));
}

static void put_header(struct ramdisk *d, const char *name, unsigned mode, unsigned major,
		       unsigned minor)
{
	char header[HEADER_BYTES + 1];

	d->header = position(d);
	snprintf(header, sizeof(header),
		 "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", ++d->number, mode,
		 0u, 0u, S_ISDIR(mode) ? 2u : 1u, 0u, 0u, 0u, 0u, major, minor,
		 (unsigned)strlen(name) + 1, 0u);
	put(d, header, HEADER_BYTES);
	put(d, name, strlen(name) + 1);
	align(d);
	d->data = position(d);
}

int ramdisk_init(struct ramdisk *d, struct err *e)
{
	*d = (struct ramdisk){.fd = memfd_create("ramdisk", MFD_CLOEXEC)};
	return d->fd < 0 ? err_set(e, errno, "cannot make the initial RAM disk") : 0;
}

void ramdisk_fini(struct ramdisk *d)
{
	fd_close(&d->fd);
}

void ramdisk_folder(struct ramdisk *d, const char *name)
{
	put_header(d, name, S_IFDIR | 0755, 0, 0);
}

void ramdisk_character_device(struct ramdisk *d, const char *name, unsigned major, unsigned minor)
{
	put_header(d, name, S_IFCHR | 0600, major, minor);
}

void ramdisk_begin(struct ramdisk *d, const char *name, unsigned mode)
{
	put_header(d, name, S_IFREG | mode, 0, 0);
}

/* Fills in the size, which was not known. */
static void end(struct ramdisk *d)
{
	char digits[NUMBER_DIGITS + 1];
	off_t size = position(d) - d->data;

	if (size < 0 || size > UINT32_MAX) {
		d->error = d->error ? d->error : -EFBIG;
		return;
	}
	snprintf(digits, sizeof(digits), "%08x", (unsigned)size);
	if (pwrite(d->fd, digits, NUMBER_DIGITS, d->header + SIZE_AT) != NUMBER_DIGITS &&
	    d->error == 0)
		d->error = -EIO;
	align(d);
}

static int result(const struct ramdisk *d, struct err *e)
{
	return d->error ? err_set(e, -d->error, "cannot write the initial RAM disk") : 0;
}

int ramdisk_end(struct ramdisk *d, struct err *e)
{
	end(d);
	return result(d, e);
}

void ramdisk_file(struct ramdisk *d, const char *name, unsigned mode, const void *data, size_t n)
{
	ramdisk_begin(d, name, mode);
	put(d, data, n);
	end(d);
}

int ramdisk_finish(struct ramdisk *d, struct err *e)
{
	put_header(d, "TRAILER!!!", 0, 0, 0);
	if (lseek(d->fd, 0, SEEK_SET) < 0 && d->error == 0)
		d->error = -errno;
	return result(d, e);
}
