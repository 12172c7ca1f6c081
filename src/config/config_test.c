/* SPDX-License-Identifier: BSD-3-Clause */
/* config_test.c - what command lines of `crosvm run` mean; with device types of the test's own */
#include "config/config.h"

#include "base/log.h"
#include "base/opt.h"
#include "devices/device.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct fake {
	struct device device;
	char *path, *id;
	bool ro, root;
	uint32_t queues;
	int format;
	int type, output;

	char *tap, *host_ip, *netmask;
	uint32_t tap_fd;
	struct opt_mac mac;
	bool vhost;

	uint32_t cid;
	char *socket;
};

static const struct opt net_opts[] = {
	OPT_TEXT(struct fake, tap, "NAME", "Tap"),
	OPT_NUMBER(struct fake, tap_fd, 0, 1000, "Descriptor"),
	OPT_TEXT(struct fake, host_ip, "ADDRESS", "Address"),
	OPT_TEXT(struct fake, netmask, "ADDRESS", "Netmask"),
	OPT_MAC(struct fake, mac, "Address"),
	OPT_FLAG(struct fake, vhost, "By the kernel"),
	OPT_END,
};

static const struct opt vsock_opts[] = {
	OPT_NUMBER(struct fake, cid, 3, UINT32_MAX - 1, "Context id"),
	OPT_TEXT(struct fake, socket, "PATH", "Socket"),
	OPT_END,
};

static const struct opt vhost_vsock_opts[] = {
	OPT_NUMBER(struct fake, cid, 3, UINT32_MAX - 1, "Context id"),
	OPT_END,
};

static const char *const formats[] = {"raw", "qcow2", NULL};
static const struct opt block_opts[] = {
	OPT_FIRST(struct fake, path, "FILE", "Disk image"),
	OPT_CHOICE(struct fake, format, formats, "Format"),
	OPT_FLAG(struct fake, ro, "Refuse writes"),
	OPT_FLAG(struct fake, root, "Root file system"),
	OPT_NUMBER(struct fake, queues, 1, 16, "Queues"),
	OPT_END,
};

static const char *const console_types[] = {"auto", "pty", "stdio", NULL};
static const struct opt console_opts[] = {
	OPT_CHOICE_FIRST(struct fake, type, console_types, "Kind"),
	OPT_NUMBER(struct fake, queues, 1, 16, "Ports"),
	OPT_FLAG(struct fake, ro, "Output only"),
	OPT_FD(struct fake, output, "Descriptor to write"),
	OPT_END,
};

static void fake_defaults(struct device *d)
{
	container_of(d, struct fake, device)->queues = 1;
	container_of(d, struct fake, device)->output = -1;
}

static int fake_check(const struct device *d, struct err *e)
{
	if (container_of(d, const struct fake, device)->cid == 0)
		return err_say(e, EINVAL, "cid=N is missing");
	return 0;
}

static unsigned fake_queues(const struct device *d)
{
	return container_of(d, const struct fake, device)->queues;
}

static const struct device_type block_type = {.name = "block",
					      .summary = "Disk",
					      .virtio_id = 2,
					      .size = sizeof(struct fake),
					      .opts = block_opts,
					      .queues = fake_queues,
					      .defaults = fake_defaults};
static const struct device_type console_type = {.name = "console",
						.summary = "Console",
						.virtio_id = 3,
						.size = sizeof(struct fake),
						.opts = console_opts,
						.defaults = fake_defaults};
static const struct device_type net_type = {.name = "net",
					    .summary = "Network card",
					    .virtio_id = 1,
					    .size = sizeof(struct fake),
					    .opts = net_opts};
static const struct device_type rng_type = {
	.name = "rng", .summary = "Random numbers", .virtio_id = 4, .size = sizeof(struct fake)};
static const struct device_type balloon_type = {
	.name = "balloon", .summary = "Memory", .virtio_id = 5, .size = sizeof(struct fake)};

static const struct device_type vhost_vsock_type = {.name = "vhost_vsock",
						    .summary = "Sockets of the kernel",
						    .virtio_id = 19,
						    .size = sizeof(struct fake),
						    .opts = vhost_vsock_opts,
						    .check = fake_check};
static const struct device_type vsock_type = {.name = "vsock",
					      .summary = "Sockets",
					      .virtio_id = 19,
					      .size = sizeof(struct fake),
					      .opts = vsock_opts,
					      .check = fake_check};

/* In place of the program's own tables. */
const struct device_type *const device_types[] = {&balloon_type,     &block_type, &console_type,
						  &net_type,	     &rng_type,
						  &vhost_vsock_type, &vsock_type, NULL};

const struct device_type *device_type_find(const char *name)
{
	for (const struct device_type *const *t = device_types; *t; t++)
		if (strcmp((*t)->name, name) == 0)
			return *t;
	return NULL;
}

static char dir[] = "/tmp/config-test-XXXXXX";
static struct config config;
static struct config_errors errors;

static void make_file(const char *name)
{
	int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static int set_up(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "backend.sock"};
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	if (!mkdtemp(dir) || chdir(dir) < 0)
		return -1;
	make_file("kernel");
	make_file("initrd");
	make_file("a.img");
	make_file("b,c.img");
	if (bind(sock, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return close(sock);
}

static int tear_down(void **state)
{
	static const char *const files[] = {"kernel", "initrd", "a.img", "b,c.img", "backend.sock",
					    "vm.conf", "more.conf"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		unlink(files[i]);
	return rmdir(dir);
}

static int done(void **state)
{
	(void)state;
	config_fini(&config);
	return 0;
}

/* Words are separated by single spaces. */
static int parse(const char *line)
{
	static char text[4096];
	static char *words[256];
	int n = 0;

	config_fini(&config);
	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
		words[n++] = word;
	return config_parse(&config, n, words, &errors);
}

static void accepted(const char *line)
{
	if (parse(line) != CONFIG_RUN)
		fail_msg("\"%s\" was refused: %s", line, errors.list[0].text);
	assert_int_equal(errors.n, 0);
}

/* Checks that line has this one mistake. */
static void refused(const char *line, const char *message)
{
	assert_int_equal(parse(line), -EINVAL);
	assert_int_equal(errors.n, 1);
	assert_string_equal(errors.list[0].text, message);
}

static void kernel_alone_gets_the_defaults(void **state)
{
	(void)state;
	accepted("kernel");

	assert_string_equal(config.kernel, "kernel");
	assert_int_equal(config.mem_bytes, 256 << 20);
	assert_int_equal(config.cpus, 1);
	assert_null(config.initrd);
	assert_null(config.socket);
	assert_string_equal(config.params, "");
	assert_string_equal(config.kvm_device, "/dev/kvm");
	assert_true(config.sandbox);
	assert_int_equal(config.transport, CONFIG_TRANSPORT_PCI);
	assert_int_equal(config.rings, CONFIG_RINGS_SPLIT);
	assert_int_equal(config.log_level, LOG_LEVEL_INFO);
	assert_int_equal(config.nserial, 1);
	assert_int_equal(config.serial[0].com, 1);
	assert_int_equal(config.ndevices, 2);
	assert_string_equal(config.devices[0].name, "rng");
	assert_ptr_equal(config.devices[0].type, &rng_type);
	assert_ptr_equal(config.devices[1].type, &balloon_type);
}

static void kernel_may_stand_anywhere(void **state)
{
	(void)state;
	accepted("-c 2 kernel -m 512");
	assert_int_equal(config.cpus, 2);
	assert_int_equal(config.mem_bytes, 512u << 20);
	accepted("kernel -c2");
	assert_int_equal(config.cpus, 2);
	accepted("-m512 -- kernel");
	assert_int_equal(config.mem_bytes, 512u << 20);
}

static void values_come_in_several_forms(void **state)
{
	(void)state;
	accepted("-c 3 kernel");
	assert_int_equal(config.cpus, 3);
	accepted("-c3 kernel");
	assert_int_equal(config.cpus, 3);
	accepted("--cpus=3 kernel");
	assert_int_equal(config.cpus, 3);
	accepted("--cpus 3 kernel");
	assert_int_equal(config.cpus, 3);
	accepted("--c=3 kernel");
	assert_int_equal(config.cpus, 3);
	refused("-c=3 kernel", "--cpus: \"=3\": not a number from 1 to 255");
	refused("--=3 kernel", "--: unknown option; see --help");
}

static void memory_is_mib_or_has_a_unit(void **state)
{
	(void)state;
	accepted("-m 5120 kernel");
	assert_int_equal(config.mem_bytes, UINT64_C(5120) << 20);
	accepted("-m 2G kernel");
	assert_int_equal(config.mem_bytes, UINT64_C(2) << 30);
	accepted("--mem size=64M kernel");
	assert_int_equal(config.mem_bytes, 64 << 20);
	refused("-m 0 kernel", "--mem: \"0\": not a number of MiB from 1 to 4194304");
	refused("-m 12x kernel", "--mem: \"12x\": not a size from 1M to 4T");
	refused("-m 99999999999999999999 kernel",
		"--mem: \"99999999999999999999\": not a size from 1M to 4T");
	refused("--mem= kernel", "--mem: a value is missing: MIB[,KEY...]");
}

static void memory_has_keys(void **state)
{
	(void)state;
	accepted("-m 512,hugepages kernel");
	assert_int_equal(config.mem_bytes, 512 << 20);
	assert_int_equal(config.ram.page_bytes, 2 << 20);
	accepted("--mem hugepages=1G,size=2G,lock,shared kernel");
	assert_int_equal(config.mem_bytes, UINT64_C(2) << 30);
	assert_int_equal(config.ram.page_bytes, 1 << 30);
	assert_true(config.ram.lock);
	assert_false(config.ram.thp || config.ram.dump);
	accepted("--mem thp kernel");
	assert_int_equal(config.mem_bytes, 256 << 20);
	assert_true(config.ram.thp);
	accepted("--mem 1G,dump --disable-sandbox kernel");
	assert_true(config.ram.dump);
	refused("--mem 1G,dump kernel", "--mem: dump: what is in a jail leaves no core dumps; add "
					"--disable-sandbox");
	refused("-m 511,hugepages kernel", "--mem: not a whole number of huge pages of 2M");
	refused("-m 512,hugepages=1G kernel", "--mem: not a whole number of huge pages of 1G");
	refused("-m 512,hugepages=4M kernel",
		"--mem: hugepages: \"4M\": not one of off, 2M, 1G");
	refused("-m 512,thp,hugepages kernel", "--mem: thp and hugepages exclude each other");
	refused("-m 512,shared=off kernel",
		"--mem: shared=off: the devices' processes need it");
	refused("-m 512,swap kernel", "--mem: unknown key \"swap\"; known: size, hugepages, thp, "
				      "shared, lock, dump");
}

static void params_are_joined_in_order(void **state)
{
	(void)state;
	accepted("-p console=ttyS0 --params=quiet --params= kernel -pa=b");
	assert_string_equal(config.params, "console=ttyS0 quiet a=b");
}

static void every_mistake_of_a_line_is_told(void **state)
{
	(void)state;
	assert_int_equal(parse("-m x --bogus -c 0 --gpu -z -u nokernel --socket"), -EINVAL);

	assert_int_equal(errors.n, 7);
	assert_string_equal(errors.list[0].text, "--bogus: unknown option; see --help");
	assert_string_equal(errors.list[1].text, "-z: unknown option; see --help");
	assert_string_equal(errors.list[2].text, "--socket: a value is missing: PATH");
	assert_string_equal(errors.list[3].text, "--mem: \"x\": not a size from 1M to 4T");
	assert_string_equal(errors.list[4].text, "--cpus: \"0\": not a number from 1 to 255");
	assert_string_equal(errors.list[5].text, "--gpu: graphics are not built in");
	assert_string_equal(errors.list[6].text,
			    "kernel: nokernel: No such file or directory; give the path of a "
			    "bzImage or vmlinux");
}

static void more_mistakes_than_there_is_room_for_are_counted(void **state)
{
	(void)state;
	assert_int_equal(parse("kernel -z -z -z -z -z -z -z -z -z -z -z -z -z -z -z -z -z -z"),
			 -EINVAL);
	assert_int_equal(errors.n, 18);
}

static void wrong_words_are_refused(void **state)
{
	(void)state;
	refused("", "a kernel is missing: crosvm run [OPTIONS] KERNEL");
	refused("kernel initrd", "initrd: one kernel is enough, kernel");
	refused("kernel -", "-: unknown option; see --help");
	refused("--", "a kernel is missing: crosvm run [OPTIONS] KERNEL");
}

static void mistyped_options_get_a_suggestion(void **state)
{
	(void)state;
	refused("kernel --inird=x", "--inird: unknown option; did you mean --initrd?");
	refused("kernel -initrd x", "-initrd: unknown option; did you mean --initrd?");
	refused("kernel --gppu", "--gppu: unknown option; see --help");
}

static void word_behind_an_unknown_option_is_no_kernel(void **state)
{
	(void)state;
	refused("--bogus nofile kernel", "--bogus: unknown option; see --help");
	refused("--bogus kernel", "--bogus: unknown option; see --help");
	refused("--gpu nofile kernel", "--gpu: graphics are not built in");
	refused("--memory 512 kernel", "--memory: say --mem SIZE");
	refused("--kernel kernel",
		"--kernel: the kernel is a word of its own: crosvm run [OPTIONS] KERNEL");
}

static void options_of_other_programs_say_what_is_meant(void **state)
{
	(void)state;
	refused("-smp 2 kernel", "--smp: say --cpus N");
	refused("-hda x kernel", "--hda: say --block path=FILE (also ,ro ,root ,format=qcow2)");
	refused("-nographic kernel", "--nographic: not needed: it is always so");
	refused("--rwroot=x kernel", "--rwroot: say --block path=FILE,root");
}

static void dash_and_underscore_are_the_same_in_names(void **state)
{
	(void)state;
	accepted("--host-ip 10.0.0.1 --netmask 255.0.0.0 --mac 52:54:00:12:34:56 kernel");
	accepted("--disable_sandbox kernel");
	assert_false(config.sandbox);
}

static void flags_take_no_value(void **state)
{
	(void)state;
	refused("kernel --pvpanic=1", "--pvpanic: takes no value, \"1\" was given");
	refused("kernel -uX", "-u: takes no value, \"X\" was given");
}

static void single_options_are_given_once(void **state)
{
	(void)state;
	refused("kernel -c 1 --cpus 2", "--cpus: given twice");
	refused("kernel -r a.img -r a.img", "--root: given twice");
	accepted("kernel -u --disable-sandbox");
	assert_false(config.sandbox);
	accepted("kernel --disable-sandbox -u");
	assert_true(config.sandbox);
}

static void disks_keep_their_order(void **state)
{
	(void)state;
	accepted("-d a.img --rwdisk b,c.img --block path=a.img,queues=4 kernel");

	assert_int_equal(config.ndevices, 5);
	assert_string_equal(config.devices[0].options, "path=a.img,ro");
	assert_string_equal(config.devices[1].options, "path=b,,c.img");
	assert_string_equal(config.devices[2].options, "path=a.img,queues=4");
	assert_string_equal(config.devices[3].name, "rng");
}

static void qcow2_disks_are_disks_of_that_format(void **state)
{
	(void)state;
	accepted("--qcow a.img --rwqcow b,c.img kernel");

	assert_string_equal(config.devices[0].options, "path=a.img,format=qcow2,ro");
	assert_string_equal(config.devices[1].options, "path=b,,c.img,format=qcow2");
}

static void root_disk_is_named_by_its_place(void **state)
{
	(void)state;
	accepted("-r a.img kernel");
	assert_string_equal(config.params, "root=/dev/vda ro");
	accepted("-d a.img -p quiet -r a.img kernel");
	assert_string_equal(config.params, "quiet root=/dev/vdb ro");
	accepted("--block a.img --rng --block a.img,root kernel");
	assert_string_equal(config.params, "root=/dev/vdb rw");
	refused("-r a.img --block a.img,root kernel",
		"--block: another disk or --params is the root already");
}

static void disk_names_go_on_after_z(void **state)
{
	char name[16];

	(void)state;
	config_disk_name(0, name, sizeof(name));
	assert_string_equal(name, "vda");
	config_disk_name(25, name, sizeof(name));
	assert_string_equal(name, "vdz");
	config_disk_name(26, name, sizeof(name));
	assert_string_equal(name, "vdaa");
	config_disk_name(26 + 26 * 26 - 1, name, sizeof(name));
	assert_string_equal(name, "vdzz");
	config_disk_name(26 + 26 * 26, name, sizeof(name));
	assert_string_equal(name, "vdaaa");
}

static void wrong_disks_are_refused(void **state)
{
	(void)state;
	refused("-d no.img kernel",
		"--disk: no.img: No such file or directory; give the path of a disk image");
	refused("-d . kernel", "--disk: .: this is a directory; give the path of a disk image");
	refused("--block ro kernel", "--block: path=FILE is missing");
	refused("--block a.img,queues=17 kernel",
		"--block: queues: \"17\": not a number from 1 to 16");
	refused("kernel --block", "--block: a value is missing: KEY=VALUE,...");
}

static void first_network_options_make_a_card(void **state)
{
	(void)state;
	accepted("--mac 02:00:00:00:00:0A --netmask 255.255.255.0 --host_ip 10.0.0.1 kernel");
	assert_string_equal(config.devices[0].name, "net");
	assert_string_equal(config.devices[0].options,
			    "host_ip=10.0.0.1,netmask=255.255.255.0,mac=02:00:00:00:00:0a");
	accepted("--host_ip 10.0.0.1 --netmask 255.0.0.0 --mac 02:00:00:00:00:01 --vhost-net "
		 "-d a.img kernel");
	assert_string_equal(config.devices[0].name, "block");
	assert_string_equal(config.devices[1].options,
			    "host_ip=10.0.0.1,netmask=255.0.0.0,mac=02:00:00:00:00:01,vhost");
	refused("--mac 02:00:00:00:00:01 --netmask 255.0.0.0 kernel",
		"--host_ip, --netmask and --mac go together: --host_ip is missing");
	refused("--host_ip 10.0.0.1 --mac 02:00:00:00:00:01 kernel",
		"--host_ip, --netmask and --mac go together: --netmask is missing");
	refused("--host_ip 10.0.0.1 --netmask 255.0.0.0 kernel",
		"--host_ip, --netmask and --mac go together: --mac is missing");
	refused("--vhost-net kernel", "--vhost-net: for which card? it goes with --host_ip or "
				      "--tap-fd; else say --net ...,vhost");
}

static void each_tap_descriptor_is_a_card(void **state)
{
	int given = dup2(STDIN_FILENO, 77), second = dup2(STDIN_FILENO, 78);

	(void)state;
	accepted("--tap-fd 77 --vhost-net --tap-fd=78 kernel");
	assert_string_equal(config.devices[0].options, "tap-fd=77,vhost");
	assert_string_equal(config.devices[1].options, "tap-fd=78,vhost");
	refused("--tap-fd 77 --tap-fd 77 kernel", "--tap-fd: 77: given twice");
	refused("--tap-fd x kernel", "--tap-fd: \"x\": not the number of a descriptor");
	refused("--tap-fd 79 kernel", "--tap-fd: 79: this descriptor is not open");
	assert_int_equal(fcntl(second, F_SETFD, FD_CLOEXEC), 0);
	refused("--tap-fd 78 kernel", "--tap-fd: 78: this descriptor is not yours to give");
	refused("--tap-fd 77 --mac 02:00:00:00:00:01 kernel",
		"--tap-fd: a tap that is set up already, it goes without --host_ip, --netmask "
		"and --mac");
	close(given);
	close(second);
}

static void socket_decides_who_serves_virtual_sockets(void **state)
{
	(void)state;
	accepted("--vsock cid=3,socket=v kernel");
	assert_string_equal(config.devices[0].name, "vsock");
	assert_string_equal(config.devices[0].options, "cid=3,socket=v");
	accepted("--vsock cid=4294967294 kernel");
	assert_string_equal(config.devices[0].name, "vhost_vsock");
	assert_string_equal(config.devices[0].options, "cid=4294967294");
	accepted("--cid 5 kernel");
	assert_string_equal(config.devices[0].name, "vhost_vsock");
	assert_string_equal(config.devices[0].options, "cid=5");
	refused("--cid 2 kernel", "--cid: cid: \"2\": not a number from 3 to 4294967294");
	refused("--cid 4294967295 kernel",
		"--cid: cid: \"4294967295\": not a number from 3 to 4294967294");
	refused("--cid 4294967296 kernel",
		"--cid: cid: \"4294967296\": not a number from 3 to 4294967294");
	refused("--cid 5,6 kernel", "--cid: not a number");
	refused("--vsock cid=3,sockets=v kernel",
		"--vsock: unknown key \"sockets\"; known: cid, socket");
	refused("--vsock socket=v kernel", "--vsock: cid=N is missing");
	refused("--vsock cid=3,socket=v --cid 4 kernel",
		"--cid: a guest takes one such device, and has one");
}

static void inherited_descriptor_must_be_given(void **state)
{
	int fd = open("a.img", O_RDWR | O_CLOEXEC);
	int given = dup2(fd, 77);

	(void)state;
	assert_int_equal(given, 77);
	accepted("-d /proc/self/fd/77 kernel");
	assert_int_equal(config.devices[0].inherited_fd, 77);
	refused("-d /proc/self/fd/78 kernel",
		"--disk: /proc/self/fd/78: descriptor 78 is not open; open it with 78<FILE");
	refused("-d /proc/self/fd/x kernel",
		"--disk: /proc/self/fd/x: not the number of a descriptor");
	assert_int_equal(dup3(fd, 78, O_CLOEXEC), 78);
	refused("-d /proc/self/fd/78 kernel",
		"--disk: /proc/self/fd/78: this descriptor is not yours to give");
	assert_int_equal(dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 78), 78);
	refused("-d /proc/self/fd/78 kernel",
		"--disk: /proc/self/fd/78: neither a regular file nor a block device");
	close(fd);
	close(77);
	close(78);
}

static void too_many_devices_are_refused(void **state)
{
	char line[2048] = "kernel --no-rng --no-balloon";

	(void)state;
	for (int i = 0; i < CONFIG_DEVICES_MAX; i++)
		strcat(line, " -d a.img");
	accepted(line);
	assert_int_equal(config.ndevices, CONFIG_DEVICES_MAX);
	strcat(line, " -d a.img");
	refused(line, "--disk: too many devices; 64 fit");
}

static void default_devices_can_be_left_out_or_placed(void **state)
{
	(void)state;
	accepted("--no-rng kernel");
	assert_int_equal(config.ndevices, 1);
	assert_string_equal(config.devices[0].name, "balloon");
	accepted("--no-rng --no-balloon kernel");
	assert_int_equal(config.ndevices, 0);
	accepted("--rng -d a.img kernel");
	assert_int_equal(config.ndevices, 3);
	assert_string_equal(config.devices[0].name, "rng");
	accepted("--balloon -d a.img kernel");
	assert_int_equal(config.ndevices, 3);
	assert_string_equal(config.devices[0].name, "balloon");
}

static void stdio_has_one_user(void **state)
{
	(void)state;
	accepted("--console stdio kernel");
	assert_true(config.devices[0].on_stdio);
	assert_int_equal(config.serial[0].type, SERIAL_SINK); /* the default gives way */
	accepted("--console pty kernel");
	assert_false(config.devices[0].on_stdio);
	assert_int_equal(config.serial[0].type, SERIAL_STDIO);
	accepted("--console stdio,output=2 kernel");
	assert_false(config.devices[0].on_stdio);
	refused("--console stdio --console stdio kernel",
		"--console: stdio is used by another device already");
	refused("--console stdio --serial stdio kernel",
		"stdio: both a serial port and another device use it");
}

static void devices_without_a_required_key_need_no_value(void **state)
{
	(void)state;
	accepted("--console kernel --no-rng");
	assert_string_equal(config.devices[0].options, "");
	accepted("--console queues=3 kernel --no-rng");
	assert_string_equal(config.devices[0].options, "queues=3");
	accepted("--console ro,queues=3 kernel --no-rng");
	assert_string_equal(config.devices[0].options, "ro,queues=3");
	accepted("--console=queues=3 kernel --no-rng");
	assert_string_equal(config.devices[0].options, "queues=3");
	accepted("--console pty,ro kernel --no-rng");
	assert_string_equal(config.devices[0].options, "pty,ro");
	accepted("--console pty kernel --no-rng");
	assert_string_equal(config.devices[0].options, "pty");
	refused("--console=kernel kernel",
		"--console: type: \"kernel\": not one of auto, pty, stdio");
	accepted("kernel --no-rng --console");
	assert_string_equal(config.devices[0].options, "");
	refused("--console bogus=1 kernel", "--console: unknown key \"bogus\"; known: type, queues, ro, "
		"output");
	refused("--console nofile kernel",
		"--console: type: \"nofile\": not one of auto, pty, stdio");
}

static void serial_ports_are_checked_together(void **state)
{
	(void)state;
	accepted("--serial file,path=x,com=2 --serial sink kernel");
	assert_int_equal(config.nserial, 2);
	assert_int_equal(config.serial[0].com, 2);
	assert_string_equal(config.serial[0].path, "x");
	refused("--serial sink --serial pty kernel",
		"--serial: COM1 is given twice; add com=2, 3 or 4");
	refused("--serial stdio --serial stdio,com=2 kernel", "--serial: COM1 is on stdio already");
	refused("--serial sink --serial sink,com=2 --serial sink,com=3 --serial sink,com=4 "
		"--serial sink kernel",
		"--serial: too many serial ports; a PC has 4");
	refused("--serial bogus kernel",
		"--serial: type: \"bogus\": not one of stdio, file, unix, pty, sink");
}

static void foreign_back_ends_are_checked(void **state)
{
	(void)state;
	accepted("--vhost-user fs,socket=backend.sock,tag=home,queues=2 kernel --no-rng");
	assert_string_equal(config.devices[0].name, "fs");
	assert_int_equal(config.devices[0].virtio_id, 26);
	assert_null(config.devices[0].type);
	assert_string_equal(config.devices[0].socket, "backend.sock");
	assert_string_equal(config.devices[0].tag, "home");
	assert_int_equal(config.devices[0].queues, 2);
	accepted("--vhost-user block,socket=backend.sock -r a.img kernel");
	assert_ptr_equal(config.devices[0].type, &block_type);
	assert_string_equal(config.params, "root=/dev/vdb ro");
	refused("--vhost-user fs,socket=backend.sock kernel",
		"--vhost-user: tag=NAME is missing: the guest mounts it by that name");
	refused("--vhost-user rng,socket=backend.sock,tag=x kernel",
		"--vhost-user: tag: only fs has one");
	refused("--vhost-user rng kernel", "--vhost-user: socket=PATH is missing");
	refused("--vhost-user rng,socket=no kernel",
		"--vhost-user: no: No such file or directory; start the back end first");
	refused("--vhost-user rng,socket=kernel kernel", "--vhost-user: kernel: not a socket");
	refused("--vhost-user floppy,socket=x kernel",
		"--vhost-user: unknown type \"floppy\"; known: block, net, rng, console, fs, scsi, "
		"gpu, input, vsock, sound, crypto");
}

static void queues_are_counted_before_a_device_opens(void **state)
{
	static const unsigned expected[] = {1, 4, 0};

	(void)state;
	accepted("-d a.img --block a.img,queues=4 --rng kernel --no-balloon");
	assert_int_equal(config.ndevices, ARRAY_LEN(expected));
	for (unsigned i = 0; i < config.ndevices; i++)
		assert_int_equal(config.devices[i].queues, expected[i]);
}

static void other_fields_are_set(void **state)
{
	(void)state;
	accepted("-i initrd --transport mmio --rings packed --pvpanic --debug-exit "
		 "--log-level debug -s /x/y "
		 "--kvm-device /dev/k --seccomp-policy-dir . kernel");

	assert_string_equal(config.initrd, "initrd");
	assert_int_equal(config.transport, CONFIG_TRANSPORT_MMIO);
	assert_int_equal(config.rings, CONFIG_RINGS_PACKED);
	assert_true(config.pvpanic);
	assert_true(config.debug_exit);
	assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
	assert_string_equal(config.socket, "/x/y");
	assert_string_equal(config.kvm_device, "/dev/k");
	assert_string_equal(config.policy_dir, ".");
}

static void wrong_files_are_refused(void **state)
{
	(void)state;
	refused("-i no kernel",
		"--initrd: no: No such file or directory; give the path of an initramfs");
	refused("--seccomp-policy-dir no kernel",
		"--seccomp-policy-dir: no: No such file or directory; without this option built-in "
		"policies are used");
	refused("--seccomp-policy-dir kernel kernel",
		"--seccomp-policy-dir: kernel: not a directory");
	refused(".", "kernel: .: this is a directory; give the path of a bzImage or vmlinux");
}

static void help_wins(void **state)
{
	(void)state;
	assert_int_equal(parse("--bogus -h"), CONFIG_HELP);
	assert_int_equal(parse("kernel --help --bogus"), CONFIG_HELP);
	assert_int_equal(parse("kernel -- --help"), -EINVAL);
}

static void help_and_manual_name_every_option_and_device(void **state)
{
	static const char *const words[] = {"mem",    "vhost-user",         "block", "console",
					    "queues", "seccomp-policy-dir", "serial"};
	static void (*const printers[])(FILE *) = {config_help, config_mdoc_options,
						   config_mdoc_devices};
	static char text[32768];
	FILE *out = fmemopen(text, sizeof(text), "w");

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(printers); i++)
		printers[i](out);
	fclose(out);

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		assert_non_null(strstr(text, words[i]));
}

static void write_file(const char *name, const char *text)
{
	FILE *out = fopen(name, "we");

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

static void a_file_says_what_the_command_line_can_say(void **state)
{
	(void)state;
	write_file("vm.conf", "# a machine\n"
			      "kernel = kernel\n"
			      "\tmem=1G \n"
			      "params = console=ttyS0 quiet\n"
			      "params = \" x\"\n"
			      "no_rng\n"
			      "pvpanic = yes\n"
			      "debug-exit = off\r\n"
			      "\n"
			      "; disks\n"
			      "[block]\n"
			      "path = b,c.img\n"
			      "ro\n"
			      "[run]\n"
			      "rwdisk = a.img\n"
			      "[block]\n"
			      "a.img\n"
			      "ro = true\n"
			      "[console]\n"
			      "[rng]\n");
	accepted("--cfg vm.conf");

	assert_string_equal(config.kernel, "kernel");
	assert_int_equal(config.mem_bytes, UINT64_C(1) << 30);
	assert_string_equal(config.params, "console=ttyS0 quiet  x");
	assert_true(config.pvpanic);
	assert_false(config.debug_exit);
	assert_int_equal(config.ndevices, 6);
	assert_string_equal(config.devices[0].options, "path=b,,c.img,ro");
	assert_string_equal(config.devices[1].options, "path=a.img");
	assert_string_equal(config.devices[2].options, "a.img,ro=true");
	assert_string_equal(config.devices[3].name, "console");
	assert_string_equal(config.devices[4].name, "rng");
}

static void the_command_line_overrules_files(void **state)
{
	(void)state;
	write_file("vm.conf", "kernel = nowhere\nmem = 1G\ncpus = 2\nparams = a\n");
	write_file("more.conf", "cpus = 3\nparams = b\n");
	accepted("-p c --cfg vm.conf -m 512 --cfg more.conf kernel");

	assert_string_equal(config.kernel, "kernel");
	assert_int_equal(config.mem_bytes, 512 << 20);
	assert_int_equal(config.cpus, 3);
	assert_string_equal(config.params, "a b c");
}

static void mistakes_in_files_are_told_with_their_lines(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"mem = x\n", "vm.conf:1: mem: \"x\": not a size from 1M to 4T"},
		{"\nmen = 1G\n", "vm.conf:2: men: unknown option; see crosvm run --help"},
		{"mem\n", "vm.conf:1: mem: a value is missing: mem = MIB"},
		{"cpus = 1\ncpus = 2\n", "vm.conf:2: cpus: given twice"},
		{"kernel\n", "vm.conf:1: kernel: a value is missing: kernel = FILE"},
		{"= 3\n", "vm.conf:1: a key is missing in front of \"=\""},
		{"pvpanic = maybe\n", "vm.conf:1: pvpanic: \"maybe\" is neither true nor false"},
		{"help\n", "vm.conf:1: help: unknown option; see crosvm run --help"},
		{"cfg = vm.conf\n", "vm.conf:1: cfg: a configuration file cannot name another"},
		{"gpu = 1\n", "vm.conf:1: gpu: graphics are not built in"},
		{"[block\npath = a.img\n", "vm.conf:1: \"[block\": a section ends with \"]\""},
		{"[blok]\npath = a.img\n",
		 "vm.conf:1: [blok]: no such section; known: run, block, ... (crosvm run --help)"},
		{"[rng]\nsource = x\n", "vm.conf:1: [rng]: takes no keys"},
		{"[block]\npath = a.img\nrows = 2\n", "vm.conf:1: block: unknown key \"rows\""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		write_file("vm.conf", cases[i].text);
		assert_int_equal(parse("--cfg vm.conf -- kernel"), -EINVAL);
		if (!strstr(errors.list[0].text, cases[i].message))
			fail_msg("\"%s\": %s", cases[i].text, errors.list[0].text);
		assert_int_equal(errors.n, 1);
	}
	write_file("vm.conf", "kernel = kernel\nkernel = a.img\n");
	refused("--cfg vm.conf", "vm.conf:2: a.img: one kernel is enough, kernel");
	refused("--cfg none.conf kernel",
		"--cfg: none.conf: cannot open it: No such file or directory; check the path");
	refused("--cfg . kernel", "--cfg: .: cannot read it: Is a directory; name a file");
}

static void what_is_dumped_reads_the_same(void **state)
{
	char *first, *second;

	(void)state;
	assert_int_equal(parse("-m 1G --block path=b,,c.img,ro --disk a.img -p a=b,c kernel "
			       "--serial sink,com=2 --rng --pvpanic --dump-config"),
			 CONFIG_DUMP);
	first = strdup(config.dump);
	assert_string_equal(first, "mem = 1G\n\n[block]\npath = b,c.img\nro\n"
				   "\n[run]\ndisk = a.img\nparams = a=b,c\nkernel = kernel\n"
				   "\n[serial]\nsink\ncom = 2\n"
				   "\n[run]\nrng\npvpanic\n");
	write_file("vm.conf", first);
	assert_int_equal(parse("--cfg vm.conf --dump-config"), CONFIG_DUMP);
	second = strdup(config.dump);
	assert_string_equal(first, second);
	assert_string_equal(config.devices[0].options, "path=b,,c.img,ro");
	free(first);
	free(second);
}

static void what_is_overruled_is_not_dumped(void **state)
{
	(void)state;
	write_file("vm.conf", "mem = 1G\nkernel = nowhere\n");
	assert_int_equal(parse("--cfg vm.conf -m 512 kernel --dump-config"), CONFIG_DUMP);
	assert_string_equal(config.dump, "mem = 512\nkernel = kernel\n");
}

#define TEST(name) cmocka_unit_test_teardown(name, done)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(kernel_alone_gets_the_defaults),
		TEST(kernel_may_stand_anywhere),
		TEST(values_come_in_several_forms),
		TEST(memory_is_mib_or_has_a_unit),
		TEST(memory_has_keys),
		TEST(params_are_joined_in_order),
		TEST(every_mistake_of_a_line_is_told),
		TEST(more_mistakes_than_there_is_room_for_are_counted),
		TEST(wrong_words_are_refused),
		TEST(mistyped_options_get_a_suggestion),
		TEST(word_behind_an_unknown_option_is_no_kernel),
		TEST(options_of_other_programs_say_what_is_meant),
		TEST(dash_and_underscore_are_the_same_in_names),
		TEST(flags_take_no_value),
		TEST(single_options_are_given_once),
		TEST(disks_keep_their_order),
		TEST(qcow2_disks_are_disks_of_that_format),
		TEST(root_disk_is_named_by_its_place),
		TEST(disk_names_go_on_after_z),
		TEST(wrong_disks_are_refused),
		TEST(first_network_options_make_a_card),
		TEST(each_tap_descriptor_is_a_card),
		TEST(socket_decides_who_serves_virtual_sockets),
		TEST(inherited_descriptor_must_be_given),
		TEST(too_many_devices_are_refused),
		TEST(default_devices_can_be_left_out_or_placed),
		TEST(stdio_has_one_user),
		TEST(devices_without_a_required_key_need_no_value),
		TEST(serial_ports_are_checked_together),
		TEST(foreign_back_ends_are_checked),
		TEST(queues_are_counted_before_a_device_opens),
		TEST(other_fields_are_set),
		TEST(wrong_files_are_refused),
		TEST(help_wins),
		TEST(a_file_says_what_the_command_line_can_say),
		TEST(the_command_line_overrules_files),
		TEST(mistakes_in_files_are_told_with_their_lines),
		TEST(what_is_dumped_reads_the_same),
		TEST(what_is_overruled_is_not_dumped),
		TEST(help_and_manual_name_every_option_and_device),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
