/* SPDX-License-Identifier: BSD-3-Clause */
/* vq_rules_test.c - virtqueues: every rule that a guest can break, each with its reason */
#include "virtio/vq_fixture.h"

/* ---- rules, split ---- */

static void set_desc(uint16_t i, gpa a, uint32_t len, unsigned flags, uint16_t next)
{
	*driver_desc(dq(), i) = (struct vring_desc){a, len, (uint16_t)flags, next};
}

static void test_head_outside_table(void **state)
{
	(void)state;
	begin((struct driver_options){0});
	driver_publish(dq(), QUEUE_SIZE);
	expect_broken("available head outside the table");
}

static void test_next_outside_table(void **state)
{
	(void)state;
	begin((struct driver_options){0});
	set_desc(0, f.buf, 1, VRING_DESC_F_NEXT, QUEUE_SIZE);
	driver_publish(dq(), 0);
	expect_broken("descriptor outside the table");
}

static void test_descriptor_loop(void **state)
{
	(void)state;
	begin((struct driver_options){0});
	set_desc(0, f.buf, 1, VRING_DESC_F_NEXT, 1);
	set_desc(1, f.buf, 1, VRING_DESC_F_NEXT, 0);
	driver_publish(dq(), 0);
	expect_broken("descriptor loop");
}

static void test_descriptor_loop_of_empty_descriptors(void **state)
{
	(void)state;
	begin((struct driver_options){0});
	set_desc(0, f.buf, 0, VRING_DESC_F_NEXT, 0);
	driver_publish(dq(), 0);
	expect_broken("descriptor loop");
}

static void test_readable_behind_writable(void **state)
{
	(void)state;
	begin((struct driver_options){0});
	set_desc(0, f.buf, 0, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
	set_desc(1, f.buf, 1, 0, 0);
	driver_publish(dq(), 0);
	expect_broken("readable descriptor behind a writable one");
}

static void test_buffer_outside_memory(void **state)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
	} cases[] = {
		{0, 1},
		{DRIVER_BASE - 1, 1},
		{DRIVER_BASE - 1, 2},
		{DRIVER_BASE + (16 << 20), 1},
		{DRIVER_BASE + (16 << 20) - 1, 2},
		{DRIVER_BASE, (16 << 20) + 1},
		{UINT64_MAX, 1},
		{UINT64_MAX, UINT32_MAX},
		{DRIVER_BASE, UINT32_MAX},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		begin((struct driver_options){0});
		set_desc(0, cases[i].addr, cases[i].len, 0, 0);
		driver_publish(dq(), 0);
		expect_broken("buffer outside memory");
		if (i + 1 < ARRAY_LEN(cases))
			end(state);
	}
}

static void test_sum_of_lengths_wraps(void **state)
{
	uint32_t gib = 1u << 30;

	(void)state;
	begin((struct driver_options){.memory = gib});
	for (uint16_t i = 0; i < 5; i++)
		set_desc(i, DRIVER_BASE, gib, i < 4 ? VRING_DESC_F_NEXT : 0, (uint16_t)(i + 1));
	driver_publish(dq(), 0);
	expect_broken("chain of 4 GiB or more");
}

static void test_head_twice_in_flight(void **state)
{
	(void)state;
	begin((struct driver_options){0});
	set_desc(2, f.buf, 1, 0, 0);
	driver_publish(dq(), 2);
	driver_publish(dq(), 2);
	assert_true(vq_pop(&f.vq, &f.c));
	expect_broken("descriptor head twice in flight");
}

static void test_head_again_after_it_was_used(void **state)
{
	(void)state;
	begin((struct driver_options){0});
	set_desc(2, f.buf, 1, 0, 0);
	for (int i = 0; i < 100; i++) {
		driver_publish(dq(), 2);
		assert_true(vq_pop(&f.vq, &f.c));
		vq_push(&f.vq, &f.c);
	}
	assert_null(f.vq.broken);
}

static void test_available_index_too_far_ahead(void **state)
{
	(void)state;
	begin((struct driver_options){0});
	driver_avail_index_set(dq(), QUEUE_SIZE + 1);
	expect_broken("available index too far ahead");
}

static void test_available_index_behind(void **state)
{
	(void)state;
	begin((struct driver_options){0});
	driver_avail_index_set(dq(), 0xffff);
	expect_broken("available index too far ahead");
}

static void indirect(gpa table, uint32_t len, unsigned more_flags)
{
	set_desc(0, table, len, VRING_DESC_F_INDIRECT | more_flags, 1);
	driver_publish(dq(), 0);
}

static void test_indirect_table_of_odd_size(void **state)
{
	static const uint32_t lengths[] = {0, 1, 15, 17, 24, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		begin((struct driver_options){0});
		indirect(f.buf, lengths[i], 0);
		expect_broken("indirect table of an odd size");
		if (i + 1 < ARRAY_LEN(lengths))
			end(state);
	}
}

static void test_indirect_table_too_long(void **state)
{
	(void)state;
	begin((struct driver_options){0});
	indirect(f.buf, 16 * (VQ_SIZE_MAX + 1), 0);
	expect_broken("indirect table too long");
}

static void test_indirect_table_outside_memory(void **state)
{
	(void)state;
	begin((struct driver_options){0});
	indirect(DRIVER_BASE + (16 << 20) - 16, 32, 0);
	expect_broken("indirect table outside memory");
}

static void test_indirect_tables_do_not_nest(void **state)
{
	struct vring_desc *t;

	(void)state;
	begin((struct driver_options){0});
	t = driver_at(&f.d, f.buf, 32);
	t[0] = (struct vring_desc){f.buf, 32, VRING_DESC_F_INDIRECT, 0};
	indirect(f.buf, 32, 0);
	expect_broken("indirect table inside an indirect table");
}

static void test_nothing_follows_an_indirect_table(void **state)
{
	(void)state;
	begin((struct driver_options){0});
	indirect(f.buf, 32, VRING_DESC_F_NEXT);
	expect_broken("descriptor behind an indirect table");
}

static void test_indirect_next_outside_its_table(void **state)
{
	struct vring_desc *t;

	(void)state;
	begin((struct driver_options){0});
	t = driver_at(&f.d, f.buf, 32);
	t[0] = (struct vring_desc){f.buf, 1, VRING_DESC_F_NEXT, 2};
	indirect(f.buf, 32, 0);
	expect_broken("descriptor outside the indirect table");
}

static void test_loop_in_an_indirect_table(void **state)
{
	struct vring_desc *t;

	(void)state;
	begin((struct driver_options){0});
	t = driver_at(&f.d, f.buf, 32);
	t[0] = (struct vring_desc){f.buf, 1, VRING_DESC_F_NEXT, 0};
	indirect(f.buf, 32, 0);
	expect_broken("descriptor loop in an indirect table");
}

static void test_indirect_table_behind_direct_descriptors(void **state)
{
	struct vring_desc *t;

	(void)state;
	begin((struct driver_options){0});
	t = driver_at(&f.d, f.buf, 32);
	t[0] = (struct vring_desc){f.buf, 3, VRING_DESC_F_WRITE, 0};
	set_desc(0, f.buf, 2, VRING_DESC_F_NEXT, 1);
	set_desc(1, f.buf, 16, VRING_DESC_F_INDIRECT, 0);
	driver_publish(dq(), 0);
	assert_true(vq_pop(&f.vq, &f.c));
	assert_int_equal(chain_left(&f.c, CHAIN_READABLE), 2);
	assert_int_equal(chain_left(&f.c, CHAIN_WRITABLE), 3);
}

static void test_chain_of_too_many_pieces(void **state)
{
	struct vring_desc *t;

	(void)state;
	begin((struct driver_options){0});
	t = driver_at(&f.d, f.buf, 16 * (CHAIN_IOV_MAX + 1));
	for (uint16_t i = 0; i <= CHAIN_IOV_MAX; i++)
		t[i] = (struct vring_desc){f.buf, 1, VRING_DESC_F_NEXT, (uint16_t)(i + 1)};
	t[CHAIN_IOV_MAX - 1].flags = 0;
	indirect(f.buf, 16 * (CHAIN_IOV_MAX + 1), 0);
	assert_true(vq_pop(&f.vq, &f.c));
	vq_push(&f.vq, &f.c);
	t[CHAIN_IOV_MAX - 1].flags = VRING_DESC_F_NEXT;
	t[CHAIN_IOV_MAX].flags = 0;
	driver_publish(dq(), 0);
	expect_broken("chain of too many pieces");
}

static void test_tail_of_the_longest_chain(void **state)
{
	struct vring_desc *t;

	(void)state;
	begin((struct driver_options){0});
	t = driver_at(&f.d, f.buf, 16 * CHAIN_IOV_MAX);
	for (uint16_t i = 0; i < CHAIN_IOV_MAX; i++)
		t[i] = (struct vring_desc){f.buf + 8192, 2, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE,
					   (uint16_t)(i + 1)};
	t[CHAIN_IOV_MAX - 1].flags = VRING_DESC_F_WRITE;
	indirect(f.buf, 16 * CHAIN_IOV_MAX, 0);
	assert_true(vq_pop(&f.vq, &f.c));
	assert_true(chain_tail(&f.c, 1));
	assert_true(chain_tail_put(&f.c, "x", 1));
	assert_int_equal(*at(f.buf + 8193), 'x');
}

/* ---- rules, packed ---- */

static void set_packed(uint16_t i, gpa a, uint32_t len, unsigned flags, uint16_t id)
{
	*driver_packed_desc(dq(), i) = (struct vring_packed_desc){
		a, len, id, (uint16_t)(flags | 1u << VRING_PACKED_DESC_F_AVAIL)};
}

static void test_packed_id_outside_ring(void **state)
{
	(void)state;
	begin((struct driver_options){.packed = true});
	set_packed(0, f.buf, 1, 0, QUEUE_SIZE);
	expect_broken("buffer id outside the ring");
}

static void test_packed_id_twice_in_flight(void **state)
{
	(void)state;
	begin((struct driver_options){.packed = true});
	set_packed(0, f.buf, 1, 0, 5);
	set_packed(1, f.buf, 1, 0, 5);
	assert_true(vq_pop(&f.vq, &f.c));
	expect_broken("buffer id twice in flight");
}

static void test_packed_chain_without_end(void **state)
{
	(void)state;
	begin((struct driver_options){.packed = true});
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		set_packed(i, f.buf, 1, VRING_DESC_F_NEXT, 0);
	expect_broken("more descriptors than the ring has");
}

static void test_packed_ring_overfull(void **state)
{
	(void)state;
	begin((struct driver_options){.packed = true});
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		set_packed(i, f.buf, 1, 0, i);
	for (uint16_t i = 0; i < QUEUE_SIZE; i++)
		assert_true(vq_pop(&f.vq, &f.c));
	/* Available again in the next round, though it was never used. */
	driver_packed_desc(dq(), 0)->flags = 1 << VRING_PACKED_DESC_F_USED;
	expect_broken("more descriptors than the ring has");
}

static void test_packed_tables_do_not_nest(void **state)
{
	struct vring_packed_desc *t;

	(void)state;
	begin((struct driver_options){.packed = true});
	t = driver_at(&f.d, f.buf, 32);
	t[1].flags = VRING_DESC_F_INDIRECT;
	set_packed(0, f.buf, 32, VRING_DESC_F_INDIRECT, 0);
	expect_broken("indirect table inside an indirect table");
}

static void test_packed_readable_behind_writable(void **state)
{
	(void)state;
	begin((struct driver_options){.packed = true});
	set_packed(0, f.buf, 1, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 0);
	set_packed(1, f.buf, 1, 0, 0);
	expect_broken("readable descriptor behind a writable one");
}

static void test_packed_chain_of_the_whole_ring(void **state)
{
	struct driver_buf b[QUEUE_SIZE];
	struct driver_used used;

	(void)state;
	begin((struct driver_options){.packed = true});
	for (unsigned i = 0; i < QUEUE_SIZE; i++)
		b[i] = (struct driver_buf){f.buf, 1, false};
	for (int round = 0; round < 3; round++) {
		assert_true(driver_add(dq(), b, QUEUE_SIZE) >= 0);
		assert_true(vq_pop(&f.vq, &f.c));
		assert_false(vq_has_more(&f.vq));
		vq_push(&f.vq, &f.c);
		assert_true(driver_poll(dq(), &used));
	}
}

#define TEST(name) cmocka_unit_test_teardown(test_##name, end)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(head_outside_table),
		TEST(next_outside_table),
		TEST(descriptor_loop),
		TEST(descriptor_loop_of_empty_descriptors),
		TEST(readable_behind_writable),
		TEST(buffer_outside_memory),
		TEST(sum_of_lengths_wraps),
		TEST(head_twice_in_flight),
		TEST(head_again_after_it_was_used),
		TEST(available_index_too_far_ahead),
		TEST(available_index_behind),
		TEST(indirect_table_of_odd_size),
		TEST(indirect_table_too_long),
		TEST(indirect_table_outside_memory),
		TEST(indirect_tables_do_not_nest),
		TEST(nothing_follows_an_indirect_table),
		TEST(indirect_next_outside_its_table),
		TEST(loop_in_an_indirect_table),
		TEST(indirect_table_behind_direct_descriptors),
		TEST(chain_of_too_many_pieces),
		TEST(tail_of_the_longest_chain),
		TEST(packed_id_outside_ring),
		TEST(packed_id_twice_in_flight),
		TEST(packed_chain_without_end),
		TEST(packed_ring_overfull),
		TEST(packed_tables_do_not_nest),
		TEST(packed_readable_behind_writable),
		TEST(packed_chain_of_the_whole_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
