/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uart8250.c - serial port of the 16550A kind (data sheet: PC16550D, June 1995)
 *
 * There is no baud rate: a byte that the guest writes is transmitted as soon as it is in the output
 * buffer, from where the host takes it.  Received bytes wait in the input buffer until the receive
 * FIFO has room and the guest shows that it receives: by the receive interrupt enabled, or by
 * polling the line status.  So the resets and dummy reads of a driver that starts lose none.  In
 * the FIFO they raise the data interrupt at once, as "timeout" when they are fewer than the trigger
 * level, for nothing is gained by waiting.
 *
 *  I1  THRE and TEMT are set while the output buffer has room for a whole FIFO.  So a guest that
 *      looks at the line status never loses a byte, and one whose receiver is stuck is held up by
 *      its own polling.  A guest that does not look loses what does not fit.
 *  I2  The transmitter-empty interrupt is pending from a write to THR (or the enabling of it, or
 *      room coming back) until the guest has read it in IIR.
 *  I3  The line is high exactly while IIR would report an interrupt; it is compared after every
 *      access.
 *  I4  The host is told of output when the buffer was empty and when it becomes half full, and of
 *      room only after it had input refused.  So the number of wake-ups is bounded by its own work.
 *
 * Modem inputs are always on (DCD, DSR, CTS), except in loopback mode, where the modem control
 * register drives them and no byte enters or leaves.
 */
#include "chip/uart8250.h"

#include "chip/bytes.h"

#include <linux/serial_reg.h>
#include <string.h>

enum {
	MSR_CONNECTED = UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS,
	MSR_DELTAS = 0x0f,
	IER_BITS = 0x0f,
	MCR_BITS = 0x1f,
	IIR_FIFOS = 0xc0, /* FIFOs are there and enabled */
	IIR_TIMEOUT = 0x0c,
	LSR_FIFO_ERROR = 0x80,
	LSR_INTERRUPT = UART_LSR_OE | UART_LSR_BI,
	DIVISOR_RESET = 12, /* 9600 baud */
	NO_EVENT = -1,
};

static bool has_fifo(const struct uart8250 *u)
{
	return u->fcr & UART_FCR_ENABLE_FIFO;
}

static bool is_looped(const struct uart8250 *u)
{
	return u->mcr & UART_MCR_LOOP;
}

static bool can_transmit(const struct uart8250 *u)
{
	return UART_OUTPUT_MAX - u->output_count >= UART_FIFO;
}

/* ---- interrupts ---- */

static unsigned trigger_level(const struct uart8250 *u)
{
	static const uint8_t levels[] = {1, 4, 8, 14};

	return has_fifo(u) ? levels[u->fcr >> 6] : 1;
}

static uint8_t line_errors(const struct uart8250 *u)
{
	uint8_t errors = u->lsr_errors;

	if (u->fifo_count > 0)
		errors |= (uint8_t)(u->fifo[u->fifo_at] >> 8);
	return errors;
}

/* The pending interrupt of the highest priority that is enabled. */
static uint8_t interrupt(const struct uart8250 *u)
{
	if ((u->ier & UART_IER_RLSI) && (line_errors(u) & LSR_INTERRUPT))
		return UART_IIR_RLSI;
	if ((u->ier & UART_IER_RDI) && u->fifo_count > 0)
		return u->fifo_count >= trigger_level(u) ? UART_IIR_RDI : IIR_TIMEOUT;
	if ((u->ier & UART_IER_THRI) && u->thre_pending)
		return UART_IIR_THRI;
	if ((u->ier & UART_IER_MSI) && (u->msr & MSR_DELTAS))
		return UART_IIR_MSI;
	return UART_IIR_NO_INT;
}

static void line_update(struct uart8250 *u)
{
	bool level = interrupt(u) != UART_IIR_NO_INT;

	if (u->line && level != u->line_level)
		line_set(u->line, u->source, level);
	u->line_level = level;
}

/* ---- receiving ---- */

static unsigned fifo_room(const struct uart8250 *u)
{
	return (has_fifo(u) ? UART_FIFO : 1u) - u->fifo_count;
}

static void fifo_put(struct uart8250 *u, uint16_t entry)
{
	u->fifo[(u->fifo_at + u->fifo_count) % UART_FIFO] = entry;
	u->fifo_count++;
}

static void fifo_clear(struct uart8250 *u)
{
	u->fifo_at = 0;
	u->fifo_count = 0;
	u->lsr_errors = 0;
}

/* Moves waiting input to the FIFO; true when the host may be told that there is room. */
static bool fifo_fill(struct uart8250 *u, bool is_polled)
{
	bool receives = (is_polled || (u->ier & UART_IER_RDI)) && !is_looped(u);
	bool wanted;

	while (receives && u->input_count > 0 && fifo_room(u) > 0) {
		fifo_put(u, u->input[u->input_at]);
		u->input_at = (u->input_at + 1) % UART_INPUT_MAX;
		u->input_count--;
	}
	wanted = u->input_refused && u->input_count <= UART_INPUT_MAX / 2;
	if (wanted)
		u->input_refused = false;
	return wanted;
}

static uint8_t receive(struct uart8250 *u)
{
	uint8_t byte;

	if (u->fifo_count == 0)
		return 0;
	byte = (uint8_t)u->fifo[u->fifo_at];
	u->fifo_at = (u->fifo_at + 1) % UART_FIFO;
	u->fifo_count--;
	return byte;
}

/* ---- transmitting ---- */

static int output_put(struct uart8250 *u, uint8_t byte)
{
	if (!u->notify)
		return NO_EVENT;
	if (u->output_count == UART_OUTPUT_MAX) {
		u->output_lost++;
		return NO_EVENT;
	}
	u->output[(u->output_at + u->output_count) % UART_OUTPUT_MAX] = byte;
	u->output_count++;
	if (u->output_count == 1)
		return UART_OUTPUT;
	return u->output_count == UART_OUTPUT_MAX / 2 ? UART_URGENT : NO_EVENT;
}

static void loop_back(struct uart8250 *u, uint8_t byte)
{
	if (fifo_room(u) > 0)
		fifo_put(u, byte);
	else
		u->lsr_errors |= UART_LSR_OE;
}

static int transmit(struct uart8250 *u, uint8_t byte)
{
	int event = NO_EVENT;

	if (is_looped(u))
		loop_back(u, byte);
	else
		event = output_put(u, byte);
	u->thre_pending = can_transmit(u);
	return event;
}

/* ---- registers ---- */

static uint8_t line_status(struct uart8250 *u)
{
	uint8_t lsr = line_errors(u);

	for (unsigned i = 0; i < u->fifo_count && has_fifo(u); i++)
		if (u->fifo[(u->fifo_at + i) % UART_FIFO] >> 8)
			lsr |= LSR_FIFO_ERROR;
	if (u->fifo_count > 0) {
		lsr |= UART_LSR_DR;
		u->fifo[u->fifo_at] &= 0xff;
	}
	if (can_transmit(u))
		lsr |= UART_LSR_THRE | UART_LSR_TEMT;
	u->lsr_errors = 0;
	return lsr;
}

static uint8_t interrupt_identification(struct uart8250 *u)
{
	uint8_t iir = interrupt(u);

	if (iir == UART_IIR_THRI)
		u->thre_pending = false;
	return iir | (has_fifo(u) ? IIR_FIFOS : 0);
}

/* What the modem inputs show; each change sets its delta bit (RI only when it ends). */
static void modem_inputs_update(struct uart8250 *u)
{
	uint8_t old = u->msr & 0xf0, now = MSR_CONNECTED, changed;

	if (is_looped(u))
		now = (uint8_t)((u->mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
				(u->mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
				(u->mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
				(u->mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0));
	changed = old ^ now;
	if (now & UART_MSR_RI)
		changed &= (uint8_t)~UART_MSR_RI;
	u->msr = (uint8_t)((u->msr & MSR_DELTAS) | changed >> 4 | now);
}

static uint8_t modem_status(struct uart8250 *u)
{
	uint8_t msr = u->msr;

	u->msr &= 0xf0;
	return msr;
}

static void interrupt_enable(struct uart8250 *u, uint8_t value)
{
	bool thre_enabled = value & ~u->ier & UART_IER_THRI;

	u->ier = value & IER_BITS;
	if (thre_enabled)
		u->thre_pending = can_transmit(u);
}

static void fifo_control(struct uart8250 *u, uint8_t value)
{
	bool switched = (u->fcr ^ value) & UART_FCR_ENABLE_FIFO;

	if (!(value & UART_FCR_ENABLE_FIFO))
		value = 0; /* the other bits count only together with this one */
	if (switched || (value & UART_FCR_CLEAR_RCVR))
		fifo_clear(u);
	if (switched || (value & UART_FCR_CLEAR_XMIT))
		u->thre_pending = can_transmit(u);
	u->fcr = value & (UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_MASK);
}

static uint8_t register_read(struct uart8250 *u, unsigned offset)
{
	bool dlab = u->lcr & UART_LCR_DLAB;

	switch (offset) {
	case UART_RX:
		return dlab ? (uint8_t)u->divisor : receive(u);
	case UART_IER:
		return dlab ? (uint8_t)(u->divisor >> 8) : u->ier;
	case UART_IIR:
		return interrupt_identification(u);
	case UART_LCR:
		return u->lcr;
	case UART_MCR:
		return u->mcr;
	case UART_LSR:
		return line_status(u);
	case UART_MSR:
		return modem_status(u);
	case UART_SCR:
		return u->scr;
	default:
		return 0xff;
	}
}

/* Returns what the host is to be told, or NO_EVENT. */
static int register_write(struct uart8250 *u, unsigned offset, uint8_t value)
{
	bool dlab = u->lcr & UART_LCR_DLAB;

	switch (offset) {
	case UART_TX:
		if (!dlab)
			return transmit(u, value);
		u->divisor = (uint16_t)((u->divisor & 0xff00) | value);
		break;
	case UART_IER:
		if (dlab)
			u->divisor = (uint16_t)((u->divisor & 0xff) | value << 8);
		else
			interrupt_enable(u, value);
		break;
	case UART_FCR:
		fifo_control(u, value);
		break;
	case UART_LCR:
		u->lcr = value;
		break;
	case UART_MCR:
		u->mcr = value & MCR_BITS;
		modem_inputs_update(u);
		break;
	case UART_SCR:
		u->scr = value;
		break;
	default: /* LSR and MSR are read-only */
		break;
	}
	return NO_EVENT;
}

static void host_notify(struct uart8250 *u, int event)
{
	if (event != NO_EVENT && u->notify)
		u->notify(u->notify_context, (enum uart_event)event);
}

static uint8_t port_read(struct bus_dev *d, unsigned offset)
{
	struct uart8250 *u = container_of(d, struct uart8250, dev);
	bool polls = offset == UART_LSR, has_room;
	uint8_t value;

	pthread_mutex_lock(&u->lock);
	has_room = fifo_fill(u, polls && u->polls);
	u->polls = polls;
	value = register_read(u, offset);
	has_room |= fifo_fill(u, false);
	line_update(u);
	pthread_mutex_unlock(&u->lock);
	host_notify(u, has_room ? (int)UART_ROOM : (int)NO_EVENT);
	return value;
}

static void port_write(struct bus_dev *d, unsigned offset, uint8_t value)
{
	struct uart8250 *u = container_of(d, struct uart8250, dev);
	bool has_room;
	int event;

	pthread_mutex_lock(&u->lock);
	u->polls = false;
	event = register_write(u, offset, value);
	has_room = fifo_fill(u, false);
	line_update(u);
	pthread_mutex_unlock(&u->lock);
	host_notify(u, event);
	host_notify(u, has_room ? (int)UART_ROOM : (int)NO_EVENT);
}

static uint64_t uart_read(struct bus_dev *d, uint64_t offset, unsigned size)
{
	return bytes_read(d, offset, size, port_read);
}

static void uart_write(struct bus_dev *d, uint64_t offset, unsigned size, uint64_t value)
{
	bytes_write(d, offset, size, value, port_write);
}

/* ---- the host's side ---- */

size_t uart8250_take(struct uart8250 *u, void *buf, size_t n)
{
	uint8_t *out = buf;
	bool was_stuck;

	pthread_mutex_lock(&u->lock);
	was_stuck = !can_transmit(u);
	if (n > u->output_count)
		n = u->output_count;
	for (size_t i = 0; i < n; i++)
		out[i] = u->output[(u->output_at + i) % UART_OUTPUT_MAX];
	u->output_at = (u->output_at + (unsigned)n) % UART_OUTPUT_MAX;
	u->output_count -= (unsigned)n;
	if (was_stuck && can_transmit(u))
		u->thre_pending = true;
	line_update(u);
	pthread_mutex_unlock(&u->lock);
	return n;
}

size_t uart8250_give(struct uart8250 *u, const void *buf, size_t n)
{
	const uint8_t *in = buf;
	size_t room;

	pthread_mutex_lock(&u->lock);
	room = UART_INPUT_MAX - u->input_count;
	u->input_refused = n > room;
	if (n > room)
		n = room;
	for (size_t i = 0; i < n; i++)
		u->input[(u->input_at + u->input_count + i) % UART_INPUT_MAX] = in[i];
	u->input_count += (unsigned)n;
	fifo_fill(u, false);
	line_update(u);
	pthread_mutex_unlock(&u->lock);
	return n;
}

void uart8250_break(struct uart8250 *u)
{
	pthread_mutex_lock(&u->lock);
	if (!is_looped(u) && fifo_room(u) > 0)
		fifo_put(u, UART_LSR_BI << 8);
	line_update(u);
	pthread_mutex_unlock(&u->lock);
}

void uart8250_init(struct uart8250 *u, struct line *line, unsigned source)
{
	memset(u, 0, offsetof(struct uart8250, output));
	u->dev = (struct bus_dev){"serial port", uart_read, uart_write};
	u->line = line;
	u->source = source;
	u->mcr = UART_MCR_OUT2;
	u->lcr = UART_LCR_WLEN8;
	u->msr = MSR_CONNECTED;
	u->divisor = DIVISOR_RESET;
	pthread_mutex_init(&u->lock, NULL);
}

void uart8250_connect(struct uart8250 *u, uart_notify notify, void *context)
{
	u->notify = notify;
	u->notify_context = context;
}

void uart8250_fini(struct uart8250 *u)
{
	if (u)
		pthread_mutex_destroy(&u->lock);
}
