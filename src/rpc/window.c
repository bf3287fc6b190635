/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/window.h"

#include <string.h>

enum rpc_begun rpc_window_test(const struct rpc_window *w, uint64_t tid)
{
	uint64_t n = tid % RPC_WINDOW;

	if (tid > w->high)
		return RPC_NOT_BEGUN;
	if (w->high - tid >= RPC_WINDOW)
		return RPC_TOO_OLD;
	return w->bits[n / 64] >> n % 64 & 1 ? RPC_BEGUN : RPC_NOT_BEGUN;
}

void rpc_window_mark(struct rpc_window *w, uint64_t tid)
{
	if (tid > w->high && tid - w->high >= RPC_WINDOW)
		memset(w->bits, 0, sizeof(w->bits));
	else
		for (uint64_t i = w->high + 1; i < tid; i++)
			w->bits[i % RPC_WINDOW / 64] &= ~(1ull << i % 64);
	w->bits[tid % RPC_WINDOW / 64] |= 1ull << tid % 64;
	if (tid > w->high)
		w->high = tid;
}
