/* SPDX-License-Identifier: BSD-3-Clause */
/* pressure.c - whether the host is short of memory; pressure.h tells from where */
#include "vm/pressure.h"

#include "base/fd.h"
#include "base/num.h"
#include "base/opt.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MIB       (UINT64_C(1) << 20)
#define SECOND_NS UINT64_C(1000000000)

enum {
	TEXT_MAX = 2048,   /* of /proc/meminfo, which has what we want at the top */
	MARGIN_SHARE = 16, /* of the host's memory */
	NEAR_MARGINS = 4,  /* available memory below this many margins is looked at often */
	LOOK_NEAR_S = 1,
	LOOK_FAR_S = 10,
};

/*
 * Tasks waited a tenth of a second within one; those without CAP_SYS_RESOURCE may use windows of
 * whole two seconds, since Linux 6.5 (Documentation/accounting/psi.rst).
 */
static const char *const triggers[] = {"some 100000 1000000", "some 200000 2000000"};

const struct pressure_paths pressure_paths = {
	.chromeos_notice = "/dev/chromeos-low-mem",
	.chromeos_margin = "/sys/kernel/mm/chromeos-low_mem/margin",
	.chromeos_available = "/sys/kernel/mm/chromeos-low_mem/available",
	.psi = "/proc/pressure/memory",
	.own_cgroup = "/proc/self/cgroup",
	.cgroup_root = "/sys/fs/cgroup",
	.meminfo = "/proc/meminfo",
};

static int open_file(const char *path, int flags, struct err *e)
{
	int fd = open(path, flags | O_CLOEXEC);

	return fd < 0 ? err_set(e, errno, "%s", path) : fd;
}

/* The whole file from its beginning, cut to the buffer. */
static int read_text(int fd, char buf[TEXT_MAX])
{
	ssize_t n = pread(fd, buf, TEXT_MAX - 1, 0);

	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return 0;
}

/* ---- ChromeOS ---- */

static int chromeos_open(struct pressure *p, const struct pressure_paths *paths, struct err *e)
{
	p->notice_fd = open_file(paths->chromeos_notice, O_RDONLY | O_NONBLOCK, e);
	if (p->notice_fd < 0)
		return p->notice_fd;
	p->margin_fd = open_file(paths->chromeos_margin, O_RDONLY, e);
	if (p->margin_fd < 0)
		return p->margin_fd;
	p->available_fd = open_file(paths->chromeos_available, O_RDONLY, e);
	return p->available_fd < 0 ? p->available_fd : 0;
}

/* A decimal number of MiB with space around it. */
static int read_mib(int fd, uint64_t *ret)
{
	char text[TEXT_MAX], *begin = text, *end;
	int r = read_text(fd, text);

	if (r < 0)
		return r;
	while (isspace((unsigned char)*begin))
		begin++;
	end = begin + strlen(begin);
	while (end > begin && isspace((unsigned char)end[-1]))
		*--end = '\0';
	r = opt_number(begin, ret);
	return r == 0 && !mul_ok(*ret, MIB, ret) ? -ERANGE : r;
}

static int chromeos_read(const struct pressure *p, struct balloon_reading *ret, struct err *e)
{
	struct pollfd notice = {.fd = p->notice_fd, .events = POLLIN};
	int r = read_mib(p->margin_fd, &ret->margin_bytes);

	if (r == 0)
		r = read_mib(p->available_fd, &ret->available_bytes);
	ret->is_low = poll(&notice, 1, 0) == 1 && (notice.revents & POLLIN);
	return r < 0 ? err_set(e, -r, "cannot read margin and available memory") : 0;
}

/* ---- PSI ---- */

/* A row of /proc/meminfo, "Name:   123 kB", in bytes. */
static int meminfo_read(int fd, const char *name, uint64_t *ret)
{
	char text[TEXT_MAX];
	unsigned long long kib;
	const char *row;
	int r = read_text(fd, text);

	if (r < 0)
		return r;
	row = strstr(text, name);
	if (!row || sscanf(row + strlen(name), ": %llu kB", &kib) != 1 || !mul_ok(kib, 1024, ret))
		return -EPROTO;
	return 0;
}

static int psi_arm(const char *path, struct err *e)
{
	auto_fd fd = open_file(path, O_RDWR | O_NONBLOCK, e);

	if (fd < 0)
		return fd;
	for (size_t i = 0; i < ARRAY_LEN(triggers); i++)
		if (write(fd, triggers[i], strlen(triggers[i]) + 1) > 0)
			return fd_take(&fd);
	return err_set(e, errno, "%s", path);
}

/* The memory.pressure of the group that a line "0::/path" names. */
static int psi_arm_cgroup(const struct pressure_paths *paths, struct err *e)
{
	char text[TEXT_MAX], path[TEXT_MAX], *group;
	auto_fd fd = open_file(paths->own_cgroup, O_RDONLY, e);
	int n;

	if (fd < 0)
		return fd;
	if (read_text(fd, text) < 0)
		return err_say(e, EIO, "%s cannot be read", paths->own_cgroup);
	group = strstr(text, "0::/");
	if (!group || (group > text && group[-1] != '\n'))
		return err_say(e, ENODEV, "no control group of version 2");
	group += strlen("0::");
	group[strcspn(group, "\n")] = '\0';
	n = snprintf(path, sizeof(path), "%s%s/memory.pressure", paths->cgroup_root, group);
	if (n < 0 || (size_t)n >= sizeof(path))
		return err_say(e, ENAMETOOLONG, "the name of the control group is too long");
	return psi_arm(path, e);
}

static int psi_open(struct pressure *p, uint64_t margin_bytes, const struct pressure_paths *paths,
		    struct err *e)
{
	struct err own = {0};
	uint64_t total;
	int r;

	p->available_fd = open_file(paths->meminfo, O_RDONLY, e);
	if (p->available_fd < 0)
		return p->available_fd;
	r = meminfo_read(p->available_fd, "MemTotal", &total);
	if (r < 0)
		return err_set(e, -r, "%s", paths->meminfo);
	p->margin_bytes = margin_bytes > 0 ? margin_bytes : total / MARGIN_SHARE;
	p->notice_fd = psi_arm(paths->psi, e);
	if (p->notice_fd < 0 && p->notice_fd != -ENOENT)
		p->notice_fd = psi_arm_cgroup(paths, &own); /* e stays: it says more */
	return p->notice_fd < 0 ? -e->code : 0;
}

static int psi_read(const struct pressure *p, struct balloon_reading *ret, struct err *e)
{
	int r = meminfo_read(p->available_fd, "MemAvailable", &ret->available_bytes);

	ret->margin_bytes = p->margin_bytes;
	ret->is_low = r == 0 && ret->available_bytes < ret->margin_bytes;
	return r < 0 ? err_set(e, -r, "cannot read the available memory") : 0;
}

/* ---- both ---- */

static void forget(struct pressure *p)
{
	fd_close(&p->notice_fd);
	fd_close(&p->margin_fd);
	fd_close(&p->available_fd);
}

static void notice_ready(struct watch *w, uint32_t events)
{
	struct pressure *p = container_of(w, struct pressure, watch);

	if (events & EPOLLERR) { /* the control group was removed */
		pressure_listen(p, p->loop, false);
		p->is_deaf = true;
		return;
	}
	p->notices++;
	p->noticed(p);
}

int pressure_open(struct pressure *p, enum pressure_kind kind, uint64_t margin_bytes,
		  const struct pressure_paths *paths, struct err *e)
{
	int r;

	*p = (struct pressure){
		.kind = PRESSURE_OFF, .notice_fd = -1, .margin_fd = -1, .available_fd = -1};
	p->watch.ready = notice_ready;
	if (kind == PRESSURE_OFF)
		return 0;
	if (kind != PRESSURE_PSI) {
		r = chromeos_open(p, paths, e);
		if (r == 0)
			p->kind = PRESSURE_CHROMEOS;
		if (r == 0 || kind == PRESSURE_CHROMEOS)
			goto out;
		forget(p);
	}
	r = psi_open(p, margin_bytes, paths, e);
	if (r == 0)
		p->kind = PRESSURE_PSI;
out:
	if (r < 0)
		forget(p);
	return r < 0 ? -ENODEV : 0;
}

void pressure_close(struct pressure *p)
{
	if (!p || !p->watch.ready)
		return;
	if (p->loop)
		pressure_listen(p, p->loop, false);
	forget(p);
	*p = (struct pressure){.kind = PRESSURE_OFF};
}

void pressure_listen(struct pressure *p, struct loop *l, bool listens)
{
	const uint32_t events = p->kind == PRESSURE_PSI ? EPOLLPRI : EPOLLIN;

	p->loop = l;
	if (listens == p->listens || p->is_deaf || p->notice_fd < 0)
		return;
	p->watch.fd = p->notice_fd;
	if (!listens)
		loop_remove(l, &p->watch);
	p->listens = listens && loop_add(l, &p->watch, events) == 0;
}

int pressure_read(const struct pressure *p, struct balloon_reading *ret, struct err *e)
{
	*ret = (struct balloon_reading){.is_low = false};
	switch (p->kind) {
	case PRESSURE_CHROMEOS:
		return chromeos_read(p, ret, e);
	case PRESSURE_PSI:
		return psi_read(p, ret, e);
	case PRESSURE_AUTO:
	case PRESSURE_OFF:
		break;
	}
	return err_say(e, ENODEV, "there is nothing to read");
}

uint64_t pressure_look_ns(const struct pressure *p, const struct balloon_reading *r)
{
	if (p->kind != PRESSURE_PSI)
		return 0;
	return (r->available_bytes / NEAR_MARGINS < r->margin_bytes ? LOOK_NEAR_S : LOOK_FAR_S) *
	       SECOND_NS;
}
