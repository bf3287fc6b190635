/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of godwit.h that ask process servers. */
#include "lib/ps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "godwit_objects.h"
#include "procd.pb-c.h"

#define PIECE (1u << 20) /* of a segment, at once */

typedef Godwit__Procd__Request request_t;
typedef Godwit__Procd__Reply reply_t;

int ps_status(int code)
{
	static const struct {
		int code, status;
	} table[] = {
		{ 0, GW_OK },
		{ -EKEYREJECTED, GW_STD_CAPBAD },
		{ -EPERM, GW_STD_DENIED },
		{ -ENOSYS, GW_STD_COMBAD },
		{ -EINVAL, GW_STD_ARGBAD },
		{ -EFAULT, GW_STD_ARGBAD },
		{ -EBUSY, GW_STD_NOTNOW },
		{ -EALREADY, GW_STD_NOTNOW },
		{ -ETIME, GW_STD_NOTNOW },
		{ -ETIMEDOUT, GW_STD_NOTNOW },
		{ -EAGAIN, GW_STD_NOTNOW },
		{ -ENOTSUP, GW_STD_NOTNOW },
		{ -ESRCH, GW_STD_NOTFOUND },
		{ -ENOENT, GW_STD_NOTFOUND },
		{ -ENOMEM, GW_STD_NOMEM },
		{ -ENOSPC, GW_STD_NOSPACE },
	};

	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].code == code)
			return table[i].status;
	return GW_STD_SYSERR;
}

void gw_ps_named(const char *job, struct gw_cap *ret_job)
{
	_cleanup_free_ char *name = xasprintf("job:%s", job);

	*ret_job = (struct gw_cap) { .port = gw_port_from_name(name) };
}

const char *gw_ps_why(struct gw *gw)
{
	return gw_why(gw);
}

/* One request. On GW_OK *ret_reply, if asked for, is the caller's. */
static int ask(struct gw *gw, const struct gw_cap *to, request_t *q, reply_t **ret_reply)
{
	size_t len = godwit__procd__request__get_packed_size(q);
	_cleanup_free_ uint8_t *out = xmalloc(len), *in = xmalloc(GW_MSG_MAX);
	struct gw_hdr req = { .port = to->port, .priv = to->priv }, rep;
	reply_t *r;
	int status;
	ssize_t n;

	*gw_why(gw) = '\0';
	(void)godwit__procd__request__pack(q, out);
	n = gw_trans(gw, &req, out, len, &rep, in, GW_MSG_MAX);
	if (n < 0 || rep.command < 0)
		return n < 0 ? (int)n : rep.command;
	r = godwit__procd__reply__unpack(NULL, (size_t)n, in);
	if (!r)
		return GW_STD_SYSERR;
	status = ps_status(r->code);
	if (status != GW_OK)
		(void)snprintf(gw_why(gw), GW_WHY_MAX, "%s", r->text);
	if (status == GW_OK && ret_reply)
		*ret_reply = r;
	else
		godwit__procd__reply__free_unpacked(r, NULL);
	return status;
}

#define REQUEST(var, OP, field, message)                                                                          \
	request_t var = GODWIT__PROCD__REQUEST__INIT;                                                             \
	var.version = GODWIT__PROCD__VERSION__VERSION;                                                            \
	var.op_case = GODWIT__PROCD__REQUEST__OP_##OP;                                                            \
	var.field = (message)

int gw_ps_stun(struct gw *gw, const struct gw_cap *job, int emergency, unsigned timeout_ms)
{
	Godwit__Procd__Stun m = GODWIT__PROCD__STUN__INIT;
	REQUEST(q, STUN, stun, &m);

	m.emergency = emergency;
	m.timeout_ms = timeout_ms;
	return ask(gw, job, &q, NULL);
}

int gw_ps_resume(struct gw *gw, const struct gw_cap *job)
{
	Godwit__Procd__ResumeJob m = GODWIT__PROCD__RESUME_JOB__INIT;
	REQUEST(q, RESUME, resume, &m);

	return ask(gw, job, &q, NULL);
}

int gw_ps_kill(struct gw *gw, const struct gw_cap *job, int signal)
{
	Godwit__Procd__Signal m = GODWIT__PROCD__SIGNAL__INIT;
	REQUEST(q, SIGNAL, signal, &m);

	m.signal = signal;
	return ask(gw, job, &q, NULL);
}

int gw_ps_migrate(struct gw *gw, const struct gw_cap *job, const char *host)
{
	Godwit__Procd__Migrate m = GODWIT__PROCD__MIGRATE__INIT;
	REQUEST(q, MIGRATE, migrate, &m);

	m.destination = (char *)(uintptr_t)host;
	return ask(gw, job, &q, NULL);
}

int gw_ps_set_owner(struct gw *gw, const struct gw_cap *job, const struct gw_port *put_port)
{
	Godwit__Procd__SetOwner m = GODWIT__PROCD__SET_OWNER__INIT;
	REQUEST(q, SET_OWNER, set_owner, &m);
	char text[8 + 2 * GW_PORT_LEN] = "port:";

	if (!put_port)
		*text = '\0';
	for (size_t i = 0; put_port && i < GW_PORT_LEN; i++)
		(void)snprintf(text + 5 + 2 * i, 3, "%02x", put_port->bytes[i]);
	m.port = text;
	return ask(gw, job, &q, NULL);
}

int gw_ps_info(struct gw *gw, const struct gw_cap *job, struct gw_ps_info *ret)
{
	Godwit__Procd__Info m = GODWIT__PROCD__INFO__INIT;
	REQUEST(q, INFO, info, &m);
	const Godwit__Procd__Job *j;
	reply_t *r = NULL;
	int status = ask(gw, job, &q, &r);

	if (status != GW_OK)
		return status;
	j = r->job;
	if (r->result_case == GODWIT__PROCD__REPLY__RESULT_JOB) {
		*ret = (struct gw_ps_info) {
			.state = (enum gw_ps_state)j->state,
			.uid = j->uid,
			.pid = j->pid,
			.threads = j->threads,
			.memory_bytes = j->memory,
			.incarnation = j->incarnation,
			.moves = j->moves,
			.exit_status = j->exited ? j->exited->status : 0,
			.exit_signal = j->exited ? j->exited->signal : 0,
		};
		(void)snprintf(ret->name, sizeof ret->name, "%s", j->name);
		(void)snprintf(ret->host, sizeof ret->host, "%s", j->host);
	} else {
		status = GW_STD_SYSERR;
	}
	godwit__procd__reply__free_unpacked(r, NULL);
	return status;
}

int gw_ps_load(struct gw *gw, const char *host, struct gw_ps_load *ret)
{
	Godwit__Procd__Load m = GODWIT__PROCD__LOAD__INIT;
	REQUEST(q, LOAD, load, &m);
	_cleanup_free_ char *name = xasprintf("procd@%s", host);
	struct gw_cap server = { .port = gw_port_from_name(name) };
	const Godwit__Procd__LoadInfo *l;
	reply_t *r = NULL;
	int status = ask(gw, &server, &q, &r);

	if (status != GW_OK)
		return status;
	l = r->load;
	if (r->result_case == GODWIT__PROCD__REPLY__RESULT_LOAD)
		*ret = (struct gw_ps_load) {
			.cpus = l->cpus,
			.processes = l->processes,
			.jobs = l->jobs,
			.load1_milli = (uint32_t)l->load1_milli,
			.load5_milli = (uint32_t)l->load5_milli,
			.load15_milli = (uint32_t)l->load15_milli,
			.memory_bytes = l->memory_total,
			.memory_available_bytes = l->memory_available,
		};
	else
		status = GW_STD_SYSERR;
	godwit__procd__reply__free_unpacked(r, NULL);
	return status;
}

/* --- segments --- */

static void copy_cap(struct gw_cap *to, const Godwit__Procd__Capability *x)
{
	memset(to, 0, sizeof *to);
	if (!x || x->port.len != GW_PORT_LEN || x->check.len != GW_CHECK_LEN)
		return;
	memcpy(to->port.bytes, x->port.data, GW_PORT_LEN);
	to->priv.object = x->object;
	to->priv.rights = x->rights;
	memcpy(to->priv.check, x->check.data, GW_CHECK_LEN);
}

/* The list, and behind it the names. */
static struct gw_seg *copy_segments(const Godwit__Procd__Segments *all)
{
	size_t names = 0;
	struct gw_seg *list;
	char *at;

	for (size_t i = 0; i < all->n_segments; i++)
		names += strlen(all->segments[i]->name) + 1;
	list = xcalloc(1, all->n_segments * sizeof *list + names + 1);
	at = (char *)(list + all->n_segments);
	for (size_t i = 0; i < all->n_segments; i++) {
		const Godwit__Procd__Segment *s = all->segments[i];

		list[i] = (struct gw_seg) { .address = s->address,
					    .length = s->length,
					    .prot = (int)s->prot,
					    .shared = s->shared,
					    .name = at };
		copy_cap(&list[i].cap, s->capability);
		at = stpcpy(at, s->name) + 1;
	}
	return list;
}

int gw_seg_list(struct gw *gw, const struct gw_cap *job, struct gw_seg **ret_list, size_t *ret_n)
{
	Godwit__Procd__GetSegments m = GODWIT__PROCD__GET_SEGMENTS__INIT;
	REQUEST(q, GET_SEGMENTS, get_segments, &m);
	reply_t *r = NULL;
	int status = ask(gw, job, &q, &r);

	if (status != GW_OK)
		return status;
	if (r->result_case == GODWIT__PROCD__REPLY__RESULT_SEGMENTS) {
		*ret_list = copy_segments(r->segments);
		*ret_n = r->segments->n_segments;
	} else {
		status = GW_STD_SYSERR;
	}
	godwit__procd__reply__free_unpacked(r, NULL);
	return status;
}

/* --- commands in headers --- */

static int command(struct gw *gw, const struct gw_cap *cap, struct gw_hdr *hdr, const void *out, size_t out_len,
		   void *in, size_t in_size, size_t *ret_len)
{
	struct gw_hdr rep;
	ssize_t n;

	*gw_why(gw) = '\0';
	hdr->port = cap->port;
	hdr->priv = cap->priv;
	n = gw_trans(gw, hdr, out, out_len, &rep, in, in_size);
	if (n < 0 || rep.command < 0)
		return n < 0 ? (int)n : rep.command;
	*hdr = rep;
	if (ret_len)
		*ret_len = MIN((size_t)n, in_size);
	return GW_OK;
}

int gw_seg_read(struct gw *gw, const struct gw_cap *seg, uint64_t offset, void *buf, size_t len)
{
	int status = GW_OK;

	for (size_t done = 0, got; status == GW_OK && done < len; done += got) {
		struct gw_hdr hdr = { .command = GW_SEG_READ,
				      .offset = offset + done,
				      .size = MIN(len - done, (size_t)PIECE) };
		size_t want = hdr.size;

		status = command(gw, seg, &hdr, NULL, 0, (uint8_t *)buf + done, want, &got);
		if (status == GW_OK && got != want)
			status = GW_STD_SYSERR;
	}
	return status;
}

int gw_seg_write(struct gw *gw, const struct gw_cap *seg, uint64_t offset, const void *buf, size_t len)
{
	int status = GW_OK;

	for (size_t done = 0, n; status == GW_OK && done < len; done += n) {
		struct gw_hdr hdr = { .command = GW_SEG_WRITE, .offset = offset + done };

		n = MIN(len - done, (size_t)PIECE);
		status = command(gw, seg, &hdr, (const uint8_t *)buf + done, n, NULL, 0, NULL);
	}
	return status;
}

int gw_seg_size(struct gw *gw, const struct gw_cap *seg, uint64_t *ret_bytes)
{
	struct gw_hdr hdr = { .command = GW_SEG_SIZE };
	int status = command(gw, seg, &hdr, NULL, 0, NULL, 0, NULL);

	if (status == GW_OK)
		*ret_bytes = hdr.size;
	return status;
}

/* A command whose reply is a capability of the same server. */
static int command_for_cap(struct gw *gw, const struct gw_cap *cap, struct gw_hdr *hdr, const void *out,
			   size_t out_len, struct gw_cap *ret_cap)
{
	struct gw_port port = cap->port;
	int status = command(gw, cap, hdr, out, out_len, NULL, 0, NULL);

	if (status == GW_OK)
		*ret_cap = (struct gw_cap) { .port = port, .priv = hdr->priv };
	return status;
}

int gw_std_restrict(struct gw *gw, const struct gw_cap *cap, uint32_t mask, struct gw_cap *ret_cap)
{
	struct gw_hdr hdr = { .command = GW_STD_RESTRICT, .offset = mask };

	return command_for_cap(gw, cap, &hdr, NULL, 0, ret_cap);
}

static int text_about(struct gw *gw, const struct gw_cap *cap, int what, char *ret_text, size_t size)
{
	struct gw_hdr hdr = { .command = what };
	size_t len = 0;
	int status = size ? command(gw, cap, &hdr, NULL, 0, ret_text, size - 1, &len) : GW_BADADDRESS;

	if (status == GW_OK)
		ret_text[len] = '\0';
	return status;
}

int gw_std_info(struct gw *gw, const struct gw_cap *cap, char *ret_text, size_t size)
{
	return text_about(gw, cap, GW_STD_INFO, ret_text, size);
}

int gw_std_status(struct gw *gw, const struct gw_cap *cap, char *ret_text, size_t size)
{
	return text_about(gw, cap, GW_STD_STATUS, ret_text, size);
}

int gw_std_copy(struct gw *gw, const struct gw_cap *server, const struct gw_cap *from, struct gw_cap *ret_cap)
{
	struct gw_hdr hdr = { .command = GW_STD_COPY };
	uint8_t bytes[GW_CAP_LEN];

	gw_cap_encode(from, bytes);
	return command_for_cap(gw, server, &hdr, bytes, sizeof bytes, ret_cap);
}

int gw_std_age(struct gw *gw, const struct gw_cap *server)
{
	struct gw_hdr hdr = { .command = GW_STD_AGE };

	return command(gw, server, &hdr, NULL, 0, NULL, 0, NULL);
}

int gw_std_touch(struct gw *gw, const struct gw_cap *cap)
{
	struct gw_hdr hdr = { .command = GW_STD_TOUCH };

	return command(gw, cap, &hdr, NULL, 0, NULL, 0, NULL);
}

int gw_std_destroy(struct gw *gw, const struct gw_cap *cap)
{
	struct gw_hdr hdr = { .command = GW_STD_DESTROY };

	return command(gw, cap, &hdr, NULL, 0, NULL, 0, NULL);
}
