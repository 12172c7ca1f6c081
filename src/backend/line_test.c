/* SPDX-License-Identifier: BSD-3-Clause */
/* line_test.c - each kind of line: what arrives, what waits, what is dropped */
#include "backend/line.h"

#include "base/fd.h"
#include "base/iov.h"
#include "base/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct rig {
	struct loop loop;
	struct line line;
	unsigned readable, writable, changed;
	char text[64 * 1024];
	ssize_t got;
};

static struct rig *rig_of(struct line *l)
{
	return container_of(l, struct rig, line);
}

static void on_readable(struct line *l)
{
	struct rig *rig = rig_of(l);
	struct iovec v = iov_of(rig->text, sizeof(rig->text));

	rig->readable++;
	rig->got = line_read(l, &v, 1);
}

static void on_writable(struct line *l)
{
	rig_of(l)->writable++;
	line_want(l, l->wants_input, false);
}

static void on_changed(struct line *l)
{
	rig_of(l)->changed++;
}

static struct rig *rig_open(const struct line_options *o)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct err e = {0};

	assert_non_null(rig);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(loop_init(&rig->loop), 0);
	rig->line.readable = on_readable;
	rig->line.writable = on_writable;
	rig->line.changed = on_changed;
	if (line_open(&rig->line, &rig->loop, o, &e) < 0)
		fail_msg("%s", e.text);
	return rig;
}

static void rig_close(struct rig *rig)
{
	line_close(&rig->line);
	line_close(&rig->line);
	loop_fini(&rig->loop);
	free(rig);
}

static ssize_t put(struct rig *rig, const char *text, size_t n)
{
	struct iovec v = iov_of((void *)(uintptr_t)text, n);

	return line_write(&rig->line, &v, 1);
}

/* Lets the loop run until what it counts has grown. */
static void run_until(struct rig *rig, const unsigned *count, unsigned value)
{
	for (int i = 0; i < 100 && *count < value; i++)
		assert_int_equal(loop_once(&rig->loop, 1000), 0);
	assert_true(*count >= value);
}

static void sink_takes_everything(void **state)
{
	const struct line_options o = {.kind = LINE_SINK};
	struct rig *rig = rig_open(&o);

	(void)state;
	assert_int_equal(put(rig, "hello", 5), 5);
	rig_close(rig);
}

static void descriptors_carry_both_ways(void **state)
{
	int in[2], out[2];
	char back[16];

	(void)state;
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	const struct line_options o = {.kind = LINE_FDS, .input = in[0], .output = out[1]};
	struct rig *rig = rig_open(&o);
	assert_false(fcntl(in[0], F_GETFL) & O_NONBLOCK); /* others share them */
	assert_false(fcntl(out[1], F_GETFL) & O_NONBLOCK);
	assert_int_equal(put(rig, "out", 3), 3);
	assert_int_equal(read(out[0], back, sizeof(back)), 3);
	assert_int_equal(write(in[1], "in!", 3), 3);
	line_want(&rig->line, true, false);
	run_until(rig, &rig->readable, 1);
	assert_int_equal(rig->got, 3);
	assert_memory_equal(rig->text, "in!", 3);
	close(in[0]);
	close(in[1]);
	run_until(rig, &rig->readable, 2);
	assert_int_equal(rig->got, 0); /* the end of input is not the end of output */
	assert_int_equal(loop_once(&rig->loop, 0), 0);
	assert_int_equal(rig->readable, 2);
	assert_int_equal(put(rig, "out", 3), 3);
	rig_close(rig);
	close(out[0]);
	close(out[1]);
}

static void slow_reader_is_told_not_waited_for(void **state)
{
	static char block[8192];
	int out[2];
	ssize_t r;

	(void)state;
	assert_int_equal(pipe(out), 0);
	const struct line_options o = {.kind = LINE_FDS, .input = -1, .output = out[1]};
	struct rig *rig = rig_open(&o);
	do
		r = put(rig, block, sizeof(block));
	while (r > 0);
	assert_int_equal(r, -EAGAIN);
	line_want(&rig->line, false, true);
	assert_int_equal(loop_once(&rig->loop, 0), 0);
	assert_int_equal(rig->writable, 0);
	while (read(out[0], block, sizeof(block)) == (ssize_t)sizeof(block) && rig->writable == 0)
		assert_int_equal(loop_once(&rig->loop, 0), 0);
	run_until(rig, &rig->writable, 1);
	rig_close(rig);
	close(out[0]);
	close(out[1]);
}

/* Sockets can't be opened anew: they stay as they are and are asked before each transfer. */
static void descriptors_that_may_block_do_not(void **state)
{
	static char block[65536];
	struct iovec v = iov_of(block, sizeof(block));
	int pair[2];
	ssize_t r;

	(void)state;
	assert_int_equal(fd_socketpair(SOCK_STREAM, pair), 0);
	const struct line_options o = {.kind = LINE_FDS, .input = pair[0], .output = pair[0]};
	struct rig *rig = rig_open(&o);
	assert_int_equal(line_read(&rig->line, &v, 1), -EAGAIN);
	do
		r = put(rig, block, sizeof(block));
	while (r > 0);
	assert_int_equal(r, -EAGAIN);
	rig_close(rig);
	close(pair[0]);
	close(pair[1]);
}

static void input_is_not_watched_unless_wanted(void **state)
{
	int in[2];

	(void)state;
	assert_int_equal(pipe(in), 0);
	const struct line_options o = {.kind = LINE_FDS, .input = in[0], .output = in[1]};
	struct rig *rig = rig_open(&o);
	assert_int_equal(write(in[1], "x", 1), 1);
	assert_int_equal(loop_once(&rig->loop, 0), 0);
	assert_int_equal(rig->readable, 0);
	line_want(&rig->line, true, false);
	run_until(rig, &rig->readable, 1);
	line_want(&rig->line, false, false);
	assert_int_equal(write(in[1], "x", 1), 1);
	assert_int_equal(loop_once(&rig->loop, 0), 0);
	assert_int_equal(rig->readable, 1);
	rig_close(rig);
	close(in[0]);
	close(in[1]);
}

static void regular_file_as_input_is_read_to_its_end(void **state)
{
	char path[] = "line_test.XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(write(fd, "text", 4), 4);
	assert_int_equal(lseek(fd, 1, SEEK_SET), 1);
	const struct line_options o = {.kind = LINE_FDS, .input = fd, .output = STDERR_FILENO};
	struct rig *rig = rig_open(&o);
	line_want(&rig->line, true, false);
	assert_int_equal(rig->readable, 1);
	assert_int_equal(rig->got, 3); /* from where its owner was */
	on_readable(&rig->line);
	assert_int_equal(rig->got, 0);
	rig_close(rig);
	close(fd);
	unlink(path);
}

static void file_is_appended_to_up_to_its_limit(void **state)
{
	char path[] = "line_test.XXXXXX";
	const struct line_options o = {.kind = LINE_FILE, .path = path, .file_bytes = 10};
	int fd = mkstemp(path);
	struct stat st;

	(void)state;
	assert_int_equal(write(fd, "0123", 4), 4);
	struct rig *rig = rig_open(&o);
	assert_int_equal(put(rig, "456", 3), 3);
	assert_int_equal(put(rig, "789abc", 6), 3);
	assert_int_equal(put(rig, "abc", 3), 3); /* dropped */
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 10);
	rig_close(rig);
	rig = rig_open(&o);
	assert_int_equal(put(rig, "more", 4), 4);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 10);
	rig_close(rig);
	close(fd);
	unlink(path);
}

static int dial(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
	assert_int_equal(connect(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static void socket_serves_one_client_after_the_other(void **state)
{
	static const char path[] = "line_test.sock";
	struct err e = {0};
	const struct line_options o = {.kind = LINE_SOCKET,
				       .listener = listen_at(path, 1, 0700, &e)};
	struct rig *rig = rig_open(&o);
	char byte;
	int fd, other;

	(void)state;
	assert_int_equal(put(rig, "nobody", 6), 6); /* dropped */
	line_want(&rig->line, true, false);
	for (unsigned i = 0; i < 3; i++) {
		fd = dial(path);
		run_until(rig, &rig->changed, 2 * i + 1);
		assert_true(rig->line.is_open);
		assert_int_equal(put(rig, "x", 1), 1);
		assert_int_equal(read(fd, &byte, 1), 1);
		other = dial(path);
		assert_int_equal(loop_once(&rig->loop, 1000), 0);
		assert_int_equal(read(other, &byte, 1), 0); /* one at a time */
		close(other);
		assert_int_equal(write(fd, "bye", 3), 3);
		close(fd);
		run_until(rig, &rig->changed, 2 * i + 2);
		assert_memory_equal(rig->text, "bye", 3);
		assert_false(rig->line.is_open);
	}
	rig_close(rig);
	unlink(path);
}

static void pseudo_terminal_opens_and_hangs_up(void **state)
{
	const struct line_options o = {.kind = LINE_PTY};
	struct rig *rig = rig_open(&o);
	char byte;
	int fd;

	(void)state;
	line_want(&rig->line, true, false);
	assert_int_equal(put(rig, "nobody", 6), 6);
	for (unsigned i = 0; i < 2; i++) {
		fd = open(rig->line.pty_path, O_RDWR | O_NOCTTY);
		assert_true(fd >= 0);
		run_until(rig, &rig->changed, 2 * i + 1);
		assert_int_equal(put(rig, "x", 1), 1);
		assert_int_equal(read(fd, &byte, 1), 1);
		assert_int_equal(write(fd, "y", 1), 1);
		run_until(rig, &rig->readable, rig->readable + 1);
		assert_int_equal(rig->text[0], 'y');
		close(fd);
		run_until(rig, &rig->changed, 2 * i + 2);
	}
	rig_close(rig);
}

static void size_is_that_of_the_terminal(void **state)
{
	const struct winsize w = {.ws_col = 132, .ws_row = 43};
	uint16_t columns = 0, rows = 0;
	int master, slave;

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, &w), 0);
	const struct line_options o = {.kind = LINE_FDS, .input = slave, .output = slave};
	struct rig *rig = rig_open(&o);
	assert_true(line_size(&rig->line, &columns, &rows));
	assert_int_equal(columns, 132);
	assert_int_equal(rows, 43);
	rig_close(rig);
	close(master);
	close(slave);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sink_takes_everything),
		cmocka_unit_test(descriptors_carry_both_ways),
		cmocka_unit_test(slow_reader_is_told_not_waited_for),
		cmocka_unit_test(descriptors_that_may_block_do_not),
		cmocka_unit_test(input_is_not_watched_unless_wanted),
		cmocka_unit_test(regular_file_as_input_is_read_to_its_end),
		cmocka_unit_test(file_is_appended_to_up_to_its_limit),
		cmocka_unit_test(socket_serves_one_client_after_the_other),
		cmocka_unit_test(pseudo_terminal_opens_and_hangs_up),
		cmocka_unit_test(size_is_that_of_the_terminal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
