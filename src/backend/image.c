/* SPDX-License-Identifier: BSD-3-Clause */
/* image.c - disk images: formats by name, and what they share */
#include "backend/image.h"

#include "backend/image_file.h"
#include "base/fd.h"
#include "base/num.h"

#include <assert.h>
#include <errno.h>

static const struct image_ops *const formats[] = {&image_raw, &image_qcow2};
const char *const image_formats[] = {"raw", "qcow2", NULL};

static_assert(ARRAY_LEN(image_formats) == ARRAY_LEN(formats) + 1, "a word for each format");

const struct image_ops *image_format(int index)
{
	assert(index >= 0 && (size_t)index < ARRAY_LEN(formats));
	return formats[index];
}

int image_open(struct image *im, const struct image_options *o, struct err *e)
{
	int r;

	*im = (struct image){.ops = o->ops, .fd = -1, .lock_fd = -1, .sparse = o->sparse};
	r = image_file_open(im, o, e);
	if (r < 0) {
		fd_close(&im->fd);
		fd_close(&im->lock_fd);
		im->ops = NULL;
		return r;
	}
	im->discard_block = im->host_block;
	im->files[im->nfiles++] = im->fd;
	r = im->ops->open(im, o, e);
	if (r < 0) {
		err_in(e, "%s", o->path);
		image_close(im);
	}
	return r;
}

void image_attach(struct image *im, struct aio *aio)
{
	im->aio = aio;
}

void image_close(struct image *im)
{
	if (!im || !im->ops)
		return;
	im->ops->close(im);
	fd_close(&im->fd);
	fd_close(&im->lock_fd);
	im->ops = NULL;
}

int image_resize(struct image *im, uint64_t size, struct err *e)
{
	if (!im->writable)
		return err_say(e, EROFS, "the disk is read-only");
	if (size % im->block_size != 0)
		return err_say(e, EINVAL, "size %llu: not a multiple of the block size, %u",
			       (unsigned long long)size, im->block_size);
	if (size < im->size && !(im->is_block_device && size == 0))
		return err_say(e, EINVAL, "size %llu: less than the disk has, %llu",
			       (unsigned long long)size, (unsigned long long)im->size);
	return im->ops->resize(im, size, e);
}

void image_rest(struct image *im)
{
	if (im->ops->rest)
		im->ops->rest(im);
}

void image_submit(struct image *im, struct image_req *r)
{
	assert(im->writable || r->op == IMAGE_READ || r->op == IMAGE_SYNC);
	assert(r->op == IMAGE_SYNC || is_inside(r->offset, r->length, im->size));
	assert(r->op == IMAGE_SYNC || (r->offset | r->length) % im->block_size == 0);
	assert(r->op == IMAGE_SYNC || r->length > 0);
	r->image = im;
	r->moved = 0;
	r->step = 0;
	r->retries = 0;
	im->ops->submit(im, r);
}
