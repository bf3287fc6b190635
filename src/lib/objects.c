/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of tod, bullet and soap: include/godwit_objects.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "godwit_objects.h"
#include "lib/soap_wire.h"

#define PIECE (4u << 20) /* what one transaction carries of a long file */
#define LIST_BYTES 65536u

void gw_cap_encode(const struct gw_cap *cap, uint8_t out[GW_CAP_LEN])
{
	struct wire_out w = wire_out(out, GW_CAP_LEN);

	wire_put_bytes(&w, cap->port.bytes, GW_PORT_LEN);
	wire_put_u64(&w, cap->priv.object);
	wire_put_u32(&w, cap->priv.rights);
	wire_put_bytes(&w, cap->priv.check, GW_CHECK_LEN);
}

void gw_cap_decode(struct gw_cap *cap, const uint8_t in[GW_CAP_LEN])
{
	struct wire_in w = wire_in(in, GW_CAP_LEN);

	wire_get_bytes(&w, cap->port.bytes, GW_PORT_LEN);
	cap->priv.object = wire_get_u64(&w);
	cap->priv.rights = wire_get_u32(&w);
	wire_get_bytes(&w, cap->priv.check, GW_CHECK_LEN);
}

static struct gw_hdr ask_for(const struct gw_cap *cap, int command)
{
	return (struct gw_hdr) { .port = cap->port, .priv = cap->priv, .command = command };
}

/* The length of the reply, or whichever of the two layers says no. */
static ssize_t call(struct gw *gw, const struct gw_hdr *q, const void *buf, size_t len, struct gw_hdr *rep,
		    void *out, size_t size)
{
	ssize_t n = gw_trans(gw, q, buf, len, rep, out, size);

	if (n < 0)
		return n;
	return rep->command < 0 ? rep->command : n;
}

static int status_of(ssize_t n)
{
	return n < 0 ? (int)n : GW_OK;
}

/* --- tod --- */

int gw_tod_gettime(struct gw *gw, const struct gw_cap *tod, int64_t *ret_us)
{
	struct gw_hdr q = ask_for(tod, GW_TOD_GETTIME), rep;
	ssize_t n = call(gw, &q, NULL, 0, &rep, NULL, 0);

	if (n >= 0)
		*ret_us = (int64_t)rep.offset;
	return status_of(n);
}

/* --- bullet --- */

/* One that makes or changes a file: its capability comes back. */
static int make(struct gw *gw, const struct gw_hdr *q, const void *buf, size_t len, struct gw_cap *ret)
{
	struct gw_hdr rep;
	ssize_t n = call(gw, q, buf, len, &rep, NULL, 0);

	if (n >= 0)
		*ret = (struct gw_cap) { .port = q->port, .priv = rep.priv };
	return status_of(n);
}

/* What is longer than a message is put on, piece by piece, and committed with the last. */
int gw_b_create(struct gw *gw, const struct gw_cap *server, const void *buf, size_t size, unsigned flags,
		struct gw_cap *ret)
{
	struct gw_hdr q = ask_for(server, GW_B_CREATE);
	size_t at = MIN(size, (size_t)PIECE);
	int status;

	q.extra = at == size ? flags : 0;
	status = make(gw, &q, buf, at, ret);
	while (status == GW_OK && at < size) {
		size_t n = MIN(size - at, (size_t)PIECE);

		status = gw_b_insert(gw, ret, at, (const uint8_t *)buf + at, n, at + n == size ? flags : 0, ret);
		at += n;
	}
	return status;
}

ssize_t gw_b_read(struct gw *gw, const struct gw_cap *file, uint64_t offset, void *buf, size_t size)
{
	size_t at = 0;

	while (at < size) {
		struct gw_hdr q = ask_for(file, GW_B_READ), rep;
		ssize_t n;

		q.offset = offset + at;
		q.size = MIN(size - at, (size_t)PIECE);
		n = call(gw, &q, NULL, 0, &rep, (uint8_t *)buf + at, q.size);
		if (n < 0)
			return n;
		at += MIN((size_t)n, (size_t)q.size);
		if ((size_t)n < q.size)
			break;
	}
	return (ssize_t)at;
}

int gw_b_size(struct gw *gw, const struct gw_cap *file, uint64_t *ret)
{
	struct gw_hdr q = ask_for(file, GW_B_SIZE), rep;
	ssize_t n = call(gw, &q, NULL, 0, &rep, NULL, 0);

	if (n >= 0)
		*ret = rep.size;
	return status_of(n);
}

static int change(struct gw *gw, const struct gw_cap *file, int command, uint64_t offset, const void *buf,
		  size_t len, uint64_t size, unsigned flags, struct gw_cap *ret)
{
	struct gw_hdr q = ask_for(file, command);

	q.offset = offset;
	q.size = size;
	q.extra = flags;
	return make(gw, &q, buf, len, ret);
}

int gw_b_modify(struct gw *gw, const struct gw_cap *file, uint64_t offset, const void *buf, size_t size,
		unsigned flags, struct gw_cap *ret)
{
	return change(gw, file, GW_B_MODIFY, offset, buf, size, size, flags, ret);
}

int gw_b_insert(struct gw *gw, const struct gw_cap *file, uint64_t offset, const void *buf, size_t size,
		unsigned flags, struct gw_cap *ret)
{
	return change(gw, file, GW_B_INSERT, offset, buf, size, size, flags, ret);
}

int gw_b_delete(struct gw *gw, const struct gw_cap *file, uint64_t offset, uint64_t size, unsigned flags,
		struct gw_cap *ret)
{
	return change(gw, file, GW_B_DELETE, offset, NULL, 0, size, flags, ret);
}

/* --- soap --- */

#define ROW_MAX (1 + GW_SP_NAME_MAX + 4 * GW_SP_COLUMNS + 1 + GW_CAPSET_MAX * GW_CAP_LEN)

static void put_masks(struct wire_out *w, const struct gw_sp_masks *masks)
{
	static const struct gw_sp_masks all = { { GW_RIGHTS_ALL, GW_RIGHTS_ALL, GW_RIGHTS_ALL } };

	soap_put_masks(w, masks ? masks : &all);
}

static int tell(struct gw *gw, const struct gw_cap *dir, int command, const struct wire_out *w)
{
	struct gw_hdr q = ask_for(dir, command), rep;

	return w->bad ? GW_STD_ARGBAD : status_of(call(gw, &q, w->p, w->len, &rep, NULL, 0));
}

int gw_sp_create(struct gw *gw, const struct gw_cap *dir, struct gw_cap *ret)
{
	struct gw_hdr q = ask_for(dir, GW_SP_CREATE);

	return make(gw, &q, NULL, 0, ret);
}

int gw_sp_discard(struct gw *gw, const struct gw_cap *dir)
{
	struct gw_hdr q = ask_for(dir, GW_SP_DISCARD), rep;

	return status_of(call(gw, &q, NULL, 0, &rep, NULL, 0));
}

int gw_sp_append(struct gw *gw, const struct gw_cap *dir, const char *name, const struct gw_sp_masks *masks,
		 const struct gw_capset *set)
{
	uint8_t buf[ROW_MAX];
	struct wire_out w = wire_out(buf, sizeof buf);

	soap_put_name(&w, name);
	put_masks(&w, masks);
	soap_put_set(&w, set);
	return tell(gw, dir, GW_SP_APPEND, &w);
}

int gw_sp_replace(struct gw *gw, const struct gw_cap *dir, const char *name, const struct gw_capset *set)
{
	uint8_t buf[ROW_MAX];
	struct wire_out w = wire_out(buf, sizeof buf);

	soap_put_name(&w, name);
	soap_put_set(&w, set);
	return tell(gw, dir, GW_SP_REPLACE, &w);
}

int gw_sp_chmod(struct gw *gw, const struct gw_cap *dir, const char *name, const struct gw_sp_masks *masks)
{
	uint8_t buf[ROW_MAX];
	struct wire_out w = wire_out(buf, sizeof buf);

	soap_put_name(&w, name);
	put_masks(&w, masks);
	return tell(gw, dir, GW_SP_CHMOD, &w);
}

int gw_sp_delete(struct gw *gw, const struct gw_cap *dir, const char *name)
{
	uint8_t buf[ROW_MAX];
	struct wire_out w = wire_out(buf, sizeof buf);

	soap_put_name(&w, name);
	return tell(gw, dir, GW_SP_DELETE, &w);
}

int gw_sp_lookup(struct gw *gw, const struct gw_cap *dir, const char *name, struct gw_capset *ret)
{
	struct gw_hdr q = ask_for(dir, GW_SP_LOOKUP), rep;
	uint8_t buf[ROW_MAX], out[ROW_MAX];
	struct wire_out w = wire_out(buf, sizeof buf);
	struct wire_in in;
	ssize_t n;

	soap_put_name(&w, name);
	if (w.bad)
		return GW_STD_ARGBAD;
	n = call(gw, &q, buf, w.len, &rep, out, sizeof out);
	if (n < 0)
		return (int)n;
	in = wire_in(out, MIN((size_t)n, sizeof out));
	soap_get_set(&in, ret);
	return (size_t)n > sizeof out || in.bad || in.left ? GW_STD_SYSERR : GW_OK;
}

int gw_sp_list(struct gw *gw, const struct gw_cap *dir, uint64_t at, struct gw_sp_row *rows, size_t max,
	       size_t *ret_n)
{
	struct gw_hdr q = ask_for(dir, GW_SP_LIST), rep;
	_cleanup_free_ uint8_t *out = xmalloc(LIST_BYTES);
	struct wire_in w;
	ssize_t n;

	*ret_n = 0;
	q.offset = at;
	q.size = max;
	n = call(gw, &q, NULL, 0, &rep, out, LIST_BYTES);
	if (n < 0)
		return (int)n;
	w = wire_in(out, MIN((size_t)n, (size_t)LIST_BYTES));
	while (w.left && !w.bad && *ret_n < max) {
		struct gw_sp_row *row = &rows[(*ret_n)++];

		soap_get_name(&w, row->name);
		soap_get_masks(&w, &row->masks);
	}
	return w.bad ? GW_STD_SYSERR : GW_OK;
}

int gw_sp_install(struct gw *gw, const struct gw_sp_change *changes, size_t n)
{
	size_t room = 4 + n * (28 + 1 + GW_SP_NAME_MAX + 2 * (1 + GW_CAPSET_MAX * GW_CAP_LEN));
	_cleanup_free_ uint8_t *buf = NULL;
	struct wire_out w;

	if (!n || n > GW_SP_CHANGES_MAX)
		return GW_STD_ARGBAD;
	buf = xmalloc(room);
	w = wire_out(buf, room);
	wire_put_u32(&w, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		const struct gw_sp_change *c = &changes[i];

		/* One server holds them all, or it could not be one step. */
		if (memcmp(&c->dir.port, &changes[0].dir.port, sizeof c->dir.port) != 0)
			return GW_STD_ARGBAD;
		wire_put_u64(&w, c->dir.priv.object);
		wire_put_u32(&w, c->dir.priv.rights);
		wire_put_bytes(&w, c->dir.priv.check, GW_CHECK_LEN);
		soap_put_name(&w, c->name);
		soap_put_set(&w, &c->old);
		soap_put_set(&w, &c->new);
	}
	return tell(gw, &changes[0].dir, GW_SP_INSTALL, &w);
}

int gw_sp_seqnr(struct gw *gw, const struct gw_cap *dir, uint64_t *ret)
{
	struct gw_hdr q = ask_for(dir, GW_SP_GETSEQNR), rep;
	ssize_t n = call(gw, &q, NULL, 0, &rep, NULL, 0);

	if (n >= 0)
		*ret = rep.offset;
	return status_of(n);
}

/* --- paths --- */

/* "a/./b/../c/" -> "a/c": the text only, as Amoeba's name_breakpath does it. The caller's to free. */
static char *normal(const char *path)
{
	char *out = xmalloc(strlen(path) + 1);
	size_t len = 0;

	while (*path) {
		size_t n = strcspn(path, "/");

		if (n == 2 && !strncmp(path, "..", 2)) {
			while (len && out[--len] != '/')
				;
		} else if (n && !(n == 1 && *path == '.')) {
			if (len)
				out[len++] = '/';
			memcpy(out + len, path, n);
			len += n;
		}
		path += n + (path[n] == '/');
	}
	out[len] = '\0';
	return out;
}

/* Follows the first `len` bytes of a normal path. */
static int follow(struct gw *gw, const struct gw_cap *root, const char *path, size_t len, struct gw_cap *ret)
{
	struct gw_cap at = *root;

	while (len) {
		size_t n = MIN(strcspn(path, "/"), len);
		char name[GW_SP_NAME_MAX + 1];
		struct gw_capset set;
		int status;

		if (n > GW_SP_NAME_MAX)
			return GW_STD_ARGBAD;
		memcpy(name, path, n);
		name[n] = '\0';
		status = gw_sp_lookup(gw, &at, name, &set);
		if (status != GW_OK)
			return status;
		if (!set.n)
			return GW_STD_NOTFOUND;
		at = set.caps[0];
		path += n;
		len -= n;
		path += len && *path == '/';
		len -= len && 1;
	}
	*ret = at;
	return GW_OK;
}

int gw_name_lookup(struct gw *gw, const struct gw_cap *root, const char *path, struct gw_cap *ret)
{
	_cleanup_free_ char *clean = normal(path);

	return follow(gw, root, clean, strlen(clean), ret);
}

int gw_name_parent(struct gw *gw, const struct gw_cap *root, const char *path, struct gw_cap *ret_dir,
		   char ret_name[GW_SP_NAME_MAX + 1])
{
	_cleanup_free_ char *clean = normal(path);
	const char *slash = strrchr(clean, '/'), *last = slash ? slash + 1 : clean;

	if (!*last || strlen(last) > GW_SP_NAME_MAX)
		return GW_STD_ARGBAD;
	strcpy(ret_name, last);
	return follow(gw, root, clean, slash ? (size_t)(slash - clean) : 0, ret_dir);
}
