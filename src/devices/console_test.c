/* SPDX-License-Identifier: BSD-3-Clause */
/* console_test.c - consoles and ports, jailed and in a thread, with good, bad and absurd drivers */
#include "base/fd.h"
#include "base/wire.h"
#include "devices/device.h"
#include "devices/harness_test.h"
#include "virtio/ids.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	WAIT_MS = 20000,
	QUEUE_SIZE = 16,
	IN = 0,
	OUT = 1,
	CONTROL_IN = 2,
	CONTROL_OUT = 3,
	PORT1_IN = 4,
	PORT1_OUT = 5,
	BUFFER = 256,
};

#define MULTIPORT VIRTIO_BIT(VIRTIO_CONSOLE_F_MULTIPORT)

static struct harness h;
static const char socket_path[] = "console_test.sock";

static struct driver_options driver_options(unsigned nqueues)
{
	return (struct driver_options){.nqueues = nqueues,
				       .queue_size = QUEUE_SIZE,
				       .features = VIRTIO_BIT(VIRTIO_CONSOLE_F_SIZE) |
						   (nqueues > 2 ? MULTIPORT : 0) |
						   VIRTIO_BIT(VIRTIO_CONSOLE_F_EMERG_WRITE)};
}

static int stop(void **state)
{
	(void)state;
	harness_stop(&h);
	unlink(socket_path);
	return 0;
}

/* A console on one end of a pair of pipes; our ends are input[1] and output[0]. */
static int input[2], output[2];

static void start_on_pipes(const char *more, enum harness_kind kind, unsigned nqueues)
{
	static char options[256];
	const struct driver_options o = driver_options(nqueues);

	assert_int_equal(pipe(input), 0);
	assert_int_equal(pipe(output), 0);
	snprintf(options, sizeof(options), "stdio,input=%d,output=%d%s", input[0], output[1], more);
	harness_start(&h, "console", options, kind, &o);
}

static int stop_on_pipes(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		fd_close(&input[i]);
		fd_close(&output[i]);
	}
	return stop(state);
}

static gpa give_buffer(unsigned queue, uint32_t bytes)
{
	gpa a = driver_alloc(&h.d, bytes, 8);
	struct driver_buf b = {a, bytes, true};

	assert_true(a != 0 && driver_add(&h.d.queues[queue], &b, 1) >= 0);
	driver_kick(&h.d.queues[queue]);
	return a;
}

static uint32_t wait_used(unsigned queue)
{
	struct driver_used used;

	assert_int_equal(driver_wait(&h.d.queues[queue], WAIT_MS, &used), 0);
	return used.len;
}

static void send_bytes(unsigned queue, const void *bytes, uint32_t n)
{
	gpa a = driver_alloc(&h.d, n, 8);
	struct driver_buf b = {a, n, false};

	memcpy(driver_at(&h.d, a, n), bytes, n);
	assert_true(driver_add(&h.d.queues[queue], &b, 1) >= 0);
	driver_kick(&h.d.queues[queue]);
}

static void expect_bytes(int fd, const char *text)
{
	char back[256];
	size_t n = strlen(text);

	assert_int_equal(fd_read_all(fd, back, n), 0);
	assert_memory_equal(back, text, n);
}

/* ---- one console ---- */

static void test_console_carries_both_ways(void **state)
{
	for (int kind = HARNESS_THREAD; kind <= HARNESS_PROCESS; kind++) {
		gpa a;

		start_on_pipes("", (enum harness_kind)kind, 2);
		send_bytes(OUT, "hello", 5);
		expect_bytes(output[0], "hello");
		assert_int_equal(wait_used(OUT), 0);
		a = give_buffer(IN, BUFFER);
		assert_int_equal(write(input[1], "typed", 5), 5);
		assert_int_equal(wait_used(IN), 5);
		assert_memory_equal(driver_at(&h.d, a, 5), "typed", 5);
		stop_on_pipes(state);
	}
}

static void test_input_waits_for_buffers_and_none_is_lost(void **state)
{
	enum { N = 100 };
	char sent[N], got[N];
	size_t have = 0;

	(void)state;
	start_on_pipes("", HARNESS_PROCESS, 2);
	for (int i = 0; i < N; i++)
		sent[i] = (char)i;
	assert_int_equal(write(input[1], sent, N), N);
	while (have < N) {
		gpa a = give_buffer(IN, 7);
		uint32_t n = wait_used(IN);

		assert_true(n > 0 && n <= 7);
		memcpy(got + have, driver_at(&h.d, a, n), n);
		have += n;
	}
	assert_memory_equal(got, sent, N);
}

/* The pipe fills; the rest waits in the guest's queue, and the device still answers. */
static void test_slow_reader_holds_up_nobody_else(void **state)
{
	enum { CHUNK = 16384, CHUNKS = 12 };
	static char block[CHUNK];
	size_t total = 0;

	(void)state;
	start_on_pipes("", HARNESS_PROCESS, 2);
	for (int i = 0; i < CHUNKS; i++) {
		memset(block, 'a' + i, CHUNK);
		send_bytes(OUT, block, CHUNK);
	}
	give_buffer(IN, BUFFER);
	assert_int_equal(write(input[1], "x", 1), 1);
	assert_int_equal(wait_used(IN), 1);
	while (total < CHUNK * CHUNKS) {
		ssize_t n = read(output[0], block, sizeof(block));

		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(block[i], 'a' + (int)((total + (size_t)i) / CHUNK));
		total += (size_t)n;
	}
	for (int i = 0; i < CHUNKS; i++)
		assert_int_equal(wait_used(OUT), 0);
}

static void test_end_of_input_is_not_the_end_of_output(void **state)
{
	(void)state;
	start_on_pipes("", HARNESS_PROCESS, 2);
	give_buffer(IN, BUFFER);
	fd_close(&input[0]);
	fd_close(&input[1]);
	send_bytes(OUT, "still", 5);
	expect_bytes(output[0], "still");
	harness_expect_alive(&h);
}

static void test_reader_that_goes_away_is_survived(void **state)
{
	(void)state;
	start_on_pipes("", HARNESS_PROCESS, 2);
	fd_close(&output[0]);
	fd_close(&output[1]);
	send_bytes(OUT, "lost", 4);
	assert_int_equal(wait_used(OUT), 0);
	harness_expect_alive(&h);
}

static void test_odd_chains_are_returned(void **state)
{
	gpa a;

	(void)state;
	start_on_pipes("", HARNESS_PROCESS, 2);
	a = driver_alloc(&h.d, 64, 8);
	struct driver_buf readable = {a, 64, false}, writable = {a, 64, true};
	struct driver_buf mixed[] = {{a, 4, false}, {a + 8, 8, true}};
	assert_true(driver_add(&h.d.queues[IN], &readable, 1) >= 0);
	driver_kick(&h.d.queues[IN]);
	assert_int_equal(wait_used(IN), 0);
	assert_true(driver_add(&h.d.queues[OUT], &writable, 1) >= 0);
	driver_kick(&h.d.queues[OUT]);
	assert_int_equal(wait_used(OUT), 0);
	memcpy(driver_at(&h.d, a, 4), "four", 4);
	assert_true(driver_add(&h.d.queues[OUT], mixed, 2) >= 0);
	driver_kick(&h.d.queues[OUT]);
	assert_int_equal(wait_used(OUT), 0);
	expect_bytes(output[0], "four");
}

static void test_emergency_write_comes_through(void **state)
{
	const uint32_t byte = '!';

	(void)state;
	start_on_pipes("", HARNESS_THREAD, 2);
	assert_int_equal(driver_config_write(&h.d, 8, &byte, 4), 0);
	expect_bytes(output[0], "!");
}

static void test_reset_while_output_waits(void **state)
{
	static char block[16384];

	(void)state;
	start_on_pipes("", HARNESS_PROCESS, 2);
	for (int i = 0; i < 8; i++)
		send_bytes(OUT, block, sizeof(block));
	give_buffer(IN, BUFFER);
	assert_int_equal(vu_set(&h.d.conn, VU_RESET_DEVICE), 0);
	driver_reset(&h.d);
	assert_int_equal(driver_send_queue(&h.d, 0), 0);
	assert_int_equal(driver_send_queue(&h.d, 1), 0);
	give_buffer(IN, BUFFER);
	assert_int_equal(write(input[1], "x", 1), 1);
	assert_int_equal(wait_used(IN), 1);
}

/* ---- several ports ---- */

static void send_control(uint32_t id, uint16_t event, uint16_t value)
{
	const struct virtio_console_control m = {id, event, value};

	send_bytes(CONTROL_OUT, &m, sizeof(m));
	assert_int_equal(wait_used(CONTROL_OUT), 0);
}

/* The next control message; its extra bytes, if any, go to extra. */
static struct virtio_console_control next_control(char *extra, size_t n)
{
	gpa a = give_buffer(CONTROL_IN, BUFFER);
	struct virtio_console_control m;
	uint32_t len = wait_used(CONTROL_IN);

	assert_true(len >= sizeof(m) && len - sizeof(m) <= n);
	memcpy(&m, driver_at(&h.d, a, sizeof(m)), sizeof(m));
	if (len > sizeof(m))
		memcpy(extra, driver_at(&h.d, a + sizeof(m), len - sizeof(m)), len - sizeof(m));
	return m;
}

static void expect_control(uint32_t id, uint16_t event, uint16_t value)
{
	char extra[64];
	struct virtio_console_control m = next_control(extra, sizeof(extra));

	assert_int_equal(m.id, id);
	assert_int_equal(m.event, event);
	assert_int_equal(m.value, value);
}

static int dial(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(a.sun_path, socket_path, sizeof(a.sun_path) - 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void start_two_ports(enum harness_kind kind)
{
	unlink(socket_path);
	start_on_pipes(",ports=socket=console_test.sock,,name=org.test.0", kind, 6);
	assert_true(h.d.offered & VIRTIO_BIT(VIRTIO_CONSOLE_F_MULTIPORT));
	expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0); /* in case we were here before */
}

static void introduce(void)
{
	char name[64] = {0};
	struct virtio_console_control m;

	send_control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect_control(0, VIRTIO_CONSOLE_PORT_ADD, 1);
	expect_control(1, VIRTIO_CONSOLE_PORT_ADD, 1);
	send_control(0, VIRTIO_CONSOLE_PORT_READY, 1);
	expect_control(0, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
	expect_control(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	send_control(1, VIRTIO_CONSOLE_PORT_READY, 1);
	m = next_control(name, sizeof(name));
	assert_int_equal(m.event, VIRTIO_CONSOLE_PORT_NAME);
	assert_string_equal(name, "org.test.0");
	send_control(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

static void test_ports_introduce_themselves(void **state)
{
	(void)state;
	start_two_ports(HARNESS_PROCESS);
	introduce();
	send_bytes(OUT, "console", 7);
	expect_bytes(output[0], "console");
}

static void test_named_port_follows_its_client(void **state)
{
	gpa a;
	int fd;

	(void)state;
	start_two_ports(HARNESS_PROCESS);
	introduce();
	send_bytes(PORT1_OUT, "dropped", 7); /* nobody is there */
	assert_int_equal(wait_used(PORT1_OUT), 0);
	for (int i = 0; i < 3; i++) {
		fd = dial();
		expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
		assert_int_equal(write(fd, "early", 5), 5); /* before the guest opens the port */
		a = give_buffer(PORT1_IN, BUFFER);
		send_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
		assert_int_equal(wait_used(PORT1_IN), 5);
		assert_memory_equal(driver_at(&h.d, a, 5), "early", 5);
		send_bytes(PORT1_OUT, "answer", 6);
		expect_bytes(fd, "answer");
		assert_int_equal(wait_used(PORT1_OUT), 0);
		assert_int_equal(write(fd, "bye", 3), 3);
		close(fd);
		a = give_buffer(PORT1_IN, BUFFER);
		assert_int_equal(wait_used(PORT1_IN), 3); /* what was sent before is not lost */
		a = give_buffer(PORT1_IN, BUFFER);
		expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
		send_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
		fd = dial(); /* takes the buffer that is left, so that each round is alike */
		expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
		send_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
		assert_int_equal(write(fd, "x", 1), 1);
		assert_int_equal(wait_used(PORT1_IN), 1);
		give_buffer(PORT1_IN, BUFFER);
		close(fd);
		expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
		send_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
		assert_int_equal(vu_set(&h.d.conn, VU_RESET_DEVICE), 0);
		driver_reset(&h.d);
		for (unsigned q = 0; q < 6; q++)
			assert_int_equal(driver_send_queue(&h.d, q), 0);
		expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
		introduce();
	}
}

/* Main goes by them before the device opens. */
static void test_queues_follow_from_the_ports(void **state)
{
	static const struct {
		const char *options[2];
		unsigned queues;
	} cases[] = {
		{{"sink"}, 4},
		{{"sink,ports=sink,,name=a"}, 6},
		{{"sink,ports=sink,,name=a;sink"}, 8},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct err e;
		struct device *d = device_new(device_type_find("console"), "console0",
					      cases[i].options, &e);

		if (!d)
			fail_msg("%s", e.text);
		assert_int_equal(d->nqueues, cases[i].queues);
		device_free(d);
	}
}

static void test_absurd_control_messages_change_nothing(void **state)
{
	(void)state;
	start_two_ports(HARNESS_PROCESS);
	introduce();
	send_control(2, VIRTIO_CONSOLE_PORT_READY, 1);
	send_control(UINT32_MAX, VIRTIO_CONSOLE_PORT_OPEN, 1);
	for (uint16_t event = 8; event < 40; event++)
		send_control(0, event, 0xffff);
	send_control(0, VIRTIO_CONSOLE_PORT_ADD, 1);
	send_control(0, VIRTIO_CONSOLE_PORT_REMOVE, 1);
	send_bytes(CONTROL_OUT, "short", 5);
	assert_int_equal(wait_used(CONTROL_OUT), 0);
	send_bytes(OUT, "fine", 4);
	expect_bytes(output[0], "fine");
}

/* Control buffers too small for a message, then none at all, then enough. */
static void test_control_messages_wait_for_buffers(void **state)
{
	(void)state;
	start_two_ports(HARNESS_PROCESS);
	send_control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	give_buffer(CONTROL_IN, 4);
	assert_int_equal(wait_used(CONTROL_IN), 0);
	for (int i = 0; i < 1000; i++)
		send_control(0, VIRTIO_CONSOLE_PORT_READY, 1);
	expect_control(0, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
	expect_control(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	expect_control(1, VIRTIO_CONSOLE_PORT_ADD, 1);
}

/* Linux drops input that comes before it has opened the console. */
static void test_input_waits_until_the_console_is_open(void **state)
{
	gpa a;

	(void)state;
	start_on_pipes("", HARNESS_PROCESS, 4);
	assert_int_equal(write(input[1], "early", 5), 5);
	send_control(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	expect_control(0, VIRTIO_CONSOLE_PORT_ADD, 1);
	a = give_buffer(IN, BUFFER);
	send_control(0, VIRTIO_CONSOLE_PORT_READY, 1);
	expect_control(0, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
	assert_false(driver_was_called(&h.d.queues[IN]));
	send_control(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_int_equal(wait_used(IN), 5);
	assert_memory_equal(driver_at(&h.d, a, 5), "early", 5);
}

static void test_driver_without_multiport_has_port_0(void **state)
{
	struct driver_options o = driver_options(2);
	char options[] = "sink,ports=sink,,name=a;sink,,name=b";

	(void)state;
	o.features = 0;
	harness_start(&h, "console", options, HARNESS_THREAD, &o);
	send_bytes(OUT, "", 1);
	assert_int_equal(wait_used(OUT), 0);
}

/* After a kill the guest says nothing anew: data flows, and it learns that the client is gone. */
static void test_killed_console_goes_on(void **state)
{
	struct driver_options o = driver_options(6);
	int fd;

	(void)state;
	o.inflight = true;
	unlink(socket_path);
	harness_start(&h, "console", "sink,ports=socket=console_test.sock,,name=org.test.0",
		      HARNESS_PROCESS, &o);
	expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	introduce();
	fd = dial();
	expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	give_buffer(PORT1_IN, BUFFER);
	harness_kill(&h);
	harness_restart(&h);
	close(fd);
	expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	fd = dial();
	expect_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_int_equal(write(fd, "again", 5), 5);
	assert_int_equal(wait_used(PORT1_IN), 5);
	send_bytes(PORT1_OUT, "yes", 3);
	expect_bytes(fd, "yes");
	close(fd);
}

/* ---- terminals ---- */

static void test_size_of_the_terminal_is_told(void **state)
{
	const struct winsize w = {.ws_col = 132, .ws_row = 43};
	struct virtio_console_config c = {0};
	struct driver_options o = driver_options(2);
	char options[64];
	int master, slave;

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, &w), 0);
	snprintf(options, sizeof(options), "stdio,input=%d,output=%d", slave, slave);
	harness_start(&h, "console", options, HARNESS_PROCESS, &o);
	assert_true(h.d.offered & VIRTIO_BIT(VIRTIO_CONSOLE_F_SIZE));
	assert_int_equal(driver_config_read(&h.d, 0, &c, sizeof(c)), 0);
	assert_int_equal(c.cols, 132);
	assert_int_equal(c.rows, 43);
	assert_int_equal(c.max_nr_ports, 1);
	if (h.pid > 0) {
		const struct winsize wider = {.ws_col = 200, .ws_row = 50};

		assert_int_equal(ioctl(slave, TIOCSWINSZ, &wider), 0);
		assert_int_equal(kill(h.pid, SIGWINCH), 0);
		assert_int_equal(driver_config_wait(&h.d), 0);
		assert_int_equal(driver_config_read(&h.d, 0, &c, sizeof(c)), 0);
		assert_int_equal(c.cols, 200);
	}
	close(master);
	close(slave);
}

/* ---- options ---- */

static void test_bad_options_say_what_is_wrong(void **state)
{
	(void)state;
	harness_expect_refused("console", "console", "stdio");
	harness_expect_refused("console", "stdio,file=x", "only one");
	harness_expect_refused("console", "tty", "stdio");
	harness_expect_refused("console", "file=/nonexistent/x", "/nonexistent/x");
	harness_expect_refused("console", "socket=/nonexistent/x", "/nonexistent/x");
	harness_expect_refused("console", "sink,ports=sink;sink;sink;sink;sink;sink;sink;sink",
			       "more than 8");
	harness_expect_refused("console", "sink,ports=sink,,colour=x", "port 1");
}

#define TEST(name)          cmocka_unit_test_teardown(test_##name, stop)
#define TEST_ON_PIPES(name) cmocka_unit_test_teardown(test_##name, stop_on_pipes)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_console_carries_both_ways),
		TEST_ON_PIPES(input_waits_for_buffers_and_none_is_lost),
		TEST_ON_PIPES(slow_reader_holds_up_nobody_else),
		TEST_ON_PIPES(end_of_input_is_not_the_end_of_output),
		TEST_ON_PIPES(reader_that_goes_away_is_survived),
		TEST_ON_PIPES(odd_chains_are_returned),
		TEST_ON_PIPES(emergency_write_comes_through),
		TEST_ON_PIPES(reset_while_output_waits),
		TEST_ON_PIPES(ports_introduce_themselves),
		TEST_ON_PIPES(named_port_follows_its_client),
		cmocka_unit_test(test_queues_follow_from_the_ports),
		TEST_ON_PIPES(absurd_control_messages_change_nothing),
		TEST_ON_PIPES(control_messages_wait_for_buffers),
		TEST_ON_PIPES(input_waits_until_the_console_is_open),
		TEST(driver_without_multiport_has_port_0),
		TEST(killed_console_goes_on),
		TEST(size_of_the_terminal_is_told),
		cmocka_unit_test(test_bad_options_say_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
