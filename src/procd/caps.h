/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_CAPS_H
#define GW_PROCD_CAPS_H

#include "procd/procd.h"

/*
 * Capabilities of jobs and of their segments. Object 0 is the job, any other a segment, by its address. The job's
 * secret lies in its spec, which moves with it; that of a segment is derived from it, the address and the number
 * of the stun.
 */

/* A new job has a secret of its own, whoever brings it. */
void caps_init(Godwit__Procd__JobSpec *spec);
void caps_make(const struct job *j, uint64_t object, uint32_t rights, struct gw_cap *ret);
/* What the call's capability says; GW_OK or GW_STD_CAPBAD. */
int caps_rights(const struct job *j, const struct call *c, uint32_t *ret_rights);

/* A command in a header as the request that it means; NULL: there is no such command. Unpacked, the caller's. */
Godwit__Procd__Request *caps_command(const struct gw_hdr *hdr, const void *data, size_t len);
/* The reply to one. `data` points into `r`. */
void caps_reply(const Godwit__Procd__Reply *r, struct gw_hdr *ret_hdr, const void **ret_data, size_t *ret_len);

/* Requests to a job. */
void caps_restrict(struct job *j, struct call *c);
void caps_revoke(struct job *j, struct call *c);
void caps_touch(struct job *j, struct call *c);
void caps_describe(struct job *j, struct call *c);

#endif
