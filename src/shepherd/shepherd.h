/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_SHEPHERD_SHEPHERD_H
#define GW_SHEPHERD_SHEPHERD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "shepherd.pb-c.h"
#include "shepherd/spool.h"
#include "shepherd/tty.h"

/*
 * Theory of operation
 *
 * A shepherd is PID 1 of one job's namespace. procd execs it inside the fresh namespaces with descriptor 3 = a
 * listening socket and 4 = the directory of the job's cgroup. Over a connection to that socket procd tells it to
 * start a program, or to make a blank process for a job that arrives from another host. From then on it has no
 * privileges: it is the job's owner without a capability, not dumpable, and cannot be signalled from inside.
 *
 * It holds the other ends of the job's standard streams: the master of a pty, or a pipe each. What the job writes
 * goes into a spool (a window onto the stream, by offset), what the front-end sends goes into a spool and from
 * there to the job. All that is unacknowledged, either way, and the offsets move to the successor with the job.
 *
 * One thread, one poll loop, nothing ever blocks. Requests that cannot be answered yet are held (serve.c) and
 * tried again after whatever happened next.
 */

#define SHEPHERD_LISTEN_FD 3
#define SHEPHERD_CGROUP_FD 4
#define SHEPHERD_PACKET_MAX (192u * 1024u)

#define STREAM_INPUT 0u
#define STREAM_OUTPUT 1u
#define STREAM_ERRORS 2u
#define STREAM_N 3u

#define DATA_MAX 65536u
/* Unacknowledged output at which an attached job waits. */
#define UNREAD_MAX (1u << 20)
/* Input that is accepted while the job does not read. */
#define INPUT_MAX (256u * 1024u)
#define POLL_TIMEOUT_MAX_MS 20000u
#define ATTACHMENT_SILENCE_US (60u * 1000000u)
#define HELD_MAX 256u

struct stream {
	bool used;
	int fd;	  /* our end; the pty's master for both directions; -EBADF once it has ended */
	int tail; /* input pipe whose write end is closed: an end that tells what is still in it */
	struct spool spool;
	uint64_t mark;		 /* output: acknowledged below it. Input: given to the kernel below it */
	size_t given, line;	 /* a pty's input: bytes that may lie unread; of its last, unfinished line */
	bool eof;		 /* output: nothing more comes. Input: its end is at spool.end */
	bool closed;		 /* input: nobody reads it */
	uint64_t dev, ino, rdev; /* of the job's side */
};

struct held { /* a request that waits */
	struct held *next;
	Godwit__Shepherd__Request *request;
	uint64_t deadline_us;
};

struct packet {
	struct packet *next;
	size_t len;
	uint8_t bytes[];
};

struct shepherd {
	int listener, conn, signals, cgroup;
	Godwit__Shepherd__State__Phase phase;
	struct stream streams[STREAM_N];
	bool terminal;
	int slave; /* our own opening of the pty's slave, non-blocking: keeps the pty alive, reads it back */
	struct tty_taken taken; /* while quiet */
	pid_t leader;		/* as the job counts; 0: none */
	int leader_pidfd;
	int status;	      /* of wait(), once EXITED */
	int64_t exited_at_us; /* CLOCK_REALTIME */
	uint64_t attachment;  /* 0: detached */
	uint64_t heard_us;    /* when the front-end last gave a sign of life */
	uint64_t log_bytes;
	uint64_t now_us;
	struct held *held;
	unsigned n_held;
	struct packet *outbox, **outbox_end;
	uint8_t buf[SHEPHERD_PACKET_MAX];
};

/* leader.c: the job's first process, or the blank that becomes it */
int leader_start(struct shepherd *sh, const Godwit__Procd__Exec *exec, struct err *e) must_check;
int leader_reap(struct shepherd *sh); /* 1 when the leader has just ended */
/* One that is not our child, and its end. */
int leader_adopt(struct shepherd *sh, const Godwit__Shepherd__Adopt *a, struct err *e);
void leader_ended(struct shepherd *sh, const Godwit__Procd__Exited *x);
void leader_drop_privileges(struct shepherd *sh, uid_t uid, gid_t gid);

/* blank.c */
struct blank_ends {
	int fds[2 + STREAM_N]; /* pidfd, agent socket, the job's ends; the caller closes them */
	size_t n;
	uint32_t agent_socket;
};
int blank_make(struct shepherd *sh, const Godwit__Shepherd__Blank *b, struct blank_ends *ret,
	       struct err *e) must_check;

/* streams.c: the ends and what flows through them */
int streams_open_pipes(struct shepherd *sh, uid_t uid, gid_t gid, int ret_job_ends[STREAM_N],
		       struct err *e) must_check;
int streams_open_pty(struct shepherd *sh, uid_t uid, const Godwit__Procd__Terminal *t, int *ret_slave,
		     struct err *e) must_check;
/* Moves what can be moved now. True if something did. */
bool streams_pump(struct shepherd *sh);
/* What to poll our end of a stream for, 0 for nothing. */
/* A pty's input has been put back into it: `rest` bytes of it are an unfinished line. */
void streams_were_put_back(struct shepherd *sh, size_t rest);
short streams_events(struct shepherd *sh, unsigned i);
/* All that the job wrote and is still in the kernel, whatever the limits. */
int streams_drain(struct shepherd *sh, struct err *e) must_check;
void streams_trim(struct shepherd *sh);
/* Ends of streams whose writers are gone for good. */
void streams_after_exit(struct shepherd *sh);
/* The job's sides, as a mover recognises them. `list` has room for STREAM_N entries. Returns their number. */
size_t streams_describe(const struct shepherd *sh, Godwit__Mover__Stream *list);
size_t streams_states(const struct shepherd *sh, Godwit__Procd__StreamState *list);

/* serve.c: requests of front-ends and of `wait`, which may be held */
void serve_relay(struct shepherd *sh, Godwit__Shepherd__Request *request); /* takes the request over */
void serve_retry(struct shepherd *sh);
void serve_answer_again(struct shepherd *sh); /* all that are held */
void serve_drop_held(struct shepherd *sh);
/* Microseconds until something is due, or -1. */
int64_t serve_next_due_us(const struct shepherd *sh);
void serve_fill_exited(const struct shepherd *sh, Godwit__Procd__Exited *x);

/* move.c: leaving and arriving */
int move_quiesce(struct shepherd *sh, struct err *e) must_check;
void move_resume(struct shepherd *sh);
/* Puts the description of all streams into a reply and sends it. */
void move_reply_streams(struct shepherd *sh, uint64_t id);
int move_spool_write(struct shepherd *sh, const Godwit__Shepherd__SpoolWrite *w, struct err *e);
int move_import(struct shepherd *sh, const Godwit__Shepherd__Streams *s, struct err *e);

/* control.c: the connection to procd */
void control_accept(struct shepherd *sh);
void control_read(struct shepherd *sh);
void control_flush(struct shepherd *sh);
void control_close(struct shepherd *sh);
void control_send(struct shepherd *sh, Godwit__Shepherd__Reply *r, const int *fds, size_t n_fds);
void control_send_error(struct shepherd *sh, uint64_t id, const struct err *e);

#endif
