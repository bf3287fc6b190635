/* SPDX-License-Identifier: Apache-2.0 */
/* Reading as much of a core file as leads to our note. Nothing in it is believed. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "image/private.h"

#define SEGMENTS_MAX (4u << 20)
/* Our message, and the registers of very many threads. */
#define NOTES_MAX (IMAGE_MESSAGE_MAX + (1024u << 20))
#define HEADERS_AT_ONCE 1024u

static int read_at(int fd, void *buf, size_t len, uint64_t at, uint64_t size, const char *what, struct err *e)
{
	uint8_t *to = buf;

	if (at > size || len > size - at)
		return err_set(e, -EBADMSG, "%s are outside of the file", what);
	while (len) {
		ssize_t n = pread(fd, to, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "cannot read %s", what);
		if (!n)
			return err_set(e, -EBADMSG, "the file ends in %s", what);
		to += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int check_header(const Elf64_Ehdr *h, struct err *e)
{
	if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
		return err_set(e, -EBADMSG, "not an ELF file");
	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_machine != EM_X86_64)
		return err_set(e, -EBADMSG, "a core file of another architecture");
	if (h->e_type != ET_CORE)
		return err_set(e, -EBADMSG, "not a core file");
	if (h->e_ident[EI_VERSION] != EV_CURRENT || h->e_version != EV_CURRENT ||
	    h->e_phentsize != sizeof(Elf64_Phdr))
		return err_set(e, -EBADMSG, "an ELF header of an unknown version");
	return 0;
}

static int count_segments(int fd, const Elf64_Ehdr *h, uint64_t size, uint32_t *ret, struct err *e)
{
	Elf64_Shdr s;
	int err;

	*ret = h->e_phnum;
	if (h->e_phnum != PN_XNUM)
		return 0;
	if (h->e_shentsize != sizeof s || h->e_shnum != 1)
		return err_set(e, -EBADMSG, "the number of segments is missing");
	err = read_at(fd, &s, sizeof s, h->e_shoff, size, "section headers", e);
	if (err < 0)
		return err;
	*ret = s.sh_info;
	return s.sh_info < PN_XNUM || s.sh_info > SEGMENTS_MAX
		       ? err_set(e, -EBADMSG, "an impossible number of segments (%u)", s.sh_info)
		       : 0;
}

/* The one PT_NOTE. */
static int find_notes(int fd, const Elf64_Ehdr *h, uint64_t size, Elf64_Phdr *ret, struct err *e)
{
	_cleanup_free_ Elf64_Phdr *some = xmalloc(HEADERS_AT_ONCE * sizeof *some);
	uint32_t n, found = 0;
	int err = count_segments(fd, h, size, &n, e);

	for (uint32_t i = 0; i < n && !err; i += HEADERS_AT_ONCE) {
		uint32_t now = MIN(n - i, HEADERS_AT_ONCE);

		if (h->e_phoff > size)
			return err_set(e, -EBADMSG, "program headers are outside of the file");
		err = read_at(fd, some, now * sizeof *some, h->e_phoff + i * sizeof *some, size, "program headers",
			      e);
		for (uint32_t k = 0; k < now && !err; k++) {
			if (some[k].p_type != PT_NOTE)
				continue;
			*ret = some[k];
			if (found++)
				err = err_set(e, -EBADMSG, "more than one segment of notes");
		}
	}
	if (!err && !found)
		err = err_set(e, -EBADMSG, "no notes");
	if (!err && ret->p_filesz > NOTES_MAX)
		err = err_set(e, -EBADMSG, "too many notes (%llu bytes)", (unsigned long long)ret->p_filesz);
	return err;
}

static bool is_ours(const Elf64_Nhdr *h, const uint8_t *name)
{
	return h->n_type == IMAGE_NOTE && h->n_namesz == sizeof IMAGE_OWNER &&
	       !memcmp(name, IMAGE_OWNER, sizeof IMAGE_OWNER);
}

static int pick_note(const uint8_t *notes, size_t len, const uint8_t **ret, size_t *ret_len, struct err *e)
{
	size_t at = 0;

	*ret = NULL;
	while (len - at >= sizeof(Elf64_Nhdr)) {
		size_t name_len = 0, desc_len = 0;
		Elf64_Nhdr h;

		memcpy(&h, notes + at, sizeof h);
		at += sizeof h;
		name_len = ALIGN_UP((size_t)h.n_namesz, (size_t)4);
		desc_len = ALIGN_UP((size_t)h.n_descsz, (size_t)4);
		if (name_len > len - at || desc_len > len - at - name_len)
			return err_set(e, -EBADMSG, "a note is longer than all notes");
		if (is_ours(&h, notes + at)) {
			if (*ret)
				return err_set(e, -EBADMSG, "more than one " IMAGE_OWNER " note");
			*ret = notes + at + name_len;
			*ret_len = h.n_descsz;
		}
		at += name_len + desc_len;
	}
	if (at != len)
		return err_set(e, -EBADMSG, "notes with a torn end");
	if (!*ret)
		return err_set(e, -EBADMSG, "a core file, but none of an image: no " IMAGE_OWNER " note");
	return *ret_len > IMAGE_MESSAGE_MAX ? err_set(e, -EBADMSG, "the checkpoint message is too long") : 0;
}

int core_read(int fd, uint64_t size, uint8_t **ret, size_t *ret_len, struct err *e)
{
	_cleanup_free_ uint8_t *notes = NULL;
	const uint8_t *ours = NULL;
	Elf64_Phdr where = { 0 };
	Elf64_Ehdr h;
	size_t len = 0;
	int err = read_at(fd, &h, sizeof h, 0, size, "ELF headers", e);

	if (!err)
		err = check_header(&h, e);
	if (!err)
		err = find_notes(fd, &h, size, &where, e);
	if (err < 0)
		return err;
	/* The size was bounded above, and is backed by the file. */
	if (where.p_offset > size || where.p_filesz > size - where.p_offset)
		return err_set(e, -EBADMSG, "notes are outside of the file");
	notes = xmalloc(where.p_filesz + 1);
	err = read_at(fd, notes, where.p_filesz, where.p_offset, size, "notes", e);
	if (!err)
		err = pick_note(notes, where.p_filesz, &ours, &len, e);
	if (err < 0)
		return err;
	memmove(notes, ours, len);
	*ret = steal_ptr(&notes);
	*ret_len = len;
	return 0;
}

int core_segments(int fd, uint64_t size, Elf64_Phdr **ret, size_t *ret_n, uint64_t *ret_at, uint64_t *ret_len,
		  struct err *e)
{
	_cleanup_free_ Elf64_Phdr *v = NULL;
	Elf64_Ehdr h;
	uint32_t n = 0;
	int err = read_at(fd, &h, sizeof h, 0, size, "ELF headers", e);

	if (!err)
		err = check_header(&h, e);
	if (!err)
		err = count_segments(fd, &h, size, &n, e);
	if (err < 0)
		return err;
	v = xcalloc((size_t)n + 1, sizeof *v);
	err = read_at(fd, v, n * sizeof *v, h.e_phoff, size, "program headers", e);
	if (err < 0)
		return err;
	*ret = steal_ptr(&v);
	*ret_n = n;
	*ret_at = h.e_phoff;
	*ret_len = n * sizeof *v + sizeof(Elf64_Shdr);
	return 0;
}
