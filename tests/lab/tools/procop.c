/* SPDX-License-Identifier: Apache-2.0 */
/*
 * procop PORT OPERATION [JOB|MIGRATION [HOST [PID]]]
 *
 * Asks one operation of proto/procd.proto, with as little in it as it takes to be judged, and prints what became
 * of it: yes (it was let in: done, or failed for another reason than who asks), no, or silence.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "godwit.h"
#include "procd.pb-c.h"

#define SOMEBODY 65534u /* nobody: the user of the jobs that are sent */

static const char *job = "", *host = "", *pid = "0";

#define OP(q, NAME, type, field, ...)                                                                             \
	do {                                                                                                      \
		static type message = __VA_ARGS__;                                                                \
		(q)->op_case = GODWIT__PROCD__REQUEST__OP_##NAME;                                                 \
		(q)->field = &message;                                                                            \
	} while (0)

static void fill_exec(Godwit__Procd__Request *q, uid_t uid)
{
	static char program[] = "/bin/true", *argv[] = { program }, root[] = "/";

	OP(q, EXEC, Godwit__Procd__Exec, exec, GODWIT__PROCD__EXEC__INIT);
	q->exec->argv = argv;
	q->exec->n_argv = 1;
	q->exec->cwd = root;
	q->exec->uid = uid;
	q->exec->gid = uid ? getegid() : 0;
}

static void fill_begin(Godwit__Procd__Request *q, uid_t uid, bool check_only)
{
	static Godwit__Procd__JobSpec spec = GODWIT__PROCD__JOB_SPEC__INIT;
	static char id[] = "0123456789abcdef0123456789abcdef", name[] = "sent";
	static uint8_t key[32];

	OP(q, BEGIN, Godwit__Procd__Begin, begin, GODWIT__PROCD__BEGIN__INIT);
	spec.name = name;
	spec.uid = spec.gid = uid;
	spec.leader = 2;
	q->begin->migration = id;
	q->begin->source = (char *)(uintptr_t)host;
	q->begin->job = &spec;
	q->begin->key = (ProtobufCBinaryData) { sizeof key, key };
	q->begin->sealed = 1;
	q->begin->incarnation = 2;
	q->begin->check_only = check_only;
}

static bool fill_host(Godwit__Procd__Request *q, const char *op)
{
	char *name = (char *)(uintptr_t)job;

	if (!strcmp(op, "EXEC")) {
		fill_exec(q, geteuid());
	} else if (!strcmp(op, "EXEC-AS-OTHER")) {
		fill_exec(q, SOMEBODY - 1);
	} else if (!strcmp(op, "RESTART")) {
		OP(q, RESTART, Godwit__Procd__Restart, restart, GODWIT__PROCD__RESTART__INIT);
	} else if (!strcmp(op, "LIST")) {
		OP(q, LIST, Godwit__Procd__List, list, GODWIT__PROCD__LIST__INIT);
	} else if (!strcmp(op, "LOAD")) {
		OP(q, LOAD, Godwit__Procd__Load, load, GODWIT__PROCD__LOAD__INIT);
	} else if (!strcmp(op, "ADOPT")) {
		OP(q, ADOPT, Godwit__Procd__Adopt, adopt, GODWIT__PROCD__ADOPT__INIT);
		q->adopt->pid = atoi(pid);
	} else if (!strcmp(op, "OUTCOME")) {
		OP(q, OUTCOME, Godwit__Procd__Outcome, outcome, GODWIT__PROCD__OUTCOME__INIT);
		q->outcome->job = name;
	} else if (!strcmp(op, "PROGRESS-AT-HOST")) {
		OP(q, PROGRESS, Godwit__Procd__ProgressPoll, progress, GODWIT__PROCD__PROGRESS_POLL__INIT);
		q->progress->job = name;
		q->progress->timeout_ms = 1;
	} else if (!strcmp(op, "CANCEL-AT-HOST")) {
		OP(q, CANCEL, Godwit__Procd__Cancel, cancel, GODWIT__PROCD__CANCEL__INIT);
		q->cancel->job = name;
	} else {
		return false;
	}
	return true;
}

static bool fill_job(Godwit__Procd__Request *q, const char *op)
{
	if (!strcmp(op, "INFO")) {
		OP(q, INFO, Godwit__Procd__Info, info, GODWIT__PROCD__INFO__INIT);
	} else if (!strcmp(op, "SIGNAL")) {
		OP(q, SIGNAL, Godwit__Procd__Signal, signal, GODWIT__PROCD__SIGNAL__INIT);
	} else if (!strcmp(op, "WAIT")) {
		OP(q, WAIT, Godwit__Procd__Wait, wait, GODWIT__PROCD__WAIT__INIT);
		q->wait->timeout_ms = 1;
	} else if (!strcmp(op, "ATTACH")) {
		OP(q, ATTACH, Godwit__Procd__Attach, attach, GODWIT__PROCD__ATTACH__INIT);
	} else if (!strcmp(op, "DETACH")) {
		OP(q, DETACH, Godwit__Procd__Detach, detach, GODWIT__PROCD__DETACH__INIT);
	} else if (!strcmp(op, "READ")) {
		OP(q, READ, Godwit__Procd__Read, read, GODWIT__PROCD__READ__INIT);
		q->read->stream = 1;
	} else if (!strcmp(op, "WRITE")) {
		OP(q, WRITE, Godwit__Procd__Write, write, GODWIT__PROCD__WRITE__INIT);
	} else if (!strcmp(op, "WINDOW")) {
		OP(q, WINDOW, Godwit__Procd__WindowSize, window, GODWIT__PROCD__WINDOW_SIZE__INIT);
	} else if (!strcmp(op, "LOGS")) {
		OP(q, LOGS, Godwit__Procd__Logs, logs, GODWIT__PROCD__LOGS__INIT);
	} else if (!strcmp(op, "CHECK")) {
		OP(q, CHECK, Godwit__Procd__Check, check, GODWIT__PROCD__CHECK__INIT);
	} else if (!strcmp(op, "MIGRATE")) {
		OP(q, MIGRATE, Godwit__Procd__Migrate, migrate, GODWIT__PROCD__MIGRATE__INIT);
		q->migrate->destination = (char *)(uintptr_t)host;
	} else if (!strcmp(op, "PROGRESS")) {
		OP(q, PROGRESS, Godwit__Procd__ProgressPoll, progress, GODWIT__PROCD__PROGRESS_POLL__INIT);
		q->progress->timeout_ms = 1;
	} else if (!strcmp(op, "CANCEL")) {
		OP(q, CANCEL, Godwit__Procd__Cancel, cancel, GODWIT__PROCD__CANCEL__INIT);
	} else if (!strcmp(op, "CHECKPOINT")) {
		OP(q, CHECKPOINT, Godwit__Procd__Checkpoint, checkpoint, GODWIT__PROCD__CHECKPOINT__INIT);
	} else if (!strcmp(op, "STUN")) {
		OP(q, STUN, Godwit__Procd__Stun, stun, GODWIT__PROCD__STUN__INIT);
		q->stun->timeout_ms = 50;
	} else if (!strcmp(op, "MEM-READ")) {
		OP(q, MEM_READ, Godwit__Procd__MemRead, mem_read, GODWIT__PROCD__MEM_READ__INIT);
	} else if (!strcmp(op, "MEM-WRITE")) {
		OP(q, MEM_WRITE, Godwit__Procd__MemWrite, mem_write, GODWIT__PROCD__MEM_WRITE__INIT);
	} else if (!strcmp(op, "SEGMENTS")) {
		OP(q, GET_SEGMENTS, Godwit__Procd__GetSegments, get_segments, GODWIT__PROCD__GET_SEGMENTS__INIT);
	} else if (!strcmp(op, "THREADS")) {
		OP(q, GET_THREADS, Godwit__Procd__GetThreads, get_threads, GODWIT__PROCD__GET_THREADS__INIT);
	} else if (!strcmp(op, "CAPABILITY")) {
		OP(q, RESTRICT_TO, Godwit__Procd__Restrict, restrict_to, GODWIT__PROCD__RESTRICT__INIT);
	} else if (!strcmp(op, "REVOKE")) {
		OP(q, REVOKE, Godwit__Procd__Revoke, revoke, GODWIT__PROCD__REVOKE__INIT);
	} else if (!strcmp(op, "DESTROY")) {
		OP(q, DESTROY, Godwit__Procd__Destroy, destroy, GODWIT__PROCD__DESTROY__INIT);
	} else if (!strcmp(op, "TOUCH")) {
		OP(q, TOUCH, Godwit__Procd__Touch, touch, GODWIT__PROCD__TOUCH__INIT);
	} else if (!strcmp(op, "DESCRIBE")) {
		OP(q, DESCRIBE, Godwit__Procd__Describe, describe, GODWIT__PROCD__DESCRIBE__INIT);
	} else if (!strcmp(op, "SEG-READ")) {
		OP(q, SEG_READ, Godwit__Procd__SegRead, seg_read, GODWIT__PROCD__SEG_READ__INIT);
	} else if (!strcmp(op, "SEG-WRITE")) {
		OP(q, SEG_WRITE, Godwit__Procd__SegWrite, seg_write, GODWIT__PROCD__SEG_WRITE__INIT);
	} else if (!strcmp(op, "SEG-SIZE")) {
		OP(q, SEG_SIZE, Godwit__Procd__SegSize, seg_size, GODWIT__PROCD__SEG_SIZE__INIT);
	} else if (!strcmp(op, "RESUME")) {
		OP(q, RESUME, Godwit__Procd__ResumeJob, resume, GODWIT__PROCD__RESUME_JOB__INIT);
	} else if (!strcmp(op, "SET-OWNER")) {
		OP(q, SET_OWNER, Godwit__Procd__SetOwner, set_owner, GODWIT__PROCD__SET_OWNER__INIT);
	} else if (!strcmp(op, "REMOVE")) {
		OP(q, REMOVE, Godwit__Procd__Remove, remove, GODWIT__PROCD__REMOVE__INIT);
	} else {
		return false;
	}
	return true;
}

static bool fill_server(Godwit__Procd__Request *q, const char *op)
{
	char *id = (char *)(uintptr_t)job;

	if (!strcmp(op, "HELLO")) {
		OP(q, HELLO, Godwit__Procd__Hello, hello, GODWIT__PROCD__HELLO__INIT);
	} else if (!strcmp(op, "RESERVE")) {
		OP(q, RESERVE, Godwit__Procd__Reserve, reserve, GODWIT__PROCD__RESERVE__INIT);
		q->reserve->name = id;
	} else if (!strcmp(op, "BEGIN")) {
		fill_begin(q, SOMEBODY, false);
	} else if (!strcmp(op, "BEGIN-CHECK")) {
		fill_begin(q, SOMEBODY, true);
	} else if (!strcmp(op, "BEGIN-ROOT")) {
		fill_begin(q, 0, true);
	} else if (!strcmp(op, "SPOOL")) {
		OP(q, SPOOL, Godwit__Procd__Spool, spool, GODWIT__PROCD__SPOOL__INIT);
		q->spool->migration = id;
	} else if (!strcmp(op, "COMMIT")) {
		OP(q, COMMIT, Godwit__Procd__Commit, commit, GODWIT__PROCD__COMMIT__INIT);
		q->commit->migration = id;
	} else if (!strcmp(op, "ABORT")) {
		OP(q, ABORT, Godwit__Procd__Abort, abort, GODWIT__PROCD__ABORT__INIT);
		q->abort->migration = id;
	} else if (!strcmp(op, "FORGET")) {
		OP(q, FORGET, Godwit__Procd__Forget, forget, GODWIT__PROCD__FORGET__INIT);
		q->forget->migration = id;
	} else if (!strcmp(op, "QUERY")) {
		OP(q, QUERY, Godwit__Procd__Query, query, GODWIT__PROCD__QUERY__INIT);
		q->query->migration = id;
	} else {
		return false;
	}
	return true;
}

static const char *judge(const Godwit__Procd__Reply *r)
{
	for (size_t i = 0; i < r->n_problems; i++)
		if (!strcmp(r->problems[i]->object, "policy"))
			return "no";
	return r->code == -EPERM ? "no" : "yes";
}

static int ask(const char *port, Godwit__Procd__Request *q)
{
	static uint8_t out[65536], in[GW_MSG_MAX];
	struct gw_hdr req = { .port = gw_port_from_name(port) }, rep;
	Godwit__Procd__Reply *r;
	struct gw *gw;
	ssize_t n;

	if (gw_connect(NULL, &gw) < 0)
		return 1;
	q->version = GODWIT__PROCD__VERSION__VERSION;
	n = gw_trans(gw, &req, out, godwit__procd__request__pack(q, out), &rep, in, sizeof in);
	gw_close(gw);
	if (n == GW_NOTFOUND) {
		puts("silence");
		return 0;
	}
	r = n < 0 ? NULL : godwit__procd__reply__unpack(NULL, (size_t)n, in);
	if (!r) {
		printf("failed: %s\n", gw_strerror((int)n));
		return 1;
	}
	puts(judge(r));
	fprintf(stderr, "%d %s\n", r->code, r->n_problems ? r->problems[0]->reason : r->text);
	return 0;
}

/* procop serve NAME: whether flipd lets it serve that port. */
static int serve(const char *name)
{
	struct gw_hdr hdr = { .port = gw_port_from_name(name) };
	struct gw *gw;
	char byte;

	if (gw_connect(NULL, &gw) < 0)
		return 1;
	puts(gw_getreq(gw, &hdr, &byte, 1) == GW_BADPORT ? "no" : "yes");
	return 0;
}

int main(int argc, char **argv)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;

	if (argc < 3)
		return 2;
	if (!strcmp(argv[1], "serve"))
		return serve(argv[2]);
	job = argc > 3 ? argv[3] : job;
	host = argc > 4 ? argv[4] : host;
	pid = argc > 5 ? argv[5] : pid;
	if (!fill_host(&q, argv[2]) && !fill_job(&q, argv[2]) && !fill_server(&q, argv[2])) {
		fprintf(stderr, "there is no operation %s\n", argv[2]);
		return 2;
	}
	return ask(argv[1], &q);
}
