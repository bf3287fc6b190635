/* SPDX-License-Identifier: Apache-2.0 */
#include "state/thread.h"

const struct state_module state_call = {
	.name = "call",
	.phase = STATE_THREADS,
};

int call_before_stop(struct state_source *s, struct remote *r, struct err *e)
{
	(void)s;
	(void)r;
	(void)e;
	return 0;
}

int call_resume_source(struct state_source *s, struct err *e)
{
	(void)s;
	(void)e;
	return 0;
}

int call_resume_target(struct state_target *d, struct err *e)
{
	(void)d;
	(void)e;
	return 0;
}
