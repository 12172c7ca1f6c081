/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rootfs.c - --rootfs: a directory or a tar archive becomes the guest's root file system
 *
 * The image is squashfs, made by squashfs-tools, which knows of no privileges: owners and device
 * nodes are only data to it.  Nothing in it is compressed, for it is read once and thrown away:
 * packing then takes a tenth of the time, and every kernel's squashfs can read it.
 *
 * Distributions' kernels have disk and file system as modules, so there is an initial RAM disk.
 * modprobe says which files they are; rootfs_init.c, which is part of this program, loads them.
 */
#include "cli/rootfs.h"

#include "rootfs_init.h"

#include "arch/arch.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "cli/ramdisk.h"
#include "cli/tool.h"
#include "config/host_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/virtio_ids.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	MAGIC_BYTES = 6,
	MODULES_MAX = 64,
	MODULES_TEXT_MAX = 64 * 1024,
	CONSOLE_MAJOR = 5,
	CONSOLE_MINOR = 1,
};

const struct rootfs_tool rootfs_tools[] = {
	{"mksquashfs", "squashfs-tools"},
	{"sqfstar", "squashfs-tools"},
	{"modprobe", "kmod"},
	{.name = NULL},
};

/* ---- the image ---- */

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
	char *full auto_free = realpath(path, NULL); /* none that begins with a dash */
	struct tool t = TOOL("mksquashfs", "squashfs-tools", full, TOOL_FILE, "-noappend", "-quiet",
			     "-no-progress", "-exit-on-error", "-root-mode", "755", "-noI", "-noD",
			     "-noF", "-noX");

	if (!full)
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
	return tool_run(&t, e);
}

/* Tar archives come packed in several ways, told by their first bytes. */
static const struct packing {
	const char *magic;
	size_t n;
	const char *name, *package;
} packings[] = {
	{"\x1f\x8b", 2, "gzip", "gzip"},
	{"\xfd"
	 "7zXZ",
	 5, "xz", "xz-utils"},
	{"\x28\xb5\x2f\xfd", 4, "zstd", "zstd"},
	{"BZh", 3, "bzip2", "bzip2"},
};

/* Looks at the first bytes without taking them; of a pipe, too. */
static int peek(int fd, char *bytes, struct err *e)
{
	struct stat st;
	int ends[2];
	ssize_t n;

	if (fstat(fd, &st) < 0)
		return err_set(e, errno, "cannot read it");
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
		n = pread(fd, bytes, MAGIC_BYTES, 0);
		return n < 0 ? err_set(e, errno, "cannot read it") : 0;
	}
	if (!S_ISFIFO(st.st_mode))
		return err_say(e, EINVAL, "neither a directory, nor a file, nor a pipe");
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_set(e, errno, "cannot make a pipe");
	n = tee(fd, ends[1], MAGIC_BYTES, 0);
	if (n > 0)
		n = read(ends[0], bytes, MAGIC_BYTES);
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
	char magic[MAGIC_BYTES] = "";
	struct tool t;
	int r;

	if (archive < 0)
		return err_set(e, errno, "cannot open it");
	r = peek(archive, magic, e);
	if (r < 0)
		return r;
	if (memcmp(magic, "hsqs", 4) == 0)
		return err_say(e, EINVAL, "this is a disk image already: use --root");
	for (size_t i = 0; i < ARRAY_LEN(packings); i++)
		if (memcmp(magic, packings[i].magic, packings[i].n) == 0)
			return unpack_and_pack(&packings[i], archive, image, e);
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

/* ---- the initial RAM disk ---- */

/* Modules of the guest's devices, without which it can start; 0: what systemd misses otherwise. */
static const struct {
	uint16_t virtio_id;
	const char *module;
} drivers[] = {
	{VIRTIO_ID_NET, "virtio_net"},
	{VIRTIO_ID_CONSOLE, "virtio_console"},
	{VIRTIO_ID_RNG, "virtio-rng"},
	{VIRTIO_ID_BALLOON, "virtio_balloon"},
	{VIRTIO_ID_VSOCK, "vmw_vsock_virtio_transport"},
	{VIRTIO_ID_FS, "virtiofs"},
	{0, "autofs4"},
};

struct modules {
	char base[HOST_KERNEL_RELEASE_MAX * 4]; /* has lib/modules/RELEASE */
	char release[HOST_KERNEL_RELEASE_MAX];
	char text[MODULES_TEXT_MAX]; /* what modprobe says; paths point into it */
	size_t used;
	const char *paths[MODULES_MAX]; /* n of them, each once, in the order to load */
	unsigned n;
};

static bool has_modules(struct modules *m, const char *base, size_t n)
{
	char index[sizeof(m->base) + HOST_KERNEL_RELEASE_MAX + 64];

	if (n >= sizeof(m->base))
		return false;
	memcpy(m->base, base, n);
	m->base[n] = '\0';
	snprintf(index, sizeof(index), "%s/lib/modules/%s/modules.dep.bin", m->base, m->release);
	return access(index, R_OK) == 0;
}

/* A kernel in A/boot has its modules in A/lib/modules; others have theirs in /lib/modules. */
static int modules_find(struct modules *m, const struct config *c, struct err *e)
{
	char *full auto_free = realpath(c->kernel, NULL);
	const char *folder = full ? strstr(full, "/boot/") : NULL;
	bool is_found = false;

	if (c->rootfs.modules)
		is_found = has_modules(m, c->rootfs.modules, strlen(c->rootfs.modules));
	else if (folder)
		is_found = has_modules(m, full, (size_t)(folder - full));
	if (!is_found && !c->rootfs.modules)
		is_found = has_modules(m, "", 0);
	if (is_found)
		return 0;
	return err_say(e, ENOENT,
		       "no modules of kernel %s in %s/lib/modules/%s; install its package, or say "
		       "where they are with modules=DIR, or modules=none if it has virtio and "
		       "squashfs built in",
		       m->release, m->base, m->release);
}

/* "insmod PATH [options]" */
static void take_line(struct modules *m, char *line)
{
	static const char word[] = "insmod ";

	if (strncmp(line, word, strlen(word)) != 0)
		return;
	line += strlen(word);
	line[strcspn(line, " ")] = '\0';
	for (unsigned i = 0; i < m->n; i++)
		if (strcmp(m->paths[i], line) == 0)
			return;
	if (m->n < MODULES_MAX)
		m->paths[m->n++] = line;
}

/* Asks modprobe what names stand for.  r is what it ended with; what it said was taken. */
static int modules_ask(struct modules *m, const char *const *names, unsigned n, struct err *e)
{
	struct tool t =
		TOOL("modprobe", "kmod", "--show-depends", "--config", "/dev/null", "--dirname",
		     m->base[0] ? m->base : "/", "--set-version", m->release, "--all");
	auto_fd out = memfd_create("modules", MFD_CLOEXEC);
	char *text = m->text + m->used, *rest;
	size_t words = 0;
	ssize_t size;
	int r;

	while (t.words[words])
		words++;
	for (unsigned i = 0; i < n && words < TOOL_WORDS_MAX; i++)
		t.words[words++] = names[i];
	if (out < 0)
		return err_set(e, errno, "cannot keep the list of modules");
	t.out = out;
	r = tool_run(&t, e);
	size = pread(out, text, sizeof(m->text) - m->used - 1, 0);
	if (size < 0)
		return err_set(e, errno, "cannot read the list of modules");
	text[size] = '\0';
	m->used += (size_t)size + 1;
	for (rest = text; rest && *rest;)
		take_line(m, strsep(&rest, "\n"));
	return r;
}

static bool is_wanted(const struct config *c, uint16_t virtio_id)
{
	bool is_there = virtio_id == 0;

	for (unsigned i = 0; i < c->ndevices; i++)
		is_there = is_there || c->devices[i].virtio_id == virtio_id;
	return is_there;
}

static unsigned optional_names(const struct config *c, const char **names)
{
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_LEN(drivers); i++)
		if (is_wanted(c, drivers[i].virtio_id))
			names[n++] = drivers[i].module;
	return n;
}

static int modules_list(struct modules *m, const struct config *c, struct err *e)
{
	const char *needed[] = {c->transport == CONFIG_TRANSPORT_MMIO ? "virtio_mmio"
								      : "virtio_pci",
				"virtio_blk", "squashfs", "overlay"};
	const char *names[ARRAY_LEN(drivers)];
	struct err unused = {0};
	unsigned n;

	if (modules_ask(m, needed, c->rootfs.ro ? 3 : 4, e) < 0)
		return -e->code;
	n = optional_names(c, names);
	if (n > 0 && modules_ask(m, names, n, &unused) < 0)
		log_debug("--rootfs: %s", unused.text);
	return 0;
}

static int copy_plain(int from, int to, struct err *e)
{
	char piece[4096];
	ssize_t n;

	while ((n = read(from, piece, sizeof(piece))) > 0) {
		int r = fd_write_all(to, piece, (size_t)n);

		if (r < 0)
			return err_set(e, -r, "cannot copy it");
	}
	return n < 0 ? err_set(e, errno, "cannot read it") : 0;
}

/*
 * Modules that came with a kernel may be anybody's: what is a link out of their folder, to a file
 * that only we may read, does not go into the guest.
 */
static int module_open(const struct modules *m, const char *path, struct err *e)
{
	const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
				     .resolve = RESOLVE_BENEATH};
	char folder[sizeof(m->base) + HOST_KERNEL_RELEASE_MAX + 16];
	const char *inside;
	auto_fd at = -1;
	struct stat st;
	auto_fd fd = -1;

	snprintf(folder, sizeof(folder), "%s/lib/modules/%s/", m->base, m->release);
	inside = strstr(path, folder + strlen(m->base));
	at = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (!m->base[0]) /* the host's own */
		fd = open(path, (int)how.flags);
	else if (inside && at >= 0)
		fd = (int)syscall(SYS_openat2, at, inside + strlen(folder + strlen(m->base)), &how,
				  sizeof(how));
	else
		errno = EXDEV;
	if (fd < 0 && errno == EXDEV)
		return err_say(e, EXDEV, "it lies outside of %s", folder);
	if (fd < 0)
		return err_set(e, errno, "cannot open it");
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_say(e, EINVAL, "not a file");
	return fd_take(&fd);
}

/* Packed ones are unpacked, for not every kernel can do that itself. */
static int copy_module(const struct modules *m, const char *path, int to, struct err *e)
{
	auto_fd from = module_open(m, path, e);
	char magic[MAGIC_BYTES] = "";

	if (from < 0)
		return from;
	if (pread(from, magic, sizeof(magic), 0) < 0)
		return err_set(e, errno, "cannot read it");
	for (size_t i = 0; i < ARRAY_LEN(packings); i++)
		if (memcmp(magic, packings[i].magic, packings[i].n) == 0) {
			struct tool t = TOOL(packings[i].name, packings[i].package, "-dc");

			t.in = from;
			t.out = to;
			return tool_run(&t, e);
		}
	return copy_plain(from, to, e);
}

static int put_modules(struct ramdisk *d, const struct modules *m, struct err *e)
{
	char name[32];

	for (unsigned i = 0; i < m->n; i++) {
		snprintf(name, sizeof(name), "modules/%u", i);
		ramdisk_begin(d, name, 0644);
		if (copy_module(m, m->paths[i], d->fd, e) < 0)
			return err_in(e, "%s", m->paths[i]);
		if (ramdisk_end(d, e) < 0)
			return -e->code;
	}
	return 0;
}

static int ramdisk_fill(struct ramdisk *d, const struct modules *m, struct err *e)
{
	static const char *const folders[] = {"dev",  "lower", "modules", "proc",
					      "root", "sys",   "upper"};

	for (size_t i = 0; i < ARRAY_LEN(folders); i++)
		ramdisk_folder(d, folders[i]);
	ramdisk_character_device(d, "dev/console", CONSOLE_MAJOR, CONSOLE_MINOR);
	ramdisk_file(d, "init", 0755, rootfs_init, sizeof(rootfs_init));
	if (put_modules(d, m, e) < 0)
		return -e->code;
	return ramdisk_finish(d, e);
}

static int modules_of_kernel(struct modules *m, const struct config *c, struct err *e)
{
	auto_fd kernel = open(c->kernel, O_RDONLY | O_CLOEXEC);

	if (c->rootfs.modules && strcmp(c->rootfs.modules, "none") == 0)
		return 0;
	if (kernel < 0)
		return err_set(e, errno, "%s", c->kernel);
	if (arch_kernel_release(c->kernel, kernel, m->release, sizeof(m->release), e) < 0)
		return -e->code;
	if (modules_find(m, c, e) < 0)
		return -e->code;
	return modules_list(m, c, e);
}

static int initrd_make(struct config *c, struct err *e)
{
	struct modules *m auto_free = calloc(1, sizeof(*m));
	struct ramdisk d;
	int r;

	if (!m)
		return err_set(e, ENOMEM, "cannot list modules");
	r = modules_of_kernel(m, c, e);
	if (r == 0)
		r = ramdisk_init(&d, e);
	if (r < 0)
		return r;
	r = ramdisk_fill(&d, m, e);
	if (r == 0)
		c->rootfs.initrd_fd = fd_take(&d.fd);
	ramdisk_fini(&d);
	return r;
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
	if (initrd_make(c, e) < 0 || image_make(c, e) < 0 || disk_set(c, e) < 0)
		return err_in(e, "--rootfs");
	return 0;
}
