/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session_memory.c - memory that the front end shares: the guest's, and the in-flight log
 *
 * Descriptors must be at least as long as they are said to be, or the first access would kill us;
 * one that is cut short later does, which is the front end's loss.
 */
#include "devices/session.h"

#include "base/fd.h"
#include "base/num.h"
#include "mem/memfd.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether the file has bytes up to at + n; devices and the like have no size to compare with. */
static int check_length(int fd, uint64_t at, uint64_t n)
{
	struct stat st;
	uint64_t end;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!add_ok(at, n, &end) || end > INT64_MAX)
		return -EINVAL;
	return S_ISREG(st.st_mode) && (uint64_t)st.st_size < end ? -EINVAL : 0;
}

/* ---- guest memory ---- */

static int region_add(struct session *s, const struct vu_region *region, struct vu_msg *m, size_t i)
{
	uint64_t size = le64_get(region->size), offset = le64_get(region->offset);
	uint64_t user = le64_get(region->user), end;
	gpa base = le64_get(region->guest);
	struct gmem *g = &s->gmem;
	unsigned at = 0;
	int r;

	if (!add_ok(user, size, &end))
		return -EINVAL;
	r = check_length(m->fds[i], offset, size);
	if (r < 0)
		return r;
	r = gmem_map_take(g, base, size, m->fds[i], offset);
	if (r < 0)
		return r;
	m->fds[i] = -1;
	while (g->regions[at].base != base)
		at++;
	memmove(&s->user[at + 1], &s->user[at], (g->nregions - 1 - at) * sizeof(s->user[0]));
	s->user[at] = user;
	return 0;
}

int memory_set(struct session *s, struct vu_msg *m)
{
	size_t count = le32_get(m->p.memory.count); /* the codec: as many as there are fds */

	memory_fini(s);
	for (size_t i = 0; i < count; i++) {
		int r = region_add(s, &m->p.memory.regions[i], m, i);

		if (r < 0)
			return r;
	}
	return 0;
}

int memory_add(struct session *s, struct vu_msg *m)
{
	if (m->nfds != 1)
		return -EINVAL;
	return region_add(s, &m->p.one_region.region, m, 0);
}

int memory_remove(struct session *s, const struct vu_region *region)
{
	struct gmem *g = &s->gmem;

	for (unsigned i = 0; i < g->nregions; i++) {
		struct gmem_region *r = &g->regions[i];
		unsigned behind = g->nregions - i - 1;

		if (r->base != le64_get(region->guest) || r->size != le64_get(region->size) ||
		    s->user[i] != le64_get(region->user))
			continue;
		munmap(r->host, r->size);
		fd_close(&r->fd);
		memmove(r, r + 1, behind * sizeof(*r));
		memmove(&s->user[i], &s->user[i + 1], behind * sizeof(s->user[0]));
		g->nregions--;
		return 0;
	}
	return -ENOENT;
}

void memory_fini(struct session *s)
{
	gmem_fini(&s->gmem);
}

bool memory_find(const struct session *s, uint64_t user, gpa *ret)
{
	for (unsigned i = 0; i < s->gmem.nregions; i++) {
		const struct gmem_region *r = &s->gmem.regions[i];

		if (user - s->user[i] >= r->size)
			continue;
		*ret = r->base + (user - s->user[i]);
		return true;
	}
	return false;
}

/* ---- in-flight log ---- */

/* Room for either ring format, so that the log can be made before features are agreed. */
static size_t bytes_a_queue(unsigned queue_size)
{
	return vq_log_bytes(queue_size, true);
}

/* Where the device's state lies in the file, whatever part of the log a front end asks for. */
static uint64_t state_at(const struct device *d)
{
	return round_up(d->nqueues * bytes_a_queue(device_queue_size(d)), 4096);
}

static_assert(VQ_SIZE_MAX * 32ull * DEVICE_QUEUES_MAX < UINT32_MAX, "sums below cannot wrap");

/* A file that is too short for it was made by somebody else: then there is none. */
static void state_map(struct session *s, int fd)
{
	size_t n = s->d->type->state_size;
	uint64_t at = state_at(s->d);
	void *state;

	if (n == 0 || check_length(fd, at, n) < 0)
		return;
	state = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)at);
	s->state = state == MAP_FAILED ? NULL : state;
}

static int inflight_map(struct session *s, const struct vu_inflight *desc, int fd)
{
	unsigned queues = le16_get(desc->queues), size = le16_get(desc->queue_size);
	uint64_t bytes = le64_get(desc->size), offset = le64_get(desc->offset);
	void *log;
	int r;

	if (queues == 0 || queues > DEVICE_QUEUES_MAX || size == 0 || size > VQ_SIZE_MAX ||
	    bytes < queues * bytes_a_queue(size) || offset % 4096 != 0)
		return -EINVAL;
	r = check_length(fd, offset, bytes);
	if (r < 0)
		return r;
	bytes = queues * bytes_a_queue(size);
	log = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
	if (log == MAP_FAILED)
		return -errno;
	inflight_fini(s);
	s->inflight = log;
	s->inflight_bytes = bytes;
	s->inflight_queues = queues;
	s->inflight_queue_size = size;
	state_map(s, fd);
	return 0;
}

int inflight_file_create(const struct device *d)
{
	uint64_t bytes = state_at(d) + round_up(d->type->state_size, 4096);
	struct err e;

	return memfd_new("inflight", bytes, 0, &e);
}

int inflight_create(struct session *s, struct vu_inflight *desc)
{
	unsigned queues = le16_get(desc->queues), size = le16_get(desc->queue_size);
	int r;

	if (s->inflight_fd < 0 || queues > s->nrings || size > device_queue_size(s->d))
		return -EINVAL;
	desc->size = le64_of(queues * bytes_a_queue(size)); /* front ends divide it by queues */
	desc->offset = le64_of(0);
	r = inflight_map(s, desc, s->inflight_fd);
	if (r == 0)
		inflight_clear(s);
	return r;
}

int inflight_set(struct session *s, const struct vu_inflight *desc, int fd)
{
	if (fd < 0)
		return -EINVAL;
	return inflight_map(s, desc, fd);
}

void inflight_fini(struct session *s)
{
	if (s->inflight)
		munmap(s->inflight, s->inflight_bytes);
	if (s->state)
		munmap(s->state, s->d->type->state_size);
	s->inflight = s->state = NULL;
	s->inflight_bytes = 0;
}

void *inflight_of(const struct session *s, unsigned queue)
{
	if (!s->inflight || queue >= s->inflight_queues)
		return NULL;
	return (char *)s->inflight + queue * bytes_a_queue(s->inflight_queue_size);
}

void inflight_clear(struct session *s)
{
	if (s->inflight)
		memset(s->inflight, 0, s->inflight_bytes);
	if (s->state)
		memset(s->state, 0, s->d->type->state_size);
}
