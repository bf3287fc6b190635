/* SPDX-License-Identifier: Apache-2.0 */
#include "servers/server.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

#define THREADS_DEFAULT 4u
#define THREADS_MAX 64u
#define IDENTITY "identity"
#define IDENTITY_LEN (GW_PORT_LEN + GW_CHECK_LEN)
#define AWAY_US 200000u /* how long until flipd is tried again */
#define INFO_MAX 256u

/* --- files --- */

int server_write(struct server *s, const char *name, const void *bytes, size_t len, struct err *e)
{
	_cleanup_free_ char *fresh = xasprintf("%s.new", name);
	_cleanup_fd_ int fd =
		openat(s->dir_fd, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (fd < 0)
		return err_errno(e, "cannot make %s/%s", s->dir, fresh);
	r = fd_write_full(fd, bytes, len);
	if (r < 0 || fsync(fd) < 0) {
		r = r < 0 ? r : -errno;
		(void)unlinkat(s->dir_fd, fresh, 0);
		return err_code(e, r, "cannot write %s/%s", s->dir, fresh);
	}
	if (renameat(s->dir_fd, fresh, s->dir_fd, name) < 0 || fsync(s->dir_fd) < 0)
		return err_errno(e, "cannot make %s/%s", s->dir, name);
	return 0;
}

int server_read(struct server *s, const char *name, size_t max, uint8_t **ret, size_t *ret_len, struct err *e)
{
	char *text = NULL;
	ssize_t n = fd_slurp(s->dir_fd, name, max, &text);

	if (n < 0)
		return err_code(e, (int)n, "%s/%s", s->dir, name);
	*ret = (uint8_t *)text;
	*ret_len = (size_t)n;
	return 0;
}

/* Port and secret are made once, so that capabilities outlive the server. */
static int load_identity(struct server *s, struct err *e)
{
	uint8_t fresh[IDENTITY_LEN];
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len = 0;
	int r = server_read(s, IDENTITY, IDENTITY_LEN + 1, &bytes, &len, NULL);

	if (r == -ENOENT) {
		struct gw_port get;

		gw_port_random(&get);
		memcpy(fresh, get.bytes, GW_PORT_LEN);
		gw_secret_random(fresh + GW_PORT_LEN);
		r = server_write(s, IDENTITY, fresh, sizeof fresh, e);
		if (r < 0)
			return r;
	} else if (r < 0 || len != IDENTITY_LEN) {
		return err_set(e, r < 0 ? r : -EBADMSG, "%s/%s is not what this server wrote", s->dir, IDENTITY);
	} else {
		memcpy(fresh, bytes, sizeof fresh);
	}
	memcpy(s->get.bytes, fresh, GW_PORT_LEN);
	memcpy(s->secret, fresh + GW_PORT_LEN, GW_CHECK_LEN);
	return 0;
}

static int open_dir(struct server *s, struct err *e)
{
	if (mkdir(s->dir, 0700) < 0 && errno != EEXIST)
		return err_errno(e, "cannot make %s", s->dir);
	s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return s->dir_fd < 0 ? err_errno(e, "%s", s->dir) : load_identity(s, e);
}

/* --- requests --- */

uint8_t *server_reply_room(struct request *r, size_t len)
{
	uint8_t *at;

	if (r->out_len + len > r->out_cap) {
		r->out_cap = MAX(2 * r->out_cap, r->out_len + len);
		r->out = xrealloc(r->out, r->out_cap);
	}
	at = r->out + r->out_len;
	r->out_len += len;
	return at;
}

struct gw *server_asks(struct request *r)
{
	if (!r->gw && gw_connect(NULL, &r->gw) < 0)
		return NULL;
	return r->gw;
}

static int secret_of(struct server *s, uint64_t object, uint8_t ret[GW_CHECK_LEN])
{
	if (object)
		return s->ops->secret(s, object, ret);
	memcpy(ret, s->secret, GW_CHECK_LEN);
	return 0;
}

int server_check(struct server *s, const struct gw_private *priv, uint32_t need, uint32_t *ret_rights)
{
	uint8_t secret[GW_CHECK_LEN];
	uint32_t rights;

	if (secret_of(s, priv->object, secret) < 0)
		return GW_STD_CAPBAD;
	if (gw_private_check(priv, secret, &rights) != GW_OK)
		return GW_STD_CAPBAD;
	if (ret_rights)
		*ret_rights = rights;
	return (rights & need) == need ? GW_OK : GW_STD_DENIED;
}

static int restrict_it(struct server *s, struct request *r)
{
	uint8_t secret[GW_CHECK_LEN];
	uint32_t rights;
	int status = server_check(s, &r->hdr->priv, 0, &rights);

	if (status != GW_OK)
		return status;
	if (secret_of(s, r->hdr->priv.object, secret) < 0)
		return GW_STD_CAPBAD;
	gw_private_make(&r->rep.priv, r->hdr->priv.object, rights & (uint32_t)r->hdr->offset, secret);
	return GW_OK;
}

static int tell(struct server *s, struct request *r)
{
	char text[INFO_MAX] = "";
	int status = server_check(s, &r->hdr->priv, 0, NULL);

	if (status == GW_OK)
		status = s->ops->info(s, &r->hdr->priv, text, sizeof text);
	if (r->hdr->command == GW_STD_STATUS)
		(void)snprintf(text + strlen(text), sizeof text - strlen(text),
			       "\n%" PRIu64 " requests\n%" PRIu64 " refused\n", s->served, s->refused);
	if (status == GW_OK)
		memcpy(server_reply_room(r, strlen(text) + 1), text, strlen(text) + 1);
	return status;
}

static int touch(struct server *s, struct request *r)
{
	int status = server_check(s, &r->hdr->priv, 0, NULL);

	if (status == GW_OK && s->ops->touch)
		s->ops->touch(s, r->hdr->priv.object);
	return status;
}

static int destroy(struct server *s, struct request *r)
{
	uint32_t rights;
	int status = server_check(s, &r->hdr->priv, 0, &rights);

	if (status != GW_OK || !s->ops->destroy)
		return status != GW_OK ? status : GW_STD_COMBAD;
	return r->hdr->priv.object ? s->ops->destroy(s, &r->hdr->priv, rights) : GW_STD_DENIED;
}

static int age(struct server *s, struct request *r)
{
	uint32_t rights;
	int status = server_check(s, &r->hdr->priv, 0, &rights);

	if (status != GW_OK || !s->ops->age)
		return status != GW_OK ? status : GW_STD_COMBAD;
	return r->hdr->priv.object ? GW_STD_ARGBAD : s->ops->age(s, rights);
}

static int copy(struct server *s, struct request *r)
{
	uint8_t bytes[GW_CAP_LEN];
	struct gw_cap from;

	wire_get_bytes(&r->in, bytes, sizeof bytes);
	if (r->in.bad || r->in.left)
		return GW_STD_ARGBAD;
	gw_cap_decode(&from, bytes);
	return s->ops->copy ? s->ops->copy(s, r, &from) : GW_STD_COMBAD;
}

static int handle(struct server *s, struct request *r)
{
	static const struct {
		int command;
		int (*run)(struct server *s, struct request *r);
	} commands[] = {
		{ GW_STD_AGE, age },
		{ GW_STD_COPY, copy },
		{ GW_STD_DESTROY, destroy },
		{ GW_STD_INFO, tell },
		{ GW_STD_RESTRICT, restrict_it },
		{ GW_STD_STATUS, tell },
		{ GW_STD_TOUCH, touch },
	};

	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (commands[i].command == r->hdr->command)
			return commands[i].run(s, r);
	return s->ops->handle(s, r);
}

/* One request after the other; a connection of its own for questions to others, opened when it is needed. */
static void serve(struct server *s, struct gw *gw)
{
	struct request r = { 0 };
	uint8_t *buf = xmalloc(GW_MSG_MAX);

	for (;;) {
		struct gw_hdr hdr = { .port = s->get };
		ssize_t n = gw_getreq(gw, &hdr, buf, GW_MSG_MAX);

		if (n < 0) {
			log_debug("getreq: %s", gw_strerror((int)n));
			(void)usleep(n == GW_ABORTED ? 0 : AWAY_US);
			continue;
		}
		r.hdr = &hdr;
		r.in = wire_in(buf, (size_t)n);
		r.rep = (struct gw_hdr) { 0 };
		r.out_len = 0;
		(void)pthread_mutex_lock(&s->lock);
		r.rep.command = handle(s, &r);
		s->served++;
		s->refused += r.rep.command < 0;
		(void)pthread_mutex_unlock(&s->lock);
		if (r.rep.command != GW_OK)
			r.out_len = 0;
		(void)gw_putrep(gw, &r.rep, r.out_len ? r.out : NULL, r.out_len);
	}
}

static void *work(void *arg)
{
	struct server *s = arg;
	struct gw *gw = NULL;

	while (gw_connect(NULL, &gw) < 0)
		(void)usleep(AWAY_US);
	serve(s, gw);
	return NULL;
}

/* --- start --- */

static const struct argp_option options[] = {
	{ "threads", 't', "N", 0, "how many requests are served at the same time (default: 4)", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct server *s = state->input;
	char *end;

	switch (key) {
	case 't':
		s->threads = (unsigned)strtoul(arg, &end, 10);
		if (*end || !s->threads || s->threads > THREADS_MAX)
			argp_error(state, "'%s' is not a number from 1 to %u", arg, THREADS_MAX);
		return 0;
	case ARGP_KEY_ARG:
		if (s->dir || !s->ops->wants_dir)
			argp_error(state, "too many arguments");
		s->dir = arg;
		return 0;
	case ARGP_KEY_END:
		if (s->ops->wants_dir && !s->dir)
			argp_error(state, "which directory?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int open_all(struct server *s, struct err *e)
{
	int r = 0;

	if (s->ops->wants_dir) {
		r = open_dir(s, e);
	} else {
		gw_port_random(&s->get);
		gw_secret_random(s->secret);
	}
	gw_port_publish(&s->get, &s->put);
	return r < 0 || !s->ops->open ? r : s->ops->open(s, e);
}

static void print_capability(const struct server *s)
{
	struct gw_cap cap = { .port = s->put };
	char text[GW_CAP_TEXT_MAX];

	gw_private_make(&cap.priv, 0, GW_RIGHTS_ALL, s->secret);
	gw_cap_print(&cap, text);
	(void)printf("%s\n", text);
	(void)fflush(stdout);
}

int server_main(const struct server_ops *ops, int argc, char **argv)
{
	struct argp argp = {
		.options = options, .parser = parse, .args_doc = ops->wants_dir ? "DIR" : NULL, .doc = ops->doc
	};
	static struct server s;
	struct err e = { 0 };
	sigset_t ends;
	int sig;

	s = (struct server) { .ops = ops, .dir_fd = -EBADF, .threads = THREADS_DEFAULT };
	log_open(ops->name);
	if (sodium_init() < 0 || argp_parse(&argp, argc, argv, 0, NULL, &s) != 0)
		return 1;
	(void)pthread_mutex_init(&s.lock, NULL);
	if (open_all(&s, &e) < 0) {
		log_error("%s", err_text(&e));
		return 1;
	}
	(void)sigemptyset(&ends);
	(void)sigaddset(&ends, SIGTERM);
	(void)sigaddset(&ends, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, &ends, NULL);
	for (unsigned i = 0; i < s.threads; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, work, &s) != 0) {
			log_error("cannot make a thread");
			return 1;
		}
		(void)pthread_detach(thread);
	}
	print_capability(&s);
	(void)sigwait(&ends, &sig);
	/* Nobody is in the middle of a change. */
	(void)pthread_mutex_lock(&s.lock);
	return 0;
}
