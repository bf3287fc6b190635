/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "state/confine.h"

#define SOMEBODY 65534u

static void set(struct state_target *d)
{
	Godwit__Mover__Confined c = GODWIT__MOVER__CONFINED__INIT;
	uint32_t groups[] = { 7 };

	c.uid = c.gid = SOMEBODY;
	c.groups = groups;
	c.n_groups = 1;
	confine_set(&d->confined, &c);
}

static int can_open(const char *path, int flags)
{
	_cleanup_fd_ int fd = open(path, flags | O_CLOEXEC);

	return fd < 0 ? -errno : 0;
}

/* What the test asserts in a child, since groups do not come back. */
static int opens_with_his_rights(const char *secret)
{
	struct state_target d = { 0 };

	set(&d);
	confine_enter(&d);
	if (can_open(secret, O_RDONLY) != -EACCES || can_open("/proc/self/exe", O_RDONLY) != 0)
		return 1;
	confine_leave(&d);
	if (can_open(secret, O_RDONLY) != 0)
		return 2;
	d.confined.on = false;
	confine_enter(&d);
	return can_open(secret, O_RDONLY) != 0 ? 3 : 0;
}

static void names_are_opened_with_his_rights(void **state)
{
	char secret[] = "/tmp/godwit-confine-XXXXXX";
	_cleanup_fd_ int fd = -EBADF;
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	fd = mkstemp(secret);
	assert_true(fd >= 0);
	pid = fork();
	if (!pid)
		_exit(opens_with_his_rights(secret));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	(void)unlink(secret);
	assert_int_equal(status, 0);
}

static void creds_that_are_not_his_are_refused(void **state)
{
	const Godwit__Ckpt__Creds none = GODWIT__CKPT__CREDS__INIT;
	struct state_target d = { .confined = { .on = true, .uid = 5, .gid = 6, .groups = { 7 }, .n_groups = 1 } };
	struct state_target free_one = { 0 };
	Godwit__Ckpt__Creds c = none;
	uint32_t group = 7;
	uint32_t *ids[] = { &c.uid, &c.euid, &c.suid, &c.fsuid, &c.gid, &c.egid, &c.sgid, &c.fsgid };
	uint64_t *caps[] = { &c.cap_permitted, &c.cap_effective, &c.cap_inheritable, &c.cap_ambient };
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < 8; i++)
		*ids[i] = i < 4 ? 5 : 6;
	c.groups = &group;
	c.n_groups = 1;
	c.cap_bounding = UINT64_MAX;
	assert_int_equal(confine_judge(&d, &c, &e), 0);
	for (size_t i = 0; i < 8; i++) {
		uint32_t was = *ids[i];

		*ids[i] = 0;
		assert_int_equal(confine_judge(&d, &c, &e), -EPERM);
		assert_int_equal(confine_judge(&free_one, &c, &e), 0);
		*ids[i] = was;
	}
	for (size_t i = 0; i < 4; i++) {
		*caps[i] = 1;
		assert_int_equal(confine_judge(&d, &c, &e), -EPERM);
		*caps[i] = 0;
	}
	group = 8;
	assert_int_equal(confine_judge(&d, &c, &e), -EPERM);
	group = 7;
	c.securebits = 1;
	assert_int_equal(confine_judge(&d, &c, &e), -EPERM);
}

static void copies_are_never_set_user_id(void **state)
{
	struct state_target d = { .confined = { .on = true } }, free_one = { 0 };

	(void)state;
	assert_int_equal(confine_mode(&d, 06755), 0755);
	assert_int_equal(confine_mode(&free_one, 06755), 06755);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_opened_with_his_rights),
		cmocka_unit_test(creds_that_are_not_his_are_refused),
		cmocka_unit_test(copies_are_never_set_user_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
