/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_COMMIT_H
#define GW_PROCD_COMMIT_H

#include <stddef.h>

/*
 * The protocol of the commit: which side does what when, as two tables of rules (commit.c) and nothing else. No
 * I/O, no clock, no memory: an event comes in, the rule for it in the present state says the next state and what
 * is to be done, in that order. procd carries that out (migrate_out_commit.c, migrate_in.c);
 * tests/sim/commit_check.c carries it out for two hosts in a world where everything is lost, doubled, late, killed
 * and rebooted, and looks at every state that can be reached.
 *
 * An event that has no rule means nothing in that state, and nothing is done.
 */

enum commit_s {			    /* the source, about one migration */
		COMMIT_S_NONE,	    /* knows nothing of it, or it is over */
		COMMIT_S_OPEN,	    /* nothing is written: the job is here, whatever happens */
		COMMIT_S_DECIDING,  /* (the record is being written) */
		COMMIT_S_COMMITTED, /* it is: the destination's copy is the job, ours stays frozen */
		COMMIT_S_EMPTY,	    /* COMMITTED, but our copy is gone (killed, or deleted by an earlier procd) */
		COMMIT_S_REVOKING,  /* (the revocation is being written) */
		COMMIT_S_REVOKED,   /* the job is here again */
		COMMIT_S_DELETING,  /* acknowledged: our copy goes */
		COMMIT_S_DELETED,   /* (that it is gone is being written) */
		COMMIT_S_N,
};

enum commit_d {			     /* the destination */
		COMMIT_D_NONE,	     /* knows nothing of it, or does not any more */
		COMMIT_D_PREPARING,  /* what there is here is incomplete */
		COMMIT_D_NOTING,     /* (READY is being written) */
		COMMIT_D_READY,	     /* complete, frozen: it waits for the source's word, however long */
		COMMIT_D_COMMITTING, /* has it; streams and address come in */
		COMMIT_D_THAWING,    /* (THAWED is being written) */
		COMMIT_D_THAWED,     /* the job runs here, or did */
		COMMIT_D_FORGETTING, /* (that it is at home is being written into its own file) */
		COMMIT_D_N,
};

enum commit_event {
	COMMIT_E_NONE,
	/* at either */
	COMMIT_E_NOTED,	       /* the record that was to be written is */
	COMMIT_E_NOTE_FAILED,  /* and is not */
	COMMIT_E_FAILED,       /* a mover, a deadline, a person who cancels, a frozen copy that was killed */
	COMMIT_E_RESTARTED,    /* procd was; the state is what commit_*_after() says */
	COMMIT_E_QUERY,	       /* the other side asks what is known; of the boot it names, if it names one */
	COMMIT_E_QUERY_OTHER,  /* it names another boot than ours */
	COMMIT_E_TIME,	       /* nothing has been heard for some time */
	COMMIT_E_PERSON_HERE,  /* godwit resolve --here */
	COMMIT_E_PERSON_THERE, /* godwit resolve --there */
	/* at the source */
	COMMIT_E_FROZEN,       /* both sides are complete and our copy is frozen */
	COMMIT_E_ACKNOWLEDGED, /* answer to COMMIT: it runs there */
	COMMIT_E_UNKNOWN,      /* answer to COMMIT: no such migration */
	COMMIT_E_NO_ANSWER,    /* to COMMIT or QUERY, or one that decides nothing */
	COMMIT_E_RUNNING,      /* verdicts */
	COMMIT_E_NEVER_RAN,
	COMMIT_E_OTHER_BOOT, /* that of UNKNOWN: it has booted since BEGIN */
	COMMIT_E_GONE,	     /* our copy is */
	/* at the destination */
	COMMIT_E_BEGIN,
	COMMIT_E_COMPLETE, /* its mover says so */
	COMMIT_E_COMMIT,
	COMMIT_E_INSTALLED, /* streams and address are in place */
	COMMIT_E_ABORT,
	COMMIT_E_FORGET,
	COMMIT_E_ABORTED, /* the source's verdict */
	COMMIT_E_LONG,	  /* nothing has been heard for very long */
	COMMIT_E_N,
};

/* A NOTE that is answered by NOTED or NOTE_FAILED comes last in its rule. */
enum commit_action {
	COMMIT_A_NONE,
	/* the source */
	COMMIT_A_NOTE_COMMITTED,
	COMMIT_A_NOTE_REVOKED,
	COMMIT_A_NOTE_DELETED,
	COMMIT_A_SEND_COMMIT,
	COMMIT_A_ASK_DESTINATION, /* QUERY, naming the boot it had at BEGIN */
	COMMIT_A_LATER,		  /* TIME comes */
	COMMIT_A_UNDO,		  /* the mover lets go or is killed, thaw, ABORT; in that order */
	COMMIT_A_FREE,		  /* an earlier procd's mover lets go or is killed */
	COMMIT_A_WAKE,		  /* our copy goes on */
	COMMIT_A_DELETE,	  /* our copy; GONE comes */
	COMMIT_A_SEND_FORGET,
	COMMIT_A_SAY_ABORTED, /* verdicts */
	COMMIT_A_SAY_COMMITTED,
	COMMIT_A_SAY_UNDECIDED,
	/* the destination */
	COMMIT_A_PREPARE,
	COMMIT_A_NOTE_READY,
	COMMIT_A_LET_GO, /* its mover may end */
	COMMIT_A_HOLD,	 /* COMMIT is looked at again after READY */
	COMMIT_A_INSTALL,
	COMMIT_A_NOTE_THAWED,
	COMMIT_A_THAW,
	COMMIT_A_NOTE_HERE,	 /* into the job's own file: no arrival any more */
	COMMIT_A_NOTE_FORGOTTEN, /* not answered: if it fails, the next start finds out the same */
	COMMIT_A_DISCARD,
	COMMIT_A_ASK_SOURCE,
	COMMIT_A_ANSWER_COMMITTED, /* to COMMIT */
	COMMIT_A_ANSWER_UNKNOWN,
	COMMIT_A_ANSWER_BUSY,
	COMMIT_A_ANSWER_ALREADY, /* to ABORT: it runs here */
	COMMIT_A_ANSWER_OK,	 /* to ABORT and FORGET */
	COMMIT_A_SAY_RUNNING,	 /* verdicts */
	COMMIT_A_SAY_NEVER_RAN,
	COMMIT_A_SAY_UNKNOWN,
	COMMIT_A_N,
};

#define COMMIT_ACTIONS_MAX 3

struct commit_rule {
	unsigned state;
	enum commit_event event;
	unsigned next;
	enum commit_action actions[COMMIT_ACTIONS_MAX]; /* 0 after the last */
};

struct commit_rules {
	const struct commit_rule *list;
	size_t n;
};
extern const struct commit_rules commit_source, commit_destination;

/* NULL: the event means nothing in that state. */
const struct commit_rule *commit_find(const struct commit_rules *rules, unsigned state, enum commit_event event);

#endif
