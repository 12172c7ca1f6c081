/* SPDX-License-Identifier: BSD-3-Clause */
/* attr.h - what we ask of the compiler.  The only place, with wire.h, that may say #if. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PRINTF(format_arg, first_arg) __attribute__((format(printf, format_arg, first_arg)))
#define MUST_CHECK		      __attribute__((warn_unused_result))
#define NORETURN		      _Noreturn
#define UNUSED			      __attribute__((unused))
#define CLEANUP(function)	      __attribute__((cleanup(function)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The object of which *ptr is the member; ptr must point into one. */
#define container_of(ptr, type, member) \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/*
 * GUEST marks a pointer into memory that the guest can change at any moment.  Dereferencing one is
 * an error under clang and sparse; only mem/gmem.c and virtio/vq.c lift the mark.
 */
#if defined(__CHECKER__)
#define GUEST __attribute__((noderef, address_space(1)))
#define FORCE __attribute__((force))
#elif defined(__clang__)
#define GUEST __attribute__((noderef))
#define FORCE
#else
#define GUEST
#define FORCE
#endif

/*
 * Which lock guards a field, and which a function wants held: for the reader.  Clang's analysis
 * can't serve here: in C it cannot name another member, and pthread_mutex_t is not annotated.
 */
#define GUARDED_BY(lock)
#define REQUIRES(lock)

/*
 * MEMORY_WRITTEN tells MSan what was written where it does not look, by a library built without it
 * or by the kernel through a ring, and MEMORY_READ what such a library is about to read.  Nothing
 * in any other build.
 */
#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#include <sanitizer/msan_interface.h>
#define MEMORY_WRITTEN(at, bytes) __msan_unpoison(at, bytes)
#define MEMORY_READ(at, bytes)	  __msan_check_mem_is_initialized(at, bytes)
#endif
#endif
#ifndef MEMORY_WRITTEN
#define MEMORY_WRITTEN(at, bytes) ((void)0)
#define MEMORY_READ(at, bytes)	  ((void)0)
#endif

/* Set in builds that rewrite guest memory after every copy, see mem/gmem.h. */
#ifdef GMEM_HOSTILE
enum { GMEM_IS_HOSTILE = 1 };
#else
enum { GMEM_IS_HOSTILE = 0 };
#endif
