/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_FLIPD_INJECT_H
#define GW_FLIPD_INJECT_H

/*
 * A bad network, for tests: what arrives is lost, doubled and overtaken at random. Off unless flipd is started
 * with GODWIT_NET_FAULTS in its environment, which only who starts it as root can do.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct inject;

/* Where a thing came from, in the words of whom it is delivered to. */
struct inject_from {
	uint8_t bytes[24];
};

typedef void (*inject_deliver)(void *ctx, const struct inject_from *from, uint8_t *data, size_t len);

/*
 * `spec`: "loss=PERCENT twice=PERCENT late=PERCENT seed=N", each part optional, separated by blanks or commas; a
 * seed of its own is chosen if none is given, and either can be asked for with inject_seed(). What is late, and
 * the second copy of what comes twice, is overtaken by one to eight others. Returns -EINVAL for anything else.
 */
int inject_new(struct inject **ret, const char *spec, struct err *e) must_check;
void inject_no_loss(struct inject *in);
uint64_t inject_seed(const struct inject *in);
void inject_free(struct inject *in);
/* Delivers it, and what has been held back for long enough; or some of that; or nothing. */
void inject_pass(struct inject *in, const struct inject_from *from, uint8_t *data, size_t len,
		 inject_deliver deliver, void *ctx);

#endif
