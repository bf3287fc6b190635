/* SPDX-License-Identifier: Apache-2.0 */
#include "flipd/inject.h"

#include <errno.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/htab.h"
#include "base/util.h"

#define HELD_MAX 64u
#define OVERTAKERS_MAX 8u

struct held {
	struct inject_from from;
	uint8_t *data; /* NULL: free */
	size_t len;
	unsigned wait; /* one more than go first; this one's own turn counts too */
};

struct inject {
	uint64_t loss, twice, late; /* percent */
	uint64_t seed, n;
	struct held held[HELD_MAX];
};

static uint64_t roll(struct inject *in, uint64_t below)
{
	return hash_u64(in->seed + ++in->n * 0x9e3779b97f4a7c15u) % below;
}

static int parse_part(struct inject *in, const char *part, struct err *e)
{
	const struct {
		const char *name;
		uint64_t *value, max;
	} parts[] = {
		{ "loss=", &in->loss, 100 },
		{ "twice=", &in->twice, 100 },
		{ "late=", &in->late, 100 },
		{ "seed=", &in->seed, UINT64_MAX },
	};

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		size_t len = strlen(parts[i].name);
		char *end;

		if (strncmp(part, parts[i].name, len) != 0)
			continue;
		errno = 0;
		*parts[i].value = strtoull(part + len, &end, 10);
		if (errno || end == part + len || *end || *parts[i].value > parts[i].max)
			break;
		return 0;
	}
	return err_set(e, -EINVAL,
		       "GODWIT_NET_FAULTS: '%s' is not loss=, twice= or late= and a percentage, or seed=", part);
}

int inject_new(struct inject **ret, const char *spec, struct err *e)
{
	_cleanup_free_ char *text = xstrdup(spec);
	struct inject *in = xcalloc(1, sizeof(*in));
	char *save = NULL;
	int err = 0;

	randombytes_buf(&in->seed, sizeof(in->seed));
	for (char *part = strtok_r(text, " ,", &save); part && !err; part = strtok_r(NULL, " ,", &save))
		err = parse_part(in, part, e);
	if (err)
		inject_free(in);
	*ret = err ? NULL : in;
	return err;
}

void inject_no_loss(struct inject *in)
{
	in->loss = 0;
}

uint64_t inject_seed(const struct inject *in)
{
	return in->seed;
}

void inject_free(struct inject *in)
{
	if (!in)
		return;
	for (size_t i = 0; i < HELD_MAX; i++)
		free(in->held[i].data);
	free(in);
}

/* False if there is no room: then it is neither late nor doubled. */
static bool hold(struct inject *in, const struct inject_from *from, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < HELD_MAX; i++) {
		struct held *h = &in->held[i];

		if (h->data)
			continue;
		*h = (struct held) { *from, xmalloc(len ? len : 1), len, 2 + (unsigned)roll(in, OVERTAKERS_MAX) };
		memcpy(h->data, data, len);
		return true;
	}
	return false;
}

static void release(struct inject *in, inject_deliver deliver, void *ctx)
{
	for (size_t i = 0; i < HELD_MAX; i++) {
		struct held h = in->held[i];

		if (!h.data || --in->held[i].wait)
			continue;
		in->held[i].data = NULL;
		deliver(ctx, &h.from, h.data, h.len);
		free(h.data);
	}
}

/* Whoever is delivered to may write over the data: the copy is made before. */
void inject_pass(struct inject *in, const struct inject_from *from, uint8_t *data, size_t len,
		 inject_deliver deliver, void *ctx)
{
	bool lost = roll(in, 100) < in->loss, late = roll(in, 100) < in->late, twice = roll(in, 100) < in->twice;

	if (!lost && twice)
		(void)hold(in, from, data, len);
	if (!lost && !(late && hold(in, from, data, len)))
		deliver(ctx, from, data, len);
	release(in, deliver, ctx);
}
