/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_gate.c - what may pass, and how much: egress rules, their log, limits
 *
 * A frame from the guest is judged by the copy of its head, which is what is sent.  Limits hold in
 * both directions, each for itself: frames from the guest wait where they are, frames to it in the
 * back end.
 */
#include "devices/net.h"

#include "base/fd.h"
#include "base/json.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <stdlib.h>

static_assert((int)NET_HEAD_MAX == (int)EGRESS_HEAD_MAX, "what is copied is what rules look at");

static void tx_opened(struct limit *l)
{
	struct net_gate *g = container_of(l, struct net_gate, tx);

	net_tx_resume(container_of(g, struct net, gate));
}

static void rx_opened(struct limit *l)
{
	struct net_gate *g = container_of(l, struct net_gate, rx);
	struct net *n = container_of(g, struct net, gate);

	for (unsigned i = 0; i < n->driver.pairs && n->device.started; i++)
		net_rx_serve(&n->pairs[i]);
}

void net_gate_limit(struct net *n, const struct limit_values *v)
{
	limit_set(&n->gate.tx, v);
	limit_set(&n->gate.rx, v);
}

/* What the kernel forwards by itself nobody looks at. */
static int check_vhost(const struct net *n, struct err *e)
{
	if (!n->vhost || !(n->allow || n->deny || n->log || n->bps || n->pps))
		return 0;
	return err_say(e, EINVAL,
		       "allow, deny, log, bps and pps do not go with vhost, where frames do not "
		       "pass here; leave vhost out");
}

static int read_rules(const struct net *n, struct egress *rules, struct err *e)
{
	int r = egress_add(rules, "allow", n->allow, e);

	if (r == 0)
		r = egress_add(rules, "deny", n->deny, e);
	if (r == 0 && n->log && !egress_is_on(rules))
		r = err_say(e, EINVAL, "log: nothing is refused without allow or deny");
	return r;
}

int net_gate_check(const struct net *n, struct err *e)
{
	struct egress *rules auto_free = calloc(1, sizeof(*rules));

	if (!rules)
		return err_set(e, ENOMEM, "cannot read the rules");
	return check_vhost(n, e) < 0 ? -e->code : read_rules(n, rules, e);
}

static int open_rules(struct net *n, struct err *e)
{
	int r = read_rules(n, &n->gate.rules, e);

	if (r == 0)
		r = egress_log_open(&n->gate.log, n->log, n->device.name, e);
	if (egress_is_on(&n->gate.rules))
		n->head_bytes = EGRESS_HEAD_MAX;
	return r;
}

void net_gate_init(struct net *n)
{
	n->gate.log.fd = n->gate.tx.timer.watch.fd = n->gate.rx.timer.watch.fd = -1;
}

int net_gate_open(struct net *n, struct err *e)
{
	const struct limit_values v = {.bps = n->bps, .ops = n->pps, .burst_ms = n->burst};
	struct loop *loop = n->device.loop;
	int r = open_rules(n, e);

	if (r < 0)
		return r;
	n->gate.tx.opened = tx_opened;
	n->gate.rx.opened = rx_opened;
	r = limit_init(&n->gate.tx, loop);
	if (r == 0)
		r = limit_init(&n->gate.rx, loop);
	if (r < 0)
		return err_set(e, -r, "cannot make a timer");
	net_gate_limit(n, &v);
	return 0;
}

void net_gate_close(struct net *n)
{
	limit_fini(&n->gate.tx, n->device.loop);
	limit_fini(&n->gate.rx, n->device.loop);
	egress_log_close(&n->gate.log);
}

static bool rules_pass(struct net_gate *g, const struct net_frame *f)
{
	const struct egress_offload offload = {
		.has_csum = f->header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.csum_start = le16_get(f->header.csum_start),
		.csum_offset = le16_get(f->header.csum_offset),
	};
	struct egress_packet packet;
	enum egress_verdict v;

	if (!egress_is_on(&g->rules))
		return true;
	v = egress_check(&g->rules, f->head, f->head_bytes, f->length, &offload, &packet);
	if (v == EGRESS_PASS)
		return true;
	g->refused[v]++;
	egress_log_refused(&g->log, &packet, v);
	return false;
}

enum net_verdict net_frame_judge(struct net *n, const struct net_frame *f)
{
	if (n->link_down)
		return NET_DROP;
	if (!rules_pass(&n->gate, f))
		return NET_REFUSE;
	if (!limit_may_go(&n->gate.tx))
		return NET_WAIT;
	limit_take(&n->gate.tx, f->length);
	return NET_PASS;
}

void net_gate_status(const struct net *n, struct json *reply)
{
	static const char *const keys[EGRESS_VERDICTS] = {
		[EGRESS_DENIED] = "denied",	  [EGRESS_NO_RULE] = "no_rule",
		[EGRESS_ETHERTYPE] = "ethertype", [EGRESS_MALFORMED] = "malformed",
		[EGRESS_ROUTED] = "routed",	  [EGRESS_HIDDEN] = "hidden",
		[EGRESS_OFFLOAD] = "offload",
	};
	const struct net_gate *g = &n->gate;

	limit_status(&g->tx, "pps", reply);
	if (!egress_is_on(&g->rules))
		return;
	json_open(reply, "refused", '{');
	for (unsigned v = EGRESS_DENIED; v < EGRESS_VERDICTS; v++)
		json_number(reply, keys[v], g->refused[v]);
	json_close(reply, '}');
}
