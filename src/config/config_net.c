/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * config_net.c - the network options of the first releases
 *
 * --host_ip, --netmask and --mac together are one card, each --tap-fd is another, and --vhost-net
 * is about all of these.  They become what --net would say, behind all other devices.
 */
#include "config/config_table.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>

int config_tap_fd_add(struct config *c, const char *value, struct err *e)
{
	struct config_net *n = &c->net;
	uint64_t fd;

	if (opt_number(value, &fd) < 0 || fd > INT_MAX)
		return err_say(e, EINVAL, "\"%s\": not the number of a descriptor", value);
	if (fcntl((int)fd, F_GETFD) < 0)
		return err_say(e, EBADF, "%s: this descriptor is not open", value);
	if (fcntl((int)fd, F_GETFD) & FD_CLOEXEC)
		return err_say(e, EINVAL, "%s: this descriptor is not yours to give", value);
	if (n->ntap_fds == ARRAY_LEN(n->tap_fds))
		return err_say(e, E2BIG, "too many; %zu fit", ARRAY_LEN(n->tap_fds));
	for (unsigned i = 0; i < n->ntap_fds; i++)
		if (n->tap_fds[i] == (int)fd)
			return err_say(e, EINVAL, "%s: given twice", value);
	n->tap_fds[n->ntap_fds++] = (int)fd;
	return 0;
}

static int add_card(struct config *c, const char *text, struct err *e)
{
	const struct device_type *type = device_type_find("net");
	char options[256];

	if (!type)
		return err_say(e, ENODEV, "networks are not built in: build with -Ddevices=net");
	snprintf(options, sizeof(options), "%s%s", text, c->net.vhost ? ",vhost" : "");
	return config_device_add(c, type, options, e);
}

static int add_tap_cards(struct config *c, struct err *e)
{
	for (unsigned i = 0; i < c->net.ntap_fds; i++) {
		char text[32];

		snprintf(text, sizeof(text), "tap-fd=%d", c->net.tap_fds[i]);
		if (add_card(c, text, e) < 0)
			return err_in(e, "--tap-fd");
	}
	return 0;
}

static int add_address_card(struct config *c, struct err *e)
{
	const struct config_net *n = &c->net;
	const uint8_t *m = n->mac.byte;
	char text[192];

	if (n->ntap_fds > 0)
		return err_say(e, EINVAL, "--tap-fd: a tap that is set up already, it goes without "
					  "--host_ip, --netmask and --mac");
	if (!n->host_ip || !n->netmask || !n->mac.is_set)
		return err_say(e, EINVAL, "--host_ip, --netmask and --mac go together: %s is "
					  "missing",
			       !n->host_ip ? "--host_ip" : !n->netmask ? "--netmask" : "--mac");
	snprintf(text, sizeof(text),
		 "host_ip=%.64s,netmask=%.64s,mac=%02x:%02x:%02x:%02x:%02x:%02x", n->host_ip,
		 n->netmask, m[0], m[1], m[2], m[3], m[4], m[5]);
	return add_card(c, text, e) < 0 ? err_in(e, "--host_ip") : 0;
}

int config_net_finish(struct config *c, struct err *e)
{
	const struct config_net *n = &c->net;
	bool has_address = n->host_ip || n->netmask || n->mac.is_set;

	if (has_address)
		return add_address_card(c, e);
	if (n->vhost && n->ntap_fds == 0)
		return err_say(e, EINVAL, "--vhost-net: for which card? it goes with --host_ip or "
					  "--tap-fd; else say --net ...,vhost");
	return add_tap_cards(c, e);
}

void config_net_fini(struct config_net *n)
{
	free(n->host_ip);
	free(n->netmask);
	*n = (struct config_net){0};
}
