/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_MOVER_MOVER_H
#define GW_MOVER_MOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "checkpoint.pb-c.h"
#include "inject/remote.h"
#include "memory/memory.h"
#include "memory/stream.h"
#include "mover.pb-c.h"
#include "state/file.h"
#include "state/state.h"

/*
 * One side of one migration: a single-threaded program that procd starts, talks to over descriptor 3, and loses
 * without harm. stages.c has the table of what is said and done, and what a crash leaves.
 */

#define MOVER_CONTROL_FD 3
#define MOVER_PACKET_MAX (192u << 10)
#define MOVER_FDS_MAX 8

/* What the two movers say to each other on the stream; page data flow in between. */
enum frame {
	FRAME_DESCRIPTION = 1, /* ckpt.Job, source to destination */
	FRAME_PREPARED,	       /* empty */
	FRAME_CHECKPOINT,      /* ckpt.Job */
	FRAME_READY,	       /* mover.Ready */
	/* mover.Failed, either way: the other side's reason. No length of what is said about files in between. */
	FRAME_FAILED = FILE_FRAME_FAILED,
};
#define FRAME_JOB_MAX (64u << 20)

struct timings {
	Godwit__Mover__Timing **list;
	size_t n;
	uint64_t last_us;
};

struct mover {
	bool source;
	int control;
	bool done;		 /* the process is to end */
	int came[MOVER_FDS_MAX]; /* descriptors that came with the present message; closed if nobody takes them */
	size_t n_came;
	struct stream *stream;
	const struct memory_strategy *strategy;
	struct memory_stats stats;
	struct timings timings;
	struct problems problems;
	struct remote remote;
	char *migration, *job_name;

	struct {
		struct state_source s;
		Godwit__Mover__MoverMessage *check; /* owns the streams that s points to */
		bool stopped;
		uint64_t tell_at_us; /* when to say again how many bytes have gone */
		struct err take_error;
		Godwit__Mover__Stun__Kind kind;
		uint64_t calls_until_us;
		char *frozen_cgroup; /* the job is stunned: see source_stun.c */
		bool thawed;
		Godwit__Ckpt__Job *early, *final; /* description and checkpoint as sent */
		struct image *image;		  /* the job comes from there: see image.h */
	} from;

	struct {
		struct state_target d;
		struct decoder *decoder; /* for all that the source sends: image/decode.h */
		int listener;
		uint8_t key[STREAM_KEY_LEN];
		bool sealed;
		bool standing;			      /* READY has been said: it needs nobody any more */
		Godwit__Mover__MoverMessage *restore; /* owns the streams that d points to */
		int fds[MOVER_FDS_MAX];
		size_t n_fds;
		char *cgroup, *scratch;
		Godwit__Ckpt__Job *early, *final;
		struct saving *saving; /* the job becomes an image: see image.h */
	} to;
};

/* One row of the table of stages: a request and who answers it how. The answer is sent by the caller, also when it
 * is Failed. `out` is pre-initialised; NONE: there is no answer. */
typedef int stage_fn(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
		     struct err *e);

struct stage {
	const char *name;
	Godwit__Mover__MoverMessage__KindCase source_asks;
	stage_fn *source;
	Godwit__Mover__MoverMessage__KindCase destination_asks;
	stage_fn *destination;
	const char *undo;
	const char *crash_leaves;
};
extern const struct stage mover_stages[];

/* GODWIT_DIE_AT=stage:source|destination kills this process at the end of that stage, before it says so;
 * GODWIT_HANG_AT stops it. */
void stage_boundary(const struct mover *m, const char *stage);

/* --- control.c --- */
/* One message from procd, with what descriptors came along. -ENODATA: procd has gone. */
int control_receive(struct mover *m, Godwit__Mover__MoverMessage **ret, struct err *e) must_check;
int control_send(struct mover *m, const Godwit__Mover__MoverMessage *msg, struct err *e) must_check;
/* Failed with these problems (may be NULL). */
int control_fail(struct mover *m, const struct err *why, struct err *e) must_check;

/* --- the stream --- */
/* Waits for one kind of frame; a FAILED of the other side becomes the error. */
int frame_expect(struct mover *m, enum frame what, const ProtobufCMessageDescriptor *d, ProtobufCMessage **ret,
		 struct err *e) must_check;
/* A job, at the destination: decoded, and judged, in the decoder's cell. */
int frame_expect_job(struct mover *m, enum frame what, Godwit__Ckpt__Job **ret, struct err *e) must_check;
void frame_fail(struct mover *m, const struct err *why);
struct file_io frame_file_io(struct mover *m);

/* --- timings: what took how long, for the report --- */
void timing_start(struct timings *t);
void timing_add(struct timings *t, const char *name);
void timings_done(struct timings *t);

/* --- source.c, source_take.c --- */
stage_fn source_check, source_prepare, source_describe, source_stun, source_move, source_write, source_freeze,
	source_rollback, source_tidy, source_finish;
/* Puts back whatever source_stop has done. */
void source_undo_stop(struct mover *m);
/* The agent leaves, and each thread gets what it needs to go on in what it was doing. */
int source_put_back(struct mover *m, struct err *e) must_check;
/* --- source_stun.c --- */
int source_stop(struct mover *m, const Godwit__Mover__Stun *ask, struct err *e) must_check;
int source_stop_threads(struct mover *m, struct err *e) must_check;
void source_freeze_again(struct mover *m);
/* Every thread is stopped: fills m->from.final. */
int source_take(struct mover *m, struct err *e) must_check;
void source_done(struct mover *m);

/* --- destination.c, destination_build.c --- */
stage_fn destination_check, destination_listen, destination_restore, destination_rollback, destination_finish;
/* From the description: the blank gets agent, threads, everything that is known so far. */
int destination_prepare(struct mover *m, struct err *e) must_check;
/* From the checkpoint: the rest, pages included. On return all threads are let go inside of the frozen cgroup. */
int destination_apply(struct mover *m, struct err *e) must_check;
void destination_done(struct mover *m);

#endif
