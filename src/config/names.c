/* SPDX-License-Identifier: BSD-3-Clause */
/* names.c - virtual machines by name */
#include "config/names.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SERVICES "/run"
#define SERVICE_PREFIX "crosvm-"

enum { DIR_MAX = 96 };

int vm_name_check(const char *name, struct err *e)
{
	size_t n = strlen(name);
	bool is_good = n > 0 && n <= VM_NAME_MAX && (isalnum((unsigned char)name[0]) != 0);

	for (size_t i = 0; i < n && is_good; i++)
		is_good = isalnum((unsigned char)name[i]) || strchr("._-", name[i]);
	if (is_good)
		return 0;
	return err_say(e, EINVAL,
		       "\"%.60s\": a name has up to %d letters, digits, \".\", \"_\" and \"-\", a "
		       "letter or digit first",
		       name, VM_NAME_MAX);
}

int vm_name_dir(char *buf, size_t room, struct err *e)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int n;

	if (runtime && runtime[0] == '/')
		n = snprintf(buf, room, "%s/crosvm", runtime);
	else if (geteuid() == 0)
		n = snprintf(buf, room, "/run/crosvm");
	else
		return err_say(e, ENOENT,
			       "names need a directory for sockets: set XDG_RUNTIME_DIR, or use a "
			       "path (-s PATH)");
	if (n < 0 || (size_t)n >= room)
		return err_say(e, ENAMETOOLONG, "XDG_RUNTIME_DIR is too long; use -s PATH");
	return 0;
}

int vm_name_dir_make(struct err *e)
{
	char dir[DIR_MAX];
	struct stat st;
	int r = vm_name_dir(dir, sizeof(dir), e);

	if (r < 0)
		return r;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(e, errno, "cannot make %s", dir);
	if (lstat(dir, &st) < 0)
		return err_set(e, errno, "%s", dir);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) != 0)
		return err_say(e, EPERM,
			       "%s: not a directory that only this user can write to; remove it",
			       dir);
	return 0;
}

int vm_name_file(const char *name, const char *ending, char *buf, size_t room, struct err *e)
{
	char dir[DIR_MAX];
	int r = vm_name_check(name, e);

	if (r == 0)
		r = vm_name_dir(dir, sizeof(dir), e);
	if (r < 0)
		return r;
	if ((size_t)snprintf(buf, room, "%s/%s%s", dir, name, ending) >= room)
		return err_say(e, ENAMETOOLONG, "%s/%s%s: too long for the path of a socket", dir,
			       name, ending);
	return 0;
}

int vm_name_path(const char *name, char *buf, size_t room, struct err *e)
{
	return vm_name_file(name, ".sock", buf, room, e);
}

static int is_socket(const struct dirent *entry)
{
	const char *end = strrchr(entry->d_name, '.');

	return end && strcmp(end, ".sock") == 0;
}

static int is_service(const struct dirent *entry)
{
	return strncmp(entry->d_name, SERVICE_PREFIX, strlen(SERVICE_PREFIX)) == 0;
}

/* The socket of crosvm@NAME.service, if this user may use it. */
static int service_path(const char *name, char *buf, size_t room)
{
	int n = snprintf(buf, room, SERVICES "/" SERVICE_PREFIX "%s/control.sock", name);

	return n > 0 && (size_t)n < room && access(buf, R_OK | W_OK) == 0 ? 0 : -ENOENT;
}

int vm_name_find(const char *name, char *buf, size_t room, struct err *e)
{
	int r = vm_name_path(name, buf, room, e);
	char service[DIR_MAX];
	struct err unused;

	if ((r == 0 && access(buf, F_OK) == 0) || vm_name_check(name, &unused) < 0 ||
	    service_path(name, service, sizeof(service)) < 0)
		return r;
	snprintf(buf, room, "%s", service);
	return 0;
}

static int each_user(void (*each)(void *context, const char *name), void *context, struct err *e)
{
	struct dirent **entries = NULL;
	struct err ignored;
	char dir[DIR_MAX];
	int n, r = vm_name_dir(dir, sizeof(dir), e);

	if (r < 0)
		return r;
	n = scandir(dir, &entries, is_socket, alphasort);
	if (n < 0)
		return errno == ENOENT ? 0 : err_set(e, errno, "%s", dir);
	for (int i = 0; i < n; i++) {
		*strrchr(entries[i]->d_name, '.') = '\0';
		if (vm_name_check(entries[i]->d_name, &ignored) == 0) /* else not one of ours */
			each(context, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return 0;
}

/* Whose names the user's own machines do not have. */
static void each_service(void (*each)(void *context, const char *name), void *context)
{
	struct dirent **entries = NULL;
	int n = scandir(SERVICES, &entries, is_service, alphasort);
	char path[DIR_MAX], service[DIR_MAX];
	struct err ignored;

	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name + strlen(SERVICE_PREFIX);

		if (service_path(name, service, sizeof(service)) == 0 &&
		    vm_name_find(name, path, sizeof(path), &ignored) == 0 &&
		    strcmp(path, service) == 0)
			each(context, name);
		free(entries[i]);
	}
	free(entries);
}

int vm_names_each(void (*each)(void *context, const char *name), void *context, struct err *e)
{
	int r = each_user(each, context, e);

	each_service(each, context);
	return r;
}

void vm_name_resolve(const char *word, char *buf, size_t room)
{
	struct err e;

	if (!strchr(word, '/') && access(word, F_OK) < 0 && vm_name_find(word, buf, room, &e) == 0)
		return;
	snprintf(buf, room, "%s", word);
}
