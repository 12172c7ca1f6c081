/* SPDX-License-Identifier: BSD-3-Clause */
/* control_test.c - the control socket: commands, hostile and slow clients, stale files */
#include "vm/control_fixture.h"

#include "base/leftover.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* Lets no more be opened than is open now; returns the limit that was. */
static struct rlimit files_limit(void)
{
	struct rlimit was;
	int lowest = fcntl(0, F_DUPFD, 0);

	assert_true(lowest >= 0);
	close(lowest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)lowest, was.rlim_max}),
			 0);
	return was;
}

static void a_client_beyond_the_limit_of_files_is_turned_away(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int first = client();
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct rlimit was;
	char c;

	(void)state;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", sock_path);
	was = files_limit();
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	settle();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_int_equal(read(fd, &c, 1), 0);
	close(fd);
	fd = client();
	say(fd, "suspend\n");
	hear(fd, "{\"ok\":true}\n");
	say(first, "resume\n");
	hear(first, "{\"ok\":true}\n");
	close(first);
	close(fd);
}

static void trace_and_log_take_how_much_to_tell(void **state)
{
	int fd = client();

	(void)state;
	say(fd, "trace\ntrace last=7\ntrace last=none\n");
	hear(fd, "{\"ok\":true,\"last\":100}\n{\"ok\":true,\"last\":7}\n"
		 "{\"ok\":false,\"error\":\"trace: last: \\\"none\\\": "
		 "not a number from 1 to 500\"}\n");
	close(fd);
}

static void commands_are_answered_in_order(void **state)
{
	int fd = client();

	(void)state;
	say(fd, "suspend\nresume\nhelp\n");

	hear(fd, "{\"ok\":true}\n{\"ok\":true}\n"
		 "{\"ok\":true,\"commands\":[\"stop\",\"powerbtn\",\"suspend\",\"resume\","
		 "\"status\",\"counters\",\"balloon\","
		 "\"log\",\"trace\",\"help\",\"lamp-dim\",\"lamp-flash\"]}\n");
	assert_false(vm.is_suspended);
	close(fd);
}

#define EXITS(all, io, hlt)                                                                        \
	"{\"exits\":" #all ",\"reasons\":{\"io\":" #io ",\"mmio\":0,\"hlt\":" #hlt                 \
	",\"interrupted\":0,\"system_event\":0,\"other\":0}}"
#define HEAD                                                                                       \
	"{\"ok\":true,\"state\":\"running\",\"pid\":%d,\"uptime_ms\":1234,"                        \
	"\"mem_bytes\":268435456,\"vcpus\":[" EXITS(0, 0, 0) "," EXITS(                            \
		77, 70, 7) "],\"interrupts\":5,\"control_commands\":1,\"devices\":["
#define DEVICE "{\"name\":\"block0\",\"type\":\"block\",\"state\":\"running\",\"pid\":42,"

static void status_tells_everything(void **state)
{
	char expected[1024];
	int fd = client();

	(void)state;
	vm.ndevices = 2;
	say(fd, "status\n");

	snprintf(expected, sizeof(expected),
		 HEAD DEVICE "\"restarts\":3}," DEVICE "\"restarts\":3}]}\n", (int)getpid());
	hear(fd, expected);
	close(fd);
}

static void counters_are_told_whatever_a_device_wrote(void **state)
{
	static const struct counter own[] = {{"glow_bytes", COUNTER_BYTES, "?"}, {.name = NULL}};
	static uint64_t counters[DEVICE_COUNTERS_MAX];
	char expected[1024];
	int fd = client();

	(void)state;
	memset(counters, 0xff, sizeof(counters));
	counters[VQ_REQUESTS] = 7;
	counters[DEVICE_COUNTERS] = UINT64_C(1) << 63;
	vm.ndevices = 1;
	vm.nlamps = 1; /* which would never answer */
	vm.counters = counters;
	vm.own_counters = own;
	say(fd, "counters\n");

	snprintf(expected, sizeof(expected),
		 HEAD DEVICE "\"restarts\":3,\"counters\":{\"requests\":7,"
			     "\"out_bytes\":18446744073709551615,\"in_bytes\":18446744073709551615,"
			     "\"interrupts\":18446744073709551615,\"broken\":18446744073709551615,"
			     "\"kicks\":18446744073709551615,\"errors\":18446744073709551615,"
			     "\"glow_bytes\":9223372036854775808}}]}\n",
		 (int)getpid());
	hear(fd, expected);
	close(fd);
}

static void stop_is_answered_at_once(void **state)
{
	int fd = client();

	(void)state;
	say(fd, "stop\r\n");

	hear(fd, "{\"ok\":true}\n");
	assert_true(vm.is_stopped);
	close(fd);
}

static void state_decides_what_is_permitted(void **state)
{
	int fd = client();

	(void)state;
	say(fd, "resume\n");
	hear(fd, "{\"ok\":false,\"error\":\"resume: the VM is running already\"}\n");
	say(fd, "suspend\nsuspend\n");
	hear(fd, "{\"ok\":true}\n"
		 "{\"ok\":false,\"error\":\"suspend: the VM is suspended; resume lets it "
		 "go on\"}\n");
	assert_true(vm.is_suspended);
	say(fd, "powerbtn\n");
	hear(fd, "{\"ok\":false,\"error\":\"powerbtn: the VM is suspended; resume lets it go "
		 "on\"}\n");
	assert_false(vm.is_pressed);
	close(fd);
}

static void power_button_is_pressed_or_it_is_told_why_not(void **state)
{
	int fd = client();

	(void)state;
	vm.refuses = true;
	say(fd, "powerbtn\n");
	hear(fd, "{\"ok\":false,\"error\":\"powerbtn: nobody listens\"}\n");
	assert_false(vm.is_pressed);
	vm.refuses = false;
	say(fd, "powerbtn\n");
	hear(fd, "{\"ok\":true}\n");
	assert_true(vm.is_pressed);
	assert_false(vm.is_stopped);
	close(fd);
}

static void failure_of_the_vm_is_passed_on(void **state)
{
	int fd = client();

	(void)state;
	vm.refuses = true;
	say(fd, "suspend\n");
	hear(fd, "{\"ok\":false,\"error\":\"suspend: no \\\"can\\\" do\"}\n");
	close(fd);
}

static void nonsense_is_answered_and_the_connection_stays(void **state)
{
	static const char bytes[] = "\0\x01\xff status\n";
	int fd = client();

	(void)state;
	say(fd, "reboot now\n");
	hear(fd, "{\"ok\":false,\"error\":\"unknown command \\\"reboot\\\"; help lists them\"}\n");
	say(fd, "stop force=yes\n");
	hear(fd, "{\"ok\":false,\"error\":\"stop: unknown key \\\"force\\\": no keys are taken "
		 "here\"}\n");
	assert_int_equal(write(fd, bytes, sizeof(bytes) - 1), sizeof(bytes) - 1);
	settle();
	hear(fd, "{\"ok\":false,\"error\":\"unknown command \\\"?\\u0001\\ufffd\\\"; help lists "
		 "them\"}\n");
	say(fd, "\n\r\nsuspend\n");
	hear(fd, "{\"ok\":true}\n");
	close(fd);
}

static void line_that_is_too_long_is_skipped(void **state)
{
	static char text[3 * CONTROL_LINE_MAX];
	int fd = client();

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_int_equal(write(fd, text, sizeof(text)), sizeof(text));
	settle();
	hear(fd, "{\"ok\":false,\"error\":\"the line is longer than 4095 bytes\"}\n");
	say(fd, "tail\nsuspend\n");
	hear(fd, "{\"ok\":true}\n");
	close(fd);
}

static void line_may_come_in_pieces(void **state)
{
	int fd = client();

	(void)state;
	say(fd, "sus");
	say(fd, "pend");
	assert_false(vm.is_suspended);
	say(fd, "\n");
	hear(fd, "{\"ok\":true}\n");
	close(fd);
}

static void half_closed_client_still_gets_its_replies(void **state)
{
	int fd = client();

	(void)state;
	assert_int_equal(write(fd, "suspend\nresume\n", 15), 15);
	shutdown(fd, SHUT_WR);
	settle();
	hear(fd, "{\"ok\":true}\n{\"ok\":true}\n");
	assert_true(has_hung_up(fd));
	close(fd);
}

static void client_that_does_not_read_holds_up_nobody(void **state)
{
	int slow = client(), quick = client();
	ssize_t n;

	(void)state;
	vm.ndevices = CONTROL_DEVICES_MAX;
	do {
		n = write(slow, "status\nstatus\nstatus\nstatus\n", 28);
		settle();
	} while (n > 0);
	assert_int_equal(errno, EAGAIN);

	say(quick, "suspend\n");
	hear(quick, "{\"ok\":true}\n");
	assert_true(vm.is_suspended);
	close(slow);
	settle();
	say(quick, "resume\n");
	hear(quick, "{\"ok\":true}\n");
	close(quick);
}

static void client_that_reads_late_gets_everything(void **state)
{
	enum { REQUESTS = 200 };
	int slow = client();
	size_t lines = 0;

	(void)state;
	vm.ndevices = CONTROL_DEVICES_MAX;
	for (int i = 0; i < REQUESTS; i++)
		say(slow, "status\n");
	for (int i = 0; i < 100000 && lines < REQUESTS; i++) {
		char text[4096];
		ssize_t n = read(slow, text, sizeof(text));

		for (ssize_t k = 0; k < n; k++)
			lines += text[k] == '\n';
		settle();
	}
	assert_int_equal(lines, REQUESTS);
	close(slow);
}

static void one_client_too_many_drops_the_oldest(void **state)
{
	int fds[CONTROL_CLIENTS_MAX + 1];

	(void)state;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		fds[i] = client();
	say(fds[0], "suspend\n");
	hear(fds[0], "{\"ok\":true}\n");

	fds[CONTROL_CLIENTS_MAX] = client();

	assert_true(has_hung_up(fds[1]));
	say(fds[0], "resume\n");
	hear(fds[0], "{\"ok\":true}\n");
	say(fds[CONTROL_CLIENTS_MAX], "suspend\n");
	hear(fds[CONTROL_CLIENTS_MAX], "{\"ok\":true}\n");
	for (size_t i = 0; i <= CONTROL_CLIENTS_MAX; i++)
		close(fds[i]);
}

static void clients_that_come_and_go_leave_nothing(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++) {
		int fd = client();

		assert_int_equal(write(fd, "status\nsta", 10), 10);
		close(fd);
		settle();
	}
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		assert_int_equal(control.clients[i].watch.fd, -1);
}

static void running_vm_keeps_its_socket(void **state)
{
	static struct control second;
	struct err e = {0};

	(void)state;
	assert_int_equal(control_init(&second, &loop, sock_path, &ops, &vm, &e), -EADDRINUSE);
	assert_non_null(strstr(e.text, "a running VM listens there"));
	control_fini(&second);
	assert_int_equal(access(sock_path, F_OK), 0);
}

static void socket_is_removed_at_the_end(void **state)
{
	(void)state;
	assert_int_equal(access(sock_path, F_OK), 0);
	control_fini(&control);
	assert_int_equal(access(sock_path, F_OK), -1);
	control_fini(&control);
}

static void file_that_took_our_place_is_left_alone(void **state)
{
	(void)state;
	unlink(sock_path);
	close(open(sock_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	leftovers_remove();
	assert_int_equal(access(sock_path, F_OK), 0);
}

static void balloon_takes_a_size_or_pages(void **state)
{
	static const char *const wrong[] = {
		"target=x",
		"target=4096,pages=1",
		"pages=",
		"pages=-",
		"pages=1.5",
		"pages=--1",
		"pages=99999999999999999999",
		"pages=9223372036854775808",
		"size=1",
		"target",
	};
	static const struct {
		const char *text;
		struct control_balloon change;
	} right[] = {
		{"target=0", {.has_target = true}},
		{"target=2G", {.has_target = true, .target_bytes = UINT64_C(2) << 30}},
		{"pages=256", {.pages = 256}},
		{"pages=+1", {.pages = 1}},
		{"pages=-9223372036854775807", {.pages = -INT64_MAX}},
		{"", {.pages = 0}},
	};
	int fd = client();
	char text[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(right); i++) {
		vm.change = (struct control_balloon){.target_bytes = 1, .pages = 1};
		snprintf(text, sizeof(text), "balloon %s\n", right[i].text);
		say(fd, text);
		hear(fd, "{\"ok\":true,\"target_bytes\":4096,\"floor_bytes\":0,\"limit_bytes\":3,"
			 "\"policy\":\"psi\",\"policy_max_bytes\":2}\n");
		assert_int_equal(vm.change.has_target, right[i].change.has_target);
		assert_int_equal(vm.change.target_bytes, right[i].change.target_bytes);
		assert_int_equal(vm.change.pages, right[i].change.pages);
	}
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		snprintf(text, sizeof(text), "balloon %s\n", wrong[i]);
		say(fd, text);
		if (read(fd, text, sizeof(text)) < 20 || memcmp(text, "{\"ok\":false", 11) != 0)
			fail_msg("%s: %s", wrong[i], text);
	}
	vm.refuses = true;
	say(fd, "balloon\n");
	hear(fd, "{\"ok\":false,\"error\":\"balloon: no balloon\"}\n");
	close(fd);
}

static void commands_are_in_the_manual(void **state)
{
	static char text[16384];
	FILE *out = fmemopen(text, sizeof(text), "w");

	(void)state;
	control_mdoc(out);
	fclose(out);
	assert_non_null(strstr(text, ".It Cm suspend\nStops the vCPUs until resume.\n"));
}

/* The tests below begin without a socket. */

static int begin(const char *path, struct err *e)
{
	vm = (struct fake_vm){0};
	memset(&control, 0, sizeof(control));
	assert_int_equal(loop_init(&loop), 0);
	int r = control_init(&control, &loop, path, &ops, &vm, e);

	return r < 0 ? r : control_start(&control, e);
}

/* Leaves a socket's file behind without anyone listening, as a killed VM does. */
static void leave_stale_socket(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", sock_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	close(fd);
}

static void stale_socket_is_replaced(void **state)
{
	struct err e = {0};
	int fd;

	(void)state;
	leave_stale_socket();
	assert_int_equal(begin(sock_path, &e), 0);
	fd = client();
	say(fd, "suspend\n");
	hear(fd, "{\"ok\":true}\n");
	close(fd);
}

static void other_file_is_not_replaced(void **state)
{
	struct err e = {0};

	(void)state;
	close(open(sock_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(begin(sock_path, &e), -EEXIST);
	assert_non_null(strstr(e.text, "exists and is no socket"));
	control_fini(&control);
	assert_int_equal(access(sock_path, F_OK), 0);
}

static void socket_of_another_kind_is_not_replaced(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct err e = {0};

	(void)state;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", sock_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(begin(sock_path, &e), -EPROTOTYPE);
	assert_non_null(strstr(e.text, "exists and does not answer"));
	close(fd);
	control_fini(&control);
	assert_int_equal(access(sock_path, F_OK), 0);
}

static void name_alone_is_in_the_working_directory(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(begin("vm.sock", &e), 0);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(access(sock_path, F_OK), 0);
	control_fini(&control);
	assert_int_equal(access(sock_path, F_OK), -1);
}

static void directory_without_sockets_is_an_error(void **state)
{
	struct err e = {0};

	(void)state;
	assert_true(begin("/proc/vm.sock", &e) < 0);
	assert_non_null(strstr(e.text, "/proc/vm.sock: "));
}

static void directory_gets_a_socket_named_by_process(void **state)
{
	char expected[64];
	struct err e = {0};

	(void)state;
	snprintf(expected, sizeof(expected), "%s/crosvm-%d.sock", dir, (int)getpid());
	assert_int_equal(begin(dir, &e), 0);
	assert_int_equal(access(expected, F_OK), 0);
	control_fini(&control);
	assert_int_equal(access(expected, F_OK), -1);
}

static void path_that_cannot_be_is_refused(void **state)
{
	char path[256];
	struct err e = {0};

	(void)state;
	snprintf(path, sizeof(path), "%s/no/vm.sock", dir);
	assert_int_equal(begin(path, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/no: No such file or directory"));
	tear_down(state);
	snprintf(path, sizeof(path), "%s/no/", dir);
	assert_int_equal(begin(path, &e), -ENOENT);
	assert_non_null(strstr(e.text, "no such directory"));
	tear_down(state);
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(begin(path, &e), -ENAMETOOLONG);
}

static void handler_of_a_crash_removes_the_socket(void **state)
{
	struct err e = {0};
	int status;
	pid_t child;

	(void)state;
	child = fork();
	if (child == 0) {
		if (begin(sock_path, &e) < 0 || chdir("/") < 0)
			_exit(1);
		leftovers_remove();
		_exit(access(sock_path, F_OK) == 0 ? 2 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(begin(sock_path, &e), 0);
}

#define START_TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(commands_are_answered_in_order),
		TEST(a_client_beyond_the_limit_of_files_is_turned_away),
		TEST(trace_and_log_take_how_much_to_tell),
		TEST(status_tells_everything),
		TEST(counters_are_told_whatever_a_device_wrote),
		TEST(stop_is_answered_at_once),
		TEST(state_decides_what_is_permitted),
		TEST(power_button_is_pressed_or_it_is_told_why_not),
		TEST(failure_of_the_vm_is_passed_on),
		TEST(nonsense_is_answered_and_the_connection_stays),
		TEST(line_that_is_too_long_is_skipped),
		TEST(line_may_come_in_pieces),
		TEST(half_closed_client_still_gets_its_replies),
		TEST(client_that_does_not_read_holds_up_nobody),
		TEST(client_that_reads_late_gets_everything),
		TEST(one_client_too_many_drops_the_oldest),
		TEST(clients_that_come_and_go_leave_nothing),
		TEST(running_vm_keeps_its_socket),
		TEST(socket_is_removed_at_the_end),
		TEST(file_that_took_our_place_is_left_alone),
		TEST(balloon_takes_a_size_or_pages),
		TEST(commands_are_in_the_manual),
		START_TEST(stale_socket_is_replaced),
		START_TEST(other_file_is_not_replaced),
		START_TEST(socket_of_another_kind_is_not_replaced),
		START_TEST(name_alone_is_in_the_working_directory),
		START_TEST(directory_without_sockets_is_an_error),
		START_TEST(directory_gets_a_socket_named_by_process),
		START_TEST(path_that_cannot_be_is_refused),
		START_TEST(handler_of_a_crash_removes_the_socket),
	};

	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
