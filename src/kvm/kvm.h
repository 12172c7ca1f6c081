/* SPDX-License-Identifier: BSD-3-Clause */
/* kvm.h - /dev/kvm itself: version and capabilities */
#pragma once

#include "base/attr.h"
#include "base/err.h"

#include <stddef.h>

struct kvm {
	int fd; /* -1 when closed */
	size_t run_bytes; /* size of the page set that each vCPU shares with us */
};

/* Opens path (normally /dev/kvm) and checks API version 12. */
int kvm_open(struct kvm *k, const char *path, struct err *e) MUST_CHECK;
void kvm_close(struct kvm *k);

/* What KVM_CHECK_EXTENSION says of a KVM_CAP_ number: 0 when absent, else its value. */
int kvm_capability(const struct kvm *k, int capability);
