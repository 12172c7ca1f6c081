/* SPDX-License-Identifier: BSD-3-Clause */
/* command_top.c - crosvm top: what running VMs do, live */
#include "cli/command.h"

#include "base/exit_codes.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/opt.h"
#include "cli/top.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { SCREEN_BYTES = 256 << 10, DELAY_MIN_MS = 50, DELAY_MAX_MS = 3600 * 1000, MS_NS = 1000000 };

static const char *const no_lines_end = "\n";
static const char *const screen_lines_end = "\033[K\r\n"; /* what stood there before goes */

const struct arg command_top_args[] = {
	{.name = "count", .letter = 'n', .value = "COUNT", .help = "End after so many samples"},
	{.name = "delay",
	 .letter = 'd',
	 .value = "SECONDS",
	 .help = "Time between samples, 1 if not given; may be a fraction"},
	{.name = "batch",
	 .letter = 'b',
	 .help = "Print one sample after the other, as plain lines"},
	{.name = "json", .help = "Print each sample as one line of JSON"},
	{.name = "help", .letter = 'h', .help = "Print this text"},
	{.name = NULL},
};

struct top_run {
	struct top top;
	struct loop loop;
	struct timer next;
	struct watch keys, signals;
	char *words[TOP_VMS_MAX];
	uint64_t count; /* 0: for ever */
	uint64_t done;
	unsigned delay_ms;
	bool is_batch, as_json;
	bool is_over; /* what the loop still hands out is too late */
	int code;
	struct err err; /* with a code of failure */
	char screen[SCREEN_BYTES];
};

/* ---- words ---- */

/* "1", "0.5" */
static int read_delay(const char *text, unsigned *ret_ms, struct err *e)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || strspn(text, "0123456789.") != strlen(text) ||
	    !(seconds * 1000 >= DELAY_MIN_MS && seconds * 1000 <= DELAY_MAX_MS))
		return err_say(e, EINVAL,
			       "--delay \"%.40s\": not a number of seconds from 0.05 to 3600",
			       text);
	*ret_ms = (unsigned)(seconds * 1000 + 0.5);
	return 0;
}

static int take_option(void *context, const struct args_item *item, struct err *e)
{
	struct top_run *run = context;

	switch (item->arg->letter) {
	case 'd':
		return read_delay(item->value, &run->delay_ms, e);
	case 'b':
		run->is_batch = true;
		return 0;
	case 'n':
		if (opt_number(item->value, &run->count) == 0 && run->count > 0)
			return 0;
		return err_say(e, EINVAL, "--count \"%.40s\": not a number from 1 on", item->value);
	default:
		run->as_json = true;
		return 0;
	}
}

static int take_word(void *context, const char *word, struct err *e)
{
	struct top_run *run = context;

	if (run->top.nwords == TOP_VMS_MAX)
		return err_say(e, E2BIG, "more than %d VMs", TOP_VMS_MAX);
	if (strlen(word) >= TOP_PATH_MAX)
		return err_say(e, ENAMETOOLONG, "\"%.40s...\": too long for a socket", word);
	run->words[run->top.nwords++] = (char *)(uintptr_t)word;
	return 0;
}

static void over(struct top_run *run)
{
	run->is_over = true;
	loop_stop(&run->loop);
}

/* ---- samples ---- */

static bool is_on_screen(const struct top_run *run)
{
	return !run->is_batch && !run->as_json;
}

static void show(struct top_run *run)
{
	struct top_text text = {
		.buf = run->screen,
		.room = sizeof(run->screen),
		.width = TOP_WIDTH_MAX,
		.height = ~0U,
		.line_end = no_lines_end,
	};

	if (is_on_screen(run)) {
		top_screen_size(&text.width, &text.height);
		text.height--; /* the cursor's */
		text.line_end = screen_lines_end;
		fputs("\033[H", stdout);
	}
	top_show(&run->top, run->top.nwords == 1, &text);
	fputs(run->screen, stdout);
	if (is_on_screen(run))
		fputs("\033[J", stdout);
	else if (run->count != run->done)
		putchar('\n');
	fflush(stdout);
}

/* Ends with a code of failure when the only VM that was asked for is not there. */
static void sample(struct top_run *run)
{
	const struct top *t = &run->top;

	if (top_sample(&run->top, &run->err) < 0) {
		run->code = EXIT_CODE_ERROR;
		over(run);
		return;
	}
	run->done++;
	run->code = EXIT_CODE_OK;
	for (unsigned i = 0; i < t->nvms && t->nwords > 0; i++)
		if (!t->vms[i]->is_alive)
			run->code = EXIT_CODE_ERROR;
	if (run->as_json)
		top_json(&run->top, stdout);
	else
		show(run);
	if (run->done == run->count || ferror(stdout))
		over(run);
}

static void next_expired(struct timer *t)
{
	struct top_run *run = container_of(t, struct top_run, next);

	if (!run->is_over)
		sample(run);
}

/* ---- keys and signals ---- */

static void keys_ready(struct watch *w, uint32_t events)
{
	struct top_run *run = container_of(w, struct top_run, keys);
	char keys[64];
	ssize_t n = read(w->fd, keys, sizeof(keys));

	(void)events;
	if (n <= 0) {
		loop_remove(&run->loop, w); /* nobody is there any more; signals still end us */
		return;
	}
	if (memchr(keys, 'q', (size_t)n) || memchr(keys, 'Q', (size_t)n))
		over(run);
}

/* Stopped by the user, the terminal is the shell's. */
static void stop_for_a_while(struct top_run *run)
{
	top_screen_release();
	kill(getpid(), SIGSTOP);
	if (is_on_screen(run) && top_screen_take(&run->err) < 0)
		over(run);
}

static void signals_ready(struct watch *w, uint32_t events)
{
	struct top_run *run = container_of(w, struct top_run, signals);
	struct signalfd_siginfo info;

	(void)events;
	if (read(w->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGTSTP)
		stop_for_a_while(run);
	if (info.ssi_signo == SIGTSTP || info.ssi_signo == SIGWINCH) {
		if (is_on_screen(run))
			show(run);
		return;
	}
	run->code = EXIT_CODE_SIGNAL + (int)info.ssi_signo;
	over(run);
}

static int signals_watch(struct top_run *run, struct err *e)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP};
	sigset_t set;
	int r;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		sigaddset(&set, numbers[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	run->signals = (struct watch){.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
				      .ready = signals_ready};
	r = run->signals.fd < 0 ? -errno : loop_add(&run->loop, &run->signals, EPOLLIN);
	return r < 0 ? err_set(e, -r, "cannot watch signals") : 0;
}

/* ---- life ---- */

static int begin(struct top_run *run, struct err *e)
{
	const uint64_t delay_ns = (uint64_t)run->delay_ms * MS_NS;
	int r = timer_init(&run->next, &run->loop, next_expired);

	if (r < 0)
		return err_set(e, -r, "cannot make a timer");
	r = signals_watch(run, e);
	if (r == 0 && is_on_screen(run))
		r = top_screen_take(e);
	if (r < 0)
		return r;
	run->keys = (struct watch){.fd = STDIN_FILENO, .ready = keys_ready};
	if (isatty(STDIN_FILENO) && loop_add(&run->loop, &run->keys, EPOLLIN) < 0)
		return err_say(e, EIO, "cannot wait for keys");
	timer_set(&run->next, delay_ns, delay_ns);
	sample(run);
	return 0;
}

static int run_top(struct top_run *run)
{
	int r = loop_init(&run->loop);

	if (r < 0)
		r = err_set(&run->err, -r, "cannot make the event loop");
	else
		r = begin(run, &run->err);
	if (r == 0 && !run->is_over)
		r = loop_run(&run->loop);
	top_screen_release();
	if (r < 0)
		run->code = EXIT_CODE_ERROR;
	if (run->err.code)
		log_error("top: %s", run->err.text);
	timer_fini(&run->next, &run->loop);
	fd_close(&run->signals.fd);
	loop_fini(&run->loop);
	top_fini(&run->top);
	return run->code;
}

/* A terminal that takes no codes gets what a file does. */
static bool is_plain(void)
{
	const char *name = getenv("TERM");

	return !isatty(STDOUT_FILENO) || !name || !*name || strcmp(name, "dumb") == 0;
}

int command_top(int argc, char **argv)
{
	static const struct command_reader reader = {.option = take_option, .word = take_word};
	static struct top_run run;
	int code;

	memset(&run, 0, offsetof(struct top_run, screen));
	run.delay_ms = 1000;
	run.top.words = run.words;
	run.signals.fd = run.next.watch.fd = -1;
	code = command_read("top", argc, argv, &reader, &run);
	if (code != COMMAND_GOES_ON)
		return code;
	run.is_batch = run.is_batch || run.count == 1 || is_plain(); /* a single one is to stay */
	run.top.wants_pss = run.top.nwords == 1;
	return run_top(&run);
}
