/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * kernel_file.h - the file that a kernel comes in
 *
 * Its first bytes are read once; everything else goes straight to guest memory.  All offsets and
 * sizes that come out of the file are checked against its size here.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"
#include "mem/gmem.h"

#include <stdint.h>

/* A multiboot header lies within the first 8 KiB; so does the whole of Linux's setup header. */
enum { KERNEL_HEAD_BYTES = 8192 };

struct kernel_file {
	const char *path; /* for messages */
	int fd;           /* borrowed */
	uint64_t size;
	size_t head_bytes;               /* fewer than KERNEL_HEAD_BYTES for a small file */
	uint8_t head[KERNEL_HEAD_BYTES]; /* zeros behind head_bytes */
};

/* Reads the head.  Errors name the path. */
int kernel_file_init(struct kernel_file *f, const char *path, int fd, struct err *e) MUST_CHECK;

/* Copies n bytes at an offset into buf; what names them in the error. */
int kernel_file_read(const struct kernel_file *f, uint64_t at, void *buf, size_t n,
		     const char *what, struct err *e) MUST_CHECK;

/* Reads n bytes at an offset into guest memory. */
int kernel_file_load(const struct kernel_file *f, uint64_t at, uint64_t n, struct gmem *m, gpa to,
		     const char *what, struct err *e) MUST_CHECK;

/* What a file that cannot be booted is, such as "a gzip file", by its first bytes. */
const char *kernel_file_kind(const struct kernel_file *f);
