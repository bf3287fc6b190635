/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/crowd.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "procd/migration.h"

static uint64_t ten_seconds(const struct migration_out *m)
{
	(void)m;
	return 10000;
}

static uint64_t by_size_slowly(const struct migration_out *m)
{
	/* The destination reads files and populates memory meanwhile; that it lives is watched separately (pulse).
	 */
	return 60000 + m->bytes / 10000;
}

static uint64_t quickly(const struct migration_out *m)
{
	/* Many threads may have to take their turn to be stopped, where many others want to run. Emergency or not:
	 * a stun that waits for calls waits as long as its caller likes. */
	return 2000 * (uint64_t)host_crowd() + (m->emergency ? 0 : m->calls_ms);
}

static uint64_t by_size(const struct migration_out *m)
{
	/* 100 KB/s: a tenth of the paper's Ethernet. */
	return 20000 + m->bytes / 100;
}

static uint64_t for_ever(const struct migration_out *m)
{
	(void)m;
	return 0;
}

/* The migration. `destination` names what migrate_in.c does at the request in brackets. */
const struct stage migrate_stages[STAGE_N] = {
	[STAGE_CHECK] = { "check", out_check, "admit the job, or say why not (BEGIN)", out_undo_check, ten_seconds,
			  "the job untouched" },
	[STAGE_PREPARE] = { "prepare", out_prepare, "container, shepherd, blank, mover that listens (BEGIN)",
			    out_undo_prepare, by_size_slowly,
			    "the job untouched; the destination hears nothing, asks, and cleans up" },
	[STAGE_STUN] = { "stun", out_stun, "-", out_undo_stun, quickly,
			 "the job goes on at the source: its tracer is gone, the restarted procd wakes its "
			 "shepherd" },
	[STAGE_MOVE] = { "move", out_move, "takes stream contents in (SPOOL); its mover rebuilds", NULL, by_size,
			 "as in stun" },
	[STAGE_READY] = { "ready", out_ready, "journal READY: the frozen copy needs nobody", NULL, ten_seconds,
			  "as in stun, and the restarted procd thaws" },
	[STAGE_COMMIT] = { "commit", out_commit, "streams, address, journal THAWED, signals, thaw (COMMIT)", NULL,
			   for_ever,
			   "with the record: the destination's copy is the job, the restarted procd repeats "
			   "COMMIT; "
			   "without: as in ready" },
	[STAGE_DELETE] = { "delete", out_delete, "forget the migration (FORGET)", NULL, for_ever,
			   "the job runs at the destination; the restarted procd repeats COMMIT and deletes" },
};

/* Raises `sig` if the variable says stage:side, once. */
static void raise_at(const char *variable, const char *stage, const char *side, int sig)
{
	const char *wanted = getenv(variable);
	char here[64];

	if (!wanted)
		return;
	(void)snprintf(here, sizeof here, "%s:%s", stage, side);
	if (!strcmp(here, wanted)) {
		log_warn("%s=%s", variable, wanted);
		(void)unsetenv(variable);
		(void)kill(getpid(), sig);
	}
}

void migrate_die_at(const char *stage, const char *side)
{
	raise_at("GODWIT_PROCD_DIE_AT", stage, side, SIGKILL);
	raise_at("GODWIT_PROCD_STOP_AT", stage, side, SIGSTOP);
}

int migrate_note(struct procd *p, Godwit__Journal__Record__Kind kind, const char *id, const char *job)
{
	struct err e = { 0 };
	int r = journal_note(&p->journal, kind, id, job, &e);

	if (r < 0)
		log_error("%s", err_text(&e));
	return r;
}

static int64_t nanoseconds(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int migrate_clocks(int64_t *ret_monotonic_ns, int64_t *ret_boottime_ns, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	long long ms = 0, mn = 0, bs = 0, bn = 0;
	ssize_t n = fd_slurp(AT_FDCWD, "/proc/self/timens_offsets", 4096, &text);

	if (n < 0 && n != -ENOENT) /* a kernel without time namespaces has no offsets */
		return err_code(e, (int)n, "cannot read this host's clock offsets");
	if (n > 0)
		(void)sscanf(text, "monotonic %lld %lld boottime %lld %lld", &ms, &mn, &bs, &bn);
	*ret_monotonic_ns = nanoseconds(CLOCK_MONOTONIC) - (ms * 1000000000 + mn);
	*ret_boottime_ns = nanoseconds(CLOCK_BOOTTIME) - (bs * 1000000000 + bn);
	return 0;
}
