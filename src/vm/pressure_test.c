/* SPDX-License-Identifier: BSD-3-Clause */
/* pressure_test.c - whether the host is short of memory, by files that the test writes */
#include "vm/pressure.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static char dir[64];
static char notice[80], margin[80], available[80], psi[80], own_cgroup[80], meminfo[80];
static char cgroup_psi[120];
static struct pressure_paths paths;
static struct pressure p;
static struct loop loop;
static unsigned noticed;

static void count(struct pressure *q)
{
	assert_ptr_equal(q, &p);
	noticed++;
}

static void write_file(const char *path, const char *text)
{
	auto_fd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static const char *name(char *buf, const char *leaf)
{
	sprintf(buf, "%s/%s", dir, leaf);
	return buf;
}

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/pressure-test-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	paths = (struct pressure_paths){
		.chromeos_notice = name(notice, "low-mem"),
		.chromeos_margin = name(margin, "margin"),
		.chromeos_available = name(available, "available"),
		.psi = name(psi, "pressure"),
		.own_cgroup = name(own_cgroup, "cgroup"),
		.cgroup_root = dir,
		.meminfo = name(meminfo, "meminfo"),
	};
	sprintf(cgroup_psi, "%s/memory.pressure", dir);
	noticed = 0;
	return loop_init(&loop);
}

static int tear_down(void **state)
{
	const char *all[] = {notice, margin, available, psi, own_cgroup, meminfo, cgroup_psi};

	(void)state;
	pressure_close(&p);
	pressure_close(&p);
	loop_fini(&loop);
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		unlink(all[i]);
	return rmdir(dir);
}

static void make_chromeos(const char *margin_text, const char *available_text)
{
	unlink(notice);
	assert_int_equal(mkfifo(notice, 0600), 0);
	write_file(margin, margin_text);
	write_file(available, available_text);
}

static void make_psi(void)
{
	write_file(psi, "");
	write_file(meminfo, "MemTotal:        1600000 kB\n"
			    "MemFree:          300000 kB\n"
			    "MemAvailable:     500000 kB\n");
}

static void chromeos_readings_are_in_mib(void **state)
{
	struct balloon_reading r;
	struct err e;
	int writer;

	(void)state;
	make_chromeos(" 200\n", "612\n");
	make_psi();
	assert_int_equal(pressure_open(&p, PRESSURE_AUTO, 0, &paths, &e), 0);
	assert_int_equal(p.kind, PRESSURE_CHROMEOS);
	writer = open(notice, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(writer >= 0);
	assert_int_equal(pressure_read(&p, &r, &e), 0);
	assert_false(r.is_low);
	assert_int_equal(r.margin_bytes, 200 * MIB);
	assert_int_equal(r.available_bytes, 612 * MIB);

	assert_int_equal(write(writer, "x", 1), 1);
	write_file(available, "100");
	assert_int_equal(pressure_read(&p, &r, &e), 0);
	assert_true(r.is_low);
	assert_int_equal(r.available_bytes, 100 * MIB);
	assert_int_equal(pressure_look_ns(&p, &r), 0);
	close(writer);
}

static void chromeos_notice_is_heard_while_listening(void **state)
{
	struct err e;
	int writer;

	(void)state;
	make_chromeos("200", "612");
	assert_int_equal(pressure_open(&p, PRESSURE_CHROMEOS, 0, &paths, &e), 0);
	p.noticed = count;
	writer = open(notice, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	assert_int_equal(write(writer, "x", 1), 1);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(noticed, 0);
	pressure_listen(&p, &loop, true);
	pressure_listen(&p, &loop, true);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(noticed, 1);
	pressure_listen(&p, &loop, false);
	assert_int_equal(loop_once(&loop, 0), 0);
	assert_int_equal(noticed, 1);
	assert_int_equal(p.notices, 1);
	close(writer);
}

static void chromeos_nonsense_is_an_error(void **state)
{
	static const char *const wrong[] = {"", "x", "-1", "12 34", "18446744073709551615"};
	struct balloon_reading r;
	struct err e;

	(void)state;
	make_chromeos("200", "612");
	assert_int_equal(pressure_open(&p, PRESSURE_CHROMEOS, 0, &paths, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		write_file(available, wrong[i]);
		if (pressure_read(&p, &r, &e) >= 0)
			fail_msg("\"%s\" was read", wrong[i]);
	}
}

static void psi_compares_available_memory_with_the_margin(void **state)
{
	struct balloon_reading r;
	struct err e;

	(void)state;
	make_psi();
	assert_int_equal(pressure_open(&p, PRESSURE_AUTO, 0, &paths, &e), 0);
	assert_int_equal(p.kind, PRESSURE_PSI);
	assert_int_equal(pressure_read(&p, &r, &e), 0);
	assert_int_equal(r.margin_bytes, 100000 * 1024); /* a sixteenth */
	assert_int_equal(r.available_bytes, 500000 * 1024);
	assert_false(r.is_low);
	assert_true(pressure_look_ns(&p, &r) > UINT64_C(5000000000));

	write_file(meminfo, "MemAvailable:  100000 kB\n");
	assert_int_equal(pressure_read(&p, &r, &e), 0);
	assert_false(r.is_low);
	assert_true(pressure_look_ns(&p, &r) <= UINT64_C(1000000000));
	write_file(meminfo, "MemAvailable:   99999 kB\n");
	assert_int_equal(pressure_read(&p, &r, &e), 0);
	assert_true(r.is_low);
	write_file(meminfo, "MemFree: 1 kB\n");
	assert_int_equal(pressure_read(&p, &r, &e), -EPROTO);
}

static void psi_trigger_is_written(void **state)
{
	char text[64] = "";
	struct err e;

	(void)state;
	make_psi();
	assert_int_equal(pressure_open(&p, PRESSURE_PSI, 64 * MIB, &paths, &e), 0);
	assert_int_equal(p.margin_bytes, 64 * MIB);
	auto_fd fd = open(psi, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, text, sizeof(text)), 20); /* with its 0 */
	assert_string_equal(text, "some 100000 1000000");
}

static void psi_of_the_control_group_stands_in(void **state)
{
	struct err e;
	struct stat st;

	(void)state;
	make_psi();
	unlink(psi);
	assert_int_equal(mkdir(psi, 0700), 0); /* cannot be opened for writing */
	write_file(own_cgroup, "2:memory:/x\n0::/\n");
	write_file(cgroup_psi, "");
	assert_int_equal(pressure_open(&p, PRESSURE_AUTO, 0, &paths, &e), 0);
	assert_int_equal(p.kind, PRESSURE_PSI);
	assert_int_equal(stat(cgroup_psi, &st), 0);
	assert_true(st.st_size > 0);
	rmdir(psi);
}

static void host_without_any_says_why(void **state)
{
	struct balloon_reading r;
	struct err e = {0};

	(void)state;
	assert_int_equal(pressure_open(&p, PRESSURE_AUTO, 0, &paths, &e), -ENODEV);
	assert_non_null(strstr(e.text, "meminfo: No such file"));
	make_psi();
	unlink(psi);
	assert_int_equal(pressure_open(&p, PRESSURE_AUTO, 0, &paths, &e), -ENODEV);
	assert_non_null(strstr(e.text, "pressure: No such file"));
	assert_int_equal(p.kind, PRESSURE_OFF);
	assert_int_equal(pressure_open(&p, PRESSURE_CHROMEOS, 0, &paths, &e), -ENODEV);
	assert_non_null(strstr(e.text, "low-mem: No such file"));
	assert_int_equal(pressure_open(&p, PRESSURE_OFF, 0, &paths, &e), 0);
	assert_int_equal(pressure_read(&p, &r, &e), -ENODEV);
	pressure_listen(&p, &loop, true);
}

static void names_are_found_again(void **state)
{
	(void)state;
	for (int i = PRESSURE_AUTO; i <= PRESSURE_OFF; i++)
		assert_int_equal(pressure_kind(pressure_name((enum pressure_kind)i)), i);
	assert_int_equal(pressure_kind("x"), PRESSURE_AUTO);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(chromeos_readings_are_in_mib),
		TEST(chromeos_notice_is_heard_while_listening),
		TEST(chromeos_nonsense_is_an_error),
		TEST(psi_compares_available_memory_with_the_margin),
		TEST(psi_trigger_is_written),
		TEST(psi_of_the_control_group_stands_in),
		TEST(host_without_any_says_why),
		TEST(names_are_found_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
