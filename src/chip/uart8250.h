/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uart8250.h - serial port of the 16550A kind (data sheet: PC16550D, June 1995)
 *
 * Eight registers of one byte; wider accesses are split.  The guest's side is a bus_dev, called by
 * vCPU threads; the host's side takes output and gives input from the main loop.  How full the
 * buffers get is bounded: see uart8250.c.
 */
#pragma once

#include "base/attr.h"
#include "bus/bus.h"
#include "chip/line.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	UART_REGISTERS = 8,
	UART_FIFO = 16,
	UART_OUTPUT_MAX = 16384, /* waits for the host: a screenful, many times */
	UART_INPUT_MAX = 256,    /* waits for the guest beyond its FIFO */
};

enum uart_event {
	UART_OUTPUT, /* there is output, where there was none */
	UART_URGENT, /* output has filled half of the buffer */
	UART_ROOM,   /* input is accepted again after some was refused */
};

/* Something for the host to do; called from vCPU threads, without the lock; must not block. */
typedef void (*uart_notify)(void *context, enum uart_event event);

struct uart8250 {
	struct bus_dev dev;
	pthread_mutex_t lock; /* guards all below */
	struct line *line;
	unsigned source;
	uart_notify notify; /* NULL: output is thrown away; set before vCPUs run */
	void *notify_context;

	uint8_t ier, fcr, lcr, mcr, msr, scr;
	uint16_t divisor;
	uint8_t lsr_errors; /* overrun: not bound to a byte of the FIFO */
	bool thre_pending;  /* the transmitter-empty interrupt was raised and not yet taken */
	bool line_level;
	bool polls; /* the last access was a read of the line status */

	uint16_t fifo[UART_FIFO]; /* received: byte, and line status bits above it */
	unsigned fifo_at, fifo_count;

	uint8_t input[UART_INPUT_MAX];
	unsigned input_at, input_count;
	bool input_refused;

	unsigned output_at, output_count;
	uint64_t output_lost;            /* bytes written while the transmitter was not ready */
	uint8_t output[UART_OUTPUT_MAX]; /* last: not touched before it is used */
};

/* Reset state; interrupts go to the line (NULL for none) as the given source. */
void uart8250_init(struct uart8250 *u, struct line *line, unsigned source);
void uart8250_fini(struct uart8250 *u);

/* Says who takes the output; before vCPUs run. */
void uart8250_connect(struct uart8250 *u, uart_notify notify, void *context);

/* Moves at most n bytes that the guest sent into buf; returns how many.  Any thread. */
size_t uart8250_take(struct uart8250 *u, void *buf, size_t n);

/*
 * Offers n received bytes; returns how many were accepted, which is fewer when the guest does not
 * read: UART_ROOM comes when it does.  Any thread.
 */
size_t uart8250_give(struct uart8250 *u, const void *buf, size_t n);

/* A break condition on the line (Linux: magic SysRq); lost if the FIFO is full.  Any thread. */
void uart8250_break(struct uart8250 *u);
