/* SPDX-License-Identifier: Apache-2.0 */
/* Pipes whose one end is closed, doubled or opened anew: an end of file and EPIPE come when they should. */
#include "victim.h"

int main(void)
{
	int no_writer[2], no_reader[2], doubled[2], twin, both;
	char c, path[64];

	signal(SIGPIPE, SIG_IGN);
	must(pipe(no_writer) == 0 && pipe(no_reader) == 0 && pipe2(doubled, O_NONBLOCK) == 0);
	must(write(no_writer[1], "z", 1) == 1 && close(no_writer[1]) == 0 && close(no_reader[0]) == 0);
	twin = dup(doubled[1]);
	must(twin >= 0 && close(doubled[1]) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", doubled[0]);
	both = open(path, O_RDWR | O_NONBLOCK);
	must(both >= 0);
	move();
	check(read(no_writer[0], &c, 1) == 1 && c == 'z', "what was in it");
	check_eq(read(no_writer[0], &c, 1), 0);
	check(write(no_reader[1], "x", 1) < 0 && errno == EPIPE, "no EPIPE");
	check(read(doubled[0], &c, 1) < 0 && errno == EAGAIN, "an end of file too early");
	must(write(both, "b", 1) == 1);
	check(read(doubled[0], &c, 1) == 1 && c == 'b', "it is another pipe");
	if (!sabotaged())
		close(both);
	close(twin);
	check_eq(read(doubled[0], &c, 1), 0);
	return done();
}
