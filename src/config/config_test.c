/* SPDX-License-Identifier: BSD-3-Clause */
/* config_test.c - what command lines of `crosvm run` mean: all but devices */
#include "config/config_fixture.h"

/* ---- the command line ---- */

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

/* ---- files, help ---- */

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
		TEST(other_fields_are_set),
		TEST(wrong_files_are_refused),
		TEST(help_wins),
		TEST(help_and_manual_name_every_option_and_device),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
