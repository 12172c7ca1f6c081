/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rootfs.c - --rootfs: a directory or a tar archive becomes the guest's root file system
 *
 * The image is squashfs, made by squashfs-tools, which knows of no privileges: owners and device
 * nodes are only data to it.  Nothing in it is compressed, for it is read once and thrown away:
 * packing then takes a tenth of the time, and every kernel's squashfs can read it.
 */
#include "cli/rootfs.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "cli/packing.h"
#include "cli/rootfs_initrd.h"
#include "cli/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct rootfs_tool rootfs_tools[] = {
	{"mksquashfs", "squashfs-tools"},
	{"sqfstar", "squashfs-tools"},
	{"modprobe", "kmod"},
	{.name = NULL},
};

/* Without a name from the start, on disk rather than in memory. */
static int image_create(struct err *e)
{
	const char *place = getenv("TMPDIR");
	char path[512];
	int fd;

	if (!place || *place != '/')
		place = "/var/tmp";
	if (snprintf(path, sizeof(path), "%s/crosvm.XXXXXX", place) >= (int)sizeof(path))
		return err_say(e, ENAMETOOLONG, "TMPDIR: too long");
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return err_say(e, errno,
			       "cannot make a temporary file in %s: %s; set TMPDIR to a directory "
			       "with room for the image",
			       place, strerror(errno));
	unlink(path);
	return fd;
}

/*
 * What is mounted below it is not meant, and may be /proc.  mksquashfs can stay on one file system,
 * but takes the files of an overlay for those of another.
 */
static int check_mounts(const char *full, struct err *e)
{
	size_t n = strcmp(full, "/") == 0 ? 0 : strlen(full);
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	const struct mntent *m;
	int r = 0;

	while (mounts && r == 0 && (m = getmntent(mounts)))
		if (strncmp(m->mnt_dir, full, n) == 0 && m->mnt_dir[n] == '/' && m->mnt_dir[1])
			r = err_say(e, EBUSY,
				    "%.400s is mounted inside; unmount it, or give a directory "
				    "without it",
				    m->mnt_dir);
	if (mounts)
		endmntent(mounts);
	return r;
}

static int pack_directory(const char *path, int image, struct err *e)
{
	char *full auto_free = realpath(path, NULL);
	auto_fd dir = full ? open(full, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	struct tool t = TOOL("mksquashfs", "squashfs-tools", ".", TOOL_FILE, "-noappend", "-quiet",
			     "-no-progress", "-exit-on-error", "-root-mode", "755", "-noI", "-noD",
			     "-noF", "-noX");

	if (dir < 0)
		return err_set(e, errno, "cannot read it");
	if (check_mounts(full, e) < 0)
		return -e->code;
	if (geteuid() != 0) {
		size_t n = 0;

		while (t.words[n])
			n++;
		t.words[n] = "-all-root"; /* what a user has unpacked is the user's */
	}
	t.file = image;
	t.dir = dir;
	t.is_confined = true;
	return tool_run(&t, e);
}

/* Looks at the first bytes without taking them; of a pipe, too. */
static int peek(int fd, char *bytes, struct err *e)
{
	struct stat st;
	int ends[2];
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return err_set(e, errno, "cannot read it");
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
		n = pread(fd, bytes, PACKING_MAGIC_BYTES, 0);
		return n < 0 ? err_set(e, errno, "cannot read it") : 0;
	}
	if (!S_ISFIFO(st.st_mode))
		return err_say(e, EINVAL, "neither a directory, nor a file, nor a pipe");
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_set(e, errno, "cannot make a pipe");
	n = tee(fd, ends[1], PACKING_MAGIC_BYTES, 0);
	if (n > 0)
		n = read(ends[0], bytes, PACKING_MAGIC_BYTES);
	close(ends[0]);
	close(ends[1]);
	return n < 0 ? err_set(e, errno, "cannot read it") : 0;
}

/* tar_fd is a tar archive that is not packed. */
static struct tool tar_packer(int tar_fd, int image)
{
	struct tool t =
		TOOL("sqfstar", "squashfs-tools", "-quiet", "-no-progress", "-exit-on-error",
		     "-force", "-root-mode", "755", "-noI", "-noD", "-noF", "-noX", TOOL_FILE);

	t.in = tar_fd;
	t.file = image;
	t.is_confined = true;
	return t;
}

static int unpack_and_pack(const struct packing *packing, int archive, int image, struct err *e)
{
	struct tool unpacker = TOOL(packing->name, packing->package, "-dc");
	struct tool packer;
	struct err other = {0};
	int ends[2];
	int r, r_packer;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_set(e, errno, "cannot make a pipe");
	unpacker.in = archive;
	unpacker.out = ends[1];
	unpacker.is_confined = true;
	packer = tar_packer(ends[0], image);
	r = tool_start(&unpacker, e);
	if (r == 0)
		r = tool_start(&packer, e);
	close(ends[0]);
	close(ends[1]);
	if (r < 0) {
		tool_kill(&unpacker);
		return r;
	}
	r_packer = tool_wait(&packer, &other);
	r = tool_wait(&unpacker, e);
	if (r_packer < 0 && r < 0 && strstr(e->text, "signal")) /* it lost its reader */
		*e = other;
	else if (r == 0 && r_packer < 0)
		*e = other;
	return -e->code;
}

static int pack_archive(const char *path, int image, struct err *e)
{
	auto_fd archive = open(strcmp(path, "-") == 0 ? "/dev/stdin" : path, O_RDONLY | O_CLOEXEC);
	char magic[PACKING_MAGIC_BYTES] = "";
	const struct packing *packing;
	struct tool t;
	int r;

	if (archive < 0)
		return err_set(e, errno, "cannot open it");
	r = peek(archive, magic, e);
	if (r < 0)
		return r;
	if (memcmp(magic, "hsqs", 4) == 0)
		return err_say(e, EINVAL, "this is a disk image already: use --root");
	packing = packing_of(magic);
	if (packing)
		return unpack_and_pack(packing, archive, image, e);
	t = tar_packer(archive, image);
	return tool_run(&t, e);
}

static int image_make(struct config *c, struct err *e)
{
	const char *path = c->rootfs.path;
	uint64_t begun = clock_ns();
	struct stat st;
	int r;

	c->rootfs.image_fd = image_create(e);
	if (c->rootfs.image_fd < 0)
		return c->rootfs.image_fd;
	if (strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		r = pack_directory(path, c->rootfs.image_fd, e);
	else
		r = pack_archive(path, c->rootfs.image_fd, e);
	if (r < 0)
		return err_in(e, "%s", path);
	if (fstat(c->rootfs.image_fd, &st) == 0)
		log_info("--rootfs: %s: %llu MiB packed in %.1f s%s", path,
			 (unsigned long long)(st.st_size + (1 << 20) - 1) >> 20,
			 (double)(clock_ns() - begun) / 1e9,
			 c->rootfs.ro ? "" : "; what the guest writes is gone with it");
	return 0;
}

/* Nobody writes to it any more, and the guest's disk cannot. */
static int image_seal(struct config *c, struct err *e)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", c->rootfs.image_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, errno, "cannot open the image again");
	fd_close(&c->rootfs.image_fd);
	c->rootfs.image_fd = fd;
	return 0;
}

/* The disk that was reserved: its process is handed the file. */
static int disk_set(struct config *c, struct err *e)
{
	struct config_device *disk = &c->devices[c->rootfs.device];
	char *options;

	if (image_seal(c, e) < 0)
		return -e->code;
	if (asprintf(&options, "path=/proc/self/fd/%d,ro", c->rootfs.image_fd) < 0)
		return err_set(e, ENOMEM, "cannot keep the path");
	free(disk->options);
	disk->options = options;
	disk->inherited_fd = c->rootfs.image_fd;
	return 0;
}

int rootfs_make(struct config *c, struct err *e)
{
	if (!c->rootfs.path)
		return 0;
	/* What is quick to find out comes first. */
	if (rootfs_initrd_make(c, e) < 0 || image_make(c, e) < 0 || disk_set(c, e) < 0)
		return err_in(e, "--rootfs");
	return 0;
}
