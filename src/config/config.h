/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * config.h - what the user asked `crosvm run` for
 *
 * config_parse() reads the whole command line, notes every mistake, and leaves a struct config that
 * is complete: defaults filled in, option texts of devices checked against the device's own table,
 * files looked at.  Files can change afterwards; whoever opens one reports its own errors.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "base/opt.h"
#include "chip/serial_port.h"
#include "config/balloon_config.h"
#include "mem/ram.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct device_type;

enum {
	CONFIG_DEVICES_MAX = 64, /* virtio devices; slots for PCI and virtio-mmio suffice */
	CONFIG_CPUS_MAX = 255,   /* APIC ids; KVM may allow fewer */
	CONFIG_SERIAL_MAX = 4,   /* COM1 to COM4 */
	CONFIG_ERRORS_MAX = 16,  /* messages kept of one command line */
};

enum config_transport { CONFIG_TRANSPORT_PCI, CONFIG_TRANSPORT_MMIO };
enum config_rings { CONFIG_RINGS_SPLIT, CONFIG_RINGS_PACKED };

/* One virtio device, in the order the guest will see them. */
struct config_device {
	const struct device_type *type; /* ours; NULL: only a foreign back end knows it */
	const char *name;               /* "block"; static */
	uint16_t virtio_id;
	char *options;    /* key=value,... for type->opts, already checked; "" for none */
	int inherited_fd; /* the N of path=/proc/self/fd/N, to be handed to the process; or -1 */
	bool on_stdio;    /* standard input and output are handed to the process */
	uint32_t queues;  /* 0: what the type, or the back end, offers */

	/* --vhost-user */
	char *socket;    /* of the foreign back end; NULL: a process of ours */
	char *tag;       /* virtio-fs: name to mount it by; else NULL */
};

/* The network options of the first releases, while parsing. */
struct config_net {
	char *host_ip, *netmask;
	struct opt_mac mac;
	int tap_fds[16]; /* ntap_fds of them */
	unsigned ntap_fds;
	bool vhost;
};

/* --rootfs; rootfs.c makes the files. */
struct config_rootfs {
	char *path;    /* directory, tar archive, or "-"; NULL for none */
	char *modules; /* DIR of DIR/lib/modules/RELEASE, or "none"; NULL: looked for */
	bool ro;
	unsigned device;          /* the disk that was reserved for it */
	int image_fd, initrd_fd; /* owned; -1 until made */
};

struct config {
	char *kernel;
	char *initrd; /* NULL for none */
	struct config_rootfs rootfs;
	char *params; /* kernel command line of -p and of root disks; "" for none */
	uint64_t mem_bytes;
	struct ram_options ram;
	uint32_t cpus;
	char *socket; /* control socket or the directory for it; NULL for none */
	char *name;   /* of the VM, which socket is made from; NULL for none */

	bool sandbox;     /* every device in a jailed process */
	char *policy_dir; /* seccomp policies in place of the built-in ones; NULL for none */

	char *kvm_device; /* "/dev/kvm" */
	int transport;    /* enum config_transport */
	int rings;        /* enum config_rings: packed ones are offered, or not */
	int log_level;    /* enum log_level */
	int syslog;	  /* enum syslog_use */
	char *trace_file; /* of the flight recorder, at a bad end; NULL: by name */
	char *syslog_tag; /* NULL: "crosvm" */
	bool pvpanic, debug_exit;

	struct serial_config serial[CONFIG_SERIAL_MAX]; /* each .com once; at least one */
	unsigned nserial;

	struct config_device devices[CONFIG_DEVICES_MAX];
	unsigned ndevices;

	struct balloon_config balloon; /* main's part of it */

	/* While parsing: one is added unless there is one. */
	bool default_rng, default_balloon;
	struct config_net net;

	char *dump; /* all that was said, as a configuration file; NULL unless asked for */
};

struct config_errors {
	unsigned n; /* all of them; the first CONFIG_ERRORS_MAX have a text */
	bool lacks_kernel; /* one of them: the user may not know how to begin */
	struct err list[CONFIG_ERRORS_MAX];
};

enum { CONFIG_RUN = 0, CONFIG_HELP = 1, CONFIG_DUMP = 2 };

/*
 * Reads the words after "run" and the configuration files they name; of an option that may be given
 * once, the command line's use wins over a file's, a later file's over an earlier one's.  Returns
 * CONFIG_RUN; CONFIG_HELP when --help was met; CONFIG_DUMP when --dump-config was, with the file in
 * c->dump; or -EINVAL with ret_errors->n > 0.  In every case config_fini() is due.
 */
int config_parse(struct config *c, int argc, char *const *argv, struct config_errors *ret_errors)
	MUST_CHECK;
void config_fini(struct config *c);

/* Everything `crosvm run` takes, for people. */
void config_help(FILE *out);

/* The options and devices as mdoc lists, for the manual. */
void config_mdoc_options(FILE *out);
void config_mdoc_devices(FILE *out);

/* Who has the terminal, or what is in its place: a serial port or a device, not both. */
bool config_has_stdio_serial(const struct config *c);
bool config_has_stdio_device(const struct config *c);

/* "vda", ..., "vdz", "vdaa": how Linux calls its n-th virtio disk. */
void config_disk_name(unsigned n, char *buf, size_t room);
