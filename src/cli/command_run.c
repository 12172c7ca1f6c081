/* SPDX-License-Identifier: BSD-3-Clause */
/* command_run.c - crosvm run: a virtual machine, from its options to its exit code */
#include "cli/command.h"

#include "base/exit_codes.h"
#include "base/log.h"
#include "cli/first_steps.h"
#include "cli/rootfs.h"
#include "config/config.h"
#include "kvm/kvm.h"
#include "vm/journal.h"
#include "vm/machine.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

/* A root file system takes seconds to make: without KVM it is not begun. */
static int host_try(const struct config *config, struct err *e)
{
	struct kvm kvm;
	int r = config->rootfs.path ? kvm_open(&kvm, config->kvm_device, e) : 0;

	if (config->rootfs.path)
		kvm_close(&kvm);
	return r;
}

static int run_configured(struct config *config)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct err e = {0};
	int code = EXIT_CODE_ERROR;

	if (!m) {
		log_error("out of memory");
		return EXIT_CODE_ERROR;
	}
	log_level_set((enum log_level)config->log_level);
	log_guard();
	journal_start((enum syslog_use)config->syslog,
		      config->syslog_tag ? config->syslog_tag : "crosvm");
	if (host_try(config, &e) < 0) {
		log_error("%s", e.text);
		code = EXIT_CODE_HOST;
	} else if (rootfs_make(config, &e) < 0) {
		log_error("%s", e.text);
		code = EXIT_CODE_BUILD;
	} else {
		if (machine_build(m, config, &code, &e) == 0)
			code = machine_run(m);
		else if (e.text[0])
			log_error("%s", e.text);
		machine_fini(m);
	}
	free(m);
	journal_stop();
	return code;
}

int command_run(int argc, char **argv)
{
	enum { LARGE_BYTES = 8 * 1024 }; /* costs memory when used, not before; all is given back */
	static struct config config;
	static struct config_errors errors;
	int code = EXIT_CODE_USAGE;
	int r;

	mallopt(M_TOP_PAD, LARGE_BYTES); /* or it would come from a heap made in advance */
	mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
	r = config_parse(&config, argc, argv, &errors);
	if (r == CONFIG_RUN)
		code = run_configured(&config);
	else if (r == CONFIG_HELP)
		config_help(stdout);
	else if (r == CONFIG_DUMP)
		fputs(config.dump, stdout);
	for (unsigned i = 0; i < errors.n && i < CONFIG_ERRORS_MAX; i++)
		log_error("%s", errors.list[i].text);
	if (errors.n > CONFIG_ERRORS_MAX)
		log_error("and %u more errors", errors.n - CONFIG_ERRORS_MAX);
	if (errors.lacks_kernel && errors.n == 1)
		first_steps_print(stderr);
	config_fini(&config);
	return r == CONFIG_HELP || r == CONFIG_DUMP ? EXIT_CODE_OK : code;
}
