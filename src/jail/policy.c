/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * policy.c - seccomp policies in minijail's language
 *
 * A file is read whole and cut into slices; nothing is copied or changed.  The file is not trusted:
 * its size, the length of a rule, the number of rules and of conditions are bounded, and what is
 * quoted in a message is made printable.
 */
#include "jail/policy.h"

#include "base/fd.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct slice {
	const char *at;
	size_t n;
};

struct parser {
	struct rules *rules;
	struct err *e;
	const char *file;
	unsigned line;
	bool may_include, is_included;
};

static int parse_text(struct parser *p, struct slice text);
static int file_parse(struct parser *p, const char *path);

enum { QUOTE_MAX = 40 };

struct quote {
	char text[QUOTE_MAX + 4];
};

/* The start of a slice, fit for a terminal. */
static struct quote quote(struct slice s)
{
	struct quote q;
	size_t n = s.n < QUOTE_MAX ? s.n : QUOTE_MAX;

	for (size_t i = 0; i < n; i++)
		q.text[i] = s.at[i] >= ' ' && s.at[i] <= '~' ? s.at[i] : '?';
	memcpy(q.text + n, s.n > n ? "..." : "", s.n > n ? 4 : 1);
	return q;
}

static int refuse(const struct parser *p, const char *format, ...) PRINTF(2, 3);

static int refuse(const struct parser *p, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return err_say(p->e, EINVAL, "%s:%u: %s", p->file, p->line, text);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct slice trim(struct slice s)
{
	while (s.n > 0 && is_blank(s.at[0])) {
		s.at++;
		s.n--;
	}
	while (s.n > 0 && is_blank(s.at[s.n - 1]))
		s.n--;
	return s;
}

static bool is_text(struct slice s, const char *text)
{
	return s.n == strlen(text) && memcmp(s.at, text, s.n) == 0;
}

/* Cuts s before the first separator; *rest is what follows it, or { NULL, 0 } if there is none. */
static struct slice cut(struct slice s, const char *separator, struct slice *rest)
{
	size_t n = strlen(separator);
	const char *at = s.n < n ? NULL : memmem(s.at, s.n, separator, n);

	*rest = (struct slice){NULL, 0};
	if (!at)
		return s;
	rest->at = at + n;
	rest->n = s.n - (size_t)(at + n - s.at);
	return (struct slice){s.at, (size_t)(at - s.at)};
}

/* The next word, and *s the rest. */
static struct slice word(struct slice *s)
{
	struct slice w = trim(*s);
	size_t n = 0;

	while (n < w.n && !is_blank(w.at[n]))
		n++;
	*s = (struct slice){w.at + n, w.n - n};
	return (struct slice){w.at, n};
}

static bool number_parse(struct slice s, uint64_t *ret_value)
{
	char text[32], *end;

	if (s.n == 0 || s.n >= sizeof(text) || (!isdigit((unsigned char)s.at[0]) && s.at[0] != '-'))
		return false;
	memcpy(text, s.at, s.n);
	text[s.n] = '\0';
	errno = 0;
	*ret_value = strtoull(text, &end, 0);
	return errno == 0 && end == text + s.n;
}

static int const_parse(struct parser *p, struct slice s, uint64_t *ret_value)
{
	uint64_t all = 0;

	for (struct slice rest; s.at; s = rest) {
		struct slice item = cut(s, "|", &rest);
		uint64_t value;

		if (item.n == 0)
			return refuse(p, "a constant is missing");
		if (!number_parse(item, &value) && !names_constant(item.at, item.n, &value))
			return refuse(p, "'%s' is neither a number nor a known constant",
				      quote(item).text);
		all |= value;
	}
	*ret_value = all;
	return 0;
}

static bool test_parse(struct slice s, uint8_t *ret_test)
{
	static const struct {
		char text[3];
		uint8_t test;
	} tests[] = {
		{"==", CALL_TEST_EQ}, {"!=", CALL_TEST_NE}, {"<", CALL_TEST_LT},
		{"<=", CALL_TEST_LE}, {">", CALL_TEST_GT},  {">=", CALL_TEST_GE},
		{"&", CALL_TEST_ANY}, {"in", CALL_TEST_IN},
	};

	for (size_t i = 0; i < ARRAY_LEN(tests); i++) {
		if (is_text(s, tests[i].text)) {
			*ret_test = tests[i].test;
			return true;
		}
	}
	return false;
}

static bool arg_parse(struct slice s, uint8_t *ret_arg)
{
	if (s.n != 4 || memcmp(s.at, "arg", 3) != 0 || s.at[3] < '0' || s.at[3] > '5')
		return false;
	*ret_arg = (uint8_t)(s.at[3] - '0');
	return true;
}

static int atom_parse(struct parser *p, struct slice s, struct call_cond *ret_cond)
{
	struct slice rest = s;
	struct slice arg = word(&rest), op = word(&rest), value = word(&rest);

	if (arg.n == 0)
		return refuse(p, "a condition such as 'arg0 == 1' is missing");
	if (!arg_parse(arg, &ret_cond->arg))
		return refuse(p, "'%s' is not one of arg0 to arg5", quote(arg).text);
	if (!test_parse(op, &ret_cond->test))
		return refuse(p, "'%s' is not one of == != < <= > >= & in", quote(op).text);
	if (value.n == 0)
		return refuse(p, "a constant is missing");
	rest = trim(rest);
	if (rest.n > 0)
		return refuse(p, "'%s' after a condition; expected && or ||", quote(rest).text);
	return const_parse(p, value, &ret_cond->value);
}

static int expr_parse(struct parser *p, struct rule *rule, struct slice s)
{
	for (struct slice ors; s.at; s = ors) {
		struct slice and = cut(s, "||", &ors);

		for (struct slice ands; and.at; and = ands) {
			struct slice atom = cut(and, "&&", &ands);
			struct call_cond cond = {0};
			int r = atom_parse(p, atom, &cond);

			if (r < 0)
				return r;
			if (!rules_cond_add(p->rules, rule, cond, !ands.at))
				return refuse(p, "more than %d conditions", RULES_CONDS_MAX);
		}
	}
	return 0;
}

/* "return" and perhaps an errno. */
static int return_parse(struct parser *p, struct slice s, int16_t *ret_outcome)
{
	struct slice rest = s;
	struct slice keyword = word(&rest), errnum = word(&rest);
	uint64_t value = 0;
	int r;

	if (!is_text(keyword, "return"))
		return refuse(p, "'%s' where return is expected", quote(trim(s)).text);
	if (trim(rest).n > 0)
		return refuse(p, "'%s' after return", quote(trim(rest)).text);
	*ret_outcome = RULE_KILL;
	if (errnum.n == 0)
		return 0;
	r = const_parse(p, errnum, &value);
	if (r < 0)
		return r;
	if (value > RULE_ERRNO_MAX)
		return refuse(p, "'%s' is not an errno", quote(errnum).text);
	*ret_outcome = (int16_t)value;
	return 0;
}

static int rule_parse(struct parser *p, struct rule *rule, struct slice s)
{
	struct slice tail, rest = s;
	struct slice head = trim(cut(s, ";", &tail));
	int r;

	if (s.n > POLICY_RULE_MAX)
		return refuse(p, "a rule of more than %d bytes", POLICY_RULE_MAX);
	if (is_text(s, "1"))
		return 0;
	if (is_text(word(&rest), "return"))
		return return_parse(p, s, &rule->met);
	r = expr_parse(p, rule, head);
	if (r == 0 && tail.at)
		r = return_parse(p, tail, &rule->otherwise);
	return r;
}

static int number_of(struct parser *p, struct slice name)
{
	char text[64];
	int number = NAMES_UNKNOWN;

	if (name.n > 0 && name.n < sizeof(text) && !memchr(name.at, '\0', name.n)) {
		memcpy(text, name.at, name.n);
		text[name.n] = '\0';
		number = names_call_number(p->rules->arch, text);
	}
	if (number == NAMES_UNKNOWN)
		return refuse(p, "'%s' is not a system call", quote(name).text);
	if (number == NAMES_ABSENT)
		return refuse(p, "this architecture has no system call '%s'", quote(name).text);
	return number;
}

/* A path is not quoted in messages before it is known to be printable. */
static int include_parse(struct parser *p, struct slice path)
{
	char full[1024];
	const char *slash = strrchr(p->file, '/');
	int folder = slash ? (int)(slash - p->file) + 1 : 0;
	bool is_local = path.n > 2 && memcmp(path.at, "./", 2) == 0;

	if (!p->may_include)
		return refuse(p, p->is_included ? "@include in an included file"
						: "@include is not possible here");
	if (path.n == 0 || (path.at[0] != '/' && !is_local))
		return refuse(p, "'%s': an included path starts with / or ./", quote(path).text);
	for (size_t i = 0; i < path.n; i++) {
		if (!isprint((unsigned char)path.at[i]))
			return refuse(p, "'%s': a path of odd bytes", quote(path).text);
	}
	if ((size_t)folder + path.n >= sizeof(full))
		return refuse(p, "'%s': the path is too long", quote(path).text);
	if (is_local)
		snprintf(full, sizeof(full), "%.*s%.*s", folder, p->file, (int)path.n - 2,
			 path.at + 2);
	else
		snprintf(full, sizeof(full), "%.*s", (int)path.n, path.at);
	return file_parse(&(struct parser){.rules = p->rules, .e = p->e, .is_included = true},
			  full);
}

static int line_parse(struct parser *p, struct slice line)
{
	struct slice rule_text, rest = line;
	struct rule *rule;
	int number;

	if (line.n == 0 || line.at[0] == '#')
		return 0;
	if (line.at[0] == '@') {
		if (!is_text(word(&rest), "@include"))
			return refuse(p, "'%s' is not @include", quote(line).text);
		return include_parse(p, trim(rest));
	}
	line = trim(cut(line, ":", &rule_text));
	if (!rule_text.at)
		return refuse(p, "'%s' has no ':' after it", quote(line).text);
	number = number_of(p, line);
	if (number < 0)
		return number;
	rule = rules_find(p->rules, number);
	if (rule)
		return refuse(p, "a second rule for '%s'; the first is in line %u%s",
			      quote(line).text, rule->line,
			      p->is_included ? " of the including file" : "");
	rule = rules_add(p->rules, number);
	if (!rule)
		return refuse(p, "more than %d rules", RULES_MAX);
	rule->line = p->line;
	return rule_parse(p, rule, trim(rule_text));
}

static int parse_text(struct parser *p, struct slice text)
{
	int r = 0;

	for (struct slice rest; r == 0 && text.at; text = rest) {
		p->line++;
		r = line_parse(p, trim(cut(text, "\n", &rest)));
	}
	return r;
}

static int file_read(struct err *e, const char *path, char *buf, size_t *ret_n)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int r;

	if (fd < 0)
		return err_set(e, errno, "%s: cannot open the policy", path);
	if (fstat(fd, &st) < 0)
		return err_set(e, errno, "%s: cannot stat", path);
	if (!S_ISREG(st.st_mode))
		return err_say(e, EINVAL, "%s: not a regular file", path);
	if (st.st_size > POLICY_FILE_MAX)
		return err_say(e, EFBIG, "%s: a policy of more than %d bytes", path,
			       POLICY_FILE_MAX);
	r = fd_read_all(fd, buf, (size_t)st.st_size);
	if (r < 0)
		return err_set(e, -r, "%s: cannot read", path);
	*ret_n = (size_t)st.st_size;
	return 0;
}

static int file_parse(struct parser *p, const char *path)
{
	auto_free char *buf = malloc(POLICY_FILE_MAX);
	size_t n = 0;
	int r;

	if (!buf)
		return err_set(p->e, ENOMEM, "cannot read %s", path);
	r = file_read(p->e, path, buf, &n);
	if (r < 0)
		return r;
	p->file = path;
	return parse_text(p, (struct slice){buf, n});
}

int policy_read(struct rules *r, const char *path, struct err *e)
{
	return file_parse(&(struct parser){.rules = r, .e = e, .may_include = true}, path);
}

int policy_parse(struct rules *r, const char *name, const char *text, size_t n, struct err *e)
{
	struct parser p = {.rules = r, .e = e, .file = name};

	return parse_text(&p, (struct slice){text, n});
}

static void outcome_print(int outcome, FILE *out)
{
	const char *name = outcome >= 0 ? strerrorname_np(outcome) : NULL;

	if (outcome == RULE_KILL)
		fputs("return", out);
	else if (outcome > 0 && name)
		fprintf(out, "return %s", name);
	else
		fprintf(out, "return %d", outcome);
}

static void cond_print(const struct call_cond *c, FILE *out)
{
	static const char text[][4] = {
		[CALL_TEST_EQ] = "==", [CALL_TEST_NE] = "!=", [CALL_TEST_LT] = "<",
		[CALL_TEST_LE] = "<=", [CALL_TEST_GT] = ">",  [CALL_TEST_GE] = ">=",
		[CALL_TEST_ANY] = "&", [CALL_TEST_IN] = "in",
	};

	fprintf(out, "arg%u %s 0x%llx", c->arg, text[c->test], (unsigned long long)c->value);
}

static void rule_print(const struct rules *r, const struct rule *rule, FILE *out)
{
	fprintf(out, "%s: ", names_call(r->arch, rule->number));
	if (rule->first == RULE_NO_COND && rule->met == RULE_ALLOW)
		fputs("1", out);
	else if (rule->first == RULE_NO_COND)
		outcome_print(rule->met, out);
	for (int i = rule->first; i != RULE_NO_COND; i = r->cond[i].next) {
		cond_print(&r->cond[i].test, out);
		if (r->cond[i].next != RULE_NO_COND)
			fputs(r->cond[i].last ? " || " : " && ", out);
	}
	if (rule->first != RULE_NO_COND && rule->otherwise != RULE_KILL) {
		fputs("; ", out);
		outcome_print(rule->otherwise, out);
	}
	fputc('\n', out);
}

static const char *name_of(const struct rules *r, unsigned index)
{
	return names_call(r->arch, r->rule[index].number);
}

static int name_compare(const void *a, const void *b, void *rules)
{
	return strcmp(name_of(rules, *(const unsigned *)a), name_of(rules, *(const unsigned *)b));
}

void policy_print(const struct rules *r, FILE *out)
{
	unsigned order[RULES_MAX];

	for (unsigned i = 0; i < r->count; i++)
		order[i] = i;
	qsort_r(order, r->count, sizeof(order[0]), name_compare, (void *)(uintptr_t)r);
	for (unsigned i = 0; i < r->count; i++)
		rule_print(r, &r->rule[order[i]], out);
}

int policy_print_calls(const char *arch, const struct call *calls, FILE *out, struct err *e)
{
	auto_free struct rules *r = NULL;
	call_arch index;
	int ret;

	if (!names_arch(arch, &index))
		return err_say(e, EINVAL, "%s: unknown architecture; x86_64 or aarch64", arch);
	r = rules_new(index);
	if (!r)
		return err_set(e, ENOMEM, "cannot list system calls");
	ret = rules_calls_add(r, seccomp_common, e);
	if (ret == 0 && calls)
		ret = rules_calls_add(r, calls, e);
	if (ret == 0)
		policy_print(r, out);
	return ret;
}
