/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_MIGRATION_H
#define GW_PROCD_MIGRATION_H

#include "procd/commit.h"
#include "procd/migrate.h"
#include "procd/movers.h"

/* Shared by the migrate_*.c files only. */

#define MIGRATION_ID_LEN 32
#define MIGRATION_KEY_LEN 32
#define STREAMS_MAX 3
#define CALLS_MAX 16

enum stage_id {
	STAGE_CHECK = 1,
	STAGE_PREPARE,
	STAGE_STUN,
	STAGE_MOVE,
	STAGE_READY,
	STAGE_COMMIT,
	STAGE_DELETE,
	STAGE_N,
};

/* One attempt to move a job away. */
struct migration_out {
	struct procd *p;
	struct migration_out *next;
	struct job *job; /* NULL once it is gone */
	char name[NAME_MAX_LEN + 1];
	char id[MIGRATION_ID_LEN + 1];
	char destination[GW_HOST_MAX];
	char strategy[16];
	bool carry, check_only, sealed;
	struct call *calls[CALLS_MAX]; /* MIGRATE or CHECK, answered at the end */
	size_t n_calls;
	struct call *watchers[CALLS_MAX]; /* PROGRESS */
	size_t n_watchers;
	uint64_t serial, progress_bytes, progress_total; /* what watchers are told */

	enum stage_id stage;
	uint64_t started_us, stage_started_us, stage_us[STAGE_N];
	unsigned refs; /* callbacks that are still to come, and the driver itself */
	bool failing, over;
	bool undone_stun; /* see undo_stun */
	bool tidied;	  /* a second mover takes away what the first has left */
	struct err e;
	Godwit__Mover__Checked *problems; /* a copy; why it was refused */
	struct mover *mover;
	uv_timer_t deadline, pulse;
	unsigned handles;

	/* A checkpoint: the destination is a mover of this host that writes an image (migrate_image.c). */
	struct image_out *image;
	/* A stun: no destination at all, up to the frozen cgroup (stun.c). */
	bool stun, emergency;
	uint32_t calls_ms; /* how long system calls may take to end */

	/* check */
	Godwit__Shepherd__State *state; /* the shepherd's: streams and how far they are */
	bool checked, greeted, begun;
	ProtobufCBinaryData requirements;
	uint64_t bytes;
	unsigned hellos;
	uint64_t hello_sent_us, best_rtt_us;
	char boot[64], address[64]; /* the destination's */
	int64_t monotonic_offset_ns, boottime_offset_ns;
	/* prepare */
	uint8_t key[MIGRATION_KEY_LEN];
	bool prepared;
	unsigned pulses, unanswered; /* questions to the destination; since it was last heard */
	bool late;		     /* the deadline has passed, but what has come in may not be read yet */
	/* spools, twice: before the stop up to then, after it up to the end */
	uint64_t sent[STREAMS_MAX], want[STREAMS_MAX];
	bool spooling, spooled;
	/* stun, move */
	bool take_asked, taken;
	uint64_t at_us;
	ProtobufCBinaryData endpoint; /* communication state, from flipd */
	ProtobufCBinaryData streams;  /* shepherd.Streams */
	struct out_conn *conns;	      /* the job's own connections to flipd: migrate_conns.c */
	size_t n_conns, conns_wanted, conns_bytes;
	bool quiet, ready;
	Godwit__Mover__Ready *result; /* a copy */
	/* commit */
	Godwit__Procd__Commit *commit;
	enum commit_s core; /* what the rules say (commit.h); from COMMITTED on the record is written */
	bool in_doubt;
	struct err refused; /* what the destination last said instead of RESUMED */
	unsigned tries;
	const char *unheard; /* why, for as long as the event is dealt with */
	uint64_t doubt_since_us, resumed_us;
};

/* How far BEGIN is; what the rules say is in `core`. */
enum in_progress { IN_CHECKING = 1, IN_PREPARING, IN_BEGUN };

/* One job that is arriving, or has arrived and may still be asked about. */
struct migration_in {
	struct procd *p;
	struct migration_in *next;
	struct job *job;
	char id[MIGRATION_ID_LEN + 1];
	char name[NAME_MAX_LEN + 1];
	char source[GW_HOST_MAX];
	enum in_progress progress;
	enum commit_d core;
	int why_code; /* why it does not arrive */
	const char *why;
	struct call *begin, *commit; /* to be answered; commit's request is needed until then */
	struct call *successor;	     /* a later BEGIN for the job, until the source has said what of this one */
	Godwit__Procd__Begin *asked; /* begin's own, while begin is there */
	struct mover *mover;
	bool sealed, blanked, listening, let_go, over;
	bool talks; /* its connections to flipd come along */
	uint32_t port, agent_socket;
	int fds[1 + STREAMS_MAX]; /* agent socket, stream ends, until the mover has them */
	size_t n_fds;
	Godwit__Shepherd__Blanked *ends;
	uint64_t commit_us;  /* when COMMIT came */
	unsigned installing; /* parts of the commit that are under way */
	struct err e;
	uv_timer_t pulse;
	uint64_t heard_us; /* when the source was last heard */
	bool asking;
	unsigned refs;
};

struct stage {
	const char *name;
	/* Starts what the source does; it ends with out_stage_done or out_fail. */
	void (*source)(struct migration_out *m);
	/* Where the destination's part is. */
	const char *destination;
	/* True when done at once; else it calls out_undo_next later. */
	bool (*undo)(struct migration_out *m);
	uint64_t (*deadline_ms)(const struct migration_out *m);
	const char *crash_leaves;
};
extern const struct stage migrate_stages[STAGE_N];

/*
 * GODWIT_PROCD_DIE_AT=stage:source|destination ends this procd there, for tests of recovery; with STOP instead of
 * DIE it stops, until somebody continues it, so that a test can break something else just there.
 */
void migrate_die_at(const char *stage, const char *side);
int migrate_note(struct procd *p, Godwit__Journal__Record__Kind kind, const char *id, const char *job);
/* Our own clocks as the initial time namespace has them. */
int migrate_clocks(int64_t *ret_monotonic_ns, int64_t *ret_boottime_ns, struct err *e);

/* migrate_image.c */
struct image_out *image_out_new(struct migration_out *m, struct call *c);
void image_out_free(struct image_out *i); /* NULL is permitted */
void image_out_prepare(struct migration_out *m);
/* The memory has been taken in: the job goes on, or is killed when the image is on disk. */
void image_out_ready(struct migration_out *m);
/* Bounds what of the streams goes into an image; a piece of one. */
void image_out_trim(struct migration_out *m, Godwit__Shepherd__Streams *s);
int image_out_keep_piece(struct migration_out *m, unsigned stream, const Godwit__Procd__Data *d) must_check;
/* True if the disk is still being written: the job has been let go, and out_finish is called again later. */
bool image_out_writes(struct migration_out *m);
/* The deadline has come while it is: true if that was all there was to do. */
bool image_out_late(struct migration_out *m);
uint64_t image_out_written(const struct migration_out *m);

/* stun.c */
void stun_fill(const struct migration_out *m, Godwit__Mover__Stun *ret);
/* The checkpoint message of a stunned job goes along. What is added to the commit is the caller's to free. */
void stun_fill_commit(const struct job *j, Godwit__Procd__Commit *c);
void stun_keep_message(const struct job *j, const Godwit__Procd__Commit *c);
void stun_prepare(struct migration_out *m);
void stun_take(struct migration_out *m);
/* It is frozen and the mover has let go. */
void stun_done(struct migration_out *m);
/* It could not be stunned in good order. True if it is stopped all the same. */
bool stun_anyway(struct migration_out *m);

/* Does what the rules say about this event, if they say anything; the latter is returned. `c`: the request that it
 * is, to be answered; NULL for none. Holds no reference: `m` may be over afterwards. */
bool out_event(struct migration_out *m, enum commit_event e, struct call *c);
bool in_event(struct migration_in *m, enum commit_event e, struct call *c);
static inline bool out_is_decided(const struct migration_out *m)
{
	return m->core >= COMMIT_S_COMMITTED;
}
/* The answer to a QUERY, by a rule's action. */
void migrate_say(struct call *c, enum commit_action action);

/* migrate_out.c */
/* `j` NULL: its copy here is gone. `id` NULL: a new one. */
struct migration_out *out_new(struct procd *p, struct job *j, const char *name, const char *id);
void out_ref(struct migration_out *m);
void out_unref(struct migration_out *m);
void out_stage_done(struct migration_out *m, enum stage_id stage);
void out_fail(struct migration_out *m, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void out_undo_next(struct migration_out *m);
/* All is over: answers the callers (with m->e, or the report) and lets go. */
void out_finish(struct migration_out *m);
struct out_report { /* a report with room for what it points to */
	Godwit__Procd__Report report;
	Godwit__Mover__Timing list[STAGE_N], *pointers[STAGE_N];
};
void out_fill_report(struct migration_out *m, struct out_report *ret);
void out_tell_watchers(struct migration_out *m);
void out_arm(struct migration_out *m, uint64_t ms);
extern const struct mover_ops out_mover_ops;

/* migrate_out_check.c, _move.c, _commit.c: the columns of the table */
void out_check(struct migration_out *m);
void out_prepare(struct migration_out *m);
void out_stun(struct migration_out *m);
void out_move(struct migration_out *m);
void out_ready(struct migration_out *m);
void out_commit(struct migration_out *m);
void out_delete(struct migration_out *m);
bool out_undo_check(struct migration_out *m);
bool out_undo_prepare(struct migration_out *m);
bool out_undo_stun(struct migration_out *m);
void out_connect(struct migration_out *m, const char *address, uint32_t port, bool sealed);
/* BEGIN as it is for this migration; points into *m and *spec. */
void out_fill_begin(struct migration_out *m, Godwit__Procd__Begin *b, Godwit__Procd__JobSpec *spec);
void out_check_message(struct migration_out *m, const mover_message *msg);
void out_move_message(struct migration_out *m, const mover_message *msg);
/* Sends what is in the spools between `sent` and `want`; then out_spooled is called. */
void out_spool(struct migration_out *m);
void out_spooled(struct migration_out *m);
/* What failed is undone; the reason is in m->e. */
void out_undo(struct migration_out *m);

/* migrate_conns.c */
/* Takes them from flipd; ends the stage. */
void out_take_conns(struct migration_out *m, const Godwit__Mover__Stunned *s);
/* Puts them into COMMIT, which borrows them until it is unfilled. */
void out_fill_conns(const struct migration_out *m, Godwit__Procd__Commit *c);
void out_unfill_conns(Godwit__Procd__Commit *c);
/* The decision is on record: they stay taken though we go, until an END; or it is about to be: for a while. */
void out_hold_conns(struct migration_out *m, bool decided);
/* After our restart: those of the COMMIT that was recorded. */
void out_recall_conns(struct migration_out *m);
/* They live elsewhere now, or they are the job's again. */
void out_end_conns(struct migration_out *m, bool moved);
void out_free_conns(struct migration_out *m);
/* Starts as many parts of the commit as there are connections. */
void in_install_conns(struct migration_in *m, const Godwit__Procd__Commit *q);

/* migrate_in.c */
/* One of the parts of a commit is done. */
void in_part_installed(struct migration_in *m, int result, const char *why);
struct migration_in *in_new(struct procd *p, const char *id, const char *name, const char *source);
struct migration_in *in_find(struct procd *p, const char *id);
/* The same for a request that only its source may make; false: refused to another. NULL in *ret: there is none. */
bool in_find_for(struct procd *p, struct call *c, const char *id, struct migration_in **ret);
void in_unref(struct migration_in *m);
/* Nothing of it will ever run here. */
void in_discard(struct migration_in *m, int code, const char *why);
void in_free(struct migration_in *m);
void in_start_pulse(struct migration_in *m);
/* Asks its source what became of it, once. False: that cannot be done now. */
bool in_ask(struct migration_in *m);
/* It is complete, and its source has not been heard for long. */
bool in_is_in_doubt(const struct migration_in *m);

/* Queues a signal that the source's mover found late; `leader` is the frozen copy's process here. What its causes
 * (timers, children, descriptors) will send again is skipped. */
void migrate_late_signal(pid_t leader, const Godwit__Mover__LateSignal *s);

#endif
