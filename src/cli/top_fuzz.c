/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * top_fuzz.c - crosvm top shows a VM that may say anything
 *
 * Two lines are two replies.  Whatever they are, the terminal gets lines that fit it without
 * control characters, and scripts get JSON.
 */
#include "cli/top.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

enum { WIDTH = 77, HEIGHT = 40 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct top_sample now, before;
static struct top_vm vm;
static struct top top;

static void check_screen(bool in_detail)
{
	static char screen[65536];
	struct top_text text = {.buf = screen,
				.room = sizeof(screen),
				.width = WIDTH,
				.height = HEIGHT,
				.line_end = "\n"};
	unsigned lines = 0, width = 0;

	top_show(&top, in_detail, &text);
	for (const char *p = screen; *p; p++) {
		const unsigned char byte = (unsigned char)*p;

		lines += byte == '\n';
		width = byte == '\n' ? 0 : width + ((byte & 0xc0) != 0x80);
		if ((byte < 0x20 && byte != '\n') || byte == 0x7f || width > WIDTH)
			abort();
	}
	if (lines > HEIGHT)
		abort();
}

static void ignore(void *context, const char *path, const char *value)
{
	(void)context;
	(void)path;
	(void)value;
}

static void check_json(void)
{
	static char text[CONTROL_REPLY_MAX];
	FILE *out = fmemopen(text, sizeof(text), "w");

	if (!out)
		return;
	top_json(&top, out);
	fclose(out);
	if (json_read(text, ignore, NULL) < 0)
		abort();
}

static bool read_line(struct top_sample *s, char **at, uint64_t at_ns)
{
	char *line = strsep(at, "\n");

	memset(s, 0, sizeof(*s));
	s->at_ns = at_ns;
	return line && report_read(line, &s->report) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = malloc(n + 1), *at = text;

	if (!text)
		return 0;
	if (n > 0)
		memcpy(text, data, n);
	text[n] = '\0';
	vm = (struct top_vm){.word = "vm", .is_alive = true, .now = &now, .before = &before};
	top = (struct top){.vms = {&vm}, .nvms = 1};
	vm.has_before = read_line(&before, &at, 1000000000);
	(void)!read_line(&now, &at, 3000000000); /* also what there is of it */
	check_screen(false);
	check_screen(true);
	check_json();
	free(text);
	return 0;
}
