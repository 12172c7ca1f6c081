/* SPDX-License-Identifier: BSD-3-Clause */
/* image_qcow2_new.c - new qcow2 images by path */
#include "backend/image_qcow2_new.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* QEMU locks bytes of its images with locks of the open file. */
static bool is_locked_by_bytes(int fd)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

static int check_file(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(e, errno, "%s", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_say(e, EINVAL, "%s: not a regular file or block device", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return err_say(e, EBUSY, "%s: in use, such as by a virtual machine", path);
	if (is_locked_by_bytes(fd))
		return err_say(e, EBUSY, "%s: in use by another program, such as QEMU", path);
	return 0;
}

/* Never waits, as a pipe would make us. */
static int open_or_make(const char *path, bool *ret_made)
{
	const int flags = O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int fd = open(path, flags | O_CREAT | O_EXCL, 0666);

	*ret_made = fd >= 0;
	if (fd < 0 && errno == EEXIST)
		fd = open(path, flags | O_CREAT, 0666);
	return fd;
}

static int fill(int fd, const char *path, uint64_t size, const struct qcow2_create_options *o,
		struct err *e)
{
	int r = check_file(fd, path, e);

	if (r < 0)
		return r;
	r = qcow2_create(fd, size, o, e);
	if (r < 0)
		return err_in(e, "%s", path);
	if (fsync(fd) < 0)
		return err_set(e, errno, "%s: cannot be written to the disk", path);
	return 0;
}

int qcow2_new(const char *path, uint64_t size, const struct qcow2_create_options *o, struct err *e)
{
	bool made = false;
	auto_fd fd = open_or_make(path, &made);
	int r;

	if (fd < 0)
		return err_set(e, errno, "%s", path);
	r = fill(fd, path, size, o, e);
	if (r < 0 && made)
		unlink(path);
	return r;
}
