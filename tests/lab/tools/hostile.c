/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile host, and a hostile writer of images, made out of a proper image of a job.
 *
 *	hostile messages IMAGE SOURCE DESTINATION   run at SOURCE, as root: sends jobs to DESTINATION's process
 *server and mover, each spoiled in another way. Prints TAP lines without a plan. hostile images IMAGE DIR makes
 *spoiled images DIR/NAME, each with what must be said about it in DIR/NAME.words
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "godwit.h"
#include "hostile_cases.h"
#include "image/image.h"
#include "image/private.h"
#include "memory/stream.h"
#include "memory/wire.h"
#include "procd.pb-c.h"

#define FRAME_DESCRIPTION 1 /* src/mover/mover.h */
#define FRAME_PREPARED 2
#define FRAME_CHECKPOINT 3
#define FRAME_FAILED 0x6c696166u
#define USER 65534u

/* What the receiver's policy refuses, whatever it looks like. */
static void claim(struct spoiled *s, uint32_t uid, uint32_t gid)
{
	Godwit__Ckpt__Creds *c = creds_of(s);

	c->uid = c->euid = c->suid = c->fsuid = uid;
	c->gid = c->egid = c->sgid = c->fsgid = gid;
}

static void add_device(struct spoiled *s, const char *path, dev_t dev)
{
	Godwit__Ckpt__OpenFile *m = add_file(s, FILE_KIND(DEVICE), path, S_IFCHR | 0600);

	m->rdev = dev;
	add_descriptor(s, 5000, m->id);
}

SPOIL(claims_root, claim(s, 0, 0))
SPOIL(claims_other, claim(s, 1000, USER))
SPOIL(claims_group, claim(s, USER, 0))
SPOIL(claims_capability, creds_of(s)->cap_permitted = creds_of(s)->cap_effective = UINT64_C(1) << 21)
SPOIL(claims_inheritable, creds_of(s)->cap_inheritable = 1)
SPOIL(claims_priority, s->p->threads[0]->sched->nice = -10)
SPOIL(claims_realtime, s->p->threads[0]->sched->policy = SCHED_FIFO; s->p->threads[0]->sched->priority = 99)
SPOIL(root_of_its_own, put_text(&fs_of(s)->root, "/tmp"))
SPOIL(reads_secrets, add_file(s, FILE_KIND(REGULAR), "/etc/shadow", S_IFREG | 0640)->size = 1;
      add_descriptor(s, 5000, 77777))
SPOIL(reads_kernel, add_device(s, "/dev/kmsg", makedev(1, 11)))
SPOIL(disguised_memory, add_device(s, "/dev/null", makedev(1, 1)))

static const struct hostile_case policy_cases[] = {
#define CASE(name, when, words)                                                                                   \
	{                                                                                                         \
#name, when, name, words                                                                          \
	}
	CASE(claims_root, STOPPED, "it claims to be user 0"),
	CASE(claims_other, STOPPED, "it claims to be user 1000"),
	CASE(claims_group, STOPPED, "it claims group 0"),
	CASE(claims_capability, STOPPED, "it claims capabilities"),
	CASE(claims_inheritable, STOPPED, "it claims capabilities"),
	CASE(claims_priority, STOPPED, "it claims a priority"),
	CASE(claims_realtime, STOPPED, "it claims a priority"),
	CASE(root_of_its_own, STOPPED, "it has a root directory of its own"),
	CASE(reads_secrets, STOPPED, "/etc/shadow"),
	CASE(reads_kernel, STOPPED, "/dev/kmsg"),
	CASE(disguised_memory, STOPPED, "/dev/null"),
#undef CASE
};

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("Bail out! ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	exit(1);
}

/* --- the proper job --- */

struct base {
	struct image *image;
	const Godwit__Ckpt__Job *final; /* as a migration would send it */
	Godwit__Ckpt__Job stripped, *early;
	Godwit__Procd__Begin *begin;
};

static void open_base(struct base *b, const char *path)
{
	struct err e = { 0 };
	const Godwit__Ckpt__Job *job;

	if (image_open(path, &b->image, &e) < 0)
		die("%s", err_text(&e));
	job = image_job(b->image);
	b->stripped = *job;
	b->stripped.description = b->stripped.begin = (ProtobufCBinaryData) { 0 };
	b->stripped.n_contents = b->stripped.n_late = 0;
	b->stripped.streams = NULL;
	b->final = &b->stripped;
	b->early = godwit__ckpt__job__unpack(NULL, job->description.len, job->description.data);
	b->begin = godwit__procd__begin__unpack(NULL, job->begin.len, job->begin.data);
	if (!b->early || !b->begin)
		die("%s is no proper image", path);
}

/* --- messages --- */

struct attack {
	const struct base *base;
	const char *source, *port;
	struct gw *gw;
	uint8_t key[32];
	char said[1024];
};

static Godwit__Procd__Reply *ask(struct attack *a, Godwit__Procd__Request *q)
{
	static uint8_t out[GW_MSG_MAX], in[GW_MSG_MAX];
	struct gw_hdr req = { .port = gw_port_from_name(a->port) }, rep;
	ssize_t n;

	q->version = GODWIT__PROCD__VERSION__VERSION;
	n = gw_trans(a->gw, &req, out, godwit__procd__request__pack(q, out), &rep, in, sizeof in);
	return n < 0 ? NULL : godwit__procd__reply__unpack(NULL, (size_t)n, in);
}

static Godwit__Procd__Reply *begin(struct attack *a, const char *name)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Begin b = *a->base->begin;
	Godwit__Procd__JobSpec spec = *b.job;
	uint8_t random[16];
	char id[33];

	if (getrandom(random, sizeof random, 0) < 0 || getrandom(a->key, sizeof a->key, 0) < 0)
		die("no random numbers");
	for (size_t i = 0; i < sizeof random; i++)
		(void)snprintf(id + 2 * i, 3, "%02x", random[i]);
	b.migration = id;
	b.source = (char *)(uintptr_t)a->source;
	b.job = &spec;
	spec.name = (char *)(uintptr_t)name;
	b.key = (ProtobufCBinaryData) { sizeof a->key, a->key };
	b.sealed = 1;
	b.incarnation = 1;
	b.confined = 1;
	q.op_case = GODWIT__PROCD__REQUEST__OP_BEGIN;
	q.begin = &b;
	return ask(a, &q);
}

static int send_raw(struct stream *s, uint32_t type, const uint8_t *bytes, size_t len, struct err *e)
{
	uint8_t head[8];
	int err;

	wire_put_u32(head, type);
	wire_put_u32(head + 4, (uint32_t)len);
	err = stream_write(s, head, sizeof head, e);
	if (!err)
		err = stream_write(s, bytes, len, e);
	return err ? err : stream_flush(s, e);
}

/* The next frame, which is to say that we are refused, or to be of that type. */
static bool hear(struct attack *a, struct stream *s, uint32_t type)
{
	Godwit__Mover__Failed *f;
	struct err e = { 0 };
	uint32_t got = 0;
	uint8_t *bytes = NULL;
	size_t len = 0;

	if (stream_recv_any(s, 1 << 20, &got, &bytes, &len, &e) < 0) {
		(void)snprintf(a->said, sizeof a->said, "(stream: %s)", err_text(&e));
		return false;
	}
	f = got == FRAME_FAILED ? godwit__mover__failed__unpack(NULL, len, bytes) : NULL;
	if (f) {
		(void)snprintf(a->said, sizeof a->said, "%s", f->text);
		godwit__mover__failed__free_unpacked(f, NULL);
	}
	free(bytes);
	return got == type;
}

/* What it asks about files, whatever that is, is answered with: that was all. */
static bool answer_files(struct attack *a, struct stream *s)
{
	static const uint8_t all[] = { 2, 0, 0, 0, 0x30, 0x01 }; /* FilePart.end */
	_cleanup_free_ uint8_t *wants = NULL;
	struct err e = { 0 };
	uint8_t head[4];
	int err = stream_read(s, head, sizeof head, &e);

	if (!err && wire_get_u32(head) == FRAME_FAILED) {
		Godwit__Mover__Failed *f;
		uint32_t len;

		err = stream_read(s, head, sizeof head, &e);
		len = err ? 0 : wire_get_u32(head);
		wants = xmalloc(len + 1);
		err = err ? err : stream_read(s, wants, len, &e);
		f = err ? NULL : godwit__mover__failed__unpack(NULL, len, wants);
		(void)snprintf(a->said, sizeof a->said, "%s", f ? f->text : "?");
		return false;
	}
	if (!err) {
		wants = xmalloc(wire_get_u32(head) + 1);
		err = stream_read(s, wants, wire_get_u32(head), &e);
	}
	if (!err)
		err = stream_write(s, all, sizeof all, &e);
	if (!err)
		err = stream_flush(s, &e);
	if (err)
		(void)snprintf(a->said, sizeof a->said, "(files: %s)", err_text(&e));
	return !err;
}

/* True if it was taken. */
static bool play(struct attack *a, struct stream *s, const struct hostile_case *c)
{
	size_t len, late_len;
	struct err e = { 0 };
	_cleanup_free_ uint8_t *first = hostile_make(c->when == DESCRIBED ? c : NULL, a->base->early, &len);
	_cleanup_free_ uint8_t *late = hostile_make(c->when == STOPPED ? c : NULL, a->base->final, &late_len);
	static const uint8_t all[] = { 2, 0, 0, 0, 0x30, 0x01 };
	static const uint8_t no_pages[16];

	if (send_raw(s, FRAME_DESCRIPTION, first, len, &e) < 0)
		die("%s: %s", c->name, err_text(&e));
	if (c->when == DESCRIBED)
		return hear(a, s, FRAME_PREPARED);
	if (!answer_files(a, s) || !hear(a, s, FRAME_PREPARED))
		return false;
	if (send_raw(s, FRAME_CHECKPOINT, late, late_len, &e) < 0 || stream_write(s, all, sizeof all, &e) < 0 ||
	    stream_write(s, no_pages, sizeof no_pages, &e) < 0 || stream_flush(s, &e) < 0)
		(void)snprintf(a->said, sizeof a->said, "(checkpoint: %s)", err_text(&e));
	return !hear(a, s, 0) && !*a->said;
}

static void attack(struct attack *a, const struct hostile_case *c)
{
	_cleanup_free_ char *name = xasprintf("hostile-%s", c->name);
	Godwit__Procd__Reply *r;
	struct stream *s = NULL;
	struct err e = { 0 };
	bool taken;

	for (char *at = name; *at; at++)
		*at = *at == '_' ? '-' : *at;
	r = begin(a, name);
	if (!r || r->result_case != GODWIT__PROCD__REPLY__RESULT_BEGUN || r->n_problems)
		die("%s: BEGIN: %s %s", c->name, r ? r->text : "no answer",
		    r && r->n_problems ? r->problems[0]->reason : "");
	if (stream_connect(r->begun->address, (uint16_t)r->begun->port, a->key, r->begun->sealed, STREAM_NEVER, -1,
			   &s, &e) < 0)
		die("%s: %s", c->name, err_text(&e));
	a->said[0] = '\0';
	taken = play(a, s, c);
	printf("%sok - hostile message %s\n", !taken && strstr(a->said, c->words) ? "" : "not ", c->name);
	printf("# %s\n", taken ? "taken" : a->said);
	stream_free(s);
	godwit__procd__reply__free_unpacked(r, NULL);
}

static int messages(const char *image, const char *source, const char *destination)
{
	_cleanup_free_ char *port = xasprintf("procd@%s", destination);
	struct attack a = { .source = source, .port = port };
	struct base base = { 0 };

	open_base(&base, image);
	a.base = &base;
	if (gw_connect(NULL, &a.gw) < 0)
		die("no flipd");
	for (size_t i = 0; i < ARRAY_LEN(hostile_cases); i++)
		attack(&a, &hostile_cases[i]);
	for (size_t i = 0; i < ARRAY_LEN(policy_cases); i++)
		attack(&a, &policy_cases[i]);
	gw_close(a.gw);
	image_close(base.image);
	return 0;
}

/* --- images --- */

/* A core file whose notes are ours alone, behind what was there. */
struct forged {
	Godwit__Image__Image *m;
	struct spoiled s; /* its job and process */
	Elf64_Ehdr head;
	Elf64_Phdr note;
	unsigned times; /* that our note comes */
	const char *name, *link;
	uint64_t size; /* of the file; 0: as it is */
	off_t flip;    /* a byte of page contents is another; 0: none */
};

struct image_case {
	const char *name;
	void (*spoil)(struct forged *f);
	void (*spoil_message)(struct spoiled *s);
	const char *words;
};

#define FORGE(name, ...)                                                                                          \
	static void image_##name(struct forged *f)                                                                \
	{                                                                                                         \
		__VA_ARGS__;                                                                                      \
	}

static void put_junk(ProtobufCBinaryData *b)
{
	put_bytes(b, 8);
	memset(b->data, 0xff, 8);
}

/* A part of a file that the job does not have, with a name for it. */
static void add_late(struct forged *f)
{
	Godwit__Ckpt__FilePart *part = xmalloc(sizeof *part);

	godwit__ckpt__file_part__init(part);
	part->id = 999999;
	put_bytes(&part->data, 10);
	f->m->job->late = grow_list(f->m->job->late, f->m->job->n_late);
	f->m->job->late[f->m->job->n_late++] = part;
}

FORGE(not_elf, f->head.e_ident[1] = 'e')
FORGE(other_machine, f->head.e_machine = EM_AARCH64)
FORGE(headers_outside, f->head.e_phoff = UINT64_MAX - 8)
FORGE(notes_outside, f->note.p_offset = UINT64_MAX - 100)
FORGE(notes_huge, f->note.p_filesz = UINT64_MAX / 2)
FORGE(no_notes, f->note.p_type = PT_LOAD)
FORGE(note_twice, f->times = 2)
FORGE(cut_file, f->size = 5000)
FORGE(link_to_elsewhere, f->link = "/etc/shadow")
FORGE(other_name, f->name = "4711.core")
FORGE(version, f->m->version = 4711)
FORGE(other_pid, f->m->process->pid = f->m->process->threads[0]->tid = 5)
FORGE(many_processes, f->m->of = UINT32_MAX)
FORGE(half_a_job, f->m->of = 2)
FORGE(no_hash, f->m->hash.len = 0)
FORGE(other_contents, f->flip = (off_t)f->m->chunks[0]->offset)
FORGE(contents_nowhere, f->m->chunks[0]->start = 0x1000; f->m->chunks[0]->bytes = 0x1000)
FORGE(contents_outside, f->m->chunks[0]->offset = UINT64_C(1) << 60)
FORGE(contents_huge, f->m->chunks[0]->bytes = UINT64_C(1) << 40)
FORGE(contents_backwards, f->m->chunks[f->m->n_chunks - 1]->start = f->m->chunks[0]->start)
FORGE(contents_bomb, f->m->chunks[0]->stored = 64)
FORGE(bad_description, put_junk(&f->m->job->description))
FORGE(no_description, put_bytes(&f->m->job->description, 0))
FORGE(bad_begin, put_junk(&f->m->job->begin))
FORGE(foreign_part, add_late(f))

static const struct image_case image_cases[] = {
#define CASE(name, words)                                                                                         \
	{                                                                                                         \
#name, image_##name, NULL, words                                                                  \
	}
#define SAME(name, words)                                                                                         \
	{                                                                                                         \
#name, NULL, name, words                                                                          \
	}
	CASE(not_elf, "not an ELF file"),
	CASE(other_machine, "another architecture"),
	CASE(headers_outside, "program headers are outside of the file"),
	CASE(notes_outside, "notes are outside of the file"),
	CASE(notes_huge, "too many notes"),
	CASE(no_notes, "no notes"),
	CASE(note_twice, "more than one GODWIT note"),
	CASE(cut_file, "are outside of the file"),
	CASE(link_to_elsewhere, "cannot open it"),
	CASE(other_name, "under the name of another"),
	CASE(version, "version 4711"),
	CASE(other_pid, "under the name of another"),
	CASE(many_processes, "an impossible number of processes"),
	CASE(half_a_job, "do not belong together"),
	CASE(no_hash, "no hash of the page contents"),
	CASE(other_contents, "page contents are not what was written"),
	CASE(contents_nowhere, "where nothing is mapped"),
	CASE(contents_outside, "page contents outside of the file"),
	CASE(contents_huge, "page contents with impossible bounds"),
	CASE(contents_backwards, "page contents out of order"),
	CASE(contents_bomb, "cannot be decompressed"),
	CASE(bad_description, "the description"),
	CASE(no_description, "it does not say how to restart it"),
	CASE(bad_begin, "what it says of its job"),
	CASE(foreign_part, "a file that the job does not have"),
	SAME(thread_twice, "two threads with the same number"),
	SAME(thread_one, "thread 1: a thread with an impossible number"),
	SAME(user_minus_one, "a user or group that nobody is"),
	SAME(overlap, "overlapping mappings"),
	SAME(kernel_half, "impossible bounds"),
	SAME(unknown_kind, "kind: an unknown kind"),
	SAME(heap_backwards, "a heap that ends before it begins"),
	SAME(foreign_mapping, "a file that the job does not have"),
	SAME(foreign_descriptor, "a file that the job does not have"),
	SAME(detour, "takes a detour"),
	SAME(huge_name, "a text that is too long"),
	SAME(negative_position, "a negative position"),
	SAME(pipe_that_is_not, "a pipe that the job does not have"),
	SAME(cwd_escapes, "takes a detour"),
	SAME(claims_root, "it claims to be user 0"),
	SAME(claims_capability, "it claims capabilities"),
	SAME(disguised_memory, "another device"),
#undef CASE
#undef SAME
};

static void copy_file(int from, int to)
{
	char buf[65536];
	ssize_t n;

	while ((n = read(from, buf, sizeof buf)) > 0)
		if (fd_write_full(to, buf, (size_t)n) < 0)
			die("cannot copy");
}

static void put_at(int fd, const void *bytes, size_t len, uint64_t at)
{
	if (pwrite(fd, bytes, len, (off_t)at) != (ssize_t)len)
		die("cannot write");
}

/* Header, one program header in the old one's place, our note at the end. */
static void write_forged(const struct forged *f, const char *dir, int proper)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, f->name);
	size_t len = godwit__image__image__get_packed_size(f->m);
	_cleanup_free_ uint8_t *bytes = xmalloc(len + 1);
	_cleanup_fd_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct notes n = { 0 };
	Elf64_Phdr note = f->note;
	Elf64_Ehdr head = f->head;
	uint64_t at;
	uint8_t byte = 0;

	if (fd < 0 || lseek(proper, 0, SEEK_SET) != 0)
		die("cannot make %s", path);
	copy_file(proper, fd);
	(void)godwit__image__image__pack(f->m, bytes);
	for (unsigned i = 0; i < f->times; i++)
		notes_add(&n, IMAGE_OWNER, IMAGE_NOTE, bytes, len);
	at = ALIGN_UP((uint64_t)lseek(fd, 0, SEEK_END), (uint64_t)IMAGE_PAGE);
	put_at(fd, n.bytes, n.len, at);
	note.p_offset = note.p_offset ?: at;
	note.p_filesz = note.p_filesz ?: n.len;
	notes_done(&n);
	at = ALIGN_UP((uint64_t)lseek(fd, 0, SEEK_END), (uint64_t)IMAGE_PAGE);
	put_at(fd, &note, sizeof note, at);
	head.e_phoff = head.e_phoff ?: at;
	put_at(fd, &head, sizeof head, 0);
	if (f->flip && pread(fd, &byte, 1, f->flip) == 1) {
		byte ^= 1;
		put_at(fd, &byte, 1, (uint64_t)f->flip);
	}
	if (f->size && ftruncate(fd, (off_t)f->size) < 0)
		die("cannot cut %s", path);
}

static void forge(const struct base *b, const struct image_case *c, const char *out, int proper)
{
	const Godwit__Image__Image *first = image_header(b->image, 0);
	size_t len = godwit__image__image__get_packed_size(first);
	_cleanup_free_ uint8_t *bytes = xmalloc(len + 1);
	_cleanup_free_ char *dir = xasprintf("%s/%s", out, c->name), *words = xasprintf("%s.words", dir);
	_cleanup_free_ char *core = xasprintf("%d.core", first->process->pid);
	struct forged f = { .times = 1, .name = core };
	int fd = open(words, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	(void)godwit__image__image__pack(first, bytes);
	f.m = godwit__image__image__unpack(NULL, len, bytes);
	f.s = (struct spoiled) { .job = f.m->job, .p = f.m->process };
	if (pread(proper, &f.head, sizeof f.head, 0) != sizeof f.head || fd < 0 || mkdir(dir, 0700) < 0 ||
	    fd_write_full(fd, c->words, strlen(c->words)) < 0)
		die("cannot make %s", dir);
	(void)close(fd);
	f.head.e_phoff = f.head.e_shoff = 0;
	f.head.e_phnum = 1;
	f.note = (Elf64_Phdr) { .p_type = PT_NOTE, .p_align = 4 };
	if (c->spoil)
		c->spoil(&f);
	else
		c->spoil_message(&f.s);
	if (f.link) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, core);

		if (symlink(f.link, path) < 0)
			die("cannot make a link");
	} else {
		write_forged(&f, dir, proper);
	}
	godwit__image__image__free_unpacked(f.m, NULL);
}

static int images(const char *image, const char *out)
{
	_cleanup_free_ char *core = NULL;
	_cleanup_fd_ int proper = -EBADF;
	struct base base = { 0 };

	open_base(&base, image);
	core = xasprintf("%s/%d.core", image, image_header(base.image, 0)->process->pid);
	proper = open(core, O_RDONLY | O_CLOEXEC);
	if (proper < 0)
		die("cannot open %s", core);
	for (size_t i = 0; i < ARRAY_LEN(image_cases); i++)
		forge(&base, &image_cases[i], out, proper);
	image_close(base.image);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "messages"))
		return messages(argv[2], argv[3], argv[4]);
	if (argc == 4 && !strcmp(argv[1], "images"))
		return images(argv[2], argv[3]);
	fprintf(stderr, "usage: hostile messages IMAGE SOURCE DESTINATION | images IMAGE DIR\n");
	return 2;
}
