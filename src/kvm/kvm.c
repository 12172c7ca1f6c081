/* SPDX-License-Identifier: BSD-3-Clause */
/* kvm.c - /dev/kvm itself: version and capabilities */
#include "kvm/kvm.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

/* Why opening failed, with what mends it. */
static int open_failed(const char *path, int errnum, struct err *e)
{
	switch (errnum) {
	case EACCES:
	case EPERM:
		return err_say(e, errnum,
			       "%s: permission denied; join its group (usermod -aG kvm $USER) and "
			       "log in again",
			       path);
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return err_say(e, errnum,
			       "%s: not there; load kvm-intel or kvm-amd (modprobe), and enable "
			       "virtualization in the firmware or in the outer hypervisor",
			       path);
	case EISDIR:
	case ENOTDIR:
		return err_say(e, errnum, "%s: not a KVM device", path);
	default:
		return err_set(e, errnum, "%s: cannot open", path);
	}
}

int kvm_open(struct kvm *k, const char *path, struct err *e)
{
	auto_fd fd = open(path, O_RDWR | O_CLOEXEC);
	int version, bytes;

	*k = (struct kvm){.fd = -1};
	if (fd < 0)
		return open_failed(path, errno, e);
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version < 0)
		return err_say(e, ENOTTY, "%s: not a KVM device", path);
	if (version != KVM_API_VERSION)
		return err_say(e, EPROTO, "%s: speaks KVM API version %d, not %d", path, version,
			       KVM_API_VERSION);
	bytes = ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (bytes < (int)sizeof(struct kvm_run))
		return err_say(e, EPROTO, "%s: vCPU area of %d bytes is too small", path, bytes);
	k->run_bytes = (size_t)bytes;
	k->fd = fd_take(&fd);
	return 0;
}

void kvm_close(struct kvm *k)
{
	if (k)
		fd_close(&k->fd);
}

int kvm_capability(const struct kvm *k, int capability)
{
	int r = ioctl(k->fd, KVM_CHECK_EXTENSION, (long)capability);

	return r < 0 ? 0 : r;
}
