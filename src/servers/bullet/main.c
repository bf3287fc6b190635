/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bullet: immutable files. A file is made as a whole, or piece by piece until it is committed; then it can be
 * read, destroyed, and be the beginning of another, and nothing else.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "servers/bullet/bullet.h"

#define SAME_MAX (1u << 20) /* files up to this size are compared with what is to be made */

static int secret(struct server *s, uint64_t object, uint8_t ret[GW_CHECK_LEN])
{
	const struct file *f = store_find(s->ctx, object);

	if (!f)
		return -ENOENT;
	memcpy(ret, f->secret, GW_CHECK_LEN);
	return 0;
}

/* The file that a capability is for, which is used thereby. */
static int find(struct server *s, const struct gw_private *priv, uint32_t need, struct file **ret)
{
	int status = server_check(s, priv, need, NULL);

	if (status != GW_OK)
		return status;
	*ret = store_find(s->ctx, priv->object);
	if (!*ret)
		return GW_STD_ARGBAD;
	(*ret)->lives = LIVES;
	return GW_OK;
}

/* The reply is the file's capability. */
static int give(struct request *r, const struct file *f)
{
	gw_private_make(&r->rep.priv, f->object, GW_RIGHTS_ALL, f->secret);
	return GW_OK;
}

/* What a request does to an uncommitted file ends here. */
static int settle(struct server *s, struct request *r, struct file *f, bool commit)
{
	struct err e = { 0 };
	int err;

	f->touched_us = now_us();
	if (commit) {
		err = store_commit(s, s->ctx, f, &e);
		if (err < 0) {
			log_error("%s", err_text(&e));
			return err == -ENOSPC || err == -EDQUOT ? GW_STD_NOSPACE : GW_STD_SYSERR;
		}
	}
	return give(r, f);
}

static bool is_same(struct server *s, const struct file *f, const struct wire_in *bytes)
{
	_cleanup_free_ uint8_t *have = NULL;

	if (f->fresh || f->size != bytes->left || f->size > SAME_MAX)
		return false;
	have = xmalloc(f->size + 1);
	return store_read(s, f, 0, have, f->size) == (ssize_t)f->size && !memcmp(have, bytes->p, f->size);
}

/* An uncommitted file of that length. */
static int begin(struct server *s, uint64_t size, struct file **ret)
{
	struct file *f = store_new(s->ctx);

	if (!f)
		return GW_STD_NOSPACE;
	if (!store_resize(s->ctx, f, size)) {
		store_drop(s, s->ctx, f);
		return GW_STD_NOSPACE;
	}
	*ret = f;
	return GW_OK;
}

static int make(struct server *s, struct request *r, const uint8_t *bytes, size_t len, bool commit)
{
	struct file *f;
	int status = begin(s, len, &f);

	if (status != GW_OK)
		return status;
	memcpy(f->bytes, bytes, len);
	status = settle(s, r, f, commit);
	if (status != GW_OK)
		store_drop(s, s->ctx, f);
	return status;
}

static int create(struct server *s, struct request *r)
{
	struct file *f;
	int status = server_check(s, &r->hdr->priv, GW_BSR_CREATE, NULL);

	if (status != GW_OK)
		return status;
	f = r->hdr->priv.object ? store_find(s->ctx, r->hdr->priv.object) : NULL;
	if (f && is_same(s, f, &r->in)) {
		f->lives = LIVES;
		r->rep.priv = r->hdr->priv;
		return GW_OK;
	}
	return make(s, r, r->in.p, r->in.left, r->hdr->extra & GW_B_COMMIT);
}

/* --- copies --- */

static int read_own(struct server *s, const struct gw_cap *from, uint8_t **ret, uint64_t *ret_size)
{
	struct file *f;
	int status = find(s, &from->priv, GW_BSR_READ, &f);

	if (status != GW_OK)
		return status;
	if (f->fresh)
		return GW_STD_NOTNOW;
	*ret = xmalloc(f->size + 1);
	*ret_size = f->size;
	return store_read(s, f, 0, *ret, f->size) == (ssize_t)f->size ? GW_OK : GW_STD_SYSERR;
}

/* Whoever keeps it may be copying one of ours: nobody waits for us with the lock meanwhile. */
static int read_other(struct server *s, struct request *r, const struct gw_cap *from, uint8_t **ret,
		      uint64_t *ret_size)
{
	struct gw *gw;
	ssize_t n;
	int status;

	(void)pthread_mutex_unlock(&s->lock);
	gw = server_asks(r);
	status = gw ? gw_b_size(gw, from, ret_size) : GW_STD_NOTNOW;
	if (status == GW_OK && *ret_size > GW_B_MAX)
		status = GW_STD_NOSPACE;
	if (status == GW_OK) {
		*ret = xmalloc(*ret_size + 1);
		n = gw_b_read(gw, from, 0, *ret, *ret_size);
		status = n < 0 ? (int)n : n == (ssize_t)*ret_size ? GW_OK : GW_STD_SYSERR;
	}
	(void)pthread_mutex_lock(&s->lock);
	return status;
}

static int copy(struct server *s, struct request *r, const struct gw_cap *from)
{
	bool own = !memcmp(&from->port, &s->put, sizeof s->put);
	_cleanup_free_ uint8_t *bytes = NULL;
	uint64_t size = 0;
	int status = server_check(s, &r->hdr->priv, GW_BSR_CREATE, NULL);

	if (status == GW_OK)
		status = own ? read_own(s, from, &bytes, &size) : read_other(s, r, from, &bytes, &size);
	return status == GW_OK ? make(s, r, bytes, size, true) : status;
}

/* --- changes --- */

/* The file itself if it may still be changed, else a fresh copy of it. */
static int changeable(struct server *s, struct file *f, struct file **ret)
{
	struct file *copy;
	int status;

	*ret = f;
	if (f->fresh)
		return GW_OK;
	status = begin(s, f->size, &copy);
	if (status != GW_OK)
		return status;
	if (store_read(s, f, 0, copy->bytes, f->size) != (ssize_t)f->size) {
		store_drop(s, s->ctx, copy);
		return GW_STD_SYSERR;
	}
	*ret = copy;
	return GW_OK;
}

/* Replaces `gone` bytes at the offset by those of the request. */
static int splice_bytes(struct bullet *b, struct file *f, uint64_t offset, uint64_t gone, const struct wire_in *in)
{
	uint64_t tail, size = f->size;

	if (offset > size || gone > size - offset)
		return GW_STD_ARGBAD;
	tail = size - offset - gone;
	if (in->left > gone && !store_resize(b, f, size + in->left - gone))
		return GW_STD_NOSPACE;
	memmove(f->bytes + offset + in->left, f->bytes + offset + gone, tail);
	memcpy(f->bytes + offset, in->p, in->left);
	if (in->left < gone)
		(void)store_resize(b, f, size - (gone - in->left));
	return GW_OK;
}

static int change(struct server *s, struct request *r)
{
	static const struct wire_in nothing = { .p = (const uint8_t *)"" };
	struct bullet *b = s->ctx;
	uint64_t offset = r->hdr->offset, gone = 0;
	struct file *f, *old;
	int status = find(s, &r->hdr->priv, GW_BSR_MODIFY | GW_BSR_READ, &old);

	if (status == GW_OK)
		status = changeable(s, old, &f);
	if (status != GW_OK)
		return status;
	if (r->hdr->command == GW_B_MODIFY) /* what reaches beyond the end makes it longer */
		gone = offset <= f->size ? MIN(r->in.left, f->size - offset) : 0;
	else if (r->hdr->command == GW_B_DELETE)
		gone = r->hdr->size;
	status = splice_bytes(b, f, offset, gone, r->hdr->command == GW_B_DELETE ? &nothing : &r->in);
	if (status == GW_OK)
		status = settle(s, r, f, r->hdr->extra & GW_B_COMMIT);
	if (status != GW_OK && f != old)
		store_drop(s, b, f);
	return status;
}

static int read_it(struct server *s, struct request *r)
{
	size_t size = MIN(r->hdr->size, (uint64_t)GW_MSG_MAX);
	struct file *f;
	ssize_t n;
	int status = find(s, &r->hdr->priv, GW_BSR_READ, &f);

	if (status != GW_OK)
		return status;
	if (f->fresh)
		return GW_STD_NOTNOW;
	size = r->hdr->offset < f->size ? MIN(size, f->size - r->hdr->offset) : 0;
	n = store_read(s, f, r->hdr->offset, server_reply_room(r, size), size);
	if (n < 0)
		return GW_STD_SYSERR;
	r->out_len = (size_t)n;
	return GW_OK;
}

static int size_of(struct server *s, struct request *r)
{
	struct file *f;
	int status = find(s, &r->hdr->priv, GW_BSR_READ, &f);

	if (status == GW_OK)
		r->rep.size = f->size;
	return status;
}

/* Everything committed is on the disk already. */
static int sync_all(struct server *s, struct request *r)
{
	return server_check(s, &r->hdr->priv, GW_BSR_ADMIN, NULL);
}

static int handle(struct server *s, struct request *r)
{
	static const struct {
		int command;
		int (*run)(struct server *s, struct request *r);
	} commands[] = {
		{ GW_B_CREATE, create }, { GW_B_READ, read_it },  { GW_B_SIZE, size_of },  { GW_B_MODIFY, change },
		{ GW_B_INSERT, change }, { GW_B_DELETE, change }, { GW_B_SYNC, sync_all },
	};

	store_sweep(s, s->ctx);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (commands[i].command == r->hdr->command)
			return commands[i].run(s, r);
	return GW_STD_COMBAD;
}

static int info(struct server *s, const struct gw_private *priv, char *text, size_t size)
{
	struct bullet *b = s->ctx;
	const struct file *f = priv->object ? store_find(b, priv->object) : NULL;

	if (f)
		(void)snprintf(text, size, "file, %" PRIu64 " bytes%s", f->size,
			       f->fresh ? ", not committed" : "");
	else
		(void)snprintf(text, size, "bullet server, %u files", (unsigned)b->files.n);
	return GW_OK;
}

static int destroy(struct server *s, const struct gw_private *priv, uint32_t rights)
{
	struct file *f = store_find(s->ctx, priv->object);

	if (!(rights & GW_BSR_DESTROY))
		return GW_STD_DENIED;
	if (f)
		store_drop(s, s->ctx, f);
	return GW_OK;
}

static int age(struct server *s, uint32_t rights)
{
	if (!(rights & GW_BSR_ADMIN))
		return GW_STD_DENIED;
	store_age(s, s->ctx);
	return GW_OK;
}

static void touch(struct server *s, uint64_t object)
{
	struct file *f = store_find(s->ctx, object);

	if (f)
		f->lives = LIVES;
}

static int open_store(struct server *s, struct err *e)
{
	s->ctx = xcalloc(1, sizeof(struct bullet));
	return store_open(s, s->ctx, e);
}

int main(int argc, char **argv)
{
	static const struct server_ops ops = {
		.name = "bullet",
		.doc = "Keeps immutable files in a directory and prints the capability to make more.",
		.wants_dir = true,
		.open = open_store,
		.secret = secret,
		.handle = handle,
		.info = info,
		.destroy = destroy,
		.copy = copy,
		.age = age,
		.touch = touch,
	};

	return server_main(&ops, argc, argv);
}
