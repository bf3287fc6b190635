/* SPDX-License-Identifier: Apache-2.0 */
/* Root without some of its capabilities, and secure bits. */
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

int main(void)
{
	char *before[COUNT];
	int bits;

	if (geteuid() != 0)
		skip("needs root");
	bits = prctl(PR_GET_SECUREBITS);
	if (prctl(PR_SET_SECUREBITS,
		  bits | 1 << 2 /* no_setuid_fixup */ | 1 << 3 | 1 << 6 /* no ambient raise */) < 0)
		skip("may not set the secure bits");
	bits = prctl(PR_GET_SECUREBITS);
	caps_set(0xffUL, 0x0fUL, 0);
	status_read(before);
	move();
	if (sabotaged())
		caps_set(0x7fUL, 0x0fUL, 0);
	status_compare(before);
	check_eq(prctl(PR_GET_SECUREBITS), bits);
	return done();
}
