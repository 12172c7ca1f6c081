/* SPDX-License-Identifier: BSD-3-Clause */
/* aml_resource.h - resource templates, the buffers that _CRS names (ACPI 6.4, section 6.4) */
#pragma once

#include "arch/x86_64/aml.h"

#include <stddef.h>
#include <stdint.h>

enum { AML_RESOURCES_MAX = 256 };

/* Starts zeroed. */
struct aml_resources {
	size_t used;
	uint8_t bytes[AML_RESOURCES_MAX];
};

/* Ports [base, base + n), n < 256. */
void aml_resource_io(struct aml_resources *r, uint16_t base, uint8_t n);

/* An ISA interrupt, below 16: edge, active high; shared if said so. */
void aml_resource_isa_irq(struct aml_resources *r, unsigned irq, bool shared);

/* Any global system interrupt: edge, active high, shared. */
void aml_resource_gsi(struct aml_resources *r, unsigned gsi);

/* Registers in memory below 4 GiB. */
void aml_resource_memory32(struct aml_resources *r, uint32_t base, uint32_t n);

/* What a bridge passes on: bus numbers, and memory windows (none for n 0). */
void aml_resource_buses(struct aml_resources *r, uint16_t first, uint16_t last);
void aml_resource_window32(struct aml_resources *r, uint32_t base, uint32_t n);
void aml_resource_window64(struct aml_resources *r, uint64_t base, uint64_t n);

/* Name (_CRS, ResourceTemplate () {...}). */
void aml_name_resources(struct aml *a, struct aml_resources *r);
