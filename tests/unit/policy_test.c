/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "procd/policy.h"

static struct settings load(const char *text)
{
	char dir[] = "/tmp/godwit-policy-XXXXXX", path[64];
	struct settings s = { 0 };
	struct err e = { 0 };
	FILE *f;

	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof path, "%s/godwit.conf", dir);
	f = fopen(path, "we");
	assert_non_null(f);
	fprintf(f, "name = here\n%s", text);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(setenv("GODWIT_ETC", dir, 1), 0);
	s.name[0] = '\0';
	if (settings_load(&s, &e) < 0)
		s.name[0] = '\0';
	(void)unlink(path);
	(void)rmdir(dir);
	return s;
}

static void by_default_users_and_no_root(void **state)
{
	struct settings s = load("");

	(void)state;
	assert_true(policy_admits(&s, "h1", 1000));
	assert_false(policy_admits(&s, "h1", 0));
	assert_true(policy_admits(&s, "here", 0));
	assert_false(policy_trusts(&s, "h1"));
}

static void hosts_and_users_are_named(void **state)
{
	struct settings s = load("jobs_from = h1:1000:nobody, h2\nroot_from = h3\n");
	const struct passwd *nobody = getpwnam("nobody");

	(void)state;
	assert_true(policy_admits(&s, "h1", 1000));
	assert_false(policy_admits(&s, "h1", 1001));
	assert_false(policy_admits(&s, "h1", 100));
	if (nobody)
		assert_true(policy_admits(&s, "h1", nobody->pw_uid));
	assert_true(policy_admits(&s, "h2", 1001));
	assert_false(policy_admits(&s, "h2", 0));
	assert_false(policy_admits(&s, "h", 1000));
	assert_false(policy_admits(&s, "h22", 1000));
	assert_false(policy_admits(&s, "", 1000));
	assert_true(policy_admits(&s, "h3", 0));
	assert_true(policy_admits(&s, "h3", 1001));
	assert_false(policy_admits(&s, "h4", 1001));
}

/* root in jobs_from is not enough: that list is for users. */
static void root_is_named_in_its_own_list_only(void **state)
{
	struct settings s = load("jobs_from = h1:0:root\nroot_from = none\n");

	(void)state;
	assert_false(policy_admits(&s, "h1", 0));
}

static void lists_that_cannot_be_read_start_nothing(void **state)
{
	(void)state;
	assert_string_equal(load("jobs_from = h1,,h2\n").name, "");
	assert_string_equal(load("jobs_from = h1\n").name, "here");
}

static const char *judge(const struct settings *s, const char *host, uid_t uid, gid_t gid, gid_t group)
{
	Godwit__Procd__JobSpec spec = GODWIT__PROCD__JOB_SPEC__INIT;
	const char *help;

	spec.uid = uid;
	spec.gid = gid;
	spec.groups = &group;
	spec.n_groups = 1;
	return policy_refuses(s, host, &spec, &help);
}

static void jobs_are_judged(void **state)
{
	struct settings s = load("jobs_from = h1\nroot_from = h2\n"),
			closed = load("accept = no\nroot_from = *\n");
	const struct passwd *nobody = getpwnam("nobody");

	(void)state;
	assert_non_null(strstr(judge(&s, "h1", 0, 0, 0), "root_from"));
	assert_null(judge(&s, "h2", 0, 0, 0));
	assert_non_null(strstr(judge(&s, "h3", 1000, 1000, 1000), "jobs_from"));
	assert_non_null(strstr(judge(&closed, "h2", 0, 0, 0), "accept"));
	if (!nobody)
		return;
	assert_null(judge(&s, "h1", nobody->pw_uid, nobody->pw_gid, nobody->pw_gid));
	assert_non_null(judge(&s, "h1", nobody->pw_uid, 0, nobody->pw_gid));
	assert_non_null(judge(&s, "h1", nobody->pw_uid, nobody->pw_gid, 0));
	assert_null(judge(&s, "h2", nobody->pw_uid, 0, 0));
	assert_int_equal(policy_gid(&s, "h1", nobody->pw_uid, 0), nobody->pw_gid);
	assert_int_equal(policy_gid(&s, "h2", nobody->pw_uid, 0), 0);
	assert_int_equal(policy_gid(&s, "here", nobody->pw_uid, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_default_users_and_no_root),
		cmocka_unit_test(hosts_and_users_are_named),
		cmocka_unit_test(root_is_named_in_its_own_list_only),
		cmocka_unit_test(lists_that_cannot_be_read_start_nothing),
		cmocka_unit_test(jobs_are_judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
