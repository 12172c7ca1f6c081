/* SPDX-License-Identifier: BSD-3-Clause */
/* image_qcow2_open.h - the steps of opening a qcow2 image, and of making it larger */
#pragma once

#include "backend/image_qcow2_state.h"

/* Opens the backing files that are allowed and sets layers, sizes, im->files. */
int qcow2_chain_open(struct qcow2 *q, const struct image_options *o, struct err *e) MUST_CHECK;
void qcow2_chain_close(struct qcow2 *q);

int qcow2_inflate_init(struct qcow2 *q, struct err *e) MUST_CHECK;
void qcow2_inflate_fini(struct qcow2 *q);

/*
 * Before the first write: repairs the refcounts of an image that was not closed properly, takes
 * back what other programs would wrongly rely on, and looks whether metadata is counted as used.
 */
int qcow2_check(struct qcow2 *q, struct err *e) MUST_CHECK;

/* Counts all references anew and corrects the refcounts; clears the dirty bit. */
int qcow2_repair(struct qcow2 *q, struct err *e) MUST_CHECK;

/* Bytes that tables which are read once can have in all: what the file has on its disk. */
uint64_t qcow2_tables_max(const struct qcow2 *q);

/* The L1 table of the snapshot at *at, which moves on. */
int qcow2_snapshot_next(struct qcow2 *q, uint64_t *at, uint64_t *ret_l1, uint64_t *ret_entries)
	MUST_CHECK;

int qcow2_resize(struct image *im, uint64_t size, struct err *e) MUST_CHECK;
