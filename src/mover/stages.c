/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "mover/image.h"
#include "mover/mover.h"

#define ASK(x) GODWIT__MOVER__MOVER_MESSAGE__KIND_##x
#define NOTHING GODWIT__MOVER__MOVER_MESSAGE__KIND__NOT_SET

/*
 * The stages of a migration, as each side's mover sees them. "move" at the destination is not asked for: it begins
 * when the checkpoint comes over the stream.
 */
const struct stage mover_stages[] = {
	{ "check", ASK(CHECK_SOURCE), source_check, ASK(CHECK_DESTINATION), destination_check, "nothing to undo",
	  "job untouched" },
	{ "listen", NOTHING, NULL, ASK(LISTEN), destination_listen, "the socket is closed", "job untouched" },
	{ "prepare", ASK(CONNECT), source_prepare, ASK(RESTORE), destination_restore,
	  "the blank is killed, its container removed by procd", "job untouched; the blank dies with its tracer" },
	{ "load", ASK(LOAD), image_load, NOTHING, NULL, "nothing to undo", "the image untouched" },
	{ "save", NOTHING, NULL, ASK(SAVE), image_save, "the unfinished image is removed",
	  "an unfinished image under a name that nobody uses; the job as in move" },
	{ "keep", NOTHING, NULL, ASK(KEEP), image_keep, "as save",
	  "as save, and the old image if there was one; the job goes on" },
	{ "stun", ASK(STUN), source_stun, NOTHING, NULL, "threads get their registers and run",
	  "the kernel detaches the threads, whose registers are always such that the job goes on" },
	{ "describe", ASK(DESCRIBE), source_describe, NOTHING, NULL, "nothing to undo", "job untouched" },
	{ "take", ASK(TAKE), source_write, NOTHING, NULL, "as stun", "as stun" },
	{ "move", ASK(MOVE), source_move, NOTHING, NULL, "as stun; the destination's copy is killed",
	  "as stun; after READY the destination's copy stands by itself, frozen" },
	{ "commit", ASK(FREEZE), source_freeze, NOTHING, NULL, "procd thaws the source's cgroup",
	  "the job frozen at the source until procd decides" },
	{ "rollback", ASK(ROLLBACK), source_rollback, ASK(ROLLBACK), destination_rollback, "is the undo",
	  "as the stage that is undone" },
	{ "tidy", ASK(TIDY), source_tidy, NOTHING, NULL, "as stun", "as stun; the next attempt tidies, too" },
	{ "delete", ASK(FINISH), source_finish, ASK(FINISH), destination_finish, "too late",
	  "job runs at the destination" },
	{ .name = NULL },
};

static void raise_at(const struct mover *m, const char *variable, const char *stage, int sig)
{
	const char *at = getenv(variable);
	size_t len = strlen(stage);

	if (at && !strncmp(at, stage, len) && at[len] == ':' &&
	    !strcmp(at + len + 1, m->source ? "source" : "destination"))
		(void)raise(sig);
}

void stage_boundary(const struct mover *m, const char *stage)
{
	raise_at(m, "GODWIT_DIE_AT", stage, SIGKILL);
	raise_at(m, "GODWIT_HANG_AT", stage, SIGSTOP);
}
