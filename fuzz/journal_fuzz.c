/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of a procd that died at any moment, or whose file somebody damaged. What was read must survive
 * compaction. */
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

static void write_journal(const uint8_t *data, size_t size)
{
	int fd = open(JOURNAL, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	(void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct journal j, again;
	struct err e = { 0 };

	write_journal(data, MIN(size, (size_t)1 << 20));
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
