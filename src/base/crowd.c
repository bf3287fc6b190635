/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crowd.h"

#include <stdio.h>
#include <unistd.h>

#include "base/util.h"

unsigned host_crowd(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned average = 0, running = 0, crowd;
	FILE *f = fopen("/proc/loadavg", "re");

	if (!f)
		return 1;
	if (fscanf(f, "%u.%*u %*s %*s %u/", &average, &running) != 2)
		running = 0;
	(void)fclose(f);
	crowd = MAX(average, running) / (unsigned)MAX(cpus, 1L);
	return MIN(MAX(crowd, 1u), HOST_CROWD_MAX);
}
