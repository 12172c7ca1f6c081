/* SPDX-License-Identifier: BSD-3-Clause */
/* run.c - lets a machine run until something ends it */
#include "base/exit_codes.h"
#include "base/log.h"
#include "chip/terminal.h"
#include "vm/confine.h"
#include "vm/machine.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define SILENCE_NS UINT64_C(10000000000)

/* Where KVM interprets the guest's kernel, nothing at all happens for a long time: say why. */
static void silence_noticed(struct timer *t)
{
	const struct machine *m = container_of(t, struct machine, silence);

	if (m->is_suspended)
		return;
	for (unsigned i = 0; i < m->cpus.count; i++)
		for (unsigned n = 0; n < CPU_COUNTERS; n++)
			if (counter_get(&m->cpus.cpu[i].counters[n]) > 0)
				return;
	log_warn("nothing was heard of the guest for 10 s; crosvm check tells whether this KVM can "
		 "run its kernel");
}

static void signal_ready(struct watch *w, uint32_t events)
{
	struct machine *m = container_of(w, struct machine, signals);
	struct signalfd_siginfo info;

	(void)events;
	if (read(w->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	m->is_unwanted = true;
	machine_end(m, EXIT_CODE_SIGNAL + (int)info.ssi_signo, "stopped by SIG%s",
		    sigabbrev_np((int)info.ssi_signo));
}

static sigset_t ending_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	return set;
}

/* Until the guest runs they end us the short way. */
static void signals_block(void)
{
	sigset_t set = ending_signals();

	sigaddset(&set, SIGWINCH); /* a console in a thread of ours waits for it */
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/* The signals that end us come through the loop, so that everything is put back in order. */
static int signals_watch(struct machine *m, struct err *e)
{
	const sigset_t set = ending_signals();
	int r;

	signal(SIGPIPE, SIG_IGN);
	m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (m->signal_fd < 0)
		return err_set(e, errno, "cannot watch signals");
	m->signals = (struct watch){.fd = m->signal_fd, .ready = signal_ready};
	r = loop_add(&m->loop, &m->signals, EPOLLIN);
	return r < 0 ? err_set(e, -r, "cannot watch signals") : 0;
}

static bool uses_terminal(const struct machine *m)
{
	return config_has_stdio_serial(m->config) || config_has_stdio_device(m->config);
}

/* Devices open their files and jail themselves while main does, and the guest begins. */
static int start(struct machine *m, int *ret_code, struct err *e)
{
	int r = signals_watch(m, e);

	*ret_code = EXIT_CODE_ERROR;
	if (r == 0 && uses_terminal(m))
		r = terminal_take(STDIN_FILENO, e);
	if (r == 0)
		r = confine(m, e);
	if (r < 0)
		return r;
	*ret_code = EXIT_CODE_BUILD;
	signals_block();
	m->started_ns = clock_ns();
	trace(TRACE_VM, TRACE_VM_RUNS, 0, 0, 0);
	recorder_state_set(&m->recorder, RECORDER_RUNS, 0, "");
	timer_set(&m->silence, SILENCE_NS, 0);
	cpus_resume(&m->cpus);
	r = devices_wait(m, e);
	if (r == 0 && m->config->socket)
		r = control_start(&m->control, e);
	return r;
}

/* For whoever wants to know what led to it. */
static void record_end(struct machine *m, int code) REQUIRES(m->end_lock)
{
	bool is_bad = m->started_ns > 0 && postmortem_is_due(code); /* else: one line */

	trace(TRACE_VM, TRACE_VM_ENDS, 0, (uint64_t)code, 0);
	recorder_state_set(&m->recorder, is_bad ? RECORDER_ENDED_BADLY : RECORDER_ENDED_WELL, code,
			   m->why);
	if (is_bad)
		postmortem_tell(&m->postmortem);
}

/* What the guest still had to say, then why it ended. */
static int finish(struct machine *m)
{
	int code;

	devices_give_up(m); /* a vCPU may be waiting for one */
	cpus_stop(&m->cpus);
	for (unsigned i = 0; i < m->nserial_ports; i++)
		serial_port_flush(&m->serial_ports[i], 1000);
	terminal_release();
	pthread_mutex_lock(&m->end_lock);
	code = m->exit_code;
	record_end(m, code); /* before the reason, which is to be the last line */
	if (m->why[0] != '\0' && code != EXIT_CODE_KVM) /* said where it happened */
		log_info("%s", m->why);
	pthread_mutex_unlock(&m->end_lock);
	timer_fini(&m->silence, &m->loop);
	return code;
}

/* A guest that has come to an end before a device of its failed did not run at all. */
static int fail(struct machine *m, int code, const struct err *e)
{
	pthread_mutex_lock(&m->end_lock);
	m->has_ended = true;
	m->exit_code = code;
	m->why[0] = '\0';
	pthread_mutex_unlock(&m->end_lock);
	finish(m);
	if (e->text[0] != '\0')
		log_error("%s", e->text);
	return code;
}

static bool has_ended(struct machine *m)
{
	bool ended;

	pthread_mutex_lock(&m->end_lock);
	ended = m->has_ended;
	pthread_mutex_unlock(&m->end_lock);
	return ended;
}

int machine_run(struct machine *m)
{
	struct err e = {0};
	int code = EXIT_CODE_ERROR;
	int r = timer_init(&m->silence, &m->loop, silence_noticed);

	r = r < 0 ? err_set(&e, -r, "cannot make a timer") : start(m, &code, &e);
	if (r < 0)
		return fail(m, code, &e);
	if (!has_ended(m)) /* while devices were waited for */
		r = loop_run(&m->loop);
	if (r < 0)
		machine_end(m, EXIT_CODE_ERROR, "the event loop failed: %s", strerror(-r));
	return finish(m);
}
