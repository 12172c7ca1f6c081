/* SPDX-License-Identifier: BSD-3-Clause */
/* kernel_file.c - the file that a kernel comes in */
#include "arch/x86_64/kernel_file.h"

#include "base/fd.h"
#include "base/num.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int kernel_file_init(struct kernel_file *f, const char *path, int fd, struct err *e)
{
	struct stat st;
	off_t size;
	int r;

	memset(f, 0, sizeof(*f)); /* too large for a copy on the stack */
	f->path = path;
	f->fd = fd;
	if (fstat(fd, &st) < 0)
		return err_set(e, errno, "%s", path);
	if (S_ISDIR(st.st_mode))
		return err_set(e, EISDIR, "%s", path);
	size = lseek(fd, 0, SEEK_END);
	if (size < 0)
		return err_say(e, EINVAL, "%s: not a file that can be read from any position",
			       path);
	f->size = (uint64_t)size;
	f->head_bytes = (size_t)min_u64(f->size, KERNEL_HEAD_BYTES);
	r = fd_pread_all(fd, f->head, f->head_bytes, 0);
	return r < 0 ? err_set(e, -r, "%s: cannot read", path) : 0;
}

static int truncated(const struct kernel_file *f, uint64_t at, uint64_t n, const char *what,
		     struct err *e)
{
	return err_say(e, EINVAL,
		       "%s: truncated: %s of %llu bytes at offset %llu lies beyond the file's %llu "
		       "bytes",
		       f->path, what, (unsigned long long)n, (unsigned long long)at,
		       (unsigned long long)f->size);
}

int kernel_file_read(const struct kernel_file *f, uint64_t at, void *buf, size_t n,
		     const char *what, struct err *e)
{
	int r;

	if (!is_inside(at, n, f->size))
		return truncated(f, at, n, what, e);
	if (is_inside(at, n, f->head_bytes)) {
		memcpy(buf, f->head + at, n);
		return 0;
	}
	r = fd_pread_all(f->fd, buf, n, at);
	return r < 0 ? err_set(e, -r, "%s: cannot read %s", f->path, what) : 0;
}

int kernel_file_load(const struct kernel_file *f, uint64_t at, uint64_t n, struct gmem *m, gpa to,
		     const char *what, struct err *e)
{
	int r;

	if (!is_inside(at, n, f->size))
		return truncated(f, at, n, what, e);
	r = gmem_load(m, to, n, f->fd, at);
	if (r == -EFAULT)
		return err_say(
			e, ENOMEM,
			"%s: %s of %llu bytes does not fit at 0x%llx: more memory (-m) is needed",
			f->path, what, (unsigned long long)n, (unsigned long long)to);
	return r < 0 ? err_set(e, -r, "%s: cannot read %s", f->path, what) : 0;
}

static const struct {
	unsigned at, n;
	const char *bytes, *kind;
} kinds[] = {
	{0x38, 4, "ARM\x64", "an aarch64 kernel image"},
	{0x30, 4, "RISC", "a RISC-V kernel image"},
	{0, 2, "\x1f\x8b", "a gzip file (decompress it first: zcat)"},
	{0, 5,
	 "\xfd"
	 "7zXZ",
	 "an xz file (decompress it first: xzcat)"},
	{0, 4, "\x28\xb5\x2f\xfd", "a zstd file (decompress it first: zstdcat)"},
	{0, 3, "BZh", "a bzip2 file (decompress it first: bzcat)"},
	{0, 4, "\x04\x22\x4d\x18", "an LZ4 file (decompress it first: lz4cat)"},
	{0, 4, "\x02\x21\x4c\x18", "an LZ4 file (decompress it first: lz4cat)"},
	{0, 5, "\x89LZO\0", "an LZO file (decompress it first: lzop -dc)"},
	{0, 4, "\x5d\0\0\0", "an LZMA file (decompress it first: unlzma -c)"},
	{0, 4, "hsqs", "a squashfs image (a disk, not a kernel)"},
	{0x438, 2, "\x53\xef", "an ext2/3/4 image (a disk, not a kernel)"},
	{0, 4, "QFI\xfb", "a qcow2 image (a disk, not a kernel)"},
	{0, 6, "070701", "a cpio archive (an initrd, not a kernel)"},
	{0, 6, "070702", "a cpio archive (an initrd, not a kernel)"},
	{0, 8, "!<arch>\n", "an archive or Debian package (unpack it: dpkg-deb -x)"},
	{0, 4, "\xed\xab\xee\xdb", "an RPM package"},
	{0, 4, "\xd0\x0d\xfe\xed", "a flattened device tree or FIT image"},
	{0, 4, "\x27\x05\x19\x56", "a U-Boot image"},
	{0, 2, "#!", "a script"},
	{0, 2, "MZ", "a DOS or EFI program without Linux's setup header"},
};

static bool is_text(const struct kernel_file *f)
{
	for (size_t i = 0; i < f->head_bytes; i++)
		if (!isprint(f->head[i]) && !isspace(f->head[i]))
			return false;
	return true;
}

static bool is_zero(const struct kernel_file *f)
{
	for (size_t i = 0; i < f->head_bytes; i++)
		if (f->head[i] != 0)
			return false;
	return true;
}

const char *kernel_file_kind(const struct kernel_file *f)
{
	if (f->size == 0)
		return "an empty file";
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++)
		if (memcmp(f->head + kinds[i].at, kinds[i].bytes, kinds[i].n) == 0)
			return kinds[i].kind;
	if (is_zero(f))
		return "a file of zeros";
	if (is_text(f))
		return "a text file";
	return "a file of an unknown kind";
}
