/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job's owner: a port, whose server hears of every stun and of the job's end. It is a program like any other,
 * which may be slow, dead or hostile, so nothing here waits for it. A stunned job stays stunned until the owner,
 * or anybody else who may, says resume or kill; what the owner says counts only while that stun lasts and only
 * within its patience (owner_patience).
 *
 * It is told at least once: procd remembers in the job's file what the owner has yet to hear, and says it again
 * after its own restart and when flipd is back.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "procd/caps.h"
#include "procd/jobs.h"
#include "procd/ops.h"
#include "procd/rpc.h"

#define OWNER_LOCATE_MS 10000u

struct told {
	struct procd *p;
	char name[NAME_MAX_LEN + 1];
	bool end; /* of its end, not of a stun */
};

static void save(struct job *j)
{
	struct err e = { 0 };

	if (jobs_save(j, &e) < 0)
		log_error("job %s: %s", j->name, err_text(&e));
}

void owner_forget(struct job *j)
{
	if (j->told && j->p->gwc)
		gwc_forget(j->p->gwc, j->told_id);
	if (j->told)
		(void)uv_timer_stop(&j->patience);
	free(j->told);
	j->told = NULL;
	j->owner_pending = 0;
	j->owner_word = OWNER_SAYS_NOTHING;
}

/* --- what it says --- */

static void decide(struct job *j)
{
	enum owner_word word = j->owner_word;

	j->owner_word = OWNER_SAYS_NOTHING;
	log_info("job %s: its owner says %s", j->name, word == OWNER_SAYS_KILL ? "kill" : "resume");
	if (word == OWNER_SAYS_KILL && j->pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, j->pidfd, SIGKILL, NULL, 0);
	stun_wake(j);
}

void owner_decided(struct job *j)
{
	if (j->owner_word && j->state == JOB_RUNNING && j->spec->stunned && !j->out)
		decide(j);
}

static void on_answer(void *arg, int status, const struct gw_hdr *hdr, const void *data, size_t len)
{
	struct told *t = arg;
	struct job *j = jobs_by_name(t->p, t->name);
	bool end = t->end;

	(void)data;
	(void)len;
	if (!j || j->told != t) {
		free(t);
		return;
	}
	/* Lost on the way: perhaps only because flipd went, and then it is told again. */
	j->told = NULL;
	(void)uv_timer_stop(&j->patience);
	free(t);
	if (status == GW_FAILURE)
		log_warn("job %s: its owner was lost before it said anything", j->name);
	else
		j->owner_pending = 0;
	if (!end && status == GW_OK && hdr->command == GW_OK)
		j->owner_word = hdr->extra == GW_PS_KILL ? OWNER_SAYS_KILL : OWNER_SAYS_RESUME;
	else if (!end)
		log_warn("job %s: its owner says nothing of use (%s); it stays stunned", j->name,
			 gw_strerror(status != GW_OK ? status : hdr->command));
	save(j);
	owner_decided(j); /* or when the image that is being written of it is complete */
}

static void on_patience(uv_timer_t *timer)
{
	struct job *j = timer->data;

	log_warn("job %s: its owner does not answer%s", j->name, j->spec->stunned ? "; it stays stunned" : "");
	owner_forget(j);
	save(j);
}

/* --- telling it --- */

/* "port:" and 32 hexadecimal digits, or the name of a well-known port. */
static bool parse_port(const char *text, struct gw_port *ret)
{
	static const char digits[] = "0123456789abcdef";

	if (strncmp(text, "port:", 5)) {
		*ret = gw_port_from_name(text);
		return true;
	}
	text += 5;
	if (strlen(text) != 2 * GW_PORT_LEN || strspn(text, digits) != 2 * GW_PORT_LEN)
		return false;
	for (size_t i = 0; i < GW_PORT_LEN; i++)
		ret->bytes[i] = (uint8_t)((strchr(digits, text[2 * i]) - digits) << 4 |
					  (strchr(digits, text[2 * i + 1]) - digits));
	return true;
}

const char *owner_why_not(const char *port)
{
	struct gw_port p;

	if (strlen(port) > 255)
		return "that is too long for the name of a port";
	/* procd speaks as root: it must not be made to send somebody's message to a process server. */
	if (!strncmp(port, "procd@", 6) || !strncmp(port, "job:", 4))
		return "process servers and jobs own nothing";
	if (!parse_port(port, &p))
		return "port: and 32 hexadecimal digits, please";
	if (!strncmp(port, "port:", 5) && (gw_port_is_well_known(&p) || gw_port_is_null(&p)))
		return "that port cannot be given by its number";
	return NULL;
}

static void tell(struct job *j, struct gw_hdr *hdr, char *bytes, size_t len)
{
	struct gw_cap cap;
	struct told *t;

	/* Its name may have come from another host, or out of an image. */
	if (!j->p->gwc || j->told || owner_why_not(j->spec->owner) || !parse_port(j->spec->owner, &hdr->port))
		return;
	memcpy(bytes + len, j->name, strlen(j->name));
	hdr->command = GW_PS_CHECKPOINT;
	caps_make(j, 0, GW_RIGHTS_ALL, &cap);
	hdr->priv = cap.priv;
	hdr->offset = len;
	t = xcalloc(1, sizeof *t);
	t->p = j->p;
	t->end = hdr->extra != GW_PS_STUNNED;
	(void)snprintf(t->name, sizeof t->name, "%s", j->name);
	j->told_id =
		gwc_trans(j->p->gwc, GWC_MAIN, hdr, bytes, len + strlen(j->name), OWNER_LOCATE_MS, on_answer, t);
	if (j->told_id < 0) {
		log_warn("job %s: its owner cannot be told", j->name);
		free(t);
		return;
	}
	j->told = t;
	(void)uv_timer_start(&j->patience, on_patience, j->p->settings.owner_patience_s * 1000, 0);
}

static void tell_stun(struct job *j)
{
	struct gw_hdr hdr = { .extra = GW_PS_STUNNED };
	_cleanup_free_ char *path = stun_message_path(j), *bytes = NULL;
	size_t len = (size_t)MAX(fd_slurp(AT_FDCWD, path, STUN_MESSAGE_MAX, &bytes), (ssize_t)0);

	bytes = xrealloc(bytes, len + sizeof j->name);
	tell(j, &hdr, bytes, len);
}

static void tell_end(struct job *j)
{
	struct gw_hdr hdr = { .extra = j->exited.signal ? GW_PS_KILLED : GW_PS_EXITED };
	char name[sizeof j->name];

	hdr.size = (uint64_t)(j->exited.signal ? j->exited.signal : j->exited.status);
	tell(j, &hdr, name, 0);
}

void owner_again(struct job *j)
{
	if (!j->owner_pending || !*j->spec->owner)
		return;
	if (j->state == JOB_EXITED)
		tell_end(j);
	else if (j->state == JOB_RUNNING && j->spec->stunned)
		tell_stun(j);
}

void owner_stunned(struct job *j)
{
	owner_forget(j);
	j->owner_pending = *j->spec->owner != '\0';
	save(j);
	owner_again(j);
}

void owner_exited(struct job *j)
{
	if (!j->owner_knows_end) {
		owner_forget(j);
		j->owner_pending = *j->spec->owner != '\0';
		j->owner_knows_end = true; /* or will: it is pending */
		save(j);
	}
	owner_again(j);
}

/* --- who it is --- */

void owner_set(struct job *j, struct call *c)
{
	const char *port = c->request->set_owner->port, *refused = owner_why_not(port);
	struct err e = { 0 };

	if (refused) {
		call_refuse(c, -EINVAL, "%s", refused);
		return;
	}
	owner_forget(j); /* what the one before may still say does not count */
	if ((const char *)j->spec->owner != protobuf_c_empty_string)
		free(j->spec->owner);
	j->spec->owner = xstrdup(port);
	if (jobs_save(j, &e) < 0)
		call_fail(c, &e);
	else
		call_ok(c);
}
