/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_SHEPHERD_TTY_H
#define GW_SHEPHERD_TTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "base/err.h"

/* The kernel's own structure (TCGETS2): unlike the C library's it holds any speed. */
struct tty_termios {
	uint32_t iflag, oflag, cflag, lflag;
	uint8_t line;
	uint8_t cc[19];
	uint32_t ispeed, ospeed;
};

/* What was typed and not yet read by the job. */
struct tty_line {
	char *bytes;
	size_t len;
	bool end; /* ended by the end-of-file key, which leaves nothing in the line */
};

struct tty_taken {
	bool valid;
	struct tty_termios termios;
	struct winsize size;
	struct tty_line *lines;
	size_t n_lines;
	char *rest; /* an unfinished line, or everything when the terminal is not line by line */
	size_t rest_len;
};

/* More than a line discipline can hold unread (4096) plus what the driver buffers before it (64 KiB). */
#define TTY_INPUT_MAX (256u * 1024u)

int tty_get(int slave, struct tty_termios *ret) must_check;
int tty_set(int slave, const struct tty_termios *t) must_check;

/*
 * Takes all unread input out of a pty whose job is stopped. `slave` is the caller's own non-blocking opening; the
 * caller is outside the pty's session, so no job control applies. Termios are as before afterwards... but for the
 * moment in between. Free with tty_taken_free().
 */
int tty_take(int slave, struct tty_taken *ret, struct err *e) must_check;

/*
 * Puts it back through the master, as if typed again but without echo, signals or translation, then sets the real
 * termios and window size. The pty's input must be empty.
 */
int tty_put_back(int master, int slave, const struct tty_taken *t, struct err *e);

void tty_taken_free(struct tty_taken *t);

#endif
