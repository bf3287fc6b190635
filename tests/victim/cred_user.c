/* SPDX-License-Identifier: Apache-2.0 */
/* A program that was root and became a user: all its ids, groups and no capability. */
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
	gid_t groups[5] = { 1001, 2002, 3003, 40000, 1001 };
	char *before[COUNT];

	if (geteuid() != 0)
		skip("needs root");
	must(setgroups(5, groups) == 0);
	must(setresgid(1001, 1002, 1003) == 0);
	must(setresuid(1001, 1002, 1002) == 0);
	status_read(before);
	move();
	if (sabotaged())
		must(setresuid(1002, 1002, 1002) == 0);
	status_compare(before);
	check(setuid(0) < 0, "it became root again");
	return done();
}
