/* SPDX-License-Identifier: BSD-3-Clause */
/* config_device_test.c - what command lines of `crosvm run` mean: devices */
#include "config/config_fixture.h"

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
	refused("--console bogus=1 kernel",
		"--console: unknown key \"bogus\"; known: type, queues, ro, output");
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

#define TEST(name) cmocka_unit_test_teardown(name, done)

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
