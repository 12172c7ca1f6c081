/* SPDX-License-Identifier: BSD-3-Clause */
/* device_log_fuzz.c - what a captured device writes to its stderr: any bytes, in pieces */
#include "vm/device_log.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned nlines;

/* Nothing of it moves a terminal's cursor, and it has no other's name. */
static void take(enum log_level level, const char *name, const char *text)
{
	size_t n = strlen(text);

	assert(level <= LOG_LEVEL_DEBUG && strcmp(name, "block0") == 0);
	assert(n < LOG_TEXT_MAX);
	for (size_t i = 0; i < n; i++)
		assert((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
	nlines++;
}

static void start(struct loop *loop, struct device_logs *all)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (null < 0 || dup2(null, STDERR_FILENO) < 0 || loop_init(loop) < 0 ||
	    device_logs_init(all, loop) < 0)
		abort();
	close(null);
	log_level_set(LOG_LEVEL_DEBUG);
	log_sink_set(take);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct device_log log;
	static struct device_logs all;
	static struct loop loop;
	size_t first = size > 0 ? data[0] % size : 0;
	struct err e;

	if (!all.loop)
		start(&loop, &all);
	nlines = 0;
	if (device_log_init(&log, &all, "block0", &e) < 0)
		abort();
	if (write(log.out, data, first) < 0 || !log.all)
		abort();
	device_log_drain(&log);
	if (write(log.out, data + first, size - first) < 0)
		abort();
	device_log_drain(&log);
	device_log_fini(&log);
	assert(nlines <= DEVICE_LOG_BURST + 4);
	return 0;
}
