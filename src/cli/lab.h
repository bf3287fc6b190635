/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CLI_LAB_H
#define GW_CLI_LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * The lab: many hosts on one machine. Theory of operation
 *
 * A lab is one cgroup, `<cgroup2>/godwit-lab-PREFIX`, and one directory, /run/godwit-lab/PREFIX. Every process of
 * the lab is born inside the cgroup (CLONE_INTO_CGROUP) and everything else (namespaces, mounts, interfaces,
 * addresses) belongs to some process of it and ends with it. That makes `lab down` one write to cgroup.kill and
 * two recursive removals, whatever state a crash left behind: nothing has to be remembered to be found again.
 *
 *   switch       a process that owns the network namespace with the bridge PREFIX-br and a port PREFIX-hN a host;
 *                with boxes another bridge PREFIX-b2, where hosts after the last box are plugged in, and the boxes
 *                with a second port PREFIX-kN
 *   hN/init      PID 1 of host N: mounts, addresses, starts the daemons, reaps (lab_init.c)
 *   hN/flipd     the daemons, a cgroup each, as a service manager would have it, so that jobs live elsewhere
 *   hN/procd
 *   hN/exec      what `lab exec` started
 *   hN/godwit    jobs, made by procd
 *
 * hN is the root of the host's cgroup namespace. PIDs are never stored: the only process of hN/init is the init.
 * The directory holds lab.json (written last: its presence says that the lab is complete), the hosts' keys, the
 * daemons' logs and a control socket for each init.
 */

#define LAB_RUN "/run/godwit-lab"
#define LAB_PREFIX_MAX 11 /* PREFIX-h64 must fit an interface name */
#define LAB_HOSTS_MAX 64
#define LAB_WAIT_US 20000000u /* for anything that must happen at once on a sane machine */

struct lab {
	char prefix[LAB_PREFIX_MAX + 1];
	char dir[64];	     /* /run/godwit-lab/PREFIX */
	char cgroup[512];    /* absolute */
	char *bin;	     /* where godwit and the daemons are; owned */
	unsigned int net[2]; /* 10.net[0].net[1].0/24, and with boxes 10.net[0].(net[1] + 1).0/24 */
	unsigned int hosts;
	unsigned int boxes[2]; /* first and last host that is on both networks; 0: there is one network */
	bool private_root;
	bool trusted;  /* links are plain: `trusted` in godwit.conf */
	char rate[24]; /* as tc says it, empty: no limit */
	char **env;    /* NAME=VALUE for the daemons, NULL-terminated; owned */
	char **conf;   /* further lines of godwit.conf; owned */
	int lock;      /* held while the lab is being changed, else -EBADF */
};

/* --- lab_state.c --- */
/* Checks the prefix and derives every name from it. Needs no lab to exist. */
int lab_init(struct lab *lab, const char *prefix, struct err *e) must_check;
void lab_done(struct lab *lab);
/* Appends a copy of `text` to a NULL-terminated list. */
void lab_list_add(char ***list, const char *text);
/* Takes the lab's lock, waiting for whoever has it; lab_done gives it back. */
int lab_lock(struct lab *lab, struct err *e) must_check;
/* Removes the lock's file, for whoever leaves no lab behind. The lock itself is held on until lab_done. */
void lab_unlink_lock(const struct lab *lab);
/* Writes or reads lab.json. lab_load: -ENOENT if the lab is not (completely) up. */
int lab_save(const struct lab *lab, struct err *e) must_check;
int lab_load(struct lab *lab, struct err *e) must_check;
/* "h3" -> 3, 0 if there is no such host. */
unsigned int lab_host(const struct lab *lab, const char *name);
bool lab_is_box(const struct lab *lab, unsigned int host);
/* The host's address on network 1 or 2 (0: its first one's), on the heap. */
char *lab_address(const struct lab *lab, unsigned int host, unsigned int network);
/* Removes everything of the lab, also of a half-made one. Idempotent; needs the lock. */
int lab_remove(struct lab *lab, struct err *e) must_check;
/* PID of init of host `host` (0: of the switch), 0 if it does not run. */
pid_t lab_pid(const struct lab *lab, unsigned int host);
/* PID of a daemon as the caller counts, 0 if it does not run. */
pid_t lab_daemon_pid(const struct lab *lab, unsigned int host, const char *daemon);

/* --- lab_cgroup.c --- */
int cgroup_root(char *path, size_t len, struct err *e) must_check;
int cgroup_make(const char *path, struct err *e) must_check; /* one that exists is as good */
/* Kills every process below and waits until none is left. A cgroup that does not exist is empty. */
int cgroup_kill(const char *path, struct err *e) must_check;
int cgroup_remove(const char *path, struct err *e) must_check; /* with everything below; nothing there is fine */
/* As fork(), but the child is born in the cgroup and in new namespaces `flags`; `sibling`: it is our parent's
 * child. */
pid_t cgroup_fork(const char *path, unsigned long flags, bool sibling, struct err *e) must_check;
pid_t cgroup_fork_at(int cgroup, unsigned long flags, bool sibling, struct err *e) must_check;

/* --- lab_net.c --- */
/* Runs `ip -batch` (or `tc -batch`) on `script` in the network namespace of `pid` (0: ours). */
int net_batch(const char *tool, pid_t pid, const char *script, struct err *e) must_check;
int net_make_switch(const struct lab *lab, struct err *e) must_check;
int net_plug(const struct lab *lab, unsigned int first, unsigned int last, struct err *e) must_check;
int net_unplug(const struct lab *lab, unsigned int host, struct err *e) must_check;
/* `how`: up; down; deaf: nothing reaches the host; mute: nothing comes from it. */
int net_set_link(const struct lab *lab, unsigned int host, const char *how, struct err *e) must_check;
/* In the host: lo, eth0 with its address, of a box eth1 too (else address2 is ""), rate. */
int net_configure(const char *address, const char *address2, const char *rate, struct err *e) must_check;

/* --- lab_keys.c --- */
/* Makes the cluster's key and each host's pair, once a lab, in DIR/hN/etc. */
int lab_make_keys(const struct lab *lab, struct err *e) must_check;

/* --- lab_boot.c --- */
int lab_up(struct lab *lab, struct err *e) must_check;
int lab_start_host(struct lab *lab, unsigned int host, struct err *e) must_check;
int lab_stop_host(struct lab *lab, unsigned int host, struct err *e) must_check;
/* Sends one line (and variables, NULL: none) to the host's init; its answer lands in reply. */
int lab_ask_init(const struct lab *lab, unsigned int host, const char *line, char **env, char *reply, size_t len,
		 struct err *e) must_check;

/* --- lab_ready.c --- */
/* Waits until on each of hosts first..last the daemons of all running hosts answer. */
int lab_wait_ready(const struct lab *lab, unsigned int first, unsigned int last, struct err *e) must_check;

/* --- lab_exec.c --- */
/* Runs a command in a host, standard streams and terminal passed through. Returns its exit status (128 + signal if
 * it was killed), 125 to 127 if it could not be run (then `e` says why), -errno if the host could not be entered.
 */
int lab_exec(const struct lab *lab, unsigned int host, char **argv, struct err *e) must_check;
/* As lab_exec, quietly: output discarded. */
int lab_exec_quiet(const struct lab *lab, unsigned int host, char **argv, struct err *e) must_check;
/* Puts PATH and GODWIT_ETC into the environment, as everything inside a host sees them. */
void lab_environment(const char *bin);

/* --- lab_ls.c --- */
int lab_print(const struct lab *lab, bool json, struct err *e) must_check;
int lab_print_all(bool json, struct err *e) must_check;

/* --- lab_mount.c --- */
/* Makes the calling process's mount namespace that of a host: own /proc, /sys, /run, /dev/pts, /dev/shm, cgroups,
 * and the root an overlay if asked for (`scratch`: a directory to mount its tmpfs on). `bin` stays visible. */
int mount_host(bool private_root, const char *scratch, const char *bin, struct err *e) must_check;

/* --- lab_init.c --- */
/* What init of a host and the switch are: `godwit lab host-init|switch`, started by lab_boot.c only. */
int lab_host_init(int argc, char **argv);
int lab_switch(void);
/* What lab_wait_ready runs inside: `godwit lab ready HOST...`. */
int lab_ready(int argc, char **argv);

/* Descriptors that lab_boot.c hands to them. */
enum { LAB_FD_BOOT = 3, LAB_FD_CONTROL = 4, LAB_FD_DIR = 5, LAB_FD_MAX = 6 };

#endif
