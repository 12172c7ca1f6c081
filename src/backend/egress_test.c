/* SPDX-License-Identifier: BSD-3-Clause */
/* egress_test.c - which frames pass which rules, and what is said about the wrong ones */
#include "backend/egress.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TCP = 6, UDP = 17, ICMP = 1, ICMP6 = 58, SCTP = 132, FRAME_MAX = 320 };

struct frame {
	uint8_t b[FRAME_MAX];
	size_t n;
	struct egress_offload offload;
};

/* ---- making frames ---- */

static void put16(struct frame *f, size_t at, unsigned v)
{
	f->b[at] = (uint8_t)(v >> 8);
	f->b[at + 1] = (uint8_t)v;
}

static void put_addr(struct frame *f, size_t at, int family, const char *text)
{
	assert_int_equal(inet_pton(family, text, f->b + at), 1);
}

static struct frame ethernet(unsigned type, size_t n)
{
	struct frame f = {.n = n};

	memset(f.b, 0x5a, 12);
	put16(&f, 12, type);
	return f;
}

/* IPv4 to an address and port, with 20 bytes behind the header. */
static struct frame ip4(unsigned protocol, const char *to, unsigned port)
{
	struct frame f = ethernet(0x0800, 14 + 20 + 20);

	f.b[14] = 0x45;
	put16(&f, 16, 40);
	f.b[22] = 64;
	f.b[23] = (uint8_t)protocol;
	put_addr(&f, 26, AF_INET, "10.0.2.15");
	put_addr(&f, 30, AF_INET, to);
	put16(&f, 34, 40000);
	put16(&f, 36, port);
	return f;
}

static struct frame ip6(unsigned protocol, const char *to, unsigned port)
{
	struct frame f = ethernet(0x86dd, 14 + 40 + 32);

	f.b[14] = 0x60;
	put16(&f, 18, 32);
	f.b[20] = (uint8_t)protocol;
	f.b[21] = 64;
	put_addr(&f, 22, AF_INET6, "2001:db8::15");
	put_addr(&f, 38, AF_INET6, to);
	put16(&f, 54, 40000);
	put16(&f, 56, port);
	return f;
}

/* Puts an extension header of n bytes in front of what follows the IPv6 header. */
static void ip6_extend(struct frame *f, unsigned kind, size_t n)
{
	memmove(f->b + 54 + n, f->b + 54, f->n - 54);
	memset(f->b + 54, 0, n);
	f->b[54] = f->b[20];
	f->b[55] = (uint8_t)(n / 8 - 1);
	f->b[20] = (uint8_t)kind;
	f->n += n;
	put16(f, 18, (unsigned)(f->n - 54));
}

static struct frame icmp6(const char *to, unsigned type, unsigned hops)
{
	struct frame f = ip6(ICMP6, to, 0);

	memset(f.b + 54, 0, 32);
	f.b[54] = (uint8_t)type;
	f.b[21] = (uint8_t)hops;
	return f;
}

static struct frame dhcp4(void)
{
	struct frame f = ip4(UDP, "255.255.255.255", 67);

	put_addr(&f, 26, AF_INET, "0.0.0.0");
	put16(&f, 34, 68);
	return f;
}

static struct frame dhcp6(void)
{
	struct frame f = ip6(UDP, "ff02::1:2", 547);

	put_addr(&f, 22, AF_INET6, "fe80::15");
	put16(&f, 54, 546);
	return f;
}

static struct frame arp(unsigned operation)
{
	struct frame f = ethernet(0x0806, 42);

	put16(&f, 14, 1);
	put16(&f, 16, 0x0800);
	f.b[18] = 6;
	f.b[19] = 4;
	put16(&f, 20, operation);
	return f;
}

/* ---- rules ---- */

/* "allow=...;deny=...", in any number and order. */
static const struct egress *rules(const char *text)
{
	static struct egress g;
	char buf[1024], *save = NULL;

	g = (struct egress){.nrules = 0};
	snprintf(buf, sizeof(buf), "%s", text);
	for (char *word = strtok_r(buf, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *value = strchr(word, '=');
		struct err e = {0};

		assert_non_null(value);
		*value++ = '\0';
		if (egress_add(&g, word, value, &e) < 0)
			fail_msg("%s: %s", text, e.text);
	}
	return &g;
}

static enum egress_verdict verdict(const struct egress *g, const struct frame *f)
{
	size_t n = f->n < EGRESS_HEAD_MAX ? f->n : EGRESS_HEAD_MAX;
	uint8_t *head = malloc(n + 1); /* of this size, for sanitizers */
	struct egress_packet packet;
	enum egress_verdict v;

	assert_non_null(head);
	memcpy(head, f->b, n);
	v = egress_check(g, head, n, f->n, &f->offload, &packet);
	free(head);
	return v;
}

/* Compares by name: that is what a failure shows. */
static void expect(const char *text, struct frame f, enum egress_verdict wanted)
{
	assert_string_equal(egress_reasons[verdict(rules(text), &f)], egress_reasons[wanted]);
}

static void without_rules_everything_passes(void **state)
{
	struct frame nonsense = {.n = 3};

	(void)state;
	expect("", ip4(TCP, "192.0.2.1", 22), EGRESS_PASS);
	expect("", nonsense, EGRESS_PASS);
}

static void allow_refuses_the_rest_in_both_families(void **state)
{
	(void)state;
	expect("allow=192.0.2.0/24", ip4(TCP, "192.0.2.255", 22), EGRESS_PASS);
	expect("allow=192.0.2.0/24", ip4(SCTP, "192.0.2.1", 22), EGRESS_PASS);
	expect("allow=192.0.2.0/24", ip4(TCP, "192.0.3.0", 22), EGRESS_NO_RULE);
	expect("allow=192.0.2.0/24", ip6(TCP, "2001:db8::1", 22), EGRESS_NO_RULE);
	expect("allow=[2001:db8::/32]", ip6(TCP, "2001:db8:ffff::1", 22), EGRESS_PASS);
	expect("allow=[2001:db8::/32]", ip6(TCP, "2001:db9::1", 22), EGRESS_NO_RULE);
	expect("allow=[2001:db8::/32]", ip4(TCP, "192.0.2.1", 22), EGRESS_NO_RULE);
	expect("allow=32.1.13.184", ip6(TCP, "2001:db8::1", 22), EGRESS_NO_RULE); /* same bits */
}

static void deny_alone_passes_the_rest(void **state)
{
	(void)state;
	expect("deny=192.0.2.1", ip4(TCP, "192.0.2.1", 22), EGRESS_DENIED);
	expect("deny=192.0.2.1", ip4(TCP, "192.0.2.2", 22), EGRESS_PASS);
	expect("deny=192.0.2.1", ip6(TCP, "2001:db8::1", 22), EGRESS_PASS);
	expect("deny=[2001:db8::1]", ip6(TCP, "2001:db8::1", 22), EGRESS_DENIED);
}

/* Who opens a socket for such an address, as passt does, ends up at the IPv4 one. */
static void ip4_addresses_in_ip6_headers_are_refused(void **state)
{
	struct frame f = ip6(TCP, "2001:db8::1", 22);

	(void)state;
	expect("deny=192.0.2.1", ip6(TCP, "::ffff:192.0.2.1", 22), EGRESS_MALFORMED);
	expect("allow=[::/0] deny=192.0.2.1", ip6(UDP, "::ffff:192.0.2.1", 22), EGRESS_MALFORMED);
	put_addr(&f, 22, AF_INET6, "::ffff:10.0.2.15");
	expect("allow=[::/0]", f, EGRESS_MALFORMED);
	expect("allow=[::/0]", ip6(TCP, "::fffe:192.0.2.1", 22), EGRESS_PASS);
}

static void prefixes_of_odd_lengths(void **state)
{
	(void)state;
	expect("allow=10.0.0.0/9", ip4(TCP, "10.127.255.255", 1), EGRESS_PASS);
	expect("allow=10.0.0.0/9", ip4(TCP, "10.128.0.0", 1), EGRESS_NO_RULE);
	expect("allow=0.0.0.0/0", ip4(TCP, "203.0.113.9", 1), EGRESS_PASS);
	expect("allow=10.0.0.2/31", ip4(TCP, "10.0.0.3", 1), EGRESS_PASS);
	expect("allow=10.0.0.2/31", ip4(TCP, "10.0.0.4", 1), EGRESS_NO_RULE);
	expect("allow=[2001:db8::]/127", ip6(TCP, "2001:db8::1", 1), EGRESS_PASS);
	expect("allow=[2001:db8::]/127", ip6(TCP, "2001:db8::2", 1), EGRESS_NO_RULE);
}

static void ports_and_protocols_limit_a_rule(void **state)
{
	(void)state;
	expect("allow=192.0.2.1:80", ip4(TCP, "192.0.2.1", 80), EGRESS_PASS);
	expect("allow=192.0.2.1:80", ip4(UDP, "192.0.2.1", 80), EGRESS_PASS);
	expect("allow=192.0.2.1:80", ip4(SCTP, "192.0.2.1", 80), EGRESS_NO_RULE);
	expect("allow=192.0.2.1:80", ip4(TCP, "192.0.2.1", 81), EGRESS_NO_RULE);
	expect("allow=192.0.2.1:80-90/tcp", ip4(TCP, "192.0.2.1", 90), EGRESS_PASS);
	expect("allow=192.0.2.1:80-90/tcp", ip4(TCP, "192.0.2.1", 79), EGRESS_NO_RULE);
	expect("allow=192.0.2.1:80-90/tcp", ip4(UDP, "192.0.2.1", 85), EGRESS_NO_RULE);
	expect("allow=192.0.2.1/udp", ip4(UDP, "192.0.2.1", 5), EGRESS_PASS);
	expect("allow=192.0.2.1/icmp", ip4(ICMP, "192.0.2.1", 0), EGRESS_PASS);
	expect("allow=192.0.2.1/icmp", ip4(ICMP6, "192.0.2.1", 0), EGRESS_NO_RULE);
	expect("allow=192.0.2.1/icmp", ip4(TCP, "192.0.2.1", 0), EGRESS_NO_RULE);
	expect("allow=[2001:db8::1]/icmp", icmp6("2001:db8::1", 128, 64), EGRESS_PASS);
	expect("allow=[2001:db8::1]:53/udp", ip6(UDP, "2001:db8::1", 53), EGRESS_PASS);
	expect("allow=[2001:db8::1]:53/udp", ip6(UDP, "2001:db8::1", 54), EGRESS_NO_RULE);
}

static void narrowest_rule_decides_in_any_order(void **state)
{
	(void)state;
	expect("allow=10.0.0.0/8 deny=10.1.0.0/16", ip4(TCP, "10.1.0.1", 1), EGRESS_DENIED);
	expect("deny=10.1.0.0/16 allow=10.0.0.0/8", ip4(TCP, "10.1.0.1", 1), EGRESS_DENIED);
	expect("deny=10.0.0.0/8 allow=10.1.0.0/16", ip4(TCP, "10.1.0.1", 1), EGRESS_PASS);
	expect("deny=10.0.0.1 allow=10.0.0.1:53", ip4(UDP, "10.0.0.1", 53), EGRESS_PASS);
	expect("deny=10.0.0.1 allow=10.0.0.1:53", ip4(UDP, "10.0.0.1", 54), EGRESS_DENIED);
	expect("deny=10.0.0.1:1-100 allow=10.0.0.1:1-99", ip4(TCP, "10.0.0.1", 7), EGRESS_PASS);
	expect("deny=10.0.0.1 allow=10.0.0.1/tcp", ip4(TCP, "10.0.0.1", 54), EGRESS_PASS);
	expect("allow=10.0.0.1 deny=10.0.0.1", ip4(TCP, "10.0.0.1", 54), EGRESS_DENIED);
	expect("allow=10.0.0.1:22 deny=0.0.0.0/0", ip4(TCP, "10.0.0.1", 22), EGRESS_PASS);
}

static void odd_ethertypes_are_refused(void **state)
{
	static const unsigned types[] = {0x0000, 0x0026, 0x8035, 0x8100, 0x88a8, 0x8847,
					 0x8863, 0x8864, 0x88cc, 0x9100, 0xffff};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct frame f = ip4(TCP, "192.0.2.1", 22);

		put16(&f, 12, types[i]);
		expect("allow=0.0.0.0/0", f, EGRESS_ETHERTYPE);
		expect("deny=10.0.0.0/8", f, EGRESS_ETHERTYPE);
	}
}

static void tagged_frame_is_refused_whatever_is_in_it(void **state)
{
	struct frame f = ip4(TCP, "192.0.2.1", 22);

	(void)state;
	memmove(f.b + 16, f.b + 12, f.n - 12);
	put16(&f, 12, 0x8100);
	put16(&f, 14, 5);
	f.n += 4;
	expect("allow=0.0.0.0/0", f, EGRESS_ETHERTYPE);
}

static void every_truncation_is_refused(void **state)
{
	struct frame four = ip4(TCP, "192.0.2.1", 22), six = ip6(TCP, "2001:db8::1", 22);

	(void)state;
	for (size_t n = 0; n < four.n; n++) {
		struct frame f = four;

		f.n = n;
		expect("allow=0.0.0.0/0", f, EGRESS_MALFORMED);
	}
	for (size_t n = 0; n < six.n; n++) {
		struct frame f = six;

		f.n = n;
		expect("allow=[::/0]", f, EGRESS_MALFORMED);
	}
}

static void lengths_that_do_not_agree_are_refused(void **state)
{
	struct frame f = ip4(TCP, "192.0.2.1", 22);

	(void)state;
	put16(&f, 16, 41);
	expect("allow=0.0.0.0/0", f, EGRESS_MALFORMED);
	put16(&f, 16, 19);
	expect("allow=0.0.0.0/0", f, EGRESS_MALFORMED);
	put16(&f, 16, 23);
	expect("allow=0.0.0.0/0", f, EGRESS_HIDDEN); /* ports behind its end */
	put16(&f, 16, 40);
	f.b[14] = 0x44;
	expect("allow=0.0.0.0/0", f, EGRESS_MALFORMED);
	f.b[14] = 0x65;
	expect("allow=0.0.0.0/0", f, EGRESS_MALFORMED);
	f.b[14] = 0x4f;
	expect("allow=0.0.0.0/0", f, EGRESS_MALFORMED);
	f = ip6(TCP, "2001:db8::1", 22);
	f.b[14] = 0x40;
	expect("allow=[::/0]", f, EGRESS_MALFORMED);
	f = ip6(TCP, "2001:db8::1", 22);
	put16(&f, 18, 0); /* a jumbogram, or nothing */
	expect("allow=[::/0]", f, EGRESS_HIDDEN);
}

static void bytes_behind_the_packet_do_not_count(void **state)
{
	struct frame f = ip4(UDP, "192.0.2.1", 53);

	(void)state;
	put16(&f, 16, 20 + 8);
	expect("allow=192.0.2.1:53/udp", f, EGRESS_PASS);
	put16(&f, 16, 20);
	expect("allow=192.0.2.1:53/udp", f, EGRESS_HIDDEN);
}

/* Options of 8 bytes between header and ports. */
static struct frame ip4_with_options(const uint8_t options[8])
{
	struct frame f = ip4(TCP, "192.0.2.1", 22);

	memmove(f.b + 42, f.b + 34, f.n - 34);
	memcpy(f.b + 34, options, 8);
	f.b[14] = 0x47;
	f.n += 8;
	put16(&f, 16, 48);
	return f;
}

static void ip4_options_are_stepped_over(void **state)
{
	static const uint8_t alert[8] = {148, 4, 0, 0, 1, 1, 1, 0};
	static const uint8_t after_end[8] = {0, 131, 7, 4, 192, 0, 2, 99};

	(void)state;
	expect("allow=192.0.2.1:22", ip4_with_options(alert), EGRESS_PASS);
	expect("allow=192.0.2.1:23", ip4_with_options(alert), EGRESS_NO_RULE);
	expect("allow=192.0.2.1:22", ip4_with_options(after_end), EGRESS_PASS);
}

static void source_routes_are_refused(void **state)
{
	static const uint8_t loose[8] = {1, 131, 7, 4, 192, 0, 2, 99};
	static const uint8_t strict[8] = {137, 7, 4, 192, 0, 2, 99, 0};
	struct frame f = ip6(TCP, "2001:db8::1", 22);

	(void)state;
	expect("allow=0.0.0.0/0", ip4_with_options(loose), EGRESS_ROUTED);
	expect("allow=0.0.0.0/0", ip4_with_options(strict), EGRESS_ROUTED);
	expect("deny=10.0.0.0/8", ip4_with_options(strict), EGRESS_ROUTED);
	ip6_extend(&f, 43, 24);
	expect("allow=[::/0]", f, EGRESS_ROUTED);
	ip6_extend(&f, 60, 8);
	expect("allow=[::/0]", f, EGRESS_ROUTED);
}

static void malformed_options_are_refused(void **state)
{
	static const uint8_t too_long[8] = {148, 9, 0, 0, 1, 1, 1, 0};
	static const uint8_t too_short[8] = {148, 1, 0, 0, 1, 1, 1, 0};
	static const uint8_t cut[8] = {1, 1, 1, 1, 1, 1, 1, 148};

	(void)state;
	expect("allow=0.0.0.0/0", ip4_with_options(too_long), EGRESS_MALFORMED);
	expect("allow=0.0.0.0/0", ip4_with_options(too_short), EGRESS_MALFORMED);
	expect("allow=0.0.0.0/0", ip4_with_options(cut), EGRESS_MALFORMED);
}

static void ip4_fragments_are_seen_without_ports(void **state)
{
	struct frame first = ip4(UDP, "192.0.2.1", 53), later = first, tiny = first;

	(void)state;
	put16(&first, 20, 0x2000);
	put16(&later, 20, 0x2005);
	put16(&tiny, 20, 0x2000);
	put16(&tiny, 16, 20 + 2);
	expect("allow=192.0.2.1:53", first, EGRESS_PASS);
	expect("allow=192.0.2.1:53", later, EGRESS_NO_RULE);
	expect("allow=192.0.2.1/udp", later, EGRESS_PASS);
	expect("allow=192.0.2.1/tcp", later, EGRESS_NO_RULE);
	expect("deny=192.0.2.1:9999", later, EGRESS_DENIED);
	expect("deny=192.0.2.1:9999/tcp", later, EGRESS_PASS);
	expect("deny=192.0.2.2:9999", later, EGRESS_PASS);
	expect("allow=192.0.2.1", tiny, EGRESS_HIDDEN);
	put16(&later, 20, 0x0100); /* the last one */
	expect("deny=192.0.2.1:9999", later, EGRESS_DENIED);
	later.offload = (struct egress_offload){true, 34, 16};
	expect("allow=192.0.2.1", later, EGRESS_OFFLOAD);
}

static void ip6_fragments_are_seen_without_ports(void **state)
{
	struct frame f = ip6(UDP, "2001:db8::1", 53);

	(void)state;
	ip6_extend(&f, 44, 8);
	expect("allow=[2001:db8::1]:53", f, EGRESS_PASS); /* the only one */
	put16(&f, 56, 1);
	expect("allow=[2001:db8::1]:53", f, EGRESS_PASS); /* the first */
	put16(&f, 56, 8 | 1);
	expect("allow=[2001:db8::1]:53", f, EGRESS_NO_RULE);
	expect("allow=[2001:db8::1]/udp", f, EGRESS_PASS);
	expect("deny=[2001:db8::1]:9999", f, EGRESS_DENIED);
	f.b[54] = 60; /* its protocol is in the first fragment only */
	expect("allow=[2001:db8::1]/udp", f, EGRESS_NO_RULE);
	expect("allow=[2001:db8::1]", f, EGRESS_PASS);
	expect("deny=[2001:db8::1]/tcp", f, EGRESS_DENIED);
	f.b[54] = 43; /* nor is a source route */
	expect("deny=[2001:db8::1]:5/tcp", f, EGRESS_DENIED);
}

static void ip6_fragment_in_a_fragment_is_refused(void **state)
{
	struct frame f = ip6(UDP, "2001:db8::1", 53);

	(void)state;
	ip6_extend(&f, 44, 8);
	put16(&f, 56, 1);
	ip6_extend(&f, 44, 8);
	put16(&f, 56, 1);
	expect("allow=[::/0]", f, EGRESS_MALFORMED);
}

static void ip6_extensions_are_stepped_over(void **state)
{
	struct frame f = ip6(TCP, "2001:db8::1", 22);

	(void)state;
	ip6_extend(&f, 60, 16);
	ip6_extend(&f, 0, 8);
	expect("allow=[2001:db8::1]:22/tcp", f, EGRESS_PASS);
	expect("allow=[2001:db8::1]:23/tcp", f, EGRESS_NO_RULE);
	expect("deny=[2001:db8::1]:22/tcp", f, EGRESS_DENIED);
	ip6_extend(&f, 60, 8);
	expect("allow=[::/0]", f, EGRESS_MALFORMED); /* hop-by-hop is not the first */
}

static void extensions_beyond_the_head_are_refused(void **state)
{
	struct frame f = ip6(TCP, "2001:db8::1", 22);

	(void)state;
	ip6_extend(&f, 60, 256 - 54 - 2);
	expect("allow=[::/0]", f, EGRESS_HIDDEN);
	f = ip6(TCP, "2001:db8::1", 22);
	ip6_extend(&f, 60, 256 - 54 - 10);
	expect("allow=[2001:db8::1]:22", f, EGRESS_PASS);
	ip6_extend(&f, 60, 8);
	expect("allow=[2001:db8::1]:22", f, EGRESS_HIDDEN);
	f = ip6(TCP, "2001:db8::1", 22);
	ip6_extend(&f, 60, 16);
	f.b[55] = 255;
	expect("allow=[::/0]", f, EGRESS_HIDDEN);
}

static void large_segments_are_judged_by_their_headers(void **state)
{
	const struct egress *g = rules("allow=192.0.2.1:22");
	struct frame f = ip4(TCP, "192.0.2.1", 22);
	struct egress_packet p;

	(void)state;
	put16(&f, 16, 65535);
	assert_int_equal(egress_check(g, f.b, EGRESS_HEAD_MAX, 14 + 65535, &f.offload, &p),
			 EGRESS_PASS);
	assert_int_equal(egress_check(g, f.b, EGRESS_HEAD_MAX, 14 + 65534, &f.offload, &p),
			 EGRESS_MALFORMED);
}

static void checksum_may_not_change_what_was_checked(void **state)
{
	struct frame f = ip4(TCP, "192.0.2.1", 22);

	(void)state;
	f.offload = (struct egress_offload){true, 34, 16};
	expect("allow=192.0.2.1", f, EGRESS_PASS);
	f.offload = (struct egress_offload){true, 34, 6};
	expect("allow=192.0.2.1", f, EGRESS_PASS);
	f.offload = (struct egress_offload){true, 34, 2};
	expect("allow=192.0.2.1", f, EGRESS_OFFLOAD); /* the port */
	f.offload = (struct egress_offload){true, 30, 16};
	expect("allow=192.0.2.1", f, EGRESS_OFFLOAD);
	f.offload = (struct egress_offload){true, 14, 16};
	expect("deny=10.0.0.0/8", f, EGRESS_OFFLOAD); /* the address */
	f.offload = (struct egress_offload){true, 34, 65535};
	expect("allow=192.0.2.1", f, EGRESS_PASS); /* nowhere: the kernel refuses it */
	f.offload = (struct egress_offload){true, 34, 16};
	put16(&f, 20, 0x2000);
	expect("allow=192.0.2.1", f, EGRESS_OFFLOAD);
	f = arp(1);
	f.offload = (struct egress_offload){true, 34, 16};
	expect("allow=192.0.2.1", f, EGRESS_OFFLOAD);
}

static void arp_passes_if_it_is_nothing_else(void **state)
{
	struct frame f = arp(1);

	(void)state;
	expect("allow=192.0.2.1", arp(1), EGRESS_PASS);
	expect("deny=0.0.0.0/0", arp(2), EGRESS_PASS);
	expect("allow=192.0.2.1", arp(3), EGRESS_MALFORMED);
	f.n = 60;
	expect("allow=192.0.2.1", f, EGRESS_PASS);
	f.n = 61;
	expect("allow=192.0.2.1", f, EGRESS_MALFORMED);
	f = arp(1);
	f.b[18] = 8;
	expect("allow=192.0.2.1", f, EGRESS_MALFORMED);
	f = arp(1);
	put16(&f, 16, 0x86dd);
	expect("allow=192.0.2.1", f, EGRESS_MALFORMED);
}

static void dhcp_passes_to_the_link_only(void **state)
{
	struct frame f = dhcp4();

	(void)state;
	expect("allow=192.0.2.1", dhcp4(), EGRESS_PASS);
	put_addr(&f, 30, AF_INET, "203.0.113.7");
	expect("allow=192.0.2.1", f, EGRESS_NO_RULE);
	f = dhcp4();
	put16(&f, 34, 69);
	expect("allow=192.0.2.1", f, EGRESS_NO_RULE);
	f = dhcp4();
	put16(&f, 36, 68);
	expect("allow=192.0.2.1", f, EGRESS_NO_RULE);
	f = dhcp4();
	f.b[23] = TCP;
	expect("allow=192.0.2.1", f, EGRESS_NO_RULE);
	f = dhcp4();
	put16(&f, 20, 0x2000);
	expect("allow=192.0.2.1", f, EGRESS_NO_RULE);
	expect("allow=192.0.2.1", dhcp6(), EGRESS_PASS);
	f = dhcp6();
	put_addr(&f, 38, AF_INET6, "2001:db8::1:2");
	expect("allow=192.0.2.1", f, EGRESS_NO_RULE);
	f = dhcp6();
	put_addr(&f, 22, AF_INET6, "2001:db8::15");
	expect("allow=192.0.2.1", f, EGRESS_NO_RULE);
	f = dhcp6();
	put16(&f, 56, 546);
	expect("allow=192.0.2.1", f, EGRESS_NO_RULE);
	f = dhcp6();
	ip6_extend(&f, 60, 8);
	expect("allow=192.0.2.1", f, EGRESS_NO_RULE);
	f = dhcp6();
	ip6_extend(&f, 44, 8);
	expect("allow=192.0.2.1", f, EGRESS_NO_RULE);
}

static void neighbour_discovery_passes_to_the_link(void **state)
{
	static const struct {
		const char *to;
		unsigned type, hops;
		enum egress_verdict verdict;
	} rows[] = {
		{"ff02::2", 133, 255, EGRESS_PASS},
		{"ff02::1:ff00:15", 135, 255, EGRESS_PASS},
		{"fe80::1", 135, 255, EGRESS_PASS},
		{"fe80::1", 136, 255, EGRESS_PASS},
		{"ff02::1", 136, 255, EGRESS_PASS},
		{"ff02::16", 143, 1, EGRESS_PASS},
		{"ff02::fb", 131, 1, EGRESS_PASS},
		{"ff02::2", 132, 1, EGRESS_PASS},
		/* could be forwarded, or are not for guests to say */
		{"ff02::2", 133, 254, EGRESS_NO_RULE},
		{"ff02::1", 133, 255, EGRESS_NO_RULE},
		{"2001:db8::2", 133, 255, EGRESS_NO_RULE},
		{"ff02::1", 134, 255, EGRESS_NO_RULE},
		{"fe80::1", 137, 255, EGRESS_NO_RULE},
		{"ff02::1:ff00:15", 135, 64, EGRESS_NO_RULE},
		{"ff02::2:ff00:15", 135, 255, EGRESS_NO_RULE},
		{"2001:db8::1", 135, 255, EGRESS_NO_RULE},
		{"2001:db8::1", 136, 255, EGRESS_NO_RULE},
		{"ff05::16", 143, 1, EGRESS_NO_RULE},
		{"ff02::16", 143, 255, EGRESS_NO_RULE},
		{"fe80::1", 128, 255, EGRESS_NO_RULE},
		{"ff02::1", 128, 255, EGRESS_NO_RULE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		expect("allow=192.0.2.1", icmp6(rows[i].to, rows[i].type, rows[i].hops),
		       rows[i].verdict);
}

static void neighbours_that_rules_name_may_be_probed(void **state)
{
	struct frame f = icmp6("2001:db8::1", 135, 255);

	(void)state;
	expect("allow=[2001:db8::1]:443/tcp", f, EGRESS_PASS);
	expect("allow=[2001:db8::1]:443/tcp", icmp6("2001:db8::1", 135, 64), EGRESS_NO_RULE);
	expect("allow=[2001:db8::1]:443/tcp", icmp6("2001:db8::1", 128, 255), EGRESS_NO_RULE);
	expect("allow=[2001:db8::/32] deny=[2001:db8::1]", f, EGRESS_DENIED);
	expect("allow=[2001:db8::/32] deny=[2001:db8::1]:22", f, EGRESS_PASS);
	expect("allow=[2001:db8::1]:22 deny=[2001:db8::1]", f, EGRESS_PASS);
	expect("deny=[2001:db8::1]:22", f, EGRESS_PASS);
	expect("deny=[2001:db8::1]", f, EGRESS_DENIED);
}

static void discovery_with_more_in_front_is_refused(void **state)
{
	struct frame f = icmp6("fe80::1", 135, 255);

	(void)state;
	ip6_extend(&f, 60, 8);
	expect("allow=192.0.2.1", f, EGRESS_NO_RULE);
	f = icmp6("fe80::1", 135, 255);
	ip6_extend(&f, 0, 8);
	expect("allow=192.0.2.1", f, EGRESS_NO_RULE);
	f = icmp6("fe80::1", 135, 255);
	ip6_extend(&f, 44, 8);
	expect("allow=192.0.2.1", f, EGRESS_NO_RULE);
	f = icmp6("fe80::1", 135, 255);
	f.b[55] = 1; /* code */
	expect("allow=192.0.2.1", f, EGRESS_NO_RULE);
	f = icmp6("ff02::16", 143, 1);
	ip6_extend(&f, 0, 8); /* router alert: usual */
	expect("allow=192.0.2.1", f, EGRESS_PASS);
	f = icmp6("ff02::16", 143, 1);
	ip6_extend(&f, 0, 16);
	expect("allow=192.0.2.1", f, EGRESS_NO_RULE);
}

/* ---- texts ---- */

static void refused(const char *list, const char *message)
{
	static struct egress g;
	struct err e = {0};

	g = (struct egress){.nrules = 0};
	assert_true(egress_add(&g, "allow", list, &e) < 0);
	assert_string_equal(e.text, message);
}

static void lists_have_either_separator(void **state)
{
	const struct egress *g =
		rules("allow=10.0.0.0/8;192.0.2.1:22+[2001:db8::1/128]:80-81/tcp deny=");

	(void)state;
	assert_int_equal(g->nrules, 3);
	assert_int_equal(g->rules[0].prefix, 128);
	assert_int_equal(g->rules[0].port_last, 81);
	assert_int_equal(g->rules[2].prefix, 8);
	assert_false(g->rules[2].has_ports);
}

static void rule_ends_where_its_text_does(void **state)
{
	const struct egress *g = rules("allow=[2001:db8::]:80/udp;192.0.2.111/tcp");

	(void)state; /* with "udp" of the first behind the end of the second */
	assert_int_equal(g->rules[1].prefix, 32);
	assert_int_equal(g->rules[1].protocol, EGRESS_TCP);
}

static void wrong_rules_are_named_with_the_remedy(void **state)
{
	(void)state;
	refused("10.0.0.1;x", "allow: \"x\": begins with no address; as in 192.0.2.0/24:443/tcp "
			      "or [2001:db8::]/32");
	refused("2001:db8::1", "allow: \"2001:db8::1\": begins with no address; as in "
			       "192.0.2.0/24:443/tcp or [2001:db8::]/32");
	refused("10.0.0.1/33", "allow: \"10.0.0.1/33\": the prefix is a number from 0 to 32");
	refused("[::1/129]", "allow: \"[::1/129]\": the prefix is a number from 0 to 128");
	refused("[::1", "allow: \"[::1\": a closing bracket is missing");
	refused("10.1.2.3/8", "allow: \"10.1.2.3/8\": has bits behind its prefix; the network is "
			      "10.0.0.0/8");
	refused("[2001:db8::1]/32", "allow: \"[2001:db8::1]/32\": has bits behind its prefix; the "
				    "network is [2001:db8::]/32");
	refused("10.0.0.1:0", "allow: \"10.0.0.1:0\": ports are N or N-M, from 1 to 65535");
	refused("10.0.0.1:9-8", "allow: \"10.0.0.1:9-8\": ports are N or N-M, from 1 to 65535");
	refused("10.0.0.1:65536", "allow: \"10.0.0.1:65536\": ports are N or N-M, from 1 to 65535");
	refused("10.0.0.1:5-", "allow: \"10.0.0.1:5-\": ports are N or N-M, from 1 to 65535");
	refused("10.0.0.1/sctp", "allow: \"10.0.0.1/sctp\": the protocol is tcp, udp or icmp");
	refused("10.0.0.1:80/icmp", "allow: \"10.0.0.1:80/icmp\": icmp has no ports");
	refused("10.0.0.1:80x", "allow: \"10.0.0.1:80x\": \"x\" is neither ports nor a protocol");
	refused("10.0.0.1;;", "allow: \"\": begins with no address; as in 192.0.2.0/24:443/tcp or "
			      "[2001:db8::]/32");
}

static void more_rules_than_there_is_room_for(void **state)
{
	static struct egress g;
	struct err e = {0};

	(void)state;
	for (unsigned i = 0; i < EGRESS_RULES_MAX; i++)
		assert_int_equal(egress_add(&g, "deny", "192.0.2.1", &e), 0);
	assert_int_equal(egress_add(&g, "deny", "192.0.2.1", &e), -E2BIG);
	assert_string_equal(e.text, "deny: more than 256 rules");
}

static void packets_are_described(void **state)
{
	const struct egress *g = rules("deny=0.0.0.0/0");
	static struct frame frames[5];
	static const char *const texts[] = {
		"tcp 10.0.2.15:40000 > 192.0.2.1:22",
		"udp [2001:db8::15]:40000 > [2001:db8::1]:53",
		"icmp 10.0.2.15 > 192.0.2.1",
		"protocol 132 10.0.2.15 > 192.0.2.1",
		"ethertype 0x88cc",
	};

	(void)state;
	frames[0] = ip4(TCP, "192.0.2.1", 22);
	frames[1] = ip6(UDP, "2001:db8::1", 53);
	frames[2] = ip4(ICMP, "192.0.2.1", 0);
	frames[3] = ip4(SCTP, "192.0.2.1", 0);
	frames[4] = ethernet(0x88cc, 60);
	for (size_t i = 0; i < ARRAY_LEN(frames); i++) {
		struct egress_packet p;
		char text[128];

		(void)!egress_check(g, frames[i].b, frames[i].n, frames[i].n, &frames[i].offload,
				    &p);
		egress_describe(&p, text, sizeof(text));
		assert_string_equal(text, texts[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_rules_everything_passes),
		cmocka_unit_test(allow_refuses_the_rest_in_both_families),
		cmocka_unit_test(deny_alone_passes_the_rest),
		cmocka_unit_test(ip4_addresses_in_ip6_headers_are_refused),
		cmocka_unit_test(prefixes_of_odd_lengths),
		cmocka_unit_test(ports_and_protocols_limit_a_rule),
		cmocka_unit_test(narrowest_rule_decides_in_any_order),
		cmocka_unit_test(odd_ethertypes_are_refused),
		cmocka_unit_test(tagged_frame_is_refused_whatever_is_in_it),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(lengths_that_do_not_agree_are_refused),
		cmocka_unit_test(bytes_behind_the_packet_do_not_count),
		cmocka_unit_test(ip4_options_are_stepped_over),
		cmocka_unit_test(source_routes_are_refused),
		cmocka_unit_test(malformed_options_are_refused),
		cmocka_unit_test(ip4_fragments_are_seen_without_ports),
		cmocka_unit_test(ip6_fragments_are_seen_without_ports),
		cmocka_unit_test(ip6_fragment_in_a_fragment_is_refused),
		cmocka_unit_test(ip6_extensions_are_stepped_over),
		cmocka_unit_test(extensions_beyond_the_head_are_refused),
		cmocka_unit_test(large_segments_are_judged_by_their_headers),
		cmocka_unit_test(checksum_may_not_change_what_was_checked),
		cmocka_unit_test(arp_passes_if_it_is_nothing_else),
		cmocka_unit_test(dhcp_passes_to_the_link_only),
		cmocka_unit_test(neighbour_discovery_passes_to_the_link),
		cmocka_unit_test(neighbours_that_rules_name_may_be_probed),
		cmocka_unit_test(discovery_with_more_in_front_is_refused),
		cmocka_unit_test(lists_have_either_separator),
		cmocka_unit_test(rule_ends_where_its_text_does),
		cmocka_unit_test(wrong_rules_are_named_with_the_remedy),
		cmocka_unit_test(more_rules_than_there_is_room_for),
		cmocka_unit_test(packets_are_described),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
