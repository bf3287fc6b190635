/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_QUOTA_H
#define GW_PROCD_QUOTA_H

#include "procd/procd.h"

/*
 * What each user may have at this host at once: jobs, requests that are not answered (front-ends have two or three
 * a job, which wait), and of these, operations that start programs of ours. A user elsewhere is the user of that
 * number here. Root, and with it other process servers, have no quota.
 */

/* True if the call was refused, and freed. */
bool quota_refuses(struct call *c);
/* -EDQUOT and words if he may have no further job. */
int quota_admits_job(const struct procd *p, uid_t uid, struct err *e) must_check;
/* Jobs that have ended are kept for a while, but not without end: takes the oldest away if there are too many, of
 * this user or of all. */
void quota_limit_exited(struct procd *p, uid_t uid);

#endif
