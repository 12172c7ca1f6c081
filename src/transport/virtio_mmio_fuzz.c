/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_mmio_fuzz.c - virtio over MMIO by register script */
#include "transport/script_fuzz.h"
#include "transport/virtio_mmio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define BASE 0xe0000000ull

static struct virtio_mmio v;

static void access(const struct step *s)
{
	struct step whole = *s;

	if (s->kind & 1) {
		script_access(BASE + s->at % VIRTIO_MMIO_BYTES, s);
		return;
	}
	whole.size = (uint8_t)((s->size & 0x80) | 3); /* four bytes */
	script_access(BASE + (s->at & 0xfc), &whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct err e;
	int r;

	script_set_up();
	r = virtio_mmio_init(&v, &script.f, &script.mmio, BASE, &script.host.host, 5, &e);
	assert(r == 0);
	(void)r;
	script_run(data, n, access);
	virtio_mmio_fini(&v);
	assert(script.host.ndoorbells == 0 && script.host.nirqfds == 0);
	script_tear_down();
	return 0;
}
