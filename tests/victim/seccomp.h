/* SPDX-License-Identifier: Apache-2.0 */
/* Small seccomp filters, each about one call. */
#ifndef VICTIM_SECCOMP_H
#define VICTIM_SECCOMP_H

#include "victim.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>

/* From now on, in this thread (or, by `flags`, in all), `nr` ends with `action`. */
static V_MAYBE void forbid(long nr, uint32_t action, unsigned flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = 4, .filter = code };

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) < 0)
		skip("no seccomp filters: %s", strerror(errno));
}

static V_MAYBE void check_fails(long nr, int err)
{
	errno = 0;
	check(syscall(nr) == -1 && errno == err, "call %ld: %s, not %s", nr, strerror(errno), strerror(err));
}

#endif
