/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rootfs_initrd.c - the initial RAM disk of --rootfs: modules, and the program that loads them
 *
 * Distributions' kernels have disk and file system as modules.  modprobe says which files they are;
 * rootfs_init.c, which is part of this program, loads them in the guest.
 */
#include "cli/rootfs_initrd.h"

#include "rootfs_init.h"

#include "arch/arch.h"
#include "base/fd.h"
#include "base/log.h"
#include "cli/packing.h"
#include "cli/ramdisk.h"
#include "cli/tool.h"
#include "config/host_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	MODULES_MAX = 64,
	MODULES_TEXT_MAX = 64 * 1024,
	CONSOLE_MAJOR = 5,
	CONSOLE_MINOR = 1,
};

/*
 * Modules of the guest's devices, without which it can start; 0: what systemd misses otherwise, and
 * what hears of the power button.
 */
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
	{0, "button"},
	{0, "evdev"},
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

static int unpack(const struct packing *packing, int from, int to, struct err *e)
{
	struct tool t = TOOL(packing->name, packing->package, "-dc");

	t.in = from;
	t.out = to;
	return tool_run(&t, e);
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
	char magic[PACKING_MAGIC_BYTES] = "";
	const struct packing *packing;

	if (from < 0)
		return from;
	if (pread(from, magic, sizeof(magic), 0) < 0)
		return err_set(e, errno, "cannot read it");
	packing = packing_of(magic);
	return packing ? unpack(packing, from, to, e) : copy_plain(from, to, e);
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

int rootfs_initrd_make(struct config *c, struct err *e)
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
