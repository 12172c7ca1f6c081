/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent.c - pid 1 of the testbed's machine: runs one job, asked for over a virtio-serial port
 *
 * Frames both ways: a byte of type, the length of the data as le32, the data (64 KiB at most).
 *
 *   to us    'J' a job: strings, each ended by a zero byte: time of day in seconds, working
 *                directory, user id, group id of kvm, terminal ("rows columns", or empty),
 *                environment..., an empty string, arguments...
 *            'I' standard input of the job; without data: its end
 *            'S' le32 signal for the job's process group
 *            'N' nothing: wakes a machine that sleeps
 *   from us  'R' ready for the job
 *            'O' 'E' its standard output and error; a terminal has 'O' only
 *            'X' le32 wait status: the job ended
 *            'L' a line for the log
 *
 *  I1  While input waits for the job, no frame is read, so memory is bounded; the other side
 *      never stops reading, so our writes end.
 *  I2  The state of the machine is saved before the job comes, and 9p can't be mounted then:
 *      the root is put together when the job comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	FRAME_MAX = 64 * 1024,
	WORDS_MAX = 4096,
	LINGER_MS = 1000, /* how long output may trail the end of the job */
};

struct job {
	double time_of_day;
	const char *cwd;
	uid_t uid;
	gid_t kvm_gid;
	const char *terminal;
	char *env[WORDS_MAX], *argv[WORDS_MAX];

	pid_t pid;
	int in, out, err; /* our ends; -1: closed.  With a terminal in == out. */
	char input[FRAME_MAX];
	size_t input_at, input_end;
	bool input_closing;
};

static int port = -1;

static void port_write(const void *data, size_t n)
{
	for (const char *p = data; n > 0;) {
		ssize_t done = write(port, p, n);

		if (done < 0 && errno != EINTR && errno != EAGAIN)
			return;
		if (done > 0) {
			p += done;
			n -= (size_t)done;
		}
	}
}

static void port_read(void *data, size_t n)
{
	for (char *p = data; n > 0;) {
		ssize_t done = read(port, p, n);

		if (done <= 0) { /* the other side is away, as while the state is saved */
			usleep(2000);
			continue;
		}
		p += done;
		n -= (size_t)done;
	}
}

static void frame_send(char type, const void *data, size_t n)
{
	static char frame[5 + FRAME_MAX];
	uint32_t length = (uint32_t)n;

	frame[0] = type;
	memcpy(frame + 1, &length, sizeof(length));
	memcpy(frame + 5, data, n);
	port_write(frame, 5 + n);
}

static char frame_receive(char *data, uint32_t *ret_n)
{
	char head[5];

	port_read(head, sizeof(head));
	memcpy(ret_n, head + 1, sizeof(*ret_n));
	if (*ret_n > FRAME_MAX)
		abort();
	port_read(data, *ret_n);
	return head[0];
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	char text[512];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	frame_send('L', text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

static bool attach(const char *what, const char *at, const char *type, unsigned long flags,
		   const char *options)
{
	mkdir(at, 0755);
	if (mount(what, at, type, flags, options) == 0)
		return true;
	say("mount %s: %s", at, strerror(errno));
	return false;
}

/* Kernel file systems move over from the initramfs; /run is new. */
static void attach_volatile(void)
{
	static const char *const moved[] = {"/proc", "/sys", "/dev"};

	for (unsigned i = 0; i < sizeof(moved) / sizeof(moved[0]); i++) {
		char at[32];

		snprintf(at, sizeof(at), "/new%s", moved[i]);
		attach(moved[i], at, NULL, MS_MOVE, NULL);
	}
	attach("run", "/new/run", "tmpfs", 0, "mode=755");
	attach("shm", "/new/dev/shm", "tmpfs", 0, "mode=1777");
	attach("devpts", "/new/dev/pts", "devpts", 0, "mode=620,ptmxmode=666");
	attach("cgroup2", "/new/sys/fs/cgroup", "cgroup2", 0, NULL);
	if (symlink("/proc/self/fd", "/new/dev/fd") < 0) /* as udev does; bash's <() needs it */
		say("/dev/fd: %s", strerror(errno));
}

static void root_switch(void)
{
	if (chdir("/new") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		say("switch to the root: %s", strerror(errno));
}

/* The root: the outer machine's, read-only by 9p, under a tmpfs that takes what is written. */
static void root_attach(void)
{
	static const char p9[] = "trans=virtio,version=9p2000.L,msize=512000,cache=";
	char options[128];

	snprintf(options, sizeof(options), "%sloose", p9);
	attach("host", "/lower", "9p", MS_RDONLY, options);
	attach("upper", "/upper", "tmpfs", 0, "mode=755");
	mkdir("/upper/u", 0755);
	mkdir("/upper/w", 0755);
	if (!attach("root", "/new", "overlay", 0,
		    "lowerdir=/lower,upperdir=/upper/u,workdir=/upper/w,"
		    "index=off,metacopy=off,xino=off"))
		return;
	attach_volatile();
	snprintf(options, sizeof(options), "%snone", p9);
	attach("out", "/new/run/out", "9p", 0, options);
	attach("/lower/tmp", "/new/run/hosttmp", NULL, MS_BIND, NULL);
	root_switch();
}

static void open_to(const char *device, gid_t gid, mode_t mode)
{
	if (chown(device, 0, gid) < 0 || chmod(device, mode) < 0)
		say("%s: %s", device, strerror(errno));
}

static char *next_word(char **at, char *end)
{
	char *word = *at;

	if (word >= end)
		return NULL;
	*at += strlen(word) + 1;
	return word;
}

/* data ends with a zero byte at data[n]. */
static void job_parse(struct job *j, char *data, uint32_t n)
{
	char *at = data, *end = data + n, *word;
	unsigned count = 0;

	j->time_of_day = atof(next_word(&at, end));
	j->cwd = next_word(&at, end);
	j->uid = (uid_t)atoi(next_word(&at, end));
	j->kvm_gid = (gid_t)atoi(next_word(&at, end));
	j->terminal = next_word(&at, end);
	while ((word = next_word(&at, end)) && *word && count < WORDS_MAX - 1)
		j->env[count++] = word;
	count = 0;
	while ((word = next_word(&at, end)) && count < WORDS_MAX - 1)
		j->argv[count++] = word;
}

static void clock_set(double seconds)
{
	struct timeval now = {.tv_sec = (time_t)seconds};

	now.tv_usec = (suseconds_t)((seconds - (double)now.tv_sec) * 1e6);
	settimeofday(&now, NULL);
}

static void job_identity(const struct job *j)
{
	if (j->uid == 0)
		return;
	if (setgroups(1, &j->kvm_gid) < 0 || setgid((gid_t)j->uid) < 0 || setuid(j->uid) < 0)
		_exit(126);
}

_Noreturn static void job_exec(const struct job *j, int in, int out, int err)
{
	sigset_t none;

	setsid();
	if (*j->terminal)
		ioctl(in, TIOCSCTTY, 0);
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	job_identity(j);
	if (chdir(j->cwd) < 0)
		dprintf(2, "testbed: %s: %s\n", j->cwd, strerror(errno));
	execvpe(j->argv[0], j->argv, j->env);
	dprintf(2, "testbed: %s: %s\n", j->argv[0], strerror(errno));
	_exit(127);
}

static void job_start_piped(struct job *j)
{
	int in[2], out[2], err[2];

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
		abort();
	j->pid = fork();
	if (j->pid == 0)
		job_exec(j, in[0], out[1], err[1]);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	j->in = in[1];
	j->out = out[0];
	j->err = err[0];
	fcntl(j->in, F_SETFL, O_NONBLOCK);
}

static void job_start_terminal(struct job *j)
{
	struct winsize size = {.ws_row = 24, .ws_col = 80};
	int inner;

	sscanf(j->terminal, "%hu %hu", &size.ws_row, &size.ws_col);
	j->in = j->out = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	j->err = -1;
	if (j->out < 0 || grantpt(j->out) < 0 || unlockpt(j->out) < 0)
		abort();
	inner = ioctl(j->out, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	ioctl(inner, TIOCSWINSZ, &size);
	j->pid = fork();
	if (j->pid == 0)
		job_exec(j, inner, inner, inner);
	close(inner);
}

static void job_input_end(struct job *j)
{
	if (j->in >= 0 && j->in != j->out)
		close(j->in);
	j->in = -1;
}

static void job_input(struct job *j)
{
	ssize_t n = write(j->in, j->input + j->input_at, j->input_end - j->input_at);

	if (n < 0 && errno != EAGAIN) {
		j->input_at = j->input_end;
		job_input_end(j);
		return;
	}
	if (n > 0)
		j->input_at += (size_t)n;
}

static void job_frame(struct job *j)
{
	static char data[FRAME_MAX + 1];
	uint32_t n, number;
	char type = frame_receive(data, &n);

	if (type == 'I' && n == 0 && !*j->terminal)
		job_input_end(j);
	if (type == 'I' && n > 0 && j->in >= 0) {
		memcpy(j->input, data, n);
		j->input_at = 0;
		j->input_end = n;
	}
	if (type == 'S' && n == sizeof(number)) {
		memcpy(&number, data, sizeof(number));
		kill(-j->pid, (int)number);
	}
}

static void job_output(int *fd, char type)
{
	static char data[FRAME_MAX];
	ssize_t n = read(*fd, data, sizeof(data));

	if (n > 0) {
		frame_send(type, data, (size_t)n);
	} else if (n == 0 || errno != EAGAIN) {
		close(*fd);
		*fd = -1;
	}
}

static bool job_ended(const struct job *j, int *ret_status)
{
	bool ended = false;
	int status;

	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
		if (pid == j->pid) {
			*ret_status = status;
			ended = true;
		}
	}
	return ended;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* One round: waits at most so long for output, frames, or room for input. */
static void job_turn(struct job *j, int wait_ms)
{
	bool waiting = j->in >= 0 && j->input_at < j->input_end;
	struct pollfd polls[] = {
		{.fd = j->out, .events = POLLIN},
		{.fd = j->err, .events = POLLIN},
		{.fd = waiting ? -1 : port, .events = POLLIN},
		{.fd = waiting ? j->in : -1, .events = POLLOUT},
	};

	poll(polls, 4, wait_ms);
	if (polls[0].revents)
		job_output(&j->out, 'O');
	if (polls[1].revents)
		job_output(&j->err, 'E');
	if (polls[2].revents & POLLIN)
		job_frame(j);
	if (polls[3].revents && j->in >= 0)
		job_input(j);
}

static void job_run(struct job *j)
{
	bool ended = false;
	int64_t ended_at = 0;
	int status = 0;

	if (*j->terminal)
		job_start_terminal(j);
	else
		job_start_piped(j);
	for (;;) {
		job_turn(j, ended ? 5 : 20);
		if (!ended && job_ended(j, &status)) {
			ended = true;
			ended_at = now_ms();
		}
		if (ended && ((j->out < 0 && j->err < 0) || now_ms() - ended_at > LINGER_MS))
			break;
	}
	frame_send('X', &status, sizeof(status));
}

static void port_open(void)
{
	while (port < 0) {
		for (int i = 0; i < 4 && port < 0; i++) {
			char device[32];

			snprintf(device, sizeof(device), "/dev/vport%dp1", i);
			port = open(device, O_RDWR | O_CLOEXEC);
		}
		usleep(1000);
	}
}

int main(void)
{
	static char data[FRAME_MAX + 1];
	static struct job job;
	uint32_t n;

	signal(SIGPIPE, SIG_IGN);
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	port_open();
	frame_send('R', "", 0);
	while (frame_receive(data, &n) != 'J')
		;
	data[n] = '\0';
	job_parse(&job, data, n);
	clock_set(job.time_of_day);
	root_attach();
	open_to("/dev/kvm", job.kvm_gid, 0660);
	open_to("/dev/net/tun", 0, 0666);
	open_to("/dev/vhost-net", job.kvm_gid, 0660);
	open_to("/dev/vhost-vsock", job.kvm_gid, 0660);
	job_run(&job);
	for (;;)
		pause();
}
