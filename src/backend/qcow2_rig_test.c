/* SPDX-License-Identifier: BSD-3-Clause */
/* qcow2_rig_test.c - what tests of qcow2 images share */
#include "backend/qcow2_rig_test.h"

#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { TRIES = 8 };

char rig_said[4096];
static char folder[64];
static char start[4096];

void rig_enter(bool needs_disk)
{
	bool is_in_memory = !needs_disk && access("/dev/shm", W_OK) == 0;

	assert_non_null(getcwd(start, sizeof(start)));
	snprintf(folder, sizeof(folder), "%sqcow2_test.XXXXXX", is_in_memory ? "/dev/shm/" : "");
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chdir(folder), 0);
}

void rig_leave(void)
{
	char command[80];

	assert_int_equal(chdir(start), 0);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	assert_int_equal(system(command), 0);
}

static int run_tool(const char *command)
{
	FILE *f = popen(command, "re");
	size_t n;
	int status;

	assert_non_null(f);
	n = fread(rig_said, 1, sizeof(rig_said) - 1, f);
	rig_said[n] = '\0';
	status = pclose(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

int rig_try(const char *format, ...)
{
	char command[2048] = "exec 2>&1; ";
	size_t n = strlen(command);
	va_list args;

	va_start(args, format);
	vsnprintf(command + n, sizeof(command) - n, format, args);
	va_end(args);
	return run_tool(command);
}

void rig_tool(const char *format, ...)
{
	char command[2048] = "exec 2>&1; ";
	size_t n = strlen(command);
	va_list args;

	va_start(args, format);
	vsnprintf(command + n, sizeof(command) - n, format, args);
	va_end(args);
	if (run_tool(command) != 0)
		fail_msg("%s: %s", command, rig_said);
}

bool rig_has_tools(void)
{
	return rig_try("qemu-img --version") == 0;
}

static void attach(struct rig *rig, const struct aio_engine *engine)
{
	const struct aio_options o = {
		.engine = engine, .depth = 512, .files = rig->image.files,
		.nfiles = rig->image.nfiles};
	struct err e = {0};

	assert_int_equal(loop_init(&rig->loop), 0);
	assert_int_equal(aio_init(&rig->aio, &rig->loop, &o, &e), 0);
	assert_int_equal(aio_start(&rig->aio, &e), 0);
	image_attach(&rig->image, &rig->aio);
	rig->is_open = true;
}

int rig_try_open(struct rig *rig, const char *path, const struct rig_options *o, struct err *e)
{
	const struct image_options io = {.path = path,
					 .ops = o->ops ? o->ops : &image_qcow2,
					 .writable = o->writable,
					 .direct = o->direct,
					 .sparse = true,
					 .backing = o->backing,
					 .cache_bytes = o->cache_bytes};
	int r = image_open(&rig->image, &io, e);

	rig->is_open = false;
	if (r == 0)
		attach(rig, o->engine);
	return r;
}

void rig_open(struct rig *rig, const char *path, const struct rig_options *o)
{
	struct err e = {0};

	if (rig_try_open(rig, path, o, &e) < 0)
		fail_msg("%s", e.text);
}

void rig_close(struct rig *rig)
{
	if (!rig->is_open)
		return;
	aio_drain(&rig->aio);
	image_close(&rig->image);
	aio_fini(&rig->aio);
	loop_fini(&rig->loop);
	rig->is_open = false;
}

struct item {
	struct image_req req;
	int error;
};

static void item_done(struct image_req *r, int error)
{
	container_of(r, struct item, req)->error = error;
}

int rig_run(struct rig *rig, struct image_req req)
{
	struct item item = {.req = req, .error = 1};

	item.req.done = item_done;
	image_submit(&rig->image, &item.req);
	assert_int_equal(item.error, 1); /* never from image_submit() */
	aio_drain(&rig->aio);
	assert_int_not_equal(item.error, 1);
	return item.error;
}

static int move(struct rig *rig, enum image_op op, uint64_t offset, void *buf, size_t n)
{
	struct iovec v = iov_of(buf, n);

	return rig_run(rig, (struct image_req){
				    .op = op, .offset = offset, .length = n, .iov = &v, .niov = 1});
}

int rig_read(struct rig *rig, uint64_t offset, void *buf, size_t n)
{
	return move(rig, IMAGE_READ, offset, buf, n);
}

int rig_write(struct rig *rig, uint64_t offset, void *buf, size_t n)
{
	return move(rig, IMAGE_WRITE, offset, buf, n);
}

void rig_expect_like(struct rig *rig, const char *raw_path)
{
	enum { PIECE = 1 << 20 };
	static uint8_t ours[PIECE], theirs[PIECE];
	int fd = open(raw_path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, rig->image.size);
	for (uint64_t at = 0; at < rig->image.size; at += PIECE) {
		size_t n = min_u64(PIECE, rig->image.size - at);

		assert_int_equal(rig_read(rig, at, ours, n), 0);
		assert_int_equal(pread(fd, theirs, n, (off_t)at), n);
		if (memcmp(ours, theirs, n) != 0)
			fail_msg("differs in the MiB at %llu", (unsigned long long)at);
	}
	close(fd);
}

/* ---- what a sector holds ---- */

void sector_fill(void *p, uint64_t sector, uint32_t version)
{
	uint64_t words[SECTOR / 8];

	for (unsigned i = 0; i < SECTOR / 8; i++)
		words[i] = ((uint64_t)version << 32 | (uint32_t)sector) ^ (i * 0x0101010101010101u);
	if (version == 0)
		memset(words, 0, sizeof(words));
	memcpy(p, words, sizeof(words));
}

bool sector_is(const void *p, uint64_t sector, uint32_t version)
{
	uint64_t expected[SECTOR / 8];

	sector_fill(expected, sector, version);
	return memcmp(p, expected, SECTOR) == 0;
}

uint32_t sector_version(const void *p, uint64_t sector)
{
	uint32_t version;
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	version = (uint32_t)(word >> 32);
	return sector_is(p, sector, version) ? version : UINT32_MAX;
}

static uint32_t raw_version(uint64_t sector, bool with_holes)
{
	return with_holes && sector / 80 % 2 ? 0 : 1;
}

void raw_make(const char *path, uint64_t bytes, bool with_holes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	for (uint64_t s = 0; s < bytes / SECTOR; s++) {
		uint8_t sector[SECTOR];

		if (raw_version(s, with_holes) == 0)
			continue;
		sector_fill(sector, s, 1);
		assert_int_equal(pwrite(fd, sector, SECTOR, (off_t)(s * SECTOR)), SECTOR);
	}
	close(fd);
}

/* ---- random requests ---- */

void model_init(struct model *m, uint64_t bytes, uint64_t seed)
{
	*m = (struct model){.sectors = bytes / SECTOR,
			    .x = seed * 0x9e3779b97f4a7c15u + 1,
			    .max = 256 * 1024,
			    .writes = 60,
			    .last = 1};
	m->version = calloc(m->sectors, sizeof(*m->version));
	assert_non_null(m->version);
}

void model_fini(struct model *m)
{
	free(m->version);
	m->version = NULL;
}

uint64_t model_random(struct model *m, uint64_t below)
{
	m->x ^= m->x << 13;
	m->x ^= m->x >> 7;
	m->x ^= m->x << 17;
	return (m->x * 0x2545f4914f6cdd1du >> 16) % below;
}

void model_of_raw(struct model *m, bool with_holes)
{
	for (uint64_t s = 0; s < m->sectors; s++)
		m->version[s] = raw_version(s, with_holes);
}

struct slot {
	struct image_req req;
	struct batch *batch;
	uint8_t *buf;
	struct iovec v[3];
	uint64_t first, n; /* sectors; n 0: none are touched */
	uint32_t version;
	bool is_busy;
};

struct batch {
	struct model *m;
	struct rig *rig;
	struct slot slots[RIG_DEPTH];
	uint64_t left;
};

static bool is_free(const struct batch *b, uint64_t first, uint64_t n)
{
	for (unsigned i = 0; i < RIG_DEPTH; i++) {
		const struct slot *s = &b->slots[i];

		if (s->is_busy && s->n > 0 && first < s->first + s->n && s->first < first + n)
			return false;
	}
	return true;
}

/* Small ones, large ones, and those that fit clusters of all sizes. */
static void pick_range(struct model *m, uint64_t *first, uint64_t *n)
{
	uint64_t align = 1ull << (model_random(m, 2) ? 0 : model_random(m, 13));
	uint64_t max = min_u64(m->max / SECTOR, m->sectors);

	*n = model_random(m, 4) ? 1 + model_random(m, min_u64(24, max)) : 1 + model_random(m, max);
	if (align <= m->sectors / 2) {
		*n = round_up(*n, align);
		*n = *n > max ? max : *n;
		*first = model_random(m, m->sectors - *n + 1);
		*first = round_down(*first, align);
	} else {
		*first = model_random(m, m->sectors - *n + 1);
	}
}

static enum image_op pick_op(struct model *m)
{
	uint64_t dice = model_random(m, 100);

	if (dice >= m->writes)
		return dice % 16 == 0 ? IMAGE_SYNC : IMAGE_READ;
	dice = model_random(m, 20);
	if (dice < 3 && !m->no_discard)
		return IMAGE_DISCARD;
	return dice < 6 ? IMAGE_ZERO : IMAGE_WRITE;
}

static void slot_done(struct image_req *r, int error);

/* The buffer in up to three parts. */
static void slot_buffer(struct slot *s, struct model *m)
{
	size_t n = s->n * SECTOR;

	for (unsigned i = 0; i < 2 && m; i++) {
		size_t part = min_size(n - 1, model_random(m, 20000));

		if (part == 0 || model_random(m, 2))
			continue;
		s->v[s->req.niov++] = iov_of(s->buf + s->n * SECTOR - n, part);
		n -= part;
	}
	s->v[s->req.niov++] = iov_of(s->buf + s->n * SECTOR - n, n);
	s->req.iov = s->v;
}

static bool slot_start(struct batch *b, struct slot *s)
{
	struct model *m = b->m;
	enum image_op op = pick_op(m);
	uint64_t first = 0, n = 0;

	for (unsigned i = 0; i < TRIES && op != IMAGE_SYNC; i++) {
		pick_range(m, &first, &n);
		if (is_free(b, first, n))
			break;
		n = 0;
	}
	if (n == 0 && op != IMAGE_SYNC)
		return false;
	s->first = first;
	s->n = n;
	s->is_busy = true;
	s->version = op == IMAGE_WRITE ? ++m->last : 0;
	s->req = (struct image_req){.op = op,
				    .offset = first * SECTOR,
				    .length = n * SECTOR,
				    .done = slot_done};
	s->req.durable = (op == IMAGE_WRITE || op == IMAGE_ZERO) && model_random(m, 30) == 0;
	s->req.unmap = op == IMAGE_ZERO && model_random(m, 2);
	if (op == IMAGE_READ || op == IMAGE_WRITE)
		slot_buffer(s, m);
	for (uint64_t i = 0; i < n && op == IMAGE_WRITE; i++)
		sector_fill(s->buf + i * SECTOR, first + i, s->version);
	if (op == IMAGE_READ)
		memset(s->buf, 0xee, n * SECTOR);
	if (m->started && op != IMAGE_READ && op != IMAGE_SYNC)
		m->started(m, &s->req, s->version);
	image_submit(&b->rig->image, &s->req);
	return true;
}

static void check_read(const struct slot *s, const struct model *m)
{
	for (uint64_t i = 0; i < s->n; i++)
		if (!sector_is(s->buf + i * SECTOR, s->first + i, m->version[s->first + i]))
			fail_msg("sector %llu is of version %u instead of %u (of %u)",
				 (unsigned long long)(s->first + i),
				 sector_version(s->buf + i * SECTOR, s->first + i),
				 m->version[s->first + i], m->last);
}

/* What discarding made of the sectors; they stay busy until this was read. */
static void learn(struct slot *s, struct model *m)
{
	for (uint64_t i = 0; i < s->n; i++) {
		uint32_t version = sector_version(s->buf + i * SECTOR, s->first + i);

		if (version != 0 && version != m->version[s->first + i])
			fail_msg("discarded sector %llu is of version %u instead of %u or 0",
				 (unsigned long long)(s->first + i), version,
				 m->version[s->first + i]);
		m->version[s->first + i] = version;
	}
}

static void start_more(struct batch *b)
{
	for (unsigned i = 0; i < RIG_DEPTH && b->left > 0; i++)
		if (!b->slots[i].is_busy && slot_start(b, &b->slots[i]))
			b->left--;
}

static void learned(struct image_req *r, int error)
{
	struct slot *s = container_of(r, struct slot, req);

	assert_int_equal(error, 0);
	learn(s, s->batch->m);
	s->is_busy = false;
	start_more(s->batch);
}

static void slot_done(struct image_req *r, int error)
{
	struct slot *s = container_of(r, struct slot, req);
	struct model *m = s->batch->m;

	if (error < 0)
		fail_msg("operation %d of %llu bytes at %llu: %s", (int)r->op,
			 (unsigned long long)r->length, (unsigned long long)r->offset,
			 strerror(-error));
	assert_true(s->is_busy);
	m->count[r->op]++;
	if (r->op == IMAGE_READ)
		check_read(s, m);
	for (uint64_t i = 0; i < s->n && (r->op == IMAGE_WRITE || r->op == IMAGE_ZERO); i++)
		m->version[s->first + i] = s->version;
	if (m->finished && r->op != IMAGE_READ && r->op != IMAGE_SYNC)
		m->finished(m, r, s->version);
	if (r->op == IMAGE_DISCARD) {
		s->req.op = IMAGE_READ;
		s->req.niov = 0;
		s->req.done = learned;
		slot_buffer(s, NULL);
		image_submit(&s->batch->rig->image, &s->req);
		return;
	}
	s->is_busy = false;
	start_more(s->batch);
}

void model_run(struct model *m, struct rig *rig, uint64_t requests)
{
	static struct batch b;

	memset(&b, 0, sizeof(b));
	b.m = m;
	b.rig = rig;
	b.left = requests;
	for (unsigned i = 0; i < RIG_DEPTH; i++) {
		b.slots[i].batch = &b;
		b.slots[i].buf = aligned_alloc(4096, round_up(m->max + 1, 4096));
		assert_non_null(b.slots[i].buf);
	}
	while (b.left > 0) {
		start_more(&b);
		aio_drain(&rig->aio);
	}
	for (unsigned i = 0; i < RIG_DEPTH; i++) {
		assert_false(b.slots[i].is_busy);
		free(b.slots[i].buf);
	}
}

void model_check(struct model *m, struct rig *rig)
{
	enum { PIECE = 2048 };
	static uint8_t buf[PIECE * SECTOR];

	for (uint64_t at = 0; at < m->sectors; at += PIECE) {
		struct slot s = {
			.buf = buf, .first = at, .n = min_u64(PIECE, m->sectors - at)};

		assert_int_equal(rig_read(rig, at * SECTOR, buf, s.n * SECTOR), 0);
		check_read(&s, m);
	}
}

void model_write_raw(const struct model *m, const char *path)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	for (uint64_t s = 0; s < m->sectors; s++) {
		uint8_t sector[SECTOR];

		sector_fill(sector, s, m->version[s]);
		assert_int_equal(fwrite(sector, SECTOR, 1, f), 1);
	}
	assert_int_equal(fclose(f), 0);
}
