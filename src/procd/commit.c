/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off */
/*
 * Two-phase commit, presumed abort. The rules, and the rows of the tables (S source, D destination) that hold them:
 *
 *	1. The source's record is the commit point. Without it every failure is undone and the job goes on at the
 *	   source; with it the source's copy stays frozen and is thawed only by 4 or 6.
 *		S OPEN, DECIDING, COMMITTED
 *	2. A source without a record says ABORTED to whoever asks, also after a boot; the destination then discards.
 *	   A source with a record repeats COMMIT until it is acknowledged, even if its own copy is killed meanwhile;
 *	   a second COMMIT does no harm.
 *		S NONE QUERY, COMMITTED TIME, EMPTY; D READY ABORTED, COMMITTING COMMIT, THAWED COMMIT
 *	3. The destination never decides alone: complete and frozen it waits and asks, for ever.
 *		D READY TIME
 *	4. It says NEVER_RAN only in the boot in which the migration began, and only while it knows nothing of it,
 *	   which is when it has discarded what it had: what it knows is either complete (and then UNDECIDED or
 *	   RUNNING) or will be. Then the source may revoke its record, and thaw.
 *		D NONE QUERY; S COMMITTED NEVER_RAN
 *	5. Any other loss of the destination after COMMIT is in doubt: both keep asking.
 *		S COMMITTED NO_ANSWER, OTHER_BOOT, TIME
 *	6. A person may decide, at either side, when the other is gone for good.
 *		PERSON_HERE, PERSON_THERE
 *	7. THAWED is written before the thaw, and kept until the source says FORGET, or ABORTED, which after THAWED
 *	   can only mean that it has no record any more. FORGET is sent when the source's copy is gone and that is
 *	   written. Before THAWED is forgotten the job's own file says that it is at home: an arrival that the
 *	   journal does not know is incomplete and is discarded.
 *		D COMMITTING, THAWING, THAWED, FORGETTING; S DELETING, DELETED
 */
#include "procd/commit.h"

#define S(state, event, next, ...) \
	{ COMMIT_S_##state, COMMIT_E_##event, COMMIT_S_##next, { __VA_ARGS__ } }
#define D(state, event, next, ...) \
	{ COMMIT_D_##state, COMMIT_E_##event, COMMIT_D_##next, { __VA_ARGS__ } }
#define DO(action) COMMIT_A_##action

static const struct commit_rule source[] = {
	/* state     event	    next */
	S(NONE,      QUERY,	    NONE,      DO(SAY_ABORTED)),

	S(OPEN,      FROZEN,	    DECIDING,  DO(NOTE_COMMITTED)),
	S(OPEN,      FAILED,	    NONE,      DO(UNDO)),
	S(OPEN,      RESTARTED,	    NONE,      DO(FREE), DO(WAKE)),
	S(OPEN,      QUERY,	    OPEN,      DO(SAY_UNDECIDED)),
	/* After BEGIN was answered: does the destination live, and still know of it? */
	S(OPEN,      TIME,	    OPEN,      DO(ASK_DESTINATION)),
	S(OPEN,      NEVER_RAN,	    NONE,      DO(UNDO)),

	S(DECIDING,  NOTED,	    COMMITTED, DO(SEND_COMMIT)),
	S(DECIDING,  NOTE_FAILED,   NONE,      DO(UNDO)),

	S(COMMITTED, RESTARTED,	    COMMITTED, DO(SEND_COMMIT)),
	S(COMMITTED, TIME,	    COMMITTED, DO(SEND_COMMIT)),
	S(COMMITTED, QUERY,	    COMMITTED, DO(SAY_COMMITTED)),
	S(COMMITTED, ACKNOWLEDGED,  DELETING,  DO(DELETE)),
	S(COMMITTED, UNKNOWN,	    COMMITTED, DO(ASK_DESTINATION)),
	S(COMMITTED, NO_ANSWER,	    COMMITTED, DO(LATER)),
	S(COMMITTED, RUNNING,	    DELETING,  DO(DELETE)),
	S(COMMITTED, NEVER_RAN,	    REVOKING,  DO(NOTE_REVOKED)),
	S(COMMITTED, OTHER_BOOT,    COMMITTED, DO(LATER)),
	S(COMMITTED, PERSON_HERE,   REVOKING,  DO(NOTE_REVOKED)),
	S(COMMITTED, PERSON_THERE,  DELETING,  DO(DELETE)),
	S(COMMITTED, GONE,	    EMPTY),

	/* The destination may still wait for the word. */
	S(EMPTY,     RESTARTED,	    EMPTY,     DO(SEND_COMMIT)),
	S(EMPTY,     TIME,	    EMPTY,     DO(SEND_COMMIT)),
	S(EMPTY,     QUERY,	    EMPTY,     DO(SAY_COMMITTED)),
	S(EMPTY,     ACKNOWLEDGED,  DELETED,   DO(NOTE_DELETED)),
	S(EMPTY,     UNKNOWN,	    EMPTY,     DO(ASK_DESTINATION)),
	S(EMPTY,     NO_ANSWER,	    EMPTY,     DO(LATER)),
	S(EMPTY,     RUNNING,	    DELETED,   DO(NOTE_DELETED)),
	S(EMPTY,     NEVER_RAN,	    DELETED,   DO(NOTE_DELETED)),
	S(EMPTY,     OTHER_BOOT,    DELETED,   DO(NOTE_DELETED)),

	S(REVOKING,  NOTED,	    REVOKED,   DO(FREE), DO(WAKE)),
	S(REVOKING,  NOTE_FAILED,   COMMITTED, DO(LATER)),
	S(REVOKED,   QUERY,	    REVOKED,   DO(SAY_ABORTED)),

	S(DELETING,  QUERY,	    DELETING,  DO(SAY_COMMITTED)),
	S(DELETING,  GONE,	    DELETED,   DO(NOTE_DELETED)),
	S(DELETED,   NOTED,	    NONE,      DO(SEND_FORGET)),
	/* An ABORTED or a FORGET now would let the destination forget what the record lets us ask. */
	S(DELETED,   NOTE_FAILED,   DELETED,   DO(LATER)),
	S(DELETED,   TIME,	    DELETED,   DO(NOTE_DELETED)),
	S(DELETED,   QUERY,	    DELETED,   DO(SAY_COMMITTED)),
};

static const struct commit_rule destination[] = {
	D(NONE,	      BEGIN,	    PREPARING,	DO(PREPARE)),
	D(NONE,	      COMMIT,	    NONE,	DO(ANSWER_UNKNOWN)),
	D(NONE,	      ABORT,	    NONE,	DO(ANSWER_OK)),
	D(NONE,	      FORGET,	    NONE,	DO(ANSWER_OK)),
	D(NONE,	      QUERY,	    NONE,	DO(SAY_NEVER_RAN)),
	D(NONE,	      QUERY_OTHER,  NONE,	DO(SAY_UNKNOWN)),

	D(PREPARING,  COMPLETE,	    NOTING,	DO(NOTE_READY)),
	/* The movers tell both sides; the source was quicker. */
	D(PREPARING,  COMMIT,	    PREPARING,	DO(HOLD)),
	D(PREPARING,  ABORT,	    NONE,	DO(ANSWER_OK), DO(DISCARD)),
	D(PREPARING,  QUERY,	    PREPARING,	DO(SAY_UNDECIDED)),
	D(PREPARING,  TIME,	    PREPARING,	DO(ASK_SOURCE)),
	D(PREPARING,  ABORTED,	    NONE,	DO(DISCARD)),
	/* What is not complete can never be committed; the source finds out when it tries. */
	D(PREPARING,  LONG,	    NONE,	DO(DISCARD)),
	D(PREPARING,  FAILED,	    NONE,	DO(DISCARD)),
	D(PREPARING,  RESTARTED,    NONE,	DO(DISCARD)),

	D(NOTING,     NOTED,	    READY,	DO(LET_GO)),
	D(NOTING,     NOTE_FAILED,  NONE,	DO(DISCARD)),

	D(READY,      COMMIT,	    COMMITTING, DO(INSTALL)),
	D(READY,      ABORT,	    NONE,	DO(ANSWER_OK), DO(NOTE_FORGOTTEN), DO(DISCARD)),
	D(READY,      QUERY,	    READY,	DO(SAY_UNDECIDED)),
	D(READY,      TIME,	    READY,	DO(ASK_SOURCE)),
	D(READY,      ABORTED,	    NONE,	DO(NOTE_FORGOTTEN), DO(DISCARD)),
	D(READY,      FAILED,	    NONE,	DO(NOTE_FORGOTTEN), DO(DISCARD)),
	D(READY,      RESTARTED,    READY,	DO(ASK_SOURCE)),
	/* Without the source's last word: what that would have brought (unread input, transactions) is lost. */
	D(READY,      PERSON_HERE,  COMMITTING, DO(INSTALL)),
	D(READY,      PERSON_THERE, NONE,	DO(NOTE_FORGOTTEN), DO(DISCARD)),

	D(COMMITTING, COMMIT,	    COMMITTING, DO(ANSWER_BUSY)),
	D(COMMITTING, ABORT,	    COMMITTING, DO(ANSWER_ALREADY)),
	D(COMMITTING, QUERY,	    COMMITTING, DO(SAY_UNDECIDED)),
	D(COMMITTING, INSTALLED,    THAWING,	DO(NOTE_THAWED)),
	D(COMMITTING, FAILED,	    NONE,	DO(NOTE_FORGOTTEN), DO(DISCARD), DO(ANSWER_UNKNOWN)),

	D(THAWING,    NOTED,	    THAWED,	DO(THAW), DO(ANSWER_COMMITTED)),
	D(THAWING,    NOTE_FAILED,  NONE,	DO(NOTE_FORGOTTEN), DO(DISCARD), DO(ANSWER_UNKNOWN)),

	D(THAWED,     COMMIT,	    THAWED,	DO(ANSWER_COMMITTED)),
	D(THAWED,     ABORT,	    THAWED,	DO(ANSWER_ALREADY)),
	D(THAWED,     QUERY,	    THAWED,	DO(SAY_RUNNING)),
	D(THAWED,     TIME,	    THAWED,	DO(ASK_SOURCE)),
	D(THAWED,     ABORTED,	    FORGETTING, DO(NOTE_HERE)),
	D(THAWED,     FORGET,	    FORGETTING, DO(ANSWER_OK), DO(NOTE_HERE)),
	D(THAWED,     RESTARTED,    THAWED,	DO(THAW)),

	D(FORGETTING, NOTED,	    NONE,	DO(NOTE_FORGOTTEN)),
	D(FORGETTING, NOTE_FAILED,  THAWED),
};
/* clang-format on */

const struct commit_rules commit_source = { source, sizeof source / sizeof *source };
const struct commit_rules commit_destination = { destination, sizeof destination / sizeof *destination };

const struct commit_rule *commit_find(const struct commit_rules *rules, unsigned state, enum commit_event event)
{
	for (size_t i = 0; i < rules->n; i++)
		if (rules->list[i].state == state && rules->list[i].event == event)
			return &rules->list[i];
	return NULL;
}
