/* SPDX-License-Identifier: BSD-3-Clause */
/* balloon.c - the host's memory in, targets out */
#include "vm/balloon.h"

#include "base/log.h"
#include "base/num.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#define SECOND_NS UINT64_C(1000000000)

/* ---- the policy's clock ---- */

static uint64_t policy_now(const struct balloon *b)
{
	return (clock_ns() - b->base_ns) * b->speed + 1;
}

/* When it is that late, by our clock. */
static uint64_t policy_to_ours(const struct balloon *b, uint64_t ns)
{
	return b->base_ns + ns / b->speed + 1;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a == 0 || b == 0 ? a + b : min_u64(a, b);
}

static void arm(struct balloon *b)
{
	uint64_t due = balloon_policy_due(&b->policy), now = clock_ns();

	if (due > 0)
		due = policy_to_ours(b, due);
	due = earlier(earlier(due, b->look_ns), b->retry_ns);
	if (due > 0)
		due = due > now ? due - now : 1;
	timer_set(&b->timer, due, 0);
}

/* ---- targets out ---- */

static void told(struct ask *a, const char *reply, size_t n, const struct err *e);

/* Tells the process the target unless it knows, or is being told. */
static void tell(struct balloon *b)
{
	if (!b->asks || b->ask.asks || b->retry_ns > 0)
		return;
	if (b->is_told && b->told == b->policy.target)
		return;
	b->told = b->policy.target;
	b->is_told = false;
	b->ask.done = told;
	snprintf(b->text, sizeof(b->text), "target bytes=%llu", (unsigned long long)b->told);
	ask_send(b->asks, &b->ask, b->text, ASK_LIMIT_MS);
}

static void told(struct ask *a, const char *reply, size_t n, const struct err *e)
{
	struct balloon *b = container_of(a, struct balloon, ask);

	(void)n;
	b->is_told = reply;
	if (!reply) {
		if (!b->has_refused && e->code != EPIPE) /* a death is reported elsewhere */
			log_warn("%s; it will be told its target again", e->text);
		b->retry_ns = clock_ns() + SECOND_NS;
	}
	b->has_refused = !reply;
	tell(b);
	arm(b);
}

void balloon_attached(struct balloon *b, struct asks *asks)
{
	b->asks = asks;
	b->retry_ns = 0;
	if (!b->ask.asks) {  /* else the new process is being told already */
		b->told = 0; /* as it has it */
		b->is_told = true;
	}
	tell(b);
	arm(b);
}

/* ---- the host's memory in ---- */

static void read_failed(struct balloon *b, const struct err *e)
{
	if (!b->is_blind)
		log_warn("balloon: %s; it stays as it is until this is mended", e->text);
	b->is_blind = true;
}

/* Reads the host's memory, if anything tells it, and lets the policy decide. */
static void look(struct balloon *b)
{
	uint64_t now = policy_now(b), wait;
	struct balloon_reading r;
	struct err e = {0};

	if (pressure_read(&b->pressure, &r, &e) < 0) {
		read_failed(b, &e);
		r = (struct balloon_reading){.is_low = false}; /* neither low nor enough */
	} else {
		b->is_blind = false;
	}
	if (balloon_policy_turn(&b->policy, now, &r))
		log_debug("balloon: target %llu MiB, the host has %llu MiB",
			  (unsigned long long)(b->policy.target >> 20),
			  (unsigned long long)(r.available_bytes >> 20));
	/* A notice that nothing comes of would be heard again at once, for as long as it lasts. */
	wait = b->is_blind ? SECOND_NS : pressure_look_ns(&b->pressure, &r);
	b->look_ns = wait > 0 ? clock_ns() + wait : 0;
	pressure_listen(&b->pressure, b->loop,
			!b->is_blind && balloon_policy_listens(&b->policy));
}

static void turn(struct balloon *b)
{
	if (b->retry_ns > 0 && clock_ns() >= b->retry_ns)
		b->retry_ns = 0;
	if (b->pressure.kind != PRESSURE_OFF)
		look(b);
	tell(b);
	arm(b);
}

static void noticed(struct pressure *p)
{
	turn(container_of(p, struct balloon, pressure));
}

static void expired(struct timer *t)
{
	turn(container_of(t, struct balloon, timer));
}

/* ---- life ---- */

static uint64_t random_seed(void)
{
	uint64_t seed = 0;

	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
		seed = clock_ns();
	return seed;
}

/* A VM that the policy takes nothing from needs no source, and no word about it. */
static int open_pressure(struct balloon *b, const struct balloon_config *config,
			 const struct pressure_paths *paths, struct err *e)
{
	const bool is_wanted = b->policy.max > 0 || config->policy != PRESSURE_AUTO;
	struct err why = {0};
	int r = pressure_open(&b->pressure,
			      is_wanted ? (enum pressure_kind)config->policy : PRESSURE_OFF,
			      config->margin, paths, &why);

	b->pressure.noticed = noticed;
	if (r == 0)
		return 0;
	if (config->policy != PRESSURE_AUTO)
		return err_say(e, ENODEV, "--balloon policy=%s: %s; policy=off does without",
			       pressure_name((enum pressure_kind)config->policy), why.text);
	log_info("the host does not tell when it is short of memory (%s); the balloon waits for "
		 "commands only",
		 why.text);
	return 0;
}

int balloon_init(struct balloon *b, struct loop *l, const struct balloon_config *config,
		 uint64_t mem_bytes, const struct pressure_paths *paths, struct err *e)
{
	int r;

	*b = (struct balloon){
		.speed = max_u64(config->speed, 1),
		.base_ns = clock_ns(),
		.pressure.kind = PRESSURE_OFF,
	};
	balloon_policy_init(&b->policy, mem_bytes, config->max, random_seed());
	r = timer_init(&b->timer, l, expired);
	if (r < 0)
		return err_set(e, -r, "cannot make a timer for the balloon");
	b->loop = l;
	r = open_pressure(b, config, paths, e);
	if (r == 0)
		turn(b);
	return r;
}

void balloon_fini(struct balloon *b)
{
	if (!b || !b->loop)
		return;
	ask_cancel(&b->ask);
	pressure_close(&b->pressure);
	timer_fini(&b->timer, b->loop);
	b->loop = NULL;
}

void balloon_set(struct balloon *b, uint64_t bytes)
{
	balloon_policy_set(&b->policy, bytes);
	tell(b);
	arm(b);
}

void balloon_adjust(struct balloon *b, int64_t pages)
{
	balloon_policy_adjust(&b->policy, pages);
	tell(b);
	arm(b);
}

void balloon_status(const struct balloon *b, struct balloon_status *ret)
{
	struct balloon_reading r;
	struct err e;

	*ret = (struct balloon_status){
		.target_bytes = b->policy.target,
		.floor_bytes = b->policy.floor,
		.limit_bytes = b->policy.limit,
		.max_bytes = b->policy.max,
		.policy = pressure_name(b->pressure.kind),
		.notices = b->pressure.notices,
	};
	ret->has_reading =
		b->pressure.kind != PRESSURE_OFF && pressure_read(&b->pressure, &r, &e) == 0;
	if (ret->has_reading) {
		ret->available_bytes = r.available_bytes;
		ret->margin_bytes = r.margin_bytes;
	}
}
