/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The C library of a running program holds pointers into the vDSO. If this kernel's vDSO is byte for byte the one
 * the job knows, it is mapped at its old address and that is all.
 *
 * Otherwise this kernel's goes to a hole, and the old one's text stays at its old address as ordinary memory, in
 * which the first instruction of every exported function is a jump to its namesake in the new one. A thread that
 * was stopped inside the old text finishes there. It reads the old data pages, which are zero now: a clock's
 * sequence count is not what it was, so the reader starts over and finds clock mode 0, "ask the kernel". (A coarse
 * clock, which has no such check, would read zero if the thread was stopped between its two loads; that window is
 * accepted.)
 *
 * The next move finds that vDSO away from home (AT_SYSINFO_EHDR), and the bridge at home among the job's own
 * memory. If it has to be bridged again, the bridge at home is led to the newest vDSO and the one in between
 * dropped, so that jumps do not add up; only if a thread was stopped inside that one does its text stay, too.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "memory/source.h"
#include "memory/vma.h"
#include "state/mm.h"

#define MAP_VDSO_64 0x2003 /* arch_prctl: maps the vvar pages at a hint, the vDSO behind them */
#define IMAGE_MAX (64u << 10)
#define JUMP_LEN 14

/* --- finding it --- */

static struct vdso_place find_place(const struct vma_list *l)
{
	struct vdso_place p = { 0 };

	for (size_t i = 0; i < l->n; i++) {
		const struct vma *v = &l->v[i];
		enum vma_kind kind = vma_classify(v, NULL);

		if (kind == VMA_KIND_VDSO) {
			p.text = v->start;
			p.text_len = v->end - v->start;
		} else if (kind == VMA_KIND_VVAR) {
			/* One mapping, or several side by side (since 6.12). */
			if (!p.data)
				p.data = v->start;
			p.data_len = v->end - p.data;
		}
	}
	return p;
}

static int find_in(int proc, struct vdso_place *ret, struct err *e)
{
	_cleanup_fd_ int fd = openat(proc, "maps", O_RDONLY | O_CLOEXEC);
	struct vma_list l = { 0 };
	int err;

	if (fd < 0)
		return err_errno(e, "reading the list of mappings");
	err = vma_list_read(&l, fd, e);
	if (!err)
		*ret = find_place(&l);
	vma_list_done(&l);
	return err;
}

/* Of the auxiliary vector: where the program was told that its vDSO is. */
static uint64_t told_place(const Godwit__Ckpt__Memory *m)
{
	const uint64_t *pair = (const uint64_t *)(const void *)m->auxv.data;

	for (size_t i = 0; i + 2 <= m->auxv.len / 8; i += 2)
		if (pair[i] == AT_SYSINFO_EHDR)
			return pair[i + 1];
	return 0;
}

static int read_image(struct state_source *s, uint64_t at, size_t len, ProtobufCBinaryData *ret, struct err *e)
{
	_cleanup_fd_ int mem = openat(s->proc, "mem", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	ret->data = xmalloc(len);
	ret->len = len;
	n = mem < 0 ? -1 : pread(mem, ret->data, len, (off_t)at);
	return n == (ssize_t)len ? 0 : err_errno(e, "reading the vDSO of process %d", s->pid);
}

static bool stopped_inside(const struct remote *r, const struct vdso_place *p)
{
	for (size_t i = 0; r && i < r->n_threads; i++)
		if (r->threads[i].regs.rip - p->text < p->text_len)
			return true;
	return false;
}

int vdso_describe(struct state_source *s, Godwit__Ckpt__Memory *m, struct err *e)
{
	struct vdso_place p = find_place(&s->mm->vmas);
	uint64_t told = told_place(m);
	const struct vma *home = told && told != p.text ? vma_list_find(&s->mm->vmas, told) : NULL;
	int err;

	m->vdso_start = p.text;
	m->vdso_len = p.text_len;
	m->vvar_start = p.data;
	m->vvar_len = p.data_len;
	m->in_vdso = stopped_inside(s->remote, &p);
	if (!p.text_len || s->mm->frozen)
		return 0;
	err = read_image(s, p.text, p.text_len, &m->vdso_image, e);
	if (err || !home || home->start != told || vma_classify(home, NULL) != VMA_KIND_ANON_PRIVATE)
		return err;
	m->home_vdso = told;
	return read_image(s, told, MIN(home->end - told, (uint64_t)IMAGE_MAX), &m->home_image, e);
}

/* --- its symbols --- */

struct elf {
	const uint8_t *image;
	size_t len;
	const Elf64_Sym *sym;
	size_t n_sym;
	const char *str;
	size_t str_len;
};

/* NULL if it lies outside, or where such a thing cannot lie. */
static const void *elf_at(const struct elf *f, uint64_t offset, uint64_t len, uint64_t align)
{
	return offset <= f->len && len <= f->len - offset && !(offset % align) ? f->image + offset : NULL;
}

/* The number of dynamic symbols is known to the hash tables only. */
static size_t count_by_hash(const struct elf *f, uint64_t offset)
{
	const uint32_t *head = elf_at(f, offset, 8, 4);

	return head ? head[1] : 0;
}

static size_t count_by_gnu_hash(const struct elf *f, uint64_t offset)
{
	const uint32_t *head = elf_at(f, offset, 16, 4), *chain;
	uint64_t buckets, chains, last = 0;

	if (!head || head[0] > 4096 || head[2] > 4096)
		return 0;
	buckets = offset + 16 + head[2] * 8ull;
	chains = buckets + head[0] * 4ull;
	for (uint32_t i = 0; i < head[0]; i++) {
		const uint32_t *b = elf_at(f, buckets + i * 4ull, 4, 4);

		last = b ? MAX(last, *b) : last;
	}
	if (last < head[1])
		return head[1];
	while ((chain = elf_at(f, chains + (last - head[1]) * 4, 4, 4)) && !(*chain & 1))
		last++;
	return last + 1;
}

static int elf_open(struct elf *f, const uint8_t *image, size_t len)
{
	const Elf64_Ehdr *h;
	const Elf64_Phdr *ph;
	uint64_t sym = 0, str = 0, hash = 0, gnu = 0;

	*f = (struct elf) { .image = image, .len = len };
	h = elf_at(f, 0, sizeof *h, 8);
	if (!h || memcmp(h->e_ident, ELFMAG, SELFMAG) || h->e_ident[EI_CLASS] != ELFCLASS64 ||
	    h->e_phentsize != sizeof *ph)
		return -ENOEXEC;
	for (unsigned i = 0; i < h->e_phnum; i++) {
		const Elf64_Dyn *d;

		ph = elf_at(f, h->e_phoff + i * sizeof *ph, sizeof *ph, 8);
		if (!ph || ph->p_type != PT_DYNAMIC)
			continue;
		for (uint64_t at = ph->p_offset; (d = elf_at(f, at, sizeof *d, 8)) && d->d_tag != DT_NULL;
		     at += sizeof *d) {
			sym = d->d_tag == DT_SYMTAB ? d->d_un.d_ptr : sym;
			str = d->d_tag == DT_STRTAB ? d->d_un.d_ptr : str;
			hash = d->d_tag == DT_HASH ? d->d_un.d_ptr : hash;
			gnu = d->d_tag == DT_GNU_HASH ? d->d_un.d_ptr : gnu;
			f->str_len = d->d_tag == DT_STRSZ ? d->d_un.d_val : f->str_len;
		}
	}
	f->n_sym = hash ? count_by_hash(f, hash) : gnu ? count_by_gnu_hash(f, gnu) : 0;
	f->sym = f->n_sym < 4096 ? elf_at(f, sym, f->n_sym * sizeof *f->sym, 8) : NULL;
	f->str = elf_at(f, str, f->str_len, 1);
	return f->sym && f->str && f->n_sym && f->str_len && !f->str[f->str_len - 1] ? 0 : -ENOEXEC;
}

static bool is_function(const struct elf *f, const Elf64_Sym *s)
{
	return ELF64_ST_TYPE(s->st_info) == STT_FUNC && s->st_shndx != SHN_UNDEF && s->st_name < f->str_len &&
	       elf_at(f, s->st_value, 1, 1);
}

static const Elf64_Sym *elf_find(const struct elf *f, const char *name)
{
	for (size_t i = 0; i < f->n_sym; i++)
		if (is_function(f, &f->sym[i]) && !strcmp(f->str + f->sym[i].st_name, name))
			return &f->sym[i];
	return NULL;
}

int vdso_bridge(uint8_t *old_image, size_t old_len, const uint8_t *new_image, size_t new_len, uint64_t new_start,
		struct err *e)
{
	/* jmp *0(%rip), then the address: no register is touched. */
	uint8_t jump[JUMP_LEN] = { 0xff, 0x25 };
	_cleanup_free_ uint8_t *pristine = xmalloc(old_len);
	struct elf was, is;

	memcpy(pristine, old_image, old_len);
	if (elf_open(&was, pristine, old_len) || elf_open(&is, new_image, new_len))
		return err_set(e, -ENOEXEC, "a vDSO is not an ELF image as we know them");
	for (size_t i = 0; i < was.n_sym; i++) {
		const Elf64_Sym *from = &was.sym[i], *to;
		const char *name = was.str + from->st_name;
		uint64_t address;

		if (!is_function(&was, from))
			continue;
		to = elf_find(&is, name);
		if (!to)
			return err_set(e, -EOPNOTSUPP, "this kernel's vDSO has no %s, which the job may call",
				       name);
		if (from->st_size < JUMP_LEN || !elf_at(&was, from->st_value, JUMP_LEN, 1))
			return err_set(e, -EOPNOTSUPP, "the old vDSO's %s is too small to be redirected", name);
		address = new_start + to->st_value;
		memcpy(jump + 6, &address, sizeof address);
		memcpy(old_image + from->st_value, jump, sizeof jump);
	}
	return 0;
}

/* --- at the destination --- */

/* This program's own vDSO: the same for every process here. */
static int own_vdso(const uint8_t **ret, struct vdso_place *ret_place, struct err *e)
{
	_cleanup_fd_ int proc = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = proc < 0 ? err_errno(e, "/proc/self") : find_in(proc, ret_place, e);

	*ret = (const uint8_t *)(uintptr_t)ret_place->text;
	return err;
}

static bool is_same(const Godwit__Ckpt__Memory *m, const uint8_t *own, const struct vdso_place *p)
{
	return !getenv("GODWIT_FOREIGN_VDSO") && m->vdso_image.len == p->text_len && m->vvar_len == p->data_len &&
	       m->vdso_start - m->vvar_start == p->text - p->data && !memcmp(m->vdso_image.data, own, p->text_len);
}

/* Old text and zero pages for its data, where they were. */
static int map_bridge(struct state_target *d, struct mm_run *x, const uint8_t *text, struct err *e)
{
	const Godwit__Ckpt__Memory *m = d->process->memory;
	int err;

	if (m->vvar_len)
		batch_call(x->b, "mapping the old vDSO's data", SYS_mmap, bval(m->vvar_start), bval(m->vvar_len),
			   bval(PROT_READ), bval(MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE),
			   bval(UINT64_MAX));
	batch_call(x->b, "mapping the old vDSO", SYS_mmap, bval(m->vdso_start), bval(m->vdso_len),
		   bval(PROT_READ | PROT_WRITE), bval(MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE),
		   bval(UINT64_MAX));
	err = mm_run_flush(x, e);
	if (err)
		return err;
	err = remote_write(d->remote, (raddr_t) { m->vdso_start }, text, m->vdso_len);
	if (err)
		return err_code(e, err, "writing the old vDSO");
	batch_call(x->b, "protecting the old vDSO", SYS_mprotect, bval(m->vdso_start), bval(m->vdso_len),
		   bval(PROT_READ | PROT_EXEC));
	return mm_run_flush(x, e);
}

static int check_place(const Godwit__Ckpt__Memory *m, struct err *e)
{
	if ((m->vdso_start | m->vdso_len | m->vvar_start | m->vvar_len) % PAGE_BYTES || m->vdso_len > IMAGE_MAX ||
	    m->vvar_len > IMAGE_MAX || m->vdso_image.len != m->vdso_len ||
	    m->vdso_start > VMA_USER_END - IMAGE_MAX || m->vvar_start > VMA_USER_END - IMAGE_MAX ||
	    m->home_image.len > IMAGE_MAX || m->home_vdso > VMA_USER_END - IMAGE_MAX)
		return err_set(e, -EPROTO, "the source describes an impossible vDSO");
	return 0;
}

/*
 * The lowest holes are left alone: at the stop the source may still map a place for interrupted calls there, which
 * comes along in the checkpoint, when this kernel's vDSO has long been put where the description showed nothing.
 */
#define LOW_END (16u << 20)

/* Where this kernel's vDSO is to go: its data pages come first. */
int vdso_plan(struct state_target *d, struct vdso_plan *plan, struct err *e)
{
	const Godwit__Ckpt__Memory *m = d->process->memory;
	uint64_t(*busy)[2];
	size_t n;
	int err = check_place(m, e);

	*plan = (struct vdso_plan) { 0 };
	if (err || !m->vdso_len)
		return err;
	err = own_vdso(&plan->image, &plan->own, e);
	if (err)
		return err;
	if (!plan->own.text_len)
		return err_set(e, -EOPNOTSUPP, "this kernel has no vDSO (vdso=0?), the job needs one");
	plan->wanted = true;
	plan->same = is_same(m, plan->image, &plan->own);
	plan->at = m->vvar_start;
	if (!plan->same) {
		n = mm_busy(m, &busy);
		busy = xrealloc(busy, (n + 1) * sizeof *busy);
		busy[n][0] = 0;
		busy[n++][1] = LOW_END;
		plan->at = remote_agent_hole(d->remote, (const uint64_t(*)[2])busy, n).a;
		free(busy);
	}
	plan->len = plan->own.text + plan->own.text_len - plan->own.data;
	return plan->at ? 0 : err_set(e, -ENOMEM, "no hole for this kernel's vDSO");
}

/* Moves the blank's own, part by part: each can be moved as a whole only. The addresses must not overlap. */
static int move_to(struct mm_run *x, const struct vma_list *l, const struct vdso_place *from, uint64_t at,
		   struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct vma *v = &l->v[i];
		enum vma_kind kind = vma_classify(v, NULL);

		if (kind == VMA_KIND_VDSO || kind == VMA_KIND_VVAR)
			batch_call(x->b, "moving the vDSO", SYS_mremap, bval(v->start), bval(v->end - v->start),
				   bval(v->end - v->start), bval(MREMAP_MAYMOVE | MREMAP_FIXED),
				   bval(v->start - from->data + at));
	}
	return mm_run_flush(x, e);
}

static int read_maps(int proc, struct vma_list *l, struct err *e)
{
	_cleanup_fd_ int fd = openat(proc, "maps", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? err_errno(e, "reading the list of mappings") : vma_list_read(l, fd, e);
}

/* By way of a hole, for the old and the new place may overlap. */
int vdso_move(struct state_target *d, struct mm_run *x, const struct vdso_plan *plan, struct err *e)
{
	struct vma_list l = { 0 };
	struct vdso_place from;
	uint64_t busy[1][2] = { { plan->at, plan->at + plan->len } };
	raddr_t hole = remote_agent_hole(d->remote, (const uint64_t(*)[2])busy, 1);
	int err = hole.a ? read_maps(d->proc, &l, e) : err_set(e, -ENOMEM, "no hole for this kernel's vDSO");

	from = find_place(&l);
	if (!err && from.data != plan->at) {
		err = move_to(x, &l, &from, hole.a, e);
		if (!err)
			err = read_maps(d->proc, &l, e);
		from = find_place(&l);
		if (!err)
			err = move_to(x, &l, &from, plan->at, e);
	}
	vma_list_done(&l);
	return err;
}

int vdso_map(struct mm_run *x, const struct vdso_plan *plan, struct err *e)
{
	batch_call(x->b, "mapping the vDSO", SYS_arch_prctl, bval(MAP_VDSO_64), bval(plan->at));
	return mm_run_flush(x, e);
}

/* Puts the image's text, bridged to `new_text`, where the present message says that the old vDSO was. */
static int bridge(struct state_target *d, struct mm_run *x, const ProtobufCBinaryData *image, const uint8_t *own,
		  size_t own_len, uint64_t new_text, struct err *e)
{
	_cleanup_free_ uint8_t *text = xmalloc(image->len);
	int err;

	memcpy(text, image->data, image->len);
	err = vdso_bridge(text, image->len, own, own_len, new_text, e);
	if (err)
		return err;
	log_debug("the job keeps its old vDSO at %llx, bridged to %llx",
		  (unsigned long long)d->process->memory->vdso_start, (unsigned long long)new_text);
	return map_bridge(d, x, text, e);
}

/* Is there a bridge at home that can be led elsewhere? */
static bool can_lead(const Godwit__Ckpt__Memory *m)
{
	struct elf f;

	return m->home_image.len && !elf_open(&f, m->home_image.data, m->home_image.len);
}

/* The pages have come, the bridge at home among them. */
int vdso_lead(struct state_target *d, struct mm_run *x, struct err *e)
{
	const Godwit__Ckpt__Memory *early = d->early->processes[0]->memory, *m = d->process->memory;
	_cleanup_free_ uint8_t *text = NULL;
	struct vdso_place own = { 0 };
	const uint8_t *image;
	int err;

	if (!d->mm->bridge_to)
		return 0;
	text = xmalloc(early->home_image.len);
	err = own_vdso(&image, &own, e);
	if (err)
		return err;
	err = remote_read(d->remote, (raddr_t) { early->home_vdso }, text, early->home_image.len);
	if (err)
		return err_code(e, err, "reading the bridge to the vDSO");
	err = vdso_bridge(text, early->home_image.len, image, own.text_len, d->mm->bridge_to, e);
	if (err)
		return err;
	err = remote_write(d->remote, (raddr_t) { early->home_vdso }, text, early->home_image.len);
	if (err)
		return err_code(e, err, "writing the bridge to the vDSO");
	if (!m->in_vdso)
		return 0;
	if (m->vdso_start != early->vdso_start || m->vdso_len != early->vdso_image.len)
		return err_set(e, -EAGAIN, "the job moved its vDSO while it was moved: try again");
	return bridge(d, x, &early->vdso_image, image, own.text_len, d->mm->bridge_to, e);
}

int vdso_finish(struct state_target *d, struct mm_run *x, const struct vdso_plan *plan, struct err *e)
{
	uint64_t text = plan->at + (plan->own.text - plan->own.data);
	struct vdso_place now = { 0 };
	int err = find_in(d->proc, &now, e);

	if (err)
		return err;
	if (now.text != text || now.text_len != plan->own.text_len)
		return err_set(e, -EIO, "the kernel mapped the vDSO at %llx instead of %llx",
			       (unsigned long long)now.text, (unsigned long long)text);
	if (plan->same)
		return 0;
	if (!can_lead(d->process->memory))
		return bridge(d, x, &d->process->memory->vdso_image, plan->image, plan->own.text_len, text, e);
	d->mm->bridge_to = text;
	return 0;
}
