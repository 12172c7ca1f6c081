/* SPDX-License-Identifier: BSD-3-Clause */
/* qcow_utils.h - libqcow_utils: disk images for crosvm, from C and C++ */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Makes path an empty qcow2 image of virtual_size bytes; what it held before is gone, and a file
 * in use is not touched.  0, -EINVAL when path is NULL or not UTF-8, -1 when it cannot be made.
 */
int create_qcow_with_size(const char *path, uint64_t virtual_size);

#ifdef __cplusplus
}
#endif
