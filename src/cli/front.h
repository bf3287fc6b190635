/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CLI_FRONT_H
#define GW_CLI_FRONT_H

#include "cli/rpc.h"

/*
 * The front-end of a job: standard input and output of this process stand for the job's, wherever that is and
 * while it moves. Used by run and attach.
 *
 * Takes an attachment that the job has given (Started or Attached), copies both ways until the job has ended and
 * all its output is written, and returns its exit status (128 + signal); -errno with a story if the job was lost,
 * and -ENOLINK   somebody else attached to it -ECONNABORTED  we hung up (SIGHUP): the job goes on The terminal, if
 * the job has one and so do we, is raw in between.
 */
int front_run(struct cli *c, const char *job, const Godwit__Procd__Attached *attached, struct err *e) must_check;

#endif
