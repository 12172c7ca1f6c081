/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block.c - how fast a vhost-user disk is, beside a bare io_uring loop on the same file
 *
 *	bench-block FILE direct|cached SECONDS ROUNDS [NAME=SOCKET...]
 *	bench-block FILE fill 0 1 NAME=SOCKET
 *
 * PATTERN, in the environment, is the beginning of the only pattern to measure.
 *
 * A driver with one split queue (EVENT_IDX, three descriptors a request) that sleeps on its call
 * eventfd, as a guest sleeps for its interrupt.  Rounds are interleaved: loop, first socket, second
 * socket, loop, ...; printed are medians, and ratios to the loop.  On a busy machine the CPU time
 * that the serving process takes for a request says more than the rate.  The same loop in a process
 * of its own, without virtqueue and jail (block_floor.c), shows what it costs to be two.
 *
 * The second form writes a disk as large as FILE once, from its beginning to its end, and prints
 * MB/s and seconds of CPU: for images that grow.
 */
#include "base/fd.h"
#include "base/num.h"
#include "base/wire.h"
#include "virtio/ids.h"
#include "virtio/vu_ask_test.h"

#include "block_floor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	QUEUE_SIZE = 128,
	DEPTH_MAX = 32,
	BLOCK_MAX = 256 * 1024,
	MEMORY_BYTES = 16 * 1024 * 1024,
	RING_AT = 0,
	HEADERS_AT = 0x10000,
	DATA_AT = 0x100000,
	TARGETS_MAX = 4,
	ROUNDS_MAX = 32,
};

static const struct pattern {
	const char *name;
	unsigned depth;
	uint32_t bytes;
	bool random, writes;
} patterns[] = {
	{"random 4 KiB, depth 1", 1, 4096, true},
	{"random 4 KiB, depth 32", 32, 4096, true},
	{"sequential 256 KiB, depth 4", 4, BLOCK_MAX, false},
};

static const struct pattern filling = {"fill", 4, BLOCK_MAX, .writes = true};

/* Where the next request goes. */
struct course {
	const struct pattern *p;
	uint64_t blocks, at, x;
	uint64_t left; /* requests */
};

struct target {
	const char *name;
	struct vu_conn conn;
	int memfd, kick, call;
	char *memory;
	struct vring ring;
	uint16_t *avail_event, *used_event;
	uint16_t used_seen, avail;
	pid_t pid;
	double result[ROUNDS_MAX], cpu[ROUNDS_MAX];
};

struct run {
	const char *mode;
	double seconds;
	unsigned rounds;
	uint64_t file_bytes;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void check(int r, const char *what)
{
	if (r >= 0)
		return;
	errno = -r;
	die(what);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* CPU time of all threads of a process. */
static double cpu_seconds(pid_t pid)
{
	char path[64];
	uint64_t sum = 0;
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		unsigned long long ns = 0;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", pid,
			 atoi(entry->d_name));
		f = fopen(path, "r");
		if (f && fscanf(f, "%llu", &ns) == 1)
			sum += ns;
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return (double)sum / 1e9;
}

static uint64_t course_next(struct course *c)
{
	c->left--;
	if (!c->p->random)
		return (c->at++ % c->blocks) * c->p->bytes;
	c->x ^= c->x << 13;
	c->x ^= c->x >> 7;
	c->x ^= c->x << 17;
	return (c->x % c->blocks) * c->p->bytes;
}

/* ---- the loop to compare with ---- */

static void ring_open(struct io_uring *ring, int fd)
{
	struct io_uring_params p = {.flags = IORING_SETUP_SINGLE_ISSUER |
					     IORING_SETUP_DEFER_TASKRUN};

	if (io_uring_queue_init_params(DEPTH_MAX, ring, &p) < 0)
		check(io_uring_queue_init(DEPTH_MAX, ring, 0), "io_uring");
	check(io_uring_register_files(ring, &fd, 1), "io_uring files");
}

static double loop_run(struct io_uring *ring, char *data, struct course *c, double seconds,
		       double *ret_cpu)
{
	double cpu = cpu_seconds(getpid()), start = now(), end = start + seconds;
	unsigned slots[DEPTH_MAX], nslots = c->p->depth;
	uint64_t done = 0, in_flight = 0;
	bool stopping = false;

	for (unsigned i = 0; i < nslots; i++)
		slots[i] = i;
	while (!stopping || in_flight > 0) {
		struct io_uring_cqe *cqe;
		unsigned head, n = 0;

		for (; nslots > 0 && !stopping; in_flight++) {
			struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
			unsigned slot = slots[--nslots];

			io_uring_prep_read(sqe, 0, data + (size_t)slot * c->p->bytes, c->p->bytes,
					   course_next(c));
			sqe->flags |= IOSQE_FIXED_FILE;
			sqe->user_data = slot;
		}
		io_uring_submit_and_wait(ring, 1);
		io_uring_for_each_cqe(ring, head, cqe)
		{
			if (cqe->res != (int)c->p->bytes)
				check(cqe->res < 0 ? cqe->res : -EIO, "read");
			slots[nslots++] = (unsigned)cqe->user_data;
			n++;
		}
		io_uring_cq_advance(ring, n);
		in_flight -= n;
		done += n;
		stopping = now() >= end;
	}
	*ret_cpu = (cpu_seconds(getpid()) - cpu) / (double)done;
	return (double)done / (now() - start);
}

/* ---- the same in two processes ---- */

static void floor_send(struct floor *f, struct course *c, const struct floor_entry *back,
		       unsigned n)
{
	struct floor_entry e[FLOOR_SLOTS];

	for (unsigned i = 0; i < n; i++)
		e[i] = (struct floor_entry){.slot = back[i].slot,
					    .bytes = c->p->bytes,
					    .offset = course_next(c),
					    .memory_at = (uint64_t)back[i].slot * c->p->bytes};
	floor_submit(f, e, n);
}

static double floor_run(struct floor *f, struct course *c, double seconds, double *ret_cpu)
{
	double cpu = cpu_seconds(f->pid), start = now(), end = start + seconds;
	struct floor_entry slots[FLOOR_SLOTS] = {0};
	unsigned n = c->p->depth, in_flight = 0;
	bool stopping = false;
	uint64_t done = 0;

	for (unsigned i = 0; i < n; i++)
		slots[i].slot = i;
	while (!stopping || in_flight > 0) {
		if (!stopping) {
			floor_send(f, c, slots, n);
			in_flight += n;
		}
		n = floor_reap(f, slots);
		for (unsigned i = 0; i < n; i++)
			if (slots[i].result != (int32_t)c->p->bytes)
				check(slots[i].result < 0 ? slots[i].result : -EIO, "read");
		in_flight -= n;
		done += n;
		stopping = now() >= end;
	}
	*ret_cpu = (cpu_seconds(f->pid) - cpu) / (double)done;
	return (double)done / (now() - start);
}

/* ---- the driver ---- */

static int dial(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
	for (int i = 0; i < 500; i++) {
		const struct timespec pause = {.tv_nsec = 10000000};

		if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
			return fd;
		nanosleep(&pause, NULL);
	}
	die(path);
	return -1;
}

static void tell_memory(struct target *t)
{
	struct vu_msg m = {.request = VU_SET_MEM_TABLE, .nfds = 1, .fds = {t->memfd}};

	m.size = 8 + sizeof(struct vu_region);
	m.p.memory.count = le32_of(1);
	m.p.memory.regions[0] = (struct vu_region){.size = le64_of(MEMORY_BYTES),
						   .user = le64_of((uintptr_t)t->memory)};
	check(vu_tell(&t->conn, &m), "SET_MEM_TABLE");
}

static void tell_ring(struct target *t)
{
	struct vu_msg m = {.request = VU_SET_VRING_ADDR, .size = sizeof(struct vu_vring_addr)};

	m.p.addr = (struct vu_vring_addr){
		.desc = le64_of((uintptr_t)t->ring.desc),
		.used = le64_of((uintptr_t)t->ring.used),
		.avail = le64_of((uintptr_t)t->ring.avail),
	};
	check(vu_set_state(&t->conn, VU_SET_VRING_NUM, 0, QUEUE_SIZE), "SET_VRING_NUM");
	check(vu_set_state(&t->conn, VU_SET_VRING_BASE, 0, 0), "SET_VRING_BASE");
	check(vu_tell(&t->conn, &m), "SET_VRING_ADDR");
	check(vu_set_vring_fd(&t->conn, VU_SET_VRING_CALL, 0, t->call), "SET_VRING_CALL");
	check(vu_set_vring_fd(&t->conn, VU_SET_VRING_KICK, 0, t->kick), "SET_VRING_KICK");
	check(vu_set_state(&t->conn, VU_SET_VRING_ENABLE, 0, 1), "SET_VRING_ENABLE");
}

static void agree(struct target *t)
{
	const uint64_t wanted = VIRTIO_BIT(VIRTIO_F_VERSION_1) |
				VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) |
				VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) | VU_BIT(VU_F_PROTOCOL_FEATURES);
	const uint64_t protocol = VU_BIT(VU_PROTOCOL_F_REPLY_ACK) | VU_BIT(VU_PROTOCOL_F_CONFIG);
	uint64_t offered;

	check(vu_get_u64(&t->conn, VU_GET_FEATURES, &offered), "GET_FEATURES");
	check(vu_set(&t->conn, VU_SET_OWNER), "SET_OWNER");
	check(vu_set_u64(&t->conn, VU_SET_FEATURES, offered & wanted), "SET_FEATURES");
	check(vu_get_u64(&t->conn, VU_GET_PROTOCOL_FEATURES, &offered), "GET_PROTOCOL_FEATURES");
	check(vu_set_u64(&t->conn, VU_SET_PROTOCOL_FEATURES, offered & protocol),
	      "SET_PROTOCOL_FEATURES");
	t->conn.has_reply_ack = offered & protocol & VU_BIT(VU_PROTOCOL_F_REPLY_ACK);
}

/* Slot i has descriptors 3i, 3i + 1, 3i + 2. */
static void build_chains(struct target *t, const struct pattern *p)
{
	uint16_t flags = VRING_DESC_F_NEXT | (p->writes ? 0 : VRING_DESC_F_WRITE);

	for (unsigned i = 0; i < DEPTH_MAX; i++) {
		struct vring_desc *d = &t->ring.desc[3 * i];
		uint64_t header = HEADERS_AT + 64 * i;

		d[0] = (struct vring_desc){header, 16, VRING_DESC_F_NEXT, (uint16_t)(3 * i + 1)};
		d[1] = (struct vring_desc){DATA_AT + (uint64_t)i * p->bytes, p->bytes, flags,
					   (uint16_t)(3 * i + 2)};
		d[2] = (struct vring_desc){header + 32, 1, VRING_DESC_F_WRITE, 0};
	}
}

/* Of the kind that guests have, also for the bare loop: small pages cost more than huge ones. */
static char *memory_new(int *ret_fd)
{
	char *memory;

	*ret_fd = memfd_create("bench", MFD_CLOEXEC);
	if (*ret_fd < 0 || ftruncate(*ret_fd, MEMORY_BYTES) < 0)
		die("memfd");
	memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		      *ret_fd, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

static void target_open(struct target *t, char *argument)
{
	char *path = strchr(argument, '=');
	socklen_t n = sizeof(struct ucred);
	struct ucred peer;

	if (!path)
		die(argument);
	*path++ = '\0';
	t->name = argument;
	t->memory = memory_new(&t->memfd);
	t->kick = eventfd(0, EFD_CLOEXEC);
	t->call = eventfd(0, EFD_CLOEXEC); /* blocking: the driver sleeps in read() */
	vring_init(&t->ring, QUEUE_SIZE, t->memory + RING_AT, 4096);
	t->avail_event = (void *)&t->ring.used->ring[QUEUE_SIZE];
	t->used_event = &t->ring.avail->ring[QUEUE_SIZE];
	t->conn = (struct vu_conn){.sock = dial(path), .direction = VU_REPLIES};
	if (getsockopt(t->conn.sock, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0)
		t->pid = peer.pid;
	agree(t);
	tell_memory(t);
	tell_ring(t);
	fcntl(t->call, F_SETFL, 0); /* back ends may have set it to non-blocking */
}

static void driver_submit(struct target *t, struct course *c, const unsigned *slots, unsigned n)
{
	uint16_t before = t->avail;
	uint64_t one = 1;
	uint16_t event;

	for (unsigned i = 0; i < n; i++) {
		struct virtio_blk_outhdr *h = (void *)(t->memory + HEADERS_AT + 64 * slots[i]);

		h->type = c->p->writes ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
		h->sector = course_next(c) / 512;
		t->memory[HEADERS_AT + 64 * slots[i] + 32] = 0x7f;
		t->ring.avail->ring[t->avail++ % QUEUE_SIZE] = (uint16_t)(3 * slots[i]);
	}
	__atomic_store_n(&t->ring.avail->idx, t->avail, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = __atomic_load_n(t->avail_event, __ATOMIC_RELAXED);
	if (vring_need_event(event, t->avail, before) && write(t->kick, &one, sizeof(one)) < 0)
		die("kick");
}

/* Waits for at least one completion; returns the slots. */
static unsigned driver_reap(struct target *t, unsigned *slots)
{
	unsigned n = 0;
	uint64_t count;

	while (__atomic_load_n(&t->ring.used->idx, __ATOMIC_ACQUIRE) == t->used_seen) {
		__atomic_store_n(t->used_event, t->used_seen, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (__atomic_load_n(&t->ring.used->idx, __ATOMIC_ACQUIRE) != t->used_seen)
			break;
		if (read(t->call, &count, sizeof(count)) < 0)
			die("call");
	}
	while (__atomic_load_n(&t->ring.used->idx, __ATOMIC_ACQUIRE) != t->used_seen) {
		unsigned slot = t->ring.used->ring[t->used_seen++ % QUEUE_SIZE].id / 3;

		if (t->memory[HEADERS_AT + 64 * slot + 32] != VIRTIO_BLK_S_OK)
			check(-EIO, "request");
		slots[n++] = slot;
	}
	return n;
}

static double driver_run(struct target *t, struct course *c, double seconds, double *ret_cpu)
{
	double cpu = cpu_seconds(t->pid), start = now(), end = start + seconds;
	unsigned slots[DEPTH_MAX], n = c->p->depth, in_flight = 0;
	uint64_t done = 0;
	bool stopping = false;

	build_chains(t, c->p);
	for (unsigned i = 0; i < n; i++)
		slots[i] = i;
	while (!stopping || in_flight > 0) {
		n = (unsigned)min_u64(n, c->left);
		if (!stopping) {
			driver_submit(t, c, slots, n);
			in_flight += n;
		}
		n = driver_reap(t, slots);
		in_flight -= n;
		done += n;
		stopping = now() >= end || c->left == 0;
	}
	*ret_cpu = (cpu_seconds(t->pid) - cpu) / (double)done;
	return (double)done / (now() - start);
}

/* ---- the comparison ---- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_value);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void print_row(const struct pattern *p, const char *name, double rate, double base,
		      double cpu)
{
	bool is_small = p->bytes < 65536;

	printf("  %-24s %10.0f %s   %6.3f of the loop   %8.2f us of CPU a request\n", name,
	       is_small ? rate : rate * p->bytes / 1e6, is_small ? "IO/s" : "MB/s", rate / base,
	       cpu * 1e6);
}

/* What is held against the back ends. */
struct bare {
	struct io_uring ring;
	struct floor floor;
	char *data;
};

static void compare(const struct pattern *p, struct target *targets, unsigned ntargets,
		    struct bare *b, const struct run *run)
{
	struct course c = {.p = p,
			   .x = 88172645463325252u,
			   .blocks = run->file_bytes / p->bytes,
			   .left = UINT64_MAX};
	double bare[ROUNDS_MAX], cpu[ROUNDS_MAX], two[ROUNDS_MAX], two_cpu[ROUNDS_MAX], base;

	for (unsigned r = 0; r < run->rounds; r++) {
		bare[r] = loop_run(&b->ring, b->data, &c, run->seconds, &cpu[r]);
		two[r] = floor_run(&b->floor, &c, run->seconds, &two_cpu[r]);
		for (unsigned t = 0; t < ntargets; t++)
			targets[t].result[r] =
				driver_run(&targets[t], &c, run->seconds, &targets[t].cpu[r]);
	}
	base = median(bare, run->rounds);
	printf("%s, %s\n", p->name, run->mode);
	print_row(p, "bare io_uring loop", base, base, median(cpu, run->rounds));
	print_row(p, "the same, two processes", median(two, run->rounds), base,
		  median(two_cpu, run->rounds));
	for (unsigned t = 0; t < ntargets; t++)
		print_row(p, targets[t].name, median(targets[t].result, run->rounds), base,
			  median(targets[t].cpu, run->rounds));
	fflush(stdout);
}

static int fill(char *argument, uint64_t bytes)
{
	static struct target t;
	struct course c = {.p = &filling, .blocks = bytes / BLOCK_MAX, .left = bytes / BLOCK_MAX};
	double rate, cpu;

	target_open(&t, argument);
	rate = driver_run(&t, &c, 1e9, &cpu);
	printf("%.1f %.3f\n", rate * BLOCK_MAX / 1e6, cpu * (double)(bytes / BLOCK_MAX));
	return 0;
}

int main(int argc, char **argv)
{
	static struct target targets[TARGETS_MAX];
	unsigned ntargets = 0;
	const char *only = getenv("PATTERN");
	struct bare bare;
	struct run run;
	struct stat st;
	int fd, memfd;

	if (argc < 5 || argc > 5 + TARGETS_MAX) {
		fprintf(stderr, "usage: %s FILE direct|cached SECONDS ROUNDS [NAME=SOCKET...]\n",
			argv[0]);
		return 2;
	}
	fd = open(argv[1], O_RDONLY | O_CLOEXEC | (strcmp(argv[2], "direct") == 0 ? O_DIRECT : 0));
	if (fd < 0 || fstat(fd, &st) < 0)
		die(argv[1]);
	run = (struct run){.mode = argv[2],
			   .seconds = atof(argv[3]),
			   .rounds = (unsigned)min_u64((uint64_t)atoi(argv[4]), ROUNDS_MAX),
			   .file_bytes = (uint64_t)st.st_size};
	if (strcmp(argv[2], "fill") == 0 && argc == 6)
		return fill(argv[5], run.file_bytes);
	bare.data = memory_new(&memfd);
	floor_open(&bare.floor, fd, bare.data);
	ring_open(&bare.ring, fd);
	for (int i = 5; i < argc; i++)
		target_open(&targets[ntargets++], argv[i]);
	for (size_t i = 0; i < ARRAY_LEN(patterns); i++)
		if (!only || strncmp(patterns[i].name, only, strlen(only)) == 0)
			compare(&patterns[i], targets, ntargets, &bare, &run);
	floor_close(&bare.floor);
	return 0;
}
