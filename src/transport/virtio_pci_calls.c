/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * virtio_pci_calls.c - virtio over PCI: where kicks come from and where calls go
 *
 * Each queue has a doorbell, a place in the BAR that KVM watches for it, and a way for its calls:
 * straight to KVM, or over the loop to a pending bit, the ISR byte and the line.  Registers decide
 * which; whoever changes one has the ways follow.
 */
#include "transport/virtio_pci_calls.h"

#include "base/fd.h"

#include <errno.h>
#include <linux/virtio_pci.h>
#include <sys/epoll.h>

enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };

/* ---- calls: v->lock held ---- */

static void line_follow(struct virtio_pci *v)
{
	pci_intx_set(&v->dev, v->isr != 0 && !v->msix.enabled);
}

static void interrupt(struct virtio_pci *v, uint16_t vector, uint8_t isr_bit)
{
	if (v->msix.enabled) {
		msix_raise(&v->msix, vector);
		return;
	}
	v->isr |= isr_bit;
	line_follow(v);
}

/* A call of a queue that is watched, if there was one. */
static void call_heard(struct virtio_pci *v, unsigned q)
{
	if (fd_drain(v->frontend->queues[q].call_fd) > 0)
		interrupt(v, v->queues[q].vector, ISR_QUEUE);
}

static int way_change(struct virtio_pci *v, unsigned q, enum virtio_pci_way way, bool on)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = q};
	int call_fd = v->frontend->queues[q].call_fd;

	switch (way) {
	case VIRTIO_PCI_DIRECT:
		return v->host->ops->irqfd(v->host, v->queues[q].gsi, call_fd, on);
	case VIRTIO_PCI_WATCHED:
		return epoll_ctl(v->calls_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, call_fd, &ev);
	case VIRTIO_PCI_DROPPED:
		break;
	}
	return 0;
}

static enum virtio_pci_way way_wanted(const struct virtio_pci *v, unsigned q)
{
	uint16_t vector = v->queues[q].vector;

	if (v->msix.enabled && vector >= v->msix.nvectors)
		return VIRTIO_PCI_DROPPED;
	return v->msix.enabled && msix_is_direct(&v->msix, vector) ? VIRTIO_PCI_DIRECT
								   : VIRTIO_PCI_WATCHED;
}

/*
 * Makes the queue's calls go where the registers say.  A call that came while they were watched is
 * heard before the watch ends; one that comes in between stays in the eventfd, where the next way
 * finds it.
 */
static void way_follow(struct virtio_pci *v, unsigned q)
{
	struct virtio_pci_queue *queue = &v->queues[q];
	enum virtio_pci_way way = way_wanted(v, q);
	bool is_direct = way == VIRTIO_PCI_DIRECT;
	unsigned gsi = is_direct ? v->msix.vectors[queue->vector].gsi : 0;

	if (way == queue->way && gsi == queue->gsi)
		return;
	way_change(v, q, queue->way, false);
	if (is_direct)
		call_heard(v, q);
	queue->way = way;
	queue->gsi = gsi;
	if (way_change(v, q, way, true) == 0 || !is_direct)
		return;
	queue->way = VIRTIO_PCI_WATCHED; /* no irqfd to be had: the long way works as well */
	queue->gsi = 0;
	way_change(v, q, VIRTIO_PCI_WATCHED, true);
}

static void ways_follow(struct virtio_pci *v)
{
	for (unsigned q = 0; q < v->nqueues; q++)
		way_follow(v, q);
}

void calls_follow(struct virtio_pci *v)
{
	ways_follow(v);
	line_follow(v);
}

static void vector_changed(struct msix *m, unsigned vector)
{
	struct virtio_pci *v = container_of(m, struct virtio_pci, msix);

	for (unsigned q = 0; q < v->nqueues; q++)
		if (v->queues[q].vector == vector)
			way_follow(v, q);
}

static void pending_poll(struct msix *m)
{
	struct virtio_pci *v = container_of(m, struct virtio_pci, msix);

	for (unsigned q = 0; q < v->nqueues; q++)
		if (v->queues[q].way == VIRTIO_PCI_WATCHED)
			call_heard(v, q);
}

const struct msix_ops calls_msix_ops = {.poll = pending_poll, .changed = vector_changed};

static void calls_ready(struct watch *w, uint32_t events)
{
	struct virtio_pci *v = container_of(w, struct virtio_pci, calls_watch);
	struct epoll_event calls[FRONTEND_QUEUES_MAX];
	int n;

	(void)events;
	pthread_mutex_lock(&v->lock);
	n = epoll_wait(v->calls_fd, calls, FRONTEND_QUEUES_MAX, 0);
	for (int i = 0; i < n; i++)
		call_heard(v, calls[i].data.u32);
	pthread_mutex_unlock(&v->lock);
}

static void config_changed(struct frontend_listener *l)
{
	struct virtio_pci *v = container_of(l, struct virtio_pci, listener);

	pthread_mutex_lock(&v->lock);
	interrupt(v, v->config_vector, ISR_CONFIG);
	pthread_mutex_unlock(&v->lock);
}

void calls_vector_set(struct virtio_pci *v, unsigned q, uint32_t vector)
{
	if (q >= v->nqueues)
		return;
	v->queues[q].vector = vector < v->msix.nvectors ? (uint16_t)vector : VIRTIO_MSI_NO_VECTOR;
	if (vector < v->msix.nvectors)
		msix_use(&v->msix, vector);
	way_follow(v, q);
}

void calls_queue_forget(struct virtio_pci *v, unsigned q)
{
	fd_drain(v->frontend->queues[q].call_fd);
	calls_vector_set(v, q, VIRTIO_MSI_NO_VECTOR);
}

void calls_forget(struct virtio_pci *v)
{
	for (unsigned q = 0; q < v->nqueues; q++)
		calls_queue_forget(v, q);
	v->config_vector = VIRTIO_MSI_NO_VECTOR;
	v->isr = 0;
	msix_clear(&v->msix);
	line_follow(v);
}

uint8_t calls_isr_take(struct virtio_pci *v)
{
	uint8_t isr = v->isr;

	v->isr = 0;
	line_follow(v);
	return isr;
}

int calls_init(struct virtio_pci *v)
{
	int r;

	v->listener.config_changed = config_changed;
	v->calls_fd = epoll_create1(EPOLL_CLOEXEC);
	if (v->calls_fd < 0)
		return -errno;
	v->calls_watch = (struct watch){.fd = v->calls_fd, .ready = calls_ready};
	r = loop_add(v->loop, &v->calls_watch, EPOLLIN);
	if (r < 0)
		return r;
	pthread_mutex_lock(&v->lock);
	ways_follow(v); /* there is no line yet: the function is not on its bus */
	pthread_mutex_unlock(&v->lock);
	return 0;
}

void calls_fini(struct virtio_pci *v)
{
	if (v->calls_fd >= 0) {
		loop_remove(v->loop, &v->calls_watch);
		for (unsigned q = 0; q < v->nqueues; q++)
			way_change(v, q, v->queues[q].way, false);
	}
	fd_close(&v->calls_fd);
}

/* ---- doorbells ---- */

/* Opens or closes the queue's doorbell at base; door_lock held. Without one, writes exit to us. */
static void door_move(struct virtio_pci *v, unsigned q, uint64_t base, bool open)
{
	struct virtio_pci_queue *queue = &v->queues[q];

	if (queue->door_is_open == open)
		return;
	if (v->host->ops->doorbell(v->host, false, base + NOTIFY_BYTES * q, 0, NULL,
				   v->frontend->queues[q].kick_fd, open) == 0)
		queue->door_is_open = open;
}

void door_set(struct virtio_pci *v, unsigned q, bool on)
{
	if (q >= v->nqueues)
		return;
	pthread_mutex_lock(&v->door_lock);
	v->queues[q].has_door = on;
	door_move(v, q, v->door_base, on && v->door_base != 0);
	pthread_mutex_unlock(&v->door_lock);
}

void doors_move(struct virtio_pci *v, uint64_t base, bool mapped)
{
	pthread_mutex_lock(&v->door_lock);
	v->door_base = mapped ? base : 0;
	for (unsigned q = 0; q < v->nqueues; q++)
		door_move(v, q, base, mapped && v->queues[q].has_door);
	pthread_mutex_unlock(&v->door_lock);
}
