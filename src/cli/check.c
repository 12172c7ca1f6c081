/* SPDX-License-Identifier: BSD-3-Clause */
/* check.c - what the host has and lacks, and the command that mends each */
#include "cli/command.h"

#include "base/exit_codes.h"

#include "arch/probe.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/rootfs.h"
#include "cli/tool.h"
#include "kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEXT_MAX = 400, KERNEL_MAJOR = 5, KERNEL_MINOR = 10, REPLY_MAX = 32768 };

struct finding {
	bool is_there;
	char text[TEXT_MAX]; /* what was found */
	const char *remedy;  /* a command or two words of advice; NULL for none */
};

struct check {
	const char *name;       /* for --json; stable */
	const char *needed_for; /* NULL: everything */
	void (*look)(struct finding *f);
};

static PRINTF(2, 3) void found(struct finding *f, const char *format, ...)
{
	va_list args;

	f->is_there = true;
	va_start(args, format);
	vsnprintf(f->text, sizeof(f->text), format, args);
	va_end(args);
}

static PRINTF(3, 4) void lacks(struct finding *f, const char *remedy, const char *format, ...)
{
	va_list args;

	f->is_there = false;
	f->remedy = remedy;
	va_start(args, format);
	vsnprintf(f->text, sizeof(f->text), format, args);
	va_end(args);
}

static void look_kernel(struct finding *f)
{
	struct utsname name;
	unsigned long major, minor;
	char *end;

	uname(&name);
	major = strtoul(name.release, &end, 10);
	minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
	if (major > KERNEL_MAJOR || (major == KERNEL_MAJOR && minor >= KERNEL_MINOR))
		found(f, "Linux %s", name.release);
	else
		lacks(f, "boot a newer kernel: sudo apt install linux-image-amd64",
		      "Linux %s; %d.%d or newer is needed",
		      name.release, KERNEL_MAJOR, KERNEL_MINOR);
}

static void look_kvm(struct finding *f)
{
	auto_fd fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int errnum = errno;
	struct kvm k = {.fd = -1};
	struct err e = {0};

	if (fd < 0 && (errnum == EACCES || errnum == EPERM)) {
		lacks(f, "sudo usermod -aG kvm $USER, then log in again",
		      "/dev/kvm: no permission to open it");
	} else if (fd < 0) {
		lacks(f,
		      "sudo modprobe kvm-intel || sudo modprobe kvm-amd; enable virtualization in "
		      "the firmware, or nesting in the outer hypervisor",
		      "/dev/kvm: %s", strerror(errnum));
	} else if (kvm_open(&k, "/dev/kvm", &e) < 0) {
		lacks(f, "boot a newer kernel", "%s", e.text);
	} else {
		found(f, "/dev/kvm opens, %d vCPUs at most", kvm_capability(&k, KVM_CAP_MAX_VCPUS));
	}
	kvm_close(&k);
}

static const struct {
	int capability;
	const char *name;
} capabilities[] = {
	{KVM_CAP_IRQCHIP, "irqchip"},
	{KVM_CAP_IRQFD, "irqfd"},
	{KVM_CAP_IOEVENTFD, "ioeventfd"},
	{KVM_CAP_USER_MEMORY, "user memory"},
	{KVM_CAP_IMMEDIATE_EXIT, "immediate exit"},
	{KVM_CAP_SIGNAL_MSI, "MSI"},
};

static void look_capabilities(struct finding *f)
{
	char missing[TEXT_MAX / 2] = "";
	struct kvm k = {.fd = -1};
	struct err e = {0};
	size_t used = 0;

	if (kvm_open(&k, "/dev/kvm", &e) < 0) {
		lacks(f, NULL, "cannot be told without /dev/kvm");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(capabilities) && used < sizeof(missing); i++)
		if (kvm_capability(&k, capabilities[i].capability) <= 0)
			used += (size_t)snprintf(missing + used, sizeof(missing) - used, "%s%s",
						 used ? ", " : "", capabilities[i].name);
	kvm_close(&k);
	if (used > 0)
		lacks(f, "boot a newer kernel", "KVM lacks: %s", missing);
	else
		found(f, "KVM has all %zu that are needed", ARRAY_LEN(capabilities));
}

static void look_probe(struct finding *f)
{
	static const char remedy[] = "use a host with VT-x or AMD-V of its own, or ./dev testbed";
	struct arch_probe p = {0};
	struct kvm k = {.fd = -1};
	struct err e = {0};

	if (kvm_open(&k, "/dev/kvm", &e) < 0) {
		lacks(f, NULL, "cannot be told without /dev/kvm");
		return;
	}
	if (arch_probe(&k, &p, &e) < 0)
		lacks(f, remedy, "a guest of a few instructions fails: %s", e.text);
	else if (p.refused[0])
		lacks(f, remedy, "KVM refuses in the guest's kernel: %s (speed %.1f M loops/s)",
		      p.refused, (double)p.loops_per_second / 1e6);
	else if (!p.runs_kernels)
		lacks(f, remedy, "KVM interprets the guest's kernel: %.1f M loops/s",
		      (double)p.loops_per_second / 1e6);
	else
		found(f, "guest kernels run at %.0f M loops/s", (double)p.loops_per_second / 1e6);
	kvm_close(&k);
}

/* What a child gets from unshare(flags): 0 or an errno value. */
static int try_unshare(int flags)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0)
		_exit(unshare(flags) < 0 ? errno & 0x7F : 0);
	if (child < 0)
		return errno;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

static bool is_file_text(const char *path, const char *text)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	char buf[16] = "";

	return fd >= 0 && read(fd, buf, sizeof(buf) - 1) > 0 &&
	       strncmp(buf, text, strlen(text)) == 0;
}

static void look_namespaces(struct finding *f)
{
	const int others = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
	int errnum = try_unshare(CLONE_NEWUSER | others);

	if (errnum == 0)
		found(f, "user, mount, process, network, IPC and UTS namespaces can be made");
	else if (is_file_text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"))
		lacks(f, "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
		      "AppArmor forbids user namespaces");
	else if (is_file_text("/proc/sys/kernel/unprivileged_userns_clone", "0"))
		lacks(f, "sudo sysctl kernel.unprivileged_userns_clone=1",
		      "user namespaces are reserved to root");
	else if (is_file_text("/proc/sys/user/max_user_namespaces", "0"))
		lacks(f, "sudo sysctl user.max_user_namespaces=10000",
		      "the limit of user namespaces is 0");
	else
		lacks(f,
		      "in a container, allow it clone and unshare of namespaces, or use "
		      "crosvm run --disable-sandbox",
		      "user namespaces: %s", strerror(errnum));
}

static void look_seccomp(struct finding *f)
{
	const unsigned kill = SECCOMP_RET_KILL_PROCESS;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &kill) == 0)
		found(f, "system calls can be filtered");
	else
		lacks(f, "boot a kernel with CONFIG_SECCOMP_FILTER", "seccomp: %s",
		      strerror(errno));
}

static void look_memfd(struct finding *f)
{
	auto_fd fd = memfd_create("check", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0)
		found(f, "sealed memory files can be made");
	else
		lacks(f, "boot a kernel with CONFIG_MEMFD_CREATE", "memfd: %s", strerror(errno));
}

static void look_io_uring(struct finding *f)
{
	struct io_uring_params params = {0};
	auto_fd fd = (int)syscall(SYS_io_uring_setup, 1, &params);

	if (fd >= 0)
		found(f, "io_uring works");
	else if (errno == EPERM)
		lacks(f, "sudo sysctl kernel.io_uring_disabled=0", "io_uring: not permitted");
	else
		lacks(f, "boot a kernel with CONFIG_IO_URING", "io_uring: %s", strerror(errno));
}

static void look_huge_pages(struct finding *f)
{
	auto_fd fd = memfd_create("check", MFD_CLOEXEC | MFD_HUGETLB);

	if (fd < 0)
		lacks(f, "boot a kernel with CONFIG_HUGETLBFS", "huge pages: %s", strerror(errno));
	else if (is_file_text("/proc/sys/vm/nr_hugepages", "0"))
		lacks(f, "sudo sysctl vm.nr_hugepages=512", "no huge pages are set aside");
	else
		found(f, "huge pages are set aside");
}

/* A device file that must open for reading and writing. */
static void look_device(struct finding *f, const char *path, const char *load, const char *allow)
{
	auto_fd fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		found(f, "%s opens", path);
	else
		lacks(f, errno == EACCES || errno == EPERM ? allow : load, "%s: %s", path,
		      strerror(errno));
}

static void look_tun(struct finding *f)
{
	look_device(f, "/dev/net/tun", "sudo modprobe tun", "sudo chmod 0666 /dev/net/tun");
}

static void look_vhost_net(struct finding *f)
{
	look_device(f, "/dev/vhost-net", "sudo modprobe vhost_net",
		    "sudo setfacl -m u:$USER:rw /dev/vhost-net");
}

static void look_vhost_vsock(struct finding *f)
{
	look_device(f, "/dev/vhost-vsock", "sudo modprobe vhost_vsock",
		    "sudo setfacl -m u:$USER:rw /dev/vhost-vsock");
}

static void look_rootfs(struct finding *f)
{
	const struct rootfs_tool *t = rootfs_tools;
	char path[TOOL_PATH_MAX];

	while (t->name && tool_find(t->name, path, sizeof(path)) == 0)
		t++;
	if (!t->name)
		found(f, "mksquashfs, sqfstar and modprobe are installed");
	else
		lacks(f, "sudo apt install squashfs-tools kmod", "%s: not found", t->name);
}

static void look_passt(struct finding *f)
{
	char path[TOOL_PATH_MAX];

	if (tool_find("passt", path, sizeof(path)) == 0)
		found(f, "%s is installed", path);
	else
		lacks(f, "sudo apt install passt", "passt: not found");
}

static const struct check checks[] = {
	{"kernel", NULL, look_kernel},
	{"kvm", NULL, look_kvm},
	{"kvm-capabilities", NULL, look_capabilities},
	{"kvm-kernels", NULL, look_probe},
	{"namespaces", NULL, look_namespaces},
	{"seccomp", NULL, look_seccomp},
	{"memfd", NULL, look_memfd},
	{"io-uring", "fast disks; threads are used without", look_io_uring},
	{"huge-pages", "large guests", look_huge_pages},
	{"tun", "networks", look_tun},
	{"vhost-net", "networks in the kernel", look_vhost_net},
	{"vhost-vsock", "virtual sockets", look_vhost_vsock},
	{"rootfs", "--rootfs", look_rootfs},
	{"passt", "--net user", look_passt},
};

static void print_finding(const struct check *c, const struct finding *f)
{
	const char *verdict = f->is_there ? "ok" : c->needed_for ? "no" : "LACKS";

	printf("%-6s %-17s %s", verdict, c->name, f->text);
	if (!f->is_there && c->needed_for)
		printf(" (for %s)", c->needed_for);
	putchar('\n');
	if (!f->is_there && f->remedy)
		printf("%-24s to mend: %s\n", "", f->remedy);
}

static void put_finding(const struct check *c, const struct finding *f, struct json *j)
{
	json_open(j, NULL, '{');
	json_text(j, "name", c->name);
	json_bool(j, "ok", f->is_there);
	json_bool(j, "required", !c->needed_for);
	json_text(j, "text", f->text);
	if (f->remedy)
		json_text(j, "remedy", f->remedy);
	json_close(j, '}');
}

static int check_all(bool as_json)
{
	static char reply[REPLY_MAX];
	bool is_fit = true;
	struct json j;

	json_init(&j, reply, sizeof(reply));
	json_open(&j, NULL, '{');
	json_open(&j, "checks", '[');
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		struct finding f = {0};

		checks[i].look(&f);
		is_fit = is_fit && (f.is_there || checks[i].needed_for);
		put_finding(&checks[i], &f, &j);
		if (!as_json)
			print_finding(&checks[i], &f);
	}
	json_close(&j, ']');
	json_bool(&j, "ok", is_fit);
	json_close(&j, '}');
	if (as_json)
		puts(reply);
	else
		puts(is_fit ? "This host has what crosvm run needs."
			    : "This host lacks something that crosvm run needs.");
	return is_fit ? EXIT_CODE_OK : EXIT_CODE_HOST;
}

int command_check(int argc, char **argv)
{
	bool as_json = false;
	int code = command_read_json("check", argc, argv, &as_json);

	return code == COMMAND_GOES_ON ? check_all(as_json) : code;
}
