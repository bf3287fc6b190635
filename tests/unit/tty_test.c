/* SPDX-License-Identifier: Apache-2.0 */
/* Unread input of a pty survives being taken out and put back into another one, byte for byte, mark for mark. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/util.h"
#include "shepherd/tty.h"

struct pty {
	int master, slave;
};

static struct pty open_pty(void)
{
	struct pty p;
	int zero = 0;

	p.master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
	assert_true(p.master >= 0);
	assert_int_equal(ioctl(p.master, TIOCSPTLCK, &zero), 0);
	p.slave = ioctl(p.master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK);
	assert_true(p.slave >= 0);
	return p;
}

static void close_pty(struct pty *p)
{
	(void)close(p->master);
	(void)close(p->slave);
}

static void type(struct pty *p, const char *bytes, size_t len)
{
	char drop[8192];

	assert_int_equal(write(p->master, bytes, len), (int)len);
	/* The line discipline has it when its echo is there. */
	(void)poll(&(struct pollfd) { .fd = p->slave, .events = POLLIN }, 1, 20);
	while (read(p->master, drop, sizeof drop) > 0)
		;
}

static void no_output(struct pty *p)
{
	char c;

	assert_int_equal(read(p->master, &c, 1), -1);
	assert_int_equal(errno, EAGAIN);
}

static void move(struct pty *from, struct pty *to)
{
	struct tty_taken t;
	struct err e = { 0 };
	char drop[8192];

	assert_int_equal(tty_take(from->slave, &t, &e), 0);
	while (read(from->master, drop, sizeof drop) > 0)
		;
	assert_int_equal(tty_put_back(to->master, to->slave, &t, &e), 0);
	tty_taken_free(&t);
	no_output(to);
}

static void expect(struct pty *p, const char *bytes, size_t len)
{
	char buf[8192];
	ssize_t n = read(p->slave, buf, sizeof buf);

	assert_int_equal(n, len);
	assert_memory_equal(buf, bytes, len);
}

static void expect_nothing(struct pty *p)
{
	char c;

	assert_int_equal(read(p->slave, &c, 1), -1);
	assert_int_equal(errno, EAGAIN);
}

static void lines_and_marks(void **state)
{
	struct pty a = open_pty(), b = open_pty();

	(void)state;
	type(&a, "one\rtwo\n\004three\004\004four", 20);
	move(&a, &b);
	expect(&b, "one\n", 4);
	expect(&b, "two\n", 4);
	expect(&b, "", 0); /* an end-of-file mark on its own */
	expect(&b, "three", 5);
	expect(&b, "", 0);
	expect_nothing(&b);
	type(&b, "\177r!\n", 4); /* the unfinished line can still be edited and finished */
	expect(&b, "four!\n", 6);
	close_pty(&a);
	close_pty(&b);
}

static void special_characters_literally(void **state)
{
	struct pty a = open_pty(), b = open_pty();

	(void)state;
	type(&a, "\026\003\026\004\026\021\026\023\026\177\026\r\n", 13); /* each quoted by ^V */
	move(&a, &b);
	expect(&b, "\003\004\021\023\177\r\n", 7);
	expect_nothing(&b);
	close_pty(&a);
	close_pty(&b);
}

static void raw_input(void **state)
{
	struct pty a = open_pty(), b = open_pty();
	struct termios raw;
	char all[255];

	(void)state;
	assert_int_equal(tcgetattr(a.slave, &raw), 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(a.slave, TCSANOW, &raw), 0);
	for (size_t i = 0; i < 200; i++)
		all[i] = (char)i;
	type(&a, all, 200);
	move(&a, &b);
	expect(&b, all, 200);
	expect_nothing(&b);
	assert_int_equal(tcgetattr(b.slave, &raw), 0);
	assert_int_equal(raw.c_lflag & (ICANON | ECHO), 0);
	close_pty(&a);
	close_pty(&b);
}

static void settings_and_size(void **state)
{
	struct pty a = open_pty(), b = open_pty();
	struct termios before, after;
	struct winsize size = { .ws_row = 33, .ws_col = 77 }, got;

	(void)state;
	assert_int_equal(tcgetattr(a.slave, &before), 0);
	before.c_lflag &= ~(tcflag_t)ECHO;
	before.c_cc[VINTR] = 'x';
	assert_int_equal(tcsetattr(a.slave, TCSANOW, &before), 0);
	assert_int_equal(ioctl(a.master, TIOCSWINSZ, &size), 0);
	type(&a, "hidden\n", 7);
	move(&a, &b);
	assert_int_equal(tcgetattr(b.slave, &after), 0);
	assert_int_equal(before.c_iflag, after.c_iflag);
	assert_int_equal(before.c_lflag, after.c_lflag);
	assert_memory_equal(before.c_cc, after.c_cc,
			    19); /* what the kernel has; the C library has room for more */
	assert_int_equal(ioctl(b.slave, TIOCGWINSZ, &got), 0);
	assert_int_equal(got.ws_row, 33);
	assert_int_equal(got.ws_col, 77);
	expect(&b, "hidden\n", 7);
	close_pty(&a);
	close_pty(&b);
}

/* Many times, with much: the fence must hold whatever the kernel's worker does. */
static void again_and_again(void **state)
{
	struct pty a = open_pty(), b = open_pty();
	char text[2000], drop[4096];

	(void)state;
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = i % 50 == 49 ? '\n' : (char)('a' + i % 26);
	memcpy(text + sizeof text - 5, "tail-", 5);
	type(&a, text, sizeof text);
	for (int i = 0; i < 200; i++) {
		move(&a, &b);
		move(&b, &a);
	}
	for (size_t i = 0; i < sizeof text - 50; i += 50)
		expect(&a, text + i, 50);
	type(&a, "\n", 1);
	expect(&a, (memcpy(drop, text + sizeof text - 50, 50), drop[50] = '\n', drop), 51);
	expect_nothing(&a);
	close_pty(&a);
	close_pty(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_and_marks), cmocka_unit_test(special_characters_literally),
		cmocka_unit_test(raw_input),	   cmocka_unit_test(settings_and_size),
		cmocka_unit_test(again_and_again),
	};

	return cmocka_run_group_tests_name("tty", tests, NULL, NULL);
}
