/* SPDX-License-Identifier: BSD-3-Clause */
/* image_file.c - the file below an image: opened, locked, measured */
#include "backend/image_file.h"

#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

enum {
	SECTOR = 512,      /* bytes; the unit of virtio */
	BLOCK_MAX = 65536, /* larger alignments are not believed */
	LOCK_PAUSE_NS = 2000000,
	LOCK_TRIES = 100,       /* while its holder lives: it may be about to die */
	LOCK_TRIES_DEAD = 2500, /* until the I/O of a process that was killed has ended */
};

/* The number in /proc/self/fd/N, or -1 when the path is not exactly that. */
static int fd_number(const char *path)
{
	static const char prefix[] = "/proc/self/fd/";
	const char *digits = path + sizeof(prefix) - 1;
	char *end;
	long n;

	if (strncmp(path, prefix, sizeof(prefix) - 1) != 0 || *digits < '0' || *digits > '9')
		return -1;
	n = strtol(digits, &end, 10);
	return *end == '\0' && n <= INT32_MAX ? (int)n : -1;
}

/* Refuses what was not handed in on purpose: all our own descriptors are close-on-exec. */
static int check_inherited(int fd, bool writable, const char *path, struct err *e)
{
	int flags = fcntl(fd, F_GETFD);

	if (flags < 0)
		return err_say(e, EBADF, "%s: no such descriptor was handed to this process", path);
	if (flags & FD_CLOEXEC)
		return err_say(e, EBADF, "%s: not a descriptor that was handed in (close-on-exec)",
			       path);
	if (writable && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
		return err_say(e, EACCES, "%s: not open for reading and writing", path);
	return 0;
}

/* Opening anew gives a lock of our own; where that is not allowed the descriptor is shared. */
static int open_inherited(int fd, int flags, const struct image_options *o, struct err *e)
{
	int r = check_inherited(fd, o->writable, o->path, e);

	if (r < 0)
		return r;
	r = open(o->path, flags);
	if (r < 0)
		r = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (r >= 0 && o->direct && fcntl(r, F_SETFL, O_DIRECT) < 0) {
		close(r);
		r = -1;
	}
	return r < 0 ? err_set(e, errno, "%s: cannot use descriptor", o->path) : r;
}

/* Looks before it opens: opening a pipe would wait, opening a tape would wind. */
static int open_path(const struct image_options *o, int flags, struct err *e)
{
	struct stat st;
	int fd;

	if (stat(o->path, &st) < 0)
		return err_set(e, errno, "%s", o->path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_say(e, EINVAL, "%s: not a regular file or block device", o->path);
	fd = open(o->path, flags);
	if (fd < 0 && errno == EINVAL && o->direct)
		return err_say(e, EINVAL, "%s: its file system has no direct I/O; leave out direct",
			       o->path);
	if (fd < 0)
		return err_set(e, errno, "%s: cannot open for %s", o->path,
			       o->writable ? "writing" : "reading");
	return fd;
}

/* The process that holds a lock on the file, or 0; from /proc/locks. */
static int lock_holder(const struct stat *st)
{
	FILE *f = fopen("/proc/locks", "re");
	char line[256];
	int holder = 0;

	while (f && holder == 0 && fgets(line, sizeof(line), f)) {
		unsigned major, minor;
		unsigned long long inode;
		int pid;

		if (sscanf(line, "%*s FLOCK %*s %*s %d %x:%x:%llu", &pid, &major, &minor, &inode) !=
		    4)
			continue;
		if (makedev(major, minor) == st->st_dev && inode == st->st_ino)
			holder = pid;
	}
	if (f)
		fclose(f);
	return holder;
}

static bool is_alive(int pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	return pid > 0 && access(path, F_OK) == 0;
}

static int lock_conflict(const struct image_options *o, const struct stat *st, struct err *e)
{
	int pid = lock_holder(st);
	char who[48] = "another process";

	if (pid > 0)
		snprintf(who, sizeof(who), "process %d", pid);
	if (o->writable)
		return err_say(e, EBUSY,
			       "%s: in use by %s, such as a disk of this or another machine; a "
			       "writable disk can have one user only",
			       o->path, who);
	return err_say(e, EBUSY,
		       "%s: %s, such as another virtual machine, has it open for writing; "
		       "read-only disks can be shared among readers only",
		       o->path, who);
}

static int lock(int fd, const struct image_options *o, const struct stat *st, struct err *e)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
	int how = (o->writable ? LOCK_EX : LOCK_SH) | LOCK_NB;

	for (int i = 0; flock(fd, how) < 0; i++) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_set(e, errno, "%s: cannot lock", o->path);
		if (i >= LOCK_TRIES && (i >= LOCK_TRIES_DEAD || is_alive(lock_holder(st))))
			return lock_conflict(o, st, e);
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* Direct I/O: the units of addresses and offsets.  The page size always works. */
static void measure_alignment(struct image *im)
{
	struct statx x;
	int sector = 0;

	im->dma_align = im->block_size = 4096;
	if (statx(im->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) == 0 &&
	    (x.stx_mask & STATX_DIOALIGN) && x.stx_dio_offset_align <= BLOCK_MAX &&
	    is_power_of_two(x.stx_dio_offset_align) && is_power_of_two(x.stx_dio_mem_align)) {
		im->dma_align = x.stx_dio_mem_align;
		im->block_size = x.stx_dio_offset_align;
	} else if (im->is_block_device && ioctl(im->fd, BLKSSZGET, &sector) == 0 && sector > 0 &&
		   is_power_of_two((unsigned)sector) && sector <= BLOCK_MAX) {
		im->dma_align = im->block_size = (uint32_t)sector;
	}
	if (im->block_size < SECTOR)
		im->block_size = SECTOR;
}

static int measure(struct image *im, const struct image_options *o, const struct stat *st,
		   struct err *e)
{
	im->size = (uint64_t)st->st_size;
	if (im->is_block_device && ioctl(im->fd, BLKGETSIZE64, &im->size) < 0)
		return err_set(e, errno, "%s: cannot find its size", o->path);
	im->block_size = SECTOR;
	im->dma_align = 1;
	im->host_block = (uint32_t)st->st_blksize;
	if (im->direct)
		measure_alignment(im);
	if (o->block_size != 0 && o->block_size < im->block_size)
		return err_say(e, EINVAL, "%s: direct I/O needs blocks of at least %u bytes",
			       o->path, im->block_size);
	if (o->block_size != 0)
		im->block_size = o->block_size;
	if (!is_power_of_two(im->host_block) || im->host_block < im->block_size ||
	    im->host_block > BLOCK_MAX)
		im->host_block = im->block_size;
	if (im->size % im->block_size != 0)
		im->remark = "its size is not a multiple of the block size; the end is hidden";
	im->size = round_down(im->size, im->block_size);
	return 0;
}

/*
 * What carries the lock (image.h, I4).  Direct I/O goes on after its process has died, and an
 * io_uring that is being taken down holds its files until all of it is done: the file itself.  That
 * takes tens of milliseconds.  I/O through the page cache ends before the process does: a file of
 * its own, so that a device that died is back at once.  -1: the file itself.
 */
static int open_for_lock(const struct image *im)
{
	char path[32];

	if (im->direct)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", im->fd);
	return open(path, (im->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY);
}

int image_file_open(struct image *im, const struct image_options *o, struct err *e)
{
	int flags = O_CLOEXEC | O_NOCTTY | (o->writable ? O_RDWR : O_RDONLY) |
		    (o->direct ? O_DIRECT : 0);
	int inherited = fd_number(o->path);
	struct stat st;
	int r;

	im->writable = o->writable;
	im->direct = o->direct;
	im->fd = inherited >= 0 ? open_inherited(inherited, flags, o, e) : open_path(o, flags, e);
	if (im->fd < 0)
		return im->fd;
	if (fstat(im->fd, &st) < 0)
		return err_set(e, errno, "%s: cannot find its type", o->path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_say(e, EINVAL, "%s: not a regular file or block device", o->path);
	im->is_block_device = S_ISBLK(st.st_mode);
	im->lock_fd = open_for_lock(im);
	r = lock(im->lock_fd >= 0 ? im->lock_fd : im->fd, o, &st, e);
	if (r < 0)
		return r;
	return measure(im, o, &st, e);
}
