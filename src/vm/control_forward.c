/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * control_forward.c - commands of the control socket that a device answers
 *
 * They are the commands of the device types (devices/device.h), called TYPE-COMMAND.  Their options
 * are checked here by the device's own table, so that a mistake is answered at once; then the line
 * is put to the device's process as it is, but for name=NAME, which says which device is meant.
 */
#include "vm/control_parts.h"

#include "base/opt.h"
#include "devices/device.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { NAME_MAX_BYTES = 24 };

/* Commands that main gives itself, and nobody else: it keeps the account. */
static const char *const withheld[] = {"balloon-target"};

static bool is_withheld(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(withheld); i++)
		if (strcmp(name, withheld[i]) == 0)
			return true;
	return false;
}

void control_forward_each(const struct device_type *const *types,
			  void (*each)(void *context, const char *name,
				       const struct control_forward *f),
			  void *context)
{
	for (const struct device_type *const *t = types; *t; t++) {
		const struct device_command *c = (*t)->commands;

		for (; c && c->name; c++) {
			const struct control_forward f = {*t, c};
			char name[2 * NAME_MAX_BYTES];

			snprintf(name, sizeof(name), "%s-%s", (*t)->name, c->name);
			if (!is_withheld(name))
				each(context, name, &f);
		}
	}
}

struct search {
	const char *name;
	struct control_forward found;
};

static void compare(void *context, const char *name, const struct control_forward *f)
{
	struct search *s = context;

	if (strcmp(name, s->name) == 0)
		s->found = *f;
}

bool control_forward_find(const struct device_type *const *types, const char *name,
			  struct control_forward *ret)
{
	struct search s = {.name = name};

	control_forward_each(types, compare, &s);
	*ret = s.found;
	return s.found.type;
}

/* The end of the word at text: a single comma, or the end of the text; two commas are one. */
static char *word_end(char *text)
{
	for (;; text += 2) {
		text += strcspn(text, ",");
		if (text[0] != ',' || text[1] != ',')
			return text;
	}
}

/* Cuts name=NAME out of the text; "" when it is not there. */
static int take_name(char *text, char name[NAME_MAX_BYTES], struct err *e)
{
	static const char key[] = "name=";
	char *word = text, *end;
	size_t n;

	name[0] = '\0';
	for (;; word = end + 1) {
		end = word_end(word);
		if (strncmp(word, key, strlen(key)) == 0)
			break;
		if (!*end)
			return 0;
	}
	word += strlen(key);
	n = (size_t)(end - word);
	if (n == 0 || n >= NAME_MAX_BYTES)
		return err_say(e, EINVAL, "name: \"%.*s\": not the name of a device",
			       (int)(n < 100 ? n : 100), word);
	memcpy(name, word, n);
	name[n] = '\0';
	word -= strlen(key);
	if (*end)
		end++; /* the comma behind, or the one in front */
	else if (word > text)
		word--;
	memmove(word, end, strlen(end) + 1);
	return 0;
}

static int check_options(const struct opt *opts, const char *text, struct err *e)
{
	_Alignas(max_align_t) char arguments[DEVICE_ARGUMENTS_MAX] = {0};
	int r = opt_parse(opts, arguments, text, e);

	opt_fini(opts, arguments);
	return r;
}

static void answered(struct ask *a, const char *answer, size_t n, const struct err *e)
{
	struct control_client *k = container_of(a, struct control_client, ask);
	struct json reply;

	(void)n;
	control_reply_begin(k, &reply);
	if (answer)
		json_raw(&reply, NULL, answer);
	else
		json_error(&reply, e);
	control_reply_end(k, &reply);
	control_go_on(k);
}

int control_forward_run(struct control_client *k, const struct control_forward *f, char *text,
			struct err *e)
{
	char name[NAME_MAX_BYTES];
	struct asks *asks;
	int n, r = take_name(text, name, e);

	if (r == 0)
		r = check_options(f->command->opts, text, e);
	if (r < 0)
		return r;
	asks = k->control->ops->find_device(k->control->vm, f->type->name, name, e);
	if (!asks)
		return -e->code;
	n = snprintf(k->ask_text, sizeof(k->ask_text), "%s%s%s", f->command->name, *text ? " " : "",
		     text);
	assert(n < (int)sizeof(k->ask_text)); /* shorter than the line with TYPE- in front */
	if (f->command->lasts && n >= ASK_KEPT_BYTES)
		return err_say(e, E2BIG, "more than %d bytes", ASK_KEPT_BYTES - 1);
	k->ask.lasts = f->command->lasts;
	k->wait = CONTROL_WAITS_FOR_DEVICE;
	k->ask.done = answered;
	ask_send(asks, &k->ask, k->ask_text, ASK_LIMIT_MS);
	return CONTROL_LATER;
}
