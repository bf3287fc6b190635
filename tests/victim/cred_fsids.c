/* SPDX-License-Identifier: Apache-2.0 */
/* Saved and file-system ids that differ from all others. */
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

	if (geteuid() != 0)
		skip("needs root");
	must(setgroups(0, NULL) == 0);
	must(setresgid(11, 0, 13) == 0 && setresuid(21, 0, 23) == 0);
	setfsgid(14);
	setfsuid(24);
	status_read(before);
	must(strstr(before[0], "24") && strstr(before[1], "14"));
	move();
	if (sabotaged())
		setfsuid(25);
	status_compare(before);
	return done();
}
