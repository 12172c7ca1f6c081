/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * top_screen.c - the terminal while crosvm top has it
 *
 * What signals end a program with is blocked by its loop, which gives the terminal back like any
 * other end; signals of a crash come to a handler that does the same, hence the state of the whole
 * process.
 */
#include "cli/top.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static const char enter[] = "\033[?1049h\033[?25l"; /* another screen, without a cursor */
static const char leave[] = "\033[?25h\033[?1049l";

static struct {
	volatile sig_atomic_t is_taken;
	bool has_keys;
	struct termios saved;
} screen;

void top_screen_release(void)
{
	if (!screen.is_taken)
		return;
	screen.is_taken = 0;
	if (write(STDOUT_FILENO, leave, sizeof(leave) - 1) < 0)
		screen.is_taken = 0; /* it is gone */
	if (screen.has_keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &screen.saved);
}

/* The action is the default again: the signal strikes when the handler returns. */
static void crashed(int number)
{
	top_screen_release();
	raise(number);
}

static void crashes_catch(void)
{
	static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
	const struct sigaction action = {.sa_handler = crashed, .sa_flags = (int)SA_RESETHAND};

	for (size_t i = 0; i < ARRAY_LEN(crashes); i++)
		sigaction(crashes[i], &action, NULL);
}

int top_screen_take(struct err *e)
{
	struct termios raw;

	screen.has_keys = tcgetattr(STDIN_FILENO, &screen.saved) == 0;
	crashes_catch();
	screen.is_taken = 1;
	if (screen.has_keys) {
		raw = screen.saved;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		raw.c_cc[VMIN] = 1;
		raw.c_cc[VTIME] = 0;
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	if (write(STDOUT_FILENO, enter, sizeof(enter) - 1) < 0)
		return err_set(e, errno, "cannot write to the terminal");
	return 0;
}

static unsigned number_of(const char *variable, unsigned otherwise)
{
	const char *text = getenv(variable);
	unsigned long n = text ? strtoul(text, NULL, 10) : 0;

	return n > 0 && n < TOP_WIDTH_MAX ? (unsigned)n : otherwise;
}

void top_screen_size(unsigned *ret_width, unsigned *ret_height)
{
	struct winsize size = {0};

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0 || size.ws_row == 0) {
		size.ws_col = (unsigned short)number_of("COLUMNS", 80);
		size.ws_row = (unsigned short)number_of("LINES", 24);
	}
	*ret_width = size.ws_col < TOP_WIDTH_MAX ? size.ws_col : TOP_WIDTH_MAX;
	*ret_height = size.ws_row;
}
