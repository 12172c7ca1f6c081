/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * jail.c - the third of open, jail, serve
 *
 * The order matters:
 *
 *  1  read the policy and compile the filter, while there are files;
 *  2  join the empty namespaces (or make some): needs CAP_SYS_ADMIN where they were made;
 *  3  as root, become nobody, keeping that one capability over the change;
 *  4  enter a user namespace of our own: no rights over anything outside are left, and full rights
 *     inside, which serve to
 *  5  empty the bounding set, lock the securebits and drop all capabilities;
 *  6  set what a change of identity had reset (parent death signal, not dumpable), the limits;
 *  7  start threads, if there will be any; then no more processes;
 *  8  load the filter for all threads.
 */
#include "jail/jail.h"

#include "base/fd.h"
#include "jail/caps.h"
#include "jail/filter.h"
#include "jail/ns.h"
#include "jail/policy.h"
#include "jail/rules.h"
#include "jail/spawn.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { NOBODY = 65534 };

struct jail_ns jail_ns_spawned = {.fd = SPAWN_FD_NS};

static int rules_load(struct rules *r, const struct jail_config *config, struct err *e)
{
	int ret;

	if (config->policy_path)
		return policy_read(r, config->policy_path, e);
	ret = rules_calls_add(r, seccomp_common, e);
	if (ret == 0 && config->calls)
		ret = rules_calls_add(r, config->calls, e);
	return ret;
}

static struct filter *filter_prepare(const struct jail_config *config, struct err *e)
{
	struct rules *r = rules_new(names_arch_native());
	struct filter *f = NULL;

	if (!r) {
		err_set(e, ENOMEM, "cannot build the system call filter");
		return NULL;
	}
	if (rules_load(r, config, e) == 0)
		f = seccomp_compile(r, e);
	free(r);
	return f;
}

static int namespaces_join(struct jail_ns *ns, const struct jail_config *config, struct err *e)
{
	int r = ns_made_join(ns, !config->keep_root, !config->keep_network, e);

	fd_close(&ns->fd);
	return r;
}

/* A process that nobody prepared anything for, such as a device started by hand. */
static int namespaces_make(const struct jail_config *config, struct err *e)
{
	int r = 0;

	if (config->keep_root && config->keep_network)
		return 0;
	if (geteuid() != 0)
		r = ns_user_enter(e);
	if (r == 0)
		r = ns_empty_enter(!config->keep_root, !config->keep_network, e);
	return r;
}

/*
 * Root's way to an ordinary identity; CAP_SYS_ADMIN stays for one more step.  Where there is no
 * such identity, in a user namespace with few ids, root is the ordinary user who made that.
 */
static int nobody_become(struct err *e)
{
	const uint64_t admin = CAP_BIT(CAP_SYS_ADMIN);
	int r;

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return err_set(e, errno, "cannot keep capabilities");
	if (setresgid(NOBODY, NOBODY, NOBODY) < 0 && errno == EINVAL)
		return 0;
	if (getegid() != NOBODY || setgroups(0, NULL) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return err_set(e, errno, "cannot become user %d", NOBODY);
	r = caps_set(admin, admin, 0);
	return r < 0 ? err_set(e, -r, "cannot drop capabilities") : 0;
}

static int identity_leave(struct err *e)
{
	int r = 0;

	if (geteuid() == 0)
		r = nobody_become(e);
	if (r == 0)
		r = ns_user_seal(e);
	if (r < 0)
		return r;
	r = caps_drop_all();
	if (r < 0)
		return err_set(e, -r, "cannot drop capabilities");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(e, errno, "cannot set no_new_privs");
	return 0;
}

static int limit_lower(int resource, rlim_t limit, struct err *e)
{
	struct rlimit old;

	if (getrlimit((__rlimit_resource_t)resource, &old) < 0)
		return err_set(e, errno, "cannot read limit %d", resource);
	if (limit > old.rlim_max)
		limit = old.rlim_max;
	if (setrlimit((__rlimit_resource_t)resource, &(struct rlimit){limit, limit}) < 0)
		return err_set(e, errno, "cannot set limit %d", resource);
	return 0;
}

static int limits_set(const struct jail_config *config, struct err *e)
{
	rlim_t fds = config->max_fds ? config->max_fds : JAIL_MAX_FDS;
	int r = limit_lower(RLIMIT_CORE, 0, e);

	if (r == 0)
		r = limit_lower(RLIMIT_NOFILE, fds, e);
	if (r == 0 && !config->writes_files)
		r = limit_lower(RLIMIT_FSIZE, JAIL_FILE_MAX, e);
	return r;
}

/* What a change of credentials clears. */
static int attributes_set(int death_signal, struct err *e)
{
	if (prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) < 0)
		return err_set(e, errno, "cannot set the parent death signal");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_set(e, errno, "cannot make the process undumpable");
	return 0;
}

static int walls_raise(const struct jail_config *config, struct err *e)
{
	int death_signal = 0;
	int r;

	if (prctl(PR_GET_PDEATHSIG, &death_signal, 0, 0, 0) < 0)
		return err_set(e, errno, "cannot read the parent death signal");
	if (config->ns)
		r = namespaces_join(config->ns, config, e);
	else
		r = namespaces_make(config, e);
	if (r == 0)
		r = identity_leave(e);
	if (r == 0)
		r = attributes_set(death_signal, e);
	if (r == 0)
		r = limits_set(config, e);
	return r;
}

int jail_enter(const struct jail_config *config, struct err *e)
{
	struct filter *f = filter_prepare(config, e);
	int r;

	if (!f)
		return err_in(e, "jail of %s", config->name);
	r = walls_raise(config, e);
	if (r == 0 && config->before_filter)
		r = config->before_filter(config->context, e);
	if (r == 0 && !config->kernel_threads)
		r = limit_lower(RLIMIT_NPROC, 0, e);
	if (r == 0)
		r = seccomp_report_to(config->name, config->report_fd, e);
	if (r == 0)
		r = seccomp_load_take(f, true, e);
	else
		free(f);
	return r < 0 ? err_in(e, "jail of %s", config->name) : 0;
}
