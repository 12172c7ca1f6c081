/* SPDX-License-Identifier: BSD-3-Clause */
/* config_file_fuzz.c - any configuration file; one that is accepted reads the same when dumped */
#include "base/fd.h"
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The dump of a file with these bytes, to be freed; NULL when it was refused. */
static char *parse(const void *bytes, size_t n)
{
	static struct config_errors errors;
	static struct config config;
	char path[32], *words[] = {"--cfg", path, "--dump-config"}, *dump = NULL;
	auto_fd fd = memfd_create("config", MFD_CLOEXEC);
	int r;

	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = config_parse(&config, 3, words, &errors);
	if ((r < 0) != (errors.n > 0) || (r == CONFIG_DUMP) != (config.dump && errors.n == 0))
		abort();
	if (r == CONFIG_DUMP)
		dump = strdup(config.dump);
	config_fini(&config);
	return dump;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *first = parse(data, n), *second;

	if (!first)
		return 0;
	second = parse(first, strlen(first));
	if (!second || strcmp(first, second) != 0)
		abort();
	free(first);
	free(second);
	return 0;
}
