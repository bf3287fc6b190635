/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_HOSTILE_CASES_H
#define GW_HOSTILE_CASES_H

/*
 * Checkpoint messages that a hostile source makes up: what is spoiled in a proper one, and what must be said about
 * it. Told to the decoder by tests/unit/decode_test.c, and to a real destination by hostile.c.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "checkpoint.pb-c.h"

struct spoiled {
	Godwit__Ckpt__Job *job;
	Godwit__Ckpt__Process *p;
	/* Done to the bytes: */
	size_t cut;	       /* so many are missing at the end */
	const char *from, *to; /* this text becomes that one, of the same length */
	size_t len;
	const uint8_t *instead; /* other bytes altogether */
	size_t instead_len;
};

enum when { DESCRIBED, STOPPED };

struct hostile_case {
	const char *name;
	enum when when; /* which of the two messages it is */
	void (*spoil)(struct spoiled *s);
	const char *words;
};

static inline void put_bytes(ProtobufCBinaryData *b, size_t len)
{
	free(b->data);
	b->len = len;
	b->data = xcalloc(1, len + 1);
}

static inline void put_text(char **at, const char *text)
{
	if (*at != protobuf_c_empty_string)
		free(*at);
	*at = xstrdup(text);
}

/* One more pointer at the end of a list. */
static inline void *grow_list(void *list, size_t n)
{
	return xrealloc(list, (n + 1) * sizeof(void *));
}

static inline Godwit__Ckpt__OpenFile *add_file(struct spoiled *s, Godwit__Ckpt__OpenFile__Kind kind,
					       const char *path, uint32_t mode)
{
	Godwit__Ckpt__OpenFile *m = xmalloc(sizeof *m);

	godwit__ckpt__open_file__init(m);
	m->id = 77777;
	m->kind = kind;
	m->path = xstrdup(path);
	m->mode = mode;
	s->job->files = grow_list(s->job->files, s->job->n_files);
	s->job->files[s->job->n_files++] = m;
	return m;
}

static inline Godwit__Ckpt__Pipe *add_pipe(struct spoiled *s)
{
	Godwit__Ckpt__Pipe *m = xmalloc(sizeof *m);

	godwit__ckpt__pipe__init(m);
	m->id = 77777;
	m->size = 65536;
	s->job->pipes = grow_list(s->job->pipes, s->job->n_pipes);
	s->job->pipes[s->job->n_pipes++] = m;
	return m;
}

static inline Godwit__Ckpt__Descriptor *add_descriptor(struct spoiled *s, uint32_t fd, uint32_t file)
{
	Godwit__Ckpt__Descriptor *m = xmalloc(sizeof *m);

	godwit__ckpt__descriptor__init(m);
	m->fd = fd;
	m->file = file;
	s->p->descriptors = grow_list(s->p->descriptors, s->p->n_descriptors);
	s->p->descriptors[s->p->n_descriptors++] = m;
	return m;
}

static inline void add_threads(struct spoiled *s, int32_t tid, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		const Godwit__Ckpt__Thread *first = s->p->threads[0];
		size_t len = godwit__ckpt__thread__get_packed_size(first);
		_cleanup_free_ uint8_t *bytes = xmalloc(len + 1);
		Godwit__Ckpt__Thread *t;

		(void)godwit__ckpt__thread__pack(first, bytes);
		t = godwit__ckpt__thread__unpack(NULL, len, bytes);
		t->tid = tid;
		s->p->threads = grow_list(s->p->threads, s->p->n_threads);
		s->p->threads[s->p->n_threads++] = t;
	}
}

static inline void add_signal(struct spoiled *s, int sig, size_t len)
{
	ProtobufCBinaryData b = { .len = len, .data = xcalloc(1, len + 1) };

	memcpy(b.data, &sig, sizeof sig);
	s->p->pending = xrealloc(s->p->pending, (s->p->n_pending + 1) * sizeof b);
	s->p->pending[s->p->n_pending++] = b;
}

static inline void add_limit(struct spoiled *s, uint32_t which, uint64_t soft, uint64_t hard)
{
	Godwit__Ckpt__Limit *m = xmalloc(sizeof *m);

	for (size_t i = 0; i < s->p->n_limits; i++)
		godwit__ckpt__limit__free_unpacked(s->p->limits[i], NULL);
	s->p->n_limits = 0;
	godwit__ckpt__limit__init(m);
	m->resource = which;
	m->soft = soft;
	m->hard = hard;
	s->p->limits = grow_list(s->p->limits, 0);
	s->p->limits[s->p->n_limits++] = m;
}

static inline void add_timers(struct spoiled *s)
{
	Godwit__Ckpt__Timers *t = xmalloc(sizeof *t);

	godwit__ckpt__timers__init(t);
	t->posix = xcalloc(2, sizeof(*t->posix));
	for (int i = 0; i < 2; i++) {
		t->posix[t->n_posix] = xmalloc(sizeof(**t->posix));
		godwit__ckpt__posix_timer__init(t->posix[t->n_posix++]);
	}
	if (s->p->timers)
		godwit__ckpt__timers__free_unpacked(s->p->timers, NULL);
	s->p->timers = t;
}

static inline Godwit__Ckpt__FsContext *fs_of(struct spoiled *s)
{
	if (!s->p->fs) {
		s->p->fs = xmalloc(sizeof *s->p->fs);
		godwit__ckpt__fs_context__init(s->p->fs);
		s->p->fs->cwd = xstrdup("/");
	}
	return s->p->fs;
}

static inline Godwit__Ckpt__Creds *creds_of(struct spoiled *s)
{
	return s->p->threads[0]->creds;
}

#define FILE_KIND(k) GODWIT__CKPT__OPEN_FILE__KIND__##k
#define SPOIL(name, ...)                                                                                          \
	static void name(struct spoiled *s)                                                                       \
	{                                                                                                         \
		__VA_ARGS__;                                                                                      \
	}

SPOIL(cut_short, s->cut = 9)
SPOIL(count_of_2_to_32, static const uint8_t raw[] = { 0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x08 };
      s->instead = raw; s->instead_len = sizeof raw)
SPOIL(number_without_end,
      static const uint8_t raw[] = { 0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
      s->instead = raw; s->instead_len = sizeof raw)
SPOIL(text_not_a_message, static const uint8_t raw[] = "GET / HTTP/1.0\r\n\r\n"; s->instead = raw;
      s->instead_len = sizeof raw - 1)
SPOIL(twice_a_memory, static const uint8_t raw[] = { 0x0a, 0x06, 0x08, 0x07, 0x1a, 0x00, 0x1a, 0x00 };
      s->instead = raw; s->instead_len = sizeof raw)
SPOIL(no_process, godwit__ckpt__process__free_unpacked(s->p, NULL); s->job->n_processes = 0)
SPOIL(thread_twice, add_threads(s, s->p->pid + 1, 2))
SPOIL(leader_twice, add_threads(s, s->p->pid, 1))
SPOIL(thread_zero, add_threads(s, 0, 1))
SPOIL(thread_one, add_threads(s, 1, 1))
SPOIL(thread_negative, add_threads(s, -7, 1))
SPOIL(other_process, s->p->pid++; s->p->threads[0]->tid++)
SPOIL(not_the_leader, s->p->threads[0]->tid++)
SPOIL(few_registers, put_bytes(&s->p->threads[0]->regs, 8))
SPOIL(many_vectors, put_bytes(&s->p->threads[0]->xstate, 1 << 20))
SPOIL(long_name, put_text(&s->p->threads[0]->comm, "a name of sixteen"))
SPOIL(kernel_robust, s->p->threads[0]->robust_list = 0xffff888000000000)
SPOIL(no_credentials, godwit__ckpt__creds__free_unpacked(creds_of(s), NULL); s->p->threads[0]->creds = NULL)
SPOIL(user_minus_one, creds_of(s)->euid = UINT32_MAX)
SPOIL(unpermitted, creds_of(s)->cap_permitted = 1; creds_of(s)->cap_effective = 3)
SPOIL(overlap, s->p->memory->regions[1]->start = s->p->memory->regions[0]->start)
SPOIL(kernel_half, s->p->memory->regions[s->p->memory->n_regions - 1]->end = 0xffff888000000000)
SPOIL(unaligned, s->p->memory->regions[0]->end += 1)
SPOIL(backwards, s->p->memory->regions[0]->end = s->p->memory->regions[0]->start)
SPOIL(unknown_kind, s->p->memory->regions[0]->kind = 77)
SPOIL(odd_protection, s->p->memory->regions[0]->prot = 0x100)
SPOIL(negative_offset, s->p->memory->regions[0]->offset = (uint64_t)INT64_MIN)
SPOIL(heap_backwards, s->p->memory->start_brk = 0x20000; s->p->memory->brk = 0x10000)
SPOIL(kernel_stack, s->p->memory->start_stack = 0xffffffffff600000)
SPOIL(huge_vdso, s->p->memory->vdso_len = UINT64_C(1) << 40)
SPOIL(odd_auxv, put_bytes(&s->p->memory->auxv, 15))
SPOIL(foreign_mapping, s->p->memory->regions[0]->kind = GODWIT__CKPT__REGION__KIND__FILE_PRIVATE;
      s->p->memory->regions[0]->object = 999999)
SPOIL(foreign_shared, s->p->memory->regions[0]->kind = GODWIT__CKPT__REGION__KIND__ANON_SHARED;
      s->p->memory->regions[0]->object = 999999)
SPOIL(foreign_descriptor, add_descriptor(s, 5000, 999999))
SPOIL(descriptor_twice, add_file(s, FILE_KIND(EVENTFD), "", 0); add_descriptor(s, 5000, 77777);
      add_descriptor(s, 5000, 77777))
SPOIL(file_twice, add_file(s, FILE_KIND(EVENTFD), "", 0); add_file(s, FILE_KIND(EVENTFD), "", 0))
SPOIL(file_of_no_kind, add_file(s, FILE_KIND(NONE), "", 0))
SPOIL(detour, add_file(s, FILE_KIND(REGULAR), "/tmp/../etc/shadow", S_IFREG | 0644))
SPOIL(relative, add_file(s, FILE_KIND(REGULAR), "etc/shadow", S_IFREG | 0644))
SPOIL(name_with_nul, add_file(s, FILE_KIND(REGULAR), "/tmp/harmless#txt", S_IFREG | 0644);
      s->from = "harmless#txt"; s->to = "harmless\0txt"; s->len = 12)
SPOIL(huge_name, static char name[100000]; memset(name, 'x', sizeof name - 1); name[0] = '/';
      add_file(s, FILE_KIND(REGULAR), name, S_IFREG | 0644))
SPOIL(negative_position, add_file(s, FILE_KIND(REGULAR), "/etc/passwd", S_IFREG | 0644)->pos = UINT64_MAX)
SPOIL(file_that_is_a_device, add_file(s, FILE_KIND(REGULAR), "/dev/mem", S_IFCHR | 0600))
SPOIL(stream_nine, add_file(s, FILE_KIND(STREAM), "", 0)->stream = 9)
SPOIL(pipe_that_is_not, add_file(s, FILE_KIND(PIPE), "", S_IFIFO | 0600)->pipe = 999999)
SPOIL(pipe_too_full, put_bytes(&add_pipe(s)->content, 65537))
SPOIL(packets_too_many, Godwit__Ckpt__Pipe *m = add_pipe(s); put_bytes(&m->content, 5); m->packets = 1;
      m->packet_sizes = xcalloc(2, sizeof(uint32_t)); m->packet_sizes[0] = 4; m->packet_sizes[1] = 4;
      m->n_packet_sizes = 2)
SPOIL(signal_kill, add_signal(s, SIGKILL, 128))
SPOIL(signal_short, add_signal(s, SIGUSR1, 12))
SPOIL(limit_that_is_not, add_limit(s, 4000, 1, 1))
SPOIL(limit_above, add_limit(s, 7, 1000, 10))
SPOIL(timer_twice, add_timers(s))
SPOIL(cwd_escapes, put_text(&fs_of(s)->cwd, "/tmp/../../root"))
SPOIL(cwd_relative, put_text(&fs_of(s)->cwd, "root"))
SPOIL(root_escapes, put_text(&fs_of(s)->root, "/.."))
SPOIL(of_an_image, put_bytes(&s->job->begin, 5))

static const struct hostile_case hostile_cases[] = {
#define CASE(name, when, words)                                                                                   \
	{                                                                                                         \
#name, when, name, words                                                                          \
	}
	CASE(cut_short, DESCRIBED, "reaches beyond the message"),
	CASE(count_of_2_to_32, DESCRIBED, "processes: a length that reaches beyond the message"),
	CASE(number_without_end, STOPPED, "monotonic_ns: an impossible number"),
	CASE(text_not_a_message, DESCRIBED, "description is refused"),
	CASE(twice_a_memory, STOPPED, "memory: it comes twice"),
	CASE(no_process, DESCRIBED, "a job of 0 processes"),
	CASE(thread_twice, STOPPED, "two threads with the same number"),
	CASE(leader_twice, DESCRIBED, "two threads with the same number"),
	CASE(thread_zero, STOPPED, "thread 0: a thread with an impossible number"),
	CASE(thread_one, DESCRIBED, "thread 1: a thread with an impossible number"),
	CASE(thread_negative, STOPPED, "thread -7: a thread with an impossible number"),
	CASE(other_process, STOPPED, "another process than was described"),
	CASE(not_the_leader, STOPPED, "not the process's leader"),
	CASE(few_registers, STOPPED, "impossible number of registers"),
	CASE(many_vectors, STOPPED, "too many vector registers"),
	CASE(long_name, DESCRIBED, "too long a name"),
	CASE(kernel_robust, STOPPED, "whose own memory is the kernel's"),
	CASE(no_credentials, STOPPED, "without credentials"),
	CASE(user_minus_one, STOPPED, "a user or group that nobody is"),
	CASE(unpermitted, STOPPED, "capabilities in effect that are not permitted"),
	CASE(overlap, DESCRIBED, "overlapping mappings"),
	CASE(kernel_half, STOPPED, "a mapping with impossible bounds"),
	CASE(unaligned, DESCRIBED, "a mapping with impossible bounds"),
	CASE(backwards, STOPPED, "a mapping with impossible bounds"),
	CASE(unknown_kind, DESCRIBED, "regions: kind: an unknown kind"),
	CASE(odd_protection, STOPPED, "a mapping with impossible protections"),
	CASE(negative_offset, DESCRIBED, "a mapping with a negative offset"),
	CASE(heap_backwards, STOPPED, "a heap that ends before it begins"),
	CASE(kernel_stack, STOPPED, "in the kernel's half"),
	CASE(huge_vdso, DESCRIBED, "an impossible vDSO"),
	CASE(odd_auxv, STOPPED, "an impossible auxiliary vector"),
	CASE(foreign_mapping, STOPPED, "a mapping of a file that the job does not have"),
	CASE(foreign_shared, STOPPED, "a mapping of a shared object that the job does not have"),
	CASE(foreign_descriptor, STOPPED, "descriptor 5000 of a file that the job does not have"),
	CASE(descriptor_twice, DESCRIBED, "descriptors out of order, or one twice"),
	CASE(file_twice, DESCRIBED, "two files with the same number"),
	CASE(file_of_no_kind, DESCRIBED, "a file of no kind"),
	CASE(detour, DESCRIBED, "a name that is not absolute, or takes a detour"),
	CASE(relative, STOPPED, "a name that is not absolute, or takes a detour"),
	CASE(name_with_nul, DESCRIBED, "path: a text with a NUL inside"),
	CASE(huge_name, DESCRIBED, "path: a text that is too long"),
	CASE(negative_position, STOPPED, "a negative position"),
	CASE(file_that_is_a_device, DESCRIBED, "a file whose mode is that of another kind"),
	CASE(stream_nine, DESCRIBED, "a standard stream that no job has"),
	CASE(pipe_that_is_not, STOPPED, "an end of a pipe that the job does not have"),
	CASE(pipe_too_full, STOPPED, "a pipe that holds more than it can"),
	CASE(packets_too_many, STOPPED, "packets that do not add up"),
	CASE(signal_kill, STOPPED, "a queued signal that cannot be queued"),
	CASE(signal_short, STOPPED, "a queued signal of an impossible size"),
	CASE(limit_that_is_not, STOPPED, "a resource limit that does not exist"),
	CASE(limit_above, STOPPED, "a resource limit above its own limit"),
	CASE(timer_twice, STOPPED, "two timers with the same number"),
	CASE(cwd_escapes, STOPPED, "a current directory whose name is not absolute, or takes a detour"),
	CASE(cwd_relative, DESCRIBED, "a current directory whose name is not absolute, or takes a detour"),
	CASE(root_escapes, STOPPED, "a root directory whose name is not absolute, or takes a detour"),
	CASE(of_an_image, STOPPED, "what only an image has"),
#undef CASE
};

/* A spoiled copy of a proper message, packed; malloc'ed. */
static inline uint8_t *hostile_make(const struct hostile_case *c, const Godwit__Ckpt__Job *proper, size_t *ret_len)
{
	size_t len = godwit__ckpt__job__get_packed_size(proper);
	_cleanup_free_ uint8_t *copy = xmalloc(len + 1);
	struct spoiled s = { 0 };
	uint8_t *bytes, *at;

	(void)godwit__ckpt__job__pack(proper, copy);
	s.job = godwit__ckpt__job__unpack(NULL, len, copy);
	s.p = s.job->processes[0];
	if (c)
		c->spoil(&s);
	len = s.instead ? s.instead_len : godwit__ckpt__job__get_packed_size(s.job);
	bytes = xmalloc(len + 1);
	if (s.instead)
		memcpy(bytes, s.instead, len);
	else
		(void)godwit__ckpt__job__pack(s.job, bytes);
	at = s.from ? memmem(bytes, len, s.from, s.len) : NULL;
	if (at)
		memcpy(at, s.to, s.len);
	godwit__ckpt__job__free_unpacked(s.job, NULL);
	*ret_len = len - s.cut;
	return bytes;
}

#endif
