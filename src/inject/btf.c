/* SPDX-License-Identifier: Apache-2.0 */
#include "inject/btf.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/util.h"

#define BTF_MAX (64u << 20)

struct btf {
	char *data;
	const char *strings;
	uint32_t strings_len;
	const struct btf_type **types; /* by id; 0 is void */
	uint32_t n_types, room;
};

/* What follows a type's head, in bytes; -1 for a kind that we do not know, where reading has to stop. */
static long tail_len(uint32_t info)
{
	long n = BTF_INFO_VLEN(info);

	switch (BTF_INFO_KIND(info)) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		return n * (long)sizeof(struct btf_member);
	case BTF_KIND_ENUM:
		return n * (long)sizeof(struct btf_enum);
	case BTF_KIND_ENUM64:
	case BTF_KIND_DATASEC:
		return n * 12;
	case BTF_KIND_FUNC_PROTO:
		return n * (long)sizeof(struct btf_param);
	case BTF_KIND_PTR:
	case BTF_KIND_FWD:
	case BTF_KIND_TYPEDEF:
	case BTF_KIND_VOLATILE:
	case BTF_KIND_CONST:
	case BTF_KIND_RESTRICT:
	case BTF_KIND_FUNC:
	case BTF_KIND_FLOAT:
	case BTF_KIND_TYPE_TAG:
		return 0;
	default:
		return -1;
	}
}

static void add_type(struct btf *b, const struct btf_type *t)
{
	if (b->n_types == b->room) {
		b->room = b->room ? 2 * b->room : 65536;
		b->types = xrealloc(b->types, b->room * sizeof(*b->types));
	}
	b->types[b->n_types++] = t;
}

static int index_types(struct btf *b, const char *at, const char *end)
{
	add_type(b, NULL);
	while ((size_t)(end - at) >= sizeof(struct btf_type)) {
		const struct btf_type *t = (const void *)at;
		long tail = tail_len(t->info);

		if (tail < 0 || end - at - (long)sizeof *t < tail)
			return -EPROTO;
		add_type(b, t);
		at += (long)sizeof *t + tail;
	}
	return 0;
}

int btf_load(const char *path, struct btf **ret, struct err *e)
{
	struct btf *b = xcalloc(1, sizeof *b);
	const struct btf_header *h;
	ssize_t len = fd_slurp(AT_FDCWD, path, BTF_MAX, &b->data);
	int err = len < 0 ? (int)len : 0;

	h = (const void *)b->data;
	if (!err && ((size_t)len < sizeof *h || h->magic != BTF_MAGIC ||
		     (h->hdr_len | h->type_off) % 4 || /* types are words */
		     (size_t)h->hdr_len + h->type_off + h->type_len > (size_t)len ||
		     (size_t)h->hdr_len + h->str_off + h->str_len > (size_t)len))
		err = -EPROTO;
	if (!err) {
		const char *types = b->data + h->hdr_len + h->type_off;

		b->strings = b->data + h->hdr_len + h->str_off;
		b->strings_len = h->str_len;
		err = index_types(b, types, types + h->type_len);
	}
	if (err < 0) {
		btf_free(b);
		return err_code(e, err, "cannot read the kernel's types from %s", path);
	}
	*ret = b;
	return 0;
}

void btf_free(struct btf *b)
{
	if (!b)
		return;
	free(b->types);
	free(b->data);
	free(b);
}

static bool is_named(const struct btf *b, uint32_t at, const char *name, size_t len)
{
	return at + len < b->strings_len && !memcmp(b->strings + at, name, len) && !b->strings[at + len];
}

static int find_type(const struct btf *b, uint32_t kind, const char *name)
{
	for (uint32_t i = 1; i < b->n_types; i++)
		if (BTF_INFO_KIND(b->types[i]->info) == kind &&
		    is_named(b, b->types[i]->name_off, name, strlen(name)))
			return (int)i;
	return -ENOENT;
}

int btf_function(const struct btf *b, const char *name)
{
	return find_type(b, BTF_KIND_FUNC, name);
}

static const struct btf_type *plain(const struct btf *b, uint32_t id)
{
	for (int i = 0; i < 16 && id && id < b->n_types; i++) {
		const struct btf_type *t = b->types[id];
		uint32_t kind = BTF_INFO_KIND(t->info);

		if (kind != BTF_KIND_TYPEDEF && kind != BTF_KIND_CONST && kind != BTF_KIND_VOLATILE)
			return t;
		id = t->type;
	}
	return NULL;
}

/* `depth` bounds the recursion into unnamed members. */
static long find_member(const struct btf *b, const struct btf_type *t, const char *path, int depth)
{
	const struct btf_member *m;
	size_t len = strcspn(path, ".");

	if (!t || !depth ||
	    (BTF_INFO_KIND(t->info) != BTF_KIND_STRUCT && BTF_INFO_KIND(t->info) != BTF_KIND_UNION))
		return -ENOENT;
	m = (const void *)(t + 1);
	for (uint32_t i = 0; i < BTF_INFO_VLEN(t->info); i++, m++) {
		long bits = BTF_INFO_KFLAG(t->info) ? BTF_MEMBER_BIT_OFFSET(m->offset) : m->offset;
		bool unnamed = is_named(b, m->name_off, "", 0);
		long inner;

		if (!unnamed && !is_named(b, m->name_off, path, len))
			continue;
		if (!unnamed && !path[len])
			return bits / 8;
		inner = find_member(b, plain(b, m->type), unnamed ? path : path + len + 1, depth - 1);
		if (inner >= 0)
			return bits / 8 + inner;
	}
	return -ENOENT;
}

int btf_member(const struct btf *b, const char *type, const char *path)
{
	int id = find_type(b, BTF_KIND_STRUCT, type);

	return id < 0 ? id : (int)find_member(b, b->types[id], path, 8);
}
