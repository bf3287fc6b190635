/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_JOURNAL_H
#define GW_PROCD_JOURNAL_H

#include "base/err.h"
#include "journal.pb-c.h"

/*
 * The journal of migrations: append-only records, each behind its length and checksum. It lies on a tmpfs, so a
 * record is durable (against procd's death) as soon as write() returns; a torn last record (procd died in the
 * middle) is cut off when it is opened. Opening also compacts, and so does growth beyond a megabyte: of each
 * migration only the last record is kept, and none once it is FORGOTTEN, DELETED or REVOKED.
 */
#define JOURNAL_RECORD_MAX (24u << 20)

struct journal {
	int fd;
	char *path;
	/* What was found at opening: the last record of each migration that is still of interest; its kind is kept
	 * up to date. */
	Godwit__Journal__Record **records;
	size_t n_records;
};

int journal_open(struct journal *j, const char *path, struct err *e) must_check;
int journal_append(struct journal *j, const Godwit__Journal__Record *r, struct err *e) must_check;
/* The kind alone, for records that need no more. */
int journal_note(struct journal *j, Godwit__Journal__Record__Kind kind, const char *migration, const char *job,
		 struct err *e) must_check;
void journal_forget_found(struct journal *j);
void journal_close(struct journal *j);

#endif
