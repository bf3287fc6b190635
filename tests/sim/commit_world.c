/* SPDX-License-Identifier: Apache-2.0 */
#include "commit_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define SAID(w, m) (((w)->said & (m)) != 0)
#define S_RUNS(w) ((w)->s.copy && !(w)->stopped && !(w)->frozen)
#define D_RUNS(w) ((w)->d.copy && (w)->runs)
#define IN_DOUBT(w) ((w)->s.copy && (w)->frozen && (w)->s.record == COMMITTED && (w)->d.boot != (w)->of_boot)
#define ROUNDS_MAX 60

/* Parts of actions, between which a crash may come. */
enum part { PART_END_MOVER = COMMIT_A_N, PART_THAW, PART_SEND_ABORT };

void world_init(struct world *w)
{
	memset(w, 0, sizeof *w);
	w->s = (struct side) { .host = 1, .procd = 1, .mover = 1, .copy = 1, .state = COMMIT_S_NONE };
	w->d = (struct side) { .host = 1, .procd = 1, .state = COMMIT_D_NONE };
}

uint64_t world_hash(const struct world *w)
{
	uint64_t h = 0, x;

	for (size_t i = 0; i < sizeof *w; i += sizeof x) {
		x = 0;
		memcpy(&x, (const uint8_t *)w + i, sizeof *w - i < sizeof x ? sizeof *w - i : sizeof x);
		h = (h ^ x) * 0x9e3779b97f4a7c15u;
		h ^= h >> 32;
	}
	return h;
}

/* --- the core --- */

void protocol_init(struct protocol *p, struct commit_rules source, struct commit_rules destination)
{
	memset(p, 0, sizeof *p);
	p->rules[true] = source;
	p->rules[false] = destination;
	for (int side = 0; side < 2; side++)
		for (unsigned state = 0; state < ARRAY_LEN(p->find[0]); state++)
			for (unsigned e = 0; e < COMMIT_E_N; e++)
				p->find[side][state][e] = commit_find(&p->rules[side], state, e);
	p->good = xcalloc(PROTOCOL_GOOD_N, sizeof *p->good);
}

void protocol_free(struct protocol *p)
{
	free(p->good);
}

static void push(struct side *x, uint8_t what)
{
	for (int i = 0; i < TODO_MAX; i++) {
		if (x->todo[i])
			continue;
		x->todo[i] = what;
		return;
	}
}

static bool event(struct world *w, struct protocol *p, bool source, enum commit_event e)
{
	struct side *x = source ? &w->s : &w->d;
	const struct commit_rule *r = p->find[source][x->state][e];

	if (!r)
		return false;
	p->used[source][r - p->rules[source].list] = true;
	x->state = (uint8_t)r->next;
	for (int i = 0; i < COMMIT_ACTIONS_MAX && r->actions[i]; i++) {
		if (r->actions[i] == COMMIT_A_UNDO) {
			push(x, PART_END_MOVER);
			push(x, PART_THAW);
			push(x, PART_SEND_ABORT);
		} else if (r->actions[i] == COMMIT_A_FREE) {
			push(x, PART_END_MOVER);
		} else if (r->actions[i] == COMMIT_A_WAKE) {
			push(x, PART_THAW);
		} else {
			push(x, (uint8_t)r->actions[i]);
		}
	}
	return true;
}

/* --- what is done --- */

static void end_mover_s(struct world *w)
{
	w->s.mover = 0;
	w->order = 0;
	w->stopped = 0;
	w->stream = 0;
	w->told_ready = 0;
	w->told_frozen = 0;
}

static void end_mover_d(struct world *w)
{
	w->d.mover = 0;
	w->stream = 0;
	w->told = 0;
	/* Before everything is in place and let go, the process dies with its tracer. */
	if (!w->complete)
		w->d.copy = 0;
}

static void note(struct world *w, struct protocol *p, bool source, enum record record, bool fails)
{
	struct side *x = source ? &w->s : &w->d;

	if (!fails)
		x->record = (uint8_t)record;
	w->was_ready |= x->record == READY;
	(void)event(w, p, source, fails ? COMMIT_E_NOTE_FAILED : COMMIT_E_NOTED);
}

static const char *do_source(struct world *w, struct protocol *p, unsigned action, bool fails)
{
	switch (action) {
	case COMMIT_A_NOTE_COMMITTED:
		note(w, p, true, COMMITTED, fails);
		return NULL;
	case COMMIT_A_NOTE_REVOKED:
		note(w, p, true, REVOKED, fails);
		return w->ran && !w->person ? "the record is revoked after the job ran at D" : NULL;
	case COMMIT_A_NOTE_DELETED:
		note(w, p, true, DELETED, fails);
		return NULL;
	case COMMIT_A_SEND_COMMIT:
		w->said |= M_COMMIT;
		return NULL;
	case COMMIT_A_ASK_DESTINATION:
		w->said |= M_QUERY_D;
		return NULL;
	case COMMIT_A_LATER: /* the mover has let go, and this may take long */
	case PART_END_MOVER:
		end_mover_s(w);
		return NULL;
	case PART_THAW:
		w->frozen = 0;
		return NULL;
	case PART_SEND_ABORT:
		w->stage = OVER;
		w->said |= M_ABORT;
		return NULL;
	case COMMIT_A_DELETE:
		w->s.copy = 0;
		w->frozen = 0;
		end_mover_s(w);
		return w->ran || w->person || w->lost ? NULL : "S deletes its copy unacknowledged";
	case COMMIT_A_SEND_FORGET: /* with that it is over */
		end_mover_s(w);
		w->said |= M_FORGET;
		return NULL;
	case COMMIT_A_SAY_ABORTED:
		w->said |= M_ABORTED;
		return NULL;
	default:
		w->said |= M_SAID_ELSE;
		return NULL;
	}
}

static void discard(struct world *w)
{
	w->complete = 0;
	end_mover_d(w);
	w->d.copy = 0;
	w->runs = 0;
}

static const char *do_destination(struct world *w, struct protocol *p, unsigned action, bool fails)
{
	switch (action) {
	case COMMIT_A_PREPARE:
		w->d.copy = 1;
		w->d.mover = 1;
		w->said |= w->d.boot ? M_BEGUN_LATE : M_BEGUN;
		return NULL;
	case COMMIT_A_NOTE_READY:
		note(w, p, false, READY, fails);
		return NULL;
	case COMMIT_A_LET_GO:
		end_mover_d(w);
		return NULL;
	case COMMIT_A_NOTE_THAWED:
		note(w, p, false, THAWED, fails);
		return NULL;
	case COMMIT_A_THAW:
		w->ran = 1;
		w->runs = w->d.copy;
		return w->d.record == THAWED ? NULL : "D thaws without a record";
	case COMMIT_A_NOTE_HERE:
		w->home |= !fails;
		(void)event(w, p, false, fails ? COMMIT_E_NOTE_FAILED : COMMIT_E_NOTED);
		return NULL;
	case COMMIT_A_NOTE_FORGOTTEN:
		w->d.record = NONE;
		return NULL;
	case COMMIT_A_DISCARD:
		discard(w);
		return NULL;
	case COMMIT_A_ASK_SOURCE:
		w->said |= M_QUERY_S;
		return NULL;
	case COMMIT_A_ANSWER_COMMITTED:
		w->said |= SAID(w, M_COMMIT) ? M_ACK : 0;
		return NULL;
	case COMMIT_A_ANSWER_UNKNOWN:
		w->said |= SAID(w, M_COMMIT) ? M_UNKNOWN : 0;
		return NULL;
	case COMMIT_A_SAY_RUNNING:
		w->said |= M_RUNNING;
		return NULL;
	case COMMIT_A_SAY_NEVER_RAN:
		w->said |= M_NEVER_RAN;
		return NULL;
	case COMMIT_A_SAY_UNKNOWN:
		w->said |= M_OTHER_BOOT;
		return NULL;
	default:
		w->said |= M_SAID_ELSE;
		return NULL;
	}
}

static bool is_note(unsigned action)
{
	return action == COMMIT_A_NOTE_COMMITTED || action == COMMIT_A_NOTE_REVOKED ||
	       action == COMMIT_A_NOTE_DELETED || action == COMMIT_A_NOTE_READY ||
	       action == COMMIT_A_NOTE_THAWED || action == COMMIT_A_NOTE_HERE;
}

static bool do_todo(struct world *w, struct protocol *p, bool source, bool fails, const char **wrong)
{
	struct side *x = source ? &w->s : &w->d;
	uint8_t action = x->todo[0];

	if (!x->procd || !action || (fails && !is_note(action)))
		return false;
	memmove(x->todo, x->todo + 1, TODO_MAX - 1);
	x->todo[TODO_MAX - 1] = 0;
	*wrong = source ? do_source(w, p, action, fails) : do_destination(w, p, action, fails);
	return true;
}

/* --- events --- */

/* What has to be true outside procd for it to get this event. */
static bool may_come_s(const struct world *w, enum commit_event e)
{
	switch (e) {
	case COMMIT_E_FROZEN:
		return w->stage == FREEZING && w->told_frozen;
	case COMMIT_E_ACKNOWLEDGED:
		return SAID(w, M_ACK);
	case COMMIT_E_UNKNOWN:
		return SAID(w, M_UNKNOWN);
	case COMMIT_E_RUNNING:
		return SAID(w, M_RUNNING);
	case COMMIT_E_NEVER_RAN:
		return SAID(w, M_NEVER_RAN);
	case COMMIT_E_QUERY:
		return SAID(w, M_QUERY_S);
	case COMMIT_E_OTHER_BOOT:
		return SAID(w, M_OTHER_BOOT);
	case COMMIT_E_GONE:
		return !w->s.copy;
	case COMMIT_E_TIME:
		return w->s.state != COMMIT_S_OPEN || w->stage >= PREPARED;
	case COMMIT_E_NO_ANSWER:
		return true;
	default:
		return false;
	}
}

static bool may_come_d(const struct world *w, enum commit_event e)
{
	switch (e) {
	case COMMIT_E_BEGIN: /* RPC: a request is begun once */
		return SAID(w, M_BEGIN) && !w->d.copy && !SAID(w, w->d.boot ? M_BEGUN_LATE : M_BEGUN);
	case COMMIT_E_COMPLETE:
		return w->told && w->d.copy;
	case COMMIT_E_COMMIT:
		return SAID(w, M_COMMIT);
	case COMMIT_E_INSTALLED:
		return w->d.copy;
	case COMMIT_E_ABORT:
		return SAID(w, M_ABORT);
	case COMMIT_E_FORGET:
		return SAID(w, M_FORGET);
	case COMMIT_E_ABORTED:
		return SAID(w, M_ABORTED);
	case COMMIT_E_QUERY:
		return SAID(w, M_QUERY_D) && w->d.boot == w->of_boot;
	case COMMIT_E_QUERY_OTHER:
		return SAID(w, M_QUERY_D) && w->d.boot != w->of_boot;
	case COMMIT_E_FAILED:
		return (w->d.state == COMMIT_D_READY || w->d.state == COMMIT_D_COMMITTING) && !w->d.copy;
	case COMMIT_E_TIME:
		return true;
	default:
		return false;
	}
}

/* --- starting again --- */

static void start_s(struct world *w, struct protocol *p)
{
	w->s.procd = 1;
	if (w->s.record == COMMITTED)
		w->s.state = w->s.copy ? COMMIT_S_COMMITTED : COMMIT_S_EMPTY;
	else
		w->s.state = w->s.copy ? COMMIT_S_OPEN : COMMIT_S_NONE;
	if (w->stage != IDLE)
		w->stage = OVER;
	(void)event(w, p, true, COMMIT_E_RESTARTED);
}

static void start_d(struct world *w, struct protocol *p)
{
	w->d.procd = 1;
	w->d.state = w->d.record == THAWED   ? COMMIT_D_THAWED
		     : w->d.record == READY  ? COMMIT_D_READY
		     : w->d.copy && !w->home ? COMMIT_D_PREPARING
					     : COMMIT_D_NONE;
	(void)event(w, p, false,
		    w->d.state == COMMIT_D_READY && !w->d.copy ? COMMIT_E_FAILED : COMMIT_E_RESTARTED);
}

static void kill_procd(struct side *x)
{
	x->procd = 0;
	x->state = 0;
	x->mover = x->mover ? 2 : 0;
	memset(x->todo, 0, sizeof x->todo);
}

static void kill_host_s(struct world *w)
{
	end_mover_s(w);
	kill_procd(&w->s);
	w->s.host = 0;
	w->s.copy = 0;
	w->s.record = NONE;
	w->frozen = 0;
	w->stage = OVER;
}

static void kill_host_d(struct world *w)
{
	kill_procd(&w->d);
	discard(w);
	w->d.host = 0;
	w->home = 0;
	w->d.record = NONE;
}

static bool fault(struct world *w, struct protocol *p, unsigned f, bool at_d, const char **wrong)
{
	bool possible = (f == F_PROCD_S && w->s.procd) || (f == F_PROCD_D && w->d.procd) ||
			(f == F_MOVER_S && w->s.mover && w->stage != IDLE) || (f == F_MOVER_D && w->d.mover) ||
			(f == F_HOST_S && w->s.host && !w->s.boot) || (f == F_HOST_D && w->d.host && !w->d.boot) ||
			(f == F_KILL_S && w->s.record == COMMITTED && w->s.copy && w->frozen) ||
			(f == F_KILL_D && w->complete && w->d.copy && !w->runs && !w->killed) ||
			(f == F_NOTE && do_todo(w, p, !at_d, true, wrong));

	if (!possible)
		return false;
	w->faults[f]++;
	switch (f) {
	case F_PROCD_S:
		kill_procd(&w->s);
		w->told_ready = 0;
		w->told_frozen = 0;
		break;
	case F_PROCD_D:
		kill_procd(&w->d);
		w->told = 0;
		break;
	case F_MOVER_S:
		end_mover_s(w);
		break;
	case F_MOVER_D:
		end_mover_d(w);
		break;
	case F_HOST_S:
		kill_host_s(w);
		break;
	case F_HOST_D:
		kill_host_d(w);
		break;
	case F_KILL_S:
		w->s.copy = 0;
		w->lost = 1;
		break;
	case F_KILL_D:
		w->d.copy = 0;
		w->killed = 1;
		break;
	default:
		break;
	}
	return true;
}

/* --- deeds --- */

#define DO_IF(condition, ...)                                                                                     \
	do {                                                                                                      \
		if (!(condition))                                                                                 \
			return false;                                                                             \
		__VA_ARGS__;                                                                                      \
		return true;                                                                                      \
	} while (0)

static bool start(struct world *w, struct protocol *p, unsigned deed)
{
	switch (deed) {
	case DEED_S_HOST_STARTS:
		DO_IF(!w->s.host, w->s.host = 1; w->s.boot++);
	case DEED_D_HOST_STARTS:
		DO_IF(!w->d.host, w->d.host = 1; w->d.boot++);
	case DEED_S_PROCD_STARTS:
		DO_IF(w->s.host && !w->s.procd, start_s(w, p));
	default:
		DO_IF(w->d.host && !w->d.procd, start_d(w, p));
	}
}

/* What happens before the commit, roughly. */
static bool prepare(struct world *w, unsigned deed)
{
	bool open = w->s.procd && !w->s.todo[0] && w->s.state == COMMIT_S_OPEN && w->s.mover;

	switch (deed) {
	case DEED_S_MOVER_GOES:
		DO_IF(w->s.mover == 2, end_mover_s(w));
	case DEED_D_MOVER_GOES:
		DO_IF(w->d.mover == 2, end_mover_d(w));
	case DEED_BEGIN:
		DO_IF(w->s.procd && !w->s.todo[0] && w->stage == IDLE && w->s.copy && w->s.mover,
		      w->stage = BEGINNING;
		      w->s.state = COMMIT_S_OPEN; w->said |= M_BEGIN);
	case DEED_BEGUN:
	case DEED_BEGUN_LATE:
		DO_IF(open && w->stage == BEGINNING && SAID(w, deed == DEED_BEGUN ? M_BEGUN : M_BEGUN_LATE),
		      w->stage = PREPARED;
		      w->of_boot = deed == DEED_BEGUN_LATE; w->stream = w->d.mover);
	case DEED_STUN:
		DO_IF(open && w->stage == PREPARED, w->stage = STUNNED; w->stopped = 1);
	case DEED_MOVE:
		DO_IF(open && w->stage == STUNNED, w->stage = MOVING);
	case DEED_COMPLETE:
		DO_IF(w->d.mover && w->stream && w->s.mover && w->stage == MOVING && w->d.copy && !w->complete,
		      w->complete = 1);
	case DEED_TELL_S:
		DO_IF(w->stream && w->complete && w->s.mover && w->stage == MOVING && !w->told_ready,
		      w->told_ready = 1);
	case DEED_TELL_D:
		DO_IF(w->d.mover && w->complete && !w->told && w->d.state == COMMIT_D_PREPARING, w->told = 1);
	case DEED_ORDER:
		DO_IF(open && w->stage == MOVING && w->told_ready, w->stage = FREEZING; w->order = 1);
	default: /* DEED_FREEZE: by the mover, which may have been told by a procd that is dead */
		DO_IF(w->order && w->s.mover, w->order = 0; w->frozen = 1; w->stopped = 0;
		      w->told_frozen = w->s.procd);
	}
}

static bool person(struct world *w, struct protocol *p, unsigned deed)
{
	bool source = deed == DEED_S_PERSON_HERE || deed == DEED_S_PERSON_THERE;
	bool here = deed == DEED_S_PERSON_HERE || deed == DEED_D_PERSON_HERE;
	struct side *x = source ? &w->s : &w->d;

	/* One who knows that the other host is gone for good, or has booted since. */
	if (!x->procd || x->todo[0] || !x->copy || (source ? w->d.boot == w->of_boot : !w->s.boot))
		return false;
	if (!event(w, p, source, here ? COMMIT_E_PERSON_HERE : COMMIT_E_PERSON_THERE))
		return false;
	w->person = 1;
	return true;
}

static bool give_up(struct world *w, struct protocol *p, bool source)
{
	struct side *x = source ? &w->s : &w->d;

	return x->procd && !x->todo[0] && x->state == (source ? COMMIT_S_OPEN : COMMIT_D_PREPARING) &&
	       event(w, p, source, COMMIT_E_FAILED);
}

bool world_do(struct world *w, struct protocol *p, unsigned deed, const char **wrong)
{
	unsigned e;

	if (deed <= DEED_D_TODO)
		return do_todo(w, p, deed == DEED_S_TODO, false, wrong);
	if (deed <= DEED_D_PROCD_STARTS)
		return start(w, p, deed);
	if (deed < DEED_S_EVENT)
		return prepare(w, deed);
	if (deed < DEED_D_EVENT) {
		e = deed - DEED_S_EVENT;
		return w->s.procd && !w->s.todo[0] && may_come_s(w, e) && event(w, p, true, e);
	}
	if (deed < DEED_S_GIVES_UP) {
		e = deed - DEED_D_EVENT;
		return w->d.procd && !w->d.todo[0] && may_come_d(w, e) && event(w, p, false, e);
	}
	if (deed <= DEED_D_GIVES_UP)
		return give_up(w, p, deed == DEED_S_GIVES_UP);
	if (deed < DEED_FAULT)
		return person(w, p, deed);
	return fault(w, p, deed - DEED_FAULT < F_N ? deed - DEED_FAULT : F_NOTE, deed - DEED_FAULT == F_N, wrong);
}

/* --- what must hold --- */

const char *world_is_unsafe(const struct world *w)
{
	bool s_lives = w->s.host && !w->s.boot && !w->person && !w->lost;

	if (S_RUNS(w) && D_RUNS(w) && !w->person)
		return "two copies run";
	if (S_RUNS(w) && w->ran && !w->person)
		return "the job runs at S again after it ran at D";
	if (S_RUNS(w) && w->s.record == COMMITTED)
		return "the job runs at S although the record gave it away";
	/* Without a record, or with a revoked one, S's copy is the job. With one it is kept until D's word. */
	if (s_lives && w->s.record != COMMITTED && w->s.record != DELETED && !w->s.copy)
		return "S has lost the job";
	if (s_lives && w->s.record == COMMITTED && !w->s.copy && !w->ran)
		return "S has deleted the only copy";
	if (w->ran && w->d.host && w->d.boot == w->of_boot && !w->d.copy && !w->killed && !w->person)
		return "D has lost the job";
	if (w->runs && !w->complete)
		return "an incomplete copy runs";
	return NULL;
}

/* May the job be nowhere? What ran, on a host that died; what nobody ran yet, when S died, or when S's frozen copy
 * was killed and D's was not whole either. */
static bool may_be_dead(const struct world *w)
{
	bool d_has_it = w->was_ready && !w->killed && w->d.boot == w->of_boot && !w->faults[F_NOTE];

	if (w->person)
		return true;
	if (w->ran)
		return w->killed || w->d.boot != w->of_boot;
	return w->s.boot || (w->lost && !d_has_it);
}

static const char *is_unsettled(const struct world *w)
{
	if (w->s.copy && !S_RUNS(w) && !IN_DOUBT(w))
		return "S keeps a copy for ever";
	if (w->d.copy && !D_RUNS(w))
		return "D keeps a copy for ever";
	if ((w->s.mover && w->stage != IDLE) || w->d.mover)
		return "a mover is left over";
	if ((w->s.record == COMMITTED && !IN_DOUBT(w)) || w->d.record != NONE)
		return "a record is left over";
	if (S_RUNS(w) || D_RUNS(w) || IN_DOUBT(w) || may_be_dead(w))
		return NULL;
	return "the job is nowhere";
}

/* Both procds do all that they are about to do. */
static void drain(struct world *w, struct protocol *p, const char **wrong)
{
	while (!*wrong && (do_todo(w, p, true, false, wrong) || do_todo(w, p, false, false, wrong)))
		;
}

static bool one_round(struct world *w, struct protocol *p, unsigned from, unsigned to, const char **wrong)
{
	bool moved = false;

	for (unsigned deed = from; deed < to && !*wrong; deed++) {
		struct world next = *w;

		if (!world_do(&next, p, deed, wrong))
			continue;
		drain(&next, p, wrong);
		if (!*wrong && !memcmp(&next, w, sizeof next))
			continue; /* a message that was sent before, a question again */
		*w = next;
		moved = true;
		if (!*wrong)
			*wrong = world_is_unsafe(w);
	}
	return moved;
}

const char *world_settle(struct world *w, struct protocol *p)
{
	uint64_t way[ROUNDS_MAX], here;
	const char *wrong = NULL;
	int n = 0;

	for (;;) {
		here = world_hash(w);
		if (p->good[here % PROTOCOL_GOOD_N] == here)
			break;
		if (n == ROUNDS_MAX)
			return "no end";
		way[n++] = here;
		if (one_round(w, p, 0, DEED_S_GIVES_UP, &wrong) ||
		    one_round(w, p, DEED_S_GIVES_UP, DEED_D_GIVES_UP + 1, &wrong)) {
			if (wrong)
				return wrong;
			continue;
		}
		wrong = wrong ? wrong : is_unsettled(w);
		if (wrong)
			return wrong;
		break;
	}
	while (n--)
		p->good[way[n] % PROTOCOL_GOOD_N] = way[n];
	return NULL;
}

/* --- for people --- */

static const char *const event_names[COMMIT_E_N] = {
	"nothing",   "noted",	    "note failed",  "failed",  "restarted",    "query",	   "query of another boot",
	"time",	     "person here", "person there", "frozen",  "acknowledged", "unknown",  "no answer",
	"running",   "never ran",   "other boot",   "gone",    "begin",	       "complete", "commit",
	"installed", "abort",	    "forget",	    "aborted", "long",
};

const char *world_deed_name(unsigned deed)
{
	static const char *const names[] = { "S does the next thing",
					     "D does the next thing",
					     "S boots",
					     "D boots",
					     "S's procd starts",
					     "D's procd starts",
					     "S begins",
					     "S hears BEGUN",
					     "S hears BEGUN of D's second boot",
					     "S stuns",
					     "S moves",
					     "D is complete",
					     "S's mover hears ready",
					     "D's mover tells procd",
					     "S orders the freeze",
					     "S's mover freezes",
					     "S's mover goes",
					     "D's mover goes" };
	static const char *const last[] = { "S gives up",	    "D gives up",	   "a person at S: here",
					    "a person at S: there", "a person at D: here", "a person at D: there",
					    "S's procd dies",	    "D's procd dies",	   "S's mover dies",
					    "D's mover dies",	    "host S dies",	   "host D dies",
					    "S's copy is killed",   "D's copy is killed",  "S's journal is full",
					    "D's journal is full" };
	static char text[64];

	if (deed < DEED_S_EVENT)
		return names[deed];
	if (deed >= DEED_S_GIVES_UP)
		return last[deed - DEED_S_GIVES_UP];
	(void)snprintf(text, sizeof text, "%c: %s", deed < DEED_D_EVENT ? 'S' : 'D',
		       event_names[deed < DEED_D_EVENT ? deed - DEED_S_EVENT : deed - DEED_D_EVENT]);
	return text;
}
