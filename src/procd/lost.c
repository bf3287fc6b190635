/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shepherd that is killed takes its job along, and all that the job's front-end has not read yet. The name goes
 * on for as long as that of any job that has ended, so that whoever waits hears what has become of it: killed.
 */
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/util.h"
#include "procd/herd.h"
#include "procd/jobs.h"
#include "procd/rpc.h"

void lost_answer(struct job *j, struct call *c)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Data data = GODWIT__PROCD__DATA__INIT;
	Godwit__Procd__Written written = GODWIT__PROCD__WRITTEN__INIT;

	switch (c->request->op_case) {
	case GODWIT__PROCD__REQUEST__OP_WAIT:
		r.result_case = GODWIT__PROCD__REPLY__RESULT_EXITED;
		r.exited = &j->exited;
		break;
	case GODWIT__PROCD__REQUEST__OP_READ:
		data.offset = c->request->read->offset;
		data.eof = true;
		r.result_case = GODWIT__PROCD__REPLY__RESULT_DATA;
		r.data = &data;
		break;
	case GODWIT__PROCD__REQUEST__OP_WRITE:
		written.offset = c->request->write->offset;
		written.closed = true;
		r.result_case = GODWIT__PROCD__REPLY__RESULT_WRITTEN;
		r.written = &written;
		break;
	case GODWIT__PROCD__REQUEST__OP_DETACH:
		break;
	default:
		call_refuse(c, -EOWNERDEAD, "job %s is gone: its shepherd was killed", j->name);
		return;
	}
	call_reply(c, &r);
}

void lost_keep(struct job *j)
{
	struct timespec now;

	j->lost = true;
	if (j->state != JOB_EXITED) {
		godwit__procd__exited__init(&j->exited);
		j->exited.signal = SIGKILL;
		(void)clock_gettime(CLOCK_REALTIME, &now);
		j->exited.at_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
		j->exited_us = now_us();
		j->state = JOB_EXITED;
	}
	/* The endpoint may have been taken out for a move that has just failed. */
	rpc_unserve_job(j);
	rpc_serve_job(j);
	jobs_release(j);
}
