/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CLI_TERM_H
#define GW_CLI_TERM_H

#include <stdbool.h>
#include <termios.h>

#include "procd.pb-c.h"

/* The user's terminal while a job's pty stands in for it: raw, and put back whatever happens but SIGKILL. */
struct term {
	int fd;
	bool raw;
	struct termios saved;
};

void term_init(struct term *t, int fd);
/* Idempotent; does nothing if the descriptor is no terminal. */
void term_enter_raw(struct term *t);
void term_restore(struct term *t);

/* Size and (before it went raw) settings for the job's pty. The message's termios bytes are malloc'ed. */
void term_describe(int fd, Godwit__Procd__Terminal *ret);
void term_size(int fd, Godwit__Procd__WindowSize *ret);

#endif
