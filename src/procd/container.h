/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_CONTAINER_H
#define GW_PROCD_CONTAINER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "procd/names.h"

/* Where the cgroups of jobs are: <mount of cgroup2>/<settings.cgroup>. */
struct cgroups {
	char path[256];
	int dir;
};

int cgroups_open(struct cgroups *c, const char *name, struct err *e) must_check;

/*
 * A job's container: PID, mount, IPC namespaces with a shepherd as PID 1 (the time namespace comes with the job's
 * first process), a cgroup with one child for the shepherd and one for the job, and a directory for its socket.
 */
struct container {
	char cgroup[NAME_MAX_LEN + 1]; /* the job's own, below struct cgroups; the job's name */
	char dir[128];		       /* <run>/jobs/NAME */
	pid_t shepherd;		       /* 0: none */
	int pidfd;		       /* of the shepherd: readable when it is gone */
	int sock;		       /* connected to the shepherd; whoever uses it takes it (steal_fd) */
};

void container_init(struct container *c);
/* Makes it and starts its shepherd, which may be spoken to at once. On failure nothing is left. */
int container_create(struct container *c, const struct cgroups *cg, const char *jobs_dir, const char *name,
		     const char *programs, struct err *e) must_check;
/* Finds one that an earlier procd made. -ESRCH if its shepherd is gone; then container_remove is in order. Another
 * error when it does not answer: container_kill is. */
int container_reopen(struct container *c, const struct cgroups *cg, const char *jobs_dir, const char *name,
		     struct err *e) must_check;
/* SIGKILL to everything in it, frozen or not; `job_only` spares the shepherd. */
void container_kill(const struct container *c, const struct cgroups *cg, bool job_only);
int container_freeze(const struct container *c, const struct cgroups *cg, bool frozen);
/* Processes in the job's own cgroup, without the shepherd; -errno. */
int container_count(const struct container *c, const struct cgroups *cg);
/* Moves a process of this host into the job's cgroup. */
int container_take_in(const struct container *c, const struct cgroups *cg, pid_t pid);
/* A process of the job's cgroup, 0 if there is none. */
pid_t container_any(const struct container *c, const struct cgroups *cg);
/* The full path of the job's own cgroup. */
void container_job_cgroup(const struct container *c, const struct cgroups *cg, char *ret, size_t size);
/* Once the shepherd is gone: what is left in file systems, and the descriptors. */
void container_remove(struct container *c, const struct cgroups *cg);

#endif
