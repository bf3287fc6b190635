/* SPDX-License-Identifier: Apache-2.0 */
/* A handler that runs after the move ends nanosleep(), which reports the rest. */
#include "victim.h"

static struct timespec rest = { -1, -1 };

static long do_sleep(void *arg)
{
	struct timespec t = timespec_ns(20000 * MS);

	(void)arg;
	return nanosleep(&t, &rest);
}

int main(void)
{
	struct caller c = { .call = do_sleep };
	int64_t left, want;

	caller_start(&c, SYS_clock_nanosleep);
	sleep_until(c.began_ns + 500 * MS);
	caller_move(&c, SYS_clock_nanosleep);
	pthread_kill(c.thread, SIGUSR2);
	caller_join(&c);
	check_eq(c.ret, -1);
	check_eq(c.err, EINTR);
	left = rest.tv_sec * 1000000000LL + rest.tv_nsec;
	want = 20000 * MS - (c.ended_ns - c.began_ns);
	check(llabs(left - want) < slack_ns(), "%lld us are left, should be %lld", (long long)left / 1000,
	      (long long)want / 1000);
	return done();
}
