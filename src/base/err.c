/* SPDX-License-Identifier: BSD-3-Clause */
/* err.c - an error that the user will read */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, int errnum, const char *format, ...)
{
	va_list args;
	size_t used;

	va_start(args, format);
	vsnprintf(e->text, sizeof(e->text), format, args);
	va_end(args);
	used = strlen(e->text);
	snprintf(e->text + used, sizeof(e->text) - used, ": %s", strerror(errnum));
	e->code = errnum;
	return -errnum;
}

int err_say(struct err *e, int errnum, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(e->text, sizeof(e->text), format, args);
	va_end(args);
	e->code = errnum;
	return -errnum;
}

int err_in(struct err *e, const char *format, ...)
{
	char old[ERR_TEXT_MAX];
	va_list args;
	size_t used;

	memcpy(old, e->text, sizeof(old));
	va_start(args, format);
	vsnprintf(e->text, sizeof(e->text), format, args);
	va_end(args);
	used = strlen(e->text);
	snprintf(e->text + used, sizeof(e->text) - used, ": %.*s", (int)sizeof(old), old);
	return -e->code;
}
