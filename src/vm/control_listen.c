/* SPDX-License-Identifier: BSD-3-Clause */
/* control_listen.c - the file of the control socket: choosing its name, giving it back */
#include "vm/control.h"
#include "vm/control_parts.h"

#include "base/fd.h"
#include "base/leftover.h"
#include "base/listen.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* The one socket of this process; a signal handler may need it. */
static struct {
	bool is_ours;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
} file;

const char *control_path(void)
{
	return file.is_ours ? file.path : "";
}

void control_unlink(void)
{
	file.is_ours = false;
	leftovers_remove();
}

/* Fills file.path and *ret_dir, which has room for a path. */
static int choose_path(const char *path, char *ret_dir, struct err *e)
{
	struct stat st;
	char own[32] = "";
	char *slash;
	int n;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		snprintf(own, sizeof(own), "/crosvm-%d.sock", (int)getpid());
	n = snprintf(file.path, sizeof(file.path), "%s%s", path, own);
	if (n < 0 || (size_t)n >= sizeof(file.path))
		return err_say(e, ENAMETOOLONG, "%s%s: longer than the %zu bytes a socket may have",
			       path, own, sizeof(file.path) - 1);
	memcpy(ret_dir, file.path, sizeof(file.path));
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
	char dir[sizeof(file.path)];
	auto_fd sock = -1;
	int r = choose_path(path, dir, e);

	if (r < 0)
		return r;
	if (access(dir, F_OK) < 0)
		return err_say(e, errno, "%s: directory %s: %s", path, dir, strerror(errno));
	sock = listen_at(file.path, CONTROL_CLIENTS_MAX, 0777, e);
	if (sock == -EADDRINUSE)
		return err_say(e, EADDRINUSE,
			       "%s: a running VM listens there; stop it (crosvm stop %s) or choose "
			       "another path",
			       file.path, file.path);
	if (sock < 0)
		return sock;
	r = leftover_add(file.path, e);
	if (r < 0) {
		unlink(file.path);
		return r;
	}
	file.is_ours = true;
	return fd_take(&sock);
}
