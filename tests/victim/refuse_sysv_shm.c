/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: System V shared memory. */
#include "victim.h"
#include <sys/shm.h>

int main(void)
{
	int id = shmget(IPC_PRIVATE, 65536, IPC_CREAT | 0600);

	must(id >= 0 && shmat(id, NULL, 0) != (void *)-1 && shmctl(id, IPC_RMID, NULL) == 0);
	move();
	return done();
}
