/* SPDX-License-Identifier: BSD-3-Clause */
/* config_fuzz.c - any command line: words are separated by NUL or newline */
#include "config/config.h"

#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 128 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(const struct config *c, const struct config_errors *errors, int r)
{
	if ((r < 0) != (errors->n > 0) && r != CONFIG_HELP)
		abort();
	for (unsigned i = 0; i < errors->n && i < CONFIG_ERRORS_MAX; i++)
		if (!errors->list[i].text[0] || errors->list[i].code <= 0)
			abort();
	if (c->ndevices > CONFIG_DEVICES_MAX || c->nserial > CONFIG_SERIAL_MAX)
		abort();
	if (r == CONFIG_RUN && (!c->kernel || c->cpus < 1 || c->mem_bytes == 0 || c->nserial < 1))
		abort();
	for (unsigned i = 0; i < c->ndevices; i++)
		if (!c->devices[i].options || !c->devices[i].name)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct config_errors errors;
	static struct config config;
	char *text = malloc(n + 1), *words[WORDS_MAX];
	int count = 0, r;

	if (!text)
		return 0;
	for (size_t i = 0; i < n; i++)
		text[i] = data[i] == '\n' ? '\0' : (char)data[i];
	text[n] = '\0';
	for (size_t at = 0; at < n && count < WORDS_MAX; at += strlen(text + at) + 1)
		words[count++] = text + at;
	r = config_parse(&config, count, words, &errors);
	check(&config, &errors, r);
	config_fini(&config);
	free(text);
	return 0;
}
