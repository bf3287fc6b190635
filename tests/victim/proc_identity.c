/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc/self says of the program: arguments, environment, auxiliary vector, name, exe, personality. */
#include "victim.h"
#include <sys/personality.h>
#include <sys/prctl.h>

static const char *const files[] = { "cmdline", "environ", "auxv", "comm", "personality", "coredump_filter" };

#define COUNT (sizeof(files) / sizeof(files[0]))

static char *file_read(size_t i, size_t *length)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/%s", files[i]);
	return slurp_length(path, length);
}

static void exe_read(char exe[256])
{
	ssize_t n = readlink("/proc/self/exe", exe, 255);

	must(n > 0);
	exe[n] = 0;
}

int main(void)
{
	char *before[COUNT], *after, exe[2][256];
	size_t lengths[COUNT], length;
	FILE *filter = fopen("/proc/self/coredump_filter", "w");

	must(personality(ADDR_NO_RANDOMIZE | STICKY_TIMEOUTS) >= 0);
	must(prctl(PR_SET_NAME, "odd name)") == 0);
	if (filter) {
		fputs("0x71", filter);
		fclose(filter);
	}
	for (size_t i = 0; i < COUNT; i++)
		before[i] = file_read(i, &lengths[i]);
	exe_read(exe[0]);
	move();
	if (sabotaged())
		prctl(PR_SET_NAME, "other");
	for (size_t i = 0; i < COUNT; i++) {
		after = file_read(i, &length);
		check(!before[i] == !after, "/proc/self/%s", files[i]);
		check(!after || (length == lengths[i] && !memcmp(before[i], after, length)),
		      "/proc/self/%s: '%s', was '%s'", files[i], after, before[i]);
	}
	exe_read(exe[1]);
	check(!strcmp(exe[0], exe[1]), "exe is %s, was %s", exe[1], exe[0]);
	return done();
}
