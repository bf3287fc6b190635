/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job's own connections to flipd: taken from the source's flipd once the job stands still, given back if it
 * does not move, installed in the destination's flipd before it is thawed (flipd/travel.c has the story). At the
 * source they are leased to this process server: if it goes, they are the job's again.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "procd/jobs.h"
#include "procd/migration.h"
#include "procd/policy.h"

/* All of them travel in one COMMIT, with room for the rest of it. */
#define STATE_MAX (12u << 20)
#define CONNS_MAX 1024u

struct out_conn {
	struct migration_out *m;
	uint64_t token, inode;
	uid_t uid;
	gid_t gid;
	ProtobufCBinaryData state;
};

/* --- source --- */

static void on_taken(void *arg, int result, uid_t uid, gid_t gid, const void *blob, size_t len)
{
	struct out_conn *c = arg;
	struct migration_out *m = c->m;

	if (m->over || m->failing) {
		/* nothing: undoing gives it back behind this */
	} else if (result < 0) {
		out_fail(m, result, "flipd does not hand out one of the job's connections: %s", strerror(-result));
	} else if (m->conns_bytes + len > STATE_MAX) {
		out_fail(m, -EMSGSIZE,
			 "the requests and replies on its connections to flipd are too long to move");
	} else {
		c->uid = uid;
		c->gid = gid;
		c->state.len = len;
		c->state.data = xmalloc(len);
		memcpy(c->state.data, blob, len);
		m->conns_bytes += len;
		if (--m->conns_wanted == 0)
			out_stage_done(m, STAGE_STUN);
	}
	out_unref(m);
}

void out_take_conns(struct migration_out *m, const Godwit__Mover__Stunned *s)
{
	if (s->n_connections > CONNS_MAX) {
		out_fail(m, -EMFILE, "it has %zu connections to flipd", s->n_connections);
		return;
	}
	m->conns = xcalloc(s->n_connections, sizeof(*m->conns));
	m->n_conns = m->conns_wanted = s->n_connections;
	for (size_t i = 0; i < m->n_conns; i++) {
		struct out_conn *c = &m->conns[i];

		*c = (struct out_conn) { .m = m,
					 .token = s->connections[i]->token,
					 .inode = s->connections[i]->inode };
		if (!m->p->gwc || gwc_conn_take(m->p->gwc, c->inode, on_taken, c) < 0) {
			out_fail(m, -ENOTCONN, "flipd is away");
			return;
		}
		out_ref(m);
	}
}

void out_fill_conns(const struct migration_out *m, Godwit__Procd__Commit *c)
{
	c->connections = m->n_conns ? xcalloc(m->n_conns, sizeof(*c->connections)) : NULL;
	for (size_t i = 0; i < m->n_conns; i++) {
		Godwit__Procd__FlipConnection *x = xmalloc(sizeof *x);

		godwit__procd__flip_connection__init(x);
		x->token = m->conns[i].token;
		x->uid = m->conns[i].uid;
		x->gid = m->conns[i].gid;
		x->inode = m->conns[i].inode;
		x->state = m->conns[i].state; /* borrowed */
		c->connections[c->n_connections++] = x;
	}
}

void out_unfill_conns(Godwit__Procd__Commit *c)
{
	for (size_t i = 0; i < c->n_connections; i++)
		free(c->connections[i]);
	free(c->connections);
}

void out_hold_conns(struct migration_out *m, bool decided)
{
	for (size_t i = 0; i < m->n_conns && m->p->gwc; i++)
		(void)!gwc_conn_hold(m->p->gwc, m->conns[i].inode, decided);
}

void out_recall_conns(struct migration_out *m)
{
	const Godwit__Procd__Commit *c = m->commit;

	m->conns = c->n_connections ? xcalloc(c->n_connections, sizeof(*m->conns)) : NULL;
	for (size_t i = 0; i < c->n_connections; i++)
		m->conns[m->n_conns++] = (struct out_conn) { .m = m, .inode = c->connections[i]->inode };
}

static void on_ended(void *arg, int result)
{
	struct migration_out *m = arg;

	if (result < 0)
		log_debug("job %s: a connection was not ended: %s", m->name, strerror(-result));
	out_unref(m);
}

void out_end_conns(struct migration_out *m, bool moved)
{
	for (size_t i = 0; i < m->n_conns && m->p->gwc; i++)
		if (gwc_conn_end(m->p->gwc, m->conns[i].inode, moved, on_ended, m) == 0)
			out_ref(m);
}

void out_free_conns(struct migration_out *m)
{
	for (size_t i = 0; i < m->n_conns; i++)
		free(m->conns[i].state.data);
	free(m->conns);
}

/* --- destination --- */

static void on_installed(void *arg, int result)
{
	struct migration_in *m = arg;

	/* Nothing can be refused any more: the job finds that connection lost. */
	if (result < 0)
		log_warn("job %s: one of its connections does not arrive: %s", m->name, strerror(-result));
	in_part_installed(m, 0, NULL);
}

/* Whose a connection is at the source is that host's word; it is believed as far as the host is. */
void in_install_conns(struct migration_in *m, const Godwit__Procd__Commit *q)
{
	bool trusted = policy_trusts(&m->p->settings, m->source);
	const Godwit__Procd__JobSpec *spec = m->job->spec;

	for (size_t i = 0; i < q->n_connections && m->p->gwc; i++) {
		const Godwit__Procd__FlipConnection *c = q->connections[i];

		if (gwc_conn_install(m->p->gwc, c->token, trusted ? c->uid : spec->uid,
				     trusted ? c->gid : spec->gid, c->state.data, c->state.len, on_installed,
				     m) < 0)
			continue;
		m->installing++;
		m->refs++;
	}
}
