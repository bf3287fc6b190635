/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's texts about a process: credentials, limits, timers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/creds.h"
#include "state/limit.h"
#include "state/timer.h"

static const char status_text[] =
	"Name:\tUid: 9\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t10 20 30 \n"
	"NStgid:\t7\nCapInh:\t0000000000000001\nCapPrm:\t000001fffeffffff\nCapEff:\t0000000000000002\n"
	"CapBnd:\t0000000000000003\nCapAmb:\t0000000000000004\nNoNewPrivs:\t1\nSeccomp:\t0\n";

static void status(void **state)
{
	Godwit__Ckpt__Creds m = GODWIT__CKPT__CREDS__INIT;

	(void)state;
	assert_int_equal(creds_parse(status_text, &m), 0);
	assert_true(m.uid == 1 && m.euid == 2 && m.suid == 3 && m.fsuid == 4);
	assert_true(m.gid == 5 && m.egid == 6 && m.sgid == 7 && m.fsgid == 8);
	assert_int_equal(m.n_groups, 3);
	assert_true(m.groups[0] == 10 && m.groups[2] == 30);
	assert_true(m.cap_inheritable == 1 && m.cap_permitted == 0x1fffeffffff && m.cap_effective == 2);
	assert_true(m.cap_bounding == 3 && m.cap_ambient == 4 && m.no_new_privs);
	free(m.groups);
}

static void status_cut_short(void **state)
{
	(void)state;
	for (size_t len = 0; len < sizeof status_text - sizeof "1\nSeccomp:\t0\n"; len++) {
		Godwit__Ckpt__Creds m = GODWIT__CKPT__CREDS__INIT;
		_cleanup_free_ char *text = xasprintf("%.*s", (int)len, status_text);

		if (len < 190)
			assert_int_equal(creds_parse(text, &m), -EBADMSG);
		else
			(void)!creds_parse(text, &m);
		free(m.groups);
	}
}

static void no_groups(void **state)
{
	Godwit__Ckpt__Creds m = GODWIT__CKPT__CREDS__INIT;
	_cleanup_free_ char *text = NULL;

	(void)state;
	assert_true(fd_slurp(-1, "/proc/self/status", 65536, &text) > 0);
	assert_int_equal(creds_parse(text, &m), 0);
	assert_int_equal(m.euid, geteuid());
	assert_int_equal(m.n_groups, getgroups(0, NULL));
	free(m.groups);
}

static void limits(void **state)
{
	struct limit_pair pairs[LIMITS_N];
	_cleanup_free_ char *text = NULL;

	(void)state;
	assert_true(fd_slurp(-1, "/proc/self/limits", 65536, &text) > 0);
	assert_int_equal(limits_parse(text, pairs), 0);
	for (size_t i = 0; i < LIMITS_N; i++) {
		struct rlimit own;

		assert_int_equal(getrlimit((__rlimit_resource_t)pairs[i].resource, &own), 0);
		assert_true(pairs[i].soft == own.rlim_cur && pairs[i].hard == own.rlim_max);
	}
	assert_int_equal(limits_parse("Limit\n", pairs), -EBADMSG);
}

static void timers(void **state)
{
	static const char text[] = "ID: 3\nsignal: 14/00007ffd00000001\nnotify: signal/tid.17\nClockID: 1\n"
				   "ID: 0\nsignal: 0/0000000000000000\nnotify: none/pid.12\nClockID: -6\n";
	struct timer_seen *list;
	size_t n;

	(void)state;
	assert_int_equal(timers_parse(text, &list, &n), 0);
	assert_int_equal(n, 2);
	assert_true(list[1].id == 3 && list[1].signal == 14 && list[1].tid == 17 && list[1].clock == 1);
	assert_true(list[1].value == 0x7ffd00000001 && list[1].notify == (SIGEV_SIGNAL | SIGEV_THREAD_ID));
	assert_true(list[0].id == 0 && list[0].notify == SIGEV_NONE && list[0].clock == -6);
	free(list);
	assert_int_equal(timers_parse("", &list, &n), 0);
	assert_int_equal(n, 0);
	free(list);
	assert_int_equal(timers_parse("ID: 3\nsignal: 14/0\n", &list, &n), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status), cmocka_unit_test(status_cut_short), cmocka_unit_test(no_groups),
		cmocka_unit_test(limits), cmocka_unit_test(timers),
	};

	return cmocka_run_group_tests_name("process state", tests, NULL, NULL);
}
