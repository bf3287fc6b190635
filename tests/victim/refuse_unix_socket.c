/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: a pair of connected sockets. */
#include "victim.h"
#include <sys/socket.h>

int main(void)
{
	int ends[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	move();
	return done();
}
