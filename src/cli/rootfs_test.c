/* SPDX-License-Identifier: BSD-3-Clause */
/* rootfs_test.c - --rootfs, from the command line to the files that a guest boots from */
#include "cli/rootfs.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/skip.h"
#include "cli/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define WORD(text) ((char *)(uintptr_t)(text))

static char dir[64], listing[65536];
static struct config config;
static struct config_errors errors;
static struct err e;

static int shell(const char *script)
{
	struct tool t = TOOL("sh", "dash", "-ec", script);

	return tool_run(&t, &e);
}

/* A kernel of release 9.9.9-test, in clear; a system: a file, a link, a setuid program. */
static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/rootfs-test-XXXXXX");
	log_level_set(LOG_LEVEL_ERROR);
	if (!mkdtemp(dir) || chdir(dir) < 0)
		return -1;
	return shell("mkdir -p boot tree/bin tree/etc tmp lib/modules/9.9.9-test\n"
		     "printf 'xx Linux version 9.9.9-test (me) #1' >boot/kernel\n"
		     "echo secret >outside; echo hello >tree/etc/motd; ln -s motd tree/etc/link\n"
		     "echo x >tree/bin/su; chmod 4755 tree/bin/su\n"
		     "tar cf tree.tar -C tree .; gzip -k tree.tar; xz -k tree.tar\n"
		     "zstd -q tree.tar; bzip2 -k tree.tar\n"
		     "head -c 20480 tree.tar | head -c 700 >cut.tar\n"
		     "head -c 60 tree.tar.gz >cut.tar.gz; echo hsqs12345 >disk.img; : >empty");
}

static int tear_down(void **state)
{
	(void)state;
	config_fini(&config);
	if (chdir("/") < 0)
		return -1;
	setenv("DIR", dir, 1);
	return shell("rm -rf \"$DIR\"");
}

static int parse(const char *rootfs, const char *kernel)
{
	char option[128], *argv[] = {option, (char *)(uintptr_t)kernel, NULL};

	config_fini(&config);
	snprintf(option, sizeof(option), "--rootfs=%s", rootfs);
	return config_parse(&config, kernel ? 2 : 1, argv, &errors);
}

/* Parses and makes it; -errno with the text in e. */
static int make(const char *rootfs)
{
	e = (struct err){0};
	assert_int_equal(parse(rootfs, "boot/kernel"), CONFIG_RUN);
	return rootfs_make(&config, &e);
}

/* What unsquashfs lists of the image. */
static const char *list_image(void)
{
	struct tool t = TOOL("unsquashfs", "squashfs-tools", "-lln", TOOL_FILE);
	auto_fd out = memfd_create("list", MFD_CLOEXEC);
	ssize_t n;

	t.file = config.rootfs.image_fd;
	t.out = out;
	if (tool_run(&t, &e) < 0)
		fail_msg("%s", e.text);
	n = pread(out, listing, sizeof(listing) - 1, 0);
	listing[n < 0 ? 0 : n] = '\0';
	return listing;
}

static void need_tools(void)
{
	char path[TOOL_PATH_MAX];

	SKIP_UNLESS(tool_find("mksquashfs", path, sizeof(path)) == 0,
		    "mksquashfs (package squashfs-tools)");
}

static void check_tree(void)
{
	assert_non_null(strstr(list_image(), "squashfs-root/etc/motd"));
	assert_non_null(strstr(listing, "squashfs-root/etc/link -> motd"));
	assert_non_null(strstr(listing, "-rwsr-xr-x 0/0"));
	assert_null(strstr(listing, "outside"));
	assert_non_null(strstr(listing, "drwxr-xr-x 0/0"));
}

static void a_directory_becomes_a_disk_and_a_ram_disk(void **state)
{
	char start[6], options[64];

	(void)state;
	need_tools();
	if (make("tree,modules=none") < 0)
		fail_msg("%s", e.text);
	check_tree();
	snprintf(options, sizeof(options), "path=/proc/self/fd/%d,ro", config.rootfs.image_fd);
	assert_string_equal(config.devices[config.rootfs.device].options, options);
	assert_int_equal(config.devices[0].inherited_fd, config.rootfs.image_fd);
	assert_string_equal(config.params, "root=/dev/vda rw");
	assert_int_equal(fcntl(config.rootfs.image_fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(pread(config.rootfs.initrd_fd, start, sizeof(start), 0), sizeof(start));
	assert_memory_equal(start, "070701", sizeof(start));
}

static void archives_may_be_packed(void **state)
{
	static const char *const names[] = {"tree.tar", "tree.tar.gz", "tree.tar.xz",
					    "tree.tar.zst", "tree.tar.bz2"};
	char text[64];

	(void)state;
	need_tools();
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(text, sizeof(text), "%s,ro,modules=none", names[i]);
		if (make(text) < 0)
			fail_msg("%s", e.text);
		check_tree();
	}
	assert_string_equal(config.params, "root=/dev/vda ro");
}

static void an_archive_may_come_through_a_pipe(void **state)
{
	auto_fd archive = open("tree.tar.gz", O_RDONLY | O_CLOEXEC);
	auto_fd saved = dup(STDIN_FILENO);
	char bytes[4096];
	int ends[2];
	ssize_t n = read(archive, bytes, sizeof(bytes));

	(void)state;
	need_tools();
	assert_int_equal(pipe(ends), 0);
	assert_true(n > 0 && write(ends[1], bytes, (size_t)n) == n);
	close(ends[1]);
	dup2(ends[0], STDIN_FILENO);
	close(ends[0]);
	n = make("-,modules=none");
	dup2(saved, STDIN_FILENO);
	if (n < 0)
		fail_msg("%s", e.text);
	check_tree();
}

static void nothing_is_left_behind(void **state)
{
	(void)state;
	need_tools();
	setenv("TMPDIR", dir, 1);
	assert_int_equal(make("tree,modules=none"), 0);
	assert_true(make("cut.tar,modules=none") < 0);
	unsetenv("TMPDIR");
	assert_int_equal(shell("! ls crosvm.*"), 0);
}

static void check_refused(const char *rootfs, const char *message)
{
	assert_true(make(rootfs) < 0);
	if (!strstr(e.text, message))
		fail_msg("\"%s\" is not in \"%s\"", message, e.text);
}

static void what_cannot_be_packed_is_told(void **state)
{
	(void)state;
	need_tools();
	check_refused("cut.tar,modules=none", "--rootfs: cut.tar: sqfstar: ");
	check_refused("cut.tar.gz,modules=none", "gzip: ");
	check_refused("empty,modules=none", "empty: sqfstar: ");
	check_refused("outside,modules=none", "outside: sqfstar: ");
	check_refused("disk.img,modules=none", "this is a disk image already: use --root");
	check_refused("/dev/null,modules=none", "neither a directory, nor a file, nor a pipe");
	check_refused("/,modules=none", "is mounted inside; unmount it");
	assert_int_equal(shell("python3 -c \"import tarfile,io; t=tarfile.open('up.tar','w'); "
			       "i=tarfile.TarInfo('a/../up'); t.addfile(i); t.close()\""),
			 0);
	check_refused("up.tar,modules=none", "can't have '.' or '..' in it");
}

static void temporary_files_need_a_place(void **state)
{
	(void)state;
	setenv("TMPDIR", "/nonexistent", 1);
	check_refused("tree,modules=none", "set TMPDIR to a directory");
	unsetenv("TMPDIR");
}

static void modules_of_the_kernel_must_be_there(void **state)
{
	(void)state;
	check_refused("tree", "no modules of kernel 9.9.9-test in /lib/modules/9.9.9-test; "
			      "install its package");
	check_refused("tree,modules=/nonexistent", "in /nonexistent/lib/modules/9.9.9-test");
	assert_int_equal(shell(": >lib/modules/9.9.9-test/modules.dep.bin"), 0);
	check_refused("tree", "modprobe: ");
	assert_int_equal(shell("echo nothing >boot/kernel"), 0);
	check_refused("tree", "does not say which release of Linux it is");
}

/* Modules from a kernel's own folder, which is not ours; the last is a link. */
static void make_modules(const char *link)
{
	setenv("LINK", link, 1);
	assert_int_equal(shell("cd lib/modules/9.9.9-test; rm -rf *; mkdir kernel\n"
			       "for m in virtio_pci virtio_blk squashfs overlay; do\n"
			       "cp /proc/self/exe kernel/$m.ko; done\n"
			       ": >modules.order; : >modules.builtin; cd ../../..\n"
			       "PATH=$PATH:/sbin:/usr/sbin depmod -b . 9.9.9-test\n"
			       "cd lib/modules/9.9.9-test/kernel\n"
			       "mv overlay.ko real; ln -s \"$LINK\" overlay.ko"),
			 0);
}

static void a_module_cannot_be_a_link_to_another_file(void **state)
{
	char outside[128], path[TOOL_PATH_MAX];

	(void)state;
	need_tools();
	SKIP_UNLESS(tool_find("depmod", path, sizeof(path)) == 0, "depmod (package kmod)");
	make_modules("real");
	if (make("tree") < 0)
		fail_msg("%s", e.text);
	snprintf(outside, sizeof(outside), "%s/outside", dir);
	make_modules(outside);
	check_refused("tree", "overlay.ko: it lies outside of ");
	make_modules("../../../../outside");
	check_refused("tree,modules=.", "overlay.ko: it lies outside of ");
	assert_int_equal(shell("cd lib/modules/9.9.9-test/kernel; rm overlay.ko; mkfifo real2\n"
			       "mv real2 overlay.ko"),
			 0);
	check_refused("tree", "overlay.ko: not a file");
}

static void a_bzimage_says_its_release_in_the_header(void **state)
{
	char image[4096] = {[0x20E] = 0, [0x20F] = 1}; /* the text is at 0x100 + 512 */
	int fd = open("boot/kernel", O_WRONLY | O_TRUNC | O_CLOEXEC);

	(void)state;
	memcpy(image + 0x202, "HdrS", 4);
	memcpy(image + 0x300, "9.9.8-bz (me) #1", 16);
	assert_int_equal(write(fd, image, sizeof(image)), sizeof(image));
	close(fd);
	check_refused("tree", "no modules of kernel 9.9.8-bz in ");
}

static void check_wrong(const char *rootfs, const char *kernel, const char *message)
{
	assert_int_equal(parse(rootfs, kernel), -EINVAL);
	if (!strstr(errors.list[0].text, message))
		fail_msg("\"%s\" is not in \"%s\"", message, errors.list[0].text);
}

static void wrong_options_are_refused(void **state)
{
	char *both[] = {WORD("--rootfs=tree"), WORD("-i"), WORD("empty"), WORD("boot/kernel"),
			NULL};
	char *two[] = {WORD("--rootfs=tree"), WORD("--root=disk.img"), WORD("boot/kernel"), NULL};

	(void)state;
	check_wrong("none", "boot/kernel", "none: No such file or directory; give a directory");
	check_wrong("ro", "boot/kernel", "a directory or a tar archive is missing");
	config_fini(&config);
	assert_int_equal(config_parse(&config, 4, both, &errors), -EINVAL);
	assert_non_null(strstr(errors.list[0].text, "leave out --initrd"));
	config_fini(&config);
	assert_int_equal(config_parse(&config, 3, two, &errors), -EINVAL);
	assert_non_null(strstr(errors.list[0].text, "is the root already"));
}

static void without_it_nothing_is_made(void **state)
{
	char *argv[] = {WORD("boot/kernel"), NULL};

	(void)state;
	assert_int_equal(config_parse(&config, 1, argv, &errors), CONFIG_RUN);
	assert_int_equal(rootfs_make(&config, &e), 0);
	assert_int_equal(config.rootfs.image_fd, -1);
	assert_int_equal(config.rootfs.initrd_fd, -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_directory_becomes_a_disk_and_a_ram_disk),
		TEST(archives_may_be_packed),
		TEST(an_archive_may_come_through_a_pipe),
		TEST(nothing_is_left_behind),
		TEST(what_cannot_be_packed_is_told),
		TEST(temporary_files_need_a_place),
		TEST(modules_of_the_kernel_must_be_there),
		TEST(a_module_cannot_be_a_link_to_another_file),
		TEST(a_bzimage_says_its_release_in_the_header),
		TEST(wrong_options_are_refused),
		TEST(without_it_nothing_is_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
