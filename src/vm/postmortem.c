/* SPDX-License-Identifier: BSD-3-Clause */
/* postmortem.c - what is left of a VM that ended badly: its flight recorder, in a file */
#include "vm/postmortem.h"

#include "base/exit_codes.h"
#include "base/fd.h"
#include "base/log.h"
#include "config/names.h"
#include "jail/seccomp.h"
#include "vm/devices.h"
#include "vm/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	TEMPORARY_ROOM = POSTMORTEM_PATH_MAX + 8,
	TRACE_NAME_MAX = NAME_MAX - 4, /* ".tmp" is appended */
};

/* Of the child that reads the records. */
static const struct call reader_calls[] = {
	CALL(read), CALL(write), CALL(poll), CALL(ppoll), CALL(clock_gettime), CALL(exit_group),
	CALL_END,
};

bool postmortem_is_due(int exit_code)
{
	return exit_code == EXIT_CODE_ERROR || exit_code == EXIT_CODE_PANIC ||
	       exit_code == EXIT_CODE_TRIPLE_FAULT || exit_code == EXIT_CODE_KVM ||
	       exit_code == EXIT_CODE_DEVICE;
}

/* Whether a file can be made and put at path, for all that can be seen. */
static int place_check(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char dir[POSTMORTEM_PATH_MAX] = ".";
	struct stat st;

	if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return err_say(e, EEXIST, "%s: exists and is no file; choose another path", path);
	if (strlen(slash ? slash + 1 : path) > TRACE_NAME_MAX || (slash && slash[1] == '\0'))
		return err_say(e, ENAMETOOLONG, "%s: its last part is no name of a file", path);
	if (slash)
		snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path + 1), path);
	if (faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) < 0)
		return err_set(e, errno, "%s: its directory", path);
	return 0;
}

int postmortem_init(struct postmortem *p, struct recorder *recorder, const char *file,
		    const char *name, struct err *e)
{
	int r = 0, n = 0;

	*p = (struct postmortem){.recorder = recorder};
	if (file)
		n = snprintf(p->path, sizeof(p->path), "%s", file);
	else if (name)
		r = vm_name_file(name, ".trace", p->path, sizeof(p->path), e);
	if (n >= (int)sizeof(p->path))
		r = err_say(e, ENAMETOOLONG, "longer than a path may be");
	else if (file && r == 0)
		r = place_check(p->path, e);
	return r < 0 ? err_in(e, "--trace-file") : 0;
}

void postmortem_forsake(struct postmortem *p)
{
	p->path[0] = '\0';
}

static void log_last(struct recorder *r)
{
	struct recorder_event event;

	recorder_walk(r, POSTMORTEM_LINES);
	while (recorder_next(r, &event))
		log_info("%llu.%06u %s: %s", (unsigned long long)(event.time_ns / 1000000000),
			 (unsigned)(event.time_ns % 1000000000 / 1000), event.source, event.text);
}

static int temporary_open(const struct postmortem *p, char name[TEMPORARY_ROOM])
{
	int fd;

	snprintf(name, TEMPORARY_ROOM, "%s.tmp", p->path);
	unlink(name); /* of one that was interrupted */
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

/* 0 or -errno; said is what came of writing. */
static int temporary_close(const struct postmortem *p, const char *name, int *fd, int said)
{
	int r = said;

	fd_close(fd);
	if (r == 0 && rename(name, p->path) < 0)
		r = -errno;
	if (r < 0)
		unlink(name);
	return r;
}

static int reader_confine(void)
{
	struct err e;
	struct filter *f = seccomp_prepare(reader_calls, &e);

	if (!f || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -EPERM;
	return seccomp_load_take(f, false, &e);
}

static NORETURN void reader_run(struct postmortem *p, int fd, bool died)
{
	int r = reader_confine();

	for (unsigned i = 0; r == 0 && died && i < p->devices->count; i++)
		device_log_drain(&p->devices->list[i].log);
	if (r == 0 && fd >= 0)
		r = recorder_write(p->recorder, fd);
	else if (r == 0 && died)
		log_last(p->recorder);
	for (;;) /* _exit() would, with sanitizers, make calls that the filter forbids */
		syscall(SYS_exit_group, r < 0 ? -r : 0);
}

/* 0 or -errno. */
static int reader_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EFAULT;
}

static int write_by_child(struct postmortem *p, bool died)
{
	char name[TEMPORARY_ROOM];
	auto_fd fd = p->path[0] ? temporary_open(p, name) : -1;
	pid_t pid;
	int r;

	if (p->path[0] && fd < 0)
		return fd;
	pid = fork();
	if (pid == 0)
		reader_run(p, fd, died);
	r = pid < 0 ? -errno : reader_wait(pid);
	return p->path[0] ? temporary_close(p, name, &fd, r) : r;
}

static void complain(const struct postmortem *p, int r)
{
	if (r < 0)
		log_error("--trace-file: %s: cannot be written: %s", p->path, strerror(-r));
}

/* In the process that outlives main. */
static void main_is_gone(void *context)
{
	struct postmortem *p = context;
	uint32_t state = __atomic_load_n(&p->recorder->head->state, __ATOMIC_ACQUIRE);
	bool died = state == RECORDER_RUNS;
	int r;

	if (!died && (state != RECORDER_ENDED_BADLY || !p->path[0]))
		return;
	log_sink_set(NULL); /* what it sends to was main's */
	signal(SIGCHLD, SIG_DFL);
	if (died)
		log_error("the main process died");
	r = write_by_child(p, died);
	if (p->path[0])
		complain(p, r);
	if (r == 0 && died && p->path[0])
		log_info("what the VM did last is in %s", p->path);
}

const struct respawn_end *postmortem_of(struct postmortem *p, struct vm_devices *devices)
{
	p->devices = devices;
	p->end = (struct respawn_end){.run = main_is_gone, .context = p, .fds = p->fds};
	for (unsigned i = 0; i < devices->count && p->end.nfds < POSTMORTEM_FDS_MAX; i++)
		if (devices->list[i].log.all)
			p->fds[p->end.nfds++] = devices->list[i].log.watch.fd;
	return &p->end;
}

void postmortem_tell(struct postmortem *p)
{
	if (p->path[0])
		log_info("what the VM did last is in %s", p->path);
	else
		log_last(p->recorder);
}
