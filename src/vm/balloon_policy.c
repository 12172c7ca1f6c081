/* SPDX-License-Identifier: BSD-3-Clause */
/* balloon_policy.c - when a VM gives memory back to its host; balloon_policy.h has the rules */
#include "vm/balloon_policy.h"

#include "base/num.h"

#define MB (UINT64_C(1) << 20)

static uint64_t whole_pages(uint64_t bytes)
{
	return bytes - bytes % BALLOON_PAGE;
}

uint64_t balloon_policy_max(uint64_t mem_bytes)
{
	if (mem_bytes > 1536 * MB)
		return whole_pages(mem_bytes - 1024 * MB);
	if (mem_bytes >= 500 * MB)
		return whole_pages(mem_bytes / 2);
	return 0;
}

void balloon_policy_init(struct balloon_policy *p, uint64_t mem_bytes, uint64_t max_bytes,
			 uint64_t seed)
{
	uint64_t given = whole_pages(min_u64(max_bytes, mem_bytes));
	uint64_t pages;

	*p = (struct balloon_policy){
		.limit = given > 0 ? given : whole_pages(mem_bytes),
		.max = given > 0 ? given : balloon_policy_max(mem_bytes),
		.random = seed > 0 ? seed : 1,
	};
	pages = p->max / BALLOON_PAGE;
	p->step = (pages + BALLOON_STEPS - 1) / BALLOON_STEPS * BALLOON_PAGE;
}

void balloon_policy_set(struct balloon_policy *p, uint64_t bytes)
{
	p->target = whole_pages(min_u64(bytes, p->limit));
	p->floor = p->target;
}

void balloon_policy_adjust(struct balloon_policy *p, int64_t pages)
{
	uint64_t n = pages < 0 ? -(uint64_t)pages : (uint64_t)pages;
	uint64_t bytes = n > p->limit / BALLOON_PAGE ? p->limit : n * BALLOON_PAGE;

	if (pages < 0)
		balloon_policy_set(p, p->target - min_u64(bytes, p->target));
	else
		balloon_policy_set(p, p->target + bytes);
}

/* From 0 to less than limit.  xorshift: spread is wanted, not secrecy. */
static uint64_t jitter(struct balloon_policy *p, uint64_t limit)
{
	p->random ^= p->random << 13;
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	return p->random % limit;
}

static void grow(struct balloon_policy *p, uint64_t now_ns)
{
	if (p->target < p->max)
		p->target = min_u64(p->target + p->step, p->max);
	p->check_ns = now_ns + BALLOON_CHECK_NS + jitter(p, BALLOON_CHECK_JITTER_NS);
	p->review_ns = now_ns + BALLOON_FIRST_NS + jitter(p, BALLOON_FIRST_JITTER_NS);
}

static void review(struct balloon_policy *p, uint64_t now_ns, const struct balloon_reading *reading)
{
	uint64_t spare =
		reading->available_bytes - min_u64(reading->margin_bytes, reading->available_bytes);

	if (spare >= 2 * p->step)
		p->target -= min_u64(p->step, p->target - p->floor);
	p->review_ns = 0;
	if (p->target > p->floor)
		p->review_ns = now_ns + BALLOON_REVIEW_NS + jitter(p, BALLOON_REVIEW_JITTER_NS);
}

bool balloon_policy_turn(struct balloon_policy *p, uint64_t now_ns,
			 const struct balloon_reading *reading)
{
	uint64_t before = p->target;

	if (p->check_ns > 0 && now_ns >= p->check_ns)
		p->check_ns = 0;
	if (p->check_ns == 0 && reading->is_low)
		grow(p, now_ns);
	else if (p->review_ns > 0 && now_ns >= p->review_ns)
		review(p, now_ns, reading);
	return p->target != before;
}

bool balloon_policy_listens(const struct balloon_policy *p)
{
	return p->check_ns == 0;
}

uint64_t balloon_policy_due(const struct balloon_policy *p)
{
	if (p->check_ns == 0 || p->review_ns == 0)
		return p->check_ns + p->review_ns;
	return min_u64(p->check_ns, p->review_ns);
}
