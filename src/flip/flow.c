/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much may be under way to a location. Additive increase, multiplicative decrease over bytes, with slow start,
 * per location and over all messages to it. This file is the place for better congestion control: out.c tells it
 * what arrived, what was lost and what timed out, and obeys cwnd.
 */
#include "flip/core.h"

#include "base/util.h"

#define CWND_MIN (4 * FLIP_FRAG)
#define CWND_MAX (2u << 20)
#define RTO_MIN_US 30000
#define RTO_FIRST_US 200000

struct link *link_get(struct flip *f, uint32_t loc)
{
	struct link *l = f->links[loc];

	if (l)
		return l;
	l = f->links[loc] = xcalloc(1, sizeof(*l));
	l->loc = loc;
	l->cwnd = f->config.window;
	l->ssthresh = CWND_MAX;
	TAILQ_INIT(&l->outs);
	return l;
}

void link_rtt(struct link *l, uint64_t rtt_us)
{
	uint64_t delta = rtt_us > l->srtt_us ? rtt_us - l->srtt_us : l->srtt_us - rtt_us;

	if (!l->srtt_us) {
		l->srtt_us = rtt_us;
		l->rttvar_us = rtt_us / 2;
		return;
	}
	l->rttvar_us += delta / 4 - l->rttvar_us / 4;
	l->srtt_us += rtt_us / 8 - l->srtt_us / 8;
}

uint64_t link_rto(const struct link *l)
{
	return l->srtt_us ? MAX(l->srtt_us + 4 * l->rttvar_us, (uint64_t)RTO_MIN_US) : RTO_FIRST_US;
}

void link_progress(struct link *l, uint32_t bytes)
{
	if (l->cwnd < l->ssthresh)
		l->cwnd += bytes;
	else
		l->cwnd += (uint32_t)((uint64_t)FLIP_FRAG * bytes / l->cwnd);
	l->cwnd = MIN(l->cwnd, CWND_MAX);
}

void link_loss(struct flip *f, struct link *l, uint32_t seq)
{
	(void)f;
	/* One answer for all that was under way when the first loss was seen. */
	if ((int32_t)(seq - l->recover) <= 0)
		return;
	l->recover = l->seq;
	l->ssthresh = MAX(l->cwnd / 2, (uint32_t)CWND_MIN);
	l->cwnd = l->ssthresh;
}

void link_timeout(struct flip *f, struct link *l)
{
	(void)f;
	l->ssthresh = MAX(l->cwnd / 2, (uint32_t)CWND_MIN);
	l->cwnd = CWND_MIN;
	l->recover = l->seq;
}
