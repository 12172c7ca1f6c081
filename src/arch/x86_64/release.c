/* SPDX-License-Identifier: BSD-3-Clause */
/* release.c - which release of Linux a kernel file is */
#include "arch/arch.h"

#include "arch/x86_64/bzimage.h"
#include "arch/x86_64/kernel_file.h"
#include "base/fd.h"
#include "base/num.h"

#include <asm/bootparam.h>
#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR_BYTES = 512, TEXT_MAX = 128, PIECE_BYTES = 1 << 20 };

/* What stands up to the first blank; false unless it looks like a release. */
static bool take(const char *text, size_t n, char *ret, size_t room)
{
	size_t used = 0;

	while (used < n && isgraph((unsigned char)text[used]) && text[used] != '/')
		used++;
	if (used == 0 || used == n || used >= room || !isdigit((unsigned char)text[0]))
		return false;
	memcpy(ret, text, used);
	ret[used] = '\0';
	return true;
}

/* The setup header has the offset of a text, less one sector. */
static bool from_bzimage(const struct kernel_file *f, char *ret, size_t room)
{
	char text[TEXT_MAX];
	struct err unused = {0};
	uint16_t at;

	memcpy(&at,
	       f->head + offsetof(struct boot_params, hdr) +
		       offsetof(struct setup_header, kernel_version),
	       sizeof(at));
	return at > 0 &&
	       kernel_file_read(f, (uint64_t)at + SECTOR_BYTES, text, sizeof(text), "its release",
				&unused) == 0 &&
	       take(text, sizeof(text), ret, room);
}

/* Looks for the banner in n bytes. */
static bool banner_in(const char *bytes, size_t n, char *ret, size_t room)
{
	static const char banner[] = "Linux version ";
	const char *at = bytes;

	while ((at = memmem(at, n - (size_t)(at - bytes), banner, strlen(banner)))) {
		at += strlen(banner);
		if (take(at, n - (size_t)(at - bytes), ret, room))
			return true;
	}
	return false;
}

/* A kernel that is not packed has its banner in clear; pieces overlap, so that none cuts it. */
static bool from_banner(const struct kernel_file *f, char *ret, size_t room)
{
	char *piece auto_free = malloc(PIECE_BYTES);

	if (!piece)
		return false;
	for (uint64_t at = 0; at < f->size; at += PIECE_BYTES - TEXT_MAX) {
		size_t n = (size_t)min_u64(f->size - at, PIECE_BYTES);

		if (fd_pread_all(f->fd, piece, n, at) < 0)
			return false;
		if (banner_in(piece, n, ret, room))
			return true;
	}
	return false;
}

int arch_kernel_release(const char *path, int fd, char *ret, size_t room, struct err *e)
{
	struct kernel_file *f auto_free = malloc(sizeof(*f));
	bool is_found;
	int r;

	if (!f)
		return err_set(e, ENOMEM, "%s", path);
	r = kernel_file_init(f, path, fd, e);
	if (r < 0)
		return r;
	is_found = bzimage_matches(f) ? from_bzimage(f, ret, room) : from_banner(f, ret, room);
	if (!is_found)
		return err_say(e, EINVAL, "%s: does not say which release of Linux it is", path);
	return 0;
}
