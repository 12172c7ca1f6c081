/* SPDX-License-Identifier: BSD-3-Clause */
/* config_file_test.c - what configuration files mean, and what is dumped as one */
#include "config/config_fixture.h"

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
		{"\nmen = 1G\n", "vm.conf:2: men: unknown option; did you mean mem?"},
		{"bogus = 1G\n", "vm.conf:1: bogus: unknown option; see crosvm run --help"},
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
		TEST(a_file_says_what_the_command_line_can_say),
		TEST(the_command_line_overrules_files),
		TEST(mistakes_in_files_are_told_with_their_lines),
		TEST(what_is_dumped_reads_the_same),
		TEST(what_is_overruled_is_not_dumped),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
