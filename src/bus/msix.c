/* SPDX-License-Identifier: BSD-3-Clause */
/* msix.c - message-signalled interrupts of one function */
#include "bus/msix.h"

#include "base/num.h"
#include "base/wire.h"

#include <assert.h>
#include <linux/pci_regs.h>
#include <string.h>

/* As the guest sees it. */
struct entry {
	le64 address;
	le32 data;
	le32 control;
};
static_assert(sizeof(struct entry) == MSIX_ENTRY_BYTES, "PCI 3.0, 6.8.2");

struct capability {
	uint8_t id, next;
	le16 control;
	le32 table, pba;
};
static_assert(sizeof(struct capability) == PCI_CAP_MSIX_SIZEOF, "PCI 3.0, 6.8.2");

void msix_init(struct msix *m, const struct msix_ops *ops, struct pci_dev *dev, struct host *host,
	       unsigned nvectors, unsigned bar, uint32_t table, uint32_t pba)
{
	struct capability c = {
		.id = PCI_CAP_ID_MSIX,
		.control = le16_of((uint16_t)(nvectors - 1)),
		.table = le32_of(table | bar),
		.pba = le32_of(pba | bar),
	};

	assert(nvectors > 0 && nvectors <= MSIX_VECTORS_MAX && (table | pba) % 8 == 0);
	*m = (struct msix){.ops = ops, .dev = dev, .host = host, .nvectors = nvectors};
	for (unsigned v = 0; v < nvectors; v++)
		m->vectors[v].masked = true;
	m->capability = pci_dev_capability(dev, &c, sizeof(c));
	dev->writable[m->capability + PCI_MSIX_FLAGS + 1] =
		(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
}

void msix_fini(struct msix *m)
{
	if (!m)
		return;
	for (unsigned v = 0; v < m->nvectors; v++)
		if (m->vectors[v].has_gsi)
			m->host->ops->msi_free(m->host, m->vectors[v].gsi);
	m->nvectors = 0;
}

static bool is_open(const struct msix *m, const struct msix_vector *v)
{
	return m->enabled && !m->function_masked && !v->masked;
}

/* Tells the hypervisor where the vector goes; only if it does not know yet, for that is slow. */
static void route(struct msix *m, struct msix_vector *v)
{
	if (!v->has_gsi || !is_open(m, v))
		return;
	if (v->routed && v->routed_address == v->address && v->routed_data == v->data)
		return;
	v->routed = m->host->ops->msi_route(m->host, v->gsi, v->address, v->data) == 0;
	v->routed_address = v->address;
	v->routed_data = v->data;
}

/* Brings the world in line with the vector's registers. */
static void follow(struct msix *m, unsigned vector)
{
	struct msix_vector *v = &m->vectors[vector];
	bool was_direct = v->open && v->routed;
	bool was_open = v->open;

	route(m, v);
	v->open = is_open(m, v);
	if (v->open && v->pending)
		msix_raise(m, vector);
	if (m->ops->changed && (v->open != was_open || (v->open && v->routed) != was_direct))
		m->ops->changed(m, vector);
}

void msix_use(struct msix *m, unsigned vector)
{
	struct msix_vector *v = &m->vectors[vector];

	assert(vector < m->nvectors);
	if (!v->has_gsi)
		v->has_gsi = m->host->ops->msi_alloc(m->host, &v->gsi) == 0;
	route(m, v);
}

bool msix_is_direct(const struct msix *m, unsigned vector)
{
	return vector < m->nvectors && m->vectors[vector].open && m->vectors[vector].routed;
}

void msix_raise(struct msix *m, unsigned vector)
{
	struct msix_vector *v;

	if (vector >= m->nvectors)
		return;
	v = &m->vectors[vector];
	v->pending = !is_open(m, v);
	if (!v->pending)
		m->host->ops->msi_send(m->host, v->address, v->data);
}

void msix_clear(struct msix *m)
{
	for (unsigned v = 0; v < m->nvectors; v++)
		m->vectors[v].pending = false;
}

void msix_config_written(struct msix *m)
{
	uint32_t control = pci_config_get(m->dev, m->capability + PCI_MSIX_FLAGS, 2);
	bool enabled = control & PCI_MSIX_FLAGS_ENABLE;
	bool function_masked = control & PCI_MSIX_FLAGS_MASKALL;

	if (enabled == m->enabled && function_masked == m->function_masked)
		return;
	m->enabled = enabled;
	m->function_masked = function_masked;
	for (unsigned v = 0; v < m->nvectors; v++)
		follow(m, v);
}

/* size bytes at offset of n bytes; zero behind their end. */
static uint64_t read_bytes(const void *bytes, uint64_t n, uint64_t offset, unsigned size)
{
	uint64_t value = 0;

	assert(size <= sizeof(value));
	if (offset < n)
		memcpy(&value, (const uint8_t *)bytes + offset, min_u64(size, n - offset));
	return value;
}

uint64_t msix_table_read(const struct msix *m, uint64_t offset, unsigned size)
{
	struct entry two[2] = {0}; /* an unaligned read may end in the next entry */
	uint64_t first = offset / MSIX_ENTRY_BYTES;

	for (unsigned i = 0; i < 2 && first + i < m->nvectors; i++) {
		const struct msix_vector *v = &m->vectors[first + i];

		two[i].address = le64_of(v->address);
		two[i].data = le32_of(v->data);
		two[i].control = le32_of(v->masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0);
	}
	return read_bytes(two, sizeof(two), offset % MSIX_ENTRY_BYTES, size);
}

static void write_dword(struct msix_vector *v, unsigned at, uint32_t value)
{
	switch (at) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		v->address = (v->address & ~(uint64_t)UINT32_MAX) | (value & ~3u);
		break;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		v->address = (v->address & UINT32_MAX) | (uint64_t)value << 32;
		break;
	case PCI_MSIX_ENTRY_DATA:
		v->data = value;
		break;
	case PCI_MSIX_ENTRY_VECTOR_CTRL:
		v->masked = value & PCI_MSIX_ENTRY_CTRL_MASKBIT;
		break;
	default:
		break;
	}
}

void msix_table_write(struct msix *m, uint64_t offset, unsigned size, uint64_t value)
{
	uint64_t vector = offset / MSIX_ENTRY_BYTES;
	unsigned at = offset % MSIX_ENTRY_BYTES;

	if ((size != 4 && size != 8) || offset % size != 0 || vector >= m->nvectors)
		return;
	write_dword(&m->vectors[vector], at, (uint32_t)value);
	if (size == 8)
		write_dword(&m->vectors[vector], at + 4, (uint32_t)(value >> 32));
	follow(m, (unsigned)vector);
}

uint64_t msix_pba_read(struct msix *m, uint64_t offset, unsigned size)
{
	uint64_t bits = 0;

	if (m->ops->poll)
		m->ops->poll(m);
	for (unsigned v = 0; v < m->nvectors; v++)
		bits |= (uint64_t)m->vectors[v].pending << v;
	return read_bytes(&bits, sizeof(bits), offset, size);
}
