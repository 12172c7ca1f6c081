/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_link.c - in place of link.c: a device without a process, which obeys, refuses or fails */
#include "transport/fuzz_link.h"

#include "transport/link.h"
#include "virtio/ids.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

uint64_t fuzz_link_faults;
uint32_t fuzz_link_rings;

static int outcome(void)
{
	unsigned fault = fuzz_link_faults & 3;

	fuzz_link_faults >>= 2;
	if (fault == 2)
		return -EREMOTEIO;
	return fault == 3 ? -EPROTO : 0;
}

int link_init(struct link *l, int sock)
{
	*l = (struct link){.conn = {.sock = sock, .direction = VU_REPLIES}};
	return 0;
}

void link_fini(struct link *l)
{
	(void)l;
	fuzz_link_rings = 0;
}

void link_begin(struct link *l, unsigned limit_ms)
{
	(void)l;
	(void)limit_ms;
}

int link_answer(struct link *l, uint32_t request, struct vu_msg *ret_reply)
{
	uint64_t features = VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_RING_FEATURES |
			    VU_BIT(VU_F_PROTOCOL_FEATURES) | 0xff;

	(void)l;
	*ret_reply = (struct vu_msg){.request = request, .p.u64 = le64_of(features)};
	return outcome();
}

int link_ask(struct link *l, const struct vu_msg *m, struct vu_msg *ret_reply)
{
	(void)l;
	*ret_reply = (struct vu_msg){.request = m->request};
	return outcome();
}

int link_tell(struct link *l, const struct vu_msg *m)
{
	(void)l;
	(void)m;
	return outcome();
}

int link_post(struct link *l, const struct vu_msg *m)
{
	return link_tell(l, m);
}

int link_get_u64(struct link *l, uint32_t request, uint64_t *ret_value)
{
	(void)l;
	*ret_value = request == VU_GET_PROTOCOL_FEATURES ? UINT64_MAX : 3;
	return outcome();
}

int link_answer_u64(struct link *l, uint32_t request, uint64_t *ret_value)
{
	return link_get_u64(l, request, ret_value);
}

int link_set(struct link *l, uint32_t request)
{
	(void)l;
	(void)request;
	return outcome();
}

int link_set_u64(struct link *l, uint32_t request, uint64_t value)
{
	(void)l;
	(void)request;
	(void)value;
	return outcome();
}

int link_set_state(struct link *l, uint32_t request, unsigned index, uint32_t num)
{
	int r = outcome();

	(void)l;
	if (r == 0 && request == VU_SET_VRING_ENABLE && num == 1)
		fuzz_link_rings |= 1u << index;
	return r;
}

int link_set_vring_fd(struct link *l, uint32_t request, unsigned index, int fd)
{
	(void)l;
	(void)request;
	assert(!(fuzz_link_rings >> index & 1)); /* not while the device has it */
	assert(fd >= 0);
	return outcome();
}

int link_stop_vring(struct link *l, unsigned index, uint32_t *ret_base)
{
	int r = outcome();

	(void)l;
	if (r == 0)
		fuzz_link_rings &= ~(1u << index);
	*ret_base = 7;
	return r;
}

int link_set_memory(struct link *l, const struct gmem *m)
{
	(void)l;
	(void)m;
	return outcome();
}

int link_post_get_config(struct link *l, uint32_t offset, uint32_t size)
{
	(void)l;
	assert(offset + size <= VU_CONFIG_MAX);
	return outcome();
}

int link_answer_config(struct link *l, void *out, uint32_t size)
{
	(void)l;
	memset(out, (int)(fuzz_link_faults & 0xff), size);
	return outcome();
}

int link_set_config(struct link *l, uint32_t offset, const void *in, uint32_t size)
{
	(void)l;
	(void)in;
	assert(offset + size <= VU_CONFIG_MAX);
	return outcome();
}
