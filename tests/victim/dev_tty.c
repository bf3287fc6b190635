/* SPDX-License-Identifier: Apache-2.0 */
/* /dev/tty, where there is a controlling terminal. */
#include "victim.h"
#include <termios.h>

int main(void)
{
	int fd = open("/dev/tty", O_RDWR);
	struct termios before, after;

	if (fd < 0)
		skip("there is no controlling terminal");
	must(tcgetattr(fd, &before) == 0);
	before.c_cc[VMIN] = 3;
	must(tcsetattr(fd, TCSANOW, &before) == 0 && tcgetattr(fd, &before) == 0);
	move();
	check(tcgetattr(fd, &after) == 0, "%s", strerror(errno));
	if (sabotaged())
		after.c_cc[VMIN]++;
	check(!memcmp(&before, &after, sizeof(before)), "the terminal is set otherwise");
	check_eq(tcgetpgrp(fd), getpgrp());
	return done();
}
