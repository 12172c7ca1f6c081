/* SPDX-License-Identifier: BSD-3-Clause */
/* caps.c - capabilities of the calling thread */
#include "jail/caps.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CAPS_MAX = 64 };

int caps_set(uint64_t effective, uint64_t permitted, uint64_t inheritable)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		data[i].effective = (uint32_t)(effective >> (32 * i));
		data[i].permitted = (uint32_t)(permitted >> (32 * i));
		data[i].inheritable = (uint32_t)(inheritable >> (32 * i));
	}
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int caps_pass_on(uint64_t set)
{
	int r = caps_set(set, set, set);

	for (unsigned long cap = 0; r == 0 && cap < CAPS_MAX; cap++) {
		if ((set & CAP_BIT(cap)) &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			r = -errno;
	}
	return r;
}

int caps_drop_all(void)
{
	const unsigned long locked = SECURE_ALL_BITS | SECURE_ALL_LOCKS;

	for (unsigned long cap = 0; cap < CAPS_MAX; cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno != EINVAL)
				return -errno;
			break; /* the kernel has no more */
		}
	}
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	/* Without SECBIT_KEEP_CAPS, which is the one bit that would keep something. */
	if (prctl(PR_SET_SECUREBITS, locked & ~(unsigned long)SECBIT_KEEP_CAPS, 0, 0, 0) < 0)
		return -errno;
	return caps_set(0, 0, 0);
}
