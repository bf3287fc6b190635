/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	objects fill ROOT N          small files with the bullet server named "bullet", some with names in "fill"
 *	objects work ROOT THREADS N  each thread, N times: makes a file, names it, finds and reads it, takes
 *	                             away both; now and then changes two names in one step
 *	objects hidden ROOT          lists a directory with rows that nobody may use
 *	objects std ROOT             what every server understands, at the bullet servers "bullet" and "other"
 *
 * ROOT is a capability. A line of JSON at the end; exit status 0 if every call did what it must.
 */
#include <pthread.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "godwit_objects.h"

#define BYTES_MAX 70000u

struct worker {
	pthread_t thread;
	const struct gw_cap *root;
	unsigned who, n;
	uint64_t worst_us;
	char wrong[160];
};

static void must(struct worker *w, const char *what, long status, uint64_t began)
{
	uint64_t us = now_us() - began;

	w->worst_us = MAX(w->worst_us, us);
	if (status < 0 && !*w->wrong)
		(void)snprintf(w->wrong, sizeof w->wrong, "%s: %s", what, gw_strerror((int)status));
}

#define MUST(w, call)                                                                                             \
	({                                                                                                        \
		uint64_t began_ = now_us();                                                                       \
		long status_ = (call);                                                                            \
		must(w, #call, status_, began_);                                                                  \
		status_;                                                                                          \
	})

static size_t fill_bytes(uint8_t *p, unsigned who, unsigned i)
{
	size_t len = 1 + (who * 7919u + i * 104729u) % (i % 16 ? 3000u : BYTES_MAX);

	for (size_t k = 0; k < len; k++)
		p[k] = (uint8_t)(who + i * 3 + k * 7);
	return len;
}

/* Two names change places, in one step. */
static void swap_names(struct worker *w, struct gw *gw, const struct gw_cap *dir, const struct gw_capset *set)
{
	struct gw_sp_change changes[2] = { { .dir = *dir, .name = "one", .new = *set },
					   { .dir = *dir, .name = "two" } };
	struct gw_capset found;

	MUST(w, gw_sp_install(gw, changes, 1));
	changes[0].old = *set;
	changes[0].new.n = 0;
	changes[1].new = *set;
	MUST(w, gw_sp_install(gw, changes, 2));
	if (gw_sp_lookup(gw, dir, "one", &found) != GW_STD_NOTFOUND && !*w->wrong)
		(void)snprintf(w->wrong, sizeof w->wrong, "a name is still there");
	MUST(w, gw_sp_delete(gw, dir, "two"));
}

static void work_once(struct worker *w, struct gw *gw, const struct gw_cap *server, const struct gw_cap *dir,
		      unsigned i)
{
	_cleanup_free_ uint8_t *bytes = xmalloc(BYTES_MAX), *got = xmalloc(BYTES_MAX);
	size_t len = fill_bytes(bytes, w->who, i);
	struct gw_capset set = { .n = 1 }, found = { 0 };
	char name[32];

	(void)snprintf(name, sizeof name, "file-%u", i);
	MUST(w, gw_b_create(gw, server, bytes, len, GW_B_COMMIT, &set.caps[0]));
	MUST(w, gw_sp_append(gw, dir, name, NULL, &set));
	MUST(w, gw_sp_lookup(gw, dir, name, &found));
	if ((found.n != 1 || memcmp(&found.caps[0], &set.caps[0], sizeof found.caps[0]) != 0) && !*w->wrong)
		(void)snprintf(w->wrong, sizeof w->wrong, "%s leads to something else", name);
	if ((MUST(w, gw_b_read(gw, &set.caps[0], 0, got, BYTES_MAX)) != (long)len ||
	     memcmp(bytes, got, len) != 0) &&
	    !*w->wrong)
		(void)snprintf(w->wrong, sizeof w->wrong, "%s has other contents", name);
	if (i % 8 == 0)
		swap_names(w, gw, dir, &set);
	MUST(w, gw_sp_delete(gw, dir, name));
	MUST(w, gw_std_destroy(gw, &set.caps[0]));
}

static void *work(void *arg)
{
	struct gw_capset set = { .n = 1 };
	struct worker *w = arg;
	struct gw_cap server;
	struct gw *gw = NULL;
	char name[32];

	if (gw_connect(NULL, &gw) < 0) {
		(void)snprintf(w->wrong, sizeof w->wrong, "no flipd");
		return NULL;
	}
	(void)snprintf(name, sizeof name, "worker-%u", w->who);
	MUST(w, gw_name_lookup(gw, w->root, "bullet", &server));
	MUST(w, gw_sp_create(gw, w->root, &set.caps[0]));
	MUST(w, gw_sp_append(gw, w->root, name, NULL, &set));
	for (unsigned i = 0; i < w->n && !*w->wrong; i++)
		work_once(w, gw, &server, &set.caps[0], i);
	MUST(w, gw_sp_discard(gw, &set.caps[0]));
	MUST(w, gw_sp_delete(gw, w->root, name));
	gw_close(gw);
	return NULL;
}

static int work_all(const struct gw_cap *root, unsigned threads, unsigned n)
{
	struct worker *w = xcalloc(threads, sizeof *w);
	const char *wrong = "";
	uint64_t worst_us = 0;

	for (unsigned i = 0; i < threads; i++) {
		w[i] = (struct worker) { .root = root, .who = i, .n = n };
		if (pthread_create(&w[i].thread, NULL, work, &w[i]) != 0)
			return 1;
	}
	for (unsigned i = 0; i < threads; i++) {
		(void)pthread_join(w[i].thread, NULL);
		worst_us = MAX(worst_us, w[i].worst_us);
		wrong = *w[i].wrong ? w[i].wrong : wrong;
	}
	printf("{\"files\": %u, \"worst_us\": %lu, \"wrong\": \"%s\"}\n", threads * n, (unsigned long)worst_us,
	       wrong);
	return *wrong != 0;
}

static int fill(const struct gw_cap *root, unsigned n)
{
	struct worker w = { .root = root };
	struct gw_capset set = { .n = 1 };
	struct gw_cap server, dir;
	struct gw *gw = NULL;

	if (gw_connect(NULL, &gw) < 0)
		return 1;
	MUST(&w, gw_name_lookup(gw, root, "bullet", &server));
	MUST(&w, gw_sp_create(gw, root, &dir));
	set.caps[0] = dir;
	MUST(&w, gw_sp_append(gw, root, "fill", NULL, &set));
	for (unsigned i = 0; i < n && !*w.wrong; i++) {
		char name[32], text[64];

		(void)snprintf(name, sizeof name, "%05u", i);
		(void)snprintf(text, sizeof text, "the contents of file %u", i);
		MUST(&w, gw_b_create(gw, &server, text, strlen(text), GW_B_COMMIT, &set.caps[0]));
		if (i % 100 == 0)
			MUST(&w, gw_sp_append(gw, &dir, name, NULL, &set));
	}
	gw_close(gw);
	printf("{\"files\": %u, \"wrong\": \"%s\"}\n", n, w.wrong);
	return *w.wrong != 0;
}

/* Rows that nobody may use are not listed, and those between them are, each once. */
static int list_hidden(const struct gw_cap *root)
{
	static const char *const names[] = { "a", "b", "c", "d", "e" };
	static const struct gw_sp_masks nothing = { 0 };
	struct worker w = { .root = root };
	struct gw_capset set = { .n = 1, .caps = { *root } };
	char seen[16] = "";
	struct gw_sp_row row;
	struct gw_cap dir;
	struct gw *gw = NULL;
	size_t n = 1;

	if (gw_connect(NULL, &gw) < 0)
		return 1;
	MUST(&w, gw_sp_create(gw, root, &dir));
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		MUST(&w, gw_sp_append(gw, &dir, names[i], i % 2 ? &nothing : NULL, &set));
	for (unsigned at = 0; n && at < ARRAY_LEN(names) && !*w.wrong; at++) {
		MUST(&w, gw_sp_list(gw, &dir, at, &row, 1, &n));
		if (n)
			seen[at] = row.name[0];
	}
	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		MUST(&w, gw_sp_delete(gw, &dir, names[i]));
	MUST(&w, gw_sp_discard(gw, &dir));
	gw_close(gw);
	printf("{\"seen\": \"%s\", \"wrong\": \"%s\"}\n", seen, w.wrong);
	return strcmp(seen, "ace") != 0 || *w.wrong;
}

static void expect(struct worker *w, const char *what, bool good)
{
	if (!good && !*w->wrong)
		(void)snprintf(w->wrong, sizeof w->wrong, "%s", what);
}

static bool says(struct gw *gw, const struct gw_cap *file, const char *text)
{
	char got[64] = "";

	return gw_b_read(gw, file, 0, got, sizeof got - 1) == (ssize_t)strlen(text) && !strcmp(got, text);
}

/* Copies, at home and elsewhere. */
static void copy_some(struct worker *w, struct gw *gw, const struct gw_cap *bullet, const struct gw_cap *other)
{
	struct gw_cap file, fresh, blind, copies[2];

	MUST(w, gw_b_create(gw, bullet, "to be copied", 12, GW_B_COMMIT, &file));
	MUST(w, gw_b_create(gw, bullet, "later", 5, 0, &fresh));
	MUST(w, gw_std_copy(gw, bullet, &file, &copies[0]));
	MUST(w, gw_std_copy(gw, other, &file, &copies[1]));
	for (unsigned i = 0; i < 2; i++) {
		expect(w, "a copy is something else", says(gw, &copies[i], "to be copied"));
		expect(w, "a copy is the file itself", memcmp(&copies[i], &file, sizeof file) != 0);
	}
	expect(w, "a copy is elsewhere", !memcmp(&copies[1].port, &other->port, sizeof other->port));
	MUST(w, gw_cap_restrict(&file, GW_BSR_DESTROY, &blind));
	expect(w, "who may not read it may copy it", gw_std_copy(gw, bullet, &blind, &copies[0]) == GW_STD_DENIED);
	expect(w, "nor elsewhere", gw_std_copy(gw, other, &blind, &copies[0]) == GW_STD_DENIED);
	expect(w, "what is not committed is copied", gw_std_copy(gw, bullet, &fresh, &copies[0]) == GW_STD_NOTNOW);
	MUST(w, gw_std_destroy(gw, &file));
	MUST(w, gw_std_destroy(gw, &fresh));
	expect(w, "what is gone is copied", gw_std_copy(gw, other, &file, &copies[0]) == GW_STD_CAPBAD);
	expect(w, "a copy goes with it", says(gw, &copies[1], "to be copied"));
}

/* Of two files that nobody reads one is touched. */
static void age_some(struct worker *w, struct gw *gw, const struct gw_cap *server)
{
	struct gw_cap files[2], user;

	MUST(w, gw_b_create(gw, server, "one", 3, GW_B_COMMIT, &files[0]));
	MUST(w, gw_b_create(gw, server, "two", 3, GW_B_COMMIT, &files[1]));
	MUST(w, gw_cap_restrict(server, GW_BSR_CREATE | GW_BSR_READ, &user));
	expect(w, "a user makes all older", gw_std_age(gw, &user) == GW_STD_DENIED);
	expect(w, "a file makes all older", gw_std_age(gw, &files[0]) == GW_STD_ARGBAD);
	for (unsigned i = 0; i < 30; i++) {
		if (i == 23)
			expect(w, "a file is gone too early",
			       gw_std_info(gw, &files[1], (char[64]) { 0 }, 64) == GW_OK);
		MUST(w, gw_std_age(gw, server));
		MUST(w, gw_std_touch(gw, &files[0]));
	}
	expect(w, "what was touched is gone", says(gw, &files[0], "one"));
	expect(w, "what nobody touched is there", gw_std_touch(gw, &files[1]) == GW_STD_CAPBAD);
}

static int standard(const struct gw_cap *root)
{
	struct worker w = { .root = root };
	struct gw_cap bullet, other;
	struct gw *gw = NULL;
	char text[256] = "";

	if (gw_connect(NULL, &gw) < 0)
		return 1;
	MUST(&w, gw_name_lookup(gw, root, "bullet", &bullet));
	MUST(&w, gw_name_lookup(gw, root, "other", &other));
	if (!*w.wrong) {
		copy_some(&w, gw, &bullet, &other);
		age_some(&w, gw, &other);
	}
	MUST(&w, gw_std_status(gw, &other, text, sizeof text));
	expect(&w, "a strange status", strstr(text, "bullet server, 1 files\n") && strstr(text, " requests\n"));
	expect(&w, "a directory is copied", gw_std_copy(gw, root, &bullet, &other) == GW_STD_COMBAD);
	gw_close(gw);
	printf("{\"wrong\": \"%s\"}\n", w.wrong);
	return *w.wrong != 0;
}

int main(int argc, char **argv)
{
	struct gw_cap root;

	if (sodium_init() < 0 || argc < 3 || gw_cap_parse(argv[2], &root) != GW_OK) {
		fprintf(stderr, "usage: objects fill ROOT N | work ROOT THREADS N | hidden ROOT | std ROOT\n");
		return 2;
	}
	if (!strcmp(argv[1], "hidden"))
		return list_hidden(&root);
	if (!strcmp(argv[1], "std"))
		return standard(&root);
	if (argc > 3 && !strcmp(argv[1], "fill"))
		return fill(&root, (unsigned)atoi(argv[3]));
	return argc == 5 ? work_all(&root, (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4])) : 2;
}
