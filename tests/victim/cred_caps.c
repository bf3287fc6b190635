/* SPDX-License-Identifier: Apache-2.0 */
/* A user with a few capabilities: permitted, effective, inheritable, ambient, bounding. */
#include "victim.h"
#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>

static const char *const keys[] = { "Uid:",    "Gid:",	  "Groups:", "CapInh:",	    "CapPrm:",
				    "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:", "Umask:" };

#define COUNT (int)(sizeof(keys) / sizeof(keys[0]))

static void status_read(char *values[COUNT])
{
	for (int i = 0; i < COUNT; i++)
		values[i] = proc_field("/proc/thread-self/status", keys[i]);
}

static void status_compare(char *before[COUNT])
{
	char *after[COUNT];

	status_read(after);
	for (int i = 0; i < COUNT; i++)
		check(!strcmp(before[i], after[i]), "%s is%s, was%s", keys[i], after[i], before[i]);
}

static void caps_set(uint64_t permitted, uint64_t effective, uint64_t inheritable)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	for (int i = 0; i < 2; i++)
		data[i] = (struct __user_cap_data_struct) { .permitted = (uint32_t)(permitted >> 32 * i),
							    .effective = (uint32_t)(effective >> 32 * i),
							    .inheritable = (uint32_t)(inheritable >> 32 * i) };
	must(syscall(SYS_capset, &head, data) == 0);
}

#define BIT(cap) (1UL << (cap))

int main(void)
{
	uint64_t permitted = BIT(CAP_NET_RAW) | BIT(CAP_SYS_NICE) | BIT(CAP_CHOWN) | BIT(CAP_SETPCAP);
	char *before[COUNT];

	if (geteuid() != 0)
		skip("needs root");
	must(prctl(PR_CAPBSET_DROP, CAP_SYS_BOOT) == 0 && prctl(PR_CAPBSET_DROP, CAP_MKNOD) == 0);
	must(prctl(PR_SET_KEEPCAPS, 1) == 0);
	must(setresgid(500, 500, 500) == 0 && setresuid(500, 500, 500) == 0);
	caps_set(permitted, BIT(CAP_CHOWN), BIT(CAP_NET_RAW) | BIT(CAP_SYS_NICE));
	must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_RAW, 0, 0) == 0);
	status_read(before);
	move();
	if (sabotaged())
		must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, CAP_NET_RAW, 0, 0) == 0);
	status_compare(before);
	check_eq(prctl(PR_GET_KEEPCAPS), 1);
	caps_set(permitted, permitted, 0);
	return done();
}
