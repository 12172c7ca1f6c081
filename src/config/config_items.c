/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * config_items.c - configuration files, read and written
 *
 * A file is a row of sections.  Lines before the first, and those of [run], are options of `crosvm
 * run`, one a line; "kernel" names the kernel.  Any other section is one use of the option of that
 * name, its lines the keys of the value: [block] with path = a.img is --block path=a.img.
 */
#include "config/config_items.h"

#include "base/fd.h"
#include "base/opt.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX_BYTES = 1 << 20 };

static const char run_section[] = "run", kernel_key[] = "kernel";

static char *copy(const char *text, bool *failed)
{
	char *made = text ? strdup(text) : NULL;

	*failed = *failed || (text && !made);
	return made;
}

static void item_fini(struct config_item *item)
{
	free(item->value);
	free(item->file);
}

int config_item_add(struct config_items *items, const struct config_item *item, struct err *e)
{
	bool failed = false;
	struct config_item new = {.arg = item->arg, .line = item->line};

	if (items->n == items->room) {
		size_t room = items->room ? 2 * items->room : 16;
		struct config_item *grown = reallocarray(items->list, room, sizeof(*grown));

		if (!grown)
			return err_set(e, ENOMEM, "cannot keep the options");
		items->list = grown;
		items->room = room;
	}
	new.value = copy(item->value, &failed);
	new.file = copy(item->file, &failed);
	if (failed) {
		item_fini(&new);
		return err_set(e, ENOMEM, "cannot keep the options");
	}
	items->list[items->n++] = new;
	return 0;
}

void config_items_fini(struct config_items *items)
{
	for (size_t i = 0; i < items->n; i++)
		item_fini(&items->list[i]);
	free(items->list);
	*items = (struct config_items){0};
}

/* ---- reading ---- */

struct reader {
	struct config_items *items;
	const struct arg *table;
	struct config_errors *errors;
	char *path;
	unsigned line, section_line;
	const struct arg *section; /* NULL: run */
	bool skips;                /* the section is unknown: told once */
	char *text;                /* the section's value so far */
	size_t room;
};

static void reader_error(struct reader *r, unsigned line, struct err *e)
{
	err_in(e, "%s:%u", r->path, line);
	config_error_note(r->errors, e);
}

static void reader_add(struct reader *r, const struct arg *arg, char *value, unsigned line)
{
	struct config_item item = {.arg = arg, .value = value, .file = r->path, .line = line};
	struct err e = {0};

	if (config_item_add(r->items, &item, &e) < 0)
		reader_error(r, line, &e);
}

/* The section that was read is one use of its option. */
static void section_end(struct reader *r)
{
	struct err e = {0};

	if (r->section && !r->section->value && r->text[0]) {
		err_say(&e, EINVAL, "[%s]: takes no keys", r->section->name);
		reader_error(r, r->section_line, &e);
	} else if (r->section) {
		reader_add(r, r->section, r->text[0] || r->section->value ? r->text : NULL,
			   r->section_line);
	}
	r->section = NULL;
	r->skips = false;
	r->text[0] = '\0';
}

static void section_begin(struct reader *r, char *name)
{
	size_t n = strlen(name);
	struct err e = {0};

	section_end(r);
	r->section_line = r->line;
	if (n < 2 || name[n - 1] != ']') {
		err_say(&e, EINVAL, "\"%.60s\": a section ends with \"]\"", name);
		r->skips = true;
		reader_error(r, r->line, &e);
		return;
	}
	name[n - 1] = '\0';
	name++;
	if (strcmp(name, run_section) == 0)
		return;
	r->section = args_find(r->table, name, strlen(name));
	r->skips = !r->section;
	if (r->section)
		return;
	err_say(&e, EINVAL, "[%.60s]: no such section; known: run, block, ... (crosvm run --help)",
		name);
	reader_error(r, r->line, &e);
}

static char *trim(char *text)
{
	size_t n;

	text += strspn(text, " \t");
	n = strlen(text);
	while (n > 0 && isspace((unsigned char)text[n - 1]))
		n--;
	text[n] = '\0';
	return text;
}

/* A value in double quotes is what stands between them. */
static char *unquote(char *value)
{
	size_t n = strlen(value);

	if (n < 2 || value[0] != '"' || value[n - 1] != '"')
		return value;
	value[n - 1] = '\0';
	return value + 1;
}

static bool is_word(const char *value, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(value, *words) == 0)
			return true;
	return false;
}

/* An option that takes no value may say true, or false as if it were not there. */
static int take_flag(struct reader *r, const struct arg *arg, const char *value, struct err *e)
{
	static const char *const yes[] = {"true", "yes", "on", "1", NULL};
	static const char *const no[] = {"false", "no", "off", "0", NULL};

	if (!value || is_word(value, yes))
		reader_add(r, arg, NULL, r->line);
	else if (!is_word(value, no))
		return err_say(e, EINVAL, "%s: \"%.60s\" is neither true nor false", arg->name,
			       value);
	return 0;
}

static int unknown_option(const struct reader *r, const char *key, const struct arg *found,
			  struct err *e)
{
	const char *similar = found ? NULL : args_similar(r->table, key, strlen(key));

	if (similar)
		return err_say(e, EINVAL, "%.60s: unknown option; did you mean %s?", key, similar);
	return err_say(e, EINVAL, "%.60s: unknown option; see crosvm run --help", key);
}

/* One option of `crosvm run`. */
static int take_option(struct reader *r, const char *key, char *value, struct err *e)
{
	const struct arg *arg;

	if (strcmp(key, kernel_key) == 0) {
		if (!value)
			return err_say(e, EINVAL, "kernel: a value is missing: kernel = FILE");
		reader_add(r, NULL, value, r->line);
		return 0;
	}
	arg = args_find(r->table, key, strlen(key));
	if (!arg || strcmp(arg->name, "help") == 0 || strcmp(arg->name, "dump-config") == 0)
		return unknown_option(r, key, arg, e);
	if (strcmp(arg->name, "cfg") == 0)
		return err_say(e, EINVAL, "cfg: a configuration file cannot name another");
	if (!arg->value)
		return take_flag(r, arg, value, e);
	if (!value && !arg->keys)
		return err_say(e, EINVAL, "%s: a value is missing: %s = %s", arg->name, arg->name,
			       arg->value);
	reader_add(r, arg, value, r->line);
	return 0;
}

/* One key of the section's value. */
static int take_key(struct reader *r, const char *key, const char *value, struct err *e)
{
	size_t need = strlen(r->text) + strlen(key) + 2 * (value ? strlen(value) : 0) + 8;

	if (need > r->room) {
		char *grown = realloc(r->text, need);

		if (!grown)
			return err_set(e, ENOMEM, "cannot keep the options");
		r->text = grown;
		r->room = need;
	}
	return opt_append(r->text, r->room, key, value) < 0 ? err_say(e, E2BIG, "too long") : 0;
}

static void take_line(struct reader *r, char *line)
{
	char *value = NULL, *equals;
	struct err e = {0};
	int failed;

	line = trim(line);
	if (*line == '\0' || *line == '#' || *line == ';')
		return;
	if (*line == '[') {
		section_begin(r, line);
		return;
	}
	if (r->skips)
		return;
	equals = strchr(line, '=');
	if (equals) {
		*equals = '\0';
		value = unquote(trim(equals + 1));
	}
	line = trim(line);
	if (!*line)
		failed = err_say(&e, EINVAL, "a key is missing in front of \"=\"");
	else if (r->section)
		failed = take_key(r, line, value, &e);
	else
		failed = take_option(r, line, value, &e);
	if (failed < 0)
		reader_error(r, r->line, &e);
}

/* The file's text, to be freed, or NULL with *e set. */
static char *file_read(const char *path, struct err *e)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text auto_free = calloc(1, FILE_MAX_BYTES + 1);
	char *made;
	ssize_t n;
	size_t used = 0;

	if (!text)
		err_set(e, ENOMEM, "cannot read it");
	else if (fd < 0)
		err_set(e, errno, "cannot open it");
	if (!text || fd < 0)
		return NULL;
	while (used <= FILE_MAX_BYTES &&
	       (n = read(fd, text + used, FILE_MAX_BYTES + 1 - used)) != 0) {
		if (n < 0 && errno != EINTR) {
			err_set(e, errno, "cannot read it");
			return NULL;
		}
		used += n > 0 ? (size_t)n : 0;
	}
	if (used > FILE_MAX_BYTES || memchr(text, '\0', used)) {
		err_say(e, EINVAL, "not a configuration file: %s",
			used > FILE_MAX_BYTES ? "more than 1 MiB" : "it has NUL bytes");
		return NULL;
	}
	made = text;
	text = NULL;
	return made;
}

void config_file_read(struct config_items *items, const struct arg *table, const char *path,
		      struct config_errors *errors)
{
	struct reader r = {.items = items, .table = table, .errors = errors, .room = 256};
	struct err e = {0};
	char *text auto_free = file_read(path, &e), *rest = text;

	r.path = strdup(path);
	r.text = calloc(1, r.room);
	if (text && (!r.path || !r.text))
		err_set(&e, ENOMEM, "cannot read it");
	if (e.code) {
		err_in(&e, "--cfg: %s", path);
		config_error_note(errors, &e);
	}
	while (!e.code && rest) {
		char *line = strsep(&rest, "\n");

		r.line++;
		take_line(&r, line);
	}
	if (!e.code)
		section_end(&r);
	free(r.text);
	free(r.path);
}

/* ---- writing ---- */

static void put_line(const char *key, const char *value, FILE *out)
{
	size_t n = strlen(value);
	bool quoted = n == 0 || isspace((unsigned char)value[0]) ||
		      isspace((unsigned char)value[n - 1]) || value[0] == '"';

	fprintf(out, quoted ? "%s = \"%s\"\n" : "%s = %s\n", key, value);
}

/* Whether a line of this word alone is read as that word. */
static bool is_plain(const char *word)
{
	size_t n = strlen(word);

	return n > 0 && !strchr("#;[", word[0]) && !isspace((unsigned char)word[0]) &&
	       !isspace((unsigned char)word[n - 1]);
}

static int put_section(const struct config_item *item, FILE *out, struct err *e)
{
	const char *text = item->value ? item->value : "";
	char *word auto_free = malloc(strlen(text) + 1);

	if (!word)
		return err_set(e, ENOMEM, "cannot write the configuration");
	fprintf(out, "\n[%s]\n", item->arg->name);
	while (*text) {
		char *equals;

		text = opt_word(text, word);
		text += *text == ',';
		equals = strchr(word, '=');
		if (equals)
			*equals = '\0';
		if (equals)
			put_line(word, equals + 1, out);
		else if (!is_plain(word))
			return err_say(e, EINVAL, "%s: \"%s\" cannot be written without its key",
				       item->arg->name, word);
		else
			fprintf(out, "%s\n", word);
	}
	return 0;
}

static void put_option(const struct config_item *item, bool *in_section, FILE *out)
{
	const char *key = item->arg ? item->arg->name : kernel_key;

	if (*in_section)
		fprintf(out, "\n[%s]\n", run_section);
	*in_section = false;
	if (item->value)
		put_line(key, item->value, out);
	else
		fprintf(out, "%s\n", key);
}

int config_items_dump(const struct config_items *items, FILE *out, struct err *e)
{
	bool in_section = false;

	for (size_t i = 0; i < items->n; i++) {
		const struct config_item *item = &items->list[i];

		if (item->value && strchr(item->value, '\n'))
			return err_say(e, EINVAL, "%s: a value of several lines cannot be written",
				       item->arg ? item->arg->name : kernel_key);
		if (item->arg && item->arg->value && strchr(item->arg->value, '=')) {
			in_section = true;
			if (put_section(item, out, e) < 0)
				return -e->code;
		} else {
			put_option(item, &in_section, out);
		}
	}
	return 0;
}
