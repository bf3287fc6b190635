/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CLI_FRONT_H
#define GW_CLI_FRONT_H

#include "cli/rpc.h"

/*
 * The front-end of a job: standard input and output of this process stand for the job's, wherever that is and
 * while it moves. Used by run and attach.
 *
 * Takes an attachment that the job has given (Started or Attached), copies both ways until the job has ended and
 * all its output is written, and returns its exit status (128 + signal), or -errno with a story if the job was
 * lost. In three cases the job simply goes on without us:
 *
 * -ENOLINK: somebody else has attached to it.
 *
 * -ECONNABORTED: we were hung up on (SIGHUP).
 *
 * -ECANCELED: the key `escape` (-1: there is none) was typed on our terminal.
 *
 * The terminal, if the job has one and so do we, is raw in between.
 */
int front_run(struct cli *c, const char *job, const Godwit__Procd__Attached *attached, int escape,
	      struct err *e) must_check;

#endif
