/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_ctrl.c - control queue of a network card (virtio 1.2, 5.1.6.5)
 *
 * A command is class, command, data; the driver waits for the answer, one byte.  Whatever is not
 * understood, too short or too long is answered with an error and changes nothing.
 */
#include "devices/net.h"

#include "virtio/ids.h"

#include <linux/virtio_net.h>
#include <stdatomic.h>
#include <string.h>

enum { VLAN_ID = 0xfff, ETHER_TYPE = 12, VLAN_TAG = 14 };

/* Commands before others get their turn; a driver sends them one by one. */
enum { TURN_MAX = 32 };

static const uint64_t guest_offloads =
	VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4) |
	VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_ECN) |
	VIRTIO_BIT(VIRTIO_NET_F_GUEST_UFO) | VIRTIO_BIT(NET_F_GUEST_USO4) |
	VIRTIO_BIT(NET_F_GUEST_USO6);

/* ---- state ---- */

void net_driver_state_reset(struct net *n)
{
	n->driver = (struct net_driver_state){.pairs = 1, .promiscuous = true};
	n->driver.has_mac = n->mac.is_set;
	memcpy(n->driver.mac, n->mac.byte, NET_MAC_BYTES);
}

static int offloads_apply(struct net *n, uint64_t bits)
{
	static const struct {
		uint64_t features; /* all of them */
		unsigned offload;
	} rows[] = {
		{VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM), NET_OFFLOAD_CSUM},
		{VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4), NET_OFFLOAD_TSO4},
		{VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO6), NET_OFFLOAD_TSO6},
		{VIRTIO_BIT(VIRTIO_NET_F_GUEST_ECN), NET_OFFLOAD_ECN},
		{VIRTIO_BIT(VIRTIO_NET_F_GUEST_UFO), NET_OFFLOAD_UFO},
		{VIRTIO_BIT(NET_F_GUEST_USO4) | VIRTIO_BIT(NET_F_GUEST_USO6), NET_OFFLOAD_USO},
	};
	unsigned offloads = 0;

	if (!n->backend->ops->offloads_set)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if ((bits & rows[i].features) == rows[i].features)
			offloads |= rows[i].offload;
	return n->backend->ops->offloads_set(n->backend, offloads & n->backend->offloads);
}

static int pairs_apply(struct net *n, unsigned pairs)
{
	int r = n->backend->ops->pairs_set ? n->backend->ops->pairs_set(n->backend, pairs) : 0;

	if (r == 0)
		n->driver.pairs = (uint16_t)pairs;
	for (unsigned i = 0; i < n->backend->pairs; i++)
		net_pair_watch(&n->pairs[i]);
	return r;
}

void net_state_save(struct net *n)
{
	struct net_state *s = n->device.state;

	if (!s || !n->device.started)
		return;
	s->is_set = false; /* one that is half written is none */
	atomic_signal_fence(memory_order_seq_cst);
	s->driver = n->driver;
	s->link_down = n->link_down;
	atomic_signal_fence(memory_order_seq_cst);
	s->is_set = true;
}

/* Noted by one of ours, perhaps captured: copied, and what is used as an index is checked. */
static void state_load(struct net *n)
{
	const struct net_state none = {0}, *noted = n->device.state;
	const struct net_state s = noted ? *noted : none;

	if (!s.is_set || s.driver.pairs < 1 || s.driver.pairs > n->backend->pairs ||
	    s.driver.nmacs > NET_MACS_MAX)
		return;
	n->driver = s.driver;
	if (n->link_down == !!s.link_down)
		return;
	n->link_down = s.link_down;
	device_config_changed(&n->device);
}

void net_driver_state_apply(struct net *n)
{
	state_load(n);
	if (!n->driver.has_offloads)
		n->driver.offloads = n->device.acked & guest_offloads;
	if (offloads_apply(n, n->driver.offloads) < 0 || pairs_apply(n, n->driver.pairs) < 0)
		log_limited(&n->complaints, "cannot set up the tap as the driver wants it");
	net_state_save(n);
}

/* ---- filter ---- */

static bool is_listed(const struct net_driver_state *s, const uint8_t *mac)
{
	for (unsigned i = 0; i < s->nmacs; i++)
		if (memcmp(s->macs[i], mac, NET_MAC_BYTES) == 0)
			return true;
	return false;
}

static bool is_broadcast(const uint8_t *mac)
{
	static const uint8_t all[NET_MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	return memcmp(mac, all, sizeof(all)) == 0;
}

static bool address_passes(const struct net_driver_state *s, const uint8_t *mac)
{
	if (s->promiscuous)
		return true;
	if (is_broadcast(mac))
		return !s->no_broadcast;
	if (mac[0] & 1)
		return !s->no_multicast &&
		       (s->all_multicast || s->too_many_multicast || is_listed(s, mac));
	if (s->no_unicast)
		return false;
	return s->all_unicast || s->too_many_unicast || !s->has_mac ||
	       memcmp(mac, s->mac, NET_MAC_BYTES) == 0 || is_listed(s, mac);
}

static bool vlan_passes(const struct net *n, const uint8_t *frame, size_t bytes)
{
	unsigned id;

	if (!net_has(n, VIRTIO_NET_F_CTRL_VLAN) || bytes < VLAN_TAG + 2 ||
	    frame[ETHER_TYPE] != 0x81 || frame[ETHER_TYPE + 1] != 0)
		return true;
	id = (frame[VLAN_TAG] * 256u + frame[VLAN_TAG + 1]) & VLAN_ID;
	return id == 0 || n->driver.vlans[id / 64] >> (id % 64) & 1;
}

bool net_filter_passes(const struct net *n, const uint8_t *frame, size_t bytes)
{
	if (bytes < NET_MAC_BYTES || !address_passes(&n->driver, frame))
		return false;
	return vlan_passes(n, frame, bytes);
}

/* ---- commands ---- */

/* Takes exactly the rest of the command, n bytes. */
static bool take(struct chain *c, void *out, size_t n)
{
	return chain_left(c, CHAIN_READABLE) == n && chain_get(c, out, n);
}

static bool set_mode(struct net *n, uint8_t command, struct chain *c)
{
	uint8_t *const modes[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &n->driver.promiscuous,
		[VIRTIO_NET_CTRL_RX_ALLMULTI] = &n->driver.all_multicast,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &n->driver.all_unicast,
		[VIRTIO_NET_CTRL_RX_NOMULTI] = &n->driver.no_multicast,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &n->driver.no_unicast,
		[VIRTIO_NET_CTRL_RX_NOBCAST] = &n->driver.no_broadcast,
	};
	unsigned feature = command <= VIRTIO_NET_CTRL_RX_ALLMULTI ? VIRTIO_NET_F_CTRL_RX
								  : VIRTIO_NET_F_CTRL_RX_EXTRA;
	uint8_t on;

	if (command >= ARRAY_LEN(modes) || !net_has(n, feature) || !take(c, &on, 1) || on > 1)
		return false;
	*modes[command] = on;
	return true;
}

/* One of the two lists; those beyond what we keep are noted as too many. */
static bool take_list(struct net_driver_state *s, struct chain *c, uint8_t *ret_too_many)
{
	le32 entries;
	uint8_t mac[NET_MAC_BYTES];

	if (!chain_get(c, &entries, sizeof(entries)) ||
	    le32_get(entries) > chain_left(c, CHAIN_READABLE) / NET_MAC_BYTES)
		return false;
	*ret_too_many = false;
	for (uint32_t i = 0; i < le32_get(entries); i++) {
		if (s->nmacs == NET_MACS_MAX) {
			*ret_too_many = true;
			return chain_skip(c, CHAIN_READABLE,
					  (le32_get(entries) - i) * (size_t)NET_MAC_BYTES);
		}
		if (!chain_get(c, mac, sizeof(mac)))
			return false;
		memcpy(s->macs[s->nmacs++], mac, sizeof(mac));
	}
	return true;
}

static bool set_address(struct net *n, uint8_t command, struct chain *c)
{
	struct net_driver_state s = n->driver;

	if (command == VIRTIO_NET_CTRL_MAC_ADDR_SET) {
		if (!net_has(n, VIRTIO_NET_F_CTRL_MAC_ADDR) || !take(c, s.mac, sizeof(s.mac)))
			return false;
		s.has_mac = true;
	} else {
		s.nmacs = 0;
		if (command != VIRTIO_NET_CTRL_MAC_TABLE_SET ||
		    !net_has(n, VIRTIO_NET_F_CTRL_RX) || !take_list(&s, c, &s.too_many_unicast) ||
		    !take_list(&s, c, &s.too_many_multicast) || chain_left(c, CHAIN_READABLE) > 0)
			return false;
	}
	n->driver = s;
	return true;
}

static bool set_vlan(struct net *n, uint8_t command, struct chain *c)
{
	le16 wire;
	unsigned id;

	if (command > VIRTIO_NET_CTRL_VLAN_DEL || !net_has(n, VIRTIO_NET_F_CTRL_VLAN) ||
	    !take(c, &wire, sizeof(wire)) || le16_get(wire) >= NET_VLANS)
		return false;
	id = le16_get(wire);
	if (command == VIRTIO_NET_CTRL_VLAN_ADD)
		n->driver.vlans[id / 64] |= 1ull << (id % 64);
	else
		n->driver.vlans[id / 64] &= ~(1ull << (id % 64));
	return true;
}

static bool set_pairs(struct net *n, uint8_t command, struct chain *c)
{
	le16 pairs;

	return command == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET && net_has(n, VIRTIO_NET_F_MQ) &&
	       take(c, &pairs, sizeof(pairs)) && le16_get(pairs) >= 1 &&
	       le16_get(pairs) <= n->backend->pairs && pairs_apply(n, le16_get(pairs)) == 0;
}

static bool set_offloads(struct net *n, uint8_t command, struct chain *c)
{
	le64 offloads;
	uint64_t bits;

	if (command != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET ||
	    !net_has(n, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) || !take(c, &offloads, sizeof(offloads)))
		return false;
	bits = le64_get(offloads);
	if (bits & ~(n->device.acked & guest_offloads) || offloads_apply(n, bits) < 0)
		return false;
	n->driver.offloads = bits;
	n->driver.has_offloads = true;
	return true;
}

static const struct {
	uint8_t class;
	bool (*handle)(struct net *n, uint8_t command, struct chain *c);
} classes[] = {
	{VIRTIO_NET_CTRL_RX, set_mode},
	{VIRTIO_NET_CTRL_MAC, set_address},
	{VIRTIO_NET_CTRL_VLAN, set_vlan},
	{VIRTIO_NET_CTRL_MQ, set_pairs},
	{VIRTIO_NET_CTRL_GUEST_OFFLOADS, set_offloads},
};

static bool execute(struct net *n, struct chain *c)
{
	struct virtio_net_ctrl_hdr h;

	if (!chain_get(c, &h, sizeof(h)))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(classes); i++)
		if (classes[i].class == h.class)
			return classes[i].handle(n, h.cmd, c);
	return false;
}

static unsigned ctrl_index(const struct net *n)
{
	return net_has(n, VIRTIO_NET_F_MQ) ? 2 * n->backend->pairs : 2;
}

void net_ctrl_serve(struct net *n)
{
	struct vq *q = &n->device.queues[ctrl_index(n)];
	struct chain *c = &n->ctrl_chain;
	unsigned turn = 0;

	for (; turn < TURN_MAX && vq_pop(q, c); turn++) {
		uint8_t answer = execute(n, c) ? VIRTIO_NET_OK : VIRTIO_NET_ERR;

		if (!chain_put(c, &answer, sizeof(answer)))
			log_limited(&n->complaints, "command without room for an answer");
		net_state_save(n); /* what was answered is not forgotten */
		vq_push(q, c);
	}
	vq_notify(q);
	if (turn == TURN_MAX)
		net_again(n, &n->again_ctrl, 0);
}

bool net_is_ctrl(const struct net *n, unsigned queue)
{
	return net_has(n, VIRTIO_NET_F_CTRL_VQ) && queue == ctrl_index(n);
}
