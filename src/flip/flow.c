/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much may be under way to a location, over all messages to it. out.c tells what arrived, what was lost and
 * what timed out, and obeys cwnd.
 *
 * Theory of operation. Two rules, each known for long, and the stricter one holds.
 *
 * Loss: slow start, additive increase, multiplicative decrease once per window (TCP's, RFC 5681), growing only
 * while the window is what limits (RFC 7661).
 *
 * Delay: what a round trip takes longer than the shortest of late is time in a queue, and a queue makes everybody
 * wait: a null RPC behind a bulk message on a 10 Mb/s link waited for all of it, 100 ms. When the queue is longer
 * than TARGET_US, the window shrinks to what would have filled it just so far (the rule of FAST TCP, Wei, Jin, Low
 * and Hegde 2006; the target and the base of two periods are LEDBAT's, RFC 6817). Unlike LEDBAT it does not shrink
 * below DELAY_MIN for delay alone: a queue that others fill must not starve it.
 *
 * A round trip is timed from a fragment that asks for its CREDIT, so that the receiver's habit of answering every
 * so many is no part of it. The first fragment of a message is one: mostly it finds the queue empty.
 */
#include "flip/core.h"

#include "base/util.h"

/* Fragments. */
#define CWND_MIN 4u
#define CWND_MAX (2u << 20)
#define DELAY_MIN 8u
#define TARGET_US 15000u
#define BASE_PERIOD_US 10000000u
#define RTO_MIN_US 30000
#define RTO_FIRST_US 200000
/* Waiting longer serves nobody: a partner that is gone is noticed by other means. */
#define RTO_MAX_US 1000000
#define REORDER_MIN 3u
#define REORDER_MAX 16u
/* What a path that swallows long packets without a word is tried with: Ethernet, tunnels in it, what IPv6
 * promises. */
static const uint32_t narrower[] = { FLIP_FRAG, 1140, 480 };
/* For how long it is believed to do so: it may only have been down. */
#define NARROW_US 60000000u

uint32_t link_frag(const struct flip *f, uint32_t loc)
{
	uint32_t frag = f->ops->frag ? f->ops->frag(f->ctx, loc) : FLIP_FRAG;
	const struct link *l = loc < FLIP_LOCS_MAX ? f->links[loc] : NULL;

	if (l && l->frag_max && f->now_us < l->frag_max_until_us)
		frag = MIN(frag, l->frag_max);
	return MIN(MAX(frag, (uint32_t)FLIP_FRAG_MIN), (uint32_t)FLIP_FRAG_MAX);
}

bool link_narrow(struct flip *f, struct link *l, uint32_t frag)
{
	for (size_t i = 0; i < ARRAY_LEN(narrower); i++) {
		if (narrower[i] >= frag)
			continue;
		l->frag_max = narrower[i];
		l->frag_max_until_us = f->now_us + NARROW_US;
		return true;
	}
	return false;
}

static struct link *link_new(struct flip *f, uint32_t loc)
{
	struct link *l;

	l = f->links[loc] = xcalloc(1, sizeof(*l));
	l->loc = loc;
	l->cwnd = f->config.window;
	l->ssthresh = CWND_MAX;
	l->base_us[0] = l->base_us[1] = UINT64_MAX;
	TAILQ_INIT(&l->outs);
	return l;
}

struct link *link_get(struct flip *f, uint32_t loc)
{
	struct link *l = f->links[loc] ? f->links[loc] : link_new(f, loc);

	l->frag = link_frag(f, loc);
	l->cwnd = MAX(l->cwnd, CWND_MIN * l->frag);
	return l;
}

static uint64_t base_us(struct link *l, uint64_t rtt_us, uint64_t now_us)
{
	if (now_us >= l->base_until_us) {
		l->base_us[1] = l->base_us[0];
		l->base_us[0] = UINT64_MAX;
		l->base_until_us = now_us + BASE_PERIOD_US;
	}
	l->base_us[0] = MIN(l->base_us[0], rtt_us);
	return MIN(l->base_us[0], l->base_us[1]);
}

/* Shrinks the window to what keeps the queue at its target, by half at most, and once for all that was under way.
 */
static void yield_to_queue(struct link *l, uint32_t seq, uint64_t rtt_us, uint64_t wanted_us)
{
	uint32_t cwnd = (uint32_t)(l->cwnd * wanted_us / rtt_us);

	if (l->cwnd <= DELAY_MIN * l->frag || (int32_t)(seq - l->recover) <= 0)
		return;
	l->recover = l->seq;
	l->cwnd = MAX(MAX(cwnd, l->cwnd / 2), DELAY_MIN * l->frag);
	l->ssthresh = l->cwnd;
}

void link_rtt(struct link *l, uint32_t seq, uint64_t rtt_us, uint64_t now_us)
{
	uint64_t delta = rtt_us > l->srtt_us ? rtt_us - l->srtt_us : l->srtt_us - rtt_us;
	uint64_t wanted = base_us(l, rtt_us, now_us) + TARGET_US;

	if (rtt_us > wanted)
		yield_to_queue(l, seq, rtt_us, wanted);
	if (!l->srtt_us) {
		l->srtt_us = rtt_us;
		l->rttvar_us = rtt_us / 2;
		return;
	}
	l->rttvar_us += delta / 4 - l->rttvar_us / 4;
	l->srtt_us += rtt_us / 8 - l->srtt_us / 8;
}

uint64_t link_rto(const struct link *l, uint32_t tries)
{
	uint64_t rto = l->srtt_us ? MAX(l->srtt_us + 4 * l->rttvar_us, (uint64_t)RTO_MIN_US) : RTO_FIRST_US;

	return MIN(rto << MIN(tries, 6u), MAX(rto, (uint64_t)RTO_MAX_US));
}

uint32_t link_reorder(const struct link *l)
{
	return MAX(MIN(l->cwnd / l->frag / 2, REORDER_MAX), REORDER_MIN);
}

void link_progress(struct link *l, uint32_t bytes)
{
	if (2 * ((uint64_t)l->inflight + bytes) < l->cwnd)
		return;
	if (l->cwnd < l->ssthresh)
		l->cwnd += bytes;
	else
		l->cwnd += (uint32_t)((uint64_t)l->frag * bytes / l->cwnd);
	l->cwnd = MIN(l->cwnd, CWND_MAX);
}

void link_loss(struct flip *f, struct link *l, uint32_t seq)
{
	(void)f;
	/* One answer for all that was under way when the first loss was seen. */
	if ((int32_t)(seq - l->recover) <= 0)
		return;
	l->recover = l->seq;
	l->ssthresh = MAX(l->cwnd / 2, CWND_MIN * l->frag);
	l->cwnd = l->ssthresh;
}

void link_timeout(struct flip *f, struct link *l)
{
	(void)f;
	l->ssthresh = MAX(l->cwnd / 2, CWND_MIN * l->frag);
	l->cwnd = CWND_MIN * l->frag;
	l->recover = l->seq;
}
