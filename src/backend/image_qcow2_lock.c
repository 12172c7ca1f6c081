/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_qcow2_lock.c - requests that must not run at the same time (P1)
 *
 * A request holds one range of the disk.  Ranges that overlap may be held at once if all are
 * shared. Nobody overtakes: who conflicts with one that waits, waits too.
 */
#include "backend/image_qcow2_state.h"

static bool conflict(const struct image_mapping *a, const struct image_mapping *b)
{
	return (a->is_exclusive || b->is_exclusive) && a->from < b->to && b->from < a->to;
}

static bool must_wait(const struct qcow2 *q, const struct image_req *r)
{
	const struct qcow2_locks *l = &q->locks;

	if (l->exclusive > 0 || r->mapping.is_exclusive)
		for (const struct image_req *h = l->held; h; h = h->mapping.behind)
			if (conflict(&h->mapping, &r->mapping))
				return true;
	for (const struct image_req *w = l->first; w && w != r; w = w->next)
		if (conflict(&w->mapping, &r->mapping))
			return true;
	return false;
}

static void hold(struct qcow2 *q, struct image_req *r)
{
	struct qcow2_locks *l = &q->locks;

	r->mapping.is_locked = true;
	r->mapping.before = NULL;
	r->mapping.behind = l->held;
	if (l->held)
		l->held->mapping.before = r;
	l->held = r;
	l->exclusive += r->mapping.is_exclusive;
	qcow2_wake(q, r, 0);
}

void qcow2_lock(struct qcow2 *q, struct image_req *r, uint64_t from, uint64_t to, bool exclusive)
{
	r->mapping.from = from;
	r->mapping.to = to;
	r->mapping.is_exclusive = exclusive;
	if (!must_wait(q, r)) {
		hold(q, r);
		return;
	}
	r->next = NULL;
	*q->locks.last = r;
	q->locks.last = &r->next;
}

static void remove_held(struct qcow2_locks *l, struct image_req *r)
{
	struct image_mapping *m = &r->mapping;

	if (m->before)
		m->before->mapping.behind = m->behind;
	else
		l->held = m->behind;
	if (m->behind)
		m->behind->mapping.before = m->before;
	l->exclusive -= m->is_exclusive;
	m->is_locked = false;
}

void qcow2_unlock(struct qcow2 *q, struct image_req *r)
{
	struct qcow2_locks *l = &q->locks;

	if (!r->mapping.is_locked)
		return;
	remove_held(l, r);
	for (struct image_req **at = &l->first; *at;) {
		struct image_req *w = *at;

		if (must_wait(q, w)) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		if (!*at)
			l->last = at;
		hold(q, w);
	}
}
