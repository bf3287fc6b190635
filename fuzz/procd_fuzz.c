/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process server: requests of any user and of other process servers, and what its own shepherds, movers, flipd
 * and peers answer, in any order. All of these are pretended; nothing is started, signalled or killed. A script:
 *   0 a request to the host  1 to a job  2 a shepherd's answer  3 a peer's  4 a mover's message  5 a mover's death
 *   6 flipd's answer  7 a turn of the event loop
 */
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include "cage.h"
#include "fuzz.h"
#include "procd/herd.h"
#include "procd/jobs.h"
#include "procd/migration.h"
#include "procd/ops.h"
#include "procd/rpc.h"

#define PENDING_MAX 256
#define JOBS_DIR "/tmp/jobs"

/* What is left over of a run that ends in the middle is not worth the trouble of finding it. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

enum kind { HERD = 1, PEER, TAKE, DONE };

struct pending {
	enum kind kind;
	void *owner, *fn, *arg;
};

static struct procd p;
static uv_loop_t loop;
static struct pending pending[PENDING_MAX];
static size_t n_pending;
static struct mover {
	const struct mover_ops *ops;
	void *arg;
	bool killed, ended;
} movers[32];
static size_t n_movers;
static uint32_t endpoints;
static uint64_t answers;

/* --- nobody outside is touched --- */

int kill(pid_t pid, int number)
{
	(void)number;
	if (pid <= 0)
		abort(); /* that would be more than one process */
	return 0;
}

long syscall(long nr, ...)
{
	long a[6], ret;
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (nr == SYS_pidfd_send_signal || nr == SYS_tgkill || nr == SYS_rt_sigqueueinfo ||
	    nr == SYS_rt_tgsigqueueinfo)
		return 0;
	register long r10 __asm__("r10") = a[3];
	register long r8 __asm__("r8") = a[4];
	register long r9 __asm__("r9") = a[5];
	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	if (ret < 0 && ret > -4096) {
		errno = (int)-ret;
		return -1;
	}
	return ret;
}

void adopt_start(struct procd *q, struct call *c)
{
	(void)q;
	call_refuse(c, -ENOSYS, "not here");
}

/* --- those who answer later --- */

static int later(enum kind kind, void *owner, void *fn, void *arg)
{
	if (n_pending == PENDING_MAX)
		return -ENOBUFS;
	pending[n_pending++] = (struct pending) { kind, owner, fn, arg };
	return 0;
}

static struct pending take_pending(size_t i)
{
	struct pending x = pending[i];

	memmove(&pending[i], &pending[i + 1], (--n_pending - i) * sizeof *pending);
	return x;
}

struct herd *herd_new(uv_loop_t *l, int sock, const struct herd_ops *ops, void *arg)
{
	(void)l;
	(void)ops;
	(void)arg;
	(void)close(sock);
	return xmalloc(1);
}

int herd_ask(struct herd *h, Godwit__Shepherd__Request *q, int fd, herd_reply_fn *fn, void *arg)
{
	(void)fd;
	if (!h)
		return -EPIPE;
	if (godwit__shepherd__request__get_packed_size(q) > 192u << 10)
		return -EMSGSIZE;
	return fn ? later(HERD, h, (void *)fn, arg) : 0;
}

void herd_close(struct herd *h)
{
	for (size_t i = 0; h && i < n_pending;) {
		struct pending x = pending[i];

		if (x.kind != HERD || x.owner != h) {
			i++;
			continue;
		}
		(void)take_pending(i);
		((herd_reply_fn *)x.fn)(x.arg, NULL, NULL, 0);
		i = 0;
	}
	free(h);
}

int64_t gwc_trans(struct gwc *c, uint32_t endpoint, const struct gw_hdr *hdr, const void *data, size_t len,
		  unsigned locate_ms, gwc_reply_fn *fn, void *arg)
{
	(void)c;
	(void)endpoint;
	(void)hdr;
	(void)data;
	(void)locate_ms;
	if (len > GW_MSG_MAX)
		return -EMSGSIZE;
	return later(PEER, NULL, (void *)fn, arg) ?: 1;
}

int gwc_reply(struct gwc *c, uint64_t request, const struct gw_hdr *hdr, const void *data, size_t len)
{
	volatile uint8_t sum = 0;

	(void)c;
	(void)request;
	(void)hdr;
	for (size_t i = 0; i < len; i++)
		sum ^= ((const uint8_t *)data)[i];
	answers++;
	return 0;
}

uint32_t gwc_endpoint_open(struct gwc *c, uint32_t incarnation)
{
	(void)c;
	(void)incarnation;
	return ++endpoints;
}

void gwc_endpoint_close(struct gwc *c, uint32_t endpoint)
{
	(void)c;
	(void)endpoint;
}

int gwc_serve(struct gwc *c, uint32_t endpoint, const struct gw_port *get, gwc_request_fn *fn, void *arg,
	      gwc_done_fn *done, void *done_arg)
{
	(void)c;
	(void)endpoint;
	(void)get;
	(void)fn;
	(void)arg;
	return done ? later(DONE, NULL, (void *)done, done_arg) : 0;
}

int gwc_endpoint_take(struct gwc *c, uint32_t endpoint, gwc_take_fn *fn, void *arg)
{
	(void)c;
	(void)endpoint;
	return later(TAKE, NULL, (void *)fn, arg);
}

int gwc_endpoint_resume(struct gwc *c, uint32_t endpoint, gwc_done_fn *fn, void *arg)
{
	(void)c;
	(void)endpoint;
	return later(DONE, NULL, (void *)fn, arg);
}

int gwc_endpoint_install(struct gwc *c, const void *blob, size_t len, const struct gwc_bounds *bounds,
			 gwc_request_fn *serve, void *serve_arg, gwc_done_fn *fn, void *arg,
			 uint32_t *ret_endpoint)
{
	(void)c;
	(void)bounds;
	(void)blob;
	(void)len;
	(void)serve;
	(void)serve_arg;
	*ret_endpoint = ++endpoints;
	return later(DONE, NULL, (void *)fn, arg);
}

int gwc_hosts(struct gwc *c, gwc_hosts_fn *fn, void *arg)
{
	(void)c;
	(void)fn;
	(void)arg;
	return -ENOTCONN;
}

int mover_start(struct procd *q, const char *side, const struct mover_ops *ops, void *arg, struct mover **ret,
		struct err *e)
{
	(void)q;
	(void)side;
	if (n_movers == ARRAY_LEN(movers))
		return err_set(e, -EAGAIN, "enough");
	movers[n_movers] = (struct mover) { .ops = ops, .arg = arg };
	*ret = &movers[n_movers++];
	return 0;
}

int mover_say(struct mover *m, Godwit__Mover__MoverMessage__KindCase kind, void *body, const int *fds,
	      size_t n_fds)
{
	(void)kind;
	(void)body;
	for (size_t i = 0; i < n_fds; i++)
		if (fcntl(fds[i], F_GETFD) < 0)
			abort();
	return m && !m->ended ? 0 : -EPIPE;
}

void mover_kill(struct mover *m)
{
	if (m)
		m->killed = true;
}

void mover_end(struct mover *m)
{
	if (m)
		m->ended = true;
}

/* --- containers: a descriptor that becomes readable when it is killed --- */

int container_create(struct container *c, const struct cgroups *cg, const char *jobs_dir, const char *name,
		     const char *programs, struct err *e)
{
	(void)cg;
	(void)programs;
	container_init(c);
	(void)snprintf(c->dir, sizeof c->dir, "%s/%s", jobs_dir, name);
	if (mkdir(c->dir, 0700) < 0)
		return err_errno(e, "%s", c->dir);
	(void)snprintf(c->cgroup, sizeof c->cgroup, "%s", name);
	c->shepherd = 1;
	c->pidfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->sock = eventfd(0, EFD_CLOEXEC);
	return 0;
}

void container_kill(const struct container *c, const struct cgroups *cg, bool job_only)
{
	(void)cg;
	if (!job_only)
		(void)eventfd_write(c->pidfd, 1);
}

int container_freeze(const struct container *c, const struct cgroups *cg, bool frozen)
{
	(void)c;
	(void)cg;
	(void)frozen;
	return 0;
}

int container_count(const struct container *c, const struct cgroups *cg)
{
	(void)c;
	(void)cg;
	return 1;
}

pid_t container_any(const struct container *c, const struct cgroups *cg)
{
	(void)c;
	(void)cg;
	return 0;
}

void container_remove(struct container *c, const struct cgroups *cg)
{
	_cleanup_free_ char *job = xasprintf("%s/job", c->dir);

	(void)cg;
	(void)unlink(job);
	(void)rmdir(c->dir);
	fd_close(&c->pidfd);
	fd_close(&c->sock);
}

/* --- the script --- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	cage_close();
	if (mkdir(JOBS_DIR, 0700) < 0)
		cage_fail(JOBS_DIR);
	return 0;
}

static void start(void)
{
	struct err e = { 0 };

	memset(&p, 0, sizeof p);
	n_pending = n_movers = 0;
	(void)uv_loop_init(&loop);
	p.loop = &loop;
	p.gwc = (struct gwc *)&loop; /* never looked into */
	p.connection = 1;
	p.programs = (char *)(uintptr_t) "/nowhere";
	p.jobs_dir = (char *)(uintptr_t)JOBS_DIR;
	p.cgroups.dir = -EBADF;
	(void)snprintf(p.boot, sizeof p.boot, "0123456789abcdef0123456789abcdef");
	(void)snprintf(p.settings.name, sizeof p.settings.name, "h1");
	(void)snprintf(p.settings.address, sizeof p.settings.address, "10.0.0.1");
	(void)snprintf(p.settings.run_dir, sizeof p.settings.run_dir, "/tmp");
	p.settings.accept = true;
	p.settings.log_bytes = 65536;
	(void)unlink("/tmp/journal");
	if (journal_open(&p.journal, "/tmp/journal", &e) < 0)
		abort();
}

static struct job *nth_job(unsigned n)
{
	struct job *j = p.jobs;

	for (; j && n; n--)
		j = j->next;
	return j;
}

static void request(struct fuzz_in *in, bool to_job, uint8_t op)
{
	size_t len;
	const uint8_t *bytes = fuzz_bytes(in, 16384, &len);
	Godwit__Procd__Request *q = godwit__procd__request__unpack(NULL, len, bytes);
	struct job *j = to_job ? nth_job(op >> 6) : NULL;
	struct call *c;

	if (!q || (to_job && !j)) {
		if (q)
			godwit__procd__request__free_unpacked(q, NULL);
		return;
	}
	c = xcalloc(1, sizeof *c);
	c->p = &p;
	c->connection = 1;
	c->uid = c->gid = op & 8 ? 1000 : 0;
	c->local = op & 16;
	c->request = q;
	(void)snprintf(c->host, sizeof c->host, "h2");
	LIST_INSERT_HEAD(&p.calls, c, list);
	if (j) {
		(void)snprintf(c->job, sizeof c->job, "%s", j->name);
		ops_job(j, c);
	} else {
		ops_host(&p, c);
	}
}

static bool find_pending(enum kind kind, unsigned nth, struct pending *ret)
{
	for (size_t i = 0; i < n_pending; i++)
		if ((pending[i].kind == kind || (kind == DONE && pending[i].kind == TAKE)) && !nth--) {
			*ret = take_pending(i);
			return true;
		}
	return false;
}

static void shepherd_answers(struct fuzz_in *in, uint8_t op)
{
	size_t len, n_fds = op & 8 ? 3 : 0;
	const uint8_t *bytes = fuzz_bytes(in, 16384, &len);
	Godwit__Shepherd__Reply *r = godwit__shepherd__reply__unpack(NULL, len, bytes);
	struct pending x;
	int fds[3];

	if (r && find_pending(HERD, op >> 5, &x)) {
		for (size_t i = 0; i < n_fds; i++)
			fds[i] = eventfd(0, EFD_CLOEXEC);
		((herd_reply_fn *)x.fn)(x.arg, r, fds, n_fds);
		for (size_t i = 0; i < n_fds; i++)
			fd_close(&fds[i]);
	}
	if (r)
		godwit__shepherd__reply__free_unpacked(r, NULL);
}

static void peer_answers(struct fuzz_in *in, uint8_t op)
{
	struct gw_hdr hdr = { .command = GW_OK };
	size_t len;
	const uint8_t *bytes = fuzz_bytes(in, 16384, &len);
	struct pending x;

	if (find_pending(PEER, op >> 5, &x))
		((gwc_reply_fn *)x.fn)(x.arg, op & 8 ? GW_NOTFOUND : GW_OK, op & 8 ? NULL : &hdr, bytes, len);
}

static void mover_speaks(struct fuzz_in *in, uint8_t op)
{
	size_t len;
	const uint8_t *bytes = fuzz_bytes(in, 16384, &len);
	Godwit__Mover__MoverMessage *msg = godwit__mover__mover_message__unpack(NULL, len, bytes);
	struct mover *m = n_movers ? &movers[(op >> 3) % n_movers] : NULL;

	if (msg && m && !m->ended && !m->killed)
		m->ops->message(m->arg, msg);
	if (msg)
		godwit__mover__mover_message__free_unpacked(msg, NULL);
}

static void mover_dies(struct mover *m)
{
	if (m && !m->ended)
		m->ops->gone(m->arg);
}

static void flipd_answers(uint8_t op)
{
	static const uint8_t blob[64];
	struct pending x;
	int result = op & 8 ? -EEXIST : 0;

	if (!find_pending(DONE, op >> 5, &x))
		return;
	if (x.kind == TAKE)
		((gwc_take_fn *)x.fn)(x.arg, result, blob, sizeof blob);
	else
		((gwc_done_fn *)x.fn)(x.arg, result);
}

static void turn(void)
{
	for (size_t i = 0; i < n_movers; i++)
		if (movers[i].killed)
			mover_dies(&movers[i]);
	(void)uv_run(&loop, UV_RUN_NOWAIT);
}

/* Everybody goes, until nothing is left. */
static void stop(void)
{
	struct pending x;

	for (unsigned rounds = 0; rounds < 50; rounds++) {
		for (size_t i = 0; i < n_movers; i++)
			mover_dies(&movers[i]);
		for (struct job *j = p.jobs; j; j = j->next)
			container_kill(&j->container, &p.cgroups, false);
		for (unsigned n = 0; n < PENDING_MAX && find_pending(PEER, 0, &x); n++)
			((gwc_reply_fn *)x.fn)(x.arg, GW_FAILURE, NULL, NULL, 0);
		for (unsigned n = 0; n < PENDING_MAX && n_pending && pending[0].kind != HERD; n++)
			flipd_answers(0);
		turn();
	}
	journal_close(&p.journal);
	(void)uv_loop_close(&loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };

	start();
	for (unsigned i = 0; in.left && i < 100; i++) {
		uint8_t op = (uint8_t)fuzz_get(&in, 1);

		switch (op % 8) {
		case 0:
		case 1:
			request(&in, op & 1, op);
			break;
		case 2:
			shepherd_answers(&in, op);
			break;
		case 3:
			peer_answers(&in, op);
			break;
		case 4:
			mover_speaks(&in, op);
			break;
		case 5:
			mover_dies(n_movers ? &movers[(op >> 3) % n_movers] : NULL);
			break;
		case 6:
			flipd_answers(op);
			break;
		default:
			turn();
		}
	}
	stop();
	return 0;
}
