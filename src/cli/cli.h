/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CLI_CLI_H
#define GW_CLI_CLI_H

#include <argp.h>
#include <jansson.h>
#include <stdint.h>

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

/* "12.3 MiB" and "4.56 ms", for people; `text` is returned. */
#define CLI_TEXT_MAX 32
char *cli_size(uint64_t bytes, char text[CLI_TEXT_MAX]);
char *cli_time(uint64_t us, char text[CLI_TEXT_MAX]);

/* Prints one JSON value and a newline on standard output, frees it; CLI_OK, or CLI_FAILED after saying why not. */
int cli_print_json(json_t *value);

/* Below the current directory, if it is relative; the caller's to free. */
char *cli_absolute(const char *path);

/* "TERM", "SIGTERM", "15" -> 15; 0 if there is no such signal. */
int cli_signal_number(const char *name);

/* For the parsers of commands that take one job and nothing else: what is left of their keys. */
error_t cli_parse_job(int key, char *arg, const struct argp_state *state, const char **job);

int cmd_attach(int argc, char **argv);
int cmd_cap(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_checkpoint(int argc, char **argv);
int cmd_dir(int argc, char **argv);
int cmd_file(int argc, char **argv);
int cmd_flip(int argc, char **argv);
int cmd_hosts(int argc, char **argv);
int cmd_image(int argc, char **argv);
int cmd_init(int argc, char **argv);
int cmd_kill(int argc, char **argv);
int cmd_lab(int argc, char **argv);
int cmd_logs(int argc, char **argv);
int cmd_mem(int argc, char **argv);
int cmd_migrate(int argc, char **argv);
int cmd_ping(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_resolve(int argc, char **argv);
int cmd_restart(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_setowner(int argc, char **argv);
int cmd_stun(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_wait(int argc, char **argv);

#endif
