/* SPDX-License-Identifier: BSD-3-Clause */
/* jail_test.c - a jailed process looks around, as root's and as an ordinary user's child */
#include "jail/jail.h"

#include "base/fd.h"
#include "jail/spawn.h"
#include "jail/spawn_run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

enum {
	TELL = 3,
	PROC = 4,
	SCRATCH = 5
}; /* fds of the child: its findings; the host's /proc; the next */

static char found[RUN_TEXT_MAX];

#define SAY(...) (snprintf(found, sizeof(found), __VA_ARGS__), found)

static const char *const namespaces[] = {"user", "mnt", "net", "pid", "ipc", "uts"};

static void namespace_name(int proc, const char *which, char out[64])
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "self/ns/%s", which);
	n = readlinkat(proc, path, out, 63);
	out[n < 0 ? 0 : n] = '\0';
}

/* --- the parent's side --- */

static char host_ns[ARRAY_LEN(namespaces)][64];

static const char *child_findings(const char *mode, const struct spawn_args *more)
{
	static char text[RUN_TEXT_MAX];
	char *argv[3 + ARRAY_LEN(namespaces)] = {(char *)(uintptr_t) "test",
						 (char *)(uintptr_t)mode};
	auto_fd proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct spawn_args args = *more;
	struct spawn_fd fds[2];
	struct spawn_end end;
	struct spawner s;
	struct child c;
	struct err e;
	ssize_t n;
	int told[2];

	for (size_t i = 0; i < ARRAY_LEN(namespaces); i++) {
		namespace_name(proc, namespaces[i], host_ns[i]);
		argv[2 + i] = host_ns[i];
	}
	if (proc < 0 || pipe2(told, O_CLOEXEC) < 0)
		return "no fds";
	fds[0] = (struct spawn_fd){told[1], TELL};
	fds[1] = (struct spawn_fd){proc, PROC};
	args.name = "test";
	args.argv = argv;
	args.fds = fds;
	args.nfds = ARRAY_LEN(fds);
	if (spawner_init(&s, &e) < 0)
		return SAY("%s", e.text);
	spawner_begin(&s);
	if (spawn_start(&s, &args, &c, &e) < 0)
		return SAY("%s", e.text);
	close(told[1]);
	n = read(told[0], text, sizeof(text) - 1);
	text[n < 0 ? 0 : n] = '\0';
	while (spawn_reap(&c, &end) == -EAGAIN)
		poll(&(struct pollfd){.fd = c.pidfd, .events = POLLIN}, 1, 10000);
	spawner_fini(&s);
	if (n <= 0)
		return SAY("%s", end.text);
	return strcmp(text, "ok") == 0 ? NULL : text;
}

static const char *looks_around(void *mode)
{
	return child_findings(mode, &(struct spawn_args){.source = NULL});
}

static void a_jailed_process_has_nothing(void **state UNUSED)
{
	run_both_ways(looks_around, (void *)(uintptr_t) "look");
}

static bool file_write(const char *path, const char *text)
{
	auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0;
}

/* Root of a container that an ordinary user made: no other id exists in it. */
static const char *looks_around_as_sole_id(void *mode)
{
	char uid_map[32], gid_map[32];

	snprintf(uid_map, sizeof(uid_map), "0 %u 1", geteuid());
	snprintf(gid_map, sizeof(gid_map), "0 %u 1", getegid());
	if (unshare(CLONE_NEWUSER) < 0 || !file_write("/proc/self/uid_map", uid_map) ||
	    !file_write("/proc/self/setgroups", "deny") ||
	    !file_write("/proc/self/gid_map", gid_map))
		return "no user namespace";
	return looks_around(mode);
}

static void a_container_with_one_id_will_do(void **state UNUSED)
{
	run_forked(looks_around_as_sole_id, (void *)(uintptr_t) "look", geteuid() == 0);
}

static void what_is_made_alone_is_as_empty(void **state UNUSED)
{
	run_both_ways(looks_around, (void *)(uintptr_t) "look-alone");
}

static const char *is_filtered(void *mode)
{
	const char *end = looks_around(mode);

	return end && strstr(end, "killed by its seccomp filter: system call uname;") == end ? NULL
											     : end;
}

static void threads_of_the_last_hook_are_filtered_too(void **state UNUSED)
{
	run_both_ways(is_filtered, (void *)(uintptr_t) "threads");
}

static const char *follows_policy(void *mode)
{
	const char *end = looks_around(mode);

	return end && strstr(end, "killed by its seccomp filter: system call getcwd;") == end ? NULL
											      : end;
}

static void a_policy_replaces_the_lists(void **state UNUSED)
{
	run_both_ways(follows_policy, (void *)(uintptr_t) "policy");
}

static void a_missing_policy_is_an_error(void **state UNUSED)
{
	run_both_ways(looks_around, (void *)(uintptr_t) "no-policy");
}

static void a_failing_hook_is_an_error(void **state UNUSED)
{
	run_both_ways(looks_around, (void *)(uintptr_t) "bad-hook");
}

/* --- the child's side --- */

/* What looking around takes; a device has none of it. */
static const struct call looking[] = {
	CALL(brk),       CALL(clone),        CALL(clone3),         CALL(fcntl),
	CALL(fstat),     CALL(getcwd),       CALL(getdents64),     CALL(getpid),
	CALL(getppid),   CALL(getrlimit),    CALL(prlimit64),      CALL(geteuid),
	CALL(ioctl),     CALL(lseek),        CALL(mkdirat),        CALL(mkdir),
	CALL(mmap),      CALL(mount),        CALL(newfstatat),     CALL(openat),
	CALL(prctl),     CALL(readlinkat),   CALL(setns),          CALL(setresuid),
	CALL(socket),    CALL(statfs),       CALL(unshare),        CALL(getegid),
	CALL(setgroups), CALL(kill),         CALL(rt_sigprocmask), CALL(gettid),
	CALL(uname),     CALL(memfd_create), CALL(ftruncate),      CALL(poll),
	CALL_END,
};

static const char *see_status(void)
{
	static const char *const expected[] = {
		"CapInh:\t0000000000000000\n",
		"CapPrm:\t0000000000000000\n",
		"CapEff:\t0000000000000000\n",
		"CapBnd:\t0000000000000000\n",
		"CapAmb:\t0000000000000000\n",
		"NoNewPrivs:\t1\n",
		"Seccomp:\t2\n",
		"Seccomp_filters:\t1\n",
	};
	int fd = openat(PROC, "self/status", O_RDONLY);
	char text[4096];
	ssize_t n = read(fd, text, sizeof(text) - 1);

	if (n <= 0)
		return "no status";
	text[n] = '\0';
	close(fd);
	for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
		if (!strstr(text, expected[i]))
			return SAY("missing: %s", expected[i]);
	}
	return NULL;
}

static const char *see_namespaces(char **host, bool is_alone)
{
	for (size_t i = 0; i < ARRAY_LEN(namespaces); i++) {
		char own[64];

		namespace_name(PROC, namespaces[i], own);
		if (own[0] == '\0' || host[i][0] == '\0')
			return SAY("no namespace %s", namespaces[i]);
		if (!is_alone && strcmp(own, host[i]) == 0)
			return SAY("the host's namespace %s", own);
	}
	return NULL;
}

static const char *see_root(void)
{
	char cwd[64] = "";
	struct statvfs fs;
	struct dirent *entry;
	DIR *dir = opendir("/");

	if (!dir)
		return "no root";
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			return SAY("in the root: %s", entry->d_name);
	}
	closedir(dir);
	if (!getcwd(cwd, sizeof(cwd)) || strcmp(cwd, "/") != 0)
		return SAY("working in %s", cwd);
	if (statvfs("/", &fs) < 0 || !(fs.f_flag & ST_RDONLY))
		return "the root is not read-only";
	if (mkdir("/x", 0777) == 0 || errno != EROFS)
		return "a folder can be made";
	if (open("..", O_RDONLY | O_DIRECTORY) != SCRATCH || close(SCRATCH) < 0 ||
	    open("/../proc", O_RDONLY) >= 0)
		return "the root has a way out";
	return NULL;
}

static const char *see_network(void)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_ifindex = 0};

	if (sock < 0)
		return "no socket to look with";
	for (int i = 1; i < 100; i++) {
		request.ifr_ifindex = i;
		if (ioctl(sock, SIOCGIFNAME, &request) < 0)
			continue;
		if (ioctl(sock, SIOCGIFFLAGS, &request) < 0)
			return "no flags";
		/* Some kernels put tunnels into every namespace; all must be down. */
		if (request.ifr_flags & IFF_UP)
			return SAY("interface %s is up", request.ifr_name);
	}
	close(sock);
	return NULL;
}

static const char *see_fds(bool is_alone)
{
	for (int fd = 0; fd < 1024; fd++) {
		bool expected =
			fd <= PROC || fd == SPAWN_FD_REPORT || (is_alone && fd == SPAWN_FD_NS);

		if ((fcntl(fd, F_GETFD) >= 0) != expected)
			return SAY("fd %d is %s", fd, expected ? "closed" : "open");
	}
	return NULL;
}

static const char *see_limits(void)
{
	int memfd = memfd_create("test", MFD_CLOEXEC);
	struct rlimit limit;

	if (getrlimit(RLIMIT_CORE, &limit) < 0 || limit.rlim_max != 0)
		return "core dumps";
	if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_max != JAIL_FILE_MAX)
		return "files may grow";
	if (ftruncate(memfd, 4096) < 0 || close(memfd) < 0)
		return "no memory can be shared";
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max > JAIL_MAX_FDS)
		return "too many fds";
	if (fork() >= 0 || errno != EAGAIN)
		return "processes can be made";
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return "dumpable";
	return NULL;
}

static const char *see_identity(void)
{
	int death_signal = 0;

	if (geteuid() != RUN_NOBODY || getegid() != RUN_NOBODY)
		return SAY("user %u, group %u", geteuid(), getegid());
	if (setresuid(0, 0, 0) == 0)
		return "can become root";
	if (getpid() != 1 || getppid() != 0)
		return "others are in the process namespace";
	if (unshare(CLONE_NEWNS) == 0 || errno != EPERM)
		return "can make a mount namespace";
	if (mount("x", "/", "tmpfs", 0, NULL) == 0 || errno != EPERM)
		return "can mount";
	if (prctl(PR_SET_SECUREBITS, 0, 0, 0, 0) == 0 || prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0)
		return "securebits are not locked";
	if (prctl(PR_GET_PDEATHSIG, &death_signal, 0, 0, 0) < 0 || death_signal != SIGKILL)
		return "outlives its parent";
	return NULL;
}

static const char *look(char **host, bool is_alone)
{
	const struct jail_config config = {
		.name = "test",
		.calls = looking,
		.ns = is_alone ? NULL : &jail_ns_spawned,
		.report_fd = SPAWN_FD_REPORT,
	};
	const char *wrong;
	struct err e;

	if (jail_enter(&config, &e) < 0)
		return SAY("%s", e.text);
	wrong = see_status();
	if (!wrong)
		wrong = see_namespaces(host, is_alone);
	if (!wrong)
		wrong = see_root();
	if (!wrong)
		wrong = see_network();
	if (!wrong)
		wrong = see_fds(is_alone);
	if (!wrong)
		wrong = see_limits();
	return wrong ? wrong : see_identity();
}

static pthread_barrier_t barrier;

static void *thread_try(void *arg UNUSED)
{
	pthread_barrier_wait(&barrier); /* the C library's calls at its start are done */
	pthread_barrier_wait(&barrier); /* the filter is in place */
	syscall(SYS_uname, NULL);       /* kills the process */
	return NULL;
}

static int thread_start(void *context, struct err *e UNUSED)
{
	int r = pthread_create(context, NULL, thread_try, NULL);

	if (r == 0)
		pthread_barrier_wait(&barrier);
	return -r;
}

/* The parent sees the end of the process, with nothing told. */
static const char *threads(void)
{
	static const struct call calls[] = {CALL(futex), CALL_END};
	pthread_t thread;
	const struct jail_config config = {
		.name = "test",
		.calls = calls,
		.ns = &jail_ns_spawned,
		.report_fd = SPAWN_FD_REPORT,
		.before_filter = thread_start,
		.context = &thread,
	};
	struct err e;

	pthread_barrier_init(&barrier, NULL, 2);
	if (jail_enter(&config, &e) < 0)
		return SAY("%s", e.text);
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	return "a thread made a call that the filter refuses";
}

/* The policy allows uname, which the list does not, and not getcwd, which the list does. */
static const char *policy(void)
{
	static const char text[] = "write: 1\nexit_group: 1\nuname: return EPERM\n";
	static const struct call calls[] = {CALL(getcwd), CALL_END};
	const struct jail_config config = {
		.name = "test",
		.calls = calls,
		.ns = &jail_ns_spawned,
		.policy_path = "/proc/self/fd/5",
		.report_fd = SPAWN_FD_REPORT,
	};
	struct err e;

	if (memfd_create("test_device.policy", MFD_CLOEXEC) != SCRATCH ||
	    write(SCRATCH, text, strlen(text)) < 0)
		return "no policy";
	if (jail_enter(&config, &e) < 0)
		return SAY("%s", e.text);
	if (syscall(SYS_uname, NULL) == 0 || errno != EPERM)
		return "the policy is not in force";
	syscall(SYS_getcwd, NULL, 0);
	return "the list is in force beside the policy";
}

static const char *no_policy(void)
{
	const struct jail_config config = {
		.name = "test",
		.ns = &jail_ns_spawned,
		.policy_path = "/nonexistent/test_device.policy",
		.report_fd = -1,
	};
	struct err e;

	if (jail_enter(&config, &e) != -ENOENT)
		return "no error";
	return strcmp(e.text,
		      "jail of test: /nonexistent/test_device.policy: cannot open the policy: "
		      "No such file or directory; check the path") == 0
		       ? NULL
		       : SAY("%s", e.text);
}

static int hook_fail(void *context UNUSED, struct err *e)
{
	return err_say(e, EIO, "the hook does not hold");
}

static const char *bad_hook(void)
{
	const struct jail_config config = {
		.name = "test",
		.ns = &jail_ns_spawned,
		.report_fd = -1,
		.before_filter = hook_fail,
	};
	struct err e;

	if (jail_enter(&config, &e) != -EIO)
		return "no error";
	return strcmp(e.text, "jail of test: the hook does not hold") == 0 ? NULL
									   : SAY("%s", e.text);
}

static const char *child_look(const char *mode, char **host)
{
	if (strcmp(mode, "look") == 0)
		return look(host, false);
	if (strcmp(mode, "look-alone") == 0)
		return look(host, true);
	if (strcmp(mode, "threads") == 0)
		return threads();
	if (strcmp(mode, "policy") == 0)
		return policy();
	if (strcmp(mode, "no-policy") == 0)
		return no_policy();
	if (strcmp(mode, "bad-hook") == 0)
		return bad_hook();
	return "what?";
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_jailed_process_has_nothing),
		cmocka_unit_test(a_container_with_one_id_will_do),
		cmocka_unit_test(what_is_made_alone_is_as_empty),
		cmocka_unit_test(threads_of_the_last_hook_are_filtered_too),
		cmocka_unit_test(a_policy_replaces_the_lists),
		cmocka_unit_test(a_missing_policy_is_an_error),
		cmocka_unit_test(a_failing_hook_is_an_error),
	};

	if (argc > 2) {
		const char *wrong = child_look(argv[1], argv + 2);

		run_write(TELL, wrong ? wrong : "ok");
		_exit(0); /* no sanitizer's leak check, which can't work here */
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
