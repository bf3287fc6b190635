/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STRIKE_H
#define STRIKE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/util.h"

/*
 * strike: a daemon of a lab dies, or stands still, before its k-th system call of a migration, for every k.
 *
 * A job lives through as many migrations as possible, to and fro between h1 and h2. In each, the program under
 * test (procd or flipd of one side, or the job's shepherd there) is traced from the moment that the source's procd
 * enters stage check, and killed in the stop at the entry of its k-th call, which therefore is not made. A daemon
 * is started again at once, as a service manager would. Then all must come to rest: the job exactly once and going
 * on, its output without a gap or a repetition, and on both hosts exactly what was there before the first move
 * (view.c). A sweep is over when migrations end before the k-th call.
 *
 * What is promised when it is a shepherd that dies, whose namespace dies with it:
 *
 *   source, no record COMMITTED    the job is gone and its name with it, or it runs at the destination (the record
 *                                  was being written); never at the source
 *   source, record COMMITTED       the job runs once, at the destination
 *   destination, never THAWED      the job runs once, at the source
 *   destination, THAWED            the job is gone, and its name with it: that was its only copy
 *
 * Of all other programs: the job runs once. Never twice, whatever dies.
 *
 * What stands still instead is killed after a while, as by a watchdog; a mover by procd, whose deadlines must act.
 */

#define HOSTS 2	    /* between which the job moves; h3 only watches */
#define STAGES 9    /* of a migration, and what is before and after */
#define LIVED_MAX 3 /* so many migrations must have outlived their k for a sweep to be over */

struct strike {
	const char *prefix, *program;
	bool at_source, hang;
	long first, stride, last;
	unsigned limit_s;
	char **command; /* of the job */
	char godwit[PATH_MAX], lab_dir[64], cgroup[256], work[64];
	FILE *log;

	/* the job's life */
	char job[32];
	unsigned lives;
	pid_t front;	/* its front-end, 0 if it has ended */
	long next_line; /* the next to be printed */
	char half[64];	/* a line that has begun */
	long have_offset;
	int at;	    /* the host that has it, 1 or 2 */
	char *look; /* what the job looks like */

	int addresses_with[HOSTS + 1], addresses_without[HOSTS + 1];
	char *with[HOSTS + 1], *without[HOSTS + 1]; /* what is on a host that has the job or not */

	/* the attempt */
	long k, count;
	int from, to;
	pid_t target, parent; /* parent: the traced procd whose child the target is or will be */
	bool counting, struck, standing, dead;
	char stage[16];
	off_t log_offset, journal_offset[HOSTS + 1];
	pid_t client;
	int client_status;
	uint64_t client_over_us;

	/* the sweep */
	long instants, by_stage[STAGES], bad, none;
	unsigned lived;
};

/* --- main.c --- */
void bad(struct strike *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int stage_number(const char *name);

/* --- acts.c --- */
/* Starts a command in a host, its output in WORK/name. */
pid_t act_start(struct strike *s, int host, const char *name, char *const argv[]);
/* The same and waits; its exit status. */
int act_run(struct strike *s, int host, const char *name, char *const argv[]);
/* Restarts a daemon whose process is gone already, or not. */
void act_restart(struct strike *s, int host, const char *daemon);
/* A new job on h1 or h2, with what is compared later. */
bool act_new_job(struct strike *s, int host);
void act_end_job(struct strike *s);
/* Undisturbed moves, after which each host has been seen with and without the job. */
bool act_baseline(struct strike *s);
pid_t act_migrate(struct strike *s, int to);
char *act_output(const struct strike *s, const char *name);

/* --- tracer.c --- */
/* One migration, struck at s->k. False: the tracing itself failed. */
bool trace_migration(struct strike *s);

/* --- view.c --- */
enum copy { COPY_NONE, COPY_UNFINISHED, COPY_FROZEN, COPY_RUNNING };
/* Whether a process runs the program of that name. */
bool view_is(pid_t pid, const char *name);
pid_t view_daemon(const struct strike *s, int host, const char *name);
pid_t view_shepherd(const struct strike *s, int host);
enum copy view_copy(const struct strike *s, int host);
/* What is on a host, one thing a line; the job's name replaced. The caller frees it. */
char *view_host(const struct strike *s, int host);
char *view_job(const struct strike *s, int host);
/* Whether a record of that kind was written about the job since the attempt began. */
bool view_journal(const struct strike *s, int host, int kind);
off_t view_journal_size(const struct strike *s, int host);
/* The last stage that the source's procd wrote into its log since the attempt began; false: none. */
bool view_stage(struct strike *s);
off_t view_log_size(const struct strike *s, int host);
/* Reads on in the job's output; false: a line is missing or there twice. */
bool view_output(struct strike *s);
/* Where two texts differ first. The caller frees it; NULL: nowhere. */
char *view_difference(const char *was, const char *is);

/* --- judge.c --- */
/* After a strike: waits until all is as it must be, and says what is not. */
void judge(struct strike *s);
void judge_while_standing(struct strike *s);
/* How many addresses with ports a host's flipd has, -1 if it says BUSY for one of them. */
int judge_addresses(struct strike *s, int host);

#endif
