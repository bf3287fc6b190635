/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "procd/journal.h"
#include "procd/names.h"
#include "procd/settings.h"

#define KIND(x) GODWIT__JOURNAL__RECORD__KIND__##x

static const char *path = "/tmp/godwit-journal-test";

static void append(struct journal *j, Godwit__Journal__Record__Kind kind, const char *id)
{
	struct err e = { 0 };

	assert_int_equal(journal_note(j, kind, id, "job", &e), 0);
}

static void reopen(struct journal *j)
{
	struct err e = { 0 };

	journal_close(j);
	assert_int_equal(journal_open(j, path, &e), 0);
}

static int fresh(void **state)
{
	struct journal *j = calloc(1, sizeof *j);
	struct err e = { 0 };

	(void)unlink(path);
	*state = j;
	return journal_open(j, path, &e);
}

static int done(void **state)
{
	journal_close(*state);
	free(*state);
	return unlink(path);
}

static void last_record_of_each_counts(void **state)
{
	struct journal *j = *state;

	append(j, KIND(READY), "a");
	append(j, KIND(COMMITTED), "b");
	append(j, KIND(THAWED), "a");
	append(j, KIND(COMMITTED), "c");
	append(j, KIND(DELETED), "b");
	append(j, KIND(REVOKED), "c");
	reopen(j);
	assert_int_equal(j->n_records, 1);
	assert_string_equal(j->records[0]->migration, "a");
	assert_int_equal(j->records[0]->kind, KIND(THAWED));
	append(j, KIND(FORGOTTEN), "a");
	reopen(j);
	assert_int_equal(j->n_records, 0);
}

static off_t size(void)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* procd dies in the middle of a write, at any byte: what was complete before is there, and new records are found.
 */
static void torn_at_every_byte(void **state)
{
	struct journal *j = *state;
	off_t first, both;

	append(j, KIND(COMMITTED), "first");
	first = size();
	append(j, KIND(COMMITTED), "second");
	both = size();
	for (off_t cut = both; cut >= first; cut--) {
		assert_int_equal(truncate(path, cut), 0);
		reopen(j);
		assert_int_equal(j->n_records, cut == both ? 2 : 1);
		assert_string_equal(j->records[0]->migration, "first");
		append(j, KIND(COMMITTED), "second");
		assert_int_equal(size(), cut == both ? both + (both - first) : both);
		reopen(j);
		assert_int_equal(j->n_records, 2);
		assert_int_equal(size(), both);
	}
}

static void damage_is_no_record(void **state)
{
	struct journal *j = *state;
	char c = 'X';
	off_t at;
	int fd;

	append(j, KIND(COMMITTED), "first");
	at = size();
	append(j, KIND(COMMITTED), "second");
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, &c, 1, at + 20), 1);
	(void)close(fd);
	reopen(j);
	assert_int_equal(j->n_records, 1);
}

/* A job that moves for ever must not fill the host's memory, and what is still open must survive the shrinking. */
static void does_not_grow(void **state)
{
	struct journal *j = *state;
	Godwit__Journal__Record r = GODWIT__JOURNAL__RECORD__INIT;
	Godwit__Procd__Commit c = GODWIT__PROCD__COMMIT__INIT;
	static uint8_t blob[20000];
	struct err e = { 0 };
	char id[16];

	append(j, KIND(READY), "open");
	r.kind = KIND(COMMITTED);
	r.migration = id;
	r.commit = &c;
	c.endpoint.data = blob;
	c.endpoint.len = sizeof blob;
	for (int i = 0; i < 500; i++) {
		(void)snprintf(id, sizeof id, "m%d", i);
		assert_int_equal(journal_append(j, &r, &e), 0);
		append(j, KIND(DELETED), id);
		assert_true(size() < 1100000);
	}
	reopen(j);
	assert_int_equal(j->n_records, 1);
	assert_string_equal(j->records[0]->migration, "open");
}

static void names(void **state)
{
	char name[NAME_MAX_LEN + 1], longest[80];

	(void)state;
	assert_true(name_is_valid("web"));
	assert_true(name_is_valid("3.a_B-c"));
	assert_false(name_is_valid(""));
	assert_false(name_is_valid(".web"));
	assert_false(name_is_valid("-web"));
	assert_false(name_is_valid("a/b"));
	assert_false(name_is_valid("a b"));
	assert_false(name_is_valid("a\nb"));
	assert_false(name_is_valid("\303\244"));
	memset(longest, 'a', sizeof longest);
	longest[63] = '\0';
	assert_true(name_is_valid(longest));
	longest[63] = 'a';
	longest[64] = '\0';
	assert_false(name_is_valid(longest));
	name_make(name, "/usr/bin/python3.11", "h1", 5);
	assert_string_equal(name, "python3.11-h1-50000");
	name_make(name, "../- ;", "h1", 0xffffffff);
	assert_true(name_is_valid(name));
	assert_int_equal(strncmp(name, "job-h1-", 7), 0);
	assert_true(migration_id_is_valid("0123456789abcdef0123456789abcdef"));
	assert_false(migration_id_is_valid("0123456789abcdef0123456789abcdeF"));
	assert_false(migration_id_is_valid("0123"));
}

static void write_conf(const char *text)
{
	FILE *f = fopen("/tmp/godwit-settings-test/godwit.conf", "w");

	assert_non_null(f);
	(void)fputs(text, f);
	(void)fclose(f);
}

static void trusted_links(void **state)
{
	struct settings s;
	struct err e = { 0 };

	(void)state;
	(void)mkdir("/tmp/godwit-settings-test", 0700);
	(void)setenv("GODWIT_ETC", "/tmp/godwit-settings-test", 1);
	write_conf(
		"name = h1\naddress = 10.1.2.3\ntrusted = 10.1.2.0/23, fd00::/8, 192.168.7.9\nlog_bytes = 1M\n");
	assert_int_equal(settings_load(&s, &e), 0);
	assert_string_equal(s.name, "h1");
	assert_int_equal(s.log_bytes, 1 << 20);
	assert_true(settings_trusts(&s, "10.1.2.200"));
	assert_true(settings_trusts(&s, "10.1.3.1"));
	assert_false(settings_trusts(&s, "10.1.4.1"));
	assert_true(settings_trusts(&s, "fd12::1"));
	assert_false(settings_trusts(&s, "fe80::1"));
	assert_true(settings_trusts(&s, "192.168.7.9"));
	assert_false(settings_trusts(&s, "192.168.7.8"));
	assert_false(settings_trusts(&s, "nonsense"));
	write_conf("trusted = 10.1.2.0/40\n");
	assert_true(settings_load(&s, &e) < 0);
	write_conf("trusted = here\n");
	assert_true(settings_load(&s, &e) < 0);
	write_conf("");
	assert_int_equal(settings_load(&s, &e), 0);
	assert_false(settings_trusts(&s, "127.0.0.1"));
	(void)unlink("/tmp/godwit-settings-test/godwit.conf");
	(void)rmdir("/tmp/godwit-settings-test");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(last_record_of_each_counts, fresh, done),
		cmocka_unit_test_setup_teardown(torn_at_every_byte, fresh, done),
		cmocka_unit_test_setup_teardown(damage_is_no_record, fresh, done),
		cmocka_unit_test_setup_teardown(does_not_grow, fresh, done),
		cmocka_unit_test(names),
		cmocka_unit_test(trusted_links),
	};

	if (sodium_init() < 0)
		return 1;
	log_set_level(LOG_ERROR); /* torn records are expected here */
	return cmocka_run_group_tests_name("procd", tests, NULL, NULL);
}
