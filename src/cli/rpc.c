/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/rpc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/util.h"
#include "cli/cli.h"

struct pending {
	LIST_ENTRY(pending) list;
	int64_t id;
	cli_reply_fn *fn;
	void *arg;
};

static void pending_free_all(struct cli *c)
{
	struct pending *p;

	while ((p = LIST_FIRST(&c->pending))) {
		LIST_REMOVE(p, list);
		free(p);
	}
}

/* --- the connection --- */

static void on_disconnected(void *user)
{
	struct cli *c = user;

	c->connected = false;
}

static const struct gwc_ops ops = { .disconnected = on_disconnected };

struct self {
	struct cli *c;
	bool done;
};

static void on_hosts(void *arg, int result, const struct gwc_host *hosts, size_t n)
{
	struct self *self = arg;

	self->done = true;
	for (size_t i = 0; result == 0 && i < n; i++)
		if (hosts[i].self)
			snprintf(self->c->host, sizeof self->c->host, "%s", hosts[i].name);
}

int cli_reopen(struct cli *c)
{
	gwc_close(c->gwc);
	pending_free_all(c);
	c->gwc = NULL;
	int r = gwc_open(NULL, &ops, c, &c->gwc, NULL);

	c->connected = r == 0;
	return r;
}

#define FLIPD_US 10000000u /* a flipd that lives says at once which host it is */

int cli_wait_flipd(struct gwc *gwc, const bool *done)
{
	uint64_t now = now_us(), deadline = now + FLIPD_US;

	for (; !*done && now < deadline; now = now_us()) {
		int r = gwc_wait(gwc, (int)((deadline - now) / 1000) + 1);

		if (r < 0 && r != -EINTR && r != -ETIMEDOUT)
			return r;
	}
	return *done ? 0 : -ETIMEDOUT;
}

/* The text of a capability, or @ and the name of a file that has it, which no `ps` shows. */
static int read_cap(const char *text, struct gw_cap *ret, struct err *e)
{
	_cleanup_free_ char *file = NULL;

	if (*text == '@' && fd_slurp(AT_FDCWD, text + 1, 4096, &file) < 0)
		return err_set(e, -EINVAL, "cannot read a capability from %s", text + 1);
	if (gw_cap_parse(file ? file : text, ret) != GW_OK)
		return err_set(e, -EINVAL, "%s is no capability", *text == '@' ? text + 1 : "what is given");
	return 0;
}

int cli_open(struct cli *c, struct err *e)
{
	const char *cap = getenv("GODWIT_CAP");
	struct self self = { .c = c };
	int r;

	*c = (struct cli) { 0 };
	c->has_cap = cap && *cap;
	if (c->has_cap && read_cap(cap, &c->cap, e) < 0)
		return e->code;
	r = gwc_open(NULL, &ops, c, &c->gwc, e);
	if (r == -ENOENT || r == -ECONNREFUSED)
		return err_set(e, r, "flipd does not run on this host (systemctl start godwit-flipd)");
	if (r < 0)
		return err_wrap(e, "flipd");
	c->connected = true;
	r = gwc_hosts(c->gwc, on_hosts, &self);
	if (r == 0)
		r = cli_wait_flipd(c->gwc, &self.done);
	if (r < 0)
		return err_code(e, r, "flipd does not say which host this is");
	return 0;
}

void cli_close(struct cli *c)
{
	gwc_close(c->gwc);
	pending_free_all(c);
	c->gwc = NULL;
}

char *cli_port_host(const char *host)
{
	return xasprintf("procd@%s", host);
}

char *cli_port_job(const char *job)
{
	return xasprintf("job:%s", job);
}

/* --- transactions --- */

static int status_errno(int status)
{
	switch (status) {
	case GW_NOTFOUND:
		return -ESRCH;
	case GW_ABORTED:
		return -ECANCELED;
	case GW_TRYAGAIN:
		return -EAGAIN;
	default:
		return -EIO;
	}
}

static void on_reply(void *arg, int status, const struct gw_hdr *hdr, const void *data, size_t len)
{
	struct pending p = *(struct pending *)arg;
	cli_reply *reply;

	LIST_REMOVE((struct pending *)arg, list);
	free(arg);
	if (status != GW_OK) {
		p.fn(p.arg, status_errno(status), NULL, gw_strerror(status));
		return;
	}
	if (hdr->command < 0) {
		p.fn(p.arg, -EPROTO, NULL, gw_strerror(hdr->command));
		return;
	}
	reply = godwit__procd__reply__unpack(NULL, len, data);
	if (!reply) {
		p.fn(p.arg, -EPROTO, NULL, "the reply makes no sense (is procd of the same version?)");
		return;
	}
	p.fn(p.arg, 0, reply, NULL);
	godwit__procd__reply__free_unpacked(reply, NULL);
}

int64_t cli_start(struct cli *c, const char *port, const cli_request *req, unsigned int locate_ms,
		  cli_reply_fn *fn, void *arg)
{
	size_t len = godwit__procd__request__get_packed_size(req);
	struct gw_hdr hdr = { .port = gw_port_from_name(port), .size = len };
	_cleanup_free_ uint8_t *data = xmalloc(len);
	struct pending *p = xmalloc(sizeof *p);
	int64_t id;

	if (c->has_cap && !memcmp(&hdr.port, &c->cap.port, sizeof hdr.port))
		hdr.priv = c->cap.priv;
	*p = (struct pending) { .fn = fn, .arg = arg };
	(void)godwit__procd__request__pack(req, data);
	id = gwc_trans(c->gwc, GWC_MAIN, &hdr, data, len, locate_ms, on_reply, p);
	if (id < 0) {
		free(p);
		return id;
	}
	p->id = id;
	LIST_INSERT_HEAD(&c->pending, p, list);
	return id;
}

void cli_forget_all(struct cli *c)
{
	struct pending *p;

	LIST_FOREACH (p, &c->pending, list) {
		gwc_forget(c->gwc, p->id);
	}
	pending_free_all(c);
}

struct one {
	int64_t id;
	bool done;
	int r;
	cli_reply *reply;
	struct err *e;
};

/* A reply belongs to the library until the callback returns; a second unpacking is the simplest deep copy. */
static cli_reply *reply_copy(const cli_reply *reply)
{
	size_t len = godwit__procd__reply__get_packed_size(reply);
	_cleanup_free_ uint8_t *data = xmalloc(len);

	(void)godwit__procd__reply__pack(reply, data);
	return godwit__procd__reply__unpack(NULL, len, data);
}

static void on_one(void *arg, int r, const cli_reply *reply, const char *why)
{
	struct one *one = arg;

	one->done = true;
	one->r = r < 0 ? err_set(one->e, r, "%s", why) : 0;
	if (r == 0)
		one->reply = reply_copy(reply);
}

static bool is_of_another_job(const struct cli *c, const char *port)
{
	struct gw_port p = gw_port_from_name(port);

	return c->has_cap && !strncmp(port, "job:", 4) && memcmp(&p, &c->cap.port, sizeof p) != 0;
}

int cli_call(struct cli *c, const char *port, const cli_request *req, cli_reply **ret, struct err *e)
{
	struct one one = { .e = e };

	if (is_of_another_job(c, port))
		return err_set(e, -EINVAL, "the capability that is given is not one of %s", port + 4);

	int64_t id = cli_start(c, port, req, CLI_LOCATE_MS, on_one, &one);
	int r = id < 0 ? (int)id : 0;

	while (r == 0 && !one.done) {
		r = gwc_wait(c->gwc, -1);
		if (r == -EINTR)
			r = 0;
	}
	if (!one.done)
		return err_code(e, r, "flipd");
	if (one.r == 0)
		*ret = one.reply;
	return one.r;
}

int cli_ask(struct cli *c, const char *port, const cli_request *req, cli_reply **ret, struct err *e)
{
	int r = cli_call(c, port, req, ret, e);

	if (r == 0 && (*ret)->code < 0) {
		r = err_set(e, (*ret)->code, "%s", *(*ret)->text ? (*ret)->text : strerror(-(*ret)->code));
		cli_reply_free(ret);
	}
	return r;
}

void cli_reply_free(cli_reply **reply)
{
	if (*reply)
		godwit__procd__reply__free_unpacked(*reply, NULL);
	*reply = NULL;
}

/* --- all hosts at once --- */

/* Nobody waits longer for a list because one host is off. The network itself is more patient: it must be sure. */
#define HOSTS_LOCATE_MS 1500u
#define HOSTS_WAIT_US 3000000u

static bool all_done(const struct one *ones, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!ones[i].done)
			return false;
	return true;
}

static int wait_for_hosts(struct cli *c, const struct one *ones, size_t n)
{
	uint64_t now = now_us(), deadline = now + HOSTS_WAIT_US;

	for (; !all_done(ones, n) && now < deadline; now = now_us()) {
		int r = gwc_wait(c->gwc, (int)((deadline - now) / 1000) + 1);

		if (r < 0 && r != -EINTR && r != -ETIMEDOUT)
			return r;
	}
	return 0;
}

int cli_ask_hosts(struct cli *c, char *const *hosts, size_t n, const cli_request *req, cli_reply **replies,
		  struct err *errs, struct err *e)
{
	struct one *ones = xcalloc(n + 1, sizeof *ones);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		_cleanup_free_ char *port = cli_port_host(hosts[i]);

		ones[i].e = &errs[i];
		ones[i].id = cli_start(c, port, req, HOSTS_LOCATE_MS, on_one, &ones[i]);
		r = ones[i].id < 0 ? (int)ones[i].id : 0;
	}
	if (r == 0)
		r = wait_for_hosts(c, ones, n);
	for (size_t i = 0; i < n; i++) {
		if (ones[i].id > 0 && !ones[i].done) {
			gwc_forget(c->gwc, ones[i].id);
			(void)err_set(&errs[i], -ETIMEDOUT, "no answer in %u s", HOSTS_WAIT_US / 1000000);
		}
		replies[i] = ones[i].reply;
	}
	free(ones);
	return r < 0 ? err_code(e, r, "flipd") : 0;
}

/* --- errors for people --- */

int cli_fail_call(const char *what, int r, const struct err *e)
{
	switch (r) {
	case -ESRCH:
		return cli_fail(CLI_FAILED,
				"%s: no such job, or its host does not answer (`godwit ps`, `godwit hosts`)",
				what);
	default:
		return cli_fail(CLI_FAILED, "%s: %s", what, err_text(e));
	}
}

void cli_print_problems(const cli_reply *reply)
{
	for (size_t i = 0; i < reply->n_problems; i++) {
		const Godwit__Mover__Problem *p = reply->problems[i];

		fputs("  ", stderr);
		if (p->pid)
			fprintf(stderr, "pid %d: ", p->pid);
		fprintf(stderr, "%s%s%s\n", p->object, *p->object ? ": " : "", p->reason);
		if (*p->help)
			fprintf(stderr, "    -> %s\n", p->help);
	}
}
