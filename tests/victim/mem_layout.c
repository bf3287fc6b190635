/* SPDX-License-Identifier: Apache-2.0 */
/* The list of mappings, line by line, save for neighbours that became one. */
#include "victim.h"

struct area {
	unsigned long start, end, offset;
	char prot[8], name[256];
};

#define MOST 400

static struct area before[MOST], after[MOST];
static char output[BUFSIZ], text[256 << 10];

/* Reads without the heap, which must not grow here. */
static size_t areas_read(struct area *areas)
{
	int fd = open("/proc/self/maps", O_RDONLY);
	size_t have = 0, n = 0;
	ssize_t got;

	while ((got = read(fd, text + have, sizeof(text) - have - 1)) > 0)
		have += (size_t)got;
	close(fd);
	text[have] = 0;
	for (char *line = text, *next; *line; line = next + 1) {
		struct area a = { 0 }, *last = n ? &areas[n - 1] : NULL;

		next = strchr(line, '\n');
		*next = 0;
		must(sscanf(line, "%lx-%lx %7s %lx %*s %*s %255[^\n]", &a.start, &a.end, a.prot, &a.offset,
			    a.name) >= 4);
		if (last && last->end == a.start && !a.name[0] && !last->name[0] && !strcmp(a.prot, last->prot)) {
			last->end = a.end;
			continue;
		}
		must(n < MOST);
		areas[n++] = a;
	}
	return n;
}

int main(void)
{
	size_t n, m;

	setvbuf(stdout, output, _IOFBF, sizeof(output));
	map(7 * PAGE, PROT_READ, MAP_SHARED);
	map(9 * PAGE, PROT_NONE, MAP_PRIVATE);
	n = areas_read(before);
	move();
	if (sabotaged())
		map(3 * PAGE, PROT_EXEC, MAP_PRIVATE);
	m = areas_read(after);
	for (size_t i = 0; i < n && i < m; i++) {
		struct area *a = &before[i], *b = &after[i];

		check(a->start == b->start && a->end == b->end && a->offset == b->offset &&
			      !strcmp(a->prot, b->prot) && !strcmp(a->name, b->name),
		      "was %lx-%lx %s %lx '%s', is %lx-%lx %s %lx '%s'", a->start, a->end, a->prot, a->offset,
		      a->name, b->start, b->end, b->prot, b->offset, b->name);
	}
	check_eq(m, n);
	return done();
}
