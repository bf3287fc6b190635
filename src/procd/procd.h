/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_PROCD_H
#define GW_PROCD_PROCD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <uv.h>

#include "base/err.h"
#include "lib/client.h"
#include "procd.pb-c.h"
#include "procd/chan.h"
#include "procd/container.h"
#include "procd/journal.h"
#include "procd/names.h"
#include "procd/settings.h"
#include "shepherd.pb-c.h"

/*
 * Theory of operation
 *
 * procd is one event loop and never blocks on anything that could take long. It talks to
 *   flipd      as an RPC server (rpc.c): the port procd@HOST, and one endpoint with the port job:NAME for each job
 *   shepherds  one a job, over a socket in the job's directory (herd.c)
 *   movers     one a migration, over a socket pair (movers.c)
 * and never looks at what a program or another host sent without decoding it against a schema first.
 *
 * Everything it needs to go on after its own death lies in /run/godwit: a directory for each job (jobs.c) and the
 * journal of migrations. Jobs and shepherds neither know nor care whether procd runs.
 */

#define PROCD_JOBS_MAX 4096u
#define PROCD_EXITED_MAX 256u

struct herd;
struct migration_out;
struct migration_in;
struct restart;
struct told;

enum job_state {
	JOB_STARTING = 1, /* container made, program not yet running */
	JOB_RUNNING,
	JOB_ARRIVING, /* at the destination, until it is thawed */
	JOB_LEAVING,  /* at the source, from the record on: not ours any more, or in doubt */
	JOB_EXITED,
	JOB_ENDING, /* being taken away; nobody may ask for it */
};

struct job {
	struct procd *p;
	struct job *next;
	char name[NAME_MAX_LEN + 1];
	enum job_state state;
	Godwit__Procd__JobSpec *spec; /* unpacked, ours */
	uint64_t incarnation;
	struct container container;
	struct herd *herd;
	int pidfd;	   /* of the leader; -EBADF when there is none */
	pid_t pid;	   /* its pid in our namespace, 0 when not known */
	uint32_t endpoint; /* flipd's number, 0: none */
	bool attached;
	bool recovering;   /* found after a restart of ours; requests wait until it is known what it is */
	uint64_t found_us; /* with it */
	bool owner_pending, owner_knows_end; /* see owner.c */
	struct told *told;		     /* it is being told something, by the transaction told_id */
	int64_t told_id;
	uv_timer_t patience;								       /* with it */
	enum owner_word { OWNER_SAYS_NOTHING, OWNER_SAYS_RESUME, OWNER_SAYS_KILL } owner_word; /* not yet done */
	bool lost; /* EXITED, and its shepherd with it */
	Godwit__Procd__Exited exited;
	uint64_t exited_us;    /* our clock */
	uv_timer_t linger;     /* with EXITED; else for jobs_settle() */
	uv_poll_t gone;	       /* on the shepherd's pidfd */
	uv_poll_t leader_gone; /* on the leader's, if it is not the shepherd's child */
	bool watching;
	unsigned handles;		  /* of the event loop that are still open */
	Godwit__Procd__Report *last_move; /* that brought it here */
	uint64_t arrived_us;
	struct migration_out *out;
	struct migration_in *in;
	struct call *held[32]; /* requests that wait until it is known where the job is */
	size_t n_held;
	void (*on_end)(void *arg); /* when nothing of it is left */
	void *on_end_arg;
};

/* A request that is being served; whoever holds it answers it once, whenever it likes (rpc.c). */
struct call {
	LIST_ENTRY(call) list;
	struct procd *p;
	uint64_t id;
	uint64_t connection; /* serial of the connection to flipd it came over */
	uid_t uid;
	gid_t gid;
	char host[GW_HOST_MAX];	    /* the caller's */
	char job[NAME_MAX_LEN + 1]; /* that was asked, "" for the host */
	bool local;
	struct gw_private priv; /* the capability that came with it, if has_cap */
	bool has_cap;
	bool by_cap;	 /* it has been found good, and decides: */
	uint32_t rights; /* all, if the caller's uid does */
	int32_t command; /* it came as one (caps_command), and is answered likewise; 0: as a Request */
	Godwit__Procd__Request *request;
};

struct procd {
	uv_loop_t *loop;
	struct settings settings;
	char boot[64];
	char *programs; /* directory of movers and shepherds */
	char *jobs_dir; /* <run>/jobs */
	struct cgroups cgroups;
	struct gwc *gwc;
	uint64_t connection;
	uv_poll_t gwc_poll;
	bool gwc_polling;
	uv_timer_t reconnect;
	uv_signal_t on_term, on_int;
	struct job *jobs;
	size_t n_jobs;
	struct reservation *reservations;
	struct journal journal;
	struct migration_in *incoming;
	struct migration_out *outgoing;
	struct restart *restarts;
	LIST_HEAD(, call) calls; /* all that are not answered yet */
};

#endif
