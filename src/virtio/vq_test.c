/* SPDX-License-Identifier: BSD-3-Clause */
/* vq_test.c - virtqueues that are used as they should be: chains, notifications, both formats */
#include "virtio/ids.h"
#include "virtio/vq_fixture.h"

#include <errno.h>

/* ---- what works: each run for both formats, direct and indirect ---- */

static const struct driver_options formats[] = {
	{.packed = false}, {.packed = false, .indirect = true}, {.packed = true},
	{.packed = true, .indirect = true}, {.no_event_idx = true},
	{.packed = true, .no_event_idx = true},
};

#define FOR_EACH_FORMAT(body)                                      \
	for (size_t i_ = 0; i_ < ARRAY_LEN(formats); i_++) {       \
		begin(formats[i_]);                                \
		body();                                            \
		vq_stop(&f.vq);                                    \
		if (i_ + 1 < ARRAY_LEN(formats))                   \
			driver_fini(&f.d);                         \
	}

static void one_request(void)
{
	struct driver_used used;
	char header[16];
	int id;

	memset(at(f.buf), 0x5a, 16);
	id = add_three(512);
	assert_true(id >= 0);
	assert_true(vq_has_more(&f.vq));
	assert_true(vq_pop(&f.vq, &f.c));
	assert_int_equal(chain_left(&f.c, CHAIN_READABLE), 16);
	assert_int_equal(chain_left(&f.c, CHAIN_WRITABLE), 513);
	assert_true(chain_get(&f.c, header, 16));
	assert_int_equal(header[15], 0x5a);
	assert_false(chain_get(&f.c, header, 1));
	assert_true(chain_tail(&f.c, 1));
	assert_int_equal(chain_left(&f.c, CHAIN_WRITABLE), 512);
	assert_true(chain_put(&f.c, "abc", 3));
	assert_true(chain_tail_put(&f.c, "S", 1));
	vq_push(&f.vq, &f.c);
	assert_false(vq_pop(&f.vq, &f.c));
	assert_null(f.vq.broken);
	assert_true(driver_poll(dq(), &used));
	assert_int_equal(used.id, id);
	assert_int_equal(used.len, 4);
	assert_memory_equal(at(f.buf + 4096), "abc", 3);
	assert_int_equal(*at(f.buf + 8192 + 512), 'S');
}

static void test_request_goes_round(void **state)
{
	(void)state;
	FOR_EACH_FORMAT(one_request)
}

static void many_requests(void)
{
	struct driver_used used;

	for (int round = 0; round < 20000; round++) {
		int id = add_three((uint32_t)round % 4096 + 1);

		assert_true(id >= 0);
		assert_true(vq_pop(&f.vq, &f.c));
		assert_int_equal(f.c.id, id);
		vq_push(&f.vq, &f.c);
		assert_true(driver_poll(dq(), &used));
		assert_int_equal(used.id, id);
		assert_int_equal(used.len, 0);
		assert_false(driver_poll(dq(), &used));
	}
}

static void test_indexes_wrap(void **state)
{
	(void)state;
	FOR_EACH_FORMAT(many_requests)
}

static void three_at_once(void)
{
	static struct chain chains[3];
	struct chain *const all[] = {&chains[2], &chains[0], &chains[1]};
	int ids[3];
	struct driver_used used;

	for (unsigned round = 0; round < 4 * QUEUE_SIZE; round++) {
		for (unsigned i = 0; i < 3; i++) {
			struct driver_buf b = {f.buf + 64 * i, 64, true};

			ids[i] = driver_add(dq(), &b, 1);
			assert_true(vq_pop(&f.vq, &chains[i]));
			assert_true(chain_put(&chains[i], "abc", i + 1));
		}
		vq_push_all(&f.vq, all, 3);
		for (unsigned i = 0; i < 3; i++) {
			assert_true(driver_poll(dq(), &used));
			assert_int_equal(used.id, ids[(i + 2) % 3]);
			assert_int_equal(used.len, (i + 2) % 3 + 1);
		}
		assert_false(driver_poll(dq(), &used));
	}
}

static void test_chains_are_pushed_together(void **state)
{
	(void)state;
	FOR_EACH_FORMAT(three_at_once)
}

static void full_ring_out_of_order(void)
{
	static struct chain chains[QUEUE_SIZE];
	struct driver_used used;
	unsigned n = 0, seen = 0;

	while (add_three(8) >= 0)
		n++;
	assert_true(n >= QUEUE_SIZE / 3);
	for (unsigned i = 0; i < n; i++)
		assert_true(vq_pop(&f.vq, &chains[i]));
	assert_false(vq_pop(&f.vq, &f.c));
	for (unsigned i = 0; i < n; i++) {
		struct chain *c = &chains[(i * 7 + 3) % n];

		if (n % 7 != 0)
			vq_push(&f.vq, c);
	}
	while (driver_poll(dq(), &used)) {
		assert_int_equal(seen & 1u << used.id, 0);
		seen |= 1u << used.id;
		n--;
	}
	assert_int_equal(n, 0);
	assert_true(add_three(8) >= 0);
	assert_true(vq_pop(&f.vq, &f.c));
}

static void test_requests_finish_in_any_order(void **state)
{
	(void)state;
	FOR_EACH_FORMAT(full_ring_out_of_order)
}

static void empty_buffers(void)
{
	struct driver_buf b[] = {{f.buf, 0, false}, {f.buf, 4, false}, {f.buf, 0, true}};

	assert_true(driver_add(dq(), b, 3) >= 0);
	assert_true(vq_pop(&f.vq, &f.c));
	assert_int_equal(chain_left(&f.c, CHAIN_READABLE), 4);
	assert_int_equal(chain_left(&f.c, CHAIN_WRITABLE), 0);
}

static void test_empty_descriptors_are_passed_over(void **state)
{
	(void)state;
	FOR_EACH_FORMAT(empty_buffers)
}

/* ---- cursors ---- */

static void pop_pieces(const uint32_t *lengths, unsigned n, bool writable)
{
	struct driver_buf b[QUEUE_SIZE];
	gpa a = f.buf;

	for (unsigned i = 0; i < n; i++) {
		b[i] = (struct driver_buf){a, lengths[i], writable};
		a += lengths[i] + 64;
	}
	assert_true(driver_add(dq(), b, n) >= 0);
	assert_true(vq_pop(&f.vq, &f.c));
}

static void test_get_crosses_pieces(void **state)
{
	static const uint32_t lengths[] = {3, 1, 5};
	char out[10] = {0};

	(void)state;
	begin((struct driver_options){0});
	memcpy(at(f.buf), "abc", 3);
	memcpy(at(f.buf + 67), "d", 1);
	memcpy(at(f.buf + 132), "efghi", 5);
	pop_pieces(lengths, 3, false);
	assert_false(chain_get(&f.c, out, 10));
	assert_true(chain_get(&f.c, out, 2));
	assert_true(chain_skip(&f.c, CHAIN_READABLE, 1));
	assert_true(chain_get(&f.c, out + 2, 5));
	assert_string_equal(out, "abdefgh");
	assert_false(chain_skip(&f.c, CHAIN_READABLE, 2));
	assert_true(chain_get(&f.c, out, 0));
	assert_int_equal(chain_left(&f.c, CHAIN_READABLE), 1);
	assert_int_equal(f.c.written, 0);
}

static void test_tail_may_lie_across_pieces(void **state)
{
	static const uint32_t lengths[] = {4, 2, 1};
	unsigned n;

	(void)state;
	begin((struct driver_options){0});
	pop_pieces(lengths, 3, true);
	assert_false(chain_tail(&f.c, 8));
	assert_false(chain_tail(&f.c, 0));
	assert_true(chain_tail(&f.c, 4));
	assert_false(chain_tail(&f.c, 1));
	assert_int_equal(chain_left(&f.c, CHAIN_WRITABLE), 3);
	chain_iov(&f.c, CHAIN_WRITABLE, &n);
	assert_int_equal(n, 1);
	assert_true(chain_put(&f.c, "123", 3));
	assert_false(chain_put(&f.c, "4", 1));
	assert_false(chain_tail_put(&f.c, "abc", 3));
	assert_true(chain_tail_put(&f.c, "wxyz", 4));
	assert_false(chain_tail_put(&f.c, "wxyz", 4));
	assert_memory_equal(at(f.buf), "123w", 4);
	assert_memory_equal(at(f.buf + 68), "xy", 2);
	assert_memory_equal(at(f.buf + 134), "z", 1);
	assert_int_equal(f.c.written, 7);
}

static void test_iov_shows_what_is_left(void **state)
{
	static const uint32_t lengths[] = {4, 6};
	const struct iovec *v;
	unsigned n;

	(void)state;
	begin((struct driver_options){0});
	pop_pieces(lengths, 2, true);
	assert_true(chain_skip(&f.c, CHAIN_WRITABLE, 5));
	v = chain_iov(&f.c, CHAIN_WRITABLE, &n);
	assert_int_equal(n, 1);
	assert_ptr_equal(v->iov_base, at(f.buf + 68 + 1));
	assert_int_equal(v->iov_len, 5);
	assert_int_equal(f.c.written, 5);
	chain_iov(&f.c, CHAIN_READABLE, &n);
	assert_int_equal(n, 0);
}

static void test_buffer_may_cross_regions(void **state)
{
	struct driver_buf b;
	static char out[8192];
	unsigned n;

	(void)state;
	begin((struct driver_options){.memory = 1 << 20, .second_region = 65536});
	b = (struct driver_buf){DRIVER_BASE + (1 << 20) - 65536 - 4096, 8192, false};
	*at(b.addr + 4095) = 1;
	*at(b.addr + 4096) = 2;
	assert_true(driver_add(dq(), &b, 1) >= 0);
	assert_true(vq_pop(&f.vq, &f.c));
	chain_iov(&f.c, CHAIN_READABLE, &n);
	assert_int_equal(n, 2);
	assert_true(chain_get(&f.c, out, sizeof(out)));
	assert_int_equal(out[4095], 1);
	assert_int_equal(out[4096], 2);
}

static void test_indirect_table_may_cross_regions(void **state)
{
	gpa table = DRIVER_BASE + (1 << 20) - 65536 - 24; /* the border cuts its second entry */
	struct vring_desc *t;

	(void)state;
	begin((struct driver_options){.memory = 1 << 20, .second_region = 65536});
	t = driver_at(&f.d, table, 48);
	t[0] = (struct vring_desc){f.buf, 5, VRING_DESC_F_NEXT, 2};
	t[2] = (struct vring_desc){f.buf, 6, VRING_DESC_F_NEXT, 1};
	t[1] = (struct vring_desc){f.buf, 7, VRING_DESC_F_WRITE, 0};
	*driver_desc(dq(), 3) = (struct vring_desc){table, 48, VRING_DESC_F_INDIRECT, 0};
	driver_publish(dq(), 3);
	assert_true(vq_pop(&f.vq, &f.c));
	assert_int_equal(chain_left(&f.c, CHAIN_READABLE), 11);
	assert_int_equal(chain_left(&f.c, CHAIN_WRITABLE), 7);
}

/* ---- starting ---- */

static int start_with(struct vq_setup change, const char *expected)
{
	struct vq_setup s = change;
	const char *why = NULL;
	struct vq q = {0};
	int r = vq_start(&q, &s, &why);

	if (r < 0) {
		assert_string_equal(why, expected);
		assert_false(q.started);
		assert_false(vq_pop(&q, &f.c));
	}
	vq_stop(&q);
	return r;
}

static struct vq_setup sound_setup(void)
{
	return (struct vq_setup){
		.gmem = &f.d.gmem,
		.size = QUEUE_SIZE,
		.desc = dq()->desc_at,
		.driver = dq()->driver_at,
		.device = dq()->device_at,
		.call_fd = -1,
	};
}

static void test_impossible_set_up_is_refused(void **state)
{
	const char *size = "impossible queue size";
	const char *area = "ring area outside memory or not aligned";
	struct vq_setup s;

	(void)state;
	begin((struct driver_options){0});
	assert_int_equal(start_with(sound_setup(), NULL), 0);
	s = sound_setup();
	s.size = 0;
	assert_int_equal(start_with(s, size), -EINVAL);
	s = sound_setup();
	s.size = 12;
	assert_int_equal(start_with(s, size), -EINVAL);
	s = sound_setup();
	s.size = 2 * VQ_SIZE_MAX;
	assert_int_equal(start_with(s, size), -EINVAL);
	s = sound_setup();
	s.size = UINT32_MAX;
	assert_int_equal(start_with(s, size), -EINVAL);
	s = sound_setup();
	s.desc += 8;
	assert_int_equal(start_with(s, area), -EINVAL);
	s = sound_setup();
	s.driver += 1;
	assert_int_equal(start_with(s, area), -EINVAL);
	s = sound_setup();
	s.device += 2;
	assert_int_equal(start_with(s, area), -EINVAL);
	s = sound_setup();
	s.desc = 0;
	assert_int_equal(start_with(s, area), -EINVAL);
	s = sound_setup();
	s.device = DRIVER_BASE + (16 << 20) - 4;
	assert_int_equal(start_with(s, area), -EINVAL);
	s = sound_setup();
	s.desc = UINT64_MAX & ~15ull;
	assert_int_equal(start_with(s, area), -EINVAL);
	s = sound_setup();
	s.base = 0x10000;
	assert_int_equal(start_with(s, "impossible base index"), -EINVAL);
}

static void test_ring_may_end_with_memory(void **state)
{
	struct vq_setup s;

	(void)state;
	begin((struct driver_options){0});
	s = sound_setup();
	s.device = DRIVER_BASE + (16 << 20) - (4 + 8 * QUEUE_SIZE);
	assert_int_equal(start_with(s, NULL), 0);
	s.features = VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX);
	assert_int_equal(start_with(s, "ring area outside memory or not aligned"), -EINVAL);
}

static void test_packed_base_must_lie_in_the_ring(void **state)
{
	struct vq_setup s;

	(void)state;
	begin((struct driver_options){.packed = true});
	s = sound_setup();
	s.features = VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	s.base = 0x80008000 | QUEUE_SIZE;
	assert_int_equal(start_with(s, "impossible base index"), -EINVAL);
	s.base = 0x80008000 | QUEUE_SIZE << 16;
	assert_int_equal(start_with(s, "impossible base index"), -EINVAL);
	s.size = 13; /* need not be a power of two */
	s.base = 0x80008000;
	assert_int_equal(start_with(s, NULL), 0);
}

static void stop_and_go_on(void)
{
	struct driver_used used;
	int first, second;

	first = add_three(8);
	second = add_three(8);
	assert_true(vq_pop(&f.vq, &f.c));
	vq_push(&f.vq, &f.c);
	assert_true(vq_pop(&f.vq, &f.c)); /* popped, not pushed */
	dq()->base = vq_stop(&f.vq);
	assert_false(vq_pop(&f.vq, &f.c));
	assert_int_equal(driver_vq_start(&f.d, 0, NULL, &f.vq), 0);
	assert_true(vq_pop(&f.vq, &f.c));
	assert_int_equal(f.c.id, second);
	vq_push(&f.vq, &f.c);
	assert_true(driver_poll(dq(), &used));
	assert_int_equal(used.id, first);
	assert_true(driver_poll(dq(), &used));
	assert_int_equal(used.id, second);
	assert_false(vq_pop(&f.vq, &f.c));
}

static void test_queue_goes_on_where_it_was_stopped(void **state)
{
	(void)state;
	FOR_EACH_FORMAT(stop_and_go_on)
}

static void test_broken_queue_works_after_reset(void **state)
{
	(void)state;
	begin((struct driver_options){0});
	driver_publish(dq(), QUEUE_SIZE);
	expect_broken("available head outside the table");
	vq_stop(&f.vq);
	driver_reset(&f.d);
	assert_int_equal(driver_vq_start(&f.d, 0, NULL, &f.vq), 0);
	assert_null(f.vq.broken);
	one_request();
}

static void test_push_to_a_broken_or_stopped_queue_does_nothing(void **state)
{
	struct driver_used used;

	(void)state;
	begin((struct driver_options){0});
	add_three(1);
	assert_true(vq_pop(&f.vq, &f.c));
	vq_break(&f.vq, "by the device");
	vq_push(&f.vq, &f.c);
	vq_notify(&f.vq);
	assert_false(driver_poll(dq(), &used));
	vq_stop(&f.vq);
	vq_push(&f.vq, &f.c);
	vq_notify(&f.vq);
	assert_false(driver_poll(dq(), &used));
	assert_false(driver_was_called(dq()));
}

/* ---- notifications ---- */

static void kicks(void)
{
	assert_false(vq_pop(&f.vq, &f.c)); /* empty: now kicks are wanted */
	add_three(1);
	assert_true(driver_kick(dq()));
	assert_true(vq_pop(&f.vq, &f.c)); /* busy: they are not */
	add_three(1);
	assert_false(driver_kick(dq()));
	assert_true(vq_pop(&f.vq, &f.c));
	assert_false(vq_pop(&f.vq, &f.c));
	add_three(1);
	assert_true(driver_kick(dq()));
}

static void test_kicks_are_wanted_when_the_queue_was_found_empty(void **state)
{
	(void)state;
	FOR_EACH_FORMAT(kicks)
}

static void polling(void)
{
	vq_polling_set(&f.vq, true);
	assert_false(vq_pop(&f.vq, &f.c));
	add_three(1);
	if (f.d.options.no_event_idx)
		assert_false(driver_kick(dq()));
	else
		driver_kick(dq()); /* the event index is of some time */
	assert_true(vq_pop(&f.vq, &f.c));
	vq_polling_set(&f.vq, false);
	assert_false(vq_pop(&f.vq, &f.c));
	add_three(1);
	assert_true(driver_kick(dq()));
}

static void test_polling_does_without_kicks(void **state)
{
	(void)state;
	FOR_EACH_FORMAT(polling)
}

static void serve_one(void)
{
	assert_true(add_three(1) >= 0);
	assert_true(vq_pop(&f.vq, &f.c));
	vq_push(&f.vq, &f.c);
}

static void calls(void)
{
	struct driver_used used;

	vq_notify(&f.vq);
	assert_false(driver_was_called(dq())); /* nothing was pushed */
	driver_calls_set(dq(), true);
	serve_one();
	serve_one();
	vq_notify(&f.vq);
	assert_true(driver_was_called(dq()));
	vq_notify(&f.vq);
	assert_false(driver_was_called(dq()));
	while (driver_poll(dq(), &used))
		;
	driver_calls_set(dq(), false);
	serve_one();
	vq_notify(&f.vq);
	assert_false(driver_was_called(dq()));
	assert_true(driver_poll(dq(), &used));
	driver_calls_set(dq(), true);
	serve_one();
	vq_notify(&f.vq);
	assert_true(driver_was_called(dq()));
}

static void test_calls_are_made_when_they_are_wanted(void **state)
{
	(void)state;
	FOR_EACH_FORMAT(calls)
}

static void test_without_call_descriptor_nothing_is_signalled(void **state)
{
	(void)state;
	begin((struct driver_options){0});
	f.vq.call_fd = -1;
	driver_calls_set(dq(), true);
	serve_one();
	vq_notify(&f.vq);
	assert_false(driver_was_called(dq()));
}

#define TEST(name) cmocka_unit_test_teardown(test_##name, end)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(request_goes_round),
		TEST(indexes_wrap),
		TEST(requests_finish_in_any_order),
		TEST(chains_are_pushed_together),
		TEST(empty_descriptors_are_passed_over),
		TEST(get_crosses_pieces),
		TEST(tail_may_lie_across_pieces),
		TEST(iov_shows_what_is_left),
		TEST(buffer_may_cross_regions),
		TEST(indirect_table_may_cross_regions),
		TEST(impossible_set_up_is_refused),
		TEST(ring_may_end_with_memory),
		TEST(packed_base_must_lie_in_the_ring),
		TEST(queue_goes_on_where_it_was_stopped),
		TEST(broken_queue_works_after_reset),
		TEST(push_to_a_broken_or_stopped_queue_does_nothing),
		TEST(kicks_are_wanted_when_the_queue_was_found_empty),
		TEST(polling_does_without_kicks),
		TEST(calls_are_made_when_they_are_wanted),
		TEST(without_call_descriptor_nothing_is_signalled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
