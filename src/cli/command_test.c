/* SPDX-License-Identifier: BSD-3-Clause */
/* command_test.c - what subcommands print, and their exit codes */
#include "cli/command.h"

#include "base/exit_codes.h"
#include "base/fd.h"
#include "devices/device.h"
#include "vm/control.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/command-test-XXXXXX";
static char path[64];
static int listen_fd;
static const char *answer_text, *next_text; /* to the first line, and to one more, or NULL */
static bool ends; /* then the VM ends, else it stays until the client leaves */
static char said[65536], complained[8192], heard[256];
static const char *words_before; /* of the socket */

static int set_up(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)state;
	next_text = NULL;
	ends = false;
	strcpy(dir, "/tmp/command-test-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/vm.sock", dir);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return bind(listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	       listen(listen_fd, 1) < 0;
}

static int tear_down(void **state)
{
	(void)state;
	fd_close(&listen_fd);
	unlink(path);
	return rmdir(dir);
}

static void *answer(void *unused)
{
	auto_fd fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	const char *texts[] = {answer_text, next_text};
	size_t used = 0;
	char rest;

	(void)unused;
	for (size_t i = 0; i < ARRAY_LEN(texts) && texts[i]; i++) {
		ssize_t n = read(fd, heard + used, sizeof(heard) - 1 - used);

		used += n > 0 ? (size_t)n : 0;
		heard[used] = '\0';
		if (n <= 0 || fd_send(fd, texts[i], strlen(texts[i]), NULL, 0) < 0)
			return NULL;
	}
	if (ends)
		fd_close(&listen_fd);
	else
		(void)!read(fd, &rest, 1);
	return NULL;
}

static void take(int fd, char *buf, size_t n)
{
	ssize_t r = pread(fd, buf, n - 1, 0);

	buf[r > 0 ? r : 0] = '\0';
}

/* Runs a command on words, of which NULL is none, keeping what it printed. */
static int run_list(int (*command)(int argc, char **argv), const char *const *list, size_t n)
{
	char *words[8];
	auto_fd out = memfd_create("out", MFD_CLOEXEC);
	auto_fd err = memfd_create("err", MFD_CLOEXEC);
	auto_fd old_out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
	auto_fd old_err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	int code, count = 0;

	for (size_t i = 0; i < n; i++)
		if (list[i])
			words[count++] = (char *)(uintptr_t)list[i];
	words[count] = NULL;
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	code = command(count, words);
	fflush(stdout);
	dup2(old_out, STDOUT_FILENO);
	dup2(old_err, STDERR_FILENO);
	take(out, said, sizeof(said));
	take(err, complained, sizeof(complained));
	return code;
}

static int run(int (*command)(int argc, char **argv), const char *a, const char *b, const char *c)
{
	const char *words[] = {a, b, c};

	return run_list(command, words, ARRAY_LEN(words));
}

/* For a client whose VM, called SOCKET in the words, answers with this. */
static int run_words(int (*command)(int argc, char **argv), const char *const *list, size_t n,
		     const char *reply)
{
	const char *words[8];
	pthread_t thread;
	int code;

	for (size_t i = 0; i < n; i++)
		words[i] = list[i] && strcmp(list[i], "SOCKET") == 0 ? path : list[i];
	answer_text = reply;
	assert_int_equal(pthread_create(&thread, NULL, answer, NULL), 0);
	code = run_list(command, words, n);
	pthread_join(thread, NULL);
	return code;
}

/* The same for a client whose VM answers with this. */
static int run_with(int (*command)(int argc, char **argv), const char *reply, const char *option)
{
	const char *words[] = {words_before, "SOCKET", option};

	words_before = NULL;
	return run_words(command, words, ARRAY_LEN(words), reply);
}

static void status_is_printed_for_people(void **state)
{
	char expected[512];

	(void)state;
	assert_int_equal(run_with(command_status,
				  "{\"ok\":true,\"state\":\"running\",\"pid\":7,"
				  "\"uptime_ms\":3723004,\"mem_bytes\":536870912,"
				  "\"vcpus\":[{\"exits\":1},{\"exits\":2}],\"devices\":["
				  "{\"name\":\"block0\",\"type\":\"block\",\"state\":\"running\","
				  "\"pid\":8,\"restarts\":2},{\"name\":\"rng0\",\"type\":\"rng\","
				  "\"state\":\"thre\\u001bad\",\"restarts\":0}]}\n",
				  NULL),
			 EXIT_CODE_OK);

	snprintf(expected, sizeof(expected),
		 "%s: running, process 7, up 1:02:03, 512 MiB, 2 vCPUs\n"
		 "  block0     block    running    process 8, restarted 2 times\n"
		 "  rng0       rng      thre\\x1bad\n",
		 path);
	assert_string_equal(said, expected);
	assert_string_equal(complained, "");
}

static void status_survives_absurd_replies(void **state)
{
	(void)state;
	assert_int_equal(run_with(command_status,
				  "{\"ok\":true,\"uptime_ms\":-1,\"mem_bytes\":\"x\",\"devices\":"
				  "{\"99999999999999999999\":{\"name\":\"a\"},\"64\":{\"pid\":1},"
				  "\"x\":{\"type\":2},\"3\":{\"bogus\":[[1]]}}}\n",
				  NULL),
			 EXIT_CODE_OK);
	assert_non_null(strstr(said, "0 MiB, 0 vCPUs\n"));
}

static void json_is_passed_on(void **state)
{
	(void)state;
	assert_int_equal(run_with(command_suspend, "{\"ok\":true}\n", "--json"), EXIT_CODE_OK);
	assert_string_equal(said, "{\"ok\":true}\n");
	assert_int_equal(run_with(command_powerbtn, "{\"ok\":true}\n", NULL), EXIT_CODE_OK);
	assert_string_equal(said, "");
	assert_string_equal(heard, "powerbtn\n");
}

#define OK_REPLY "{\"ok\":true}\n"

static void stop_asks_nobody(void **state)
{
	(void)state;
	ends = true;
	assert_int_equal(run_with(command_stop, OK_REPLY, "--ask=0"), EXIT_CODE_OK);
	assert_string_equal(heard, "stop\n");
	assert_string_equal(said, "");
	assert_string_equal(complained, "");
}

static void stop_leaves_alone_a_guest_that_shuts_down(void **state)
{
	(void)state;
	ends = true;
	words_before = "--ask";
	assert_int_equal(run_with(command_stop, OK_REPLY, "--json"), EXIT_CODE_OK);
	assert_string_equal(heard, "powerbtn\n");
	assert_string_equal(said, OK_REPLY);
	assert_string_equal(complained, "");
}

static void stop_ends_a_guest_that_does_not_listen(void **state)
{
	static const char deaf[] = "{\"ok\":false,\"error\":\"powerbtn: deaf\"}\n";
	char expected[128];

	(void)state;
	next_text = OK_REPLY;
	ends = true;
	words_before = "--ask=600";
	assert_int_equal(run_with(command_stop, deaf, "--json"), EXIT_CODE_OK);
	assert_string_equal(heard, "powerbtn\nstop\n");
	snprintf(expected, sizeof(expected), "%s%s", deaf, OK_REPLY);
	assert_string_equal(said, expected);
	snprintf(expected, sizeof(expected), "crosvm: warning: %s: ended unasked: powerbtn: deaf\n",
		 path);
	assert_string_equal(complained, expected);
}

static void stop_ends_a_guest_that_takes_too_long(void **state)
{
	char expected[160];

	(void)state;
	next_text = OK_REPLY;
	ends = true;
	assert_int_equal(run_with(command_stop, OK_REPLY, "--ask=1"), EXIT_CODE_OK);
	assert_string_equal(heard, "powerbtn\nstop\n");
	snprintf(expected, sizeof(expected),
		 "crosvm: warning: %s: ended although the guest did not shut down within 1 s\n",
		 path);
	assert_string_equal(complained, expected);
}

static void stop_waits_as_long_as_it_may(void **state)
{
	char expected[160];

	(void)state;
	assert_int_equal(run_with(command_stop, OK_REPLY, "--timeout=1"), EXIT_CODE_ERROR);
	snprintf(expected, sizeof(expected),
		 "crosvm: stop: %s: not ended within 1 s; kill -KILL %d ends it at once\n", path,
		 (int)getpid());
	assert_string_equal(complained, expected);
}

static void stop_tells_of_a_refusal(void **state)
{
	char expected[128];

	(void)state;
	assert_int_equal(run_with(command_stop, "{\"ok\":false,\"error\":\"no\"}\n", NULL),
			 EXIT_CODE_ERROR);
	snprintf(expected, sizeof(expected), "crosvm: %s: no\n", path);
	assert_string_equal(complained, expected);
}

static void seconds_have_limits(void **state)
{
	static const char *const wrong[] = {"--ask=x", "--ask=", "--ask=-1", "--ask=86401",
					    "--timeout=0", "--timeout=1.5"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_int_equal(run(command_stop, wrong[i], path, NULL), EXIT_CODE_USAGE);
	assert_non_null(strstr(complained, "--timeout: \"1.5\": not a number of seconds from 1 "
					   "to 86400"));
	assert_int_equal(run(command_stop, path, "--timeout", NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(command_stop, "--ask", NULL, NULL), EXIT_CODE_USAGE);
}

static void refusal_is_an_error(void **state)
{
	char expected[128];

	(void)state;
	snprintf(expected, sizeof(expected), "crosvm: %s: resume: no\n", path);
	assert_int_equal(
		run_with(command_resume, "{\"ok\":false,\"error\":\"resume: no\"}\n", NULL),
		EXIT_CODE_ERROR);
	assert_string_equal(complained, expected);
}

static void balloon_is_shown_for_people(void **state)
{
	char expected[128];

	(void)state;
	snprintf(expected, sizeof(expected),
		 "%s: the balloon is to hold 512 MiB, of at most 1024\n", path);
	words_before = "-256";
	assert_int_equal(run_with(command_balloon,
				  "{\"ok\":true,\"target_bytes\":536870912,\"limit_bytes\":"
				  "1073741824}\n",
				  NULL),
			 EXIT_CODE_OK);
	assert_string_equal(said, expected);
	assert_string_equal(heard, "balloon pages=-256\n");
	words_before = "--target=1G";
	assert_int_equal(run_with(command_balloon, "{\"ok\":true}\n", "--json"), EXIT_CODE_OK);
	assert_string_equal(said, "{\"ok\":true}\n");
	assert_string_equal(heard, "balloon target=1G\n");
}

static void statistics_are_shown_without_control_characters(void **state)
{
	char expected[256];

	(void)state;
	snprintf(expected, sizeof(expected),
		 "%s:\n  free                 3 MiB\n  a\\x1bb               0\n", path);
	assert_int_equal(run_with(command_balloon_stats,
				  "{\"ok\":true,\"age_ms\":5,\"stats\":{\"free_bytes\":3145728,"
				  "\"a\\u001bb\":\"\\u001b\"},\"x\":1}\n",
				  NULL),
			 EXIT_CODE_OK);
	assert_string_equal(said, expected);
}

static void top_asks_once_for_each_sample(void **state)
{
	static const char reply[] =
		"{\"ok\":true,\"state\":\"running\",\"pid\":1,\"uptime_ms\":1000,\"vcpus\":["
		"{\"exits\":3,\"reasons\":{\"io\":3}}],\"devices\":[{\"name\":\"rng0\","
		"\"type\":\"rng\",\"state\":\"running\",\"pid\":1,\"restarts\":0,"
		"\"counters\":{\"requests\":5}}]}\n";

	(void)state;
	words_before = "-n1";
	assert_int_equal(run_with(command_top, reply, "--batch"), EXIT_CODE_OK);
	assert_string_equal(heard, "counters\n");
	assert_non_null(strstr(said, ": running, up 0:00:01, 1 vCPU, "));
	assert_non_null(strstr(said, "rng0         requests                5        5\n"));
	words_before = "-n1";
	assert_int_equal(run_with(command_top, reply, "--json"), EXIT_CODE_OK);
	assert_non_null(strstr(said, "\"exits\":3,\"exits_a_second\":3,"));
	words_before = "-n1";
	assert_int_equal(run_with(command_top, "no\n", "--json"), EXIT_CODE_ERROR);
	assert_non_null(strstr(said, "\"error\":\"the answer is not JSON"));
	assert_int_equal(run(command_top, "-n2", "-d0.05", "/no/such"), EXIT_CODE_ERROR);
	assert_non_null(strstr(said, "/no/such         No such file or directory"));
	assert_int_equal(run(command_top, "-n0", "-d5000", NULL), EXIT_CODE_USAGE);
	assert_non_null(strstr(complained, "--count \"0\""));
	assert_non_null(strstr(complained, "--delay \"5000\""));
}

static void words_become_commands_of_devices(void **state)
{
	static const struct {
		int (*command)(int argc, char **argv);
		const char *words[4]; /* "SOCKET" is replaced */
		const char *line;
	} rows[] = {
		{command_disk,
		 {"resize", "SOCKET", "block1", "10G"},
		 "block-resize name=block1,size=10G\n"},
		{command_disk, {"resize", "SOCKET", "a,b", "1"}, "block-resize name=a,,b,size=1\n"},
		{command_link, {"SOCKET", "net0", "down"}, "net-link name=net0,state=down\n"},
		{command_limit,
		 {"SOCKET", "block0", "bps=1M,iops=5"},
		 "block-limit name=block0,bps=1M,iops=5\n"},
		{command_limit, {"SOCKET", "block0"}, "block-limit name=block0\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(run_words(rows[i].command, rows[i].words, 4, "{\"ok\":true}\n"),
				 EXIT_CODE_OK);
		assert_string_equal(heard, rows[i].line);
		assert_string_equal(said, "");
	}
}

static void wrong_words_are_told(void **state)
{
	(void)state;
	assert_int_equal(run(command_stop, NULL, NULL, NULL), EXIT_CODE_USAGE);
	assert_non_null(strstr(complained, "a socket is missing"));
	assert_int_equal(run(command_stop, "--bogus", "x", NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(command_stop, "--help", NULL, NULL), EXIT_CODE_OK);
	assert_non_null(strstr(said, "Usage: crosvm stop"));
	assert_int_equal(run(command_stop, "/no/such", NULL, NULL), EXIT_CODE_ERROR);
	assert_int_equal(run(command_balloon, path, NULL, NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(command_balloon, "--target", "1G", NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(command_balloon, "1.5", path, NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(command_balloon, "-5x", path, NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(command_disk, "resize", path, "block0"), EXIT_CODE_USAGE);
	assert_int_equal(run(command_link, path, NULL, NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(command_link, path, "net0", "down\nstop"), EXIT_CODE_USAGE);
	assert_int_equal(run(command_limit, path, "net0", "bps=1\nstop"), EXIT_CODE_USAGE);
	assert_int_equal(run(command_version, "x", NULL, NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(command_devices, "x", NULL, NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(command_check, "x", NULL, NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(command_check, "-x", NULL, NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(command_policy, NULL, NULL, NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(command_policy, "--bogus", NULL, NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(command_policy, "floppy", NULL, NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(command_policy, "rng", "block", NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(command_generate, NULL, NULL, NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(command_generate, "man", "/no/such", NULL), EXIT_CODE_ERROR);
}

static void lists_are_printed(void **state)
{
	(void)state;
	assert_int_equal(run(command_version, NULL, NULL, NULL), EXIT_CODE_OK);
	assert_memory_equal(said, "crosvm ", 7);
	assert_int_equal(run(command_devices, NULL, NULL, NULL), EXIT_CODE_OK);
	for (const struct device_type *const *t = device_types; *t; t++) {
		assert_non_null(strstr(said, (*t)->summary));
		assert_int_equal(run(command_policy, "--arch=x86_64", (*t)->name, NULL),
				 EXIT_CODE_OK);
		assert_non_null(strstr(said, ": 1\n"));
		assert_int_equal(run(command_devices, NULL, NULL, NULL), EXIT_CODE_OK);
	}
	assert_int_equal(run(command_policy, "--json", "rng", "--arch=aarch64"), EXIT_CODE_OK);
	assert_memory_equal(said, "{\"device\":\"rng\",\"arch\":\"aarch64\",\"calls\":[{", 43);
	assert_non_null(strstr(said, "{\"name\":\"getrandom\",\"rule\":\"1\"}"));
	assert_int_equal(run(command_version, "--json", NULL, NULL), EXIT_CODE_OK);
	assert_memory_equal(said, "{\"version\":\"", 12);
	assert_int_equal(run(command_policy, "--help", NULL, NULL), EXIT_CODE_OK);
	assert_int_equal(run(command_policy, "--arch", "vax", "rng"), EXIT_CODE_USAGE);
}

static void check_comes_to_one_verdict_in_both_forms(void **state)
{
	int code = run(command_check, "--json", NULL, NULL);

	(void)state;
	assert_true(code == EXIT_CODE_OK || code == EXIT_CODE_HOST);
	assert_non_null(strstr(said, code == EXIT_CODE_OK ? "],\"ok\":true}" : "],\"ok\":false}"));
	assert_int_equal(run(command_check, NULL, NULL, NULL), code);
	assert_non_null(strstr(said, code == EXIT_CODE_OK ? "has what" : "lacks something"));
	assert_int_equal(run(command_check, "-h", NULL, NULL), EXIT_CODE_OK);
}

static void templates_are_filled_in(void **state)
{
	char template[80];
	FILE *out;

	(void)state;
	snprintf(template, sizeof(template), "%s/page", dir);
	out = fopen(template, "we");
	fputs("before\n@EXIT_CODES@\n@CONTROL@\n@DEVICE_LIST@\n@OTHER@\n"
	      "@ARGS list@\n@SYNOPSIS disk@\nafter\n",
	      out);
	fclose(out);
	assert_int_equal(run(command_generate, "man", template, NULL), EXIT_CODE_OK);
	unlink(template);
	assert_memory_equal(said, "before\n.Bl", 10);
	assert_non_null(strstr(said, ".It Cm suspend\n"));
	assert_non_null(strstr(said, ".El\n@OTHER@\n.Bl -tag -width Ds\n.It Fl -json\n"));
	assert_non_null(strstr(said, ".Op Fl -json\n.Cm resize\n.Ar socket\n.Ar name\n"));
}

static void shells_are_offered_what_can_follow(void **state)
{
	static const struct {
		const char *words[4];
		const char *offered, *not_offered;
	} rows[] = {
		{{"st"}, "stop\t", "run"},
		{{"st"}, "status\t", "generate"},
		{{"--"}, "--version\t", "run"},
		{{"run", "--kvm"}, "--kvm-device\t", "--mem"},
		{{"run", "-"}, "-m\tGuest memory\n", "resume"},
		{{"run", "--transport", ""}, "pci\t\nmmio\t\n", ":files"},
		{{"run", "--transport=p"}, "--transport=pci\t\n", "mmio"},
		{{"run", "--block", "pa"}, "path=\t", "format"},
		{{"run", "--block", "path=x,for"}, "path=x,format=\t", "path=x,ro"},
		{{"run", "--block", "path=x,format=q"}, "path=x,format=qcow2\t", "raw"},
		{{"run", "--block", "path=x"}, ":files\tpath=\n", "format"},
		{{"run", "--block=ro,path=x"}, ":files\t--block=ro,path=\n", "format"},
		{{"run", "--serial", "si"}, "sink\t", "stdio"},
		{{"run", "--initrd", ""}, ":files\t\n", "--"},
		{{"run", ""}, ":files\t\n", "--"},
		{{"run", "--cpus", ""}, "", "1"},
		{{"status", "--"}, "--json\t", "--target"},
		{{"balloon", "--t"}, "--target\t", "--json"},
		{{"disk", ""}, "resize\t", "up"},
		{{"disk", "resize", ""}, ":files\t\n", "resize"},
		{{"link", "vm", "net0", ""}, "up\t\ndown\t\n", "files"},
		{{"stop", "a", "b", ""}, ":files\t\n", "stop"},
		{{"balloon", ""}, ":files\t\n", "256"},
		{{"policy", "rn"}, "rng\t", "block"},
		{{"policy", "--arch", ""}, "x86_64\t\naarch64\t\n", "rng"},
		{{"device", "block", "ro,pa"}, "ro,path=\t", "format"},
		{{"device", "--sp"}, "", "--spawned"},
		{{"nothing", ""}, "", "run"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(run_list(command_complete, rows[i].words, 4), EXIT_CODE_OK);
		assert_non_null(strstr(said, rows[i].offered));
		assert_null(strstr(said, rows[i].not_offered));
	}
	assert_int_equal(run(command_complete, NULL, NULL, NULL), EXIT_CODE_OK);
}

static void devices_are_told_with_their_options(void **state)
{
	(void)state;
	assert_int_equal(run(command_devices, "--json", NULL, NULL), EXIT_CODE_OK);
	assert_memory_equal(said, "[{\"name\":\"", 10);
	assert_non_null(strstr(said, "\"options\":[{\"name\":\"path\",\"accepts\":\"FILE\""));
	assert_non_null(strstr(said, "\"choices\":[\"raw\",\"qcow2\"]"));
	assert_int_equal(said[strlen(said) - 2], ']');
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(status_is_printed_for_people),
		TEST(status_survives_absurd_replies),
		TEST(json_is_passed_on),
		TEST(stop_asks_nobody),
		TEST(stop_leaves_alone_a_guest_that_shuts_down),
		TEST(stop_ends_a_guest_that_does_not_listen),
		TEST(stop_ends_a_guest_that_takes_too_long),
		TEST(stop_waits_as_long_as_it_may),
		TEST(stop_tells_of_a_refusal),
		TEST(seconds_have_limits),
		TEST(refusal_is_an_error),
		TEST(balloon_is_shown_for_people),
		TEST(statistics_are_shown_without_control_characters),
		TEST(top_asks_once_for_each_sample),
		TEST(words_become_commands_of_devices),
		TEST(wrong_words_are_told),
		TEST(lists_are_printed),
		TEST(check_comes_to_one_verdict_in_both_forms),
		TEST(templates_are_filled_in),
		TEST(shells_are_offered_what_can_follow),
		TEST(devices_are_told_with_their_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
