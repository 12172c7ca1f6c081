/* SPDX-License-Identifier: BSD-3-Clause */
/* commands.c - what a running device answers on its control socket */
#include "devices/device.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static void put_status(struct device *d, struct json *reply)
{
	unsigned live = 0, broken = 0;

	for (unsigned i = 0; i < d->nqueues; i++) {
		live += d->queues[i].started;
		broken += d->queues[i].broken != NULL;
	}
	json_text(reply, "type", d->type->name);
	json_bool(reply, "started", d->started);
	json_number(reply, "queues", d->nqueues);
	json_number(reply, "live", live);
	json_number(reply, "broken", broken);
	for (unsigned i = 0; d->type->counters && d->type->counters[i].name; i++)
		json_number(reply, d->type->counters[i].name,
			    counter_get(&d->shared->counters[DEVICE_COUNTERS + i]));
	if (d->type->status)
		d->type->status(d, reply);
}

static const struct device_command *find(const struct device *d, const char *name)
{
	const struct device_command *c = d->type->commands;

	for (; c && c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static int run(struct device *d, const char *name, const char *text, struct json *reply,
	       struct err *e)
{
	_Alignas(max_align_t) char arguments[DEVICE_ARGUMENTS_MAX] = {0};
	const struct device_command *c = find(d, name);
	int r = 0;

	if (strcmp(name, "status") == 0)
		put_status(d, reply);
	else if (!c)
		return err_say(e, EINVAL, "%s has no command \"%.100s\"", d->name, name);
	else if ((r = opt_parse(c->opts, arguments, text, e)) == 0)
		r = c->handle(d, arguments, reply, e);
	if (c)
		opt_fini(c->opts, arguments);
	return r;
}

void device_command_execute(struct device *d, char *line, struct json *reply)
{
	char *text = line + strcspn(line, " ");
	struct err e = {0};
	int r;

	if (*text)
		*text++ = '\0';
	json_open(reply, NULL, '{');
	json_bool(reply, "ok", true);
	r = run(d, line, text + strspn(text, " "), reply, &e);
	json_close(reply, '}');
	if (r == 0 && reply->is_full)
		r = err_say(&e, EMSGSIZE, "the reply is too long");
	if (r < 0)
		json_error(reply, &e);
}
