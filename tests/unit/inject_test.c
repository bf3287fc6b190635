/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "flipd/inject.h"

#define N 20000u

struct seen {
	unsigned times[N];
	unsigned delivered, overtaken;
	uint32_t highest;
};

static void deliver(void *ctx, const struct inject_from *from, uint8_t *data, size_t len)
{
	struct seen *s = ctx;
	uint32_t i;

	assert_int_equal(len, sizeof(i));
	assert_int_equal(from->bytes[3], 7);
	memcpy(&i, data, sizeof(i));
	assert_true(i < N);
	memset(data, 0xff, len); /* as decryption in place does */
	s->times[i]++;
	s->delivered++;
	if (i < s->highest) {
		s->overtaken++;
		assert_true(s->highest - i <= 9);
	}
	s->highest = MAX(s->highest, i);
}

static void run(const char *spec, struct seen *s)
{
	struct inject_from from = { .bytes = { 0, 0, 0, 7 } };
	struct inject *in = NULL;
	struct err e = { 0 };

	memset(s, 0, sizeof(*s));
	assert_int_equal(inject_new(&in, spec, &e), 0);
	for (uint32_t i = 0; i < N; i++) {
		uint32_t data = i;

		inject_pass(in, &from, (uint8_t *)&data, sizeof(data), deliver, s);
	}
	inject_free(in);
}

static unsigned count(const struct seen *s, unsigned times)
{
	unsigned n = 0;

	for (size_t i = 0; i < N; i++)
		n += s->times[i] == times;
	return n;
}

static void nothing_asked_nothing_done(void **state)
{
	static struct seen s;

	(void)state;
	run("seed=1", &s);
	assert_int_equal(count(&s, 1), N);
	assert_int_equal(s.overtaken, 0);
}

static void each_fault_as_often_as_asked(void **state)
{
	static struct seen s;

	(void)state;
	run("loss=5 seed=2", &s);
	assert_in_range(count(&s, 0), N * 4 / 100, N * 6 / 100);
	assert_int_equal(count(&s, 1), N - count(&s, 0));
	run("twice=5,seed=3", &s);
	assert_in_range(count(&s, 2), N * 4 / 100, N * 6 / 100);
	assert_int_equal(count(&s, 0), 0);
	/* What is held back at the end stays there. */
	run("late=5 seed=4", &s);
	assert_in_range(s.overtaken, N * 4 / 100, N * 6 / 100);
	assert_in_range(count(&s, 0), 0, 8);
}

static void a_seed_repeats_a_run(void **state)
{
	static struct seen a, b, c;

	(void)state;
	run("loss=5 twice=5 late=5 seed=18446744073709551615", &a);
	run("loss=5 twice=5 late=5 seed=18446744073709551615", &b);
	run("loss=5 twice=5 late=5 seed=6", &c);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_memory_not_equal(&a, &c, sizeof(a));
}

static void bad_words_are_refused(void **state)
{
	static const char *const bad[] = {
		"loss", "loss=", "loss=101", "loss=5%", "lost=5", "seed=x", "loss=5 5"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct inject *in = NULL;
		struct err e = { 0 };

		assert_int_equal(inject_new(&in, bad[i], &e), -EINVAL);
		assert_null(in);
		assert_non_null(strstr(err_text(&e), "GODWIT_NET_FAULTS"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_asked_nothing_done),
		cmocka_unit_test(each_fault_as_often_as_asked),
		cmocka_unit_test(a_seed_repeats_a_run),
		cmocka_unit_test(bad_words_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
