/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frontend_peer.h - the side of a front end that speaks to the device
 *
 * For frontend.c only.  All calls with f->lock held.  None of them fails: a device that does not
 * play along is cut off, and everything is done again with the next one.
 */
#pragma once

#include "transport/frontend.h"

/* Waits, with the limit, until a device has answered once; false if none has. */
bool peer_known(struct frontend *f);

/* The handshake with a device that was greeted; then it takes up the driver's work. */
void peer_shake_hands(struct frontend *f);

/* The driver is ready: hands over features, memory and the queues that are on. */
void peer_start(struct frontend *f);

/* Takes everything back, and resets the device. */
void peer_stop(struct frontend *f);

/* Takes the queues back, and has a device, this or another, go on where they were. */
void peer_pause(struct frontend *f);
void peer_resume(struct frontend *f);

/* One queue, while the driver is ready. */
void peer_queue_start(struct frontend *f, unsigned q);
void peer_queue_stop(struct frontend *f, unsigned q);

/* Fetches the configuration if the device has said that it changed. */
void peer_config_refresh(struct frontend *f);

/* The driver wrote there; the bytes are in driver_config. */
void peer_config_write(struct frontend *f, uint32_t at, uint32_t n);

/* Ends the conversation with the device for the reason that r, a negative errno, stands for. */
void peer_cut(struct frontend *f, int r);

/* Tells the driver to reset the device. */
void peer_break(struct frontend *f);
