/* SPDX-License-Identifier: BSD-3-Clause */
/* rng.c - entropy device (virtio 1.2, section 5.4): the kernel's generator, a bounded rate */
#include "base/num.h"
#include "devices/device.h"
#include "virtio/ids.h"

#include <sys/random.h>

enum {
	REQUEST_MIN = 64, /* what one that asks for less costs, in bytes: it is work too */
	REQUEST_MAX = 2048,
	PERIODS_A_SECOND = 10,
	PERIOD_NS = 1000000000 / PERIODS_A_SECOND,
};

struct rng {
	struct device device;
	uint64_t rate;	    /* option: bytes a second */
	uint64_t left;	    /* bytes until the guest has to wait */
	struct timer timer; /* runs while nothing is left */
};

static void rng_kick(struct device *d, unsigned q)
{
	struct rng *r = container_of(d, struct rng, device);
	char buf[REQUEST_MAX];
	struct chain c;

	while (r->left > 0 && vq_pop(&d->queues[q], &c)) {
		size_t n = min_size(chain_left(&c, CHAIN_WRITABLE), sizeof(buf));

		if (getrandom(buf, n, 0) != (ssize_t)n || !chain_put(&c, buf, n))
			vq_break(&d->queues[q], "no entropy");
		vq_push(&d->queues[q], &c);
		r->left -= min_u64(r->left, max_u64(n, REQUEST_MIN));
		if (r->left == 0)
			timer_set(&r->timer, PERIOD_NS, 0);
	}
	vq_notify(&d->queues[q]);
}

static void rng_period(struct timer *t)
{
	struct rng *r = container_of(t, struct rng, timer);

	r->left = r->rate / PERIODS_A_SECOND;
	if (r->device.started)
		rng_kick(&r->device, 0);
}

static void rng_defaults(struct device *d)
{
	container_of(d, struct rng, device)->rate = 1 << 20;
}

static int rng_open(struct device *d, struct err *e)
{
	struct rng *r = container_of(d, struct rng, device);
	int failed = timer_init(&r->timer, d->loop, rng_period);

	r->left = r->rate / PERIODS_A_SECOND;
	return failed < 0 ? err_set(e, -failed, "cannot make a timer") : 0;
}

static void rng_close(struct device *d)
{
	timer_fini(&container_of(d, struct rng, device)->timer, d->loop);
}

static const struct opt rng_opts[] = {
	OPT_SIZE(struct rng, rate, 4096, 1ull << 30, "Bytes a second that the guest gets at most"),
	OPT_END
};

static const struct call rng_calls[] = {CALL(getrandom), CALL(timerfd_settime), CALL_END};

const struct device_type rng_type = {
	.name = "rng",
	.summary = "Entropy",
	.virtio_id = VIRTIO_ID_RNG,
	.nqueues = 1,
	.size = sizeof(struct rng),
	.opts = rng_opts,
	.calls = rng_calls,
	.defaults = rng_defaults,
	.open = rng_open,
	.kick = rng_kick,
	.close = rng_close,
};
