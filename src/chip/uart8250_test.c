/* SPDX-License-Identifier: BSD-3-Clause */
/* uart8250_test.c - registers, interrupts, FIFOs and both buffers of the serial port */
#include "chip/uart8250.h"

#include <linux/serial_reg.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct port {
	struct host host;
	struct line line;
	struct uart8250 uart;
	bool level;
	unsigned rises, events[UART_ROOM + 1];
};

static struct port *port_of(struct host *h)
{
	return container_of(h, struct port, host);
}

static int level_set(struct host *h, unsigned gsi, bool level)
{
	struct port *p = port_of(h);

	assert_int_equal(gsi, 4);
	assert_true(level != p->level);
	p->rises += level;
	p->level = level;
	return 0;
}

static const struct host_ops host_ops = {.line_set = level_set};

static void note_event(void *context, enum uart_event event)
{
	struct port *p = context;

	p->events[event]++;
}

static int setup(void **state)
{
	static struct port p;

	memset(&p, 0, sizeof(p));
	p.host.ops = &host_ops;
	line_init(&p.line, &p.host, 4);
	uart8250_init(&p.uart, &p.line, 0);
	uart8250_connect(&p.uart, note_event, &p);
	*state = &p;
	return 0;
}

static int teardown(void **state)
{
	struct port *p = *state;

	uart8250_fini(&p->uart);
	line_fini(&p->line);
	return 0;
}

static uint8_t in(struct port *p, unsigned offset)
{
	return (uint8_t)p->uart.dev.read(&p->uart.dev, offset, 1);
}

static void out(struct port *p, unsigned offset, unsigned value)
{
	p->uart.dev.write(&p->uart.dev, offset, 1, value);
}

static void registers_after_reset(void **state)
{
	struct port *p = *state;

	assert_int_equal(in(p, UART_IER), 0);
	assert_int_equal(in(p, UART_IIR), UART_IIR_NO_INT);
	assert_int_equal(in(p, UART_LCR), UART_LCR_WLEN8);
	assert_int_equal(in(p, UART_MCR), UART_MCR_OUT2);
	assert_int_equal(in(p, UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
	assert_int_equal(in(p, UART_MSR), UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS);
	assert_int_equal(in(p, UART_SCR), 0);
	assert_int_equal(in(p, UART_RX), 0);
}

static void divisor_latch_hides_data_and_interrupt_enable(void **state)
{
	struct port *p = *state;
	char c;

	out(p, UART_LCR, UART_LCR_DLAB);
	assert_int_equal(in(p, UART_DLL), 12);
	out(p, UART_DLL, 0x34);
	out(p, UART_DLM, 0x12);

	assert_int_equal(in(p, UART_DLL), 0x34);
	assert_int_equal(in(p, UART_DLM), 0x12);
	out(p, UART_LCR, 0);
	assert_int_equal(in(p, UART_IER), 0);
	assert_int_equal(uart8250_take(&p->uart, &c, 1), 0);
}

static void wide_accesses_reach_one_register_after_the_other(void **state)
{
	struct port *p = *state;

	p->uart.dev.write(&p->uart.dev, UART_LCR, 1, UART_LCR_DLAB);
	p->uart.dev.write(&p->uart.dev, UART_DLL, 2, 0x0180);
	assert_int_equal(p->uart.dev.read(&p->uart.dev, UART_DLL, 2), 0x0180);
	p->uart.dev.write(&p->uart.dev, UART_LCR, 1, 0);
	p->uart.dev.write(&p->uart.dev, UART_MSR, 2, 0x5aff);

	assert_int_equal(in(p, UART_SCR), 0x5a);
	assert_int_equal(p->uart.dev.read(&p->uart.dev, 0, 8), 0x5ab0600800010000);
}

static void line_and_modem_status_are_read_only(void **state)
{
	struct port *p = *state;

	out(p, UART_LSR, 0);
	out(p, UART_MSR, 0);
	assert_int_equal(in(p, UART_LSR), 0x60);
	assert_int_equal(in(p, UART_MSR), 0xb0);
}

/* What the Linux driver does to tell a 16550A from its relatives. */
static void linux_finds_a_16550a(void **state)
{
	struct port *p = *state;

	out(p, UART_IER, 0);
	assert_int_equal(in(p, UART_IER), 0);
	out(p, UART_IER, 0x0f);
	assert_int_equal(in(p, UART_IER) & 0x0f, 0x0f);
	out(p, UART_IER, 0);
	out(p, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
	assert_int_equal(in(p, UART_MSR) & 0xf0, UART_MSR_DCD | UART_MSR_CTS);
	out(p, UART_MCR, UART_MCR_OUT2);
	out(p, UART_LCR, UART_LCR_CONF_MODE_B);
	out(p, UART_EFR, 0);
	out(p, UART_LCR, 0);
	out(p, UART_FCR, UART_FCR_ENABLE_FIFO);
	assert_int_equal(in(p, UART_IIR) >> 6, 3); /* 16550A or a relative */
	out(p, UART_LCR, UART_LCR_CONF_MODE_A);
	assert_int_not_equal(in(p, UART_EFR), 0); /* no 16650 */
	out(p, UART_LCR, UART_LCR_CONF_MODE_B);
	assert_int_not_equal(in(p, UART_EFR), 0); /* no 16650V2 */
	out(p, UART_LCR, 0);
	out(p, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR7_64BYTE);
	assert_int_equal(in(p, UART_IIR) & 0x20, 0); /* no 16750 */
	out(p, UART_IER, 0x40);
	assert_int_equal(in(p, UART_IER), 0); /* no XScale */
}

static void enabling_transmitter_interrupt_raises_it_until_identified(void **state)
{
	struct port *p = *state;

	out(p, UART_IER, UART_IER_THRI);
	assert_true(p->level);
	assert_int_equal(in(p, UART_IIR), UART_IIR_THRI);
	assert_false(p->level);
	assert_int_equal(in(p, UART_IIR), UART_IIR_NO_INT);

	out(p, UART_IER, 0);
	out(p, UART_IER, UART_IER_THRI);
	assert_true(p->level);
	assert_int_equal(p->rises, 2);
}

static void each_written_byte_raises_transmitter_interrupt(void **state)
{
	struct port *p = *state;
	char buf[4];

	out(p, UART_IER, UART_IER_THRI);
	in(p, UART_IIR);
	out(p, UART_TX, 'a');
	assert_int_equal(in(p, UART_IIR), UART_IIR_THRI);
	out(p, UART_TX, 'b');
	assert_true(p->level);

	assert_int_equal(uart8250_take(&p->uart, buf, sizeof(buf)), 2);
	assert_memory_equal(buf, "ab", 2);
	assert_int_equal(uart8250_take(&p->uart, buf, sizeof(buf)), 0);
}

static void received_byte_interrupts_until_read(void **state)
{
	struct port *p = *state;

	out(p, UART_IER, UART_IER_RDI);
	assert_int_equal(uart8250_give(&p->uart, "x", 1), 1);
	assert_true(p->level);
	assert_int_equal(in(p, UART_IIR), UART_IIR_RDI);
	assert_int_equal(in(p, UART_LSR), 0x60 | UART_LSR_DR);
	assert_int_equal(in(p, UART_RX), 'x');

	assert_false(p->level);
	assert_int_equal(in(p, UART_LSR), 0x60);
	assert_int_equal(in(p, UART_IIR), UART_IIR_NO_INT);
}

static void fewer_bytes_than_trigger_level_are_a_timeout(void **state)
{
	static const struct {
		uint8_t fcr;
		unsigned level;
	} triggers[] = {{UART_FCR_TRIGGER_1, 1},
			{UART_FCR_TRIGGER_4, 4},
			{UART_FCR_TRIGGER_8, 8},
			{UART_FCR_TRIGGER_14, 14}};
	struct port *p = *state;

	out(p, UART_IER, UART_IER_RDI);
	for (unsigned i = 0; i < ARRAY_LEN(triggers); i++) {
		out(p, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR | triggers[i].fcr);
		assert_false(p->level);
		assert_int_equal(uart8250_give(&p->uart, "0123456789abcdef", triggers[i].level - 1),
				 triggers[i].level - 1);
		if (triggers[i].level > 1)
			assert_int_equal(in(p, UART_IIR), 0xcc);
		assert_int_equal(uart8250_give(&p->uart, "z", 1), 1);
		assert_int_equal(in(p, UART_IIR), 0xc4);
		assert_true(p->level);
	}
}

static void interrupts_are_identified_by_priority(void **state)
{
	struct port *p = *state;

	out(p, UART_FCR, UART_FCR_ENABLE_FIFO);
	uart8250_break(&p->uart);
	out(p, UART_MCR, UART_MCR_LOOP);
	out(p, UART_IER, 0x0f);

	assert_int_equal(in(p, UART_IIR), 0xc0 | UART_IIR_RLSI);
	assert_int_equal(in(p, UART_LSR), 0xe0 | UART_LSR_BI | UART_LSR_DR);
	assert_int_equal(in(p, UART_IIR), 0xc0 | UART_IIR_RDI);
	assert_int_equal(in(p, UART_RX), 0);
	assert_int_equal(in(p, UART_IIR), 0xc0 | UART_IIR_THRI);
	assert_int_equal(in(p, UART_IIR), 0xc0 | UART_IIR_MSI);
	assert_true(p->level);
	in(p, UART_MSR);
	assert_int_equal(in(p, UART_IIR), 0xc0 | UART_IIR_NO_INT);
	assert_false(p->level);
}

static void loopback_returns_bytes_and_modem_lines(void **state)
{
	struct port *p = *state;
	char c;

	out(p, UART_MCR, UART_MCR_LOOP);
	assert_int_equal(in(p, UART_MSR), UART_MSR_DDCD | UART_MSR_DDSR | UART_MSR_DCTS);
	out(p, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT1);
	assert_int_equal(in(p, UART_MSR), UART_MSR_RI);
	out(p, UART_MCR, UART_MCR_LOOP | UART_MCR_DTR);
	assert_int_equal(in(p, UART_MSR), UART_MSR_DSR | UART_MSR_DDSR | UART_MSR_TERI);
	out(p, UART_TX, 'L');
	assert_int_equal(uart8250_give(&p->uart, "host", 4), 4);

	out(p, UART_IER, UART_IER_RDI);
	assert_int_equal(in(p, UART_RX), 'L');
	assert_int_equal(in(p, UART_LSR), 0x60);
	assert_int_equal(uart8250_take(&p->uart, &c, 1), 0);
	out(p, UART_MCR, 0);
	assert_int_equal(in(p, UART_RX), 'h');
}

static void loopback_overrun_is_reported_once(void **state)
{
	struct port *p = *state;

	out(p, UART_FCR, UART_FCR_ENABLE_FIFO);
	out(p, UART_MCR, UART_MCR_LOOP);
	for (unsigned i = 0; i < UART_FIFO + 1; i++)
		out(p, UART_TX, i);

	assert_int_equal(in(p, UART_LSR), 0x60 | UART_LSR_DR | UART_LSR_OE);
	assert_int_equal(in(p, UART_LSR), 0x60 | UART_LSR_DR);
	for (unsigned i = 0; i < UART_FIFO; i++)
		assert_int_equal(in(p, UART_RX), i);
	assert_int_equal(in(p, UART_LSR), 0x60);
}

static void fifo_bits_count_only_with_enable(void **state)
{
	struct port *p = *state;

	out(p, UART_FCR, UART_FCR_TRIGGER_14);
	assert_int_equal(in(p, UART_IIR), UART_IIR_NO_INT);
	out(p, UART_FCR, UART_FCR_ENABLE_FIFO);
	out(p, UART_IER, UART_IER_RDI);
	assert_int_equal(uart8250_give(&p->uart, "abc", 3), 3);
	out(p, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	assert_int_equal(in(p, UART_LSR), 0x60);
}

/* The order of accesses when Linux opens the port. */
static void starting_driver_loses_no_input(void **state)
{
	struct port *p = *state;

	assert_int_equal(uart8250_give(&p->uart, "input", 5), 5);
	out(p, UART_FCR, UART_FCR_ENABLE_FIFO);
	out(p, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR | UART_FCR_CLEAR_XMIT);
	out(p, UART_FCR, 0);
	for (unsigned i = 0; i < 2; i++) {
		in(p, UART_LSR);
		in(p, UART_RX);
		in(p, UART_IIR);
		in(p, UART_MSR);
	}
	out(p, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_8);
	assert_false(p->level);
	out(p, UART_IER, UART_IER_RDI);

	assert_true(p->level);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(in(p, UART_RX), "input"[i]);
}

static void polling_guest_receives(void **state)
{
	struct port *p = *state;

	assert_int_equal(uart8250_give(&p->uart, "p", 1), 1);
	assert_int_equal(in(p, UART_LSR), 0x60);
	assert_int_equal(in(p, UART_LSR), 0x60 | UART_LSR_DR);
	assert_int_equal(in(p, UART_RX), 'p');
	assert_int_equal(in(p, UART_LSR), 0x60);
}

static void input_beyond_the_fifo_waits_for_the_guest(void **state)
{
	struct port *p = *state;
	char text[400];

	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (char)('0' + i % 64);
	assert_int_equal(uart8250_give(&p->uart, text, sizeof(text)), UART_INPUT_MAX);
	out(p, UART_FCR, UART_FCR_ENABLE_FIFO);
	out(p, UART_IER, UART_IER_RDI);
	assert_int_equal(uart8250_give(&p->uart, text + UART_INPUT_MAX, 144), UART_FIFO);
	assert_int_equal(uart8250_give(&p->uart, "!", 1), 0);
	assert_int_equal(p->events[UART_ROOM], 0);
	for (unsigned i = 0; i < UART_INPUT_MAX + UART_FIFO; i++)
		assert_int_equal(in(p, UART_RX), text[i]);

	assert_int_equal(p->events[UART_ROOM], 1);
	assert_int_equal(in(p, UART_LSR), 0x60);
	assert_int_equal(uart8250_give(&p->uart, "!", 1), 1);
}

static void full_output_shows_as_busy_transmitter(void **state)
{
	static char buf[UART_OUTPUT_MAX];
	struct port *p = *state;
	unsigned n = 0;

	out(p, UART_IER, UART_IER_THRI);
	while (in(p, UART_LSR) & UART_LSR_THRE) {
		for (unsigned i = 0; i < UART_FIFO; i++)
			out(p, UART_TX, n++);
		in(p, UART_IIR);
	}
	assert_in_range(n, UART_OUTPUT_MAX - 2 * UART_FIFO + 1, UART_OUTPUT_MAX);
	assert_int_equal(p->uart.output_lost, 0);
	assert_false(p->level);
	assert_int_equal(p->events[UART_OUTPUT], 1);
	assert_int_equal(p->events[UART_URGENT], 1);

	assert_int_equal(uart8250_take(&p->uart, buf, UART_FIFO), UART_FIFO);
	assert_true(p->level);
	assert_int_equal(in(p, UART_LSR), 0x60);
	assert_int_equal(uart8250_take(&p->uart, buf, sizeof(buf)), n - UART_FIFO);
	for (unsigned i = 0; i < n - UART_FIFO; i++)
		assert_int_equal((uint8_t)buf[i], (uint8_t)(i + UART_FIFO));
}

static void output_of_a_guest_that_does_not_look_is_lost(void **state)
{
	struct port *p = *state;

	for (unsigned i = 0; i < UART_OUTPUT_MAX + 5; i++)
		out(p, UART_TX, 'x');
	assert_int_equal(p->uart.output_lost, 5);
	assert_int_equal(in(p, UART_LSR), 0);
}

static void port_without_host_swallows_output(void **state)
{
	struct port *p = *state;
	char c;

	uart8250_connect(&p->uart, NULL, NULL);
	for (unsigned i = 0; i < UART_OUTPUT_MAX + 5; i++)
		out(p, UART_TX, 'x');
	assert_int_equal(in(p, UART_LSR), 0x60);
	assert_int_equal(uart8250_take(&p->uart, &c, 1), 0);
}

static void shared_line_is_high_while_either_port_wants_it(void **state)
{
	struct port *p = *state;
	static struct uart8250 other;

	uart8250_init(&other, &p->line, 2);
	out(p, UART_IER, UART_IER_THRI);
	other.dev.write(&other.dev, UART_IER, 1, UART_IER_THRI);
	in(p, UART_IIR);
	assert_true(p->level);
	other.dev.read(&other.dev, UART_IIR, 1);
	assert_false(p->level);
	assert_int_equal(p->rises, 1);
	uart8250_fini(&other);
}

enum { STREAM_BYTES = 20000 };

/* Host: takes what comes and gives it back, both in odd pieces. */
static void *echo(void *context)
{
	struct port *p = context;
	uint8_t buf[61];
	size_t done = 0;

	while (done < STREAM_BYTES) {
		size_t n = uart8250_take(&p->uart, buf, 1 + done % sizeof(buf)), given = 0;

		while (given < n)
			given += uart8250_give(&p->uart, buf + given, n - given);
		done += n;
	}
	return NULL;
}

/* Neither side loses or repeats a byte while both work at the same time. */
static void stream_survives_both_sides_at_once(void **state)
{
	struct port *p = *state;
	unsigned sent = 0, got = 0;
	pthread_t host;

	out(p, UART_FCR, UART_FCR_ENABLE_FIFO);
	out(p, UART_IER, UART_IER_RDI);
	assert_int_equal(pthread_create(&host, NULL, echo, p), 0);
	while (got < STREAM_BYTES) {
		uint8_t lsr = in(p, UART_LSR);

		if ((lsr & UART_LSR_THRE) && sent < STREAM_BYTES && sent - got < 2000)
			out(p, UART_TX, sent++ % 251);
		if (lsr & UART_LSR_DR)
			assert_int_equal(in(p, UART_RX), got++ % 251);
	}
	pthread_join(host, NULL);
	assert_int_equal(p->uart.output_lost, 0);
	assert_int_equal(in(p, UART_LSR), 0x60);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(registers_after_reset),
		T(divisor_latch_hides_data_and_interrupt_enable),
		T(wide_accesses_reach_one_register_after_the_other),
		T(line_and_modem_status_are_read_only),
		T(linux_finds_a_16550a),
		T(enabling_transmitter_interrupt_raises_it_until_identified),
		T(each_written_byte_raises_transmitter_interrupt),
		T(received_byte_interrupts_until_read),
		T(fewer_bytes_than_trigger_level_are_a_timeout),
		T(interrupts_are_identified_by_priority),
		T(loopback_returns_bytes_and_modem_lines),
		T(loopback_overrun_is_reported_once),
		T(fifo_bits_count_only_with_enable),
		T(starting_driver_loses_no_input),
		T(polling_guest_receives),
		T(input_beyond_the_fifo_waits_for_the_guest),
		T(full_output_shows_as_busy_transmitter),
		T(output_of_a_guest_that_does_not_look_is_lost),
		T(port_without_host_swallows_output),
		T(shared_line_is_high_while_either_port_wants_it),
		T(stream_survives_both_sides_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
