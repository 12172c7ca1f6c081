/* SPDX-License-Identifier: BSD-3-Clause */
/* err.c - an error that the user will read */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What mends it, where one answer fits all; else nothing. */
static const char *remedy(int errnum)
{
	static const struct {
		int errnum;
		const char *text;
	} rows[] = {
		{ENOENT, "; check the path"},
		{ENOTDIR, "; check the path"},
		{ELOOP, "; check where symbolic links lead"},
		{EISDIR, "; name a file"},
		{EACCES, "; check who may use it"},
		{ENAMETOOLONG, "; choose a shorter path"},
		{EROFS, "; choose a place that can be written"},
		{ENOSPC, "; make room"},
		{EDQUOT, "; make room"},
		{ENOMEM, "; end other programs, or ask for less"},
		{EMFILE, "; raise the limit of open files (ulimit -n, LimitNOFILE= of a unit)"},
		{ENFILE, "; raise the host's limit (sysctl fs.file-max)"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].errnum == errnum)
			return rows[i].text;
	return "";
}

int err_set(struct err *e, int errnum, const char *format, ...)
{
	va_list args;
	size_t used;

	va_start(args, format);
	vsnprintf(e->text, sizeof(e->text), format, args);
	va_end(args);
	used = strlen(e->text);
	snprintf(e->text + used, sizeof(e->text) - used, ": %s%s", strerror(errnum),
		 remedy(errnum));
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

int err_told(struct err *e, int errnum)
{
	e->text[0] = '\0';
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
