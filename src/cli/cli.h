/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CLI_CLI_H
#define GW_CLI_CLI_H

#include "base/err.h"

/*
 * What the sub-commands of `godwit` share.
 *
 * A sub-command is one function in one file, named in the table of godwit.c. It is called with argv[0] =
 * "godwit NAME" (so that argp's messages name it) and returns the exit status of the program.
 */

/* Exit statuses. `godwit run` and `godwit wait` otherwise give the job's own, and 125 to 127 as a shell would. */
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1, /* it did not work, and the job is where it was */
	CLI_USAGE = 2,
	CLI_REFUSED = 3, /* the check stage said no */
	CLI_IN_DOUBT = 4,
	CLI_RUN_FAILED = 125, /* godwit itself failed before the command ran */
	CLI_CANNOT_EXEC = 126,
	CLI_NOT_FOUND = 127,
};

/* Prints "godwit: TEXT" on standard error, with colour if that is a terminal, and returns `status`. */
int cli_fail(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

int cmd_init(int argc, char **argv);
int cmd_lab(int argc, char **argv);

#endif
