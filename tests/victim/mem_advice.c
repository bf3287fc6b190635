/* SPDX-License-Identifier: Apache-2.0 */
/* What madvise() said of memory, as the kernel shows it in smaps. */
#include "victim.h"

static const struct {
	int advice;
	const char *name;
} advices[] = {
	{ MADV_NORMAL, "normal" },	   { MADV_HUGEPAGE, "hugepage" }, { MADV_NOHUGEPAGE, "nohugepage" },
	{ MADV_DONTFORK, "dontfork" },	   { MADV_DONTDUMP, "dontdump" }, { MADV_WIPEONFORK, "wipeonfork" },
	{ MADV_SEQUENTIAL, "sequential" }, { MADV_RANDOM, "random" },	  { MADV_MERGEABLE, "mergeable" },
};

#define COUNT (sizeof(advices) / sizeof(advices[0]))

/* The VmFlags of the mapping at @at, without the soft-dirty bit. */
static char *flags_at(const void *at)
{
	char *all = slurp("/proc/self/smaps"), key[32], *line, *flags, *soft;

	snprintf(key, sizeof(key), "\n%lx-", (unsigned long)at);
	line = strstr(all, key);
	must(line && (flags = strstr(line, "VmFlags:")));
	flags = strndup(flags, strcspn(flags, "\n"));
	soft = strstr(flags, " sd");
	if (soft)
		memmove(soft, soft + 3, strlen(soft + 3) + 1);
	free(all);
	return flags;
}

int main(void)
{
	uint8_t *areas[COUNT];
	char *before[COUNT], *after;

	for (size_t i = 0; i < COUNT; i++) {
		/* a page without access on either side, so that no two mappings become one */
		uint8_t *room = map(6 * PAGE, PROT_NONE, MAP_PRIVATE);

		areas[i] = room + PAGE;
		must(mprotect(areas[i], 4 * PAGE, PROT_READ | PROT_WRITE) == 0);
		if (madvise(areas[i], 4 * PAGE, advices[i].advice) < 0)
			must(errno == EINVAL); /* not in this kernel */
		pattern_fill(areas[i], 4 * PAGE, i);
		before[i] = flags_at(areas[i]);
	}
	move();
	if (sabotaged())
		must(madvise(areas[3], 4 * PAGE, MADV_DOFORK) == 0);
	for (size_t i = 0; i < COUNT; i++) {
		after = flags_at(areas[i]);
		check(!strcmp(before[i], after), "%s: was %s, is %s", advices[i].name, before[i], after);
		pattern_check(areas[i], 4 * PAGE, i);
	}
	return done();
}
