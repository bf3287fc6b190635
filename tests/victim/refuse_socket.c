/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: a socket. */
#include "victim.h"
#include <sys/socket.h>

int main(void)
{
	must(socket(AF_INET, SOCK_STREAM, 0) >= 0);
	move();
	return done();
}
