/* SPDX-License-Identifier: BSD-3-Clause */
/* command_show.h - replies of the control socket, for people */
#pragma once

/* Each prints one or more lines; socket is what the user called the VM. */
void show_status(const char *socket, const char *reply);
void show_balloon(const char *socket, const char *reply);
void show_balloon_stats(const char *socket, const char *reply);
