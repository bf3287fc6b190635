/* SPDX-License-Identifier: Apache-2.0 */
/* Raw FLIP, asynchronously. */
#include <errno.h>

#include "flip/addr.h"
#include "lib/call.h"

uint32_t gwc_raw_open(struct gwc *c, gwc_address_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_RAW_OPEN, .endpoint = call_endpoint(c) };
	struct call *call = call_new(c, CALL_ADDRESS, arg);

	call->fn.address = fn;
	return call_post(c, call, &f, NULL, 0) < 0 ? 0 : f.endpoint;
}

int gwc_raw_join(struct gwc *c, uint32_t endpoint, uint64_t private_group, gwc_address_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_RAW_JOIN, .endpoint = endpoint, .client = private_group };
	struct call *call = call_new(c, CALL_ADDRESS, arg);

	call->fn.address = fn;
	return call_post(c, call, &f, NULL, 0);
}

void gwc_raw_leave(struct gwc *c, uint32_t endpoint, uint64_t group)
{
	struct frame f = { .type = FRAME_RAW_LEAVE, .endpoint = endpoint, .client = group };

	(void)call_post_frame(c, &f, NULL, 0);
}

int64_t gwc_raw_send(struct gwc *c, uint32_t endpoint, const struct gwc_raw_to *to, const void *data, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)data, len };
	struct frame f = {
		.type = FRAME_RAW_SEND,
		.flags = (to->inval ? FRAME_F_INVAL : 0) | (to->safe ? FRAME_F_SAFE : 0) |
			 (to->group || !to->destination ? FRAME_F_GROUP : 0),
		.endpoint = endpoint,
		.id = call_id(c),
		.client = to->destination ? to->destination : FLIP_EVERYBODY,
		.uid = to->n,
		.gid = to->hops,
		.aux = to->locate_ms,
	};
	int err;

	if (len > GW_MSG_MAX)
		return -EMSGSIZE;
	f.length = (uint32_t)len;
	err = call_post_frame(c, &f, &iov, len ? 1 : 0);
	return err ? err : (int64_t)f.id;
}
