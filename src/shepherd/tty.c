/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A pty has no way to ask for its unread input without reading it. So it is read, and typed again later.
 *
 * Taking it out. In canonical mode read() returns one line at a time, which is how line ends and end-of-file marks
 * (a line without a newline; an empty read) are told apart. When it says EAGAIN, the kernel has also flushed what
 * was still on its way from the master (n_tty_read flushes the buffer's work before it gives up), so only an
 * unfinished line can be left. Switching ICANON off makes that readable; the next TCSETS switches it on again.
 *
 * Putting it back. With ICANON as the job has it but echo, signals, editing and translation off, the bytes go in
 * through the master unchanged. An end-of-file mark needs a VEOF character: one that does not occur in what is put
 * back. The kernel takes the bytes in from a worker, with the termios of that moment, so the real termios may be
 * set only after the last byte has got through. Nothing says so directly; therefore a fence is written behind
 * them: a STOP and a START character (unused ones again), which in packet mode (TIOCPKT) the master reports when
 * they have passed. This needs everything to fit into the line discipline's 4095 bytes: whoever writes to the
 * master sees to it (streams.c).
 */
#include "shepherd/tty.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

/* asm/termbits.h, which has struct termios2, and the C library's headers exclude each other; these are the
 * kernel's numbers. */
#define TTY_GET _IOR('T', 0x2A, struct tty_termios)
#define TTY_SET _IOW('T', 0x2B, struct tty_termios)
#define CC_EOF 4
#define CC_MIN 6
#define CC_TIME 5
#define CC_EOL 11
#define CC_EOL2 16
#define CC_START 8
#define CC_STOP 9
#define LFLAG_ICANON 0000002u
#define LFLAG_IEXTEN 0100000u
#define IFLAG_IXON 0002000u
#define IFLAG_IUTF8 0040000u

#define PUT_BACK_DEADLINE_US 500000u

_Static_assert(sizeof(struct tty_termios) == 44, "struct termios2");

int tty_get(int slave, struct tty_termios *ret)
{
	return ioctl(slave, TTY_GET, ret) < 0 ? -errno : 0;
}

int tty_set(int slave, const struct tty_termios *t)
{
	return ioctl(slave, TTY_SET, t) < 0 ? -errno : 0;
}

static int take_lines(int slave, struct tty_taken *t, struct err *e)
{
	char buf[4096];
	size_t total = 0;

	for (;;) {
		struct tty_line *line;
		ssize_t n = read(slave, buf, sizeof buf);
		char last;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return err_errno(e, "cannot read the terminal back");
		total += (size_t)n + sizeof *line;
		if (total > TTY_INPUT_MAX)
			return err_set(e, -EFBIG, "the terminal holds too much unread input");
		last = n ? buf[n - 1] : '\0';
		t->lines = xrealloc(t->lines, (t->n_lines + 1) * sizeof *t->lines);
		line = &t->lines[t->n_lines++];
		line->bytes = xmalloc((size_t)n);
		memcpy(line->bytes, buf, (size_t)n);
		line->len = (size_t)n;
		line->end = !(n && (last == '\n' || (last && (uint8_t)last == t->termios.cc[CC_EOL]) ||
				    (last && (uint8_t)last == t->termios.cc[CC_EOL2])));
	}
}

static int take_rest(int slave, struct tty_taken *t, struct err *e)
{
	struct tty_termios raw = t->termios;
	int r;

	raw.lflag &= ~LFLAG_ICANON;
	raw.cc[CC_MIN] = 1;
	raw.cc[CC_TIME] = 0;
	r = tty_set(slave, &raw);
	if (r < 0)
		return err_code(e, r, "cannot set the terminal");
	for (;;) {
		char buf[4096];
		ssize_t n = read(slave, buf, sizeof buf);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0 || (n < 0 && errno == EAGAIN))
			return 0;
		if (n < 0)
			return err_errno(e, "cannot read the terminal back");
		if (t->rest_len + (size_t)n > TTY_INPUT_MAX)
			return err_set(e, -EFBIG, "the terminal holds too much unread input");
		t->rest = xrealloc(t->rest, t->rest_len + (size_t)n);
		memcpy(t->rest + t->rest_len, buf, (size_t)n);
		t->rest_len += (size_t)n;
	}
}

int tty_take(int slave, struct tty_taken *ret, struct err *e)
{
	struct tty_taken t = { .valid = true };
	int r, back;

	r = tty_get(slave, &t.termios);
	if (r < 0)
		return err_code(e, r, "cannot read the terminal's settings");
	if (ioctl(slave, TIOCGWINSZ, &t.size) < 0)
		return err_errno(e, "cannot read the terminal's size");
	if (t.termios.lflag & LFLAG_ICANON)
		r = take_lines(slave, &t, e);
	if (!r)
		r = take_rest(slave, &t, e);
	back = tty_set(slave, &t.termios);
	if (!r && back < 0)
		r = err_code(e, back, "cannot set the terminal");
	/* Even after a failure: what has been read exists only here now. */
	*ret = t;
	return r;
}

static void mark_used(bool used[256], const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		used[(uint8_t)bytes[i]] = true;
}

enum { FREE_EOF, FREE_START, FREE_STOP, FREE_N };

/* Characters that occur nowhere; false when there are not enough. */
static bool find_free(const struct tty_taken *t, uint8_t ret[FREE_N])
{
	bool used[256] = { [0] = true, ['\n'] = true };
	unsigned n = 0;

	for (size_t i = 0; i < t->n_lines; i++)
		mark_used(used, t->lines[i].bytes, t->lines[i].len);
	mark_used(used, t->rest, t->rest_len);
	used[t->termios.cc[CC_EOL]] = true;
	used[t->termios.cc[CC_EOL2]] = true;
	for (unsigned c = 1; c < 256 && n < FREE_N; c++)
		if (!used[c])
			ret[n++] = (uint8_t)c;
	return n == FREE_N;
}

static size_t gather(const struct tty_taken *t, const uint8_t special[FREE_N], char *out)
{
	size_t len = 0;

	for (size_t i = 0; i < t->n_lines; i++) {
		memcpy(out + len, t->lines[i].bytes, t->lines[i].len);
		len += t->lines[i].len;
		if (t->lines[i].end)
			out[len++] = (char)special[FREE_EOF];
	}
	if (t->rest_len)
		memcpy(out + len, t->rest, t->rest_len);
	len += t->rest_len;
	out[len++] = (char)special[FREE_STOP];
	out[len++] = (char)special[FREE_START];
	return len;
}

/* Waits for the fence. The job is stopped and echo is off: no output can come in between. */
static int wait_fence(int master, struct err *e)
{
	uint64_t deadline = now_us() + PUT_BACK_DEADLINE_US;

	while (now_us() < deadline) {
		struct pollfd p = { .fd = master, .events = POLLIN | POLLPRI };
		uint8_t status;

		(void)poll(&p, 1, 10);
		if (read(master, &status, 1) == 1 && (status & TIOCPKT_START))
			return 0;
	}
	return err_set(e, -ETIMEDOUT, "the terminal did not take its input back");
}

static int write_master(int master, const char *bytes, size_t len, struct err *e)
{
	while (len) {
		ssize_t n = write(master, bytes, len);
		struct pollfd p = { .fd = master, .events = POLLOUT };

		if (n < 0 && errno == EAGAIN) {
			if (poll(&p, 1, (int)(PUT_BACK_DEADLINE_US / 1000)) == 0)
				return err_set(e, -ETIMEDOUT, "the terminal does not take its input back");
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "cannot write the terminal's input back");
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

static void plain_termios(const struct tty_taken *t, const uint8_t special[FREE_N], struct tty_termios *ret)
{
	*ret = t->termios;
	ret->iflag = (ret->iflag & IFLAG_IUTF8) | IFLAG_IXON;
	ret->lflag &= LFLAG_ICANON;
	memset(ret->cc, 0, sizeof ret->cc);
	ret->cc[CC_START] = special[FREE_START];
	ret->cc[CC_STOP] = special[FREE_STOP];
	if (ret->lflag & LFLAG_ICANON) {
		ret->lflag |= LFLAG_IEXTEN; /* VEOL2 wants it */
		ret->cc[CC_EOF] = special[FREE_EOF];
		ret->cc[CC_EOL] = t->termios.cc[CC_EOL];
		ret->cc[CC_EOL2] = t->termios.lflag & LFLAG_IEXTEN ? t->termios.cc[CC_EOL2] : 0;
	} else {
		ret->cc[CC_MIN] = 1;
	}
}

static int put_input(int master, int slave, const struct tty_taken *t, struct err *e)
{
	struct tty_termios plain;
	_cleanup_free_ char *bytes = NULL;
	size_t room = t->rest_len + 2;
	uint8_t special[FREE_N];
	int r, on = 1, off = 0;

	if (!t->n_lines && !t->rest_len)
		return 0;
	if (!find_free(t, special))
		return err_set(e, -ENOTSUP, "the terminal's unread input holds every character there is");
	for (size_t i = 0; i < t->n_lines; i++)
		room += t->lines[i].len + 1;
	bytes = xmalloc(room);
	plain_termios(t, special, &plain);
	r = tty_set(slave, &plain);
	if (r < 0)
		return err_code(e, r, "cannot set the terminal");
	if (ioctl(master, TIOCPKT, &on) < 0)
		return err_errno(e, "cannot set the terminal's packet mode");
	r = write_master(master, bytes, gather(t, special, bytes), e);
	if (!r)
		r = wait_fence(master, e);
	(void)ioctl(master, TIOCPKT, &off);
	return r;
}

int tty_put_back(int master, int slave, const struct tty_taken *t, struct err *e)
{
	struct winsize now;
	int r = put_input(master, slave, t, e), set = tty_set(slave, &t->termios);

	if (!r && set < 0)
		r = err_code(e, set, "cannot set the terminal");
	/* Setting the same size would be silent too, but asking is cheaper than being sure of every kernel. */
	if (ioctl(slave, TIOCGWINSZ, &now) == 0 && memcmp(&now, &t->size, sizeof now))
		(void)ioctl(master, TIOCSWINSZ, &t->size);
	return r;
}

void tty_taken_free(struct tty_taken *t)
{
	for (size_t i = 0; i < t->n_lines; i++)
		free(t->lines[i].bytes);
	free(t->lines);
	free(t->rest);
	*t = (struct tty_taken) { 0 };
}
