/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * egress.h - where a guest's frames may go
 *
 * Rules name destinations; a frame that leaves the guest goes in, a verdict comes out.  Nothing
 * here knows virtio, guest memory or files.
 *
 *	allow=10.0.0.0/8:80-90/tcp	IPv4 network, ports, protocol; ports and protocol optional
 *	deny=[2001:db8::]/32		IPv6 stands in brackets
 *
 * Which rule decides: of those that match, the narrowest: the longest prefix; then the fewest
 * ports; then one that names a protocol; then deny.  The order in which they were given does not
 * matter.  When none matches: refused if there is any allow rule, for both families; else passed.
 *
 * What a rule matches: packets to an address in its network; with a protocol, those of it (icmp is
 * ICMPv6 for IPv6); with ports, TCP and UDP packets to one of them.  A fragment other than the
 * first has no ports: an allow rule with ports does not match it, a deny rule with ports does.  The
 * same holds for the protocol where an IPv6 fragment hides it.
 *
 * As soon as there is one rule, only frames whose meaning is certain pass at all:
 *
 *  I1  Ethernet II, no tag, ARP or IP whose headers up to the ports lie in the first
 *	EGRESS_HEAD_MAX bytes and agree with each other and the frame's length.
 *  I2  No source routes: the address in the header is the one the packet goes to.
 *  I3  The checksum that the host is asked to fill in lies behind everything that was looked at.
 *  I4  No IPv4 addresses in IPv6 headers (::ffff:0:0/96), which no rule would be held against.
 *
 * What passes whatever the rules say, because a link needs it; none of it is forwarded by a router:
 *
 *	ARP for IPv4 over Ethernet, request or reply, at most 60 bytes long
 *	DHCPv4 from port 68 to port 67 of 255.255.255.255, not in fragments
 *	DHCPv6 from a link-local address, port 546, to port 547 of ff02::1:2
 *	ICMPv6 router solicitation to ff02::2; neighbour solicitation and advertisement with hop
 *	limit 255 to ff02::1, ff02::1:ff00:0/104, a link-local address, or one that some allow
 *	rule names and no deny rule (of whatever port and protocol) takes back; multicast listener
 *	reports to ff02::/16 with hop limit 1
 *
 * The head that was checked must be what is sent: the caller copies it once, checks the copy, and
 * sends the copy followed by the rest of the frame.
 */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
	EGRESS_RULES_MAX = 256, /* a frame is held against each */
	EGRESS_HEAD_MAX = 256,	/* Ethernet, IP with options or extension headers, ports */
};

enum egress_verdict {
	EGRESS_PASS,
	EGRESS_DENIED,	  /* by a deny rule */
	EGRESS_NO_RULE,	  /* no rule matches, and there is an allow rule */
	EGRESS_ETHERTYPE, /* neither ARP nor IP: tags, and what else there is */
	EGRESS_MALFORMED, /* lengths or versions that do not agree, addresses that cannot be */
	EGRESS_ROUTED,	  /* a source route */
	EGRESS_HIDDEN,	  /* more headers than are looked at, or a fragment too short for ports */
	EGRESS_OFFLOAD,	  /* the checksum would change what was looked at */
	EGRESS_VERDICTS
};

/* For logs and counters: "no rule allows it". */
extern const char *const egress_reasons[EGRESS_VERDICTS];

/* Protocols that rules name. */
enum { EGRESS_ANY = 0, EGRESS_ICMP = 1, EGRESS_TCP = 6, EGRESS_UDP = 17 };

struct egress_rule {
	bool is_allow, is_v6, has_ports;
	uint8_t prefix;	  /* bits of addr that count */
	uint8_t protocol; /* EGRESS_ANY... */
	uint8_t addr[16]; /* IPv4: the first four bytes */
	uint16_t port_first, port_last;
};

struct egress {
	struct egress_rule rules[EGRESS_RULES_MAX]; /* the narrowest first */
	unsigned nrules;
	bool has_allow;
};

/* What the host is asked to do with the frame before it is on the wire. */
struct egress_offload {
	bool has_csum;
	uint16_t csum_start, csum_offset; /* bytes from the frame's start, and from there */
};

/* What was found in a frame, as far as it was understood; for logs. */
struct egress_packet {
	uint16_t ethertype;
	bool is_ip, is_v6, has_protocol, has_ports;
	uint8_t protocol;
	uint8_t source[16], destination[16];
	uint16_t source_port, destination_port;
};

/*
 * Adds the rules of a list, separated by ";" or "+"; key ("allow" or "deny") says which kind and
 * is named in messages.  NULL and "" are empty lists.
 */
int egress_add(struct egress *g, const char *key, const char *list, struct err *e) MUST_CHECK;

/* Without rules everything passes and nothing needs to be looked at. */
static inline bool egress_is_on(const struct egress *g)
{
	return g->nrules > 0;
}

/*
 * head: a private copy of the first head_bytes of the frame, from the Ethernet header on, which is
 * the smaller of EGRESS_HEAD_MAX and frame_bytes.  *ret_packet is always set.
 */
enum egress_verdict egress_check(const struct egress *g, const void *head, size_t head_bytes,
				 size_t frame_bytes, const struct egress_offload *offload,
				 struct egress_packet *ret_packet) MUST_CHECK;

/* "tcp 10.0.2.15:4242 > 192.0.2.1:22", or what there is to say. */
void egress_describe(const struct egress_packet *p, char *buf, size_t n);
