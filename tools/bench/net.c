/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net.c - how fast a jailed network card is, beside a loop that copies each frame
 *
 *	bench-net PROGRAM MILLISECONDS ROUNDS [BEGINNING OF A PATTERN]
 *
 * In a network namespace of its own with one tap.  The loop, in a thread, is the simplest device
 * there can be: for each frame one read or write, one copy, one interrupt.  With /dev/vhost-net the
 * kernel is measured as well.  Rounds are interleaved; printed are medians, and ratios to the loop.
 *
 *	out	the driver keeps its queue full; the host drops what it gets
 *	in	frames lie ready in the tap, then the driver gives buffers
 *	ping	one frame out, one back, by a packet socket in the driver's thread
 *
 * CPU is the time that the serving process or thread takes for a frame; on a busy machine it says
 * more than the rate.
 */
#include "backend/tap.h"
#include "base/fd.h"
#include "base/loop.h"
#include "base/netns_test.h"
#include "virtio/driver_test.h"
#include "virtio/ids.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	QUEUE_SIZE = 256,
	HEADER = NET_HEADER_BYTES,
	PACKET_HEADER = 10,
	PROTOCOL = 0x88b5,
	SLOT = 68 * 1024,
	LONG = 64 * 1024 - 100,
	READY_MAX = 4000, /* frames in the tap */
	ROUNDS_MAX = 15,
	WAIT_MS = 10000,
};

#define TAP	"b0"
#define OPTIONS "tap=b0,mac=02:00:00:00:00:01"

static const struct pattern {
	const char *name;
	char kind; /* o, i, p */
	uint32_t bytes;
} patterns[] = {
	{"out, 60 bytes", 'o', 60},	    {"out, 1514 bytes", 'o', 1514},
	{"out, 64 KiB in segments", 'o', LONG}, {"in, 60 bytes", 'i', 60},
	{"in, 1514 bytes", 'i', 1514},	    {"in, 64 KiB in segments", 'i', LONG},
	{"ping, 60 bytes", 'p', 60},
};

enum { PATTERNS = sizeof(patterns) / sizeof(patterns[0]) };

struct target {
	const char *name, *options; /* NULL: the loop */
	struct driver d;
	gpa in, out;
	pid_t pid;
	pthread_t thread;
	int tap, stop_fd;
	struct vq queues[2];
	double rate[PATTERNS][ROUNDS_MAX], cpu_us[PATTERNS][ROUNDS_MAX];
};

static const char *program;
static double seconds;
static int packets;

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
	return (double)clock_ns() / 1e9;
}

/* ---- the loop that copies ---- */

static void copy_in(struct target *t)
{
	static uint8_t frame[HEADER + NET_FRAME_MAX];
	static struct chain c;

	for (;;) {
		ssize_t n;

		if (!vq_has_more(&t->queues[0]))
			break;
		n = read(t->tap, frame, sizeof(frame));
		if (n < 0 || !vq_pop(&t->queues[0], &c))
			break;
		frame[10] = 1; /* num_buffers */
		if (!chain_put(&c, frame, (size_t)n))
			exit(3);
		vq_push(&t->queues[0], &c);
		fd_signal(t->d.queues[0].call_fd);
	}
}

static void copy_out(struct target *t)
{
	static uint8_t frame[HEADER + NET_FRAME_MAX];
	static struct chain c;

	while (vq_pop(&t->queues[1], &c)) {
		size_t n = chain_left(&c, CHAIN_READABLE);

		if (!chain_get(&c, frame, n) || write(t->tap, frame, n) < 0)
			exit(3);
		vq_push(&t->queues[1], &c);
		fd_signal(t->d.queues[1].call_fd);
	}
}

static void *copy_run(void *argument)
{
	struct target *t = argument;
	struct pollfd p[] = {{t->stop_fd, POLLIN, 0},
			     {t->d.queues[1].kick_fd, POLLIN, 0},
			     {t->d.queues[0].kick_fd, POLLIN, 0},
			     {t->tap, POLLIN, 0}};
	static struct chain none;

	while (poll(p, vq_has_more(&t->queues[0]) ? 4 : 3, -1) > 0 && !p[0].revents) {
		fd_drain(p[1].fd);
		fd_drain(p[2].fd);
		copy_out(t);
		copy_in(t);
		if (!vq_has_more(&t->queues[0]) && vq_pop(&t->queues[0], &none))
			exit(3); /* asks for a kick */
	}
	return NULL;
}

static void copy_start(struct target *t)
{
	struct ifreq r = {.ifr_name = TAP, .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	unsigned long offloads = TUN_F_CSUM | TUN_F_TSO4;
	int header = HEADER;

	t->tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (ioctl(t->tap, TUNSETIFF, &r) < 0 || ioctl(t->tap, TUNSETVNETHDRSZ, &header) < 0 ||
	    ioctl(t->tap, TUNSETOFFLOAD, offloads) < 0)
		die("tap");
	for (unsigned i = 0; i < 2; i++)
		check(driver_vq_start(&t->d, i, NULL, &t->queues[i]), "queue");
	t->stop_fd = fd_eventfd();
	check(-pthread_create(&t->thread, NULL, copy_run, t), "thread");
}

static void copy_stop(struct target *t)
{
	fd_signal(t->stop_fd);
	pthread_join(t->thread, NULL);
	fd_close(&t->stop_fd);
	fd_close(&t->tap);
}

/* ---- devices ---- */

static void device_start(struct target *t)
{
	int pair[2];
	char number[16];

	check(fd_socketpair(SOCK_STREAM, pair), "socket");
	t->pid = fork();
	if (t->pid == 0) {
		snprintf(number, sizeof(number), "%d", dup(pair[1]));
		execl(program, "crosvm", "device", "net", "--fd", number, t->options, NULL);
		_exit(127);
	}
	close(pair[1]);
	check(driver_connect_take(&t->d, pair[0]), "device");
}

static bool target_start(struct target *t)
{
	struct driver_options o = {
		.nqueues = 2,
		.queue_size = QUEUE_SIZE,
		.memory = 2 * QUEUE_SIZE * SLOT + (4 << 20),
		.features = VIRTIO_BIT(VIRTIO_NET_F_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) |
			    VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4) |
			    VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) |
			    VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF),
	};

	check(driver_init(&t->d, &o), "driver");
	t->in = driver_alloc(&t->d, QUEUE_SIZE * SLOT, 4096);
	t->out = driver_alloc(&t->d, QUEUE_SIZE * SLOT, 4096);
	if (t->options)
		device_start(t);
	else
		copy_start(t);
	return true;
}

static void target_stop(struct target *t)
{
	if (!t->options)
		copy_stop(t);
	driver_fini(&t->d);
	if (t->options)
		waitpid(t->pid, NULL, 0);
}

static double cpu_seconds(const struct target *t)
{
	struct timespec ts = {0};
	char path[64], text[128] = "";
	clockid_t clock;
	auto_fd fd = -1;

	if (!t->options) {
		if (pthread_getcpuclockid(t->thread, &clock) == 0)
			clock_gettime(clock, &ts);
		return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
	}
	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)t->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return 0;
	return (double)strtoull(text, NULL, 10) / 1e9;
}

/* ---- frames ---- */

/* A frame of n bytes; a long one is TCP, to be cut. Behind a virtio header. */
static void frame_make(uint8_t *at, uint32_t n)
{
	struct virtio_net_hdr_v1 h = {0};
	uint8_t *f = at + HEADER;

	memset(at, 0, HEADER + n);
	memcpy(f, "\2\0\0\0\0\1\2\0\0\0\0\2", 12);
	f[12] = PROTOCOL >> 8;
	f[13] = PROTOCOL & 0xff;
	if (n > 1514) {
		h = (struct virtio_net_hdr_v1){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					       .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					       .hdr_len = 54,
					       .gso_size = 1448,
					       .csum_start = 34,
					       .csum_offset = 16};
		memcpy(f + 12, "\x08\0\x45\0", 4);
		f[16] = (uint8_t)((n - 14) >> 8);
		f[17] = (uint8_t)(n - 14);
		memcpy(f + 22, "\x40\x06", 2);
		memcpy(f + 26, "\x0a\x4d\0\1\x0a\x4d\0\2", 8);
		f[46] = 0x50;
	}
	memcpy(at, &h, sizeof(h));
}

static unsigned add_out(struct target *t, uint32_t bytes, unsigned i)
{
	struct driver_buf b = {t->out + (i % QUEUE_SIZE) * (gpa)SLOT, HEADER + bytes, false};

	return driver_add(&t->d.queues[1], &b, 1) >= 0;
}

static unsigned out(struct target *t, uint32_t bytes)
{
	struct driver_queue *q = &t->d.queues[1];
	double end = now() + seconds;
	unsigned added = 0, done = 0;
	struct driver_used used;

	for (unsigned i = 0; i < QUEUE_SIZE; i++)
		frame_make(driver_at(&t->d, t->out + i * (gpa)SLOT, SLOT), bytes);
	while (now() < end || done < added) {
		bool on = now() < end;

		while (on && added - done < QUEUE_SIZE && add_out(t, bytes, added))
			added++;
		driver_kick(q);
		check(driver_wait(q, WAIT_MS, &used), "out");
		do
			done++;
		while (driver_poll(q, &used));
	}
	return done;
}

static void add_in(struct target *t, unsigned i)
{
	struct driver_buf b = {t->in + (i % QUEUE_SIZE) * (gpa)SLOT, SLOT, true};

	if (driver_add(&t->d.queues[0], &b, 1) < 0)
		exit(3);
}

/* Fills the tap; how many frames it took. */
static unsigned make_ready(uint32_t bytes)
{
	static uint8_t frame[HEADER + SLOT];
	unsigned want = bytes > 1514 ? 400 : READY_MAX, n = 0;
	int sock = bytes > 1514 ? netns_packet_socket(TAP, 0x0800) : dup(packets);

	frame_make(frame, bytes);
	memmove(frame + HEADER - PACKET_HEADER, frame, PACKET_HEADER);
	for (; n < want; n++)
		if (send(sock, frame + HEADER - PACKET_HEADER, PACKET_HEADER + bytes, 0) < 0)
			break;
	close(sock);
	return n;
}

/* Receives n frames, first giving all buffers; *ret_seconds without the time to make them ready. */
static unsigned in(struct target *t, uint32_t bytes, double *ret_seconds)
{
	struct driver_queue *q = &t->d.queues[0];
	unsigned total = 0, given = 0, taken = 0;
	struct driver_used used;

	*ret_seconds = 0;
	while (*ret_seconds < seconds) {
		unsigned n = make_ready(bytes), seen = 0;
		double begun = now();

		while (seen < n) {
			/* As many buffers as there are frames: none is left to the next turn. */
			while (given - taken < QUEUE_SIZE && given - taken < n - seen)
				add_in(t, given++);
			driver_kick(q);
			check(driver_wait(q, WAIT_MS, &used), "in");
			do {
				taken++;
				seen++;
			} while (driver_poll(q, &used));
		}
		*ret_seconds += now() - begun;
		total += n;
	}
	return total;
}

enum { PING_BUFFERS = 64 };

static unsigned ping(struct target *t, uint32_t bytes)
{
	double end = now() + seconds;
	uint8_t frame[HEADER + 2048];
	struct driver_used used;
	unsigned n = 0;

	frame_make(driver_at(&t->d, t->out, SLOT), bytes);
	for (unsigned i = 0; i < PING_BUFFERS; i++)
		add_in(t, i);
	for (; now() < end; n++) {
		ssize_t got;

		add_in(t, PING_BUFFERS + n);
		driver_kick(&t->d.queues[0]);
		add_out(t, bytes, 0);
		driver_kick(&t->d.queues[1]);
		got = recv(packets, frame, sizeof(frame), 0);
		if (got != PACKET_HEADER + (ssize_t)bytes ||
		    send(packets, frame, (size_t)got, 0) < 0)
			die("ping");
		check(driver_wait(&t->d.queues[0], WAIT_MS, &used), "ping");
		check(driver_wait(&t->d.queues[1], WAIT_MS, &used), "ping");
	}
	return n;
}

/* ---- rounds ---- */

static void packets_drain(void)
{
	uint8_t frame[2048];

	while (recv(packets, frame, sizeof(frame), MSG_DONTWAIT) > 0)
		;
}

static void measure(struct target *t, unsigned pattern, unsigned round)
{
	const struct pattern *p = &patterns[pattern];
	double begun, cpu, took;
	unsigned n;

	target_start(t);
	packets = netns_packet_socket(TAP, p->kind == 'o' ? 0x88b6 : PROTOCOL);
	packets_drain();
	begun = now();
	cpu = cpu_seconds(t);
	if (p->kind == 'i') {
		n = in(t, p->bytes, &took);
	} else {
		n = p->kind == 'o' ? out(t, p->bytes) : ping(t, p->bytes);
		took = now() - begun;
	}
	t->rate[pattern][round] = n / took;
	t->cpu_us[pattern][round] = (cpu_seconds(t) - cpu) * 1e6 / n;
	target_stop(t);
	fd_close(&packets);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *list, unsigned n)
{
	qsort(list, n, sizeof(*list), compare);
	return list[n / 2];
}

static void print(struct target *targets, unsigned ntargets, unsigned pattern, unsigned rounds)
{
	double base = median(targets[0].rate[pattern], rounds);
	double base_cpu = median(targets[0].cpu_us[pattern], rounds);

	for (unsigned i = 0; i < ntargets; i++) {
		double rate = median(targets[i].rate[pattern], rounds);
		double cpu = median(targets[i].cpu_us[pattern], rounds);

		printf("%-24s %-10s %9.0f frames/s %8.1f MB/s  x%4.2f  %7.2f us CPU  x%4.2f\n",
		       patterns[pattern].name, targets[i].name, rate,
		       rate * patterns[pattern].bytes / 1e6, rate / base, cpu,
		       cpu > 0 ? base_cpu / cpu : 0);
	}
}

static void tap_prepare(void)
{
	struct ifreq r = {.ifr_name = TAP, .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	auto_fd tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	auto_fd sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (ioctl(tun, TUNSETIFF, &r) < 0 || ioctl(tun, TUNSETPERSIST, 1) < 0)
		die("tap");
	r.ifr_flags = IFF_UP;
	if (ioctl(sock, SIOCSIFFLAGS, &r) < 0)
		die("tap up");
	r.ifr_qlen = READY_MAX;
	if (ioctl(sock, SIOCSIFTXQLEN, &r) < 0)
		die("length of the tap's queue");
}

int main(int argc, char **argv)
{
	static struct target targets[3] = {{.name = "copy loop"},
					   {.name = "crosvm", .options = OPTIONS},
					   {.name = "vhost-net", .options = OPTIONS ",vhost"}};
	unsigned rounds = argc > 3 ? (unsigned)atoi(argv[3]) : 5;
	unsigned ntargets = access("/dev/vhost-net", R_OK | W_OK) == 0 ? 3 : 2;

	if (argc < 4 || rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: bench-net PROGRAM MILLISECONDS ROUNDS [PATTERN]\n");
		return 2;
	}
	program = argv[1];
	seconds = atoi(argv[2]) / 1e3;
	if (!netns_enter())
		die("network namespace");
	tap_prepare();
	if (ntargets == 2)
		printf("no /dev/vhost-net here\n");
	for (unsigned p = 0; p < PATTERNS; p++) {
		if (argc > 4 && strncmp(patterns[p].name, argv[4], strlen(argv[4])) != 0)
			continue;
		for (unsigned round = 0; round < rounds; round++)
			for (unsigned i = 0; i < ntargets; i++)
				measure(&targets[i], p, round);
		print(targets, ntargets, p, rounds);
		fflush(stdout);
	}
	return 0;
}
