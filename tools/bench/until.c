/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * until.c - times a command from its exec to a marker in its output
 *
 *	until [-n RUNS] [-t SECONDS] [-p] -m MARKER -- COMMAND [ARG...]
 *
 * Prints a line a run: wall milliseconds to the marker, CPU milliseconds (user + system) of the
 * command and of all descendants that were waited for, and with -p the sum of the proportional set
 * sizes (PSS) of its process tree at the marker, in KiB, and what of it is the C library.  After
 * the marker the command is left to end by itself; at the time limit its session is killed and the
 * run counts as failed.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *marker;
static double limit_ms = 60000;
static bool want_pss;

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/*
 * Where each session is a group of the scheduler's (sched_autogroup), niceness counts within it:
 * give the group the same, so that "nice -n -20" helps against what else the machine does.
 */
static void session_begin(void)
{
	FILE *f;

	setsid();
	f = fopen("/proc/self/autogroup", "w");
	if (!f)
		return;
	fprintf(f, "%d", getpriority(PRIO_PROCESS, 0));
	fclose(f);
}

static pid_t start(char **argv, int *ret_out)
{
	int out[2];
	pid_t pid;

	if (pipe(out) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		session_begin();
		dup2(out[1], STDOUT_FILENO);
		dup2(out[1], STDERR_FILENO);
		close(out[0]);
		close(out[1]);
		execvp(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	close(out[1]);
	*ret_out = out[0];
	return pid;
}

/* Proportional set sizes: of everything, and of the C library, which depends on who else has it. */
struct pss {
	long kib, library_kib;
};

static void pss_add(const char *pid, struct pss *sum)
{
	char path[64], line[512];
	bool is_library = false;
	long kib;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.20s/smaps", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (strchr("0123456789abcdef", line[0]))
			is_library = strstr(line, "/libc.so.") || strstr(line, "/ld-linux");
		if (sscanf(line, "Pss: %ld", &kib) != 1)
			continue;
		sum->kib += kib;
		sum->library_kib += is_library ? kib : 0;
	}
	if (f)
		fclose(f);
}

static int session_of(const char *pid)
{
	char path[64], text[512] = "";
	int parent, group, session = -1;
	const char *after;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
	f = fopen(path, "r");
	if (f && fgets(text, sizeof(text), f) && (after = strrchr(text, ')')))
		sscanf(after, ") %*c %d %d %d", &parent, &group, &session);
	if (f)
		fclose(f);
	return session;
}

/* Children keep the session of the command, so that is what makes the tree. */
static struct pss tree_pss(pid_t session)
{
	struct dirent *entry;
	DIR *proc = opendir("/proc");
	struct pss sum = {0};

	while (proc && (entry = readdir(proc)))
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
		    session_of(entry->d_name) == session)
			pss_add(entry->d_name, &sum);
	if (proc)
		closedir(proc);
	return sum;
}

/* Reads until the marker was seen and the output ended; false at the time limit. */
static bool watch_output(int fd, pid_t pid, double begin, double *ret_ms, struct pss *ret)
{
	static char text[1 << 20];
	size_t used = 0;

	*ret_ms = -1;
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		double left = limit_ms - (now_ms() - begin);
		ssize_t n;

		if (left <= 0 || poll(&p, 1, (int)left + 1) <= 0)
			return false;
		if (used > sizeof(text) - 65536)
			used = 0;
		n = read(fd, text + used, sizeof(text) - 1 - used);
		if (n <= 0)
			return *ret_ms >= 0;
		used += (size_t)n;
		text[used] = '\0';
		if (*ret_ms < 0 && memmem(text, used, marker, strlen(marker))) {
			*ret_ms = now_ms() - begin;
			if (want_pss)
				*ret = tree_pss(pid);
		}
	}
}

static bool run_once(char **argv)
{
	double begin = now_ms(), ms, cpu;
	struct rusage usage;
	struct pss pss = {0};
	int out, status;
	pid_t pid = start(argv, &out);
	bool ok;

	if (pid < 0)
		return false;
	ok = watch_output(out, pid, begin, &ms, &pss);
	if (!ok)
		kill(-pid, SIGKILL);
	close(out);
	wait4(pid, &status, 0, &usage);
	cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
	      (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-3;
	printf("%s wall_ms=%.3f cpu_ms=%.3f pss_kib=%ld library_kib=%ld status=%d\n",
	       ok ? "ok" : "failed", ms, cpu, pss.kib, pss.library_kib,
	       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	fflush(stdout);
	return ok;
}

int main(int argc, char **argv)
{
	int option, runs = 1, failed = 0;

	while ((option = getopt(argc, argv, "+n:t:m:p")) != -1) {
		switch (option) {
		case 'n':
			runs = atoi(optarg);
			break;
		case 't':
			limit_ms = atof(optarg) * 1e3;
			break;
		case 'm':
			marker = optarg;
			break;
		case 'p':
			want_pss = true;
			break;
		default:
			return 2;
		}
	}
	if (!marker || optind == argc) {
		fputs("usage: until [-n RUNS] [-t SECONDS] [-p] -m MARKER -- COMMAND...\n", stderr);
		return 2;
	}
	for (int i = 0; i < runs; i++)
		failed += !run_once(argv + optind);
	return failed ? 1 : 0;
}
