/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * build.c - from what the user asked for to a machine that is ready to run
 *
 * The stages stand in one table in the order they run in, each with the exit code of its failure.
 * Undoing is machine_fini()'s, which takes a machine in any state.
 */
#include "base/exit_codes.h"
#include "base/fd.h"
#include "base/leftover.h"
#include "config/names.h"
#include "vm/confine.h"
#include "vm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <unistd.h>

static int stage_loop(struct machine *m, struct err *e)
{
	int r = loop_init(&m->loop);

	return r < 0 ? err_set(e, -r, "cannot make the event loop") : 0;
}

static int stage_recorder(struct machine *m, struct err *e)
{
	return recorder_init(&m->recorder, m->config->cpus, e);
}

static int stage_postmortem(struct machine *m, struct err *e)
{
	return postmortem_init(&m->postmortem, &m->recorder, m->config->trace_file,
			       m->config->name, e);
}

static int stage_control(struct machine *m, struct err *e)
{
	if (!m->config->socket)
		return 0;
	if (m->config->name && vm_name_dir_make(e) < 0)
		return err_in(e, "--name");
	if (control_init(&m->control, &m->loop, m->config->socket, &machine_control_ops, m, e) < 0)
		return err_in(e, m->config->name ? "--name" : "--socket");
	return 0;
}

static int stage_kvm(struct machine *m, struct err *e)
{
	int r = kvm_open(&m->kvm, m->config->kvm_device, e);

	return r < 0 ? r : vm_init(&m->vm, &m->kvm, e);
}

static int stage_memory(struct machine *m, struct err *e)
{
	int r = arch_memory_new(&m->gmem, m->config->mem_bytes, &m->config->ram, e);

	if (r < 0)
		return err_in(e, "--mem");
	return vm_memory_set(&m->vm, &m->gmem, e);
}

static int stage_platform(struct machine *m, struct err *e)
{
	int r = arch_vm_init(&m->vm, e);

	if (r < 0)
		return r;
	r = vm_lines_route(&m->vm);
	if (r < 0)
		return err_set(e, -r, "KVM refuses the routes of interrupt lines");
	bus_init(&m->ports);
	bus_init(&m->mmio);
	arch_pci_layout(&m->gmem, &m->platform.pci);
	m->platform.has_pci = true;
	r = pci_bus_init(&m->pci, &m->platform.pci, &m->ports, &m->mmio, &m->vm.host, e);
	m->pci.functions_per_slot = (m->config->ndevices + PCI_SLOTS - 2) / (PCI_SLOTS - 1);
	return r;
}

static bool has_balloon(const struct config *c)
{
	for (unsigned i = 0; i < c->ndevices; i++)
		if (c->devices[i].virtio_id == VIRTIO_ID_BALLOON && !c->devices[i].socket)
			return true;
	return false;
}

static int stage_balloon(struct machine *m, struct err *e)
{
	if (!has_balloon(m->config))
		return 0;
	return balloon_init(&m->balloon, &m->loop, &m->config->balloon, gmem_size(&m->gmem),
			    &pressure_paths, e);
}

/* Which chips there are; the guest's tables say the same. */
static int stage_chips(struct machine *m, struct err *e)
{
	m->chip_events = machine_chip_events;
	m->chip_events.context = m;
	chips_init(&m->chips, &m->vm.host, &m->chip_events);
	m->chips.has_pvpanic = m->config->pvpanic;
	m->chips.has_debug_exit = m->config->debug_exit;
	m->pci.reset_control = &m->chips.pm.reset_control;
	m->platform.has_pvpanic = m->config->pvpanic;
	for (unsigned i = 0; i < ARCH_SERIAL_PORTS; i++)
		m->platform.serial_present[i] = m->chips.has_uart[i];
	return chips_add(&m->chips, &m->ports, e);
}

static void quit_typed(void *context)
{
	struct machine *m = context;

	m->is_unwanted = true;
	machine_end(m, EXIT_CODE_OK, "quit from the terminal");
}

/* The host's side, before the process that removes sockets at the end is made. */
static int stage_serial_open(struct machine *m, struct err *e)
{
	for (unsigned i = 0; i < m->config->nserial; i++) {
		struct serial_port *port = &m->serial_ports[i];

		if (serial_port_open(port, &m->config->serial[i], e) < 0)
			return err_in(e, "--serial");
		m->nserial_ports++;
		port->quit = quit_typed;
		port->quit_context = m;
	}
	return 0;
}

static int stage_serial_start(struct machine *m, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; i < m->nserial_ports && r == 0; i++) {
		struct uart8250 *uart = &m->chips.uarts[m->config->serial[i].com - 1];

		r = serial_port_start(&m->serial_ports[i], uart, &m->loop, e);
	}
	return r;
}

static int open_input(const char *option, const char *path, int *ret_fd, struct err *e)
{
	*ret_fd = open(path, O_RDONLY | O_CLOEXEC);
	return *ret_fd < 0 ? err_set(e, errno, "%s%s: cannot open", option, path) : 0;
}

static int stage_kernel(struct machine *m, struct err *e)
{
	auto_fd kernel = -1;
	auto_fd initrd = -1;
	struct arch_kernel k = {
		.path = m->config->kernel,
		.initrd_path = m->config->initrd,
		.cmdline = m->config->params,
	};
	int r = open_input("", k.path, &kernel, e);

	if (m->config->rootfs.initrd_fd >= 0)
		k.initrd_path = "the initial RAM disk of --rootfs";
	else if (r == 0 && k.initrd_path)
		r = open_input("--initrd ", k.initrd_path, &initrd, e);
	if (r < 0)
		return r;
	k.fd = kernel;
	k.initrd_fd = initrd >= 0 ? initrd : m->config->rootfs.initrd_fd;
	return arch_kernel_load(&k, &m->gmem, &m->entry, e);
}

static int stage_tables(struct machine *m, struct err *e)
{
	m->platform.ncpus = m->config->cpus;
	return arch_describe(&m->platform, &m->gmem, e);
}

static int stage_cpus(struct machine *m, struct err *e)
{
	const struct cpus_events events = {
		.ended = machine_cpu_ended,
		.thread_begins = confine_vcpu,
		.context = m,
	};
	unsigned n = m->config->cpus;
	int r = cpus_init(&m->cpus, &m->vm, n, &m->ports, &m->mmio, &events, e);

	if (r < 0)
		return err_in(e, "--cpus");
	for (unsigned i = 0; i < m->cpus.count; i++)
		m->cpus.cpu[i].trace = recorder_cpu_ring(&m->recorder, i);
	for (unsigned i = 0; i < n && r == 0; i++)
		r = arch_vcpu_init(&m->cpus.cpu[i].vcpu, i, n, &m->entry, &m->gmem, e);
	return r;
}

/* Made on the side until now; devices that are ready for them wait by themselves. */
static int stage_namespaces(struct machine *m, struct err *e)
{
	return m->devices.has_spawner ? spawner_finish(&m->devices.spawner, e) : 0;
}

static const struct {
	int (*build)(struct machine *m, struct err *e);
	int exit_code;
} stages[] = {
	{stage_recorder, EXIT_CODE_ERROR},
	{stage_postmortem, EXIT_CODE_BUILD},
	{stage_loop, EXIT_CODE_ERROR},
	{stage_serial_open, EXIT_CODE_BUILD},
	{stage_control, EXIT_CODE_BUILD},
	{devices_spawn, EXIT_CODE_BUILD},
	{stage_kvm, EXIT_CODE_HOST},
	{stage_memory, EXIT_CODE_HOST},
	{stage_platform, EXIT_CODE_HOST},
	{stage_balloon, EXIT_CODE_HOST},
	{stage_chips, EXIT_CODE_ERROR},
	{stage_serial_start, EXIT_CODE_BUILD},
	{stage_kernel, EXIT_CODE_BUILD},
	{devices_plug, EXIT_CODE_BUILD},
	{stage_tables, EXIT_CODE_BUILD},
	{stage_cpus, EXIT_CODE_HOST},
	{stage_namespaces, EXIT_CODE_BUILD},
};

int machine_build(struct machine *m, const struct config *config, int *ret_code, struct err *e)
{
	m->config = config; /* one by one: what is not used stays untouched, and costs no memory */
	m->signal_fd = -1;
	m->loop = (struct loop){.epoll_fd = -1, .stop_fd = -1};
	m->kvm.fd = -1;
	pthread_mutex_init(&m->end_lock, NULL);
	gmem_init(&m->gmem);
	for (unsigned i = 0; i < ARRAY_LEN(stages); i++) {
		int r = stages[i].build(m, e);

		*ret_code = stages[i].exit_code;
		if (r < 0 && e->text[0] == '\0' && stage_namespaces(m, e) < 0)
			return -e->code; /* that is why a device ended without a word */
		if (r < 0)
			return r;
	}
	return 0;
}

void machine_fini(struct machine *m)
{
	leftovers_remove(); /* unless confine() has left them to another process */
	cpus_fini(&m->cpus);
	control_fini(&m->control);
	balloon_fini(&m->balloon);
	devices_fini(m);
	for (unsigned i = 0; i < m->nserial_ports; i++)
		serial_port_fini(&m->serial_ports[i]);
	chips_fini(&m->chips);
	pci_bus_fini(&m->pci);
	bus_fini(&m->ports);
	bus_fini(&m->mmio);
	vm_fini(&m->vm);
	gmem_fini(&m->gmem);
	kvm_close(&m->kvm);
	fd_close(&m->signal_fd);
	loop_fini(&m->loop);
	recorder_fini(&m->recorder);
	free(m->vcpu_filter);
	pthread_mutex_destroy(&m->end_lock);
}
