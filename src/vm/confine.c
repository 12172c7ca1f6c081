/* SPDX-License-Identifier: BSD-3-Clause */
/* confine.c - the main process's own jail */
#include "vm/confine.h"

#include "base/leftover.h"
#include "jail/jail.h"
#include "vm/machine.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Open files of the largest machine: 64 devices of 32 queues with two eventfds each, and room. */
enum { MAIN_FDS_MAX = 8192 };

/* The guest's accesses, and what chips and transports make of them. */
static struct call vcpu_calls[] = {
	CALL_ARG(ioctl, 1, KVM_RUN),
	CALL_ARG(ioctl, 1, KVM_IRQ_LINE),
	CALL_ARG(ioctl, 1, KVM_IRQFD),
	CALL_ARG(ioctl, 1, KVM_IOEVENTFD),
	CALL_ARG(ioctl, 1, KVM_SET_GSI_ROUTING),
	CALL_ARG(ioctl, 1, KVM_SIGNAL_MSI),
	/* a device is asked, the loop is told */
	CALL(read),
	CALL(write),
	CALL(sendmsg),
	CALL(recvmsg),
	CALL(shutdown), /* of one that does not play along */
	CALL(poll),
	CALL(ppoll),
	CALL(epoll_ctl),
	CALL(close),
	CALL(futex),
	CALL(clock_gettime),
	CALL(timerfd_settime),
	/* the log of a device's requests comes as a memfd, and is cleared */
	CALL(pwrite64),
	CALL_ARG(fcntl, 1, F_GET_SEALS),
	CALL(fstat),
	CALL(newfstatat),
	/* signals, its last words, its end */
	CALL(rt_sigreturn),
	CALL(rt_sigprocmask),
	CALL(restart_syscall),
	CALL_ARG(ioctl, 1, KVM_GET_REGS),
	CALL_ARG(ioctl, 1, KVM_GET_SREGS),
	CALL_ARG(ioctl, 1, KVM_TRANSLATE),
	/* of a crash: the terminal as it was */
	CALL_ARG(ioctl, 1, TCGETS),
	CALL_ARG(ioctl, 1, TCSETS),
	CALL_ARG(ioctl, 1, TIOCGPGRP),
	CALL(getpgrp),
	CALL(getpgid),
	CALL(madvise),
	CALL(munmap),
	CALL(exit),
	CALL(exit_group),
	CALL_ARG(tgkill, 0, 0 /* the process itself, see own_pid_set() */),
	CALL(gettid),
	CALL(getpid),
	CALL_END,
};

/* What the loop does besides. */
static const struct call loop_calls[] = {
	/* vCPU threads: their filter, suspend and resume */
	CALL(seccomp),
	CALL_ARG(ioctl, 1, KVM_KVMCLOCK_CTRL),
	/* devices that are started again */
	CALL(socketpair),
	CALL(setsockopt),
	CALL_ARG(fcntl, 1, F_GETFL),
	CALL_ARG(fcntl, 1, F_SETFL),
	CALL_ARG(fcntl, 1, F_DUPFD_CLOEXEC), /* a client of a serial port writes and reads */
	CALL(waitid),
	CALL(pidfd_send_signal),
	CALL(eventfd2),
	CALL(pread64), /* the host's memory, for the balloon */
	/* clients of the control socket and of serial ports */
	CALL(accept4),
	CALL(recvfrom),
	CALL(sendto),
	/* the terminal */
	CALL_ARG(ioctl, 1, FIONREAD),
	CALL(rt_sigaction),
	/* memory of the C library, without executable pages */
	CALL(brk),
	CALL_BITS(mmap, 2, PROT_READ | PROT_WRITE),
	CALL_BITS(mprotect, 2, PROT_READ | PROT_WRITE),
	CALL(mremap),
	CALL(lseek),
	CALL_END,
};

/* Main is in the host's PID namespace, where it could signal other processes of its user. */
static void own_pid_set(struct call *calls)
{
	for (struct call *c = calls; c->name; c++)
		if (strcmp(c->name, "tgkill") == 0)
			c->cond[0].value = (uint64_t)getpid();
}

static int threads_start(void *context, struct err *e)
{
	struct machine *m = context;

	return cpus_start(&m->cpus, e);
}

/* The filter of the process must let pass what the threads' filter does. */
static const struct call *main_calls(void)
{
	static struct call both[ARRAY_LEN(vcpu_calls) + ARRAY_LEN(loop_calls) - 1];

	memcpy(both, vcpu_calls, sizeof(vcpu_calls) - sizeof(vcpu_calls[0]));
	memcpy(both + ARRAY_LEN(vcpu_calls) - 1, loop_calls, sizeof(loop_calls));
	return both;
}

int confine(struct machine *m, struct err *e)
{
	struct jail_config config = {
		.name = "main",
		.ns = &m->devices.spawner.ns,
		.report_fd = -1,
		.max_fds = MAIN_FDS_MAX,
		.writes_files = true,   /* --serial file */
		.kernel_threads = true, /* KVM makes one at the first KVM_RUN, since Linux 6.13 */
		.before_filter = threads_start,
		.context = m,
	};

	if (!m->config->sandbox)
		return cpus_start(&m->cpus, e);
	own_pid_set(vcpu_calls);
	config.calls = main_calls();
	m->vcpu_filter = seccomp_prepare(vcpu_calls, e);
	if (!m->vcpu_filter)
		return -e->code;
	leftovers_forget(); /* the process that starts devices again removes them at the end */
	return jail_enter(&config, e);
}

int confine_vcpu(void *context, struct err *e)
{
	const struct machine *m = context;

	return m->vcpu_filter ? seccomp_thread_load(m->vcpu_filter, e) : 0;
}
