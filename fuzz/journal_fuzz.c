/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of a procd that died at any moment, or whose file somebody damaged. What was read must survive
 * compaction. The first byte even: the file as it is; odd: records, whose lengths and checksums are set right,
 * since nobody guesses those.
 */
#include <stdbool.h>

#include "cage.h"
#include "fuzz.h"
#include "procd/journal.h"

#define JOURNAL "/tmp/journal"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	cage_close();
	return 0;
}

static void put(int fd, const void *data, size_t size)
{
	if (size && write(fd, data, size) != (ssize_t)size)
		abort();
}

static void put_record(int fd, const uint8_t *data, size_t size)
{
	uint8_t hash[crypto_generichash_BYTES_MIN];
	uint64_t head[2] = { size };

	(void)crypto_generichash(hash, sizeof hash, data, size, NULL, 0);
	memcpy(&head[1], hash, sizeof head[1]);
	put(fd, head, sizeof head);
	put(fd, data, size);
}

static void write_journal(struct fuzz_in in)
{
	int fd = open(JOURNAL, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool raw;

	if (fd < 0)
		abort();
	raw = !(fuzz_get(&in, 1) & 1);
	while (!raw && in.left) {
		size_t len;
		const uint8_t *bytes = fuzz_bytes(&in, 65535, &len);

		put_record(fd, bytes, len);
		raw = len == 0; /* the rest as it is */
	}
	put(fd, in.p, in.left);
	(void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct journal j, again;
	struct err e = { 0 };

	write_journal((struct fuzz_in) { data, MIN(size, (size_t)1 << 20) });
	if (journal_open(&j, JOURNAL, &e) < 0)
		abort(); /* damage is cut off, never an obstacle */
	if (journal_note(&j, GODWIT__JOURNAL__RECORD__KIND__THAWED, "0123", "job", &e) < 0)
		abort();
	if (journal_open(&again, JOURNAL, &e) < 0 || again.n_records < j.n_records || !again.n_records)
		abort();
	journal_close(&again);
	journal_close(&j);
	return 0;
}
