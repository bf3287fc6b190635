/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commit of a migration, for spin: one job, its source S, its destination D, one migration.
 *
 * Theory of operation
 *
 * Every action of a process server or a mover that somebody else could see (a record in the journal, a thaw, a
 * message) is one guarded command, and between any two of them everything that may go wrong may go wrong. So a
 * crash needs no code of its own inside the protocol: it changes variables, and the commands that are still possible
 * after it are the recovery.
 *
 * The network is a set. A message that was ever sent may arrive at any later moment, any number of times, after any
 * other and after any reboot, or never: loss, delay, duplication and reordering without a bound. (Sealing lets no
 * message pass that is older than a boot of either end; the protocol is shown not to depend on that.) What flows
 * between the two movers, and between a mover and its procd, is different: a connection, which dies with either end.
 *
 * Safety is asserted in each state. That the job also goes on *somewhere* is asked in each state too: calm() lets
 * faults end and both hosts come up, runs what is left to do, messages now arriving, until nothing changes, and
 * looks at what became of the job. So: from every state that can be reached there is a way to a good end.
 *
 * Records and messages have the names of proto/journal.proto and proto/procd.proto. Mover.Ready is what the
 * destination's mover tells both; COMMITTED, as a message, is the reply that says the job runs at D.
 *
 * Not here: more than one migration at once (each record and each message carries its migration's id), what the
 * messages carry besides the decision, shepherds, flipd.
 *
 * BROKEN=n breaks one rule; each must be found out (commit.t):
 *  1 S thaws its copy when D does not answer the COMMIT in time
 *  2 D thaws its copy when S does not answer in time
 *  3 S sends COMMIT before it has written the record
 *  4 D answers NEVER_RAN without noting ABORTED first
 *  5 D answers NEVER_RAN in another boot than the one asked about
 *  6 S sends FORGET before its copy is deleted and DELETED written
 *  7 S deletes its copy when it has sent COMMIT, not when D has acknowledged
 *  8 after a restart S's procd thaws before the old mover has ended
 *  9 D heeds ABORTED after it has written THAWED
 * 10 D thaws before it writes THAWED, and after a restart discards what has no THAWED record
 * 11 D forgets THAWED by itself, when it has heard nothing for long
 * 12 S's procd answers ABORTED after a restart before it has looked into its journal
 */

#ifndef BROKEN
#define BROKEN 0
#endif
/* How often things go wrong. */
#ifndef REBOOTS
#define REBOOTS 1 /* of each host; more than one needs more BEGUNs */
#endif
#ifndef RESTARTS
#define RESTARTS 3 /* of each procd, besides those with its host */
#endif
#ifndef DEATHS
#define DEATHS 2 /* of each mover, besides those with its host; and of D's frozen copy */
#endif

/* --- messages: bits of the set of all that was ever sent --- */
#define BEGIN 1
#define BEGUN 2	     /* from D's first boot */
#define BEGUN_LATE 4 /* from its second */
#define COMMIT 8
#define COMMITTED_REPLY 16
#define ABORT 32
#define FORGET 64
#define QUERY_S 128  /* D asks S; S's verdict on it: */
#define ABORTED_VERDICT 256
#define QUERY_D 512  /* S asks D, naming the boot in which the migration began; D's verdicts on it: */
#define RUNNING_VERDICT 1024
#define NEVER_RAN_VERDICT 2048
int said;
#define SAY(m) said = said | (m)
#define SAID(m) ((said & (m)) != 0)

/* --- journals, in /run: they outlive procd, not the host --- */
#define NONE 0
#define COMMITTED 1
#define REVOKED 2
#define DELETED 3
#define READY 4
#define THAWED 5
#define ABORTED 6
byte s_record, d_record;

/* --- the source --- */
#define IDLE 1	     /* nothing has happened */
#define BEGINNING 2  /* BEGIN sent */
#define PREPARED 3   /* (both hosts) D's container is there, the movers are connected */
#define STUNNED 4
#define MOVING 5
#define FREEZING 6   /* the mover was told to freeze */
#define FROZEN 7     /* it did */
#define ABORTING 8   /* undoing; also the first stage after procd's start */
#define COMMITTING 9 /* the record is written */
#define OVER 10
byte s_stage = IDLE;
bit s_host = 1, s_procd = 1, s_mover = 1;
bit s_copy = 1, s_stopped, s_frozen; /* the job: there, stopped by the mover's ptrace, its cgroup frozen */
bit s_told_ready, s_told_frozen;     /* what the mover has said that procd has not read */
byte s_boot;
byte s_of_boot;			     /* D's boot, as BEGUN told; the record and QUERY carry it */

/* --- the destination --- */
byte d_stage; /* NONE, PREPARED or, when there is a record, what it says */
bit d_host = 1, d_procd = 1, d_mover;
bit d_copy, d_complete, d_runs;	/* the job: container there, everything in place and detached, cgroup thawed */
bit d_told_ready;
byte d_boot;
bit stream;			/* the movers' connection */

/* --- what a god remembers --- */
bit d_ran;     /* the job has run at D */
bit acked;     /* S has read COMMITTED_REPLY */
bit killed;    /* D's frozen copy was killed by somebody: not our fault */
bit person;    /* resolve: a person has decided */
byte faults_s, faults_d, deaths_s, deaths_d;

#define wrong(what) printf("WRONG: "); printf(what); printf("\n"); assert(false)
#define S_RUNS (s_copy && !s_stopped && !s_frozen)
#define D_RUNS (d_copy && d_runs)

/* --- source: the way forward --- */
#define G_S_BEGIN (s_procd && s_stage == IDLE && s_mover)
inline s_begin() { SAY(BEGIN); s_stage = BEGINNING }

#define G_S_BEGUN(m) (s_procd && s_stage == BEGINNING && SAID(m))
inline s_begun(boot)
{
	s_of_boot = boot;
	/* Connecting works only with a mover that is there now. */
	stream = s_mover && d_mover && d_boot == s_of_boot;
	s_stage = (stream -> PREPARED : ABORTING)
}

#define G_S_STUN (s_procd && s_stage == PREPARED && s_mover)
inline s_stun() { s_stopped = 1; s_stage = STUNNED }

#define G_S_MOVE (s_procd && s_stage == STUNNED && s_mover)
inline s_move() { s_stage = MOVING }

#define G_S_READY (s_procd && s_stage == MOVING && s_told_ready)
inline s_ready() { s_told_ready = 0; s_stage = FREEZING }

/* The order may lie in its socket for as long as the mover lives, whatever becomes of procd. */
bit s_order;
#define G_S_ORDER (s_procd && s_stage == FREEZING && s_mover && !s_order && !s_told_frozen && !s_frozen)
inline s_give_order() { s_order = 1 }
#define G_S_FREEZE (s_mover && s_order)
inline s_freeze() { s_order = 0; s_frozen = 1; s_stopped = 0; s_told_frozen = 1 }

#define G_S_FROZEN (s_procd && s_stage == FREEZING && s_told_frozen)
inline s_frozen_told() { s_told_frozen = 0; s_stage = FROZEN }

#define G_S_RECORD (s_procd && s_stage == FROZEN && (BROKEN != 3 || SAID(COMMIT)))
inline s_write() { s_record = COMMITTED; s_stage = COMMITTING; s_mover = 0; stream = 0 }
#define G_S_EARLY (BROKEN == 3 && s_procd && s_stage == FROZEN && !SAID(COMMIT))

#define G_S_COMMIT (s_procd && s_stage == COMMITTING && s_record == COMMITTED && !SAID(COMMIT))
inline s_commit() { SAY(COMMIT) }

#define G_S_ACK (s_procd && s_stage == COMMITTING && s_record == COMMITTED && !acked && \
		 (SAID(COMMITTED_REPLY | RUNNING_VERDICT) || (BROKEN == 7 && SAID(COMMIT))))
inline s_delete()
{
	acked = 1;
	if :: !d_ran -> wrong("S deletes its copy unacknowledged") :: else fi;
	s_copy = 0; s_frozen = 0
}

#define G_S_DELETED (s_procd && s_record == COMMITTED && s_stage == COMMITTING && acked && !s_copy && \
		     (BROKEN != 6 || SAID(FORGET)))
inline s_deleted() { s_record = DELETED; s_stage = OVER }

#define G_S_FORGET (s_procd && ((s_record == DELETED) || (BROKEN == 6 && s_record == COMMITTED && SAID(COMMITTED_REPLY | RUNNING_VERDICT))) && \
		    !SAID(FORGET))
inline s_forget() { SAY(FORGET) }

/* --- source: no record, and something went wrong or took too long --- */
#define G_S_GIVE_UP (s_procd && s_record == NONE && s_stage >= BEGINNING && s_stage <= FROZEN)
inline s_give_up() { s_stage = ABORTING }

/* The mover undoes and ends, or is killed; either way, first. */
#define G_S_UNDO_MOVER (s_procd && (s_stage == ABORTING || (BROKEN == 8 && s_stage == OVER)) && s_mover)
inline s_undo_mover() { s_mover = 0; s_order = 0; s_stopped = 0; stream = 0; s_told_ready = 0; s_told_frozen = 0 }
#define G_S_UNDO_THAW (s_procd && s_stage == ABORTING && s_record == NONE && (!s_mover || BROKEN == 8))
inline s_undo_thaw() { s_frozen = 0; s_stage = OVER; SAY(ABORT) }

#define G_S_ANSWER (s_procd && SAID(QUERY_S) && (s_record != COMMITTED || (BROKEN == 12 && s_stage == ABORTING)) && (s_stage == OVER || s_stage == ABORTING) && \
		    !SAID(ABORTED_VERDICT))
inline s_answer() { SAY(ABORTED_VERDICT) }

/* --- source: with a record, after procd's start or without an answer --- */
#define G_S_RECOVER (s_procd && s_stage == ABORTING && s_record == COMMITTED && !s_mover)
inline s_recover() { s_stage = COMMITTING }

#define G_S_QUERY (s_procd && s_stage == COMMITTING && s_record == COMMITTED && !SAID(QUERY_D))
inline s_query() { SAY(QUERY_D) }

#define G_S_NEVER_RAN (s_procd && s_stage == COMMITTING && s_record == COMMITTED && !acked && SAID(NEVER_RAN_VERDICT))
inline s_revoke()
{
	if :: d_ran -> wrong("the record is revoked after the job ran at D") :: else fi;
	s_record = REVOKED
}
#define G_S_IMPATIENT (BROKEN == 1 && s_procd && s_stage == COMMITTING && s_record == COMMITTED && s_copy && SAID(COMMIT))
inline s_impatient() { s_record = REVOKED }
#define G_S_REVOKED (s_procd && s_record == REVOKED && (s_frozen || s_stage != OVER))
inline s_revoked() { s_frozen = 0; s_stage = OVER; SAY(ABORT) }

/* godwit resolve --here at S: a person who knows that D has gone for good, or has booted since. */
#define G_S_RESOLVE (s_procd && s_stage == COMMITTING && s_record == COMMITTED && s_copy && d_boot != s_of_boot)
inline s_resolve() { person = 1; s_record = REVOKED }

/* --- destination --- */
#define G_D_BEGIN (d_procd && SAID(BEGIN) && d_stage == NONE && d_record == NONE && !d_copy && !d_mover && \
		   !SAID((d_boot == 0 -> BEGUN : BEGUN_LATE)))
inline d_begin() { d_stage = PREPARED; d_mover = 1; d_copy = 1; SAY((d_boot == 0 -> BEGUN : BEGUN_LATE)) }

/* The movers have brought everything over; D's lets its threads go into the frozen cgroup and tells both. */
#define G_D_COMPLETE (d_mover && stream && s_mover && s_stage == MOVING && d_copy && !d_complete)
inline d_complete_copy() { d_complete = 1 }
#define G_D_TELL_S (d_mover && stream && d_complete && s_mover && s_stage == MOVING && !s_told_ready)
inline d_tell_s() { s_told_ready = 1 }
#define G_D_TELL_D (d_mover && d_complete && !d_told_ready && d_stage == PREPARED)
inline d_tell_d() { d_told_ready = 1 }

#define G_D_READY (d_procd && d_stage == PREPARED && d_told_ready && d_copy)
inline d_ready() { d_told_ready = 0; d_record = READY; d_stage = READY; d_mover = 0 }

#define G_D_THAWED (d_procd && d_stage == READY && d_record == READY && d_copy && SAID(COMMIT) && (BROKEN != 10 || d_runs))
inline d_thawed() { d_record = THAWED; d_stage = THAWED }
#define G_D_THAW (d_procd && d_copy && !d_runs && (d_record == THAWED || (BROKEN == 10 && d_record == READY && SAID(COMMIT))))
inline d_thaw() { d_runs = 1; d_ran = 1 }
#define G_D_ACK (d_procd && d_record == THAWED && (D_RUNS || killed) && SAID(COMMIT) && !SAID(COMMITTED_REPLY))
inline d_ack() { d_ran = 1; SAY(COMMITTED_REPLY) }

/* FORGET may never come: S has booted since. Then its answer says so. */
#define G_D_FORGET (d_procd && d_record == THAWED && (D_RUNS || killed) && SAID(FORGET | ABORTED_VERDICT))
#define G_D_FORGETS_ALONE (BROKEN == 11 && d_procd && d_record == THAWED && D_RUNS)
inline d_forget() { d_record = NONE; d_stage = NONE }

/* READY and THAWED ask, again and again. */
#define G_D_ASK (d_procd && (d_record == READY || d_record == THAWED) && !SAID(QUERY_S))
inline d_ask() { SAY(QUERY_S) }
#define G_D_ABORT (d_procd && SAID(ABORT | ABORTED_VERDICT) && d_stage != NONE && \
		   ((d_record == NONE || d_record == READY) || (BROKEN == 9 && d_record == THAWED && SAID(ABORTED_VERDICT))))
inline d_abort() { d_record = ABORTED; d_stage = ABORTED }
#define G_D_IMPATIENT (BROKEN == 2 && d_procd && d_record == READY && d_copy && SAID(QUERY_S))
inline d_impatient() { d_record = THAWED; d_stage = THAWED }

/* Before READY D may give up by itself: its mover has failed, or nothing came in time. */
#define G_D_GIVE_UP (d_procd && d_stage == PREPARED)
/* A frozen copy that somebody killed will never run. */
#define G_D_LOST (d_procd && d_record == READY && !d_copy)

/* What ABORTED says is carried out; then nothing is known, which says the same. */
#define G_D_DISCARD (d_procd && d_stage == ABORTED)
inline d_discard() { d_mover = 0; stream = 0; d_copy = 0; d_complete = 0; d_runs = 0; d_told_ready = 0; d_record = NONE; d_stage = NONE }

/* S asks about the boot in which the migration began. Of another boot nothing is known. What is not known in this
 * one never ran; what was not ready is given up first. READY is not answered: S will say COMMIT or ABORT. */
#define G_D_ANSWER_RUNNING (d_procd && SAID(QUERY_D) && d_boot == s_of_boot && d_record == THAWED && (D_RUNS || killed) && \
			    !SAID(RUNNING_VERDICT))
inline d_answer_running() { d_ran = 1; SAY(RUNNING_VERDICT) }
#define G_D_ANSWER_PREPARED (d_procd && SAID(QUERY_D) && d_boot == s_of_boot && d_stage == PREPARED)
#define G_D_ANSWER_NEVER (d_procd && SAID(QUERY_D) && !SAID(NEVER_RAN_VERDICT) && (d_boot == s_of_boot || BROKEN == 5) && \
			  ((d_stage == NONE && d_record == NONE) || (BROKEN == 4 && d_record == READY)))
inline d_answer_never() { SAY(NEVER_RAN_VERDICT) }

/* godwit resolve --here at D: a person who knows that S has gone for good, or has booted since. */
#define G_D_RESOLVE (d_procd && d_record == READY && d_copy && s_boot != 0)
inline d_resolve() { person = 1; d_record = THAWED; d_stage = THAWED }

/* --- what goes wrong --- */
inline s_mover_dies() { s_mover = 0; s_order = 0; s_stopped = 0; stream = 0; s_told_ready = 0; s_told_frozen = 0 }
/* Before everything is in place and let go, the process dies with its tracer. */
inline d_mover_dies() { d_mover = 0; stream = 0; d_told_ready = 0; if :: !d_complete && d_stage == PREPARED -> d_copy = 0 :: else fi }
inline s_procd_dies() { s_procd = 0; s_told_ready = 0; s_told_frozen = 0 }
inline d_procd_dies() { d_procd = 0; d_told_ready = 0 }
inline s_procd_starts()
{
	s_procd = 1; acked = 0;
	if
	:: s_record == DELETED -> s_stage = OVER
	:: s_record != DELETED && s_stage != IDLE && s_boot == 0 -> s_stage = ABORTING
	:: else
	fi
}
/* What lies there without a record is cleaned up before the first request is heard. A mover that still runs is ended. */
inline d_procd_starts()
{
	d_procd = 1;
	if
	:: d_record == NONE && d_stage == PREPARED -> d_stage = ABORTED
	:: d_record == READY && BROKEN == 10 -> d_stage = ABORTED
	:: else
	fi
}
inline s_host_dies()
{
	s_mover_dies(); s_procd_dies(); s_host = 0;
	s_copy = 0; s_frozen = 0; s_record = NONE; s_stage = OVER; acked = 0
}
inline d_host_dies()
{
	d_mover_dies(); d_procd_dies(); d_host = 0;
	d_copy = 0; d_complete = 0; d_runs = 0; d_record = NONE; d_stage = NONE
}
#define G_S_HOST_STARTS (!s_host)
inline s_host_starts() { s_host = 1; s_boot++ }
#define G_D_HOST_STARTS (!d_host)
inline d_host_starts() { d_host = 1; d_boot++ }
#define G_S_PROCD_STARTS (s_host && !s_procd)
#define G_D_PROCD_STARTS (d_host && !d_procd)

/* Everything that somebody does on purpose, but for giving up, which comes last when all is calm. */
#define DEEDS(X) \
	X(G_S_PROCD_STARTS, s_procd_starts()) X(G_D_PROCD_STARTS, d_procd_starts()) \
	X(G_S_HOST_STARTS, s_host_starts()) X(G_D_HOST_STARTS, d_host_starts()) \
	X(G_S_BEGIN, s_begin()) X(G_S_BEGUN(BEGUN), s_begun(0)) X(G_S_BEGUN(BEGUN_LATE), s_begun(1)) X(G_S_STUN, s_stun()) X(G_S_MOVE, s_move()) \
	X(G_S_READY, s_ready()) X(G_S_ORDER, s_give_order()) X(G_S_FREEZE, s_freeze()) X(G_S_FROZEN, s_frozen_told()) \
	X(G_S_EARLY, s_commit()) X(G_S_RECORD, s_write()) X(G_S_COMMIT, s_commit()) X(G_S_ACK, s_delete()) \
	X(G_S_FORGET, s_forget()) X(G_S_DELETED, s_deleted()) \
	X(G_S_UNDO_THAW, s_undo_thaw()) X(G_S_UNDO_MOVER, s_undo_mover()) X(G_S_ANSWER, s_answer()) \
	X(G_S_RECOVER, s_recover()) X(G_S_QUERY, s_query()) X(G_S_NEVER_RAN, s_revoke()) X(G_S_REVOKED, s_revoked()) \
	X(G_D_BEGIN, d_begin()) X(G_D_COMPLETE, d_complete_copy()) X(G_D_TELL_S, d_tell_s()) X(G_D_TELL_D, d_tell_d()) \
	X(G_D_READY, d_ready()) X(G_D_THAWED, d_thawed()) X(G_D_THAW, d_thaw()) X(G_D_ACK, d_ack()) \
	X(G_D_FORGET, d_forget()) X(G_D_ASK, d_ask()) X(G_D_ABORT, d_abort()) X(G_D_LOST, d_abort()) \
	X(G_D_DISCARD, d_discard()) X(G_D_ANSWER_RUNNING, d_answer_running()) X(G_D_ANSWER_PREPARED, d_abort()) \
	X(G_D_ANSWER_NEVER, d_answer_never())

/* --- what must hold --- */

inline safe()
{
	if :: S_RUNS && D_RUNS -> wrong("two copies run") :: else fi;
	if :: S_RUNS && d_ran && !person -> wrong("the job runs at S again after it ran at D") :: else fi;
	/* S lives. Without a record, or with a revoked one, its copy is the job. With one it is kept until D's word. */
	if :: s_boot == 0 && s_host && (s_record != COMMITTED && s_record != DELETED) && !s_copy -> wrong("S has lost the job")
	   :: else fi;
	if :: s_boot == 0 && s_host && s_record == COMMITTED && !s_copy && !d_ran -> wrong("S has deleted the only copy") :: else fi;
	/* D lives, in the boot in which the job ran there. */
	if :: d_ran && d_host && d_boot == s_of_boot && !d_copy && !killed -> wrong("D has lost the job") :: else fi;
	if :: d_runs && !d_complete -> wrong("an incomplete copy runs") :: else fi
}

#define IN_DOUBT (s_copy && s_frozen && s_record == COMMITTED && d_boot != s_of_boot)

inline settled()
{
	if :: s_copy && !S_RUNS && !IN_DOUBT -> wrong("S keeps a copy for ever") :: else fi;
	if :: d_copy && !D_RUNS -> wrong("D keeps a copy for ever") :: else fi;
	if :: s_mover && s_stage != IDLE || d_mover -> wrong("a mover is left over") :: else fi;
	if :: s_record == COMMITTED && !IN_DOUBT || d_record != NONE -> wrong("a record is left over") :: else fi;
	/* Who may be dead: what ran on a host that died; what nobody ran yet when S died. */
	if :: S_RUNS || D_RUNS || IN_DOUBT
	   :: else ->
		if :: d_ran && (killed || d_boot != s_of_boot) :: !d_ran && s_boot != 0 :: person
		   :: else -> wrong("the job is nowhere") fi
	fi
}

byte rounds; /* 0 but inside calm() */
bit moved;
#define IN_TURN(guard, deed) if :: (guard) -> deed; moved = 1 :: else fi;
inline calm()
{
	do
	:: moved = 0;
	   DEEDS(IN_TURN)
	   if :: !moved -> IN_TURN(G_S_GIVE_UP, s_give_up()) IN_TURN(G_D_GIVE_UP, d_abort()) skip :: else fi;
	   safe();
	   rounds++;
	   if :: rounds > 50 -> wrong("no end") :: else fi;
	   if :: !moved -> break :: else fi
	od;
	rounds = 0;
	settled()
}

#define ANY(guard, deed) :: (guard) -> printf(#deed); printf("\n"); deed
#define FAULT(guard, counter, limit, deed) :: (guard) && counter < limit -> printf("FAULT "); printf(#deed); printf("\n"); \
	counter++; deed

byte reboots_s, reboots_d, kills;

active proctype world()
{
	do
	:: atomic {
	if
	DEEDS(ANY)
	ANY(G_S_GIVE_UP, s_give_up()) ANY(G_D_GIVE_UP, d_abort())
	ANY(G_S_RESOLVE, s_resolve()) ANY(G_D_RESOLVE, d_resolve())
	ANY(G_D_FORGETS_ALONE, d_forget()) ANY(G_S_IMPATIENT, s_impatient()) ANY(G_D_IMPATIENT, d_impatient())
	FAULT(s_mover && s_stage != IDLE, deaths_s, DEATHS, s_mover_dies())
	FAULT(d_mover, deaths_d, DEATHS, d_mover_dies())
	FAULT(s_procd, faults_s, RESTARTS, s_procd_dies())
	FAULT(d_procd, faults_d, RESTARTS, d_procd_dies())
	FAULT(s_host, reboots_s, REBOOTS, s_host_dies())
	FAULT(d_host, reboots_d, REBOOTS, d_host_dies())
	FAULT(d_complete && d_copy && !d_runs, kills, DEATHS, d_copy = 0; killed = 1)
	fi;
	safe() }
	:: d_step { printf("calm\n"); calm() }; break
	od
}
