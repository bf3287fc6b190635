/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that share an offset go on sharing it; those that do not, do not. */
#include "victim.h"

int main(void)
{
	char path[64], byte;
	int one = temp_file(path), shared, own;

	for (int i = 0; i < 200; i++)
		must(dprintf(one, "%c", i) == 1);
	must(lseek(one, 50, SEEK_SET) == 50);
	shared = fcntl(one, F_DUPFD, 100);
	own = open(path, O_RDONLY);
	must(shared >= 100 && own >= 0 && lseek(own, 7, SEEK_SET) == 7);
	move();
	if (sabotaged())
		lseek(own, 8, SEEK_SET);
	must(read(shared, &byte, 1) == 1);
	check_eq(byte, 50);
	check_eq(lseek(one, 0, SEEK_CUR), 51);
	must(read(one, &byte, 1) == 1);
	check_eq(byte, 51);
	check_eq(lseek(shared, 0, SEEK_CUR), 52);
	check_eq(lseek(own, 0, SEEK_CUR), 7);
	check(fcntl(100, F_GETFD) >= 0, "the number is another");
	unlink(path);
	return done();
}
