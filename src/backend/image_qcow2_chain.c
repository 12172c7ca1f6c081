/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_chain.c - the image and its backing files
 *
 * A backing file is opened only where the user allows it: an image that somebody made could name
 * any file of the host.  Its format must be named in the image; whether it may be guessed is not a
 * question.  The chain is bounded, and no file is in it twice.
 */
#include "backend/image_file.h"
#include "backend/image_qcow2_open.h"
#include "base/fd.h"
#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* For metadata: without O_DIRECT. */
static int open_metadata(struct qcow2_layer *l, const struct image *file, struct err *e)
{
	char path[32];

	l->fd = l->data_fd = file->fd;
	if (!file->direct)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file->fd);
	l->fd = open(path, (file->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY);
	if (l->fd < 0)
		return err_set(e, errno, "cannot open for metadata");
	l->owns_fd = true;
	return 0;
}

static int file_size(const struct image *file, uint64_t *ret, struct err *e)
{
	struct stat st;

	*ret = file->size;
	if (file->is_block_device)
		return 0;
	if (fstat(file->fd, &st) < 0)
		return err_set(e, errno, "cannot find its size");
	*ret = (uint64_t)st.st_size;
	return 0;
}

static int open_qcow2(struct qcow2_layer *l, const struct image *file, struct err *e)
{
	int r = qcow2_header_read(l->fd, &l->h, e);

	if (r < 0)
		return r;
	l->cluster_bits = l->h.cluster_bits;
	l->size = l->h.size;
	l->file_bytes = round_up(l->file_bytes, UINT64_C(1) << l->cluster_bits);
	if (file->direct && (file->block_size > 1u << l->cluster_bits || l->cluster_bits < 12))
		return err_say(e, EINVAL,
			       "direct I/O needs clusters of at least 4 KiB; leave out direct");
	return 0;
}

static int open_layer(struct qcow2_layer *l, const struct image *file, bool is_raw, struct err *e)
{
	int r = open_metadata(l, file, e);

	if (r == 0)
		r = file_size(file, &l->file_bytes, e);
	l->is_raw = is_raw;
	l->size = round_up(l->file_bytes, 512); /* what is missing reads as zero */
	return r < 0 || is_raw ? r : open_qcow2(l, file, e);
}

static int check_loop(const struct qcow2 *q, const struct image *file, struct err *e)
{
	struct stat a, b;

	if (fstat(file->fd, &a) < 0)
		return err_set(e, errno, "cannot find its type");
	for (unsigned i = 0; i < q->nlayers; i++)
		if (fstat(q->layers[i].data_fd, &b) == 0 && a.st_dev == b.st_dev &&
		    a.st_ino == b.st_ino && (!file->is_block_device || a.st_rdev == b.st_rdev))
			return err_say(e, ELOOP, "the backing files form a loop");
	return 0;
}

/* Whether the path, free of links, lies in one of the folders of the list. */
static bool is_allowed(const char *list, const char *path)
{
	char folder[PATH_MAX];

	if (strcmp(list, "on") == 0)
		return true;
	while (*list) {
		size_t n = strcspn(list, ":");
		char *real;
		bool inside = false;

		if (n > 0 && n < sizeof(folder)) {
			memcpy(folder, list, n);
			folder[n] = '\0';
			real = realpath(folder, NULL);
			n = real ? strlen(real) : 0;
			inside = n > 0 && strncmp(real, path, n) == 0 && (path[n] == '/' || n == 1);
			free(real);
		}
		if (inside)
			return true;
		list += strcspn(list, ":");
		list += *list == ':';
	}
	return false;
}

/* Names are relative to the folder of the image that has them.  malloc'ed, without links. */
static char *resolve(const struct qcow2_layer *l, const char *name)
{
	char link[32], path[PATH_MAX + QCOW2_BACKING_NAME_MAX + 1];
	ssize_t n;
	char *slash;

	if (name[0] == '/')
		return realpath(name, NULL);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", l->data_fd);
	n = readlink(link, path, PATH_MAX - 1);
	if (n <= 0)
		return NULL;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return NULL;
	snprintf(slash + 1, QCOW2_BACKING_NAME_MAX + 1, "%s", name);
	return realpath(path, NULL);
}

static int check_allowed(const struct qcow2_layer *l, const struct image_options *o, bool *ret_raw,
			 struct err *e)
{
	const char *name = l->h.backing, *colon = strchr(name, ':'), *slash = strchr(name, '/');

	if (!o->backing || strcmp(o->backing, "off") == 0)
		return err_say(e, EACCES,
			       "it has a backing file, %s; allow it with backing=on or "
			       "backing=FOLDER",
			       name);
	if (colon && (!slash || colon < slash))
		return err_say(e, ENOTSUP, "backing file %s: only files are supported", name);
	*ret_raw = strcmp(l->h.backing_format, "raw") == 0;
	if (!l->h.backing_format[0])
		return err_say(e, EINVAL,
			       "backing file %s: the image does not name its format; set it with "
			       "qemu-img rebase -u -b FILE -F FORMAT",
			       name);
	if (!*ret_raw && strcmp(l->h.backing_format, "qcow2") != 0)
		return err_say(e, ENOTSUP, "backing file %s: format %s is not supported", name,
			       l->h.backing_format);
	return 0;
}

static int open_backing(struct qcow2 *q, const struct image_options *o, struct err *e)
{
	const struct qcow2_layer *above = &q->layers[q->nlayers - 1];
	struct qcow2_layer *l = &q->layers[q->nlayers];
	struct image_options own = {.direct = o->direct};
	char *path;
	bool is_raw = false;
	int r = check_allowed(above, o, &is_raw, e);

	if (r < 0)
		return r;
	if (q->nlayers == QCOW2_LAYERS_MAX)
		return err_say(e, ELOOP, "more than %d backing files", QCOW2_LAYERS_MAX - 1);
	path = resolve(above, above->h.backing);
	if (!path)
		return err_set(e, errno, "backing file %s", above->h.backing);
	l->own = (struct image){.fd = -1, .lock_fd = -1};
	own.path = path;
	if (!is_allowed(o->backing, path))
		r = err_say(e, EACCES, "backing file %s: not in a folder that backing= allows",
			    path);
	if (r == 0)
		r = image_file_open(&l->own, &own, e);
	if (r == 0)
		r = check_loop(q, &l->own, e);
	if (r == 0)
		r = open_layer(l, &l->own, is_raw, e);
	if (r < 0 && !strstr(e->text, path))
		err_in(e, "backing file %s", path);
	q->nlayers++; /* to be closed, also when half open */
	free(path);
	return r;
}

/* Another file for aio; direct I/O goes by the strictest of them. */
static void add_file(struct image *im, struct qcow2_layer *l)
{
	im->files[im->nfiles++] = l->data_fd;
	im->dma_align = (uint32_t)max_u64(im->dma_align, l->own.dma_align);
	im->block_size = (uint32_t)max_u64(im->block_size, l->own.block_size);
	if (!l->is_raw)
		l->size = round_up(l->size, 512);
}

int qcow2_chain_open(struct qcow2 *q, const struct image_options *o, struct err *e)
{
	struct image *im = q->im;
	int r;

	q->nlayers = 1;
	r = open_layer(&q->layers[0], im, false, e);
	q->cluster_bits = q->layers[0].cluster_bits;
	q->cluster = UINT64_C(1) << q->cluster_bits;
	while (r == 0 && !q->layers[q->nlayers - 1].is_raw &&
	       q->layers[q->nlayers - 1].h.backing[0]) {
		r = open_backing(q, o, e);
		if (r == 0)
			add_file(im, &q->layers[q->nlayers - 1]);
	}
	q->has_backing = q->nlayers > 1;
	return r;
}

void qcow2_chain_close(struct qcow2 *q)
{
	for (unsigned i = 0; i < q->nlayers; i++) {
		struct qcow2_layer *l = &q->layers[i];

		if (l->owns_fd)
			fd_close(&l->fd);
		if (i == 0)
			continue;
		fd_close(&l->own.fd);
		fd_close(&l->own.lock_fd);
	}
	q->nlayers = 0;
}
