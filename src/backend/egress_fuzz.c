/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * egress_fuzz.c - any rules and any frame; the verdict is that of a second, slower reading
 *
 * The input is either one text of rules, or rules in binary (which are printed and read back)
 * followed by what the host shall do about the checksum and by the frame.  The second reading
 * shares nothing with egress.c: it walks through the frame byte by byte, keeps rules as they were
 * given, and looks for the narrowest of all that match.
 */
#include "backend/egress.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum { RULES = 8, RULE_BYTES = 24, FRAME_BYTES_MAX = 70000 };

struct rule {
	bool allow, v6;
	unsigned prefix, ports[2], protocol; /* ports: 0: any */
	uint8_t addr[16];
};

struct input {
	struct rule rules[RULES];
	unsigned nrules;
	struct egress_offload offload;
	const uint8_t *frame;
	size_t head, length;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* ---- the second reading ---- */

/* Byte i of the head, or -1; limit is where the packet ends. */
static int byte(const struct input *in, size_t i, size_t limit)
{
	return i < in->head && i < limit ? in->frame[i] : -1;
}

static int word(const struct input *in, size_t i, size_t limit)
{
	int high = byte(in, i, limit), low = byte(in, i + 1, limit);

	return high < 0 || low < 0 ? -1 : high * 256 + low;
}

static bool bit(const uint8_t *bytes, unsigned i)
{
	return (bytes[i / 8] & (128 >> (i % 8))) != 0;
}

struct packet {
	bool v6, first, whole; /* first: has the front of its payload; whole: no fragment */
	int protocol, port, from_port; /* -1: cannot be seen */
	size_t payload, end;
	unsigned hops;
	bool plain, hop_by_hop; /* v6: without extensions, but for hop_by_hop */
	const uint8_t *to, *from;
};

static bool addresses_match(const struct rule *r, const struct packet *p)
{
	if (r->v6 != p->v6)
		return false;
	for (unsigned i = 0; i < r->prefix; i++)
		if (bit(r->addr, i) != bit(p->to, i))
			return false;
	return true;
}

static bool rule_matches(const struct rule *r, const struct packet *p)
{
	bool unknown_protocol = p->protocol < 0;
	int wanted = (int)r->protocol;

	if (!addresses_match(r, p))
		return false;
	if (wanted == 1 && p->v6)
		wanted = 58;
	if (wanted != 0 && unknown_protocol && r->allow)
		return false;
	if (wanted != 0 && !unknown_protocol && wanted != p->protocol)
		return false;
	if (r->ports[0] == 0)
		return true;
	if (p->protocol != 6 && p->protocol != 17 && !unknown_protocol)
		return false;
	if (p->port < 0)
		return !r->allow;
	return (unsigned)p->port >= r->ports[0] && (unsigned)p->port <= r->ports[1];
}

/* Whether a is to be asked before b. */
static bool is_narrower(const struct rule *a, const struct rule *b)
{
	unsigned a_ports = a->ports[0] ? a->ports[1] - a->ports[0] : 70000;
	unsigned b_ports = b->ports[0] ? b->ports[1] - b->ports[0] : 70000;

	if (a->prefix != b->prefix)
		return a->prefix > b->prefix;
	if (a_ports != b_ports)
		return a_ports < b_ports;
	if ((a->protocol == 0) != (b->protocol == 0))
		return a->protocol != 0;
	return !a->allow && b->allow;
}

static bool has_allow(const struct input *in)
{
	for (unsigned i = 0; i < in->nrules; i++)
		if (in->rules[i].allow)
			return true;
	return false;
}

static bool rules_pass(const struct input *in, const struct packet *p)
{
	const struct rule *best = NULL;

	for (unsigned i = 0; i < in->nrules; i++)
		if (rule_matches(&in->rules[i], p) && (!best || is_narrower(&in->rules[i], best)))
			best = &in->rules[i];
	return best ? best->allow : !has_allow(in);
}

/* Some allow rule names the address, and no narrower rule denies it altogether. */
static bool is_known_neighbour(const struct input *in, const struct packet *p)
{
	const struct rule *best = NULL;

	for (unsigned i = 0; i < in->nrules; i++) {
		const struct rule *r = &in->rules[i];

		if (!r->allow && (r->ports[0] || r->protocol))
			continue;
		if (addresses_match(r, p) && (!best || is_narrower(r, best)))
			best = r;
	}
	return best ? best->allow : !has_allow(in);
}

static bool is_address(const uint8_t *addr, const char *text, unsigned bits)
{
	uint8_t wanted[16];

	if (inet_pton(AF_INET6, text, wanted) != 1)
		abort();
	for (unsigned i = 0; i < bits; i++)
		if (bit(addr, i) != bit(wanted, i))
			return false;
	return true;
}

static bool icmp6_passes(const struct input *in, const struct packet *p)
{
	int type = byte(in, p->payload, p->end), code = byte(in, p->payload + 1, p->end);

	if (code != 0 || !p->plain)
		return false;
	if (type == 131 || type == 132 || type == 143)
		return p->hops == 1 && is_address(p->to, "ff02::", 16);
	if (p->hop_by_hop || p->hops != 255)
		return false;
	if (type == 133)
		return is_address(p->to, "ff02::2", 128);
	return (type == 135 || type == 136) &&
	       (is_address(p->to, "ff02::1:ff00:0", 104) || is_address(p->to, "ff02::1", 128) ||
		is_address(p->to, "fe80::", 10) || is_known_neighbour(in, p));
}

static bool link_needs(const struct input *in, const struct packet *p)
{
	if (!p->whole)
		return false;
	if (p->protocol == 17 && !p->v6)
		return p->from_port == 68 && p->port == 67 &&
		       memcmp(p->to, "\xff\xff\xff\xff", 4) == 0;
	if (p->protocol == 17)
		return p->from_port == 546 && p->port == 547 && p->plain &&
		       is_address(p->from, "fe80::", 10) && is_address(p->to, "ff02::1:2", 128);
	return p->v6 && p->protocol == 58 && icmp6_passes(in, p);
}

static bool read_ip4(const struct input *in, struct packet *p)
{
	int length = word(in, 16, in->length), fragment = word(in, 20, in->length);
	size_t i = 34;

	if (in->length < 34 || byte(in, 14, in->length) / 16 != 4)
		return false;
	p->payload = 14 + (size_t)(in->frame[14] % 16) * 4;
	p->end = 14 + (size_t)length;
	if (p->payload < 34 || p->payload > p->end || p->end > in->length)
		return false;
	while (i < p->payload && in->frame[i] != 0) {
		int step = in->frame[i] == 1 ? 1 : byte(in, i + 1, p->payload);

		if (in->frame[i] != 1 && (in->frame[i] % 32 == 3 || in->frame[i] % 32 == 9))
			return false;
		if (in->frame[i] != 1 && step < 2)
			return false;
		i += (size_t)step;
		if (i > p->payload)
			return false;
	}
	p->first = fragment % 8192 == 0;
	p->whole = fragment % 16384 == 0;
	p->protocol = in->frame[23];
	p->from = in->frame + 26;
	p->to = in->frame + 30;
	return true;
}

/* Goes over one extension header; false if the frame is to be refused. */
static bool step_ip6(const struct input *in, struct packet *p)
{
	int next = byte(in, p->payload, p->end), second = byte(in, p->payload + 1, p->end);
	size_t size = 8 * ((size_t)second + 1);
	int offset;

	if (p->protocol == 43 || (p->protocol == 0 && p->payload != 54) || next < 0 || second < 0)
		return false;
	if (p->protocol == 44) {
		offset = word(in, p->payload + 2, p->end);
		if (!p->whole || byte(in, p->payload + 7, p->end) < 0)
			return false;
		p->first = offset / 8 == 0;
		p->whole = p->first && offset % 2 == 0;
		p->plain = false;
		size = 8;
	} else if (byte(in, p->payload + size - 1, p->end) < 0) {
		return false;
	} else if (p->protocol == 0 && size == 8) {
		p->hop_by_hop = true;
	} else {
		p->plain = false;
	}
	p->payload += size;
	p->protocol = next;
	return true;
}

static bool read_ip6(const struct input *in, struct packet *p)
{
	if (in->length < 54 || in->frame[14] / 16 != 6)
		return false;
	p->v6 = p->first = p->whole = p->plain = true;
	p->payload = 54;
	p->end = 54 + (size_t)word(in, 18, in->length);
	p->protocol = in->frame[20];
	p->hops = in->frame[21];
	p->from = in->frame + 22;
	p->to = in->frame + 38;
	if (p->end > in->length || is_address(p->from, "::ffff:0.0.0.0", 96) ||
	    is_address(p->to, "::ffff:0.0.0.0", 96))
		return false;
	while (p->first &&
	       (p->protocol == 0 || p->protocol == 43 || p->protocol == 44 || p->protocol == 60))
		if (!step_ip6(in, p))
			return false;
	if (p->protocol == 0 || p->protocol == 43 || p->protocol == 44 || p->protocol == 60)
		p->protocol = -1;
	return true;
}

static bool arp_passes(const struct input *in)
{
	static const uint8_t front[] = {0, 1, 8, 0, 6, 4, 0};

	return in->length >= 42 && in->length <= 60 && !in->offload.has_csum &&
	       memcmp(in->frame + 14, front, sizeof(front)) == 0 &&
	       (in->frame[21] == 1 || in->frame[21] == 2);
}

static bool passes(const struct input *in)
{
	struct packet p = {.protocol = -1, .port = -1, .from_port = -1};
	int type = word(in, 12, in->length);
	bool is_read = false;

	if (in->nrules == 0)
		return true;
	if (type == 0x0806)
		return arp_passes(in);
	if (type == 0x0800)
		is_read = read_ip4(in, &p);
	else if (type == 0x86dd)
		is_read = read_ip6(in, &p);
	if (!is_read)
		return false;
	if (p.first && (p.protocol == 6 || p.protocol == 17)) {
		p.from_port = word(in, p.payload, p.end);
		p.port = word(in, p.payload + 2, p.end);
		if (p.port < 0)
			return false;
	}
	if (in->offload.has_csum &&
	    (!p.whole || in->offload.csum_start < p.payload ||
	     (size_t)in->offload.csum_start + in->offload.csum_offset < p.payload + 4))
		return false;
	return link_needs(in, &p) || rules_pass(in, &p);
}

/* ---- input ---- */

static void rule_print(const struct rule *r, char *buf, size_t n)
{
	static const char *const names[] = {[1] = "/icmp", [6] = "/tcp", [17] = "/udp"};
	char addr[INET6_ADDRSTRLEN], ports[32] = "";

	inet_ntop(r->v6 ? AF_INET6 : AF_INET, r->addr, addr, sizeof(addr));
	if (r->ports[0])
		snprintf(ports, sizeof(ports), ":%u-%u", r->ports[0], r->ports[1]);
	snprintf(buf, n, r->v6 ? "[%s]/%u%s%s" : "%s/%u%s%s", addr, r->prefix, ports,
		 r->protocol ? names[r->protocol] : "");
}

static void rule_make(struct rule *r, const uint8_t *d)
{
	static const unsigned known[] = {0, 1, 6, 17};

	r->allow = d[0] & 1;
	r->v6 = d[0] & 2;
	r->protocol = known[d[0] >> 2 & 3];
	r->prefix = d[1] % (r->v6 ? 129 : 33);
	if (d[0] & 16 && r->protocol != 1) {
		r->ports[0] = 1u + d[2] + 256u * (d[3] % 255u);
		r->ports[1] = r->ports[0] + d[4] % 32;
		if (r->ports[1] > 65535)
			r->ports[1] = 65535;
	}
	for (unsigned i = 0; i < r->prefix; i++)
		if (bit(d + 8, i))
			r->addr[i / 8] |= (uint8_t)(128 >> i % 8);
}

static void frame_run(const uint8_t *data, size_t n)
{
	static struct egress g;
	struct input in = {.nrules = data[0] % (RULES + 1)};
	struct egress_packet packet;
	char text[128], line[256];
	uint8_t *head;
	struct err e;
	bool is_passed;

	g = (struct egress){.nrules = 0};
	if (n < 8 + in.nrules * RULE_BYTES)
		return;
	in.offload.has_csum = data[1] & 1;
	in.offload.csum_start = (uint16_t)(data[2] + 256 * (data[3] & 3));
	in.offload.csum_offset = data[4] & 2 ? 0xfff0u + data[5] % 16u : data[5];
	for (unsigned i = 0; i < in.nrules; i++) {
		rule_make(&in.rules[i], data + 8 + i * RULE_BYTES);
		rule_print(&in.rules[i], text, sizeof(text));
		if (egress_add(&g, in.rules[i].allow ? "allow" : "deny", text, &e) < 0)
			abort();
	}
	in.length = n - 8 - in.nrules * RULE_BYTES;
	in.head = in.length < EGRESS_HEAD_MAX ? in.length : EGRESS_HEAD_MAX;
	head = malloc(in.head + 1); /* so that reading beyond is seen */
	if (!head)
		return;
	memcpy(head, data + n - in.length, in.head);
	in.frame = head;
	is_passed = egress_check(&g, head, in.head, in.length, &in.offload, &packet) == EGRESS_PASS;
	if (is_passed != passes(&in))
		abort();
	egress_describe(&packet, line, sizeof(line));
	free(head);
}

static void text_run(const uint8_t *data, size_t n)
{
	static struct egress g;
	char text[512];
	struct err e = {0};

	g = (struct egress){.nrules = 0};
	if (n >= sizeof(text))
		return;
	memcpy(text, data, n);
	text[n] = '\0';
	if (egress_add(&g, "deny", text, &e) < 0 && (e.code <= 0 || !*e.text))
		abort();
	for (unsigned i = 0; i < g.nrules; i++)
		if (g.rules[i].prefix > (g.rules[i].is_v6 ? 128 : 32) ||
		    (g.rules[i].has_ports && (g.rules[i].port_first == 0 ||
					      g.rules[i].port_last < g.rules[i].port_first)))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n < 1 || n > FRAME_BYTES_MAX)
		return 0;
	if (data[0] == 0xff)
		text_run(data + 1, n - 1);
	else
		frame_run(data, n);
	return 0;
}
