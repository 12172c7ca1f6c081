/* SPDX-License-Identifier: BSD-3-Clause */
/* commands_test.c - commands to a device: found, parsed, answered */
#include "devices/device.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct lamp {
	struct device device;
	uint32_t watts;
	unsigned talks;
};

struct dim {
	uint32_t watts;
};

static const struct opt dim_opts[] = {OPT_NUMBER(struct dim, watts, 1, 60, "How bright"), OPT_END};
static const struct opt no_opts[] = {OPT_END};

static int handle_dim(struct device *d, void *arguments, struct json *reply, struct err *e)
{
	struct lamp *l = container_of(d, struct lamp, device);
	const struct dim *dim = arguments;

	if (dim->watts == 0)
		return err_say(e, EINVAL, "watts=N is missing");
	json_number(reply, "before", l->watts);
	l->watts = dim->watts;
	return 0;
}

static int handle_talk(struct device *d, void *arguments, struct json *reply, struct err *e)
{
	(void)arguments;
	(void)e;
	container_of(d, struct lamp, device)->talks++;
	for (unsigned i = 0; i < DEVICE_PACKET_MAX; i++)
		json_number(reply, "word", i);
	return 0;
}

static void lamp_status(struct device *d, struct json *reply)
{
	json_number(reply, "watts", container_of(d, struct lamp, device)->watts);
}

static const struct device_command lamp_commands[] = {
	{"dim", dim_opts, handle_dim, "Changes the brightness"},
	{"talk", no_opts, handle_talk, "Says too much"},
	{.name = NULL},
};

static const struct device_type lamp_type = {
	.name = "lamp", .commands = lamp_commands, .status = lamp_status};
static const struct device_type plain_type = {.name = "plain"};

static struct vq queues[3] = {[1] = {.started = true}, [2] = {.broken = "lies"}};
static struct lamp lamp;

static const char *ask(const char *command)
{
	static char text[DEVICE_PACKET_MAX];
	char line[256];
	struct json reply;

	strcpy(line, command);
	json_init(&reply, text, sizeof(text));
	device_command_execute(&lamp.device, line, &reply);
	return text;
}

static int set_up(void **state)
{
	(void)state;
	lamp = (struct lamp){
		.device = {.type = &lamp_type, .name = "lamp0", .queues = queues, .nqueues = 3},
		.watts = 40};
	return 0;
}

static void a_command_gets_its_options_and_answers(void **state)
{
	(void)state;
	assert_string_equal(ask("dim watts=25"), "{\"ok\":true,\"before\":40}");
	assert_int_equal(lamp.watts, 25);
}

static void options_are_checked_by_the_table(void **state)
{
	(void)state;
	assert_non_null(strstr(ask("dim watts=61"), "\"ok\":false,\"error\":\"watts"));
	assert_non_null(strstr(ask("dim colour=red"), "\"ok\":false"));
	assert_string_equal(ask("dim"), "{\"ok\":false,\"error\":\"watts=N is missing\"}");
	assert_int_equal(lamp.watts, 40);
}

static void unknown_commands_are_named(void **state)
{
	(void)state;
	assert_string_equal(ask("sing"),
			    "{\"ok\":false,\"error\":\"lamp0 has no command \\\"sing\\\"\"}");
	assert_non_null(strstr(ask(""), "\"ok\":false"));
	lamp.device.type = &plain_type;
	assert_non_null(strstr(ask("dim watts=2"), "\"ok\":false"));
}

static void status_tells_of_queues_and_the_devices_own(void **state)
{
	(void)state;
	assert_string_equal(ask("status"), "{\"ok\":true,\"type\":\"lamp\",\"started\":false,"
					   "\"queues\":3,\"live\":1,\"broken\":1,\"watts\":40}");
	lamp.device.type = &plain_type;
	assert_string_equal(ask("status"), "{\"ok\":true,\"type\":\"plain\",\"started\":false,"
					   "\"queues\":3,\"live\":1,\"broken\":1}");
}

static void a_reply_that_does_not_fit_is_an_error(void **state)
{
	(void)state;
	assert_string_equal(ask("talk"), "{\"ok\":false,\"error\":\"the reply is too long\"}");
	assert_int_equal(lamp.talks, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_command_gets_its_options_and_answers, set_up),
		cmocka_unit_test_setup(options_are_checked_by_the_table, set_up),
		cmocka_unit_test_setup(unknown_commands_are_named, set_up),
		cmocka_unit_test_setup(status_tells_of_queues_and_the_devices_own, set_up),
		cmocka_unit_test_setup(a_reply_that_does_not_fit_is_an_error, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
