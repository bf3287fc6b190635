/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GODWIT_H
#define GODWIT_H

/*
 * libgodwit: remote procedure calls between processes, wherever they are and while they move.
 *
 * A server listens on a port; a client sends a request to the port, not to a host, and gets one reply. The calls
 * are those of Amoeba: gw_trans() at the client, gw_getreq() and gw_putrep() at the server. A request is executed
 * at most once. A migration of either side is seen as delay and never as an error.
 *
 * All calls talk to the flipd of this host through its local socket ($GODWIT_FLIP_SOCK, /run/godwit/flip.sock).
 * One connection is one process to the network: it has a FLIP address of its own. A connection is used by one
 * thread at a time; a program with several threads that call at the same time opens one connection for each.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The longest request or reply, its header not counted. */
#define GW_MSG_MAX (16u << 20)
/* A host's name, its NUL included. */
#define GW_HOST_MAX 65
#define GW_PORT_LEN 16
#define GW_CHECK_LEN 16

/* What a call returns when it fails: small negative numbers, never an errno. */
enum gw_status {
	GW_OK = 0,
	GW_FAILURE = -1,    /* it is unknown whether the request was executed: the server or its host was lost */
	GW_NOTFOUND = -2,   /* no server was found; the request was certainly not executed */
	GW_BADADDRESS = -3, /* a buffer or length is impossible */
	GW_ABORTED = -4,    /* a signal broke the call off before a server had the request */
	GW_TRYAGAIN = -5,   /* out of some resource; the request was certainly not executed */
	GW_BADPORT = -8,    /* the port is null, or may not be served by this user */
	GW_UNSAFE = -9,	    /* raw FLIP: the receiver's host is not trusted, and the message asks for that */
	/* Replies of servers, in gw_hdr.command. */
	GW_STD_CAPBAD = -1000,
	GW_STD_COMBAD = -1001,
	GW_STD_ARGBAD = -1002,
	GW_STD_NOTNOW = -1003,
	GW_STD_NOSPACE = -1004,
	GW_STD_DENIED = -1005,
	GW_STD_NOMEM = -1006,
	GW_STD_EXISTS = -1007,
	GW_STD_NOTFOUND = -1008,
	GW_STD_SYSERR = -1009,
	GW_STD_INTR = -1010,
};

/* The words for any of the above. */
const char *gw_strerror(int status);

/* A service, whoever serves it. Servers hold the get-port, clients the put-port: put = F(get), F one-way. */
struct gw_port {
	uint8_t bytes[GW_PORT_LEN];
};

/* A fresh secret get-port. */
void gw_port_random(struct gw_port *ret_get);
/* F. Well-known ports (below) are their own image. */
void gw_port_publish(const struct gw_port *get, struct gw_port *ret_put);
/*
 * The port of a well-known service, "procd@h1" or "job:web". Such a port is get-port and put-port in one and
 * anyone can compute it, so only root may serve it, as with TCP ports below 1024; flipd sees to that.
 */
struct gw_port gw_port_from_name(const char *name);
int gw_port_is_well_known(const struct gw_port *port);
int gw_port_is_null(const struct gw_port *port);

/* A capability: an object of a service, and what its holder may do to it. The check field cannot be guessed. */
#define GW_RIGHTS_ALL 0xffffffffu

struct gw_private {
	uint64_t object;
	uint32_t rights;
	uint8_t check[GW_CHECK_LEN];
};

struct gw_cap {
	struct gw_port port; /* put-port */
	struct gw_private priv;
};

/* For servers: a fresh secret for a new object, its private part with some rights, and the test of one that came
 * in (GW_OK and the rights, or GW_STD_CAPBAD). */
void gw_secret_random(uint8_t ret_secret[GW_CHECK_LEN]);
void gw_private_make(struct gw_private *ret, uint64_t object, uint32_t rights, const uint8_t secret[GW_CHECK_LEN]);
int gw_private_check(const struct gw_private *priv, const uint8_t secret[GW_CHECK_LEN], uint32_t *ret_rights);
/* For anyone who holds all rights: the same object with only the rights in `mask`. GW_STD_DENIED if `cap` has been
 * restricted before; then its server must do it. */
int gw_cap_restrict(const struct gw_cap *cap, uint32_t mask, struct gw_cap *ret_cap);

/*
 * A capability as text, of a length that never changes, and back; whoever reads the text has the capability.
 * gw_cap_parse ignores white space around it; GW_OK, or GW_STD_ARGBAD if it is something else.
 */
#define GW_CAP_TEXT_MAX 112 /* its NUL included */
void gw_cap_print(const struct gw_cap *cap, char ret_text[GW_CAP_TEXT_MAX]);
int gw_cap_parse(const char *text, struct gw_cap *ret_cap);

/* Rights on a job (object 0 of its port, job:NAME) and on its segments (only the first two). */
#define GW_PSR_READ 0x001u	 /* read its memory, see its segments and threads, while it is stunned */
#define GW_PSR_WRITE 0x002u	 /* write its memory */
#define GW_PSR_CHECKPOINT 0x004u /* write it into an image, with the caller's own rights to files */
#define GW_PSR_DELETE 0x008u  /* remove it: what is left when it has exited; std_destroy, which kills it first */
#define GW_PSR_KILL 0x020u    /* send it signals */
#define GW_PSR_STUN 0x040u    /* stun and resume */
#define GW_PSR_MIGRATE 0x080u /* check, move, watch and cancel a move */
#define GW_PSR_OWNER 0x100u   /* say who owns it; an owner gets a capability with all rights */
#define GW_PSR_OUTPUT 0x200u  /* read its output, wait for its end */
#define GW_PSR_ATTACH 0x400u  /* attach, and write its input */
/* "read,stun", "all" or "0x41" as a mask; GW_OK or GW_STD_ARGBAD. And back, for people. */
#define GW_RIGHTS_TEXT_MAX 128
int gw_rights_parse(const char *text, uint32_t *ret_rights);
void gw_rights_print(uint32_t rights, char ret_text[GW_RIGHTS_TEXT_MAX]);

/* Commands that every server of objects understands, as in Amoeba, or GW_STD_COMBAD; but for GW_STD_COPY no data
 * in the request. */
#define GW_STD_AGE 1001	 /* all objects have one life less */
#define GW_STD_COPY 1002 /* the data: a capability; the reply's port and priv are that of the copy */
#define GW_STD_DESTROY 1003
#define GW_STD_INFO 1004     /* a line of text about the object */
#define GW_STD_RESTRICT 1005 /* offset: mask; the reply's port and priv are the restricted capability */
#define GW_STD_STATUS 1006   /* a few lines of text about the server */
#define GW_STD_TOUCH 1007    /* GW_OK if there is such an object; it has all its lives again */
/* And those of a segment: read `size` bytes at `offset`, the segment's size (in `size`), write the data at
 * `offset`. */
#define GW_SEG_READ 2006
#define GW_SEG_SIZE 2007
#define GW_SEG_WRITE 2307

/* The header of a request or reply. Only `port` means something to the system; the rest is carried as it is. */
struct gw_hdr {
	struct gw_port port; /* put-port in gw_trans, get-port going into gw_getreq, put-port coming out of it */
	struct gw_private priv;
	int32_t command; /* request: what to do; reply: GW_OK or a negative status */
	uint64_t offset;
	uint64_t size;
	uint64_t extra;
};

/* Who sent a request: ids as the kernel of the sender's host knows them, and that host's name as the cluster knows
 * it. */
struct gw_caller {
	uid_t uid;
	gid_t gid;
	char host[GW_HOST_MAX];
};

struct gw;

/* Connects to this host's flipd. `socket_path` NULL means the default. Returns 0 or -errno. */
int gw_connect(const char *socket_path, struct gw **ret_gw);
/* NULL is permitted. Requests that were taken and not answered fail at their clients. */
void gw_close(struct gw *gw);

/*
 * One transaction: sends the request to whoever serves req->port and waits for the reply. Returns the length of
 * the reply, of which at most `rep_size` bytes are stored, or a negative gw_status. A lost connection to flipd is
 * GW_FAILURE, and the next call connects anew.
 */
ssize_t gw_trans(struct gw *gw, const struct gw_hdr *req, const void *req_buf, size_t req_len, struct gw_hdr *rep,
		 void *rep_buf, size_t rep_size);
/* How long gw_trans looks for a server before it says GW_NOTFOUND, in ms; returns the old value. The default is
 * 5200. When every host that is alive has said no, the answer comes at once. */
unsigned gw_timeout(struct gw *gw, unsigned ms);

/*
 * Waits for a request on the get-port hdr->port. Returns its length (at most `size` bytes are stored) or a
 * negative gw_status. Each request must be answered by gw_putrep before the next gw_getreq on the same connection.
 * gw_putrep returns GW_OK as soon as flipd keeps the reply; flipd sees to it that the client gets it.
 */
ssize_t gw_getreq(struct gw *gw, struct gw_hdr *hdr, void *buf, size_t size);
int gw_putrep(struct gw *gw, const struct gw_hdr *hdr, const void *buf, size_t len);
/* Who sent the request that is being served. Valid between gw_getreq and gw_putrep. */
int gw_request_caller(struct gw *gw, struct gw_caller *ret_caller);

/*
 * A client's signal: one that it got while it waited for the reply (gw_trans was interrupted, and goes on
 * waiting). Has the client of the request that is being served had one? 1, 0, or GW_BADADDRESS if none is being
 * served, GW_FAILURE if the connection is lost. By convention an interrupted server replies GW_STD_INTR; it may
 * also finish what it does. A gw_trans that the serving thread has under way on this connection meanwhile passes
 * it on.
 */
int gw_request_signalled(struct gw *gw);
/*
 * From the next request on, such a signal raises `signo` in the serving thread, so that a call that sleeps is
 * broken off, 0: no more. So does another request that arrives: after it ask gw_request_signalled. The thread must
 * catch the signal; gw_getreq may return GW_ABORTED because of it. 0 or -EINVAL.
 */
int gw_catch(struct gw *gw, int signo);

/*
 * Jobs, their segments, and hosts. All of these are transactions with the process server of the host where the job
 * is, which they find and follow; each returns GW_OK (0) or a negative gw_status: GW_STD_DENIED (neither the
 * capability nor the caller's uid permits it), GW_STD_CAPBAD (the capability is none, or was revoked, or a
 * segment's whose job was resumed), GW_STD_NOTNOW (not in that state), GW_NOTFOUND (no such job), GW_STD_SYSERR.
 * gw_ps_why says more.
 */

/* The job of that name without any proof: what the caller's uid permits. Asks nobody. */
void gw_ps_named(const char *job, struct gw_cap *ret_job);
/* Why the last of these calls on the connection was refused, in words; "" if it was not. Valid until the next. */
const char *gw_ps_why(struct gw *gw);

/*
 * Stops the job, wherever it is. Emergency 0: its system calls end first; GW_STD_NOTNOW if they have not within
 * `timeout_ms` (0: 10000), and it runs on. Emergency 1: they fail with EINTR. Its owner hears of it.
 */
int gw_ps_stun(struct gw *gw, const struct gw_cap *job, int emergency, unsigned timeout_ms);
int gw_ps_resume(struct gw *gw, const struct gw_cap *job);
/* A signal to its first process. */
int gw_ps_kill(struct gw *gw, const struct gw_cap *job, int signal);
/* To another host; returns when it is there. */
int gw_ps_migrate(struct gw *gw, const struct gw_cap *job, const char *host);
/*
 * `put_port` becomes the job's owner, NULL: nobody. When the job is stunned and when it ends the owner gets a
 * request with command GW_PS_CHECKPOINT: extra is a gw_ps_term, priv the job's capability with all rights, the
 * data `offset` bytes of checkpoint message (only with GW_PS_STUNNED) and the job's name. The reply to
 * GW_PS_STUNNED decides: command GW_OK and extra GW_PS_RESUME or GW_PS_KILL; any other leaves the job stunned.
 */
int gw_ps_set_owner(struct gw *gw, const struct gw_cap *job, const struct gw_port *put_port);
#define GW_PS_CHECKPOINT 2308
enum gw_ps_term {
	GW_PS_EXITED = 0, /* hdr.size: its status */
	GW_PS_STUNNED = 1,
	GW_PS_KILLED = 2, /* hdr.size: the signal */
};
enum gw_ps_decision { GW_PS_RESUME = 0, GW_PS_KILL = 1 };

enum gw_ps_state {
	GW_PS_RUNS = 1,
	GW_PS_STOPPED = 2, /* by a signal */
	GW_PS_MOVES = 3,
	GW_PS_IN_DOUBT = 4,
	GW_PS_ENDED = 5,
	GW_PS_ARRIVES = 6,
	GW_PS_IS_STUNNED = 7,
};
struct gw_ps_info {
	char name[64];
	char host[GW_HOST_MAX];
	enum gw_ps_state state;
	uid_t uid;
	pid_t pid; /* of its first process, on that host */
	uint32_t threads;
	uint64_t memory_bytes; /* resident */
	uint64_t incarnation, moves;
	int exit_status, exit_signal; /* once it has ended */
};
int gw_ps_info(struct gw *gw, const struct gw_cap *job, struct gw_ps_info *ret);

/* How busy a host is. */
struct gw_ps_load {
	uint32_t cpus, processes, jobs;
	uint32_t load1_milli, load5_milli, load15_milli; /* load averages, in thousandths */
	uint64_t memory_bytes, memory_available_bytes;
};
int gw_ps_load(struct gw *gw, const char *host, struct gw_ps_load *ret);

/* The segments of a stunned job: mapped regions, in ascending order. Their capabilities end with the stun. */
struct gw_seg {
	uint64_t address, length; /* bytes */
	int prot;		  /* PROT_READ, PROT_WRITE, PROT_EXEC of mmap(2) */
	int shared;
	const char *name; /* a path, or "[heap]" and the like, or "" */
	struct gw_cap cap;
};
/* One allocation, the caller's: free(*ret_list). */
int gw_seg_list(struct gw *gw, const struct gw_cap *job, struct gw_seg **ret_list, size_t *ret_n);
/* Whatever the segment's protection. All of it or, with an error, an unknown part. */
int gw_seg_read(struct gw *gw, const struct gw_cap *seg, uint64_t offset, void *buf, size_t len);
int gw_seg_write(struct gw *gw, const struct gw_cap *seg, uint64_t offset, const void *buf, size_t len);
int gw_seg_size(struct gw *gw, const struct gw_cap *seg, uint64_t *ret_bytes);

/* What every server of objects understands; here: jobs and segments. gw_std_restrict asks the server, and so can
 * also restrict further what is restricted already, or the rights of the caller's uid (gw_ps_named). */
int gw_std_restrict(struct gw *gw, const struct gw_cap *cap, uint32_t mask, struct gw_cap *ret_cap);
int gw_std_info(struct gw *gw, const struct gw_cap *cap, char *ret_text, size_t size);
int gw_std_touch(struct gw *gw, const struct gw_cap *cap);
int gw_std_destroy(struct gw *gw, const struct gw_cap *cap);
/* How a server is: a few lines, of which the first is that of gw_std_info. */
int gw_std_status(struct gw *gw, const struct gw_cap *cap, char *ret_text, size_t size);
/* A server makes an object of its own with the contents of `from`, which another may keep. */
int gw_std_copy(struct gw *gw, const struct gw_cap *server, const struct gw_cap *from, struct gw_cap *ret_cap);
/* For whoever collects garbage: touch all that can be reached, then age. What nobody has touched or used for so
 * many ages as it has lives is gone. */
int gw_std_age(struct gw *gw, const struct gw_cap *server);

#ifdef __cplusplus
}
#endif

#endif
