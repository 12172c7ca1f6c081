/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * config_refused.c - options of other builds, releases and programs: what to say here instead
 *
 * A row names an option that people try, as it is written elsewhere; its value, if it takes one,
 * is swallowed with it.  Rows are also known with one dash (-smp 2).
 */
#include "config/config_table.h"

#define REFUSED(name_, value_, why) \
	{.name = (name_), .value = (value_), .help = (why), .is_refused = true}

#define NO_NET	   "networks are not built in"
#define NO_WAYLAND "Wayland is not built in"
#define NO_GPU	   "graphics are not built in"
#define NO_PLUGIN  "plugins are not built in"
#define NO_FS	   "not built in: use virtiofsd and --vhost-user fs,socket=PATH"
#define NO_FIRMWARE \
	"there is no firmware: a kernel is loaded directly; name a bzImage or vmlinux last"
#define NO_PMEM	    "no such device; a disk is --block path=FILE"
#define NO_SNAPSHOT "machines cannot be saved and restored; crosvm suspend holds one"
#define NO_PASSTHROUGH "devices of the host cannot be passed through"
#define NO_AFFINITY    "vCPUs are threads called vcpuN; taskset and cgroups place them"
#define SAY_KERNEL     "the kernel is a word of its own: crosvm run [OPTIONS] KERNEL"
#define SAY_PARAMS     "say --params TEXT"
#define SAY_BLOCK      "say --block path=FILE (also ,ro ,root ,format=qcow2)"
#define SAY_ROOT       "say --block path=FILE,root"
#define SAY_NET	       "say --net tap=NAME, or --net user for a network without root"
#define SAY_SOCKET     "say --socket PATH"
#define SAY_VHOST_USER "say --vhost-user TYPE,socket=PATH"
#define SAY_CONSOLE    "say --serial TYPE or --console TYPE"
#define ALWAYS	       "not needed: it is always so"
#define BACKGROUND \
	"crosvm stays in the foreground; systemctl start crosvm@NAME keeps one running"

const struct arg config_refused[] = {
	REFUSED("net", "...", NO_NET),
	REFUSED("wayland-sock", "PATH", NO_WAYLAND),
	REFUSED("wayland-group", "NAME", NO_WAYLAND),
	REFUSED("wayland-dmabuf", NULL, NO_WAYLAND),
	REFUSED("no-wl", NULL, "not needed: " NO_WAYLAND),
	REFUSED("gpu", NULL, NO_GPU),
	REFUSED("fs", "...", NO_FS),
	REFUSED("shared-dir", "...", NO_FS),
	REFUSED("virtiofs", "...", NO_FS),
	REFUSED("plugin", "PATH", NO_PLUGIN),
	REFUSED("plugin-root", "DIR", NO_PLUGIN),
	REFUSED("bios", "FILE", NO_FIRMWARE),
	REFUSED("firmware", "FILE", NO_FIRMWARE),
	REFUSED("pflash", "FILE", NO_FIRMWARE),
	REFUSED("kernel", "FILE", SAY_KERNEL),
	REFUSED("cmdline", "TEXT", SAY_PARAMS),
	REFUSED("append", "TEXT", SAY_PARAMS),
	REFUSED("memory", "SIZE", "say --mem SIZE"),
	REFUSED("smp", "N", "say --cpus N"),
	REFUSED("rwroot", "FILE", SAY_ROOT),
	REFUSED("hda", "FILE", SAY_BLOCK),
	REFUSED("drive", "...", SAY_BLOCK),
	REFUSED("cdrom", "FILE", SAY_BLOCK),
	REFUSED("device", "...", "say --block, --net, --console, --rng, --vsock or --balloon"),
	REFUSED("pmem", "...", NO_PMEM),
	REFUSED("pmem-device", "FILE", NO_PMEM),
	REFUSED("rw-pmem-device", "FILE", NO_PMEM),
	REFUSED("tap-name", "NAME", SAY_NET),
	REFUSED("netdev", "...", SAY_NET),
	REFUSED("nic", "...", SAY_NET),
	REFUSED("vfio", "...", NO_PASSTHROUGH),
	REFUSED("vhost-user-blk", "...", SAY_VHOST_USER),
	REFUSED("vhost-user-net", "...", SAY_VHOST_USER),
	REFUSED("vhost-user-fs", "...", SAY_VHOST_USER),
	REFUSED("chardev", "...", SAY_CONSOLE),
	REFUSED("monitor", "...", SAY_SOCKET),
	REFUSED("qmp", "...", SAY_SOCKET),
	REFUSED("api-socket", "PATH", SAY_SOCKET),
	REFUSED("api-sock", "PATH", SAY_SOCKET),
	REFUSED("config-file", "FILE", "say --cfg FILE, see crosvm.conf(5)"),
	REFUSED("restore", "...", NO_SNAPSHOT),
	REFUSED("suspended", NULL, "machines start at once; crosvm suspend holds one"),
	REFUSED("cpu-affinity", "...", NO_AFFINITY),
	REFUSED("rt-cpus", "...", NO_AFFINITY),
	REFUSED("hugepages", NULL, "say --mem SIZE,hugepages"),
	REFUSED("enable-kvm", NULL, ALWAYS),
	REFUSED("accel", "...", ALWAYS),
	REFUSED("nographic", NULL, ALWAYS),
	REFUSED("machine", "...", "there is one kind; --transport and --rings vary it"),
	REFUSED("daemonize", NULL, BACKGROUND),
	REFUSED("pidfile", "FILE", "crosvm status and crosvm list print the process id"),
	REFUSED("seccomp-log-failures", NULL, "a refused call is always logged, by name"),
	REFUSED("version", NULL, "say crosvm --version"),
	{.name = NULL},
};
