/* SPDX-License-Identifier: BSD-3-Clause */
/* config_options.c - the options of `crosvm run` */
#include "config/config_table.h"
#include "config/names.h"

#include "base/log.h"
#include "base/syslog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static const char *const rings[] = {
	[CONFIG_RINGS_SPLIT] = "split",
	[CONFIG_RINGS_PACKED] = "packed",
	NULL,
};

static const char *const transports[] = {
	[CONFIG_TRANSPORT_PCI] = "pci", [CONFIG_TRANSPORT_MMIO] = "mmio", NULL};

static const char *const syslog_choices[] = {
	[SYSLOG_AUTO] = "auto", [SYSLOG_ON] = "on", [SYSLOG_OFF] = "off",
	NULL};

static const struct opt mem_row = OPT_SIZE(struct config, mem_bytes, MIB, 4ull << 40, NULL);

enum { HUGE_NONE, HUGE_2M, HUGE_1G };

static const char *const huge_sizes[] = {
	[HUGE_NONE] = "off", [HUGE_2M] = "2M", [HUGE_1G] = "1G", NULL};

struct mem {
	char *size;
	int hugepages;
	bool thp, shared, lock, dump;
};

static const struct opt mem_opts[] = {
	OPT_FIRST(struct mem, size, "MIB", "How much; 512 are MiB, 2G has a unit"),
	OPT_CHOICE_BARE(struct mem, hugepages, huge_sizes, "2M",
			"Of huge pages that the host has set aside"),
	OPT_FLAG(struct mem, thp, "Of huge pages where the host can put some together"),
	OPT_FLAG(struct mem, shared, "Shared with the devices' processes: always so"),
	OPT_FLAG(struct mem, lock, "All of it from the start, never swapped out"),
	OPT_FLAG(struct mem, dump, "Part of core dumps; needs --disable-sandbox"),
	OPT_END,
};

/* A plain number counts MiB, as it always did; 1G is a size. */
static int set_mem_size(struct config *c, const char *text, struct err *e)
{
	uint64_t n;

	if (opt_number(text, &n) < 0)
		return opt_set(&mem_row, c, text, e);
	if (n < 1 || n > mem_row.max / MIB)
		return err_say(e, ERANGE, "\"%s\": not a number of MiB from 1 to %llu", text,
			       (unsigned long long)(mem_row.max / MIB));
	c->mem_bytes = n * MIB;
	return 0;
}

static int set_mem(struct config *c, const char *value, struct err *e)
{
	static const uint64_t page_bytes[] = {[HUGE_2M] = 2 * MIB, [HUGE_1G] = 1 << 30};
	struct mem m = {.shared = true};
	int r = opt_parse(mem_opts, &m, value, e);

	if (r == 0 && m.size)
		r = set_mem_size(c, m.size, e);
	opt_fini(mem_opts, &m);
	if (r < 0)
		return r;
	if (!m.shared)
		return err_say(e, EINVAL, "shared=off: the devices' processes need it");
	if (m.thp && m.hugepages != HUGE_NONE)
		return err_say(e, EINVAL, "thp and hugepages exclude each other");
	c->ram = (struct ram_options){.page_bytes = page_bytes[m.hugepages],
				      .thp = m.thp,
				      .lock = m.lock,
				      .dump = m.dump};
	if (c->ram.page_bytes && c->mem_bytes % c->ram.page_bytes != 0)
		return err_say(e, EINVAL, "not a whole number of huge pages of %s",
			       huge_sizes[m.hugepages]);
	return 0;
}

static int set_text(char **field, const char *value, struct err *e)
{
	char *copy = strdup(value);

	if (!copy)
		return err_set(e, ENOMEM, "cannot keep the value");
	free(*field);
	*field = copy;
	return 0;
}

static int set_name(struct config *c, const char *value, struct err *e)
{
	int r = vm_name_check(value, e);

	return r < 0 ? r : set_text(&c->name, value, e);
}

static int set_initrd(struct config *c, const char *value, struct err *e)
{
	int r = config_file_check(value, R_OK, "give the path of an initramfs", e);

	return r < 0 ? r : set_text(&c->initrd, value, e);
}

static int set_policy_dir(struct config *c, const char *value, struct err *e)
{
	struct stat st;

	if (stat(value, &st) < 0)
		return err_say(e, errno, "%s: %s; without this option built-in policies are used",
			       value, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return err_say(e, ENOTDIR, "%s: not a directory", value);
	return set_text(&c->policy_dir, value, e);
}

static int set_sandbox(struct config *c, const char *value, struct err *e)
{
	(void)value;
	(void)e;
	c->sandbox = true;
	return 0;
}

static int clear_sandbox(struct config *c, const char *value, struct err *e)
{
	(void)value;
	(void)e;
	c->sandbox = false;
	return 0;
}

static int clear_rng(struct config *c, const char *value, struct err *e)
{
	(void)value;
	(void)e;
	c->default_rng = false;
	return 0;
}

static int clear_balloon(struct config *c, const char *value, struct err *e)
{
	(void)value;
	(void)e;
	c->default_balloon = false;
	return 0;
}

static int add_root(struct config *c, const char *value, struct err *e)
{
	return config_disk_add(c, value, NULL, false, true, e);
}

static int add_disk(struct config *c, const char *value, struct err *e)
{
	return config_disk_add(c, value, NULL, false, false, e);
}

static int add_rwdisk(struct config *c, const char *value, struct err *e)
{
	return config_disk_add(c, value, NULL, true, false, e);
}

static int add_qcow(struct config *c, const char *value, struct err *e)
{
	return config_disk_add(c, value, "qcow2", false, false, e);
}

static int add_rwqcow(struct config *c, const char *value, struct err *e)
{
	return config_disk_add(c, value, "qcow2", true, false, e);
}

static int add_cid(struct config *c, const char *value, struct err *e)
{
	const struct device_type *type = device_type_find("vhost_vsock");
	char text[64];

	if (!type)
		return err_say(e, ENODEV, "not built in: build with -Ddevices=vhost_vsock");
	if (snprintf(text, sizeof(text), "cid=%s", value) >= (int)sizeof(text) ||
	    strchr(value, ','))
		return err_say(e, EINVAL, "not a number");
	return config_device_add(c, type, text, e);
}

/* A port is used once, and so is the terminal. */
static int check_serial(const struct config *c, const struct serial_config *new, struct err *e)
{
	for (unsigned i = 0; i < c->nserial; i++) {
		if (c->serial[i].com == new->com)
			return err_say(e, EINVAL, "COM%u is given twice; add com=2, 3 or 4",
				       new->com);
		if (c->serial[i].type == SERIAL_STDIO && new->type == SERIAL_STDIO)
			return err_say(e, EINVAL, "COM%u is on stdio already", c->serial[i].com);
	}
	return 0;
}

static int add_serial(struct config *c, const char *value, struct err *e)
{
	struct serial_config s = serial_config_default;
	int r;

	if (c->nserial == CONFIG_SERIAL_MAX)
		return err_say(e, E2BIG, "too many serial ports; a PC has %d", CONFIG_SERIAL_MAX);
	r = opt_parse(serial_config_opts, &s, value, e);
	if (r == 0)
		r = serial_config_check(&s, e);
	if (r == 0)
		r = check_serial(c, &s, e);
	if (r < 0)
		opt_fini(serial_config_opts, &s);
	else
		c->serial[c->nserial++] = s;
	return r;
}

/* The rows below: a function, or a field of struct config. */
#define ROW_CALL(l, n, v, h, f)  .arg = {.name = n, .letter = l, .value = v, .help = h}, .set = f
#define ROW_FIELD(l, n, v, h, r) .arg = {.name = n, .letter = l, .value = v, .help = h}, .row = r

const struct config_option config_options[] = {
	{ROW_CALL('m', "mem", "MIB[,KEY...]", "Guest memory", set_mem), .keys = mem_opts,
	 .default_text = "256"},
	{ROW_FIELD('c', "cpus", "N", "Virtual CPUs",
		   OPT_NUMBER(struct config, cpus, 1, CONFIG_CPUS_MAX, NULL)),
	 .default_text = "1"},
	{ROW_CALL('i', "initrd", "FILE", "Initial RAM disk", set_initrd)},
	{ROW_CALL('p', "params", "TEXT", "Words for the kernel command line", config_param_add),
	 .is_repeatable = true, .takes_empty = true},
	{ROW_CALL('r', "root", "FILE", "Read-only disk image that is the root file system",
		  add_root)},
	{ROW_CALL(0, "rootfs", "DIR|TAR[,KEY...]",
		  "Make the root file system of a directory or a tar archive",
		  config_rootfs_add),
	 .keys = config_rootfs_opts},
	{ROW_CALL('d', "disk", "FILE", "Read-only disk image", add_disk), .is_repeatable = true},
	{ROW_CALL(0, "rwdisk", "FILE", "Writable disk image", add_rwdisk), .is_repeatable = true},
	{ROW_CALL(0, "qcow", "FILE", "Read-only disk image in qcow2 format", add_qcow),
	 .is_repeatable = true},
	{ROW_CALL(0, "rwqcow", "FILE", "Writable disk image in qcow2 format", add_rwqcow),
	 .is_repeatable = true},
	{ROW_CALL(0, "serial", "TYPE[,KEY=VALUE...]", "Where a serial port of the guest ends",
		  add_serial),
	 .is_repeatable = true, .keys = serial_config_opts, .default_text = "stdio,com=1"},
	{ROW_FIELD(0, "host_ip", "ADDRESS", "Address of the host's end of a network card",
		   OPT_TEXT(struct config, net.host_ip, "ADDRESS", NULL))},
	{ROW_FIELD(0, "netmask", "ADDRESS", "Netmask of the host's end",
		   OPT_TEXT(struct config, net.netmask, "ADDRESS", NULL))},
	{ROW_FIELD(0, "mac", "MAC", "Ethernet address of the guest's end",
		   OPT_MAC(struct config, net.mac, NULL))},
	{ROW_CALL(0, "tap-fd", "FD", "Network card on a tap that the caller has opened",
		  config_tap_fd_add),
	 .is_repeatable = true},
	{ROW_FIELD(0, "vhost-net", NULL,
		   "The card of --host_ip, and those of --tap-fd, by the kernel's vhost-net",
		   OPT_FLAG(struct config, net.vhost, NULL))},
	{ROW_CALL(0, "cid", "N", "Virtual sockets by the host's kernel: --vsock cid=N", add_cid)},
	{ROW_CALL(0, "vhost-user", "TYPE,socket=PATH[,...]", "Device served by another program",
		  config_vhost_user_add),
	 .is_repeatable = true, .keys = config_vhost_user_opts},
	{ROW_CALL(0, "no-rng", NULL, "Leave out the random number device", clear_rng)},
	{ROW_CALL(0, "no-balloon", NULL, "Leave out the memory balloon", clear_balloon)},
	{ROW_FIELD(0, "transport", "pci|mmio", "How the guest finds its virtio devices",
		   OPT_CHOICE(struct config, transport, transports, NULL)),
	 .default_text = "pci"},
	{ROW_FIELD(0, "rings", "split|packed", "Layout of virtqueues; packed if the guest can",
		   OPT_CHOICE(struct config, rings, rings, NULL)),
	 .default_text = "split"},
	{ROW_FIELD(0, "pvpanic", NULL, "Let the guest report a panic",
		   OPT_FLAG(struct config, pvpanic, NULL))},
	{ROW_FIELD(0, "debug-exit", NULL, "Let the guest end with a code: a byte to port 0xf4",
		   OPT_FLAG(struct config, debug_exit, NULL))},
	{ROW_FIELD('s', "socket", "PATH", "Control socket, or the directory for crosvm-PID.sock",
		   OPT_TEXT(struct config, socket, "PATH", NULL))},
	{ROW_CALL(0, "name", "NAME", "Name by which commands find the control socket", set_name)},
	{ROW_CALL('u', "multiprocess", NULL, "Each device in a jailed process: the default",
		  set_sandbox),
	 .is_repeatable = true},
	{ROW_CALL(0, "disable-sandbox", NULL,
		  "All devices in threads of one process, without jails", clear_sandbox),
	 .is_repeatable = true},
	{ROW_CALL(0, "seccomp-policy-dir", "DIR",
		  "Use NAME_device.policy files in place of built-in lists", set_policy_dir),
	 .is_repeatable = true},
	{ROW_FIELD(0, "kvm-device", "FILE", "KVM's device file",
		   OPT_TEXT(struct config, kvm_device, "FILE", NULL)),
	 .default_text = "/dev/kvm"},
	{ROW_FIELD(0, "log-level", "error|warning|info|debug", "What is reported on standard error",
		   OPT_CHOICE(struct config, log_level, log_level_names, NULL)),
	 .default_text = "info"},
	{ROW_FIELD(0, "trace-file", "FILE",
		   "Where to write what the VM did last when it ends badly; with --name: "
		   "NAME.trace beside its control socket",
		   OPT_TEXT(struct config, trace_file, "FILE", NULL))},
	{ROW_FIELD(0, "syslog", "auto|on|off",
		   "Whether lines go to the host's syslog too; auto: if there is one",
		   OPT_CHOICE(struct config, syslog, syslog_choices, NULL)),
	 .default_text = "auto"},
	{ROW_FIELD(0, "syslog-tag", "TAG", "The name of this program there",
		   OPT_TEXT(struct config, syslog_tag, "TAG", NULL)),
	 .default_text = "crosvm"},
	{.arg = {.name = "cfg", .value = "FILE",
		 .help = "Read options from a configuration file, crosvm.conf(5)"},
	 .is_repeatable = true},
	{.arg = {.name = "dump-config",
		 .help = "Print the options as a configuration file, and end"}},
	{.arg = {.name = "help", .letter = 'h', .help = "Print this text"}},
	{.arg = {.name = NULL}},
};
