/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_alloc.c - clusters in reserve, and clusters to be freed
 *
 *	free -> (zeroed, refcount 1) pending -> synced -> ready -> taken
 *	never used -> (refcount 1, by a write that lasts) ready -> taken
 *	unlinked -> in the ring of frees -> synced -> refcount down, hole punched -> free
 *
 * The reserve is filled when half of it is used, while requests still take from the rest; it grows
 * with demand from RESERVE_MIN to RESERVE_MAX.  What a process that is killed had in reserve stays
 * allocated to nobody; holes, as nobody wrote to it.
 */
#include "backend/image_qcow2_state.h"

#include "base/num.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	RESERVE_MIN = 1 << 20,
	RESERVE_MAX = 64 << 20,
	RESERVE_CLUSTERS_MIN = 4,
	SCAN_SLICES = 256, /* of refcounts, at one filling; then from the end of the file */
};

/* ---- zeroes below the end of the file ---- */

static int write_zeroes(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	qcow2_cache_forget(q, offset, bytes);
	return qcow2_put_zeroes(q, offset, bytes);
}

static int punch(struct qcow2 *q, int mode, uint64_t offset, uint64_t bytes)
{
	int r;

	do
		r = fallocate(q->layers[0].fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			      (off_t)bytes);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static int make_zero(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	int first = q->im->sparse ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
	int r = punch(q, first, offset, bytes);

	if (r == -EOPNOTSUPP || r == -EINVAL)
		r = punch(q, (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) ^ first, offset, bytes);
	if (r == -EOPNOTSUPP || r == -EINVAL)
		return write_zeroes(q, offset, bytes);
	qcow2_cache_forget(q, offset, bytes);
	return r;
}

/* ---- reserve ---- */

static void append(struct qcow2_run *runs, unsigned *n, struct qcow2_run run)
{
	if (*n > 0 && runs[*n - 1].first + runs[*n - 1].n == run.first)
		runs[*n - 1].n += run.n;
	else
		runs[(*n)++] = run;
}

/* Whether all of it lies where nobody has ever written, in a file whose size is on the disk. */
static bool is_fresh(const struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	return offset >= q->layers[0].file_bytes && offset + bytes <= q->room &&
	       q->room_stamp <= q->sync.done;
}

/* Free clusters become zero, counted, and part of the file; ready or pending. */
static int reserve_run(struct qcow2 *q, struct qcow2_run run)
{
	struct qcow2_reserve *v = &q->reserve;
	uint64_t offset = run.first << q->cluster_bits, bytes = run.n << q->cluster_bits;
	uint64_t end = q->layers[0].file_bytes;
	bool fresh = is_fresh(q, offset, bytes) && v->nready < QCOW2_RUNS_MAX;
	int r = 0;

	if (!qcow2_is_apart(q, offset, bytes))
		return qcow2_corrupt(q, 0, "metadata is not counted as used");
	if (offset < end)
		r = make_zero(q, offset, min_u64(bytes, end - offset));
	if (r == 0)
		r = qcow2_extend(q, offset + bytes);
	if (r == 0)
		r = fresh ? qcow2_refcount_reserve(q, run) : qcow2_refcount_add(q, run, 1);
	if (r < 0)
		return r;
	if (fresh)
		append(v->ready, &v->nready, run);
	else
		append(v->pending, &v->npending, run);
	v->clusters += fresh ? run.n : 0;
	return 0;
}

static uint64_t reserve_limit(const struct qcow2 *q, uint64_t bytes)
{
	return max_u64(bytes >> q->cluster_bits, RESERVE_CLUSTERS_MIN);
}

/* Where to look when what is free among what is used is hard to find: at the end of the file. */
static uint64_t tail_of_file(struct qcow2 *q)
{
	struct qcow2_reserve *v = &q->reserve;

	if (v->tail == 0)
		v->tail = qcow2_refcount_tail(q);
	return max_u64(v->scan, v->tail);
}

/*
 * The next free clusters, from v->scan on; when that takes too long, from the end of the file,
 * where only an image that lies has none for long.  There, too, lies what a process that was killed
 * had made room for; the file would grow by so much with each of them.
 */
static int reserve_find(struct qcow2 *q, uint64_t max, unsigned *budget, uint64_t *end,
			struct qcow2_run *ret)
{
	struct qcow2_reserve *v = &q->reserve;
	uint64_t used = q->layers[0].file_bytes >> q->cluster_bits;
	int r = qcow2_refcount_find(q, *end ? *end : v->scan, max, budget, ret);

	if (ret->first < used) /* used before, or never: not both */
		ret->n = min_u64(ret->n, used - ret->first);
	if (r == 0 && *end == 0)
		v->scan = ret->first + ret->n;
	else if (r == 0)
		*end = v->tail = ret->first + ret->n;
	if (r == 0 && *budget == 0 && *end > 0 && ret->n == 0)
		return -ENOSPC;
	if (*budget == 0) {
		*budget = SCAN_SLICES;
		*end = *end ? *end : tail_of_file(q);
	}
	return r;
}

/* Collects up to target clusters into pending. */
static int reserve_collect(struct qcow2 *q)
{
	struct qcow2_reserve *v = &q->reserve;
	uint64_t have = 0, limit = UINT64_MAX, end = 0;
	unsigned budget = SCAN_SLICES;
	int r = 0;

	if (q->im->is_block_device)
		limit = q->layers[0].file_bytes >> q->cluster_bits;
	while (r == 0 && have < v->target && v->npending < QCOW2_RUNS_MAX) {
		struct qcow2_run run;

		r = reserve_find(q, v->target - have, &budget, &end, &run);
		if (r == 0 && run.first >= limit)
			r = -ENOSPC;
		if (r < 0 || run.n == 0)
			continue;
		run.n = min_u64(run.n, limit - run.first);
		r = reserve_run(q, run);
		if (r < 0)
			break;
		have += run.n;
	}
	return have > 0 ? 0 : r;
}

static void reserve_move(struct qcow2 *q)
{
	struct qcow2_reserve *v = &q->reserve;
	unsigned n = 0;

	if (v->stamp > q->sync.done)
		return;
	for (; n < v->npending && v->nready < QCOW2_RUNS_MAX; n++) {
		v->ready[v->nready++] = v->pending[n];
		v->clusters += v->pending[n].n;
	}
	v->npending -= n;
	memmove(v->pending, v->pending + n, v->npending * sizeof(v->pending[0]));
}

/* Starts to fill the reserve, unless that is under way or cannot be. */
static void reserve_fill(struct qcow2 *q)
{
	struct qcow2_reserve *v = &q->reserve;

	reserve_move(q);
	if (v->npending > 0)
		return;
	if (q->sync.has_failed || q->is_corrupt) {
		v->error = -EIO;
		return;
	}
	v->target = min_u64(max_u64(2 * v->target, reserve_limit(q, RESERVE_MIN)),
			    reserve_limit(q, RESERVE_MAX));
	v->error = reserve_collect(q);
	if (v->npending > 0)
		v->stamp = qcow2_sync_want(q);
}

uint64_t qcow2_take(struct qcow2 *q, uint64_t want, uint64_t *ret_first)
{
	struct qcow2_reserve *v = &q->reserve;
	struct qcow2_run *run = &v->ready[0];
	uint64_t n;

	if (v->nready == 0)
		return 0;
	n = min_u64(want, run->n);
	*ret_first = run->first;
	run->first += n;
	run->n -= n;
	v->clusters -= n;
	if (run->n == 0)
		memmove(run, run + 1, --v->nready * sizeof(*run));
	if (v->clusters < v->target / 2)
		reserve_fill(q);
	return n;
}

void qcow2_take_wait(struct qcow2 *q, struct image_req *r)
{
	struct qcow2_reserve *v = &q->reserve;

	if (v->nready == 0)
		reserve_fill(q);
	if (v->nready == 0 && v->npending == 0) {
		qcow2_wake(q, r, v->error < 0 ? v->error : -ENOSPC);
		return;
	}
	if (v->nready > 0) {
		qcow2_wake(q, r, 0);
		return;
	}
	r->next = NULL;
	*v->last = r;
	v->last = &r->next;
}

static void reserve_wake(struct qcow2 *q, int error)
{
	struct qcow2_reserve *v = &q->reserve;

	while (v->first) {
		struct image_req *r = v->first;

		v->first = r->next;
		if (!v->first)
			v->last = &v->first;
		qcow2_wake(q, r, error);
	}
}

static void reserve_synced(struct qcow2 *q)
{
	struct qcow2_reserve *v = &q->reserve;

	if (q->sync.has_failed) {
		v->npending = 0; /* Q6 */
		reserve_wake(q, -EIO);
		return;
	}
	reserve_move(q);
	if (v->nready > 0 || v->npending == 0)
		reserve_wake(q, 0);
}

/* ---- frees ---- */

bool qcow2_free_has_room(struct qcow2 *q, unsigned runs)
{
	return q->frees.n + runs <= QCOW2_FREES_MAX;
}

void qcow2_free_later(struct qcow2 *q, struct qcow2_run run)
{
	struct qcow2_frees *f = &q->frees;
	struct qcow2_free *last = &f->rows[(f->first + f->n - 1) % QCOW2_FREES_MAX];
	uint64_t stamp = qcow2_sync_next(q);

	if (f->n > 0 && last->stamp == stamp && last->run.first + last->run.n == run.first) {
		last->run.n += run.n;
	} else {
		assert(f->n < QCOW2_FREES_MAX);
		f->rows[(f->first + f->n++) % QCOW2_FREES_MAX] = (struct qcow2_free){run, stamp};
	}
	if (f->n > QCOW2_FREES_MAX / 2)
		qcow2_sync_want(q);
}

/* How many of the run, from its first on, are used once, or are not. */
static int alike(struct qcow2 *q, struct qcow2_run run, bool *ret_once, uint64_t *ret_n)
{
	uint64_t count;
	int r = qcow2_refcount_get(q, run.first, &count);

	*ret_once = count == 1;
	for (*ret_n = 1; r == 0 && *ret_n < run.n; ++*ret_n) {
		r = qcow2_refcount_get(q, run.first + *ret_n, &count);
		if ((count == 1) != *ret_once)
			break;
	}
	return r;
}

static int free_now(struct qcow2 *q, struct qcow2_run run)
{
	int r = 0;

	while (r == 0 && run.n > 0) {
		struct qcow2_run part = {.first = run.first};
		bool once;

		r = alike(q, run, &once, &part.n);
		if (r == 0)
			r = qcow2_refcount_add(q, part, -1);
		if (r == 0 && once) {
			q->reserve.scan = min_u64(q->reserve.scan, part.first);
			if (q->im->sparse)
				punch(q, FALLOC_FL_PUNCH_HOLE, part.first << q->cluster_bits,
				      part.n << q->cluster_bits);
		}
		run.first += part.n;
		run.n -= part.n;
	}
	return r;
}

static void frees_synced(struct qcow2 *q)
{
	struct qcow2_frees *f = &q->frees;

	while (f->n > 0 && (f->rows[f->first].stamp <= q->sync.done || q->sync.has_failed)) {
		struct qcow2_run run = f->rows[f->first].run;

		f->first = (f->first + 1) % QCOW2_FREES_MAX;
		f->n--;
		if (!q->sync.has_failed && !q->is_corrupt && free_now(q, run) < 0)
			log_limited(&q->complaints, "clusters could not be freed");
	}
}

void qcow2_alloc_synced(struct qcow2 *q)
{
	frees_synced(q);
	reserve_synced(q);
}

/* ---- the end ---- */

static void reserve_return(struct qcow2 *q, struct qcow2_run *runs, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (qcow2_refcount_add(q, runs[i], -1) < 0)
			return;
		q->reserve.scan = min_u64(q->reserve.scan, runs[i].first);
	}
}

static void cut_to(struct qcow2 *q, uint64_t bytes)
{
	struct qcow2_layer *l = &q->layers[0];

	if (!q->im->is_block_device && bytes < max_u64(l->file_bytes, q->room) &&
	    ftruncate(l->fd, (off_t)bytes) == 0)
		l->file_bytes = bytes;
	q->room = 0;
}

/* The end of the last cluster that is used, as far as ours may not be. */
static uint64_t end_of_use(struct qcow2 *q)
{
	uint64_t end = q->layers[0].file_bytes >> q->cluster_bits, count = 0;
	uint64_t stop = end - min_u64(end - 1, 4 * reserve_limit(q, RESERVE_MAX));

	while (end > stop && qcow2_refcount_get(q, end - 1, &count) == 0 && count == 0)
		end--;
	return end << q->cluster_bits;
}

void qcow2_alloc_end(struct qcow2 *q)
{
	struct qcow2_reserve *v = &q->reserve;

	if (q->frees.n == 0 && v->nready + v->npending == 0 && q->room == 0)
		return;
	if (q->is_corrupt || qcow2_sync_now(q) < 0) {
		cut_to(q, q->layers[0].file_bytes); /* what nobody has ever used */
		return;
	}
	q->sync.done = ++q->sync.started;
	frees_synced(q);
	reserve_return(q, v->ready, v->nready);
	reserve_return(q, v->pending, v->npending);
	v->nready = v->npending = 0;
	v->clusters = v->target = 0;
	cut_to(q, end_of_use(q));
}
