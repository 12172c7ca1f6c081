/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * control_listen.c - the file of the control socket: taking its name, giving it back
 *
 * Taking the name is done under a lock on the directory, so that a socket which is bound but does
 * not listen yet is never mistaken for one that a dead VM left behind.
 */
#include "vm/control.h"
#include "vm/control_commands.h"

#include "base/fd.h"
#include "base/leftover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
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

/* Whether the file at address is a socket nobody listens on. 0, or an error that says why not. */
static int check_stale(const struct sockaddr_un *address, struct err *e)
{
	auto_fd sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (sock < 0)
		return err_set(e, errno, "cannot make a socket");
	if (lstat(address->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : err_set(e, errno, "%s", address->sun_path);
	if (!S_ISSOCK(st.st_mode))
		return err_say(e, EEXIST, "%s: exists and is no socket; choose another path",
			       address->sun_path);
	if (connect(sock, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
	    errno == EAGAIN)
		return err_say(e, EADDRINUSE,
			       "%s: a running VM listens there; stop it (crosvm stop %s) or choose "
			       "another path",
			       address->sun_path, address->sun_path);
	if (errno != ECONNREFUSED)
		return err_set(e, errno, "%s: exists and does not answer", address->sun_path);
	return 0;
}

static int bind_name(int sock, struct err *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int r;

	memcpy(address.sun_path, file.path, sizeof(address.sun_path));
	if (bind(sock, (struct sockaddr *)&address, sizeof(address)) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return err_set(e, errno, "%s", file.path);
	r = check_stale(&address, e);
	if (r < 0)
		return r;
	if (unlink(file.path) < 0 && errno != ENOENT)
		return err_set(e, errno, "%s: cannot remove what a dead VM left behind", file.path);
	if (bind(sock, (struct sockaddr *)&address, sizeof(address)) < 0)
		return err_set(e, errno, "%s", file.path);
	return 0;
}

int control_listen(const char *path, struct err *e)
{
	auto_fd sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char dir[sizeof(file.path)];
	auto_fd lock = -1;
	int r;

	if (sock < 0)
		return err_set(e, errno, "cannot make a socket");
	r = choose_path(path, dir, e);
	if (r < 0)
		return r;
	if (access(dir, F_OK) < 0)
		return err_say(e, errno, "%s: directory %s: %s", path, dir, strerror(errno));
	lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock >= 0)
		flock(lock, LOCK_EX); /* a directory that cannot be read goes without */
	r = bind_name(sock, e);
	if (r < 0)
		return r;
	r = leftover_add(file.path, e);
	if (r == 0 && listen(sock, CONTROL_CLIENTS_MAX) < 0)
		r = err_set(e, errno, "%s", file.path);
	if (r < 0)
		return err_in(e, "cannot listen");
	file.is_ours = true;
	return fd_take(&sock);
}
