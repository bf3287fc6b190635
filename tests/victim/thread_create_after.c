/* SPDX-License-Identifier: Apache-2.0 */
/* Threads and processes made after the move, and the end of those made before it. */
#include "victim.h"
#include <sys/wait.h>

static void *square(void *arg)
{
	return (void *)((uintptr_t)arg * (uintptr_t)arg);
}

static int ends[2];

static void *reader(void *arg)
{
	char c;

	must(read(ends[0], &c, 1) == 1);
	return square(arg);
}

int main(void)
{
	pthread_t early[5], late[20];
	void *result;
	int status;
	pid_t child;

	must(pipe(ends) == 0);
	for (uintptr_t i = 0; i < 5; i++)
		must(pthread_create(&early[i], NULL, reader, (void *)i) == 0);
	move();
	for (uintptr_t i = 0; i < 20; i++)
		must(pthread_create(&late[i], NULL, square, (void *)i) == 0);
	must(write(ends[1], "12345", 5) == 5);
	for (uintptr_t i = 0; i < 5; i++) {
		must(pthread_join(early[i], &result) == 0);
		check_eq((uintptr_t)result, i * i);
	}
	for (uintptr_t i = 0; i < 20; i++) {
		must(pthread_join(late[i], &result) == 0);
		check_eq((uintptr_t)result, i * i);
	}
	child = fork();
	must(child >= 0);
	if (child == 0) {
		execl("/bin/sh", "sh", "-c", sabotaged() ? "exit 8" : "exit 7", NULL);
		_exit(1);
	}
	must(waitpid(child, &status, 0) == child);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 7, "the child ended with %x", status);
	return done();
}
