/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "mover/mover.h"

static const struct stage *find_stage(const struct mover *m, Godwit__Mover__MoverMessage__KindCase kind)
{
	for (const struct stage *s = mover_stages; s->name; s++)
		if (kind == (m->source ? s->source_asks : s->destination_asks) &&
		    (m->source ? s->source : s->destination))
			return s;
	return NULL;
}

static int answer(struct mover *m, const struct stage *s, const Godwit__Mover__MoverMessage *in, struct err *e)
{
	Godwit__Mover__MoverMessage *out = xmalloc(sizeof *out);
	struct err why = { 0 };
	int err;

	godwit__mover__mover_message__init(out);
	log_debug("%s: %s", m->source ? "source" : "destination", s->name);
	err = (m->source ? s->source : s->destination)(m, in, out, &why);
	if (err < 0) {
		log_debug("%s failed: %s", s->name, err_text(&why));
		err = control_fail(m, &why, e);
	} else if (out->kind_case != GODWIT__MOVER__MOVER_MESSAGE__KIND__NOT_SET) {
		stage_boundary(m, s->name);
		err = control_send(m, out, e);
	}
	godwit__mover__mover_message__free_unpacked(out, NULL);
	return err;
}

/* A message that a stage answers with Failed is not the end: procd says what comes next, and its going does, too.
 */
static int serve(struct mover *m, struct err *e)
{
	while (!m->done) {
		Godwit__Mover__MoverMessage *in = NULL;
		const struct stage *s;
		int err;

		err = control_receive(m, &in, e);
		if (err < 0)
			return err == -ENODATA ? 0 : err;
		s = find_stage(m, in->kind_case);
		if (!s)
			err = err_set(e, -EPROTO, "message %d is not for this side", (int)in->kind_case);
		else
			err = answer(m, s, in, e);
		while (m->n_came)
			fd_close(&m->came[--m->n_came]);
		if (in != m->from.check && in != m->to.restore)
			godwit__mover__mover_message__free_unpacked(in, NULL);
		if (err < 0)
			return err;
	}
	return 0;
}

/*
 * The sides of images run with the rights of whoever asked, from before they hear a word. But they are not his to
 * change: a sealed image is what we say it is. A process that gives up its ids without an exec stays out of reach
 * of ptrace (fs.suid_dumpable may say otherwise, so it is said again).
 */
static int become(const char *uid_text, const char *gid_text)
{
	uid_t uid = (uid_t)strtoul(uid_text, NULL, 10);
	gid_t gid = (gid_t)strtoul(gid_text, NULL, 10);

	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) {
		log_error("cannot become user %s: %s", uid_text, strerror(errno));
		return -errno;
	}
	return 0;
}

static void usage(void)
{
	fprintf(stderr, "usage: mover source|destination [UID GID]\n"
			"One side of a migration. Started by procd, with a control socket as descriptor 3; see "
			"mover(8).\n");
}

int main(int argc, char **argv)
{
	static struct mover m = { .control = MOVER_CONTROL_FD, .to.listener = -EBADF };
	struct err e = { 0 };
	int err;

	log_open("mover");
	if ((argc != 2 && argc != 4) || (strcmp(argv[1], "source") != 0 && strcmp(argv[1], "destination") != 0)) {
		usage();
		return argc == 2 && !strcmp(argv[1], "--help") ? 0 : 2;
	}
	m.source = !strcmp(argv[1], "source");
	(void)signal(SIGPIPE, SIG_IGN);
	if (argc == 4 && become(argv[2], argv[3]) < 0)
		return 1;
	(void)signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files is an error like a full disk */
	/* A job stands still while we work; on a busy host everyone else can wait these few milliseconds. */
	(void)setpriority(PRIO_PROCESS, 0, -20);
	err = serve(&m, &e);
	if (err < 0)
		log_error("%s", err_text(&e));
	source_done(&m);
	destination_done(&m);
	return err < 0;
}
