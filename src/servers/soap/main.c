/* SPDX-License-Identifier: Apache-2.0 */
/*
 * soap: directories, which map names to sets of capabilities. A row has a mask of rights for each of three columns
 * (owner, group, other); whoever holds a capability for a directory holds some of the columns, and gets out of a
 * row what those leave.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "servers/soap/soap.h"

#define LIST_BYTES 60000u

static int secret(struct server *s, uint64_t object, uint8_t ret[GW_CHECK_LEN])
{
	const struct dir *d = dir_find(s->ctx, object);

	if (!d)
		return -ENOENT;
	memcpy(ret, d->secret, GW_CHECK_LEN);
	return 0;
}

static int find_by(struct server *s, const struct gw_private *priv, uint32_t need, struct dir **ret,
		   uint32_t *ret_rights)
{
	int status = server_check(s, priv, need, ret_rights);

	if (status != GW_OK)
		return status;
	*ret = dir_find(s->ctx, priv->object);
	return *ret ? GW_OK : GW_STD_CAPBAD;
}

static int find(struct server *s, const struct request *r, uint32_t need, struct dir **ret, uint32_t *ret_rights)
{
	return find_by(s, &r->hdr->priv, need, ret, ret_rights);
}

/* What the columns held leave. */
static uint32_t mask_of(const struct row *row, uint32_t rights)
{
	uint32_t mask = 0;

	for (unsigned i = 0; i < GW_SP_COLUMNS; i++)
		if (rights & 1u << i)
			mask |= row->masks.columns[i];
	return mask;
}

static int disk_status(int err, const struct err *e)
{
	if (err < 0)
		log_error("%s", err_text(e));
	return !err ? GW_OK : err == -ENOSPC || err == -EDQUOT ? GW_STD_NOSPACE : GW_STD_SYSERR;
}

/* Changes one row: on the disk first, then for everybody. */
static int change_row(struct server *s, struct dir *d, const struct row *row)
{
	struct dir copy = dir_copy(d);
	struct err e = { 0 };
	int err;

	row_set(&copy, row);
	copy.seqnr++;
	err = disk_write(s, &copy, &e);
	if (!err)
		dir_take(d, &copy);
	free(copy.rows);
	return disk_status(err, &e);
}

/* --- commands --- */

static int create(struct server *s, struct request *r)
{
	struct soap *x = s->ctx;
	struct err e = { 0 };
	struct dir *d;
	int err, status = find(s, r, GW_SPR_MODIFY, &d, NULL);

	if (status != GW_OK)
		return status;
	if (x->dirs.n >= DIRS_MAX)
		return GW_STD_NOSPACE;
	d = dir_add(x, x->last + 1);
	gw_secret_random(d->secret);
	err = disk_write(s, d, &e);
	if (err < 0) {
		dir_remove(x, d);
		return disk_status(err, &e);
	}
	gw_private_make(&r->rep.priv, d->object, GW_RIGHTS_ALL, d->secret);
	return GW_OK;
}

static int remove_dir(struct server *s, struct dir *d)
{
	if (!d->object)
		return GW_STD_DENIED;
	if (d->n)
		return GW_SP_NOTEMPTY;
	disk_remove(s, d);
	dir_remove(s->ctx, d);
	return GW_OK;
}

static int discard(struct server *s, struct request *r)
{
	struct dir *d;
	int status = find(s, r, GW_SPR_DELETE, &d, NULL);

	return status != GW_OK ? status : remove_dir(s, d);
}

static int list(struct server *s, struct request *r)
{
	uint32_t rights;
	uint64_t seen = 0;
	struct dir *d;
	int status = find(s, r, 0, &d, &rights);
	struct wire_out w = { 0 };

	if (status != GW_OK)
		return status;
	if (!(rights & GW_SPR_COLUMNS))
		return GW_STD_DENIED;
	w = wire_out(server_reply_room(r, LIST_BYTES), LIST_BYTES);
	for (size_t i = 0; i < d->n && r->rep.size < r->hdr->size; i++) {
		const struct row *row = &d->rows[i];

		if (w.len + 1 + sizeof row->name + sizeof row->masks > LIST_BYTES)
			break;
		/* Rows are numbered as the caller sees them. */
		if (!mask_of(row, rights) || seen++ < r->hdr->offset)
			continue;
		soap_put_name(&w, row->name);
		soap_put_masks(&w, &row->masks);
		r->rep.size++;
	}
	r->out_len = w.len;
	return GW_OK;
}

static int append(struct server *s, struct request *r)
{
	struct row row = { 0 };
	struct dir *d = NULL;
	int status = find(s, r, GW_SPR_MODIFY, &d, NULL);

	soap_get_name(&r->in, row.name);
	soap_get_masks(&r->in, &row.masks);
	soap_get_set(&r->in, &row.set);
	if (status != GW_OK)
		return status;
	if (r->in.bad || r->in.left || !name_is_good(row.name) || !row.set.n)
		return GW_STD_ARGBAD;
	if (row_find(d, row.name))
		return GW_STD_EXISTS;
	return d->n < ROWS_MAX ? change_row(s, d, &row) : GW_STD_NOSPACE;
}

/* CHMOD, DELETE and REPLACE: a row that is there, otherwise. */
static int alter(struct server *s, struct request *r)
{
	char name[GW_SP_NAME_MAX + 1];
	struct row row, *old = NULL;
	struct dir *d = NULL;
	int status = find(s, r, GW_SPR_MODIFY, &d, NULL);

	soap_get_name(&r->in, name);
	if (status != GW_OK)
		return status;
	if (r->in.bad || !(old = row_find(d, name)))
		return r->in.bad ? GW_STD_ARGBAD : GW_STD_NOTFOUND;
	row = *old;
	if (r->hdr->command == GW_SP_CHMOD)
		soap_get_masks(&r->in, &row.masks);
	else if (r->hdr->command == GW_SP_REPLACE)
		soap_get_set(&r->in, &row.set);
	else
		row.set.n = 0;
	if (r->in.bad || r->in.left || (r->hdr->command == GW_SP_REPLACE && !row.set.n))
		return GW_STD_ARGBAD;
	return change_row(s, d, &row);
}

/* One that is restricted already can be restricted further only by its own server; that may take a while, and may
 * be this very server. */
static int restrict_there(struct server *s, struct request *r, struct gw_cap *cap, uint32_t mask)
{
	struct gw *gw;
	int status;

	(void)pthread_mutex_unlock(&s->lock);
	gw = server_asks(r);
	status = gw ? gw_std_restrict(gw, cap, mask, cap) : GW_STD_NOTNOW;
	(void)pthread_mutex_lock(&s->lock);
	return status;
}

static int restrict_set(struct server *s, struct request *r, struct gw_capset *set, uint32_t mask)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < set->n; i++) {
		struct gw_cap cap = set->caps[i];
		int status = GW_OK;

		if (!(cap.priv.rights & ~mask) || mask == GW_RIGHTS_ALL)
			; /* it is within the mask */
		else if (cap.priv.rights == GW_RIGHTS_ALL)
			status = gw_cap_restrict(&cap, mask, &cap);
		else
			status = restrict_there(s, r, &cap, mask);
		if (status == GW_OK)
			set->caps[kept++] = cap;
	}
	set->n = kept;
	return kept ? GW_OK : GW_STD_NOTNOW;
}

static int lookup(struct server *s, struct request *r)
{
	char name[GW_SP_NAME_MAX + 1];
	const struct row *row = NULL;
	struct gw_capset set;
	struct wire_out w;
	uint32_t rights, mask;
	struct dir *d = NULL;
	int status = find(s, r, 0, &d, &rights);

	soap_get_name(&r->in, name);
	if (status != GW_OK)
		return status;
	if (r->in.bad || r->in.left)
		return GW_STD_ARGBAD;
	row = row_find(d, name);
	mask = row ? mask_of(row, rights) : 0;
	if (!row || !mask)
		return row ? GW_STD_DENIED : GW_STD_NOTFOUND;
	set = row->set;
	status = restrict_set(s, r, &set, mask);
	if (status != GW_OK)
		return status;
	w = wire_out(server_reply_room(r, soap_set_len(&set)), soap_set_len(&set));
	soap_put_set(&w, &set);
	return GW_OK;
}

static int masks(struct server *s, struct request *r)
{
	char name[GW_SP_NAME_MAX + 1];
	const struct row *row;
	uint32_t rights;
	struct wire_out w;
	struct dir *d = NULL;
	int status = find(s, r, 0, &d, &rights);

	soap_get_name(&r->in, name);
	if (status != GW_OK || r->in.bad)
		return status != GW_OK ? status : GW_STD_ARGBAD;
	row = row_find(d, name);
	if (!row || !mask_of(row, rights))
		return GW_STD_NOTFOUND;
	w = wire_out(server_reply_room(r, sizeof row->masks), sizeof row->masks);
	soap_put_masks(&w, &row->masks);
	return GW_OK;
}

static int seqnr(struct server *s, struct request *r)
{
	struct dir *d;
	int status = find(s, r, 0, &d, NULL);

	if (status == GW_OK)
		r->rep.offset = d->seqnr;
	return status;
}

/* --- several rows at once --- */

struct install {
	struct dir copies[GW_SP_CHANGES_MAX], *dirs[GW_SP_CHANGES_MAX];
	size_t n;
};

static struct dir *copy_of(struct install *x, struct dir *d)
{
	for (size_t i = 0; i < x->n; i++)
		if (x->dirs[i] == d)
			return &x->copies[i];
	x->dirs[x->n] = d;
	x->copies[x->n] = dir_copy(d);
	x->copies[x->n].seqnr++;
	return &x->copies[x->n++];
}

static bool is_set(const struct row *row, const struct gw_capset *set)
{
	if (!row || !set->n)
		return !row && !set->n;
	return row->set.n == set->n && !memcmp(row->set.caps, set->caps, set->n * sizeof *set->caps);
}

static int install_one(struct server *s, struct request *r, struct install *x)
{
	struct row row = { .masks = { { GW_RIGHTS_ALL, GW_RIGHTS_ALL, GW_RIGHTS_ALL } } };
	struct gw_private priv;
	struct gw_capset old;
	const struct row *now;
	struct dir *d, *copy;
	int status;

	priv.object = wire_get_u64(&r->in);
	priv.rights = wire_get_u32(&r->in);
	wire_get_bytes(&r->in, priv.check, GW_CHECK_LEN);
	soap_get_name(&r->in, row.name);
	soap_get_set(&r->in, &old);
	soap_get_set(&r->in, &row.set);
	if (r->in.bad || !name_is_good(row.name))
		return GW_STD_ARGBAD;
	status = find_by(s, &priv, GW_SPR_MODIFY, &d, NULL);
	if (status != GW_OK)
		return status;
	copy = copy_of(x, d);
	now = row_find(copy, row.name);
	if (!is_set(now, &old))
		return GW_SP_CLASH;
	if (now)
		row.masks = now->masks;
	else if (copy->n >= ROWS_MAX)
		return GW_STD_NOSPACE;
	row_set(copy, &row);
	return GW_OK;
}

static int install(struct server *s, struct request *r)
{
	uint32_t n = wire_get_u32(&r->in);
	struct install *x = xcalloc(1, sizeof *x);
	int status = r->in.bad || !n || n > GW_SP_CHANGES_MAX ? GW_STD_ARGBAD : GW_OK, err;
	struct err e = { 0 };

	for (uint32_t i = 0; i < n && status == GW_OK; i++)
		status = install_one(s, r, x);
	if (status == GW_OK && r->in.left)
		status = GW_STD_ARGBAD;
	if (status == GW_OK) {
		err = disk_install(s, x->copies, x->n, &e);
		for (size_t i = 0; i < x->n && !err; i++)
			dir_take(x->dirs[i], &x->copies[i]);
		status = disk_status(err, &e);
	}
	for (size_t i = 0; i < x->n; i++)
		free(x->copies[i].rows);
	free(x);
	return status;
}

static int handle(struct server *s, struct request *r)
{
	static const struct {
		int command;
		int (*run)(struct server *s, struct request *r);
	} commands[] = {
		{ GW_SP_CREATE, create },  { GW_SP_DISCARD, discard }, { GW_SP_LIST, list },
		{ GW_SP_APPEND, append },  { GW_SP_CHMOD, alter },     { GW_SP_DELETE, alter },
		{ GW_SP_LOOKUP, lookup },  { GW_SP_INSTALL, install }, { GW_SP_REPLACE, alter },
		{ GW_SP_GETMASKS, masks }, { GW_SP_GETSEQNR, seqnr },
	};

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (commands[i].command == r->hdr->command)
			return commands[i].run(s, r);
	return GW_STD_COMBAD;
}

static int info(struct server *s, const struct gw_private *priv, char *text, size_t size)
{
	const struct dir *d = dir_find(s->ctx, priv->object);

	(void)snprintf(text, size, "directory, %zu names", d ? d->n : 0);
	return GW_OK;
}

static int destroy(struct server *s, const struct gw_private *priv, uint32_t rights)
{
	struct dir *d = dir_find(s->ctx, priv->object);

	if (!(rights & GW_SPR_DELETE))
		return GW_STD_DENIED;
	return d ? remove_dir(s, d) : GW_STD_CAPBAD;
}

static int open_dirs(struct server *s, struct err *e)
{
	s->ctx = xcalloc(1, sizeof(struct soap));
	return disk_open(s, s->ctx, e);
}

int main(int argc, char **argv)
{
	static const struct server_ops ops = {
		.name = "soap",
		.doc = "Keeps directories of capabilities in a directory and prints the capability of the root.",
		.wants_dir = true,
		.open = open_dirs,
		.secret = secret,
		.handle = handle,
		.info = info,
		.destroy = destroy,
	};

	return server_main(&ops, argc, argv);
}
