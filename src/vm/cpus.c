/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cpus.c - the vCPU threads
 *
 * What a thread shall do is cpus.wanted.  To be heard, the main thread sets it, sets immediate_exit
 * in the vCPU's shared page and sends a signal: a thread that is in KVM_RUN is interrupted by the
 * signal, one that is about to enter sees immediate_exit; either way KVM_RUN returns EINTR.
 *
 *  I1  A thread clears immediate_exit before it reads wanted, so no wish is lost.
 *  I2  wanted never leaves CPU_STOP.
 *  I3  KVM_RUN completes a port or memory access only when it is entered again; entering with
 *      immediate_exit completes it and returns, so a paused vCPU has none pending.
 */
#include "vm/cpus.h"

#include "vm/exits.h"

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void ignore_signal(int number)
{
	(void)number;
}

static int kick_signal(void)
{
	return SIGRTMIN;
}

int cpus_init(struct cpus *all, struct vm *vm, unsigned count, struct bus *ports, struct bus *mmio,
	      const struct cpus_events *events, struct err *e)
{
	int r;

	*all = (struct cpus){.ports = ports, .mmio = mmio, .vm = vm, .events = *events};
	pthread_mutex_init(&all->lock, NULL);
	pthread_cond_init(&all->changed, NULL);
	all->wanted = CPU_PAUSE;
	all->cpu = aligned_alloc(_Alignof(struct cpu), count * sizeof(*all->cpu));
	if (!all->cpu)
		return err_set(e, ENOMEM, "cannot keep %u vCPUs", count);
	memset(all->cpu, 0, count * sizeof(*all->cpu));
	for (unsigned i = 0; i < count; i++) {
		all->cpu[i].all = all;
		r = vcpu_init(&all->cpu[i].vcpu, vm, i, e);
		if (r < 0)
			return r;
		all->count++;
	}
	return 0;
}

void cpus_fini(struct cpus *all)
{
	if (!all || !all->cpu)
		return;
	cpus_stop(all);
	for (unsigned i = 0; i < all->count; i++)
		vcpu_fini(&all->cpu[i].vcpu);
	free(all->cpu);
	all->cpu = NULL;
	all->count = 0;
	pthread_cond_destroy(&all->changed);
	pthread_mutex_destroy(&all->lock);
}

/* Waits while the vCPU is to be paused; false when it is to end. */
static bool may_run(struct cpu *c)
{
	struct cpus *all = c->all;
	bool run;

	pthread_mutex_lock(&all->lock);
	if (all->wanted == CPU_PAUSE) {
		all->waiting++;
		pthread_cond_broadcast(&all->changed);
		while (all->wanted == CPU_PAUSE)
			pthread_cond_wait(&all->changed, &all->lock);
		all->waiting--;
	}
	run = all->wanted == CPU_RUN;
	pthread_mutex_unlock(&all->lock);
	return run;
}

/* The VM is ending because of this vCPU: nothing more to run, but the thread must be joinable. */
static void wait_for_stop(struct cpu *c)
{
	struct cpus *all = c->all;

	pthread_mutex_lock(&all->lock);
	all->waiting++;
	pthread_cond_broadcast(&all->changed);
	while (all->wanted != CPU_STOP)
		pthread_cond_wait(&all->changed, &all->lock);
	all->waiting--;
	pthread_mutex_unlock(&all->lock);
}

static void run_until_told(struct cpu *c)
{
	while (may_run(c)) {
		int r = 0;

		while (r == 0) {
			r = vcpu_run(&c->vcpu);
			exit_count(c, r);
			if (r == 0 && !exit_handle(c)) {
				wait_for_stop(c);
				return;
			}
		}
		if (r != -EINTR && r != -EAGAIN) {
			exit_run_failed(c, -r);
			wait_for_stop(c);
			return;
		}
		vcpu_immediate_exit(&c->vcpu, false); /* I1 */
	}
}

static void name_set(const struct cpu *c)
{
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", c->vcpu.index);
	pthread_setname_np(pthread_self(), name);
}

static void *cpu_thread(void *argument)
{
	struct cpu *c = argument;
	struct cpus *all = c->all;
	struct err e = {0};

	name_set(c);
	trace_begin(c->trace);
	if (!may_run(c))
		return NULL;
	if (all->events.thread_begins && all->events.thread_begins(all->events.context, &e) < 0) {
		all->events.ended(all->events.context, c, CPU_END_KVM_ERROR, e.text);
		wait_for_stop(c);
		return NULL;
	}
	run_until_told(c);
	return NULL;
}

/* Threads take the signal that interrupts KVM_RUN, and those of a crash of their own. */
static void mask_for_threads(sigset_t *ret_old)
{
	static const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT, SIGSYS, SIGILL, SIGFPE, SIGTRAP};
	sigset_t all_but_kick;

	sigfillset(&all_but_kick);
	sigdelset(&all_but_kick, kick_signal());
	for (size_t i = 0; i < ARRAY_LEN(crashes); i++)
		sigdelset(&all_but_kick, crashes[i]);
	pthread_sigmask(SIG_SETMASK, &all_but_kick, ret_old);
}

static unsigned threads(const struct cpus *all)
{
	unsigned n = 0;

	for (unsigned i = 0; i < all->count; i++)
		n += all->cpu[i].has_thread;
	return n;
}

/* All threads there are wait for wanted to become CPU_RUN, or it is CPU_STOP. */
static void wait_until_parked(struct cpus *all)
{
	unsigned n = threads(all);

	pthread_mutex_lock(&all->lock);
	while (all->wanted == CPU_PAUSE && all->waiting < n)
		pthread_cond_wait(&all->changed, &all->lock);
	pthread_mutex_unlock(&all->lock);
}

enum { THREAD_STACK_BYTES = 256 << 10 };

int cpus_start(struct cpus *all, struct err *e)
{
	struct sigaction action = {.sa_handler = ignore_signal};
	pthread_attr_t attr;
	sigset_t old;
	int r = 0;

	sigaction(kick_signal(), &action, NULL);
	mask_for_threads(&old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
	for (unsigned i = 0; i < all->count && r == 0; i++) {
		struct cpu *c = &all->cpu[i];

		r = pthread_create(&c->thread, &attr, cpu_thread, c);
		c->has_thread = r == 0;
	}
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		wait_until_parked(all);
	return r == 0 ? 0 : err_set(e, r, "cannot start the threads of %u vCPUs", all->count);
}

static void kick_all(struct cpus *all)
{
	for (unsigned i = 0; i < all->count; i++) {
		struct cpu *c = &all->cpu[i];

		if (!c->has_thread)
			continue;
		vcpu_immediate_exit(&c->vcpu, true);
		pthread_kill(c->thread, kick_signal());
	}
}

void cpus_pause(struct cpus *all)
{
	pthread_mutex_lock(&all->lock);
	if (all->wanted == CPU_RUN)
		all->wanted = CPU_PAUSE;
	pthread_mutex_unlock(&all->lock);
	kick_all(all);
	wait_until_parked(all);
}

void cpus_resume(struct cpus *all)
{
	/* Lets the guest's watchdogs know that time passed without it; guests without kvmclock have
	 * nothing to tell (EINVAL). */
	for (unsigned i = 0; i < all->count; i++)
		if (vcpu_ioctl(&all->cpu[i].vcpu, KVM_KVMCLOCK_CTRL, NULL) < 0)
			break;
	pthread_mutex_lock(&all->lock);
	if (all->wanted == CPU_PAUSE)
		all->wanted = CPU_RUN;
	pthread_cond_broadcast(&all->changed);
	pthread_mutex_unlock(&all->lock);
}

void cpus_stop(struct cpus *all)
{
	pthread_mutex_lock(&all->lock);
	all->wanted = CPU_STOP;
	pthread_cond_broadcast(&all->changed);
	pthread_mutex_unlock(&all->lock);
	kick_all(all);
	for (unsigned i = 0; i < all->count; i++) {
		struct cpu *c = &all->cpu[i];

		if (c->has_thread)
			pthread_join(c->thread, NULL);
		c->has_thread = false;
	}
}
