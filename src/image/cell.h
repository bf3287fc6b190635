/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_IMAGE_CELL_H
#define GW_IMAGE_CELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * A process of ours that can do nothing but compute, for bytes that a stranger wrote: a fork with one socket (and
 * what descriptors it is told to keep), as nobody if we are root, without capabilities, in an empty root directory
 * that only it can see, with limits on memory and processor time, no descriptor to be had, and a system call
 * filter that kills it for whatever is not reading, writing or memory. It dies with us, and we do not die with it:
 * whatever it does, its other end gets an error.
 *
 * It is started before anything secret is known to its maker, whose memory it has a copy of.
 */
struct cell {
	pid_t pid; /* 0: there is none */
	int sock;
};

/* What it does, once inside; it ends on return. */
typedef void cell_fn(int sock, void *arg);

/* The caller has one thread. Descriptors in `keep` stay open in the cell, which may read them. */
int cell_open(struct cell *c, const int *keep, size_t n_keep, cell_fn *fn, void *arg, struct err *e) must_check;
/* Ends it, whatever it is doing. Harmless if there is none. */
void cell_close(struct cell *c);

/*
 * What is said: a head, then its bytes. The cell is asked and answers, in turn; an answer with a code has text in
 * its bytes. On the way out it is not believed: lengths are bounded, text is cleaned.
 */
struct cell_head {
	int32_t code; /* of an answer: 0 or -errno */
	uint32_t what;
	uint32_t index[2]; /* of what, if there are several */
	uint64_t len;
};
#define CELL_PATIENCE_S 10 /* of either end of a conversation, while nothing comes */

/* Asks, and waits for the answer: at most `max` bytes, malloc'ed, never NULL. -EBADMSG: it died; -ETIMEDOUT: it is
 * silent; else what it says. */
int cell_ask(const struct cell *c, const struct cell_head *ask, const void *bytes, size_t max, uint8_t **ret,
	     size_t *ret_len, struct err *e) must_check;
/* Inside. The next question, bytes malloc'ed; false: there will be none. */
bool cell_next(int sock, size_t max, struct cell_head *ret, uint8_t **ret_bytes);
/* Answers: with bytes, or, if `why` has a code, with its words. */
void cell_answer(int sock, const struct err *why, const void *bytes, size_t len);

/* Inside only, for tests: everything but the fork. */
int cell_enter(int sock, const int *keep, size_t n_keep, struct err *e) must_check;

#endif
