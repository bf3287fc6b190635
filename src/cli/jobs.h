/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CLI_JOBS_H
#define GW_CLI_JOBS_H

#include <jansson.h>

#include "procd.pb-c.h"

/* A job as `ps` shows it. */

/* "running", "stopped", "migrating", ... */
const char *job_state_name(Godwit__Procd__State state);
/* The command on one line, control characters made harmless; the caller's to free. */
char *job_command(const Godwit__Procd__Job *job);
json_t *job_json(const Godwit__Procd__Job *job);
/* What a shell would say: the status, or 128 + signal. */
int job_exit_status(const Godwit__Procd__Exited *exited);
json_t *problems_json(size_t n, Godwit__Mover__Problem *const *problems);

#endif
