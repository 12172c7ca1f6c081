/* SPDX-License-Identifier: BSD-3-Clause */
/* first_steps.h - what to type first, for those who gave no kernel */
#pragma once

#include <stdio.h>

/* Commands that work on this host as they stand, but for the names of what is to be booted. */
void first_steps_print(FILE *out);
