/* SPDX-License-Identifier: BSD-3-Clause */
/* control_listen.c - the file of the control socket: choosing and taking its name */
#include "vm/control.h"
#include "vm/control_parts.h"

#include "base/fd.h"
#include "base/leftover.h"
#include "base/listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = sizeof(((struct sockaddr_un *)0)->sun_path) };

/* The path of the socket, and the folder that it is in. */
static int choose_path(const char *path, char ret_path[PATH_BYTES], char ret_dir[PATH_BYTES],
		       struct err *e)
{
	struct stat st;
	char own[32] = "";
	char *slash;
	int n;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		snprintf(own, sizeof(own), "/crosvm-%d.sock", (int)getpid());
	n = snprintf(ret_path, PATH_BYTES, "%s%s", path, own);
	if (n < 0 || n >= PATH_BYTES)
		return err_say(e, ENAMETOOLONG, "%s%s: longer than the %zu bytes a socket may have",
			       path, own, (size_t)PATH_BYTES - 1);
	memcpy(ret_dir, ret_path, PATH_BYTES);
	slash = strrchr(ret_dir, '/');
	if (slash && slash[1] == '\0')
		return err_say(e, ENOENT, "%s: no such directory; create it first", path);
	if (!slash)
		memcpy(ret_dir, ".", sizeof("."));
	else
		slash[slash == ret_dir] = '\0';
	return 0;
}

int control_listen(const char *path, struct err *e)
{
	char name[PATH_BYTES], dir[PATH_BYTES];
	auto_fd sock = -1;
	int r = choose_path(path, name, dir, e);

	if (r < 0)
		return r;
	if (access(dir, F_OK) < 0)
		return err_say(e, errno, "%s: directory %s: %s", path, dir, strerror(errno));
	sock = listen_at(name, CONTROL_CLIENTS_MAX, 0777, e);
	if (sock == -EADDRINUSE)
		return err_say(e, EADDRINUSE,
			       "%s: a running VM listens there; stop it (crosvm stop %s) or choose "
			       "another path",
			       name, name);
	if (sock < 0)
		return sock;
	r = leftover_add(name, e);
	if (r < 0) {
		unlink(name);
		return r;
	}
	return fd_take(&sock);
}
