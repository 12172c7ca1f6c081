/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * deaths_test.c - real devices behind a front end: served, reset, replaced
 *
 * The driver's rings and requests are those of virtio/driver_test.h; what a guest does by registers
 * is done here by calls of the front end.  Devices are threads, and one is a foreign process.
 */
#include "base/fd.h"
#include "base/skip.h"
#include "devices/serve.h"
#include "transport/frontend.h"
#include "virtio/driver_test.h"
#include "virtio/ids.h"

#include <linux/virtio_blk.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	QUEUE_SIZE = 64,
	ENTROPY = 64, /* bytes a request */
	ROUNDS = 30,
	WAIT_MS = 10000,
	DRIVER = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK,
};

static struct driver driver;
static struct gmem gmem;
static struct loop loop;
static struct frontend f;
static struct device_thread *thread;
static unsigned nlosses;
static const struct driver_options split = {.nqueues = 1, .queue_size = QUEUE_SIZE};
static const struct driver_options packed = {
	.nqueues = 1, .queue_size = QUEUE_SIZE, .packed = true};

static void lost(struct frontend *frontend, const char *why)
{
	(void)frontend;
	assert_non_null(why);
	nlosses++;
}

static void set_up(const struct driver_options *options, uint16_t id, size_t config_size)
{
	struct frontend_args args = {
		.name = "test",
		.virtio_id = id,
		.nqueues = 1,
		.queue_size = QUEUE_SIZE,
		.config_size = config_size,
		.gmem = &gmem,
		.loop = &loop,
		.lost = lost,
	};
	struct err e;

	nlosses = 0;
	assert_int_equal(driver_init(&driver, options), 0);
	gmem = driver.gmem;
	gmem.regions[0].fd = driver.mem_fd;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(frontend_init(&f, &args, &e), 0);
	/* Kicks and calls of the one are those of the other. */
	assert_true(dup2(f.queues[0].kick_fd, driver.queues[0].kick_fd) >= 0);
	assert_true(dup2(f.queues[0].call_fd, driver.queues[0].call_fd) >= 0);
}

static void tear_down(void)
{
	frontend_fini(&f);
	device_thread_stop(thread);
	thread = NULL;
	loop_fini(&loop);
	driver_fini(&driver);
}

static void attach(int sock)
{
	struct err e;

	assert_int_equal(frontend_attach_take(&f, sock, &e), 0);
	while (!frontend_is_linked(&f) && nlosses == 0)
		assert_int_equal(loop_once(&loop, WAIT_MS), 0);
	assert_int_equal(nlosses, 0);
}

static void start_device(void)
{
	struct err e;
	int pair[2];

	assert_int_equal(fd_socketpair(SOCK_STREAM, pair), 0);
	assert_int_equal(device_thread_start_take(
				 &(struct device_thread_args){.type = "rng",
							      .name = "rng0",
							      .options = "rate=1G",
							      .sock = pair[1],
							      .control_sock = -1},
				 &thread, &e),
			 0);
	attach(pair[0]);
}

static void kill_device(void)
{
	device_thread_stop(thread);
	thread = NULL;
	frontend_detach(&f);
}

static void set_area(enum frontend_area area, gpa at)
{
	frontend_queue_address_set(&f, 0, area, false, (uint32_t)at);
	frontend_queue_address_set(&f, 0, area, true, (uint32_t)(at >> 32));
}

static void start_driver(void)
{
	struct driver_queue *q = &driver.queues[0];
	uint64_t features = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX);

	if (driver.options.packed)
		features |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	features &= frontend_features(&f);
	driver.acked = features;
	frontend_driver_features_set(&f, 0, (uint32_t)features);
	frontend_driver_features_set(&f, 1, (uint32_t)(features >> 32));
	frontend_status_set(&f, DRIVER);
	frontend_queue_size_set(&f, 0, QUEUE_SIZE);
	set_area(FRONTEND_DESC, q->desc_at);
	set_area(FRONTEND_DRIVER, q->driver_at);
	set_area(FRONTEND_DEVICE, q->device_at);
	frontend_queue_enable(&f, 0);
	frontend_status_set(&f, DRIVER | VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(frontend_status(&f), DRIVER | VIRTIO_CONFIG_S_DRIVER_OK);
}

/* n requests, not waited for. */
static void ask(gpa buffer, unsigned n)
{
	struct driver_buf b = {buffer, ENTROPY, true};

	for (unsigned i = 0; i < n; i++)
		assert_true(driver_add(&driver.queues[0], &b, 1) >= 0);
	driver_kick(&driver.queues[0]);
}

/* Their answers, each once. */
static void collect(unsigned n)
{
	struct driver_used used;

	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(driver_wait(&driver.queues[0], WAIT_MS, &used), 0);
		assert_int_equal(used.len, ENTROPY);
	}
	assert_false(driver_poll(&driver.queues[0], &used));
}

static void check_serves(const struct driver_options *options)
{
	gpa buffer;

	set_up(options, VIRTIO_ID_RNG, 0);
	buffer = driver_alloc(&driver, ENTROPY, 64);
	start_device();
	start_driver();
	ask(buffer, 5);
	collect(5);
	frontend_status_set(&f, 0);
	driver_reset(&driver);
	start_driver();
	ask(buffer, QUEUE_SIZE);
	collect(QUEUE_SIZE);
	frontend_pause(&f);
	ask(buffer, 3);
	frontend_resume(&f);
	collect(3);
	tear_down();
}

static void requests_are_served_before_and_after_a_reset(void **state)
{
	(void)state;
	check_serves(&split);
	check_serves(&packed);
}

static void check_replaced(const struct driver_options *options)
{
	gpa buffer;

	set_up(options, VIRTIO_ID_RNG, 0);
	buffer = driver_alloc(&driver, ENTROPY, 64);
	start_device();
	start_driver();
	for (unsigned i = 0; i < ROUNDS; i++) {
		ask(buffer, 1 + i % 40);
		kill_device(); /* with some of them done, or all, or none */
		start_device();
		collect(1 + i % 40);
	}
	assert_int_equal(frontend_restarts(&f), ROUNDS);
	tear_down();
}

static void no_request_is_lost_or_done_twice_by_replacement(void **state)
{
	(void)state;
	check_replaced(&split);
	check_replaced(&packed);
}

static void requests_made_while_there_is_no_device_are_served(void **state)
{
	gpa buffer;

	(void)state;
	set_up(&split, VIRTIO_ID_RNG, 0);
	buffer = driver_alloc(&driver, ENTROPY, 64);
	start_device();
	start_driver();
	kill_device();
	ask(buffer, 7);
	start_device();
	collect(7);
	kill_device();
	frontend_status_set(&f, 0);
	driver_reset(&driver);
	start_driver();
	ask(buffer, 2);
	start_device();
	collect(2);
	tear_down();
}

/* ---- a foreign back end ---- */

static const char storage_daemon[] = "/usr/bin/qemu-storage-daemon";

struct foreign {
	char folder[32], disk[64], sock[64], pid_file[64];
};

static void foreign_start(struct foreign *foreign)
{
	char disk[256], export[256];
	int status;
	pid_t pid;
	FILE *out;

	strcpy(foreign->folder, "/tmp/deaths_test.XXXXXX");
	assert_non_null(mkdtemp(foreign->folder));
	snprintf(foreign->disk, sizeof(foreign->disk), "%s/disk", foreign->folder);
	snprintf(foreign->sock, sizeof(foreign->sock), "%s/sock", foreign->folder);
	snprintf(foreign->pid_file, sizeof(foreign->pid_file), "%s/pid", foreign->folder);
	out = fopen(foreign->disk, "w");
	assert_non_null(out);
	assert_int_equal(fprintf(out, "%-65536s", "foreign disk"), 65536);
	assert_int_equal(fclose(out), 0);
	snprintf(disk, sizeof(disk), "driver=file,node-name=d,filename=%s", foreign->disk);
	snprintf(export, sizeof(export),
		 "type=vhost-user-blk,id=e,node-name=d,writable=on,addr.type=unix,addr.path=%s",
		 foreign->sock);
	pid = fork();
	if (pid == 0) {
		execl(storage_daemon, storage_daemon, "--daemonize", "--pidfile", foreign->pid_file,
		      "--blockdev", disk, "--export", export, (char *)NULL);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid); /* it returns when it listens */
	assert_int_equal(status, 0);
}

static int foreign_connect(const struct foreign *foreign)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, foreign->sock);
	assert_int_equal(connect(sock, (struct sockaddr *)&address, sizeof(address)), 0);
	return sock;
}

static void foreign_end(struct foreign *foreign)
{
	FILE *in = fopen(foreign->pid_file, "r");
	int pid = 0;

	assert_non_null(in);
	assert_int_equal(fscanf(in, "%d", &pid), 1);
	fclose(in);
	assert_true(pid > 1);
	kill(pid, SIGKILL);
	unlink(foreign->disk);
	unlink(foreign->sock);
	unlink(foreign->pid_file);
	rmdir(foreign->folder);
}

/* Reads the first sector and compares its beginning. */
static void read_sector(const char *expected)
{
	struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_IN};
	gpa at = driver_alloc(&driver, 4096, 4096);
	struct driver_buf bufs[] = {
		{at, sizeof(header), false}, {at + 512, 512, true}, {at + 2048, 1, true}};
	struct driver_used used;

	memcpy(driver_at(&driver, at, sizeof(header)), &header, sizeof(header));
	memset(driver_at(&driver, at + 2048, 1), 0xff, 1);
	assert_true(driver_add(&driver.queues[0], bufs, 3) >= 0);
	driver_kick_always(&driver.queues[0]);
	assert_int_equal(driver_wait(&driver.queues[0], WAIT_MS, &used), 0);
	assert_memory_equal(driver_at(&driver, at + 512, 512), expected, strlen(expected));
	assert_int_equal(*(uint8_t *)driver_at(&driver, at + 2048, 1), VIRTIO_BLK_S_OK);
}

static void a_foreign_disk_is_served_and_comes_back(void **state)
{
	struct foreign foreign;
	uint64_t capacity = 0;

	(void)state;
	SKIP_UNLESS(access(storage_daemon, X_OK) == 0, "qemu-storage-daemon (package qemu-utils)");
	foreign_start(&foreign);
	set_up(&split, VIRTIO_ID_BLOCK, 256);
	attach(foreign_connect(&foreign));
	frontend_config_read(&f, 0, &capacity, sizeof(capacity));
	assert_int_equal(capacity, 65536 / 512);
	assert_true(f.config_known >= 60 && f.config_known < 256);
	start_driver();
	read_sector("foreign disk");
	frontend_status_set(&f, 0);
	driver_reset(&driver);
	start_driver();
	read_sector("foreign disk");
	frontend_detach(&f);
	attach(foreign_connect(&foreign));
	read_sector("foreign disk");
	tear_down();
	foreign_end(&foreign);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_served_before_and_after_a_reset),
		cmocka_unit_test(no_request_is_lost_or_done_twice_by_replacement),
		cmocka_unit_test(requests_made_while_there_is_no_device_are_served),
		cmocka_unit_test(a_foreign_disk_is_served_and_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
