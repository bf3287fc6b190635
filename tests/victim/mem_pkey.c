/* SPDX-License-Identifier: Apache-2.0 */
/* Memory under a protection key, and each thread's rights to it. */
#include "victim.h"

int main(void)
{
	int key = pkey_alloc(0, 0);
	uint8_t *area = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	if (key < 0)
		skip("no protection keys");
	pattern_fill(area, 4 * PAGE, 1);
	must(pkey_mprotect(area, 4 * PAGE, PROT_READ | PROT_WRITE, key) == 0);
	must(pkey_set(key, PKEY_DISABLE_WRITE) == 0);
	move();
	if (sabotaged())
		pkey_set(key, 0);
	check_eq(pkey_get(key), PKEY_DISABLE_WRITE);
	pattern_check(area, 4 * PAGE, 1);
	return done();
}
