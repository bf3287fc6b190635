/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_CHAN_H
#define GW_PROCD_CHAN_H

#include <stddef.h>
#include <uv.h>

#include "base/err.h"

/*
 * A SOCK_SEQPACKET socket in the event loop: packets with descriptors, in order. Sending never blocks; what the
 * socket does not take waits in a queue, its descriptors duplicated.
 */
struct chan;

/* Descriptors that the callback wants to keep it replaces by -EBADF; the others are closed after it. */
typedef void chan_packet_fn(void *arg, const void *bytes, size_t len, int *fds, size_t n_fds);
/* Called once when the peer is gone (reason -ECONNRESET, ...). The owner then calls chan_close. */
typedef void chan_gone_fn(void *arg, int reason);

struct chan_ops {
	chan_packet_fn *packet;
	chan_gone_fn *gone;
};

#define CHAN_PACKET_MAX (1u << 20)
#define CHAN_QUEUE_MAX (16u << 20)

/* Takes `fd` over. `ops` must outlive the channel. */
struct chan *chan_new(uv_loop_t *loop, int fd, const struct chan_ops *ops, void *arg);
/* 0, -EMSGSIZE, -ENOBUFS (queue full), -EPIPE (peer gone). `fds` stay the caller's. */
int chan_send(struct chan *c, const void *bytes, size_t len, const int *fds, size_t n_fds);
/* No callback comes any more. NULL is permitted. May be called from a callback. */
void chan_close(struct chan *c);

#endif
