/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_STATE_CREDS_H
#define GW_STATE_CREDS_H

#include "base/err.h"
#include "checkpoint.pb-c.h"

#define CREDS_GROUPS_MAX 65536

/* Fills everything but securebits from the text of /proc/PID/status. -EBADMSG if a line is missing. */
int creds_parse(const char *status, Godwit__Ckpt__Creds *m) must_check;

#endif
