/* SPDX-License-Identifier: Apache-2.0 */
#include "procd/caps.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "lib/ps.h"
#include "procd/jobs.h"
#include "procd/rpc.h"

#define PS_STUN 2300

typedef uint8_t secret_t[GW_CHECK_LEN];

void caps_init(Godwit__Procd__JobSpec *spec)
{
	if (spec->secret.len == GW_CHECK_LEN)
		return;
	free(spec->secret.data);
	spec->secret.data = xmalloc(GW_CHECK_LEN);
	spec->secret.len = GW_CHECK_LEN;
	gw_secret_random(spec->secret.data);
}

/* All rights are proved by the secret itself: a segment's must not be the job's, nor lead back to it. */
static void secret_of(const struct job *j, uint64_t object, secret_t ret)
{
	struct {
		char what[8];
		uint64_t object, stun;
	} in = { "segment", object, j->spec->stuns };

	if (object)
		crypto_generichash(ret, sizeof(secret_t), (const uint8_t *)&in, sizeof in, j->spec->secret.data,
				   GW_CHECK_LEN);
	else
		memcpy(ret, j->spec->secret.data, GW_CHECK_LEN);
}

void caps_make(const struct job *j, uint64_t object, uint32_t rights, struct gw_cap *ret)
{
	char name[NAME_MAX_LEN + 8];
	secret_t secret;

	(void)snprintf(name, sizeof name, "job:%s", j->name);
	ret->port = gw_port_from_name(name);
	secret_of(j, object, secret);
	gw_private_make(&ret->priv, object, rights, secret);
	sodium_memzero(secret, sizeof secret);
}

int caps_rights(const struct job *j, const struct call *c, uint32_t *ret_rights)
{
	secret_t secret;
	int status;

	if (c->priv.object && !j->spec->stunned)
		return GW_STD_CAPBAD;
	secret_of(j, c->priv.object, secret);
	status = gw_private_check(&c->priv, secret, ret_rights);
	sodium_memzero(secret, sizeof secret);
	return status;
}

/* --- commands in headers --- */

#define MAKE(q, type, OP, field)                                                                                  \
	do {                                                                                                      \
		(q)->field = xmalloc(sizeof *(q)->field);                                                         \
		godwit__procd__##type##__init((q)->field);                                                        \
		(q)->op_case = GODWIT__PROCD__REQUEST__OP_##OP;                                                   \
	} while (0)

static bool fill_command(Godwit__Procd__Request *q, const struct gw_hdr *hdr, const void *data, size_t len)
{
	switch (hdr->command) {
	case GW_STD_DESTROY:
		MAKE(q, destroy, DESTROY, destroy);
		return true;
	case GW_STD_INFO:
		MAKE(q, describe, DESCRIBE, describe);
		return true;
	case GW_STD_TOUCH:
		MAKE(q, touch, TOUCH, touch);
		return true;
	case GW_STD_RESTRICT:
		MAKE(q, restrict, RESTRICT_TO, restrict_to);
		q->restrict_to->rights = (uint32_t)hdr->offset;
		return true;
	case PS_STUN:
		MAKE(q, stun, STUN, stun);
		q->stun->emergency = (int64_t)hdr->offset < 0;
		return true;
	case GW_SEG_READ:
		MAKE(q, seg_read, SEG_READ, seg_read);
		q->seg_read->offset = hdr->offset;
		q->seg_read->length = (uint32_t)MIN(hdr->size, (uint64_t)UINT32_MAX);
		return true;
	case GW_SEG_SIZE:
		MAKE(q, seg_size, SEG_SIZE, seg_size);
		return true;
	case GW_SEG_WRITE:
		MAKE(q, seg_write, SEG_WRITE, seg_write);
		q->seg_write->offset = hdr->offset;
		q->seg_write->bytes.data = xmalloc(len + 1);
		q->seg_write->bytes.len = len;
		if (len)
			memcpy(q->seg_write->bytes.data, data, len);
		return true;
	default:
		return false;
	}
}

Godwit__Procd__Request *caps_command(const struct gw_hdr *hdr, const void *data, size_t len)
{
	Godwit__Procd__Request *q = xmalloc(sizeof *q);

	godwit__procd__request__init(q);
	q->version = GODWIT__PROCD__VERSION__VERSION;
	if (fill_command(q, hdr, data, len))
		return q;
	godwit__procd__request__free_unpacked(q, NULL);
	return NULL;
}

void caps_reply(const Godwit__Procd__Reply *r, struct gw_hdr *ret_hdr, const void **ret_data, size_t *ret_len)
{
	const Godwit__Procd__Capability *cap = r->capability;

	ret_hdr->command = ps_status(r->code);
	*ret_data = NULL;
	*ret_len = 0;
	if (r->code)
		return;
	switch (r->result_case) {
	case GODWIT__PROCD__REPLY__RESULT_DATA:
		*ret_data = r->data->bytes.data;
		*ret_len = r->data->bytes.len;
		ret_hdr->offset = r->data->offset;
		ret_hdr->size = r->data->bytes.len;
		break;
	case GODWIT__PROCD__REPLY__RESULT_WRITTEN:
		ret_hdr->size = r->written->offset;
		break;
	case GODWIT__PROCD__REPLY__RESULT_CAPABILITY:
		ret_hdr->priv.object = cap->object;
		ret_hdr->priv.rights = cap->rights;
		memcpy(ret_hdr->priv.check, cap->check.data, MIN(cap->check.len, (size_t)GW_CHECK_LEN));
		break;
	default:
		break;
	}
}

/* --- requests --- */

void caps_restrict(struct job *j, struct call *c)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Capability x = GODWIT__PROCD__CAPABILITY__INIT;
	struct gw_cap cap;

	caps_make(j, c->by_cap ? c->priv.object : 0, c->rights & c->request->restrict_to->rights, &cap);
	x.port = (ProtobufCBinaryData) { GW_PORT_LEN, cap.port.bytes };
	x.object = cap.priv.object;
	x.rights = cap.priv.rights;
	x.check = (ProtobufCBinaryData) { GW_CHECK_LEN, cap.priv.check };
	r.result_case = GODWIT__PROCD__REPLY__RESULT_CAPABILITY;
	r.capability = &x;
	call_reply(c, &r);
}

void caps_revoke(struct job *j, struct call *c)
{
	struct err e = { 0 };
	secret_t before;

	memcpy(before, j->spec->secret.data, sizeof before);
	gw_secret_random(j->spec->secret.data);
	if (jobs_save(j, &e) < 0) {
		memcpy(j->spec->secret.data, before, sizeof before);
		call_fail(c, &e);
	} else {
		call_ok(c);
	}
	sodium_memzero(before, sizeof before);
}

void caps_touch(struct job *j, struct call *c)
{
	(void)j;
	call_ok(c);
}

void caps_describe(struct job *j, struct call *c)
{
	static const char *const states[] = {
		[GODWIT__PROCD__STATE__RUNNING] = "Run",   [GODWIT__PROCD__STATE__STOPPED] = "Stp",
		[GODWIT__PROCD__STATE__MIGRATING] = "Mig", [GODWIT__PROCD__STATE__EXITED] = "Die",
		[GODWIT__PROCD__STATE__STUNNED] = "Stp",
	};
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Data data = GODWIT__PROCD__DATA__INIT;
	struct job_scratch scratch;
	Godwit__Procd__Job job;
	char text[256];
	const char *state;

	jobs_describe(j, &job, &scratch);
	state = job.state < (int)ARRAY_LEN(states) && states[job.state] ? states[job.state] : "?";
	if (c->by_cap && c->priv.object)
		(void)snprintf(text, sizeof text, "%s: segment at %#llx of %u:%s", state,
			       (unsigned long long)c->priv.object, job.uid, job.name);
	else
		(void)snprintf(text, sizeof text, "%s: %u:%s %s", state, job.uid, job.name,
			       job.n_command ? job.command[0] : "");
	data.bytes.data = (uint8_t *)text;
	data.bytes.len = strlen(text);
	r.result_case = GODWIT__PROCD__REPLY__RESULT_DATA;
	r.data = &data;
	call_reply(c, &r);
}
