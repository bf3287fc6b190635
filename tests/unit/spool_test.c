/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shepherd/spool.h"

static char byte_at(uint64_t offset)
{
	return (char)(offset * 7 + offset / 251);
}

static void fill(struct spool *s, uint64_t len)
{
	char buf[4096];

	while (len) {
		size_t n = len < sizeof buf ? len : sizeof buf;

		for (size_t i = 0; i < n; i++)
			buf[i] = byte_at(s->end + i);
		assert_int_equal(spool_append(s, buf, n), 0);
		len -= n;
	}
}

static void verify(struct spool *s, uint64_t from, uint64_t to)
{
	char buf[4096];

	while (from < to) {
		ssize_t n = spool_read(s, from, buf, sizeof buf);

		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], byte_at(from + (uint64_t)i));
		from += (uint64_t)n;
	}
}

static void offsets_never_restart(void **state)
{
	struct err e = { 0 };
	struct stat st;
	struct spool s;
	char c;

	(void)state;
	assert_int_equal(spool_open(&s, "test", 1ull << 40, &e), 0);
	assert_int_equal(s.end, 1ull << 40);
	fill(&s, 5 << 20);
	verify(&s, s.start, s.end);
	spool_trim(&s, s.end - 1000);
	assert_true(s.start > (1ull << 40) + (4 << 20) && s.start <= s.end - 1000);
	verify(&s, s.start, s.end);
	assert_int_equal(spool_read(&s, s.start - 1, &c, 1), -ERANGE);
	assert_int_equal(spool_read(&s, s.end, &c, 1), 0);
	assert_int_equal(spool_read(&s, s.end + 1, &c, 1), -ERANGE);
	/* What was trimmed does not cost memory any more. */
	assert_int_equal(fstat(s.fd, &st), 0);
	assert_true(st.st_blocks * 512 < 300 * 1024);
	spool_close(&s);
}

static void random_operations(void **state)
{
	struct err e = { 0 };
	struct spool s;

	(void)state;
	srandom(4711);
	assert_int_equal(spool_open(&s, "test", 12345, &e), 0);
	for (int i = 0; i < 300; i++) {
		fill(&s, (uint64_t)random() % 70000);
		if (random() % 3 == 0)
			spool_trim(&s, s.start + (uint64_t)random() % (s.end - s.start + 1));
		verify(&s, s.start, s.end);
	}
	spool_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offsets_never_restart),
		cmocka_unit_test(random_operations),
	};

	return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
