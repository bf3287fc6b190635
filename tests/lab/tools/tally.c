/* SPDX-License-Identifier: Apache-2.0 */
/* tally: counts signal 40, which queues, and 41 by a thread that waits for it; SIGTERM makes it print both and
 * end. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static volatile sig_atomic_t handled, ended;
static volatile long waited;

static void on_signal(int sig)
{
	if (sig == SIGTERM)
		ended = 1;
	else
		handled++;
}

static void *waiter(void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, 41);
	for (;;)
		if (sigwaitinfo(&set, NULL) == 41)
			waited++;
	return arg;
}

int main(void)
{
	struct sigaction act = { .sa_handler = on_signal };
	sigset_t set, none;
	pthread_t thread;

	sigemptyset(&set);
	sigaddset(&set, 40);
	sigaddset(&set, 41);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigaction(40, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	if (pthread_create(&thread, NULL, waiter, NULL))
		return 2;
	puts("ready");
	fflush(stdout);
	sigfillset(&none);
	sigdelset(&none, 40);
	sigdelset(&none, SIGTERM);
	while (!ended)
		sigsuspend(&none);
	printf("%d %ld\n", (int)handled, waited);
	return 0;
}
