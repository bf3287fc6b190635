/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CLI_RPC_H
#define GW_CLI_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/queue.h>

#include "base/err.h"
#include "godwit.h"
#include "lib/client.h"
#include "procd.pb-c.h"

/*
 * Requests to process servers (proto/procd.proto), for commands.
 *
 * A command opens one connection to this host's flipd. cli_call waits for its answer; cli_start leaves that to a
 * callback, which runs inside cli_wait. Errors come in two layers, which stay apart: the transaction failed (no
 * reply: -ESRCH nobody serves that port, -EIO it is unknown what happened, ...), or the reply says no
 * (reply->code).
 */

typedef Godwit__Procd__Request cli_request;
typedef Godwit__Procd__Reply cli_reply;

struct cli {
	struct gwc *gwc;
	char host[GW_HOST_MAX]; /* this host */
	bool connected;
	bool has_cap; /* $GODWIT_CAP, which --cap sets: goes with requests to that job */
	struct gw_cap cap;
	LIST_HEAD(, pending) pending; /* transactions that somebody waits for */
};

/* Starts a request of one kind: CLI_REQUEST(req, WAIT, wait, &w). */
#define CLI_REQUEST(var, OP, field, message)                                                                      \
	cli_request var = GODWIT__PROCD__REQUEST__INIT;                                                           \
	var.version = GODWIT__PROCD__VERSION__VERSION;                                                            \
	var.op_case = GODWIT__PROCD__REQUEST__OP_##OP;                                                            \
	var.field = (message)

#define CLI_POLL_MS 20000u /* long polls ask to hear "again" after so long */
#define CLI_LOCATE_MS 0u   /* the library's default */

int cli_open(struct cli *c, struct err *e) must_check;
void cli_close(struct cli *c);
/* Connects anew after the connection was lost; 0, or -errno while flipd is not back. */
int cli_reopen(struct cli *c) must_check;

/* Dispatches until *done; -ETIMEDOUT if this host's flipd, which answers at once, does not. */
int cli_wait_flipd(struct gwc *gwc, const bool *done) must_check;

/* "procd@HOST" and "job:NAME"; the caller's to free. */
char *cli_port_host(const char *host);
char *cli_port_job(const char *job);

/* `r` is 0 (then `reply` is valid until return) or -errno with its story in `why`. */
typedef void cli_reply_fn(void *arg, int r, const cli_reply *reply, const char *why);

/* Starts a transaction. The callback comes exactly once, from inside cli_wait, unless cli_forget or cli_close are
 * called before. Returns an id > 0 or -errno. */
int64_t cli_start(struct cli *c, const char *port, const cli_request *req, unsigned int locate_ms,
		  cli_reply_fn *fn, void *arg);
/* For whoever is about to free what callbacks look at: none of those under way will be called. */
void cli_forget_all(struct cli *c);

/* One transaction. On 0, *ret is the reply, for cli_reply_free. */
int cli_call(struct cli *c, const char *port, const cli_request *req, cli_reply **ret, struct err *e) must_check;
/* As cli_call, and a reply that says no is an error as well: its code and text. */
int cli_ask(struct cli *c, const char *port, const cli_request *req, cli_reply **ret, struct err *e) must_check;
void cli_reply_free(cli_reply **reply);
#define _cleanup_reply_ __attribute__((cleanup(cli_reply_free)))

/* The same request to procd of each host at the same time; replies[i] is NULL and errs[i] says why where there was
 * none. */
int cli_ask_hosts(struct cli *c, char *const *hosts, size_t n, const cli_request *req, cli_reply **replies,
		  struct err *errs, struct err *e) must_check;

/* Names of all hosts of the cluster: those of the hosts file, and whoever flipd has heard. The list is
 * NULL-terminated. */
int cli_hosts(struct cli *c, char ***ret_names, size_t *ret_n, struct err *e) must_check;
void cli_hosts_free(char ***names);
#define _cleanup_hosts_ __attribute__((cleanup(cli_hosts_free)))

/* The job a command line argument means: a name, or the PID of a process of this host, whose job is looked up or,
 * with `adopt`, made. Returns its name, the caller's to free. */
int cli_job_arg(struct cli *c, const char *arg, bool adopt, bool carry, char **ret_job, struct err *e) must_check;

/* Exit status for an error of cli_call or cli_ask, after printing it. */
int cli_fail_call(const char *what, int r, const struct err *e);
/* Prints the problems that a reply carries, on standard error. */
void cli_print_problems(const cli_reply *reply);

#endif
