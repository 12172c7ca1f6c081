/* SPDX-License-Identifier: BSD-3-Clause */
/* serial_port_test.c - a guest's port connected to each kind of end */
#include "chip/serial_port.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/serial_reg.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

struct guest {
	char dir[32], path[64];
	struct loop loop;
	struct uart8250 uart;
	struct serial_port port;
	struct serial_config config;
	bool has_quit;
	int saved_in, saved_out; /* our own stdin and stdout while a port has others */
};

static int setup(void **state)
{
	static struct guest g;

	memset(&g, 0, sizeof(g));
	g.saved_in = g.saved_out = -1;
	strcpy(g.dir, "/tmp/serial-XXXXXX");
	assert_non_null(mkdtemp(g.dir));
	snprintf(g.path, sizeof(g.path), "%s/end", g.dir);
	assert_int_equal(loop_init(&g.loop), 0);
	uart8250_init(&g.uart, NULL, 0);
	g.config = serial_config_default;
	*state = &g;
	return 0;
}

static void stdio_restore(struct guest *g)
{
	if (g->saved_in < 0)
		return;
	fflush(stdout);
	dup2(g->saved_in, STDIN_FILENO);
	dup2(g->saved_out, STDOUT_FILENO);
	fd_close(&g->saved_in);
	fd_close(&g->saved_out);
}

static int teardown(void **state)
{
	struct guest *g = *state;

	stdio_restore(g);
	serial_port_fini(&g->port);
	uart8250_fini(&g->uart);
	loop_fini(&g->loop);
	unlink(g->path);
	assert_int_equal(rmdir(g->dir), 0);
	return 0;
}

/* Opens the port with in and out as stdin and stdout. */
static void stdio_open(struct guest *g, int in, int out)
{
	struct err e = {0};
	int r;

	fflush(stdout);
	g->saved_in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10);
	g->saved_out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	r = serial_port_open(&g->port, &g->config, &e);
	if (r == 0)
		r = serial_port_start(&g->port, &g->uart, &g->loop, &e);
	stdio_restore(g);
	assert_string_equal(e.text, "");
	assert_int_equal(r, 0);
}

static void port_open(struct guest *g, enum serial_type type)
{
	struct err e = {0};

	g->config.type = (int)type;
	g->config.path = type == SERIAL_SINK ? NULL : g->path;
	assert_int_equal(serial_port_open(&g->port, &g->config, &e), 0);
	assert_int_equal(serial_port_start(&g->port, &g->uart, &g->loop, &e), 0);
}

static unsigned in(struct guest *g, unsigned offset)
{
	return (unsigned)g->uart.dev.read(&g->uart.dev, offset, 1);
}

static void out(struct guest *g, unsigned offset, unsigned value)
{
	g->uart.dev.write(&g->uart.dev, offset, 1, value);
}

static void send_text(struct guest *g, const char *text)
{
	for (; *text; text++)
		out(g, UART_TX, (unsigned char)*text);
}

/* Runs the loop until nothing happens for longer than output is held back. */
static void settle(struct guest *g)
{
	struct pollfd p = {.fd = g->loop.epoll_fd, .events = POLLIN};

	while (poll(&p, 1, 15) > 0)
		assert_int_equal(loop_once(&g->loop, 0), 0);
}

/* What the guest has received: n bytes at most. */
static size_t receive(struct guest *g, char *buf, size_t n)
{
	size_t got = 0;

	out(g, UART_FCR, UART_FCR_ENABLE_FIFO);
	out(g, UART_IER, UART_IER_RDI);
	while (got < n) {
		if (in(g, UART_LSR) & UART_LSR_DR) {
			buf[got++] = (char)in(g, UART_RX);
			continue;
		}
		settle(g);
		if (!(in(g, UART_LSR) & UART_LSR_DR))
			break;
	}
	return got;
}

static void assert_received(struct guest *g, const char *text)
{
	char buf[256];

	assert_int_equal(receive(g, buf, sizeof(buf)), strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

static void assert_readable(int fd, const char *text)
{
	char buf[256];

	assert_int_equal(read(fd, buf, sizeof(buf)), strlen(text));
	assert_memory_equal(buf, text, strlen(text));
}

static void assert_file(struct guest *g, const char *text)
{
	int fd = open(g->path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_readable(fd, text);
	close(fd);
}

/* ---- files ---- */

static void file_is_emptied_then_gets_output(void **state)
{
	struct guest *g = *state;
	int fd = open(g->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, "old", 3), 3);
	close(fd);
	port_open(g, SERIAL_FILE);
	send_text(g, "hello\n");
	settle(g);
	assert_file(g, "hello\n");
}

static void file_may_be_appended_to(void **state)
{
	struct guest *g = *state;
	int fd = open(g->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, "old,", 4), 4);
	close(fd);
	g->config.append = true;
	port_open(g, SERIAL_FILE);
	send_text(g, "new");
	settle(g);
	assert_file(g, "old,new");
}

static void file_grows_to_its_limit(void **state)
{
	struct guest *g = *state;

	g->config.limit = 10;
	port_open(g, SERIAL_FILE);
	send_text(g, "0123");
	settle(g);
	send_text(g, "456789abcdef");
	settle(g);
	send_text(g, "more");
	settle(g);
	assert_file(g, "0123456789");
	assert_int_equal(in(g, UART_LSR), 0x60);
}

static void flush_hands_on_what_the_loop_has_not(void **state)
{
	struct guest *g = *state;

	port_open(g, SERIAL_FILE);
	send_text(g, "last words");
	serial_port_flush(&g->port, 1000);
	assert_file(g, "last words");
}

static void file_that_cannot_be_opened_is_named(void **state)
{
	struct guest *g = *state;
	struct err e = {0};
	char path[] = "/nonexistent/x";

	g->config.type = SERIAL_FILE;
	g->config.path = path;
	assert_int_equal(serial_port_open(&g->port, &g->config, &e), -ENOENT);
	assert_string_equal(e.text, "COM1: /nonexistent/x: cannot open: No such file or directory; "
				    "check the path");
}

static void options_that_do_not_fit_are_refused(void **state)
{
	char path[] = "x";
	static const struct err none;
	struct err e = none;

	(void)state;
	assert_int_equal(serial_config_check(&(struct serial_config){.type = SERIAL_FILE}, &e),
			 -EINVAL);
	assert_int_equal(serial_config_check(&(struct serial_config){.type = SERIAL_UNIX}, &e),
			 -EINVAL);
	assert_int_equal(serial_config_check(
				 &(struct serial_config){.type = SERIAL_STDIO, .path = path}, &e),
			 -EINVAL);
	assert_int_equal(serial_config_check(
				 &(struct serial_config){.type = SERIAL_PTY, .append = true}, &e),
			 -EINVAL);
	assert_int_equal(serial_config_check(&(struct serial_config){.type = SERIAL_PTY}, &e), 0);
}

static void options_are_read_from_text(void **state)
{
	struct serial_config c = serial_config_default;
	struct err e = {0};

	(void)state;
	assert_int_equal(opt_parse(serial_config_opts, &c, "file,path=out.log,com=2,append", &e),
			 0);
	assert_int_equal(c.type, SERIAL_FILE);
	assert_string_equal(c.path, "out.log");
	assert_int_equal(c.com, 2);
	assert_true(c.append);
	opt_fini(serial_config_opts, &c);
	c = serial_config_default;
	assert_int_equal(opt_parse(serial_config_opts, &c, "com=5", &e), -EINVAL);
	assert_int_equal(opt_parse(serial_config_opts, &c, "type=carrier-pigeon", &e), -EINVAL);
	opt_fini(serial_config_opts, &c);
}

/* ---- sockets ---- */

static int client(struct guest *g)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(a.sun_path, g->path, sizeof(g->path));
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void socket_serves_one_client_after_the_other(void **state)
{
	struct guest *g = *state;
	int first, second;

	port_open(g, SERIAL_UNIX);
	send_text(g, "nobody hears this");
	settle(g);
	first = client(g);
	settle(g);
	assert_int_equal(write(first, "in1", 3), 3);
	send_text(g, "out1");
	assert_received(g, "in1");
	assert_readable(first, "out1");

	second = client(g);
	assert_int_equal(write(second, "in2", 3), 3);
	assert_received(g, "");
	close(first);
	settle(g);
	assert_received(g, "in2");
	send_text(g, "out2");
	settle(g);
	assert_readable(second, "out2");
	close(second);
}

static void client_that_only_listens_still_gets_output(void **state)
{
	struct guest *g = *state;
	int fd;

	port_open(g, SERIAL_UNIX);
	fd = client(g);
	assert_int_equal(write(fd, "cmd", 3), 3);
	shutdown(fd, SHUT_WR);
	assert_received(g, "cmd");
	send_text(g, "answer");
	settle(g);
	assert_readable(fd, "answer");
	close(fd);
	settle(g);
	fd = client(g);
	settle(g);
	send_text(g, "next");
	settle(g);
	assert_readable(fd, "next");
	close(fd);
}

static void receiver_that_does_not_read_holds_the_transmitter_up(void **state)
{
	struct guest *g = *state;
	static char buf[65536];
	size_t sent = 0, got = 0;
	ssize_t r;
	int fd;

	port_open(g, SERIAL_UNIX);
	fd = client(g);
	settle(g);
	do {
		while (in(g, UART_LSR) & UART_LSR_THRE)
			for (unsigned i = 0; i < UART_FIFO; i++)
				out(g, UART_TX, (unsigned)(sent++ % 251));
		settle(g);
	} while (in(g, UART_LSR) & UART_LSR_THRE);
	assert_int_equal(g->uart.output_lost, 0);

	while (got < sent) {
		r = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (r < 0) {
			settle(g);
			continue;
		}
		for (ssize_t i = 0; i < r; i++)
			assert_int_equal((uint8_t)buf[i], (got + (size_t)i) % 251);
		got += (size_t)r;
	}
	assert_int_equal(in(g, UART_LSR), 0x60);
	close(fd);
}

static void guest_that_does_not_read_holds_the_sender_up(void **state)
{
	struct guest *g = *state;
	static char buf[8192], back[8192];
	int fd;

	port_open(g, SERIAL_UNIX);
	fd = client(g);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (char)(i % 249);
	assert_int_equal(write(fd, buf, sizeof(buf)), sizeof(buf));
	settle(g);
	assert_false(g->port.in_watched);
	assert_int_equal(receive(g, back, sizeof(back)), sizeof(back));
	assert_memory_equal(buf, back, sizeof(buf));
	close(fd);
}

static void socket_is_private_and_removed(void **state)
{
	struct guest *g = *state;
	struct stat st;

	port_open(g, SERIAL_UNIX);
	assert_int_equal(stat(g->path, &st), 0);
	assert_int_equal(st.st_mode & 077, 0);
	serial_port_fini(&g->port);
	assert_int_equal(stat(g->path, &st), -1);
}

static void stale_socket_is_replaced_and_a_live_one_is_not(void **state)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct guest *g = *state;
	static struct serial_port second;
	struct err e = {0};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(a.sun_path, g->path, sizeof(g->path));
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	port_open(g, SERIAL_UNIX);
	assert_int_equal(serial_port_open(&second, &g->config, &e), -EADDRINUSE);
	assert_int_equal(access(g->path, F_OK), 0);
}

/* ---- pseudoterminals ---- */

/* Types; the kernel hands it to the other side in its own time. */
static void type(int fd, int other, const char *text)
{
	struct pollfd p = {.fd = other, .events = POLLIN};

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(poll(&p, 1, 10000), 1);
}

static void pty_is_linked_and_carries_both_ways(void **state)
{
	struct guest *g = *state;
	char name[64] = "";
	int fd;

	port_open(g, SERIAL_PTY);
	assert_true(readlink(g->path, name, sizeof(name) - 1) > 0);
	assert_string_equal(name, g->port.end.pty_name);
	send_text(g, "nobody hears this");
	settle(g);
	for (unsigned i = 0; i < 2; i++) {
		fd = open(g->path, O_RDWR | O_NOCTTY | O_CLOEXEC);
		assert_true(fd >= 0);
		settle(g);
		send_text(g, "login:\r\n");
		settle(g);
		assert_readable(fd, "login:\r\n");
		type(fd, g->port.end.in_fd, "root\r");
		assert_received(g, "root\r");
		close(fd);
		settle(g);
		send_text(g, "gone");
		settle(g);
	}
}

static void only_a_link_makes_room_for_the_pty(void **state)
{
	struct guest *g = *state;
	struct err e = {0};
	int fd = open(g->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	close(fd);
	g->config.type = SERIAL_PTY;
	g->config.path = g->path;
	assert_int_equal(serial_port_open(&g->port, &g->config, &e), -EEXIST);
	assert_int_equal(unlink(g->path), 0);
	assert_int_equal(symlink("/dev/pts/old", g->path), 0);
	port_open(g, SERIAL_PTY);
}

/* ---- standard input and output ---- */

static void pipes(void **state)
{
	struct guest *g = *state;
	int to[2], from[2];

	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	stdio_open(g, to[0], from[1]);
	assert_int_equal(write(to[1], "\x01x is data", 10), 10);
	close(to[1]);
	assert_received(g, "\x01x is data");
	send_text(g, "out");
	settle(g);
	assert_readable(from[0], "out");
	assert_int_equal(fcntl(from[1], F_GETFL) & O_NONBLOCK, 0);
	close(to[0]);
	close(from[0]);
	close(from[1]);
}

static void output_to_a_closed_pipe_is_dropped(void **state)
{
	struct guest *g = *state;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), from[2];

	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	stdio_open(g, null, from[1]);
	close(from[0]);
	close(from[1]);
	send_text(g, "out");
	settle(g);
	send_text(g, "more");
	settle(g);
	assert_int_equal(in(g, UART_LSR), 0x60);
	assert_int_equal(g->port.end.out_fd, -1);
	close(null);
}

static void regular_file_as_input(void **state)
{
	struct guest *g = *state;
	static char buf[3000], back[4000];
	int fd = open(g->path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (char)(i % 253);
	assert_int_equal(write(fd, buf, sizeof(buf)), sizeof(buf));
	lseek(fd, 100, SEEK_SET);
	stdio_open(g, fd, STDOUT_FILENO);
	settle(g);
	assert_int_equal(receive(g, back, sizeof(back)), sizeof(buf) - 100);
	assert_memory_equal(back, buf + 100, sizeof(buf) - 100);
	assert_int_equal(g->port.end.in_fd, -1);
	close(fd);
}

static void null_device_as_input_and_output(void **state)
{
	struct guest *g = *state;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	stdio_open(g, null, null);
	send_text(g, "out");
	settle(g);
	assert_received(g, "");
	assert_int_equal(g->port.end.in_fd, -1);
	close(null);
}

static void regular_file_as_output_is_appended_where_it_stands(void **state)
{
	struct guest *g = *state;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fd = open(g->path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, "before,", 7), 7);
	stdio_open(g, null, fd);
	send_text(g, "after");
	settle(g);
	assert_file(g, "before,after");
	close(fd);
	close(null);
}

static void sockets_as_stdio_stay_blocking(void **state)
{
	struct guest *g = *state;
	int pair[2];

	assert_int_equal(fd_socketpair(SOCK_STREAM, pair), 0);
	stdio_open(g, pair[0], pair[0]);
	assert_int_equal(write(pair[1], "in", 2), 2);
	assert_received(g, "in");
	send_text(g, "out");
	settle(g);
	assert_readable(pair[1], "out");
	assert_int_equal(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0);
	close(pair[0]);
	close(pair[1]);
}

static void quit(void *context)
{
	struct guest *g = context;

	g->has_quit = true;
}

/* Last: the process keeps the terminal it has taken. */
static void terminal_is_raw_and_knows_commands(void **state)
{
	struct guest *g = *state;
	struct termios t;
	int master, slave;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	stdio_open(g, slave, slave);
	g->port.quit = quit;
	g->port.quit_context = g;
	assert_int_equal(tcgetattr(slave, &t), 0);
	assert_int_equal(t.c_lflag & (ICANON | ECHO | ISIG), 0);
	type(master, slave, "a\x03\r\x01\x01z");
	assert_received(g, "a\x03\r\x01z");
	assert_false(g->has_quit);

	type(master, slave, "\x01" "b");
	settle(g);
	assert_int_equal(in(g, UART_LSR) & UART_LSR_BI, UART_LSR_BI);
	type(master, slave, "\x01x");
	settle(g);
	assert_true(g->has_quit);
	send_text(g, "to terminal");
	settle(g);
	assert_readable(master, "to terminal");
	serial_port_fini(&g->port);
	close(master);
	close(slave);
}

static void sink_never_holds_up(void **state)
{
	struct guest *g = *state;

	port_open(g, SERIAL_SINK);
	for (unsigned i = 0; i < 2 * UART_OUTPUT_MAX; i++)
		out(g, UART_TX, i);
	assert_int_equal(in(g, UART_LSR), 0x60);
	serial_port_flush(&g->port, 1000);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(file_is_emptied_then_gets_output),
		T(file_may_be_appended_to),
		T(file_grows_to_its_limit),
		T(flush_hands_on_what_the_loop_has_not),
		T(file_that_cannot_be_opened_is_named),
		T(options_that_do_not_fit_are_refused),
		T(options_are_read_from_text),
		T(socket_serves_one_client_after_the_other),
		T(client_that_only_listens_still_gets_output),
		T(receiver_that_does_not_read_holds_the_transmitter_up),
		T(guest_that_does_not_read_holds_the_sender_up),
		T(socket_is_private_and_removed),
		T(stale_socket_is_replaced_and_a_live_one_is_not),
		T(pty_is_linked_and_carries_both_ways),
		T(only_a_link_makes_room_for_the_pty),
		T(pipes),
		T(output_to_a_closed_pipe_is_dropped),
		T(regular_file_as_input),
		T(null_device_as_input_and_output),
		T(regular_file_as_output_is_appended_where_it_stands),
		T(sockets_as_stdio_stay_blocking),
		T(sink_never_holds_up),
		T(terminal_is_raw_and_knows_commands),
	};

	int fd;

	do /* whoever runs this may have closed stdin */
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
