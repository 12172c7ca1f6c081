/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * egress.c - where a guest's frames may go: frames against rules
 *
 * A frame is read once, from front to back (frame_parse()), into a struct packet; what is not
 * understood ends there.  Then what a link needs passes, then the first rule that matches decides:
 * egress_rules.c keeps them sorted.
 */
#include "backend/egress.h"

#include "base/num.h"
#include "base/wire.h"

#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

enum {
	ETHERNET = 14, /* bytes of its header */
	ARP_BYTES = ETHERNET + 28,
	ARP_BYTES_MAX = 60, /* the shortest Ethernet frame: padding, with no room for more */
	IP4 = 20,
	IP6 = 40,
	PORTS = 4, /* both, at the front of TCP and UDP */

	TYPE_IP4 = 0x0800,
	TYPE_ARP = 0x0806,
	TYPE_IP6 = 0x86dd,

	IP4_FRAGMENT_MASK = 0x1fff,
	IP4_MORE = 0x2000,
	IP6_FRAGMENT_MASK = 0xfff8,
	IP6_MORE = 1,

	PROTOCOL_HOP_BY_HOP = 0,
	PROTOCOL_ROUTING = 43,
	PROTOCOL_FRAGMENT = 44,
	PROTOCOL_ICMP6 = 58,
	PROTOCOL_DESTINATION = 60,
};

const char *const egress_reasons[EGRESS_VERDICTS] = {
	[EGRESS_PASS] = "passed",
	[EGRESS_DENIED] = "a rule denies it",
	[EGRESS_NO_RULE] = "no rule allows it",
	[EGRESS_ETHERTYPE] = "neither ARP nor IP",
	[EGRESS_MALFORMED] = "malformed",
	[EGRESS_ROUTED] = "source route",
	[EGRESS_HIDDEN] = "ports or headers out of sight",
	[EGRESS_OFFLOAD] = "checksum over its headers",
};

/* RFC 791 */
struct ip4 {
	uint8_t version_ihl, tos;
	be16 length, id, fragment;
	uint8_t ttl, protocol;
	be16 checksum;
	uint8_t source[4], destination[4];
};
static_assert(sizeof(struct ip4) == IP4, "RFC 791, 3.1");

/* RFC 8200 */
struct ip6 {
	be32 version_class_flow;
	be16 payload;
	uint8_t next, hop_limit;
	uint8_t source[16], destination[16];
};
static_assert(sizeof(struct ip6) == IP6, "RFC 8200, 3");

struct ip6_fragment {
	uint8_t next, reserved;
	be16 offset;
	be32 id;
};
static_assert(sizeof(struct ip6_fragment) == 8, "RFC 8200, 4.5");

/* RFC 826, for IPv4 over Ethernet */
struct arp {
	be16 hardware, protocol;
	uint8_t hardware_bytes, protocol_bytes;
	be16 operation;
	uint8_t addresses[20];
};
static_assert(ETHERNET + sizeof(struct arp) == ARP_BYTES, "RFC 826");

struct frame {
	const uint8_t *head;
	size_t head_bytes, frame_bytes;
	size_t at, end; /* the next header; the end of the packet, which may be behind the head */
	struct egress_packet *packet;
	bool is_fragment;    /* of several */
	bool is_later;	     /* and not the first */
	bool has_extensions; /* IPv6: others than one hop-by-hop header of 8 bytes */
	uint8_t hop_limit;   /* IPv6 */
};

/* Copies the next n bytes of headers; false if the packet or the head ends before. */
MUST_CHECK static bool peek(const struct frame *f, void *ret, size_t n)
{
	if (!is_inside(f->at, n, min_size(f->head_bytes, f->end)))
		return false;
	memcpy(ret, f->head + f->at, n);
	return true;
}

/* ---- reading a frame ---- */

static enum egress_verdict arp_parse(struct frame *f)
{
	struct arp a;

	if (!peek(f, &a, sizeof(a)) || f->frame_bytes > ARP_BYTES_MAX ||
	    be16_get(a.hardware) != 1 || be16_get(a.protocol) != TYPE_IP4 ||
	    a.hardware_bytes != 6 || a.protocol_bytes != 4 || be16_get(a.operation) < 1 ||
	    be16_get(a.operation) > 2)
		return EGRESS_MALFORMED;
	return EGRESS_PASS;
}

/* RFC 791, 3.1: a source route has number 3 or 9, whatever its class. */
static enum egress_verdict ip4_options_parse(const uint8_t *option, size_t n)
{
	enum { END = 0, NOTHING = 1, NUMBER_MASK = 31, LOOSE = 3, STRICT = 9 };

	for (size_t at = 0; at < n && option[at] != END;) {
		unsigned number = option[at] & NUMBER_MASK;

		if (option[at] == NOTHING) {
			at++;
			continue;
		}
		if (number == LOOSE || number == STRICT)
			return EGRESS_ROUTED;
		if (n - at < 2 || option[at + 1] < 2 || option[at + 1] > n - at)
			return EGRESS_MALFORMED;
		at += option[at + 1];
	}
	return EGRESS_PASS;
}

static enum egress_verdict ip4_parse(struct frame *f)
{
	struct egress_packet *p = f->packet;
	uint16_t fragment;
	struct ip4 h;
	size_t header;

	if (!peek(f, &h, sizeof(h)))
		return EGRESS_MALFORMED;
	header = 4u * (h.version_ihl & 15);
	if (h.version_ihl >> 4 != 4 || header < IP4 || be16_get(h.length) < header ||
	    !is_inside(f->at, be16_get(h.length), f->frame_bytes) || f->at + header > f->head_bytes)
		return EGRESS_MALFORMED;
	f->end = f->at + be16_get(h.length);
	fragment = be16_get(h.fragment);
	f->is_later = fragment & IP4_FRAGMENT_MASK;
	f->is_fragment = f->is_later || (fragment & IP4_MORE);
	p->is_ip = p->has_protocol = true;
	p->protocol = h.protocol;
	memcpy(p->source, h.source, sizeof(h.source));
	memcpy(p->destination, h.destination, sizeof(h.destination));
	f->at += header;
	return ip4_options_parse(f->head + f->at - (header - IP4), header - IP4);
}

/* RFC 8200, 4.5; at offset 0 the headers go on. */
static enum egress_verdict ip6_fragment_parse(struct frame *f, uint8_t *next)
{
	struct ip6_fragment h;
	uint16_t offset;

	if (!peek(f, &h, sizeof(h)))
		return EGRESS_HIDDEN;
	if (f->is_fragment)
		return EGRESS_MALFORMED;
	offset = be16_get(h.offset);
	f->is_later = offset & IP6_FRAGMENT_MASK;
	f->is_fragment = f->is_later || (offset & IP6_MORE);
	f->has_extensions = true;
	f->at += sizeof(h);
	*next = h.next;
	return EGRESS_PASS;
}

/* RFC 8200, 4.3 and 4.6 */
static enum egress_verdict ip6_options_parse(struct frame *f, uint8_t *next)
{
	bool is_first = f->at == ETHERNET + IP6;
	uint8_t h[2]; /* the next header; units of 8 bytes behind the first */
	size_t n;

	if (!peek(f, h, sizeof(h)))
		return EGRESS_HIDDEN;
	if (*next == PROTOCOL_HOP_BY_HOP && !is_first)
		return EGRESS_MALFORMED;
	n = 8u * (h[1] + 1u);
	if (!is_inside(f->at, n, min_size(f->head_bytes, f->end)))
		return EGRESS_HIDDEN;
	if (*next != PROTOCOL_HOP_BY_HOP || n != 8)
		f->has_extensions = true;
	f->at += n;
	*next = h[0];
	return EGRESS_PASS;
}

static bool is_extension(uint8_t next)
{
	return next == PROTOCOL_HOP_BY_HOP || next == PROTOCOL_ROUTING ||
	       next == PROTOCOL_FRAGMENT || next == PROTOCOL_DESTINATION;
}

static enum egress_verdict ip6_extensions_parse(struct frame *f, uint8_t next)
{
	enum egress_verdict v = EGRESS_PASS;

	while (v == EGRESS_PASS && !f->is_later && is_extension(next)) {
		if (next == PROTOCOL_ROUTING)
			v = EGRESS_ROUTED;
		else if (next == PROTOCOL_FRAGMENT)
			v = ip6_fragment_parse(f, &next);
		else
			v = ip6_options_parse(f, &next);
	}
	f->packet->has_protocol = v == EGRESS_PASS && !is_extension(next);
	f->packet->protocol = f->packet->has_protocol ? next : 0;
	return v;
}

/* I4; those who do take them send to the IPv4 address. */
static bool is_mapped(const uint8_t *addr)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(addr, mapped, sizeof(mapped)) == 0;
}

static enum egress_verdict ip6_parse(struct frame *f)
{
	struct egress_packet *p = f->packet;
	struct ip6 h;

	if (!peek(f, &h, sizeof(h)) || be32_get(h.version_class_flow) >> 28 != 6 ||
	    !is_inside(f->at + IP6, be16_get(h.payload), f->frame_bytes))
		return EGRESS_MALFORMED;
	f->at += IP6;
	f->end = f->at + be16_get(h.payload);
	f->hop_limit = h.hop_limit;
	p->is_ip = p->is_v6 = true;
	memcpy(p->source, h.source, sizeof(h.source));
	memcpy(p->destination, h.destination, sizeof(h.destination));
	if (is_mapped(h.source) || is_mapped(h.destination))
		return EGRESS_MALFORMED;
	return ip6_extensions_parse(f, h.next);
}

static enum egress_verdict ports_parse(struct frame *f)
{
	struct egress_packet *p = f->packet;
	be16 ports[2];

	if (f->is_later || (p->protocol != EGRESS_TCP && p->protocol != EGRESS_UDP))
		return EGRESS_PASS;
	if (!peek(f, ports, sizeof(ports)))
		return EGRESS_HIDDEN;
	p->has_ports = true;
	p->source_port = be16_get(ports[0]);
	p->destination_port = be16_get(ports[1]);
	return EGRESS_PASS;
}

/* I1, I2. */
static enum egress_verdict frame_parse(struct frame *f)
{
	enum egress_verdict v;
	uint8_t ethernet[ETHERNET];

	if (!peek(f, ethernet, sizeof(ethernet)))
		return EGRESS_MALFORMED;
	f->at = ETHERNET;
	f->packet->ethertype = (uint16_t)(ethernet[12] << 8 | ethernet[13]);
	switch (f->packet->ethertype) {
	case TYPE_ARP:
		return arp_parse(f);
	case TYPE_IP4:
		v = ip4_parse(f);
		break;
	case TYPE_IP6:
		v = ip6_parse(f);
		break;
	default:
		return EGRESS_ETHERTYPE;
	}
	return v == EGRESS_PASS ? ports_parse(f) : v;
}

/* I3. */
static bool offload_is_harmless(const struct frame *f, const struct egress_offload *o)
{
	return !o->has_csum || (f->packet->is_ip && !f->is_fragment && o->csum_start >= f->at &&
				(size_t)o->csum_start + o->csum_offset >= f->at + PORTS);
}

/* ---- deciding ---- */

static bool has_prefix(const uint8_t *addr, const uint8_t *prefix, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	return memcmp(addr, prefix, bytes) == 0 &&
	       (rest == 0 || (addr[bytes] ^ prefix[bytes]) >> (8 - rest) == 0);
}

static bool is_in_network(const struct egress_rule *r, const struct egress_packet *p)
{
	return r->is_v6 == p->is_v6 && has_prefix(p->destination, r->addr, r->prefix);
}

/* A protocol or port that cannot be seen is one that a deny rule names, and no allow rule. */
static bool protocol_matches(const struct egress_rule *r, const struct egress_packet *p)
{
	uint8_t icmp = p->is_v6 ? PROTOCOL_ICMP6 : EGRESS_ICMP;

	if (r->protocol == EGRESS_ANY)
		return true;
	if (!p->has_protocol)
		return !r->is_allow;
	return p->protocol == (r->protocol == EGRESS_ICMP ? icmp : r->protocol);
}

static bool ports_match(const struct egress_rule *r, const struct egress_packet *p)
{
	bool may_have =
		!p->has_protocol || p->protocol == EGRESS_TCP || p->protocol == EGRESS_UDP;

	if (!r->has_ports)
		return true;
	if (!p->has_ports)
		return may_have && !r->is_allow;
	return p->destination_port >= r->port_first && p->destination_port <= r->port_last;
}

static enum egress_verdict rules_decide(const struct egress *g, const struct egress_packet *p)
{
	for (unsigned i = 0; i < g->nrules; i++) {
		const struct egress_rule *r = &g->rules[i];

		if (is_in_network(r, p) && protocol_matches(r, p) && ports_match(r, p))
			return r->is_allow ? EGRESS_PASS : EGRESS_DENIED;
	}
	return g->has_allow ? EGRESS_NO_RULE : EGRESS_PASS;
}

/* Whether the guest has any business with that address. */
static bool is_neighbour(const struct egress *g, const struct egress_packet *p)
{
	for (unsigned i = 0; i < g->nrules; i++) {
		const struct egress_rule *r = &g->rules[i];

		if (is_in_network(r, p) &&
		    (r->is_allow || (r->protocol == EGRESS_ANY && !r->has_ports)))
			return r->is_allow;
	}
	return !g->has_allow;
}

static const uint8_t link_local[16] = {0xfe, 0x80};
static const uint8_t link_multicast[16] = {0xff, 0x02};
static const uint8_t all_nodes[16] = {0xff, 0x02, [15] = 1};
static const uint8_t all_routers[16] = {0xff, 0x02, [15] = 2};
static const uint8_t dhcp_agents[16] = {0xff, 0x02, [13] = 1, [15] = 2};
static const uint8_t solicited_node[16] = {0xff, 0x02, [11] = 1, [12] = 0xff};

static bool is_dhcp(const struct frame *f)
{
	static const uint8_t broadcast[4] = {255, 255, 255, 255};
	const struct egress_packet *p = f->packet;

	if (!p->has_ports || p->protocol != EGRESS_UDP || f->is_fragment)
		return false;
	if (!p->is_v6)
		return p->source_port == 68 && p->destination_port == 67 &&
		       has_prefix(p->destination, broadcast, 32);
	return p->source_port == 546 && p->destination_port == 547 && !f->has_extensions &&
	       has_prefix(p->source, link_local, 10) &&
	       has_prefix(p->destination, dhcp_agents, 128);
}

static bool is_solicitation_or_advertisement(const struct egress *g, const struct frame *f)
{
	const struct egress_packet *p = f->packet;

	return has_prefix(p->destination, solicited_node, 104) ||
	       has_prefix(p->destination, all_nodes, 128) ||
	       has_prefix(p->destination, link_local, 10) || is_neighbour(g, p);
}

/* Neighbour discovery (RFC 4861) and multicast listener reports (RFC 2710, RFC 3810). */
static bool is_discovery(const struct egress *g, const struct frame *f)
{
	enum { REPORT = 131, DONE = 132, ROUTER = 133, SOLICIT = 135, ADVERTISE = 136,
	       REPORT_2 = 143 };
	const struct egress_packet *p = f->packet;
	bool has_hop_by_hop = f->at != ETHERNET + IP6;
	uint8_t type[2]; /* and code */

	if (!p->is_v6 || !p->has_protocol || p->protocol != PROTOCOL_ICMP6 || f->is_fragment ||
	    f->has_extensions || !peek(f, type, sizeof(type)) || type[1] != 0)
		return false;
	switch (type[0]) {
	case REPORT:
	case DONE:
	case REPORT_2:
		return f->hop_limit == 1 && has_prefix(p->destination, link_multicast, 16);
	case ROUTER:
		return f->hop_limit == 255 && !has_hop_by_hop &&
		       has_prefix(p->destination, all_routers, 128);
	case SOLICIT:
	case ADVERTISE:
		return f->hop_limit == 255 && !has_hop_by_hop &&
		       is_solicitation_or_advertisement(g, f);
	default:
		return false;
	}
}

enum egress_verdict egress_check(const struct egress *g, const void *head, size_t head_bytes,
				 size_t frame_bytes, const struct egress_offload *offload,
				 struct egress_packet *ret_packet)
{
	struct frame f = {.head = head,
			  .head_bytes = min_size(head_bytes, frame_bytes),
			  .frame_bytes = frame_bytes,
			  .end = frame_bytes,
			  .packet = ret_packet};
	enum egress_verdict v;

	*ret_packet = (struct egress_packet){0};
	if (!egress_is_on(g))
		return EGRESS_PASS;
	v = frame_parse(&f);
	if (v != EGRESS_PASS)
		return v;
	if (!offload_is_harmless(&f, offload))
		return EGRESS_OFFLOAD;
	if (!ret_packet->is_ip || is_dhcp(&f) || is_discovery(g, &f))
		return EGRESS_PASS;
	return rules_decide(g, ret_packet);
}

/* ---- saying it ---- */

static void endpoint_describe(const struct egress_packet *p, const uint8_t *addr, uint16_t port,
			      char *buf, size_t n)
{
	char text[INET6_ADDRSTRLEN] = "";

	inet_ntop(p->is_v6 ? AF_INET6 : AF_INET, addr, text, sizeof(text));
	if (!p->has_ports)
		snprintf(buf, n, "%s", text);
	else
		snprintf(buf, n, p->is_v6 ? "[%s]:%u" : "%s:%u", text, port);
}

static void protocol_describe(const struct egress_packet *p, char *buf, size_t n)
{
	if (!p->has_protocol)
		snprintf(buf, n, "ip");
	else if (p->protocol == EGRESS_TCP || p->protocol == EGRESS_UDP)
		snprintf(buf, n, p->protocol == EGRESS_TCP ? "tcp" : "udp");
	else if (p->protocol == (p->is_v6 ? PROTOCOL_ICMP6 : EGRESS_ICMP))
		snprintf(buf, n, "icmp");
	else
		snprintf(buf, n, "protocol %u", p->protocol);
}

void egress_describe(const struct egress_packet *p, char *buf, size_t n)
{
	char protocol[16], from[64], to[64];

	if (!p->is_ip) {
		snprintf(buf, n, "ethertype 0x%04x", p->ethertype);
		return;
	}
	protocol_describe(p, protocol, sizeof(protocol));
	endpoint_describe(p, p->source, p->source_port, from, sizeof(from));
	endpoint_describe(p, p->destination, p->destination_port, to, sizeof(to));
	snprintf(buf, n, "%s %s > %s", protocol, from, to);
}
