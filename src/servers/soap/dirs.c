/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "servers/soap/soap.h"

struct dir *dir_find(struct soap *x, uint64_t object)
{
	for (struct hnode *h = htab_first(&x->dirs, hash_u64(object)); h; h = htab_next(h)) {
		struct dir *d = container_of(h, struct dir, node);

		if (d->object == object)
			return d;
	}
	return NULL;
}

struct dir *dir_add(struct soap *x, uint64_t object)
{
	struct dir *d = xcalloc(1, sizeof *d);

	d->object = object;
	htab_add(&x->dirs, &d->node, hash_u64(object));
	x->last = MAX(x->last, object);
	return d;
}

void dir_remove(struct soap *x, struct dir *d)
{
	htab_del(&x->dirs, &d->node);
	free(d->rows);
	free(d);
}

/* Where the name is, or would be. */
static size_t place_of(const struct dir *d, const char *name)
{
	size_t from = 0, to = d->n;

	while (from < to) {
		size_t middle = (from + to) / 2;

		if (strcmp(d->rows[middle].name, name) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

struct row *row_find(const struct dir *d, const char *name)
{
	size_t at = place_of(d, name);

	return at < d->n && !strcmp(d->rows[at].name, name) ? &d->rows[at] : NULL;
}

void row_set(struct dir *d, const struct row *row)
{
	size_t at = place_of(d, row->name);
	bool there = at < d->n && !strcmp(d->rows[at].name, row->name);

	if (there && row->set.n) {
		d->rows[at] = *row;
	} else if (there) {
		memmove(&d->rows[at], &d->rows[at + 1], (d->n - at - 1) * sizeof *d->rows);
		d->n--;
	} else if (row->set.n) {
		d->rows = xrealloc(d->rows, (d->n + 1) * sizeof *d->rows);
		memmove(&d->rows[at + 1], &d->rows[at], (d->n - at) * sizeof *d->rows);
		d->rows[at] = *row;
		d->n++;
	}
}

struct dir dir_copy(const struct dir *d)
{
	struct dir copy = *d;

	copy.rows = xmalloc((d->n + 1) * sizeof *d->rows);
	if (d->n)
		memcpy(copy.rows, d->rows, d->n * sizeof *d->rows);
	return copy;
}

void dir_take(struct dir *d, struct dir *copy)
{
	free(d->rows);
	d->rows = steal_ptr(&copy->rows);
	d->n = copy->n;
	d->seqnr = copy->seqnr;
}

bool name_is_good(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}
