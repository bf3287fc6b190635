/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/term.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/util.h"

/* struct termios2 of asm/termbits.h, which cannot be included beside glibc's termios.h: 4 words of flags, the line
 * discipline, 19 control characters, two speeds. */
#define TERMIOS2_LEN (4 * 4 + 1 + 19 + 2 * 4)
#define TERMIOS2_GET _IOR('T', 0x2A, char[TERMIOS2_LEN])

void term_init(struct term *t, int fd)
{
	*t = (struct term) { .fd = fd };
}

void term_enter_raw(struct term *t)
{
	struct termios raw;

	if (!t->raw && tcgetattr(t->fd, &t->saved) < 0)
		return;
	raw = t->saved;
	cfmakeraw(&raw);
	t->raw = tcsetattr(t->fd, TCSADRAIN, &raw) == 0;
}

void term_restore(struct term *t)
{
	if (t->raw)
		(void)tcsetattr(t->fd, TCSADRAIN, &t->saved);
	t->raw = false;
}

static struct winsize size_of(int fd)
{
	struct winsize ws = { .ws_row = 24, .ws_col = 80 };

	(void)ioctl(fd, TIOCGWINSZ, &ws);
	return ws;
}

void term_describe(int fd, Godwit__Procd__Terminal *ret)
{
	struct winsize ws = size_of(fd);

	ret->rows = ws.ws_row;
	ret->columns = ws.ws_col;
	ret->xpixel = ws.ws_xpixel;
	ret->ypixel = ws.ws_ypixel;
	ret->termios.data = xcalloc(1, TERMIOS2_LEN);
	if (ioctl(fd, TERMIOS2_GET, ret->termios.data) == 0)
		ret->termios.len = TERMIOS2_LEN;
}

void term_size(int fd, Godwit__Procd__WindowSize *ret)
{
	struct winsize ws = size_of(fd);

	ret->rows = ws.ws_row;
	ret->columns = ws.ws_col;
	ret->xpixel = ws.ws_xpixel;
	ret->ypixel = ws.ws_ypixel;
}
