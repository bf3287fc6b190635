/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The destination's modules under messages that another host sent: the requirements (admit), or a description and
 * a checkpoint (prepare, restore, restore_thread, finish). The process they act in is a pretence: its system calls
 * all succeed, with results that the input chooses now and then.
 *
 * Input: a byte, then the requirements; or a byte, description and what the source sends of files (each behind its
 * length of 2 bytes), checkpoint.
 */
#include "cage.h"
#include "fuzz.h"
#include "inject/remote.h"
#include "state/file.h"
#include "state/file_target.h"
#include "state/mm.h"
#include "state/state.h"
#include "state/thread.h"

#define AGENT 0x10000000ull
#define THREADS_MAX 16u

#define FDS_MAX 512

static bool verbose;
static uint8_t mood; /* of the pretended process */
static pid_t sleeper;
static int sleeper_proc;

/* --- the pretence --- */

int batch_run(struct remote *r, struct remote_thread *t, struct batch *b, struct err *e)
{
	if (t < r->threads || t >= r->threads + r->n_threads)
		abort();
	if (b->error)
		return err_code(e, b->error, "a batch does not fit");
	for (unsigned i = 0; i < b->n_calls; i++) {
		for (int k = 0; k < 6; k++)
			if (b->call[i].from[k] == 2 && b->call[i].arg[k] > b->data_len)
				abort();
		b->call[i].ret = mood & 1 ? -ENOMEM : 0;
		if (b->call[i].ret < 0 && b->call[i].expect)
			return err_code(e, (int)b->call[i].ret, "%s", b->call[i].expect);
	}
	return 0;
}

int remote_write(const struct remote *r, raddr_t to, const void *from, size_t len)
{
	volatile uint8_t sum = 0;

	(void)r;
	(void)to;
	for (size_t i = 0; i < len; i++)
		sum ^= ((const uint8_t *)from)[i];
	return 0;
}

int remote_read(const struct remote *r, raddr_t from, void *to, size_t len)
{
	(void)r;
	(void)from;
	memset(to, 0, len);
	return 0;
}

raddr_t remote_hole(const struct remote *r, size_t size, const uint64_t (*busy)[2], size_t n_busy)
{
	uint64_t sum = 0;

	(void)size;
	(void)r;
	for (size_t i = 0; i < n_busy; i++)
		sum += busy[i][0] ^ busy[i][1];
	return (raddr_t) { sum == 1 ? 0 : AGENT };
}

size_t remote_agent_size(void)
{
	return 0x20000;
}

raddr_t remote_batch_addr(const struct remote *r, uint32_t offset)
{
	(void)r;
	return (raddr_t) { AGENT + offset };
}

int remote_put_fds(struct remote *r, struct remote_thread *t, int sock, int sock_there, const int *fds, size_t n,
		   int *ret_there, struct err *e)
{
	(void)r;
	(void)t;
	(void)sock;
	(void)sock_there;
	(void)e;
	for (size_t i = 0; i < n; i++) {
		if (fcntl(fds[i], F_GETFD) < 0)
			abort(); /* handed over, and not open */
		ret_there[i] = 1000 + (int)i;
	}
	return 0;
}

int file_give(struct state_target *d, const struct file_give *list, size_t n, struct err *e)
{
	(void)d;
	(void)e;
	for (size_t i = 0; i < n; i++)
		if (fcntl(list[i].ours, F_GETFD) < 0 || (i && list[i].there <= list[i - 1].there))
			abort();
	return 0;
}

int file_give_room(struct state_target *d, int highest, struct err *e)
{
	(void)d;
	(void)highest;
	(void)e;
	return 0;
}

int file_give_begin(struct state_target *d, int highest, struct err *e)
{
	(void)d;
	(void)highest;
	(void)e;
	return 0;
}

int file_give_end(struct state_target *d, struct batch *b, struct err *e)
{
	(void)d;
	(void)b;
	(void)e;
	return 0;
}

/* --- the source's answers about files --- */

static int file_send(void *ctx, const void *buf, size_t len, struct err *e)
{
	volatile uint8_t sum = 0;

	(void)ctx;
	(void)e;
	for (size_t i = 0; i < len; i++)
		sum ^= ((const uint8_t *)buf)[i];
	return 0;
}

static int file_recv(void *ctx, void *buf, size_t len, struct err *e)
{
	struct fuzz_in *in = ctx;

	if (len > in->left)
		return err_set(e, -ECONNRESET, "the source has gone");
	memcpy(buf, in->p, len);
	in->p += len;
	in->left -= len;
	return 0;
}

/* --- the destination --- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[32];

	(void)argc;
	(void)argv;
	fuzz_quiet();
	verbose = getenv("FUZZ_VERBOSE") != NULL;
	sleeper = cage_sleeper();
	(void)snprintf(path, sizeof path, "/proc/%d", sleeper);
	sleeper_proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cage_close();
	return 0;
}

static struct state_target new_target(struct problems *p)
{
	return (struct state_target) { .proc = -EBADF,
				       .pidfd = -EBADF,
				       .agent_sock = -EBADF,
				       .agent_sock_there = 900,
				       .carry = mood & 2,
				       .scratch = "/tmp",
				       .problems = p };
}

static void admit(const uint8_t *data, size_t size)
{
	Godwit__Ckpt__Requirements *q = godwit__ckpt__requirements__unpack(NULL, size, data);
	struct problems p = { 0 };
	struct state_target d = new_target(&p);
	struct err e = { 0 };

	for (size_t i = 0; q && state_modules[i]; i++)
		if (state_modules[i]->admit && state_modules[i]->admit(&d, q, &e) < 0)
			break;
	if (q)
		godwit__ckpt__requirements__free_unpacked(q, NULL);
	file_target_done(&d);
	problems_done(&p);
}

static Godwit__Ckpt__Job *unpack(const uint8_t *data, size_t size)
{
	Godwit__Ckpt__Job *job = godwit__ckpt__job__unpack(NULL, size, data);

	/* As the mover insists. */
	if (job && (job->n_processes != 1 || !job->processes[0]->n_threads)) {
		godwit__ckpt__job__free_unpacked(job, NULL);
		job = NULL;
	}
	return job;
}

static int prepare(struct state_target *d, const struct file_io *io, struct err *e)
{
	int err = memory_target_new(d->remote, &d->mm, e);

	if (!err)
		err = file_carry_fetch(d, io, e);

	for (size_t i = 0; state_modules[i] && !err; i++)
		if (state_modules[i]->prepare)
			err = state_modules[i]->prepare(d, e);
	return err;
}

static int run_phase(struct state_target *d, enum state_phase phase, struct batch *b, struct err *e)
{
	int err = 0;

	batch_init(b);
	for (size_t i = 0; state_modules[i] && !err; i++)
		if (state_modules[i]->phase == phase && state_modules[i]->restore)
			err = state_modules[i]->restore(d, b, e);
	return err ? err : state_flush(d, NULL, b, e);
}

static int finish(struct state_target *d, struct batch *b, struct err *e)
{
	int err = 0;

	batch_init(b);
	for (size_t i = 0; state_modules[i] && !err; i++)
		if (state_modules[i]->finish)
			err = state_modules[i]->finish(d, b, e);
	return err ? err : state_flush(d, NULL, b, e);
}

static int run_threads(struct state_target *d, struct batch *b, struct err *e)
{
	int err = 0;

	for (size_t t = 0; t < d->remote->n_threads && !err; t++) {
		batch_init(b);
		for (size_t i = 0; state_modules[i] && !err; i++)
			if (state_modules[i]->restore_thread)
				err = state_modules[i]->restore_thread(d, &d->remote->threads[t],
								       d->process->threads[t], b, e);
		if (!err)
			err = state_flush(d, &d->remote->threads[t], b, e);
	}
	return err;
}

static int restore(struct state_target *d, const struct file_io *io, struct err *e)
{
	struct batch *b = xmalloc(sizeof *b);
	int err = file_carry_pull(d, io, e);

	if (!err)
		err = run_phase(d, STATE_MEMORY, b, e);

	if (!err)
		err = finish(d, b, e);
	for (int phase = STATE_FILES; phase <= STATE_LAST && !err; phase++)
		err = run_phase(d, phase, b, e);
	(void)signals_queued(d->process);
	if (!err)
		err = run_threads(d, b, e);
	free(b);
	return err;
}

static void take_in(const Godwit__Ckpt__Job *early, struct fuzz_in carried, const Godwit__Ckpt__Job *final)
{
	const struct file_io io = { .ctx = &carried, .send = file_send, .recv = file_recv };
	struct remote_thread threads[THREADS_MAX] = { 0 };
	struct remote r = { .pid = sleeper, .threads = threads, .agent = { AGENT } };
	struct problems p = { 0 };
	struct state_target d = new_target(&p);
	struct err e = { 0 };

	r.n_threads = MIN(final->processes[0]->n_threads, (size_t)THREADS_MAX);
	for (size_t i = 0; i < r.n_threads; i++)
		threads[i] =
			(struct remote_thread) { .tid = sleeper, .vtid = final->processes[0]->threads[i]->tid };
	d.remote = &r;
	d.pid = sleeper;
	d.proc = dup(sleeper_proc);
	d.job = early;
	d.process = early->processes[0];
	d.vpid = d.process->pid;
	(void)file_targets_get(&d);
	fd_close(&d.files->root);
	d.files->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC); /* the sleeper's root is the real one */
	if (!prepare(&d, &io, &e)) {
		d.early = early;
		d.job = final;
		d.process = final->processes[0];
		(void)!restore(&d, &io, &e);
	}
	if (verbose)
		(void)fprintf(stderr, "%s: %s\n", d.early ? "restore" : "prepare", e.code ? err_text(&e) : "done");
	file_target_done(&d);
	memory_target_free(d.mm);
	problems_done(&p);
	fd_close(&d.proc);
}

static void check_descriptors(void)
{
	static unsigned runs, before;
	unsigned now = 0;

	if (runs++ % 256)
		return;
	for (int fd = 0; fd < FDS_MAX; fd++)
		now += fcntl(fd, F_GETFD) >= 0;
	before = before ? before : now;
	if (now > before + 4)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size }, carried;
	Godwit__Ckpt__Job *early, *final;
	size_t len;
	const uint8_t *first;

	check_descriptors();
	mood = (uint8_t)fuzz_get(&in, 1);
	if (mood & 0x80) {
		admit(in.p, in.left);
		return 0;
	}
	first = fuzz_bytes(&in, SIZE_MAX, &len);
	carried.p = fuzz_bytes(&in, SIZE_MAX, &carried.left);
	early = unpack(first, len);
	final = early ? unpack(in.p, in.left) : NULL;
	if (final)
		take_in(early, carried, final);
	if (final)
		godwit__ckpt__job__free_unpacked(final, NULL);
	if (early)
		godwit__ckpt__job__free_unpacked(early, NULL);
	return 0;
}
