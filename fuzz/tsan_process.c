/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tsan_process.c - for clang 14's TSan, which is at a loss with processes that jail themselves
 *
 * Its clone() takes every child for one of fork(), also one that shares our memory until it
 * executes something.  And its own thread, which only watches over its memory, keeps a process from
 * making a user namespace.
 */
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/types.h>

int __clone(int (*run)(void *), void *stack, int flags, void *arg, ...);
void *__wrap__ZN11__sanitizer21internal_start_threadEPFPvS0_ES0_(void *(*run)(void *), void *arg);

int clone(int (*run)(void *), void *stack, int flags, void *arg, ...)
{
	va_list more;
	pid_t *parent_tid;
	void *tls;
	pid_t *child_tid;

	va_start(more, arg);
	parent_tid = va_arg(more, pid_t *);
	tls = va_arg(more, void *);
	child_tid = va_arg(more, pid_t *);
	va_end(more);
	return __clone(run, stack, flags, arg, parent_tid, tls, child_tid);
}

/* NULL: there is none. */
void *__wrap__ZN11__sanitizer21internal_start_threadEPFPvS0_ES0_(void *(*run)(void *), void *arg)
{
	(void)run;
	(void)arg;
	return NULL;
}
