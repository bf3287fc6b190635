/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings come, change and go at every moment of the move; none is lost, none has what another had. */
#include "victim.h"

#define SLOTS 64
#define SLOT (16 * PAGE)

static volatile bool stop;
static uint8_t *slot[SLOTS];

static void change(unsigned i, unsigned dice)
{
	if (slot[i]) {
		check(munmap(slot[i], SLOT) == 0, "munmap: %s", strerror(errno));
		slot[i] = NULL;
		return;
	}
	slot[i] = map(SLOT, PROT_READ | PROT_WRITE, dice & 1 ? MAP_PRIVATE : MAP_SHARED);
	memset(slot[i], (int)i + 1, 2 * PAGE);
	if (dice & 2)
		check(madvise(slot[i], SLOT, MADV_DONTFORK) == 0, "madvise: %s", strerror(errno));
	if (dice & 4)
		check(mprotect(slot[i], PAGE, PROT_READ) == 0, "mprotect: %s", strerror(errno));
}

static void look(void)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (slot[i])
			check(slot[i][5] == i + 1 && slot[i][PAGE + 7] == i + 1 && !slot[i][3 * PAGE],
			      "slot %u holds %u, %u, %u", i, slot[i][5], slot[i][PAGE + 7], slot[i][3 * PAGE]);
}

static void *churn(void *unused)
{
	unsigned seed = 7;

	(void)unused;
	for (unsigned n = 0; !stop; n++) {
		change((unsigned)rand_r(&seed) % SLOTS, (unsigned)rand_r(&seed));
		if (n % 64 == 0)
			look();
	}
	return NULL;
}

int main(void)
{
	pthread_t t;

	for (unsigned i = 0; i < SLOTS; i++) /* something is there however soon the thread has to stop */
		change(i, i);
	check(pthread_create(&t, NULL, churn, NULL) == 0, "no thread");
	move();
	stop = true;
	check(pthread_join(t, NULL) == 0, "the thread did not end");
	if (sabotaged())
		for (unsigned i = 0; i < SLOTS; i++)
			if (slot[i] && mprotect(slot[i], SLOT, PROT_READ | PROT_WRITE) == 0)
				slot[i][5]++;
	look();
	return done();
}
