/* SPDX-License-Identifier: BSD-3-Clause */
/* config_fixture.h - command lines of `crosvm run`, device types of the test's own; for tests */
#pragma once

#include "config/config.h"

#include "base/log.h"
#include "base/opt.h"
#include "devices/device.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct fake {
	struct device device;
	char *path, *id;
	bool ro, root;
	uint32_t queues;
	int format;
	int type, output;

	char *tap, *host_ip, *netmask;
	uint32_t tap_fd;
	struct opt_mac mac;
	bool vhost;

	uint32_t cid;
	char *socket;
};

static const struct opt net_opts[] = {
	OPT_TEXT(struct fake, tap, "NAME", "Tap"),
	OPT_NUMBER(struct fake, tap_fd, 0, 1000, "Descriptor"),
	OPT_TEXT(struct fake, host_ip, "ADDRESS", "Address"),
	OPT_TEXT(struct fake, netmask, "ADDRESS", "Netmask"),
	OPT_MAC(struct fake, mac, "Address"),
	OPT_FLAG(struct fake, vhost, "By the kernel"),
	OPT_END,
};

static const struct opt vsock_opts[] = {
	OPT_NUMBER(struct fake, cid, 3, UINT32_MAX - 1, "Context id"),
	OPT_TEXT(struct fake, socket, "PATH", "Socket"),
	OPT_END,
};

static const struct opt vhost_vsock_opts[] = {
	OPT_NUMBER(struct fake, cid, 3, UINT32_MAX - 1, "Context id"),
	OPT_END,
};

static const char *const formats[] = {"raw", "qcow2", NULL};
static const struct opt block_opts[] = {
	OPT_FIRST(struct fake, path, "FILE", "Disk image"),
	OPT_CHOICE(struct fake, format, formats, "Format"),
	OPT_FLAG(struct fake, ro, "Refuse writes"),
	OPT_FLAG(struct fake, root, "Root file system"),
	OPT_NUMBER(struct fake, queues, 1, 16, "Queues"),
	OPT_END,
};

static const char *const console_types[] = {"auto", "pty", "stdio", NULL};
static const struct opt console_opts[] = {
	OPT_CHOICE_FIRST(struct fake, type, console_types, "Kind"),
	OPT_NUMBER(struct fake, queues, 1, 16, "Ports"),
	OPT_FLAG(struct fake, ro, "Output only"),
	OPT_FD(struct fake, output, "Descriptor to write"),
	OPT_END,
};

static inline void fake_defaults(struct device *d)
{
	container_of(d, struct fake, device)->queues = 1;
	container_of(d, struct fake, device)->output = -1;
}

static inline int fake_check(const struct device *d, struct err *e)
{
	if (container_of(d, const struct fake, device)->cid == 0)
		return err_say(e, EINVAL, "cid=N is missing");
	return 0;
}

static inline unsigned fake_queues(const struct device *d)
{
	return container_of(d, const struct fake, device)->queues;
}

static const struct device_type block_type = {.name = "block",
					      .summary = "Disk",
					      .virtio_id = 2,
					      .size = sizeof(struct fake),
					      .opts = block_opts,
					      .queues = fake_queues,
					      .defaults = fake_defaults};
static const struct device_type console_type = {.name = "console",
						.summary = "Console",
						.virtio_id = 3,
						.size = sizeof(struct fake),
						.opts = console_opts,
						.defaults = fake_defaults};
static const struct device_type net_type = {.name = "net",
					    .summary = "Network card",
					    .virtio_id = 1,
					    .size = sizeof(struct fake),
					    .opts = net_opts};
static const struct device_type rng_type = {
	.name = "rng", .summary = "Random numbers", .virtio_id = 4, .size = sizeof(struct fake)};
static const struct device_type balloon_type = {
	.name = "balloon", .summary = "Memory", .virtio_id = 5, .size = sizeof(struct fake)};

static const struct device_type vhost_vsock_type = {.name = "vhost_vsock",
						    .summary = "Sockets of the kernel",
						    .virtio_id = 19,
						    .size = sizeof(struct fake),
						    .opts = vhost_vsock_opts,
						    .check = fake_check};
static const struct device_type vsock_type = {.name = "vsock",
					      .summary = "Sockets",
					      .virtio_id = 19,
					      .size = sizeof(struct fake),
					      .opts = vsock_opts,
					      .check = fake_check};

/* In place of the program's own tables. */
const struct device_type *const device_types[] = {&balloon_type,     &block_type, &console_type,
						  &net_type,	     &rng_type,
						  &vhost_vsock_type, &vsock_type, NULL};

const struct device_type *device_type_find(const char *name)
{
	for (const struct device_type *const *t = device_types; *t; t++)
		if (strcmp((*t)->name, name) == 0)
			return *t;
	return NULL;
}

static char dir[] = "/tmp/config-test-XXXXXX";
static struct config config;
static struct config_errors errors;

static inline void make_file(const char *name)
{
	int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static inline int set_up(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "backend.sock"};
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	if (!mkdtemp(dir) || chdir(dir) < 0)
		return -1;
	make_file("kernel");
	make_file("initrd");
	make_file("a.img");
	make_file("b,c.img");
	if (bind(sock, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -1;
	return close(sock);
}

static inline int tear_down(void **state)
{
	static const char *const files[] = {"kernel", "initrd", "a.img", "b,c.img", "backend.sock",
					    "vm.conf", "more.conf"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		unlink(files[i]);
	return rmdir(dir);
}

static inline int done(void **state)
{
	(void)state;
	config_fini(&config);
	return 0;
}

/* Words are separated by single spaces. */
static inline int parse(const char *line)
{
	static char text[4096];
	static char *words[256];
	char *rest = text, *word;
	int n = 0;

	config_fini(&config);
	snprintf(text, sizeof(text), "%s", line);
	while ((word = strsep(&rest, " ")))
		if (*word)
			words[n++] = word;
	return config_parse(&config, n, words, &errors);
}

static inline void accepted(const char *line)
{
	if (parse(line) != CONFIG_RUN)
		fail_msg("\"%s\" was refused: %s", line, errors.list[0].text);
	assert_int_equal(errors.n, 0);
}

/* Checks that line has this one mistake. */
static inline void refused(const char *line, const char *message)
{
	assert_int_equal(parse(line), -EINVAL);
	assert_int_equal(errors.n, 1);
	assert_string_equal(errors.list[0].text, message);
}
