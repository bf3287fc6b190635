/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model checker for the rules of the commit: the very tables procd runs (procd/commit.c), at both sides of one
 * migration, in a world where anything may happen next that can.
 *
 * Theory of operation
 *
 * A state is a struct world: two hosts, two procds with what they are about to do, two movers, the copies of the
 * job, the journals, and the set of all messages that were ever sent. Since a message stays in that set, it may
 * arrive at any later moment, any number of times, after any other, or never: loss, delay, duplication and
 * reordering without a bound. A rule's actions are done one by one, and between any two of them procd, mover or
 * host may die, a journal be full, a message come to the other side.
 *
 * All states are visited that can be reached with at most FAULTS faults (COMMIT_FAULTS in the environment),
 * breadth first, so that the way to a state that is wrong is a shortest one. In each the invariants of safety are
 * asserted (world_is_unsafe), and from each everything is let come to its end without further faults, messages
 * arriving, hosts up, and that end is looked at (world_settle): one copy, running, nothing left over.
 *
 * Then one rule at a time is replaced by a wrong one, and each of these protocols must be found out, by the
 * invariant that is named. And each rule must have been used, but for those that are named as idle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "commit_world.h"

#define FAULTS 2 /* also enough to find what is broken */
#define WAY_MAX 200

_Static_assert(sizeof(struct world) == 50, "no padding: worlds are compared as bytes");

struct visit {
	struct world world;
	uint32_t from;
	uint8_t deed;
};

struct search {
	struct protocol protocol;
	unsigned faults;  /* at most */
	bool safety_only; /* do not look at the ends */
	struct visit *visits;
	size_t n, room;
	uint32_t *table; /* open addressing; 1 + index into visits */
	size_t table_size;
	uint64_t transitions;
	unsigned depth;
	const char *wrong; /* and where: */
	struct visit last;
};

/* --- the set of what was visited --- */

static uint32_t *slot(struct search *s, const struct world *w)
{
	for (size_t i = world_hash(w) & (s->table_size - 1);; i = (i + 1) & (s->table_size - 1)) {
		uint32_t at = s->table[i];

		if (!at || !memcmp(&s->visits[at - 1].world, w, sizeof *w))
			return &s->table[i];
	}
}

static void grow(struct search *s)
{
	s->room = s->room ? 2 * s->room : 1 << 16;
	s->table_size = 4 * s->room;
	s->visits = xrealloc(s->visits, s->room * sizeof *s->visits);
	free(s->table);
	s->table = xcalloc(s->table_size, sizeof *s->table);
	for (size_t i = 0; i < s->n; i++)
		*slot(s, &s->visits[i].world) = (uint32_t)i + 1;
}

/* True if it is new. */
static bool add(struct search *s, const struct world *w, uint32_t from, uint8_t deed)
{
	uint32_t *at;

	if (s->n == s->room)
		grow(s);
	at = slot(s, w);
	if (*at)
		return false;
	s->visits[s->n] = (struct visit) { .world = *w, .from = from, .deed = deed };
	*at = (uint32_t)++s->n;
	return true;
}

/* --- the search --- */

static unsigned faults_of(const struct world *w)
{
	unsigned n = 0;

	for (int i = 0; i < F_N; i++)
		n += w->faults[i];
	return n;
}

static void found(struct search *s, const char *wrong, const struct world *w, uint32_t from, unsigned deed)
{
	s->wrong = wrong;
	s->last = (struct visit) { .world = *w, .from = from, .deed = (uint8_t)deed };
}

static void visit(struct search *s, uint32_t from, unsigned deed)
{
	struct world w = s->visits[from].world, end;
	const char *wrong = NULL;

	if (!world_do(&w, &s->protocol, deed, &wrong))
		return;
	s->transitions++;
	if (!wrong)
		wrong = world_is_unsafe(&w);
	if (!wrong && (faults_of(&w) > s->faults || !add(s, &w, from, (uint8_t)deed)))
		return;
	end = w;
	if (!wrong && !s->safety_only)
		wrong = world_settle(&end, &s->protocol);
	if (wrong)
		found(s, wrong, &w, from, deed);
}

static void search(struct search *s)
{
	struct world first;
	size_t next_level = 1;

	world_init(&first);
	(void)add(s, &first, 0, 0);
	for (size_t i = 0; i < s->n && !s->wrong; i++) {
		if (i == next_level) {
			s->depth++;
			next_level = s->n;
		}
		for (unsigned deed = 0; deed < DEED_N && !s->wrong; deed++)
			visit(s, (uint32_t)i, deed);
	}
}

static void print_way(const struct search *s)
{
	unsigned way[WAY_MAX];
	size_t n = 0;

	way[n++] = s->last.deed;
	for (uint32_t at = s->last.from; at && n < WAY_MAX; at = s->visits[at].from)
		way[n++] = s->visits[at].deed;
	while (n--)
		print_message("#   %s\n", world_deed_name(way[n]));
}

static struct search *search_new(unsigned faults, bool safety_only, struct commit_rules source,
				 struct commit_rules destination)
{
	struct search *s = xcalloc(1, sizeof *s);

	s->faults = faults;
	s->safety_only = safety_only;
	assert_true(source.n <= PROTOCOL_RULES_MAX && destination.n <= PROTOCOL_RULES_MAX);
	protocol_init(&s->protocol, source, destination);
	return s;
}

static void search_free(struct search *s)
{
	protocol_free(&s->protocol);
	free(s->visits);
	free(s->table);
	free(s);
}

/* --- the rules as they are --- */

static void is_one_for_each(const struct commit_rules *rules)
{
	for (size_t i = 0; i < rules->n; i++)
		assert_ptr_equal(commit_find(rules, rules->list[i].state, rules->list[i].event), &rules->list[i]);
}

static void one_rule_for_each(void **state)
{
	(void)state;
	is_one_for_each(&commit_source);
	is_one_for_each(&commit_destination);
}

static unsigned count_idle(const struct commit_rules *rules, const bool *used, char side)
{
	unsigned idle = 0;

	for (size_t i = 0; i < rules->n; i++) {
		if (used[i] || rules->list[i].event == COMMIT_E_LONG)
			continue; /* (LONG does what FAILED does) */
		print_message("# %c: the rule for state %u, event %u was never used\n", side, rules->list[i].state,
			      rules->list[i].event);
		idle++;
	}
	return idle;
}

static void sound(void **state)
{
	const char *faults = getenv("COMMIT_FAULTS");
	struct search *s =
		search_new(faults ? (unsigned)atoi(faults) : FAULTS, false, commit_source, commit_destination);

	(void)state;
	search(s);
	print_message(
		"# %zu states, %llu transitions, depth %u, at most %u faults: every state is safe and leads to a "
		"good end%s\n",
		s->n, (unsigned long long)s->transitions, s->depth, s->faults, s->wrong ? ": NOT TRUE" : "");
	if (s->wrong) {
		print_message("# %s:\n", s->wrong);
		print_way(s);
	}
	assert_null(s->wrong);
	assert_int_equal(count_idle(&commit_source, s->protocol.used[true], 'S') +
				 count_idle(&commit_destination, s->protocol.used[false], 'D'),
			 0);
	search_free(s);
}

/* --- broken rules --- */

#define S_RULE(state, event, next, ...)                                                                           \
	{                                                                                                         \
		COMMIT_S_##state, COMMIT_E_##event, COMMIT_S_##next,                                              \
		{                                                                                                 \
			__VA_ARGS__                                                                               \
		}                                                                                                 \
	}
#define D_RULE(state, event, next, ...)                                                                           \
	{                                                                                                         \
		COMMIT_D_##state, COMMIT_E_##event, COMMIT_D_##next,                                              \
		{                                                                                                 \
			__VA_ARGS__                                                                               \
		}                                                                                                 \
	}
#define DO(action) COMMIT_A_##action

/* clang-format off */
static const struct broken {
	const char *what, *found; /* part of the invariant that finds it */
	bool source;
	struct commit_rule rule;
} all_broken[] = {
	{ "S thaws when COMMIT is not answered in time", "two copies run|revoked after the job ran at D", true,
	  S_RULE(COMMITTED, TIME, REVOKING, DO(NOTE_REVOKED)) },
	{ "S commits before it writes the record", "two copies run", true,
	  S_RULE(OPEN, FROZEN, DECIDING, DO(SEND_COMMIT), DO(NOTE_COMMITTED)) },
	{ "S deletes its copy when COMMIT is sent", "unacknowledged", true,
	  S_RULE(DECIDING, NOTED, DELETING, DO(SEND_COMMIT), DO(DELETE)) },
	{ "S deletes its copy when D knows nothing", "unacknowledged", true,
	  S_RULE(COMMITTED, UNKNOWN, DELETING, DO(DELETE)) },
	{ "S lets D forget before its copy is gone", "revoked after the job ran at D", true,
	  S_RULE(COMMITTED, ACKNOWLEDGED, DELETING, DO(SEND_FORGET), DO(DELETE)) },
	{ "S wakes its copy without revoking the record", "gave it away", true,
	  S_RULE(COMMITTED, NEVER_RAN, REVOKED, DO(WAKE)) },
	{ "a restarted S wakes its copy before the old mover has let go", "S keeps a copy for ever", true,
	  S_RULE(OPEN, RESTARTED, NONE, DO(WAKE)) },
	{ "S says ABORTED although it has a record", "revoked after the job ran at D|D has lost the job|deleted the only", true,
	  S_RULE(COMMITTED, QUERY, COMMITTED, DO(SAY_ABORTED)) },
	{ "S without a record does not say ABORTED", "D keeps a copy for ever", true,
	  S_RULE(NONE, QUERY, NONE, DO(SAY_UNDECIDED)) },
	{ "S does not undo what failed", "S keeps a copy for ever|a mover is left over", true,
	  S_RULE(OPEN, FAILED, NONE, DO(NONE)) },
	{ "S goes on although the record could not be written", "S has lost the job", true,
	  S_RULE(DECIDING, NOTE_FAILED, COMMITTED, DO(SEND_COMMIT)) },
	{ "S forgets a record that D has not answered", "S keeps a copy for ever", true,
	  S_RULE(COMMITTED, RESTARTED, NONE, DO(NONE)) },
	{ "S closes a record because its own copy was killed", "the job is nowhere", true,
	  S_RULE(COMMITTED, GONE, DELETED, DO(NOTE_DELETED)) },
	{ "S says ABORTED before it has written that its copy is gone", "revoked after the job ran at D|a record is left over", true,
	  S_RULE(DELETED, NOTE_FAILED, NONE, DO(NONE)) },
	{ "D decides alone when S is silent", "two copies run", false,
	  D_RULE(READY, TIME, THAWING, DO(NOTE_THAWED)) },
	{ "D says NEVER_RAN although it is complete", "revoked after the job ran at D", false,
	  D_RULE(READY, QUERY, READY, DO(SAY_NEVER_RAN)) },
	{ "D says NEVER_RAN while the streams come in", "revoked after the job ran at D", false,
	  D_RULE(COMMITTING, QUERY, COMMITTING, DO(SAY_NEVER_RAN)) },
	{ "D says NEVER_RAN of another boot", "revoked after the job ran at D", false,
	  D_RULE(NONE, QUERY_OTHER, NONE, DO(SAY_NEVER_RAN)) },
	{ "D heeds ABORTED after THAWED", "D has lost the job", false,
	  D_RULE(THAWED, ABORTED, NONE, DO(NOTE_FORGOTTEN), DO(DISCARD)) },
	{ "D thaws before it writes THAWED", "without a record", false,
	  D_RULE(COMMITTING, INSTALLED, THAWING, DO(THAW), DO(NOTE_THAWED)) },
	{ "D forgets by itself that it thawed", "D has lost the job|revoked after the job ran at D", false,
	  D_RULE(THAWED, TIME, NONE, DO(NOTE_FORGOTTEN)) },
	{ "D forgets before the job's file says that it is at home", "D has lost the job", false,
	  D_RULE(THAWED, FORGET, NONE, DO(ANSWER_OK), DO(NOTE_FORGOTTEN)) },
	{ "D does not repeat the thaw after a restart", "unacknowledged", false,
	  D_RULE(THAWED, RESTARTED, THAWED, DO(NONE)) },
	{ "D waits but does not ask", "D keeps a copy for ever", false,
	  D_RULE(READY, TIME, READY, DO(NONE)) },
	{ "D keeps what is incomplete", "D keeps a copy for ever|a mover is left over", false,
	  D_RULE(PREPARING, FAILED, NONE, DO(NONE)) },
	{ "D acknowledges before it has installed anything", "unacknowledged", false,
	  D_RULE(READY, COMMIT, COMMITTING, DO(ANSWER_COMMITTED), DO(INSTALL)) },
	{ "D thaws although THAWED could not be written", "without a record", false,
	  D_RULE(THAWING, NOTE_FAILED, THAWED, DO(THAW), DO(ANSWER_COMMITTED)) },
};
/* clang-format on */

static struct commit_rules with(const struct commit_rules *rules, const struct commit_rule *instead,
				struct commit_rule *room)
{
	for (size_t i = 0; i < rules->n; i++) {
		bool it = rules->list[i].state == instead->state && rules->list[i].event == instead->event;

		room[i] = it ? *instead : rules->list[i];
	}
	return (struct commit_rules) { room, rules->n };
}

/* One of the alternatives that | separates. */
static bool is_named(const char *wrong, const char *names)
{
	_cleanup_free_ char *copy = xstrdup(names);
	char *next = copy, *name;

	while ((name = strsep(&next, "|")))
		if (strstr(wrong, name))
			return true;
	return false;
}

/* True if it was found, and how. */
static bool try_broken(const struct broken *b, unsigned faults, bool safety_only)
{
	const struct commit_rules *sound = b->source ? &commit_source : &commit_destination;
	struct commit_rule room[PROTOCOL_RULES_MAX];
	struct commit_rules rules = with(sound, &b->rule, room);
	struct search *s = search_new(faults, safety_only, b->source ? rules : commit_source,
				      b->source ? commit_destination : rules);
	bool good;

	assert_non_null(commit_find(sound, b->rule.state, b->rule.event));
	search(s);
	good = s->wrong && is_named(s->wrong, b->found);
	if (s->wrong || (!safety_only && faults == FAULTS))
		print_message("# %s: %s: %s (%zu states, %u faults)\n", good ? "found" : "NOT FOUND", b->what,
			      s->wrong ? s->wrong : "nothing", s->n, faults);
	if (s->wrong && (!good || getenv("COMMIT_WAYS")))
		print_way(s);
	search_free(s);
	return good;
}

/* Little first: one fault is enough for most, and what is unsafe shows earlier than what ends badly. */
static bool find_broken(const struct broken *b)
{
	for (unsigned faults = 1; faults <= FAULTS; faults++)
		if (try_broken(b, faults, true) || try_broken(b, faults, false))
			return true;
	return false;
}

static void broken_rules_are_found(void **state)
{
	unsigned missed = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all_broken); i++)
		missed += !find_broken(&all_broken[i]);
	assert_int_equal(missed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_rule_for_each),
		cmocka_unit_test(sound),
		cmocka_unit_test(broken_rules_are_found),
	};

	return cmocka_run_group_tests_name("commit", tests, NULL, NULL);
}
