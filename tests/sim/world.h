/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_TESTS_SIM_WORLD_H
#define GW_TESTS_SIM_WORLD_H

/*
 * Many hosts in one process on a virtual clock. A host is an RPC core; the network between them loses, duplicates,
 * delays and reorders packets by a seeded generator, and can be cut. The same seed gives the same run: everything
 * random, libsodium's numbers included, comes from it.
 */

#include <stdbool.h>
#include <stdint.h>

#include "rpc/rpc.h"

#define WORLD_HOSTS_MAX 512u

struct world_net {
	double loss, duplicate;
	uint64_t delay_us, jitter_us; /* jitter beyond the spacing of packets reorders them */
};

struct world_app {
	/* As in rpc_ops; `host` is the host's number, from 1. */
	void (*request)(void *ctx, uint32_t host, void *owner, uint32_t number, const struct rpc_request *r);
	void (*reply)(void *ctx, uint32_t host, void *owner, uint32_t number, uint64_t cookie, int status,
		      const struct rpc_body *body);
	void (*lost)(void *ctx, uint32_t host, void *owner, uint32_t number, uint32_t inc);
	void (*cancelled)(void *ctx, uint32_t host, void *owner, uint64_t id);
	/* Called when the clock reaches what world_wake asked for. */
	void (*wake)(void *ctx, uint64_t cookie);
};

struct world;

struct world *world_new(uint64_t seed, uint32_t hosts, const struct world_net *net, const struct world_app *app,
			void *ctx);
void world_free(struct world *w);
uint64_t world_now(const struct world *w);
struct rpc *world_rpc(struct world *w, uint32_t host);
/* Evenly distributed below n. */
uint64_t world_random(struct world *w, uint64_t n);
bool world_chance(struct world *w, double p);
void world_net(struct world *w, const struct world_net *net);
/* Packets between two hosts get lost, or do not any more. */
void world_cut(struct world *w, uint32_t a, uint32_t b, bool cut);
/* The host is gone with all its state; then it is back without any. Others notice after a while. */
void world_crash(struct world *w, uint32_t host);
void world_boot(struct world *w, uint32_t host);
bool world_up(const struct world *w, uint32_t host);
void world_wake(struct world *w, uint64_t after_us, uint64_t cookie);
/* Runs until `done` says so (true), or for so long (false). */
bool world_run(struct world *w, uint64_t for_us, bool (*done)(void *ctx));
uint64_t world_packets(const struct world *w);

/* The seed to use: $GODWIT_SEED, the first argument, or a random one; it is printed. */
uint64_t world_seed(int argc, char **argv);

#endif
