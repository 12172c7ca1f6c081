/* SPDX-License-Identifier: BSD-3-Clause */
/* command_create.c - crosvm create_qcow2: new disk images */
#include "vm/command.h"

#include "backend/image_qcow2_new.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/num.h"
#include "vm/args.h"
#include "vm/exit_codes.h"

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

static const struct arg table[] = {
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
	bool help;
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

static int set_word(struct wanted *w, const char *text, struct err *e)
{
	if (!w->path)
		w->path = text;
	else if (!w->size_text)
		w->size_text = text;
	else
		return err_say(e, EINVAL, "\"%s\" is one word too many: PATH SIZE", text);
	return 0;
}

static int set_option(struct wanted *w, const struct args_item *item, struct err *e)
{
	if (strcmp(item->arg->name, "cluster-size") == 0)
		return set_cluster_size(w, item->value, e);
	if (strcmp(item->arg->name, "backing") == 0)
		return set_backing(w, item->value, e);
	w->help = true;
	return 0;
}

static int check_words(struct wanted *w, struct err *e)
{
	if (!w->path || (!w->size_text && !w->backing.path))
		return err_say(e, EINVAL, "%s is missing: crosvm create_qcow2 PATH SIZE",
			       w->path ? "SIZE" : "PATH");
	if (w->size_text && (opt_size(w->size_text, &w->size) < 0 || w->size == 0))
		return err_say(e, EINVAL,
			       "\"%s\": not a size; give bytes, or a number with K, M, G or T",
			       w->size_text);
	return 0;
}

/* All mistakes are told; the number of them. */
static unsigned parse(struct wanted *w, int argc, char **argv)
{
	struct args_item item = {0};
	enum args_kind kind;
	struct args args;
	unsigned wrong = 0;
	struct err e = {0};
	int r = 0;

	args_init(&args, table, argc, argv);
	while ((kind = args_next(&args, &item, &e)) != ARGS_END) {
		if (kind == ARGS_WRONG)
			r = -EINVAL;
		else
			r = kind == ARGS_WORD ? set_word(w, item.value, &e)
					      : set_option(w, &item, &e);
		if (r < 0)
			log_error("create_qcow2: %s", e.text);
		wrong += r < 0;
	}
	if (wrong == 0 && !w->help && check_words(w, &e) < 0) {
		log_error("create_qcow2: %s", e.text);
		wrong++;
	}
	return wrong;
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

static void help(void)
{
	puts("Usage: crosvm create_qcow2 [OPTIONS] PATH SIZE\n\n"
	     "Makes an empty disk image in qcow2 format; what PATH held before is gone.\n"
	     "SIZE is in bytes, or a number with K, M, G or T; with --backing it may be left out.\n"
	     "\nOptions:");
	for (const struct arg *a = table; a->name; a++)
		args_help(a, stdout);
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
	struct wanted w = {.path = NULL};
	int code = EXIT_CODE_USAGE;

	if (parse(&w, argc, argv) == 0) {
		code = EXIT_CODE_OK;
		if (w.help)
			help();
		else
			code = create(&w);
	}
	opt_fini(backing_opts, &w.backing);
	return code;
}
