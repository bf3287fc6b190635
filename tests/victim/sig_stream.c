/* SPDX-License-Identifier: Apache-2.0 */
/* A thread sends queued signals without pause to another: none is lost, doubled or overtaken. */
#include "victim.h"

static volatile bool stop;
static volatile int received;
static int sent;
static pthread_t receiver_thread;

static void *receiver(void *arg)
{
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	for (;;) {
		if (sigwaitinfo(&set, &info) < 0)
			continue; /* EINTR is this call's right */
		if (info.si_value.sival_int < 0)
			return arg;
		check_eq(info.si_value.sival_int, received);
		received++;
	}
}

static void *sender(void *arg)
{
	for (; !stop; sent++) {
		while (sent - received > 200)
			sched_yield();
		must(pthread_sigqueue(receiver_thread, SIGRTMIN, (union sigval) { .sival_int = sent }) == 0);
	}
	return arg;
}

int main(void)
{
	pthread_t thread;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	must(pthread_create(&receiver_thread, NULL, receiver, NULL) == 0);
	must(pthread_create(&thread, NULL, sender, NULL) == 0);
	while (received < 100)
		sched_yield();
	move();
	if (sabotaged())
		received--;
	for (int seen = received; received < seen + 100;)
		sched_yield();
	stop = true;
	pthread_join(thread, NULL);
	must(pthread_sigqueue(receiver_thread, SIGRTMIN, (union sigval) { .sival_int = -1 }) == 0);
	pthread_join(receiver_thread, NULL);
	check_eq(received, sent);
	return done();
}
