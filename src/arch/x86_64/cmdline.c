/* SPDX-License-Identifier: BSD-3-Clause */
/* cmdline.c - the kernel's command line in guest memory */
#include "arch/x86_64/cmdline.h"

#include "arch/x86_64/layout.h"
#include "base/num.h"

#include <errno.h>
#include <string.h>

int cmdline_write(struct gmem *m, const char *first, const char *rest, size_t limit, struct err *e)
{
	const size_t nfirst = strlen(first), nrest = rest ? strlen(rest) : 0;
	const size_t gap = nfirst > 0 && nrest > 0 ? 1 : 0;
	const size_t n = nfirst + gap + nrest;
	const gpa at = LAYOUT_CMDLINE;

	limit = min_size(limit, LAYOUT_CMDLINE_BYTES - 1);
	if (n > limit)
		return err_say(
			e, E2BIG,
			"kernel command line of %zu characters is too long: this kernel takes %zu; "
			"shorten --params",
			n, limit);
	if (!gmem_write(m, at, first, nfirst) || !gmem_fill(m, at + nfirst, ' ', gap) ||
	    !gmem_write(m, at + nfirst + gap, rest ? rest : "", nrest + 1))
		return err_say(e, ENOMEM, "no memory for the kernel command line at 0x%llx",
			       (unsigned long long)at);
	return 0;
}
