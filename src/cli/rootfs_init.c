/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rootfs_init.c - the first program of a guest that runs with --rootfs
 *
 * It is /init of the RAM disk that rootfs_initrd.c makes, in the guest, without a C library:
 *
 *	1  loads /modules/0, /modules/1, ... in this order, and removes them
 *	2  mounts the disk that root= names; with "rw" a file system in memory on top of it
 *	3  makes that the root, and starts init= or the system's init there
 *
 * A system without an init gets a shell, and is switched off when that ends.  What goes wrong is
 * said on the console, and the guest restarts, which ends crosvm with a code of its own.
 */
#include "bare_calls.h"

#include <asm/ioctls.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/reboot.h>
#include <linux/stat.h>
#include <linux/time_types.h>

#include <stddef.h>

enum {
	TEXT_MAX = 4096,
	WORDS_MAX = 64,
	WAIT_STEP_NS = 5000000, /* for the disk to appear */
	WAIT_STEPS = 2000,
	CHILD_SIGNAL = 17, /* SIGCHLD */
	CONSOLE_NAME_MAX = 64,
};

struct words {
	char text[TEXT_MAX]; /* of the kernel's command line, cut into words */
	const char *root, *init;
	int is_writable;
};

static unsigned long length(const char *text)
{
	unsigned long n = 0;

	while (text[n])
		n++;
	return n;
}

static long number_of(const void *pointer)
{
	return (long)pointer;
}

static void say(const char *text)
{
	bare_call(__NR_write, 2, number_of(text), (long)length(text), 0, 0);
}

static void say_number(long n)
{
	char digits[24];
	unsigned at = sizeof(digits) - 1;

	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	say(digits + at);
}

_Noreturn static void finish(unsigned how)
{
	bare_call(__NR_sync, 0, 0, 0, 0, 0);
	bare_call(__NR_reboot, (long)LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, (long)how, 0, 0);
	for (;;)
		bare_call(__NR_exit, 1, 0, 0, 0, 0);
}

static void complain(const char *doing, const char *what, long result)
{
	say("crosvm: --rootfs: cannot ");
	say(doing);
	say(what);
	say(": error ");
	say_number(-result);
	say("\n");
}

/* Ends the guest unless result is a success. */
static void need(long result, const char *doing, const char *what)
{
	if (result >= 0)
		return;
	complain(doing, what, result);
	finish(LINUX_REBOOT_CMD_RESTART);
}

static long mount(const char *what, const char *at, const char *type, unsigned long flags,
		  const char *options)
{
	return bare_call(__NR_mount, number_of(what), number_of(at), number_of(type), (long)flags,
			 number_of(options));
}

static long open_file(const char *path, long flags)
{
	return bare_call(__NR_openat, AT_FDCWD, number_of(path), flags, 0, 0);
}

static void make_folder(const char *path)
{
	bare_call(__NR_mkdirat, AT_FDCWD, number_of(path), 0755, 0, 0);
}

static void remove_file(const char *path)
{
	bare_call(__NR_unlinkat, AT_FDCWD, number_of(path), 0, 0, 0);
}

/* Reads a file's beginning; returns how much, with a zero byte behind it. */
static unsigned long read_text(const char *path, char *text, unsigned long room)
{
	long fd = open_file(path, O_RDONLY | O_CLOEXEC);
	long n = fd < 0 ? fd : bare_call(__NR_read, fd, number_of(text), (long)room - 1, 0, 0);

	if (fd >= 0)
		bare_call(__NR_close, fd, 0, 0, 0, 0);
	text[n < 0 ? 0 : n] = '\0';
	return n < 0 ? 0 : (unsigned long)n;
}

/* The module's number behind "/modules/". */
static void module_path(char *path, unsigned n)
{
	static const char folder[] = "/modules/";
	unsigned at = 0;
	unsigned scale = 1;

	for (; folder[at]; at++)
		path[at] = folder[at];
	while (scale <= n / 10)
		scale *= 10;
	for (; scale > 0; scale /= 10)
		path[at++] = (char)('0' + n / scale % 10);
	path[at] = '\0';
}

static void load_modules(void)
{
	char path[32];

	for (unsigned n = 0;; n++) {
		long fd, result;

		module_path(path, n);
		fd = open_file(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return;
		result = bare_call(__NR_finit_module, fd, number_of(""), 0, 0, 0);
		if (result < 0 && result != -EEXIST && result != -ENODEV)
			complain("load ", path, result);
		bare_call(__NR_close, fd, 0, 0, 0, 0);
		remove_file(path);
	}
}

/* What follows the key in word, or 0. */
static const char *value_of(const char *word, const char *key)
{
	while (*key && *word == *key) {
		word++;
		key++;
	}
	return *key ? NULL : word;
}

static void take_word(struct words *w, const char *word)
{
	const char *value;

	if ((value = value_of(word, "root=")))
		w->root = value;
	else if ((value = value_of(word, "init=")))
		w->init = value;
	else if ((value = value_of(word, "rw")) && !*value)
		w->is_writable = 1;
	else if ((value = value_of(word, "ro")) && !*value)
		w->is_writable = 0;
}

static void read_words(struct words *w)
{
	unsigned long n = read_text("/proc/cmdline", w->text, sizeof(w->text));
	char *word = w->text;

	for (unsigned long i = 0; i <= n; i++) {
		char c = w->text[i];

		if (c != ' ' && c != '\n' && c != '\0')
			continue;
		w->text[i] = '\0';
		take_word(w, word);
		word = w->text + i + 1;
	}
}

static void wait_for(const char *path)
{
	const struct __kernel_timespec step = {.tv_nsec = WAIT_STEP_NS};

	for (unsigned i = 0; i < WAIT_STEPS; i++) {
		if (bare_call(__NR_faccessat, AT_FDCWD, number_of(path), 0, 0, 0) == 0)
			return;
		bare_call(__NR_nanosleep, number_of(&step), 0, 0, 0, 0);
	}
}

static void mount_root(const struct words *w)
{
	const char *at = w->is_writable ? "/lower" : "/root";

	if (!w->root)
		need(-ENOENT, "find root= on the kernel's command line", "");
	wait_for(w->root);
	need(mount(w->root, at, "squashfs", MS_RDONLY, ""), "mount ", w->root);
	if (!w->is_writable)
		return;
	need(mount("rootfs", "/upper", "tmpfs", 0, "mode=755"), "make a file system in memory", "");
	make_folder("/upper/data");
	make_folder("/upper/work");
	need(mount("rootfs", "/root", "overlay", 0,
		   "lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work"),
	     "mount an overlay on ", w->root);
}

static void move_mount(const char *from, const char *to)
{
	make_folder(to);
	if (mount(from, to, NULL, MS_MOVE, NULL) < 0)
		bare_call(__NR_umount2, number_of(from), 2 /* MNT_DETACH */, 0, 0, 0);
}

static void switch_root(void)
{
	move_mount("/dev", "/root/dev");
	move_mount("/proc", "/root/proc");
	move_mount("/sys", "/root/sys");
	remove_file("/init");
	need(bare_call(__NR_chdir, number_of("/root"), 0, 0, 0, 0), "change to ", "/root");
	need(mount(".", "/", NULL, MS_MOVE, NULL), "make it the root", "");
	need(bare_call(__NR_chroot, number_of("."), 0, 0, 0, 0), "make it the root", "");
	bare_call(__NR_chdir, number_of("/"), 0, 0, 0, 0);
}

static long start(const char *path, char **argv, char **envp)
{
	union {
		const char *in;
		char *out;
	} name = {.in = path};

	argv[0] = name.out;
	return bare_call(__NR_execve, number_of(path), number_of(argv), number_of(envp), 0, 0);
}

/* The terminal behind /dev/console, which cannot control processes itself. */
static void take_terminal(void)
{
	char path[CONSOLE_NAME_MAX + 8] = "/dev/";
	char *names = path + 5, *last = names;
	unsigned long n = read_text("/sys/class/tty/console/active", names, CONSOLE_NAME_MAX);
	long fd;

	for (unsigned long i = 0; i < n; i++) {
		if (names[i] == ' ')
			last = names + i + 1;
		if (names[i] == '\n')
			names[i] = '\0';
	}
	for (unsigned i = 0; last > names && (names[i] = last[i]); i++)
		continue;
	bare_call(__NR_setsid, 0, 0, 0, 0, 0);
	fd = open_file(path, O_RDWR);
	if (fd < 0)
		return;
	bare_call(__NR_ioctl, fd, TIOCSCTTY, 1, 0, 0);
	for (long i = 0; i < 3; i++)
		bare_call(__NR_dup3, fd, i, 0, 0, 0);
	if (fd > 2)
		bare_call(__NR_close, fd, 0, 0, 0, 0);
}

/* A shell, with this process as the init that collects what ends. */
_Noreturn static void run_shell(const char *path, char **argv, char **envp)
{
	long child = bare_call(__NR_clone, CHILD_SIGNAL, 0, 0, 0, 0);

	need(child, "start ", path);
	if (child == 0) {
		take_terminal();
		argv[1] = NULL;
		need(start(path, argv, envp), "start ", path);
	}
	while (bare_call(__NR_wait4, -1, 0, 0, 0, 0) != child)
		continue;
	finish(LINUX_REBOOT_CMD_POWER_OFF);
}

_Noreturn static void start_system(const struct words *w, char **argv, char **envp)
{
	static const char *const inits[] = {"/sbin/init", "/etc/init", "/bin/init"};
	static const char shell[] = "/bin/sh";

	if (w->init)
		need(start(w->init, argv, envp), "start init=", w->init);
	for (unsigned i = 0; i < sizeof(inits) / sizeof(inits[0]); i++) {
		long result = start(inits[i], argv, envp);

		if (result != -ENOENT && result != -ENOTDIR)
			need(result, "start ", inits[i]);
	}
	need(bare_call(__NR_faccessat, AT_FDCWD, number_of(shell), 1, 0, 0),
	     "find /sbin/init or start ", shell);
	run_shell(shell, argv, envp);
}

void bare_main(long *stack)
{
	static struct words words;
	static char *arguments[WORDS_MAX + 1];
	long argc = stack[0];
	char **argv = (char **)(stack + 1);

	for (long i = 0; i < argc && i < WORDS_MAX; i++)
		arguments[i] = argv[i];
	mount("proc", "/proc", "proc", 0, "");
	mount("sys", "/sys", "sysfs", 0, "");
	mount("dev", "/dev", "devtmpfs", 0, "mode=755");
	load_modules();
	read_words(&words);
	mount_root(&words);
	switch_root();
	start_system(&words, arguments, argv + argc + 1);
}
