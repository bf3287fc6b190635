/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/util.h"

static int load(const char *text, struct conf **ret, struct err *e)
{
	char path[] = "/tmp/godwit-conf-XXXXXX";
	int fd = mkstemp(path), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (int)strlen(text));
	r = conf_load(path, ret, e);
	(void)close(fd);
	(void)unlink(path);
	return r;
}

static void values_comments_and_order(void **state)
{
	struct conf *c = NULL;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(load("# all\n\n name = h1 # mine\naddress=10.0.0.1\nname = h2\n", &c, &e), 0);
	assert_string_equal(conf_string(c, "name", "?"), "h2");
	assert_string_equal(conf_string(c, "address", "?"), "10.0.0.1");
	assert_string_equal(conf_string(c, "absent", "?"), "?");
	conf_free(c);
}

static void numbers(void **state)
{
	struct conf *c = NULL;
	struct err e = { 0 };
	uint64_t n = 0;

	(void)state;
	assert_int_equal(
		load("a = 17\nb = 16M\nc = -1\nd = 99999999999999999999\ne = 5x\nf = 18014398509481984k\n", &c,
		     &e),
		0);
	assert_int_equal(conf_number(c, "a", 0, &n, &e), 0);
	assert_int_equal(n, 17);
	assert_int_equal(conf_number(c, "b", 0, &n, &e), 0);
	assert_int_equal(n, 16 << 20);
	assert_int_equal(conf_number(c, "absent", 5, &n, &e), 0);
	assert_int_equal(n, 5);
	for (const char *bad = "cdef"; *bad; bad++) {
		char key[2] = { *bad, 0 };

		assert_int_equal(conf_number(c, key, 0, &n, &e), -EINVAL);
	}
	conf_free(c);
}

static void lists(void **state)
{
	struct conf *c = NULL;
	struct err e = { 0 };
	char buf[16];

	(void)state;
	assert_int_equal(load("trusted = 10.0.0.0/8 , fd00::/8,an-element-that-is-too-long\n"
			      "blanks = 10.0.0.1, 10.0.0.2 ,3\n",
			      &c, &e),
			 0);
	assert_string_equal(conf_element(c, "trusted", 0, buf, sizeof buf), "10.0.0.0/8");
	assert_string_equal(conf_element(c, "trusted", 1, buf, sizeof buf), "fd00::/8");
	assert_string_equal(conf_element(c, "blanks", 1, buf, sizeof buf), "10.0.0.2");
	assert_string_equal(buf, "10.0.0.2");
	assert_null(conf_element(c, "trusted", 2, buf, sizeof buf));
	assert_null(conf_element(c, "trusted", 3, buf, sizeof buf));
	assert_null(conf_element(c, "absent", 0, buf, sizeof buf));
	conf_free(c);
}

static void damage(void **state)
{
	struct conf *c = NULL;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(load("name = h1\nnonsense\n", &c, &e), -EINVAL);
	assert_non_null(strstr(err_text(&e), "line 2"));
	assert_int_equal(conf_load("/nonexistent/godwit.conf", &c, &e), 0);
	conf_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_comments_and_order),
		cmocka_unit_test(numbers),
		cmocka_unit_test(lists),
		cmocka_unit_test(damage),
	};

	return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
