/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that writes lines to a file without pause: none is lost, doubled or torn. */
#include "victim.h"

static volatile bool stop;
static volatile long written;
static int fd;

static void *writer(void *arg)
{
	char line[32];
	int n;

	for (; !stop; written++) {
		n = snprintf(line, sizeof(line), "line %ld\n", written);
		check(write(fd, line, (size_t)n) == n, "write: %s", strerror(errno));
	}
	return arg;
}

int main(void)
{
	char path[64], line[32], want[32];
	pthread_t thread;
	FILE *f;

	fd = temp_file(path);
	must(pthread_create(&thread, NULL, writer, NULL) == 0);
	while (written < 100)
		sched_yield();
	move();
	for (long seen = written; written < seen + 100;)
		sched_yield();
	stop = true;
	pthread_join(thread, NULL);
	if (sabotaged())
		must(pwrite(fd, "?", 1, 50) == 1);
	f = fopen(path, "r");
	must(f);
	for (long i = 0; i < written; i++) {
		check(fgets(line, sizeof(line), f), "only %ld of %ld lines", i, written);
		snprintf(want, sizeof(want), "line %ld\n", i);
		check(!strcmp(line, want), "line %ld is %s", i, line);
	}
	check(!fgets(line, sizeof(line), f), "there is more");
	unlink(path);
	return done();
}
