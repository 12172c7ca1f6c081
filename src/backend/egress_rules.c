/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * egress_rules.c - where a guest's frames may go: reading rules
 *
 *	rule	= network [":" port ["-" port]] ["/" protocol]
 *	network	= IPv4 ["/" bits] | "[" IPv6 ["/" bits] "]" ["/" bits]
 *
 * They are kept sorted, the narrowest first, so that the first that matches decides.
 */
#include "backend/egress.h"

#include "base/num.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RULE_TEXT_MAX = 96 };

static const struct {
	const char *name;
	uint8_t protocol;
} protocols[] = {{"tcp", EGRESS_TCP}, {"udp", EGRESS_UDP}, {"icmp", EGRESS_ICMP}};

/* Reads a decimal number of at most five digits and moves *text behind it. */
static bool number_read(const char **text, unsigned max, unsigned *ret)
{
	const char *at = *text;
	unsigned n = 0;

	while (*at >= '0' && *at <= '9' && at - *text < 5)
		n = 10 * n + (unsigned)(*at++ - '0');
	if (at == *text || n > max)
		return false;
	*text = at;
	*ret = n;
	return true;
}

/* "/24" in front of anything but a protocol; absent: all bits. */
static int prefix_read(struct egress_rule *r, const char **text, struct err *e)
{
	unsigned most = r->is_v6 ? 128 : 32, bits;

	if (**text != '/' || (*text)[1] < '0' || (*text)[1] > '9')
		return 0;
	(*text)++;
	if (!number_read(text, most, &bits))
		return err_say(e, EINVAL, "the prefix is a number from 0 to %u", most);
	r->prefix = (uint8_t)bits;
	return 0;
}

static int address_read(struct egress_rule *r, const char **text, struct err *e)
{
	char addr[INET6_ADDRSTRLEN];
	size_t n;

	r->is_v6 = **text == '[';
	*text += r->is_v6;
	n = strcspn(*text, r->is_v6 ? "/]" : "/:");
	r->prefix = r->is_v6 ? 128 : 32;
	if (n < sizeof(addr)) {
		memcpy(addr, *text, n);
		addr[n] = '\0';
		if (inet_pton(r->is_v6 ? AF_INET6 : AF_INET, addr, r->addr) == 1) {
			*text += n;
			return 0;
		}
	}
	return err_say(e, EINVAL,
		       "begins with no address; as in 192.0.2.0/24:443/tcp or [2001:db8::]/32");
}

/* A network with bits behind its prefix is probably not what was meant. */
static int prefix_check(const struct egress_rule *r, struct err *e)
{
	uint8_t network[16] = {0};
	size_t bytes = r->is_v6 ? 16 : 4;
	char text[INET6_ADDRSTRLEN] = "";

	for (unsigned i = 0; i < r->prefix; i++)
		network[i / 8] |= (uint8_t)(r->addr[i / 8] & (0x80 >> i % 8));
	if (memcmp(network, r->addr, bytes) == 0)
		return 0;
	inet_ntop(r->is_v6 ? AF_INET6 : AF_INET, network, text, sizeof(text));
	return err_say(e, EINVAL, "has bits behind its prefix; the network is %s%s%s/%u",
		       r->is_v6 ? "[" : "", text, r->is_v6 ? "]" : "", r->prefix);
}

static int network_read(struct egress_rule *r, const char **text, struct err *e)
{
	int ret = address_read(r, text, e);

	if (ret == 0)
		ret = prefix_read(r, text, e);
	if (ret == 0 && r->is_v6) {
		if (**text != ']')
			return err_say(e, EINVAL, "a closing bracket is missing");
		(*text)++;
		ret = prefix_read(r, text, e);
	}
	return ret < 0 ? ret : prefix_check(r, e);
}

static int ports_read(struct egress_rule *r, const char **text, struct err *e)
{
	unsigned first, last;
	bool is_read;

	if (**text != ':')
		return 0;
	(*text)++;
	is_read = number_read(text, 65535, &first);
	last = first;
	if (is_read && **text == '-') {
		(*text)++;
		is_read = number_read(text, 65535, &last);
	}
	if (!is_read || first == 0 || last < first)
		return err_say(e, EINVAL, "ports are N or N-M, from 1 to 65535");
	r->has_ports = true;
	r->port_first = (uint16_t)first;
	r->port_last = (uint16_t)last;
	return 0;
}

static int protocol_read(struct egress_rule *r, const char **text, struct err *e)
{
	if (**text != '/')
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(protocols) && r->protocol == EGRESS_ANY; i++)
		if (strcmp(*text + 1, protocols[i].name) == 0)
			r->protocol = protocols[i].protocol;
	if (r->protocol == EGRESS_ANY)
		return err_say(e, EINVAL, "the protocol is tcp, udp or icmp");
	if (r->protocol == EGRESS_ICMP && r->has_ports)
		return err_say(e, EINVAL, "icmp has no ports");
	*text += strlen(*text);
	return 0;
}

static int rule_read(struct egress_rule *r, const char *text, struct err *e)
{
	int ret = network_read(r, &text, e);

	if (ret == 0)
		ret = ports_read(r, &text, e);
	if (ret == 0)
		ret = protocol_read(r, &text, e);
	if (ret == 0 && *text)
		ret = err_say(e, EINVAL, "\"%s\" is neither ports nor a protocol", text);
	return ret;
}

/* How many ports a rule leaves open; protocols are counted by themselves. */
static unsigned port_count(const struct egress_rule *r)
{
	return r->has_ports ? r->port_last - r->port_first + 1u : 65536u;
}

/* The narrower first; see egress.h. */
static int rule_compare(const void *left, const void *right)
{
	const struct egress_rule *a = left, *b = right;

	if (a->prefix != b->prefix)
		return a->prefix > b->prefix ? -1 : 1;
	if (port_count(a) != port_count(b))
		return port_count(a) < port_count(b) ? -1 : 1;
	if ((a->protocol != EGRESS_ANY) != (b->protocol != EGRESS_ANY))
		return a->protocol != EGRESS_ANY ? -1 : 1;
	return (int)a->is_allow - (int)b->is_allow;
}

static int rule_add(struct egress *g, bool is_allow, const char *text, struct err *e)
{
	struct egress_rule r = {.is_allow = is_allow};
	int ret = rule_read(&r, text, e);

	if (ret < 0)
		return err_in(e, "\"%s\"", text);
	if (g->nrules == EGRESS_RULES_MAX)
		return err_say(e, E2BIG, "more than %d rules", EGRESS_RULES_MAX);
	g->rules[g->nrules++] = r;
	g->has_allow = g->has_allow || is_allow;
	return 0;
}

int egress_add(struct egress *g, const char *key, const char *list, struct err *e)
{
	int r = 0;

	while (list && *list && r == 0) {
		size_t n = strcspn(list, ";+");
		char text[RULE_TEXT_MAX];

		if (n >= sizeof(text))
			return err_say(e, EINVAL, "%s: a rule is longer than %zu characters", key,
				       sizeof(text) - 1);
		memcpy(text, list, n);
		text[n] = '\0';
		r = rule_add(g, strcmp(key, "allow") == 0, text, e);
		list += n + (list[n] != '\0');
	}
	qsort(g->rules, g->nrules, sizeof(g->rules[0]), rule_compare);
	return r < 0 ? err_in(e, "%s", key) : 0;
}
