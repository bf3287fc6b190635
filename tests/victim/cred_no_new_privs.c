/* SPDX-License-Identifier: Apache-2.0 */
/* no_new_privs, which can be set and never taken back. */
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

int main(void)
{
	char *before[COUNT];

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	status_read(before);
	move();
	check_eq(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), sabotaged() ? 0 : 1);
	status_compare(before);
	return done();
}
