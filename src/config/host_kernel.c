/* SPDX-License-Identifier: BSD-3-Clause */
/* host_kernel.c - the kernels that are installed on this host, and their modules */
#include "config/host_kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char prefix[] = "vmlinuz-";

const struct host_kernel_paths host_kernel_paths = {.boot = "/boot"};

const char *host_kernel_running(void)
{
	static struct utsname name;

	return uname(&name) == 0 ? name.release : "";
}

static bool path_of(const struct host_kernel_paths *paths, const char *release, char *path,
		    size_t room)
{
	int n = snprintf(path, room, "%s/%s%s", paths->boot, prefix, release);

	return n > 0 && (size_t)n < room;
}

static bool is_readable(const char *path)
{
	return faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0;
}

/* Of those that may be read; what was there but may not be read goes to *ret_refused. */
static bool find_newest(const struct host_kernel_paths *paths, char *release, size_t room,
			bool *ret_refused)
{
	DIR *folder = opendir(paths->boot);
	const struct dirent *entry;

	release[0] = '\0';
	while (folder && (entry = readdir(folder))) {
		const char *found = entry->d_name + strlen(prefix);
		char path[512];

		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 || strlen(found) >= room ||
		    !path_of(paths, found, path, sizeof(path)))
			continue;
		if (!is_readable(path))
			*ret_refused = true;
		else if (strverscmp(found, release) > 0)
			memcpy(release, found, strlen(found) + 1);
	}
	if (folder)
		closedir(folder);
	return release[0] != '\0';
}

int host_kernel_find(const struct host_kernel_paths *paths, char *path, size_t room, struct err *e)
{
	const char *running = paths->release ? paths->release : host_kernel_running();
	char release[HOST_KERNEL_RELEASE_MAX];
	bool is_refused = false;

	if (path_of(paths, running, path, room) && is_readable(path))
		return 0;
	if (find_newest(paths, release, sizeof(release), &is_refused) &&
	    path_of(paths, release, path, room))
		return 0;
	if (is_refused)
		return err_say(e, EACCES,
			       "the kernels in %s cannot be read by uid %u; name a copy that "
			       "can, or: sudo chmod a+r %s/%s*",
			       paths->boot, (unsigned)geteuid(), paths->boot, prefix);
	return err_say(e, ENOENT,
		       "no kernel in %s; name one, or: sudo apt install linux-image-amd64",
		       paths->boot);
}
