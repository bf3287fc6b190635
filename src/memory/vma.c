/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/vma.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"

/* About 110 bytes a line: room for every mapping that the largest max_map_count in use allows, then some. */
#define TEXT_MAX (1u << 30)

void vma_list_done(struct vma_list *l)
{
	free(l->v);
	free(l->text);
	*l = (struct vma_list) { 0 };
}

/* --- a cursor over one line; a failed step leaves `bad` set --- */

struct cursor {
	char *at;
	bool bad;
};

static uint64_t get_number(struct cursor *c, unsigned base)
{
	uint64_t v = 0;
	unsigned digits = 0;

	for (;; c->at++, digits++) {
		char ch = *c->at;
		unsigned d = ch >= '0' && ch <= '9'   ? (unsigned)(ch - '0')
			     : ch >= 'a' && ch <= 'f' ? (unsigned)(ch - 'a' + 10)
						      : 99;

		if (d >= base)
			break;
		if (v > (UINT64_MAX - d) / base)
			c->bad = true;
		v = v * base + d;
	}
	if (!digits)
		c->bad = true;
	return v;
}

static void skip(struct cursor *c, char want)
{
	if (*c->at == want)
		c->at++;
	else
		c->bad = true;
}

static bool get_letter(struct cursor *c, char set)
{
	char ch = *c->at;

	if (ch != set && ch != '-')
		c->bad = true;
	else
		c->at++;
	return ch == set;
}

/* The kernel shows a newline in a path as \012 and nothing else escaped. */
static void unescape(char *path)
{
	char *to = strstr(path, "\\012");

	if (!to)
		return;
	for (char *from = to; *from;) {
		if (!strncmp(from, "\\012", 4)) {
			*to++ = '\n';
			from += 4;
		} else {
			*to++ = *from++;
		}
	}
	*to = '\0';
}

/* start-end perms offset major:minor inode      path */
static bool parse_head(char *line, struct vma *v)
{
	struct cursor c = { .at = line };
	uint64_t major, minor;

	*v = (struct vma) { 0 };
	v->start = get_number(&c, 16);
	skip(&c, '-');
	v->end = get_number(&c, 16);
	skip(&c, ' ');
	v->prot |= get_letter(&c, 'r') ? PROT_READ : 0;
	v->prot |= get_letter(&c, 'w') ? PROT_WRITE : 0;
	v->prot |= get_letter(&c, 'x') ? PROT_EXEC : 0;
	v->shared = *c.at == 's';
	if (*c.at != 's' && *c.at != 'p')
		return false;
	c.at++;
	skip(&c, ' ');
	v->offset = get_number(&c, 16);
	skip(&c, ' ');
	major = get_number(&c, 16);
	skip(&c, ':');
	minor = get_number(&c, 16);
	skip(&c, ' ');
	v->dev = makedev((unsigned)major, (unsigned)minor);
	v->ino = get_number(&c, 10);
	if (c.bad || v->start >= v->end || (v->start | v->end) % PAGE_BYTES)
		return false;
	while (*c.at == ' ')
		c.at++;
	unescape(c.at);
	v->path = c.at;
	return true;
}

static const struct {
	char name[3];
	uint32_t flag;
} flag_names[] = {
	{ "mw", VMA_MAYWRITE },	 { "gd", VMA_GROWSDOWN },   { "pf", VMA_PFNMAP },      { "io", VMA_PFNMAP },
	{ "mm", VMA_PFNMAP },	 { "lo", VMA_LOCKED },	    { "lf", VMA_LOCKONFAULT }, { "sr", VMA_SEQUENTIAL },
	{ "rr", VMA_RANDOM },	 { "dc", VMA_DONTFORK },    { "ac", VMA_ACCOUNT },     { "nr", VMA_NORESERVE },
	{ "ht", VMA_HUGETLB },	 { "dd", VMA_DONTDUMP },    { "hg", VMA_HUGEPAGE },    { "nh", VMA_NOHUGEPAGE },
	{ "mg", VMA_MERGEABLE }, { "wf", VMA_WIPEONFORK },  { "um", VMA_USERFAULT },   { "uw", VMA_USERFAULT },
	{ "ui", VMA_USERFAULT }, { "ss", VMA_SHADOWSTACK }, { "sl", VMA_SEALED },      { "dp", VMA_DROPPABLE },
	{ "sf", VMA_SYNC },	 { "sh", VMA_SHARED },
};

static uint32_t parse_flags(const char *at)
{
	uint32_t flags = 0;

	for (; at[0] && at[1]; at += 2) {
		while (*at == ' ')
			at++;
		for (size_t i = 0; i < ARRAY_LEN(flag_names); i++)
			if (at[0] && at[0] == flag_names[i].name[0] && at[1] == flag_names[i].name[1])
				flags |= flag_names[i].flag;
		if (!at[0] || !at[1])
			break;
	}
	return flags;
}

static uint64_t number_after(const char *at)
{
	while (*at == ' ')
		at++;
	return strtoull(at, NULL, 10);
}

/* A line of smaps below the mapping's own. */
static void parse_detail(const char *line, struct vma *v)
{
	if (!strncmp(line, "Rss:", 4)) {
		v->resident += number_after(line + 4) * 1024;
	} else if (!strncmp(line, "Swap:", 5)) {
		v->resident += number_after(line + 5) * 1024;
	} else if (!strncmp(line, "ProtectionKey:", 14)) {
		v->pkey = (uint32_t)number_after(line + 14);
	} else if (!strncmp(line, "VmFlags:", 8)) {
		v->flags = parse_flags(line + 8);
		v->has_flags = true;
	}
}

static struct vma *append(struct vma_list *l)
{
	if (l->n == l->room) {
		l->room = l->room ? l->room * 2 : 128;
		l->v = xrealloc(l->v, l->room * sizeof *l->v);
	}
	return &l->v[l->n++];
}

int vma_list_parse(struct vma_list *l, char *text, struct err *e)
{
	uint64_t floor = 0;
	char *next;

	vma_list_done(l);
	l->text = text;
	for (char *line = text; *line; line = next) {
		size_t len = strcspn(line, "\n");
		struct vma v;

		next = line + len + (line[len] == '\n');
		line[len] = '\0';
		/* A mapping's line starts with a lower-case hexadecimal digit, smaps' details with a capital. */
		if (line[0] >= 'A' && line[0] <= 'Z') {
			if (l->n)
				parse_detail(line, &l->v[l->n - 1]);
			continue;
		}
		if (!parse_head(line, &v))
			return err_set(e, -EPROTO, "the kernel's list of mappings says \"%.100s\"", line);
		if (v.start < floor)
			return err_set(e, -EAGAIN, "mappings changed while they were read");
		floor = v.end;
		*append(l) = v;
	}
	return 0;
}

int vma_list_read(struct vma_list *l, int fd, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t used = 0, room = 64 << 10;

	text = xmalloc(room + 1);
	for (;;) {
		ssize_t n = pread(fd, text + used, room - used, (off_t)used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "reading the list of mappings");
		if (!n)
			break;
		used += (size_t)n;
		if (used > TEXT_MAX)
			return err_set(e, -EFBIG, "the list of mappings is too long");
		if (room - used < 4096) {
			room *= 2;
			text = xrealloc(text, room + 1);
		}
	}
	text[used] = '\0';
	return vma_list_parse(l, steal_ptr(&text), e);
}

const struct vma *vma_list_find(const struct vma_list *l, uint64_t addr)
{
	size_t low = 0, high = l->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (l->v[mid].end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low < l->n && l->v[low].start <= addr ? &l->v[low] : NULL;
}

bool vma_same_place(const struct vma *a, const struct vma *b)
{
	return a->start == b->start && a->end == b->end && a->offset == b->offset && a->prot == b->prot &&
	       a->shared == b->shared && a->dev == b->dev && a->ino == b->ino && !strcmp(a->path, b->path);
}
