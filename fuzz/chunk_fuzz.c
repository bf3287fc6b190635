/* SPDX-License-Identifier: Apache-2.0 */
/* Page data from the source: it must not be able to touch anything but the places that are meant for it. */
#include <sys/socket.h>

#include "fuzz.h"
#include "memory/chunk.h"
#include "memory/stream_private.h"
#include "memory/vma.h"

#define PLACE ((uint8_t *)0x200000000000)
#define PLACE_PAGES 16u
#define INPUT_MAX 150000u

static struct remote self;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	/* Pages 4 to 7 and 10 are no place: written, they show. */
	if (mmap(PLACE, PLACE_PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != PLACE)
		abort();
	self.pid = getpid();
	return 0;
}

static struct mm_target *make_target(void)
{
	struct mm_target *t = NULL;
	struct err e = { 0 };
	uint64_t at = (uint64_t)PLACE;

	if (memory_target_new(&self, &t, &e) || mm_target_add_shared(t, 7, 8 * PAGE_BYTES, "fuzz", &e))
		abort();
	extents_add(&t->places, at, at + 4 * PAGE_BYTES);
	extents_add(&t->places, at + 8 * PAGE_BYTES, at + 10 * PAGE_BYTES);
	extents_add(&t->places, at + 11 * PAGE_BYTES, at + 16 * PAGE_BYTES);
	return t;
}

static void check_untouched(void)
{
	static const uint8_t zero[PAGE_BYTES];

	for (unsigned i = 4; i <= 10; i++)
		if ((i < 8 || i == 10) && memcmp(PLACE + i * PAGE_BYTES, zero, sizeof zero))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stream *s = xcalloc(1, sizeof *s);
	struct mm_target *t = make_target();
	struct memory_stats stats = { 0 };
	struct err e = { 0 };
	int fds[2], buffer = 1 << 20;

	size = MIN(size, INPUT_MAX);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	(void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
	if (size && send(fds[1], data, size, MSG_DONTWAIT) != (ssize_t)size)
		abort();
	(void)close(fds[1]);
	s->fd = fds[0];
	s->watch = -1;
	s->deadline_us = STREAM_NEVER;
	s->out = xmalloc(STREAM_HEAD_LEN + STREAM_ROOM_MAX + 16);
	s->in = xmalloc(STREAM_HEAD_LEN + STREAM_ROOM_MAX + 16);
	(void)!chunk_receive_all(t, s, &stats, &e);
	check_untouched();
	stream_free(s);
	memory_target_free(t);
	return 0;
}
