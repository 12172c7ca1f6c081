/* SPDX-License-Identifier: BSD-3-Clause */
/* virtio_pci_test.c - registers, doorbells, interrupts, the access capability */
#include "base/fd.h"
#include "transport/rig_test.h"
#include "virtio/ids.h"

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Where things are, as the capabilities say; see capabilities_describe_the_bar. */
#define COMMON RIG_MEM32
#define ISR    (RIG_MEM32 + 0x1000)
#define CONFIG (RIG_MEM32 + 0x2000)
#define NOTIFY (RIG_MEM32 + 0x3000)
#define TABLE  (RIG_MEM32 + 0x4000)
#define PBA    (RIG_MEM32 + 0x5000)

enum {
	GSI = 17,
	MESSAGE = 0xfee00000,
	STATUS_DRIVER = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER,
	STATUS_FEATURES = STATUS_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK,
	STATUS_READY = STATUS_FEATURES | VIRTIO_CONFIG_S_DRIVER_OK,
};

static struct virtio_pci v;

static int set_up(void **state)
{
	(void)state;
	rig_init(rig_lost);
	rig_pci_init(&v);
	rig_attach();
	(void)frontend_features(&f); /* waits for it */
	return frontend_is_linked(&f) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	rig_pci_fini(&v);
	rig_fini();
	return 0;
}

static uint64_t in(uint64_t address, unsigned size)
{
	uint64_t value = 0;

	bus_read(&mmio, address, &value, size);
	return value;
}

static void out(uint64_t address, unsigned size, uint64_t value)
{
	bus_write(&mmio, address, &value, size);
}

static uint32_t config_in(unsigned at, unsigned size)
{
	return (uint32_t)pci_config_read(&pci, 1, 0, at, size);
}

static void config_out(unsigned at, unsigned size, uint32_t value)
{
	pci_config_write(&pci, 1, 0, at, size, value);
}

static void accept_features(uint64_t features)
{
	out(COMMON + VIRTIO_PCI_COMMON_STATUS, 1, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	out(COMMON + VIRTIO_PCI_COMMON_STATUS, 1, STATUS_DRIVER);
	for (unsigned word = 0; word < 2; word++) {
		out(COMMON + VIRTIO_PCI_COMMON_GFSELECT, 4, word);
		out(COMMON + VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> (32 * word)));
	}
	out(COMMON + VIRTIO_PCI_COMMON_STATUS, 1, STATUS_FEATURES);
}

static void enable_queue(unsigned q, uint16_t vector)
{
	out(COMMON + VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
	out(COMMON + VIRTIO_PCI_COMMON_Q_SIZE, 2, 16);
	out(COMMON + VIRTIO_PCI_COMMON_Q_MSIX, 2, vector);
	out(COMMON + VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x10000 * (q + 1));
	out(COMMON + VIRTIO_PCI_COMMON_Q_DESCHI, 4, 0);
	out(COMMON + VIRTIO_PCI_COMMON_Q_AVAILLO, 8, 0x10000 * (q + 1) + 0x1000);
	out(COMMON + VIRTIO_PCI_COMMON_Q_USEDLO, 4, 0x10000 * (q + 1) + 0x2000);
	out(COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

static void unmask(unsigned vector, bool masked)
{
	out(TABLE + 16 * vector, 4, MESSAGE);
	out(TABLE + 16 * vector + 8, 4, 0x30 + vector);
	out(TABLE + 16 * vector + 12, 4, masked);
}

static void msix_control(uint16_t bits)
{
	config_out(v.msix.capability + PCI_MSIX_FLAGS, 2, bits);
}

/* Vector 0 for the configuration, 1 and 2 for two queues. */
static void start_with_msix(void)
{
	msix_control(PCI_MSIX_FLAGS_ENABLE);
	for (unsigned vector = 0; vector < 3; vector++)
		unmask(vector, false);
	accept_features(VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_RING_RESET));
	out(COMMON + VIRTIO_PCI_COMMON_MSIX, 2, 0);
	enable_queue(0, 1);
	enable_queue(1, 2);
	out(COMMON + VIRTIO_PCI_COMMON_STATUS, 1, STATUS_READY);
}

static void start_with_line(void)
{
	accept_features(VIRTIO_BIT(VIRTIO_F_VERSION_1));
	enable_queue(0, VIRTIO_MSI_NO_VECTOR);
	out(COMMON + VIRTIO_PCI_COMMON_STATUS, 1, STATUS_READY);
}

/* What the device does when it has used buffers. */
static void call(unsigned q)
{
	fd_signal(device.vrings[q].call_fd);
}

/* ---- identity ---- */

static void the_function_is_a_modern_virtio_device(void **state)
{
	(void)state;
	assert_int_equal(config_in(PCI_VENDOR_ID, 2), 0x1af4);
	assert_int_equal(config_in(PCI_DEVICE_ID, 2), 0x1040 + VIRTIO_ID_BLOCK);
	assert_int_equal(config_in(PCI_REVISION_ID, 1), 1);
	assert_int_equal(config_in(PCI_CLASS_DEVICE, 2), 0x0100);
}

static void check_capability(unsigned at, unsigned type, uint64_t offset, unsigned size)
{
	assert_int_equal(config_in(at + VIRTIO_PCI_CAP_CFG_TYPE, 1), type);
	assert_int_equal(config_in(at + VIRTIO_PCI_CAP_BAR, 1), 0);
	assert_int_equal(config_in(at + VIRTIO_PCI_CAP_OFFSET, 4), offset - RIG_MEM32);
	assert_int_equal(config_in(at + VIRTIO_PCI_CAP_LENGTH, 4), size);
}

static void capabilities_describe_the_bar(void **state)
{
	unsigned at[5], n = 0;

	(void)state;
	for (unsigned c = config_in(PCI_CAPABILITY_LIST, 1); c; c = config_in(c + 1, 1))
		if (config_in(c, 1) == PCI_CAP_ID_VNDR && n < 5)
			at[n++] = c;
	assert_int_equal(n, 5);
	check_capability(at[0], VIRTIO_PCI_CAP_COMMON_CFG, COMMON, 0x3c);
	check_capability(at[1], VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY, 4 * RIG_QUEUES);
	assert_int_equal(config_in(at[1] + 16, 4), 4);
	check_capability(at[2], VIRTIO_PCI_CAP_ISR_CFG, ISR, 1);
	check_capability(at[3], VIRTIO_PCI_CAP_DEVICE_CFG, CONFIG, 16);
	check_capability(at[4], VIRTIO_PCI_CAP_PCI_CFG, RIG_MEM32, 0);
	assert_int_equal(config_in(v.msix.capability + 4, 4), TABLE - RIG_MEM32);
	assert_int_equal(config_in(v.msix.capability + 8, 4), PBA - RIG_MEM32);
}

/* ---- common structure ---- */

static void features_are_read_by_word(void **state)
{
	(void)state;
	out(COMMON + VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_DF, 4), (uint32_t)frontend_features(&f));
	out(COMMON + VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_DF, 4), frontend_features(&f) >> 32);
	out(COMMON + VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_DF, 4), 0);
	out(COMMON + VIRTIO_PCI_COMMON_DFSELECT, 4, UINT32_MAX);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_DF, 4), 0);
}

static void the_device_starts_through_registers(void **state)
{
	(void)state;
	start_with_msix();
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_STATUS, 1), STATUS_READY);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_NUMQ, 2), RIG_QUEUES);
	assert_int_equal(device.vrings[1].desc, 0x20000);
	assert_int_equal(device.vrings[1].avail, 0x21000);
	assert_int_equal(device.vrings[1].used, 0x22000);
	out(COMMON + VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_SIZE, 2), 16);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_NOFF, 2), 1);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_USEDLO, 8), 0x22000);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_USEDHI, 4), 0);
}

static void queue_registers_do_not_change_after_activation(void **state)
{
	(void)state;
	start_with_msix();
	out(COMMON + VIRTIO_PCI_COMMON_Q_SIZE, 2, 8);
	out(COMMON + VIRTIO_PCI_COMMON_Q_DESCHI, 4, 1);
	out(COMMON + VIRTIO_PCI_COMMON_Q_USEDLO, 8, 0);
	out(COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_SIZE, 2), 16);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0x20000);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_USEDLO, 8), 0x22000);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}

static void a_queue_out_of_range_is_nothing(void **state)
{
	(void)state;
	out(COMMON + VIRTIO_PCI_COMMON_Q_SELECT, 2, 0xffff);
	out(COMMON + VIRTIO_PCI_COMMON_Q_MSIX, 2, 0);
	out(COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_SELECT, 2), 0xffff);
}

static void odd_sized_register_accesses_are_defined(void **state)
{
	(void)state;
	out(COMMON + VIRTIO_PCI_COMMON_STATUS, 1, STATUS_DRIVER);
	out(COMMON + VIRTIO_PCI_COMMON_STATUS, 2, 0);   /* too wide */
	out(COMMON + VIRTIO_PCI_COMMON_DFSELECT, 2, 1); /* too narrow */
	out(COMMON + VIRTIO_PCI_COMMON_GFSELECT, 8, 1); /* not a 64-bit field */
	out(COMMON + VIRTIO_PCI_COMMON_Q_SELECT + 1, 1, 1);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_STATUS, 1), STATUS_DRIVER);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_DFSELECT, 4), 0);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_SELECT, 2), 0);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_NUMQ, 4),
			 RIG_QUEUES | STATUS_DRIVER << 16 |
				 (uint32_t)frontend_generation(&f) << 24);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_SIZE + 1, 1), 0);
	assert_int_equal(in(COMMON + 0x3a, 8), 0); /* behind the end */
	assert_int_equal(in(COMMON + 0xffc, 4), 0);
	assert_int_equal(in(PBA + 0x2ffc, 4), 0);
	out(COMMON + 0xff8, 8, UINT64_MAX);
}

static void configuration_is_the_devices(void **state)
{
	(void)state;
	assert_int_equal(in(CONFIG + 4, 4), 0x07060504);
	assert_int_equal(in(CONFIG + 3, 2), 0x0403);
	assert_int_equal(in(CONFIG + 16, 4), 0);
	out(CONFIG + 2, 1, 0x77);
	assert_int_equal(device.config[2], 0x77);
}

/* ---- doorbells ---- */

static void doorbells_follow_the_bar(void **state)
{
	(void)state;
	assert_int_equal(host.ndoorbells, 0);
	start_with_msix();
	assert_int_equal(host.ndoorbells, 2);
	assert_int_equal(fake_host_doorbell(&host, NOTIFY, 0), f.queues[0].kick_fd);
	assert_int_equal(fake_host_doorbell(&host, NOTIFY + 4, 1), f.queues[1].kick_fd);
	config_out(PCI_BASE_ADDRESS_0, 4, RIG_MEM32 + 0x100000);
	assert_int_equal(host.ndoorbells, 2);
	assert_int_equal(fake_host_doorbell(&host, NOTIFY, 0), -1);
	assert_int_equal(fake_host_doorbell(&host, NOTIFY + 0x100000, 0), f.queues[0].kick_fd);
	config_out(PCI_COMMAND, 2, 0);
	assert_int_equal(host.ndoorbells, 0);
	config_out(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(host.ndoorbells, 2);
	out(COMMON + 0x100000 + VIRTIO_PCI_COMMON_STATUS, 1, 0);
	assert_int_equal(host.ndoorbells, 0);
}

static void notifications_that_exit_are_passed_on(void **state)
{
	(void)state;
	out(NOTIFY + 4 * 3, 2, 3);
	out(NOTIFY + 4 * RIG_QUEUES, 2, 0);
	out(NOTIFY + 0xffe, 2, 0);
	assert_int_equal(fd_drain(f.queues[3].kick_fd), 1);
	assert_int_equal(in(NOTIFY, 4), 0);
}

/* ---- interrupts ---- */

static void open_vectors_are_bound_to_calls(void **state)
{
	(void)state;
	start_with_msix();
	assert_int_equal(host.nirqfds, 2);
	assert_int_equal(fake_host_irqfd(&host, f.queues[0].call_fd), v.msix.vectors[1].gsi);
	assert_int_equal(fake_host_irqfd(&host, f.queues[1].call_fd), v.msix.vectors[2].gsi);
	assert_int_equal(host.routes[v.msix.vectors[2].gsi].data, 0x32);
}

static void calls_of_masked_vectors_become_pending(void **state)
{
	(void)state;
	start_with_msix();
	unmask(1, true);
	assert_int_equal(host.nirqfds, 1);
	call(0);
	assert_int_equal(in(PBA, 8), 1 << 1); /* without the loop having run */
	rig_run();
	assert_int_equal(host.nsent, 0);
	unmask(1, false);
	assert_int_equal(host.nsent, 1);
	assert_int_equal(host.sent_data, 0x31);
	assert_int_equal(in(PBA, 8), 0);
	assert_int_equal(host.nirqfds, 2);
}

static void calls_heard_by_nobody_yet_are_not_lost(void **state)
{
	(void)state;
	start_with_msix();
	msix_control(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	assert_int_equal(host.nirqfds, 0);
	call(1);
	msix_control(PCI_MSIX_FLAGS_ENABLE); /* before anybody looked */
	assert_int_equal(host.nsent, 1);
	assert_int_equal(host.sent_data, 0x32);
}

static void vectors_are_shared(void **state)
{
	(void)state;
	start_with_msix();
	out(COMMON + VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	out(COMMON + VIRTIO_PCI_COMMON_Q_MSIX, 2, 2);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_MSIX, 2), 2);
	assert_int_equal(fake_host_irqfd(&host, f.queues[0].call_fd), v.msix.vectors[2].gsi);
	assert_int_equal(fake_host_irqfd(&host, f.queues[1].call_fd), v.msix.vectors[2].gsi);
}

static void vectors_out_of_range_are_refused(void **state)
{
	(void)state;
	start_with_msix();
	out(COMMON + VIRTIO_PCI_COMMON_MSIX, 2, RIG_QUEUES + 1);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	out(COMMON + VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	out(COMMON + VIRTIO_PCI_COMMON_Q_MSIX, 2, 0x1000);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	assert_int_equal(fake_host_irqfd(&host, f.queues[0].call_fd), -1);
	call(0);
	rig_run();
	assert_int_equal(host.nsent, 0);
	assert_int_equal(in(ISR, 1), 0);
}

static void without_routes_interrupts_take_the_long_way(void **state)
{
	(void)state;
	host.msi_limit = 0;
	start_with_msix();
	assert_int_equal(host.nirqfds, 0);
	call(0);
	rig_run();
	assert_int_equal(host.nsent, 1);
	assert_int_equal(host.sent_data, 0x31);
}

static void a_changed_configuration_interrupts(void **state)
{
	uint8_t generation = (uint8_t)in(COMMON + VIRTIO_PCI_COMMON_CFGGENERATION, 1);

	(void)state;
	start_with_msix();
	device.config[3] = 0x99;
	assert_true(fake_device_tell(&device, VU_BACKEND_CONFIG_CHANGE));
	assert_int_equal(loop_once(&loop, 1000), 0);
	rig_run();
	assert_int_equal(host.nsent, 1);
	assert_int_equal(host.sent_data, 0x30);
	assert_int_not_equal(in(COMMON + VIRTIO_PCI_COMMON_CFGGENERATION, 1), generation);
	assert_int_equal(in(CONFIG + 3, 1), 0x99);
	assert_true(fake_device_was_heard(&device));
}

static void without_msix_calls_raise_the_line(void **state)
{
	(void)state;
	start_with_line();
	call(0);
	rig_run();
	assert_true(host.level[GSI]);
	assert_int_equal(in(ISR, 1), 1);
	assert_false(host.level[GSI]);
	assert_int_equal(in(ISR, 1), 0);
	fd_signal(device.vrings[0].err_fd);
	rig_run();
	assert_true(host.level[GSI]);
	assert_int_equal(in(ISR, 4), 2);
	assert_false(host.level[GSI]);
}

static void the_line_falls_when_msix_takes_over(void **state)
{
	(void)state;
	start_with_line();
	call(0);
	rig_run();
	assert_true(host.level[GSI]);
	msix_control(PCI_MSIX_FLAGS_ENABLE);
	assert_false(host.level[GSI]);
}

/* ---- resets ---- */

static void reset_in_the_middle_of_requests_forgets_interrupts(void **state)
{
	(void)state;
	start_with_msix();
	unmask(1, true);
	call(0);
	rig_run();
	out(COMMON + VIRTIO_PCI_COMMON_STATUS, 1, 0);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_STATUS, 1), 0);
	assert_int_equal(device.count[VU_GET_VRING_BASE], 2);
	assert_int_equal(host.nirqfds, 0);
	assert_int_equal(in(PBA, 8), 0);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	start_with_msix();
	assert_int_equal(host.nsent, 0);
	assert_int_equal(host.nirqfds, 2);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_STATUS, 1), STATUS_READY);
}

static void reset_lets_the_line_go(void **state)
{
	(void)state;
	start_with_line();
	call(0);
	rig_run();
	call(0);
	out(COMMON + VIRTIO_PCI_COMMON_STATUS, 1, 0);
	assert_false(host.level[GSI]);
	rig_run();
	assert_false(host.level[GSI]);
}

static void one_queue_is_reset(void **state)
{
	(void)state;
	start_with_msix();
	out(COMMON + VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	out(COMMON + 0x3a, 2, 1);
	assert_int_equal(in(COMMON + 0x3a, 2), 0);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_SIZE, 2), 64);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	assert_int_equal(host.ndoorbells, 1);
	assert_int_equal(host.nirqfds, 1);
	enable_queue(0, 1);
	assert_int_equal(host.ndoorbells, 2);
	assert_int_equal(host.nirqfds, 2);
	assert_int_equal(device.count[VU_SET_VRING_ADDR], 3);
}

static void queue_reset_has_to_be_agreed(void **state)
{
	(void)state;
	start_with_line();
	out(COMMON + 0x3a, 2, 1);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
}

static void a_device_that_is_no_bus_master_any_more_stops(void **state)
{
	(void)state;
	config_out(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	start_with_msix();
	config_out(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_false(device.vrings[0].enabled || device.vrings[1].enabled);
	config_out(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_true(device.vrings[0].enabled && device.vrings[1].enabled);
}

static void a_driver_need_not_make_it_bus_master(void **state)
{
	(void)state;
	config_out(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	start_with_msix();
	assert_true(device.vrings[0].enabled);
}

/* ---- the access capability ---- */

static void aim(unsigned bar, uint32_t offset, uint32_t size)
{
	config_out(v.config_access + VIRTIO_PCI_CAP_BAR, 1, bar);
	config_out(v.config_access + VIRTIO_PCI_CAP_OFFSET, 4, offset);
	config_out(v.config_access + VIRTIO_PCI_CAP_LENGTH, 4, size);
}

static void registers_are_reached_through_configuration_space(void **state)
{
	unsigned data = v.config_access + sizeof(struct virtio_pci_cap);

	(void)state;
	aim(0, VIRTIO_PCI_COMMON_STATUS, 1);
	config_out(data, 1, STATUS_DRIVER);
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_STATUS, 1), STATUS_DRIVER);
	assert_int_equal(config_in(data, 1), STATUS_DRIVER);
	aim(0, CONFIG - RIG_MEM32, 4);
	assert_int_equal(config_in(data, 4), 0x03020100);
	aim(0, NOTIFY - RIG_MEM32 + 4, 2);
	config_out(data, 2, 1);
	assert_int_equal(fd_drain(f.queues[1].kick_fd), 1);
}

static void the_access_window_cannot_leave_the_bar(void **state)
{
	const struct {
		unsigned bar;
		uint32_t offset, size;
	} aims[] = {{1, 0, 4}, {0, 0x8000, 4}, {0, 0x7ffe, 4},     {0, UINT32_MAX, 1}, {0, 0, 0},
		    {0, 0, 3}, {0, 2, 4},      {0, 0, UINT32_MAX}, {0, 0, 8}};
	unsigned data = v.config_access + sizeof(struct virtio_pci_cap);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(aims); i++) {
		aim(aims[i].bar, aims[i].offset, aims[i].size);
		config_out(data, 4, 0x12345678);
		assert_int_equal(config_in(data, 4), 0x12345678);
	}
	assert_int_equal(in(COMMON + VIRTIO_PCI_COMMON_DFSELECT, 4), 0);
}

/* ---- restart ---- */

static void interrupts_and_doorbells_outlive_the_device(void **state)
{
	struct fake_device next;
	struct err e;

	(void)state;
	start_with_msix();
	frontend_detach(&f);
	fake_device_init(&next);
	assert_int_equal(frontend_attach_take(&f, fake_device_start(&next), &e), 0);
	while (f.state != FRONTEND_LINKED)
		assert_int_equal(loop_once(&loop, 1000), 0);
	assert_int_equal(host.nirqfds, 2);
	assert_int_equal(host.ndoorbells, 2);
	assert_true(next.vrings[1].enabled);
	frontend_detach(&f);
	fake_device_fini(&next);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(the_function_is_a_modern_virtio_device),
		T(capabilities_describe_the_bar),
		T(features_are_read_by_word),
		T(the_device_starts_through_registers),
		T(queue_registers_do_not_change_after_activation),
		T(a_queue_out_of_range_is_nothing),
		T(odd_sized_register_accesses_are_defined),
		T(configuration_is_the_devices),
		T(doorbells_follow_the_bar),
		T(notifications_that_exit_are_passed_on),
		T(open_vectors_are_bound_to_calls),
		T(calls_of_masked_vectors_become_pending),
		T(calls_heard_by_nobody_yet_are_not_lost),
		T(vectors_are_shared),
		T(vectors_out_of_range_are_refused),
		T(without_routes_interrupts_take_the_long_way),
		T(a_changed_configuration_interrupts),
		T(without_msix_calls_raise_the_line),
		T(the_line_falls_when_msix_takes_over),
		T(reset_in_the_middle_of_requests_forgets_interrupts),
		T(reset_lets_the_line_go),
		T(one_queue_is_reset),
		T(queue_reset_has_to_be_agreed),
		T(a_device_that_is_no_bus_master_any_more_stops),
		T(a_driver_need_not_make_it_bus_master),
		T(registers_are_reached_through_configuration_space),
		T(the_access_window_cannot_leave_the_bar),
		T(interrupts_and_doorbells_outlive_the_device),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
