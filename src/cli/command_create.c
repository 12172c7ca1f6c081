/* SPDX-License-Identifier: BSD-3-Clause */
/* command_create.c - crosvm create_qcow2: new disk images */
#include "cli/command.h"

#include "backend/image_qcow2_new.h"
#include "base/args.h"
#include "base/exit_codes.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

static const char *const formats[] = {"raw", "qcow2", NULL};

struct backing {
	char *path;
	int format; /* -1: not said */
};

static const struct opt backing_opts[] = {
	OPT_FIRST(struct backing, path, "FILE", "Image below this one"),
	OPT_CHOICE(struct backing, format, formats, "Its format"),
	OPT_END,
};

const struct arg command_create_args[] = {
	{.name = "cluster-size",
	 .value = "SIZE",
	 .help = "Unit of allocation, 512 to 2M (default: 64K)"},
	{.name = "backing",
	 .value = "FILE,format=raw|qcow2",
	 .help = "What reads as FILE until it is written"},
	{.name = "help", .letter = 'h', .help = "Print this text"},
	{.name = NULL},
};

struct wanted {
	const char *path, *size_text;
	uint64_t size;
	struct backing backing;
	struct qcow2_create_options create;
};

static int set_cluster_size(struct wanted *w, const char *text, struct err *e)
{
	uint64_t n = 0;

	if (opt_size(text, &n) < 0 || !is_power_of_two(n) || n < 1u << QCOW2_CLUSTER_BITS_MIN ||
	    n > 1u << QCOW2_CLUSTER_BITS_MAX)
		return err_say(e, EINVAL,
			       "--cluster-size: \"%s\": not a power of two from 512 to 2M", text);
	w->create.cluster_bits = (uint32_t)__builtin_ctzll(n);
	return 0;
}

static int set_backing(struct wanted *w, const char *text, struct err *e)
{
	if (w->backing.path)
		return err_say(e, EINVAL, "--backing: given twice");
	w->backing.format = -1;
	if (opt_parse(backing_opts, &w->backing, text, e) < 0)
		return err_in(e, "--backing");
	if (!w->backing.path)
		return err_say(e, EINVAL, "--backing: a file is missing: FILE,format=raw|qcow2");
	if (w->backing.format < 0)
		return err_say(e, EINVAL,
			       "--backing: a format is missing, it is never guessed: add "
			       "format=raw or format=qcow2");
	if (strlen(w->backing.path) > QCOW2_BACKING_NAME_MAX)
		return err_say(e, ENAMETOOLONG, "--backing: longer than %d bytes",
			       QCOW2_BACKING_NAME_MAX);
	w->create.backing = w->backing.path;
	w->create.backing_format = formats[w->backing.format];
	return 0;
}

static int take_word(void *context, const char *text, struct err *e)
{
	struct wanted *w = context;

	if (!w->path)
		w->path = text;
	else if (!w->size_text)
		w->size_text = text;
	else
		return err_say(e, EINVAL, "\"%.100s\": one word too many", text);
	return 0;
}

static int take_option(void *context, const struct args_item *item, struct err *e)
{
	if (strcmp(item->arg->name, "cluster-size") == 0)
		return set_cluster_size(context, item->value, e);
	return set_backing(context, item->value, e);
}

static int check_words(void *context, struct err *e)
{
	struct wanted *w = context;

	if (!w->path || (!w->size_text && !w->backing.path))
		return err_say(e, EINVAL, "%s is missing", w->path ? "SIZE" : "FILE");
	if (w->size_text && (opt_size(w->size_text, &w->size) < 0 || w->size == 0))
		return err_say(e, EINVAL,
			       "\"%.100s\": not a size; give bytes, or a number with K, M, G or T",
			       w->size_text);
	return 0;
}

/* As whoever opens the image will look for it: from the image's folder. */
static int open_backing(const struct wanted *w, struct err *e)
{
	const char *slash = strrchr(w->path, '/');
	char path[PATH_BYTES];
	struct stat st;
	int fd, n;

	if (w->backing.path[0] == '/' || !slash)
		n = snprintf(path, sizeof(path), "%s", w->backing.path);
	else
		n = snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - w->path), w->path,
			     w->backing.path);
	if (n >= (int)sizeof(path))
		return err_set(e, ENAMETOOLONG, "--backing");
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_say(e, EINVAL, "--backing: %s: not a regular file or block device",
			       path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_say(e, errno, "--backing: %s: %s; names count from the image's folder",
			       path, strerror(errno));
	return fd;
}

static bool is_same_file(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* Without a size the disk is as large as what lies below. */
static int use_backing(struct wanted *w, struct err *e)
{
	auto_fd fd = open_backing(w, e);
	struct qcow2_header *h;
	off_t end;
	int r = 0;

	if (fd < 0)
		return fd;
	if (is_same_file(fd, w->path))
		return err_say(e, EINVAL, "--backing: %s: is the image to be made", w->path);
	end = lseek(fd, 0, SEEK_END);
	if (strcmp(formats[w->backing.format], "qcow2") == 0) {
		h = calloc(1, sizeof(*h));
		r = h ? qcow2_header_read(fd, h, e) : err_set(e, ENOMEM, "cannot read");
		end = r < 0 ? 0 : (off_t)min_u64(h->size, INT64_MAX);
		free(h);
	}
	if (r < 0)
		return err_in(e, "--backing: %s", w->backing.path);
	if (!w->size_text)
		w->size = (uint64_t)end;
	return 0;
}

static int create(struct wanted *w)
{
	struct err e = {0};
	int r = w->backing.path ? use_backing(w, &e) : 0;

	if (r == 0)
		r = qcow2_new(w->path, w->size, &w->create, &e);
	if (r < 0)
		log_error("create_qcow2: %s", e.text);
	return r < 0 ? EXIT_CODE_ERROR : EXIT_CODE_OK;
}

int command_create_qcow2(int argc, char **argv)
{
	static const struct command_reader reader = {take_option, take_word, check_words};
	struct wanted w = {.path = NULL};
	int code = command_read("create_qcow2", argc, argv, &reader, &w);

	if (code == COMMAND_GOES_ON)
		code = create(&w);
	opt_fini(backing_opts, &w.backing);
	return code;
}
