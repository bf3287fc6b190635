/* SPDX-License-Identifier: Apache-2.0 */
/* oom_score_adj. */
#include "victim.h"

int main(void)
{
	char *before, *after;
	FILE *f = fopen("/proc/self/oom_score_adj", "w");

	must(f && fputs("321", f) > 0 && fclose(f) == 0);
	before = slurp("/proc/self/oom_score_adj");
	must(atoi(before) == 321);
	move();
	if (sabotaged()) {
		f = fopen("/proc/self/oom_score_adj", "w");
		must(f && fputs("322", f) > 0 && fclose(f) == 0);
	}
	after = slurp("/proc/self/oom_score_adj");
	check(!strcmp(before, after), "was %s, is %s", before, after);
	return done();
}
