/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qcow2_rig_test.h - what tests of qcow2 images share: a folder, QEMU's tools, an open image, and
 * random requests with a model of what the disk must hold
 *
 * Each sector that is written holds its own number and that of the write, so a model of a disk is
 * one number a sector.  Functions assert (cmocka).
 */
#pragma once

#include "backend/image.h"
#include "base/skip.h"

#include <stdbool.h>
#include <stdint.h>

enum { SECTOR = 512, RIG_DEPTH = 16 };

/*
 * Makes an empty folder and goes there; rig_leave() removes it with all that is in it.  In memory,
 * unless it needs to be one that knows direct I/O.
 */
void rig_enter(bool needs_disk);
void rig_leave(void);

/* Runs a command of the shell; its output is shown only if it fails, which is an error. */
__attribute__((format(printf, 1, 2))) void rig_tool(const char *format, ...);

/* Exit status of a command; its output is in *rig_said. */
__attribute__((format(printf, 1, 2))) int rig_try(const char *format, ...);
extern char rig_said[4096];

/* Whether there is a qemu-img; the test that cannot do without it says so and is skipped. */
bool rig_has_tools(void);
#define RIG_NEEDS_TOOLS() SKIP_UNLESS(rig_has_tools(), "qemu-img and qemu-io (package qemu-utils)")

struct rig {
	struct loop loop;
	struct image image;
	struct aio aio;
	bool is_open;
};

struct rig_options {
	bool writable, direct;
	const struct image_ops *ops;	 /* NULL: qcow2 */
	const struct aio_engine *engine; /* NULL: the default */
	const char *backing;		 /* as in struct image_options */
	uint64_t cache_bytes;		 /* the same */
};

int rig_try_open(struct rig *rig, const char *path, const struct rig_options *o, struct err *e);
void rig_open(struct rig *rig, const char *path, const struct rig_options *o);
void rig_close(struct rig *rig);

/* One request from start to end; 0 or -errno. */
int rig_run(struct rig *rig, struct image_req req);
int rig_read(struct rig *rig, uint64_t offset, void *buf, size_t n);
int rig_write(struct rig *rig, uint64_t offset, void *buf, size_t n);

/* Reads all of the disk and compares with a raw file. */
void rig_expect_like(struct rig *rig, const char *raw_path);

/* ---- what a sector holds ---- */

/* version 0 is zeroes. */
void sector_fill(void *p, uint64_t sector, uint32_t version);
bool sector_is(const void *p, uint64_t sector, uint32_t version);

/* The version of a sector that sector_fill() made, or UINT32_MAX. */
uint32_t sector_version(const void *p, uint64_t sector);

/* Writes a raw file of version 1, or of zeroes in every other 40 KiB if it is to have holes. */
void raw_make(const char *path, uint64_t bytes, bool with_holes);

/* ---- random requests ---- */

struct model {
	uint64_t sectors;
	uint32_t *version; /* of each sector */
	uint32_t last;	   /* version given last */
	uint64_t x;	   /* of the generator */
	uint64_t max;	   /* bytes of a request */
	unsigned writes;   /* percent of requests that are not reads */
	bool no_discard;

	/* Optional: called when a request that changes sectors starts, and when it is done. */
	void (*started)(struct model *m, const struct image_req *r, uint32_t version);
	void (*finished)(struct model *m, const struct image_req *r, uint32_t version);
	void *owner;

	uint64_t count[IMAGE_ZERO + 1]; /* requests done, by kind */
};

void model_init(struct model *m, uint64_t bytes, uint64_t seed);
void model_fini(struct model *m);
uint64_t model_random(struct model *m, uint64_t below);

/* The model of a disk that raw_make() made. */
void model_of_raw(struct model *m, bool with_holes);

/*
 * So many random requests, up to RIG_DEPTH at once, that share clusters but no sectors; what they
 * read is checked.  A discarded sector may be what it was or zero from then on, but not both.
 */
void model_run(struct model *m, struct rig *rig, uint64_t requests);

/* Reads all of the disk. */
void model_check(struct model *m, struct rig *rig);

/* Writes the model as a raw file. */
void model_write_raw(const struct model *m, const char *path);
