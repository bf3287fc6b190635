/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the seeds of the corpora that nobody wants to write by hand: `build-fuzz/fuzz/seeds fuzz/corpus`. Small
 * ones, which show the fuzzers the shapes of what they are to spoil.
 */
#include "seeds.h"

const char *seeds_root;

static void texts(void)
{
	save_text("name = h1\n# a comment\ntrusted = 10.0.0.0/8, 192.168.0.0/16 # more\nn = 16M\n\npeers=\n",
		  "conf", "conf");
	save_text("jobs_from = h1:alice:1000, *\nroot_from=h2\ntrusted = fd12::/16\naccept = no\nuser_jobs = 3\n",
		  "conf", "policy");
	save_text("{\"hosts\": 3, \"private_root\": false, \"trusted\": true, \"rate\": \"10mbit\", \"env\": "
		  "[\"A=b\"], \"conf\": []}",
		  "lab", "three");
	save_text("h1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n# h2\n", "conf", "hosts");
	save_text("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n", "conf", "key");
	save_text("00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon\n"
		  "00e03000-00e24000 rw-p 00000000 00:00 0           [heap]\n"
		  "35b1a21000-35b1a22000 rw-s 00001000 00:05 1234    /memfd:a\\012b (deleted)\n"
		  "7f0000000000-7f0000001000 rw-p 00000000 00:00 0   [anon:name]\n"
		  "7ffd5b7f8000-7ffd5b819000 rw-p 00000000 00:00 0   [stack]\n"
		  "7ffd5b9f2000-7ffd5b9f4000 r-xp 00000000 00:00 0   [vdso]\n"
		  "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n",
		  "maps", "maps");
	save_text("7f0000000000-7f0000200000 rw-p 00000000 00:00 0 \n"
		  "Size:               2048 kB\nKernelPageSize:        4 kB\nRss:                   8 kB\nSwap:   "
		  "               0 kB\n"
		  "ProtectionKey:         0\nVmFlags: rd wr mr mw me ac lo lf hg dc dd wf sr mg nr \n",
		  "maps", "smaps");
}

/* --- page data --- */

static void chunk(struct seed *s, uint32_t space, uint64_t start, uint32_t pages)
{
	static const uint8_t page[PAGE] = { 'p' };

	put_int(s, 1, 4);
	put_int(s, pages, 4);
	put_int(s, space, 4);
	put_int(s, 0, 4);
	put_int(s, start, 8);
	put_int(s, (uint64_t)pages * PAGE, 8);
	for (uint32_t i = 0; i < pages; i++)
		put(s, page, sizeof page);
}

static void chunks(struct seed *s)
{
	chunk(s, 0, 0x200000000000, 2);
	chunk(s, 7, 3 * PAGE, 1);
	put_int(s, 0, 8);
	put_int(s, 0, 8);
	save(s, "chunk", "two");
	chunk(s, 0, 0x20000000b000, 1);
	put_int(s, 0, 8);
	put_int(s, 0, 8);
	save(s, "chunk", "last-place");
}

/* --- a job --- */

/* Everything about a process that is neither memory nor files. */
static void add_rest(Godwit__Ckpt__Process *p)
{
	static Godwit__Ckpt__FsContext fs = GODWIT__CKPT__FS_CONTEXT__INIT;
	static Godwit__Ckpt__Sched sched = GODWIT__CKPT__SCHED__INIT;
	static Godwit__Ckpt__Creds creds = GODWIT__CKPT__CREDS__INIT;
	static Godwit__Ckpt__Timers timers = GODWIT__CKPT__TIMERS__INIT;
	static Godwit__Ckpt__Itimer itimer = GODWIT__CKPT__ITIMER__INIT, *itimers[] = { &itimer };
	static Godwit__Ckpt__PosixTimer posix = GODWIT__CKPT__POSIX_TIMER__INIT, *posixs[] = { &posix };
	static Godwit__Ckpt__Limit limit = GODWIT__CKPT__LIMIT__INIT, *limits[] = { &limit };
	static Godwit__Ckpt__ProcessMisc misc = GODWIT__CKPT__PROCESS_MISC__INIT;
	static Godwit__Ckpt__SysCall call = GODWIT__CKPT__SYS_CALL__INIT;
	static uint32_t groups[] = { 100, 200 };
	static uint8_t affinity[128] = { 3 };

	fs.cwd = (char *)(uintptr_t) "/a";
	fs.root = (char *)(uintptr_t) "/";
	fs.umask = 022;
	sched.affinity = bytes_of(affinity, sizeof affinity);
	creds.uid = creds.euid = creds.suid = creds.fsuid = 1000;
	creds.groups = groups;
	creds.n_groups = 2;
	creds.cap_bounding = 0x1ffffffffff;
	itimer.value_ns = 1000000000;
	posix.value_ns = posix.interval_ns = 5000000;
	posix.signal = SIGALRM;
	timers.itimers = itimers;
	timers.n_itimers = 1;
	timers.posix = posixs;
	timers.n_posix = 1;
	limit.resource = 7;
	limit.soft = limit.hard = 1024;
	misc.dumpable = true;
	misc.sid = misc.pgid = 12;
	call.kind = GODWIT__CKPT__SYS_CALL__KIND__RESTART;
	p->fs = &fs;
	p->timers = &timers;
	p->limits = limits;
	p->n_limits = 1;
	p->misc = &misc;
	for (size_t i = 0; i < p->n_threads; i++) {
		p->threads[i]->sched = &sched;
		p->threads[i]->creds = &creds;
		p->threads[i]->call = &call;
	}
}

/* One of each kind. */
static Godwit__Ckpt__Region **make_regions(size_t *ret_n)
{
	static Godwit__Ckpt__Region region[5], *regions[5];
	static uint64_t runs[] = { 0, 1, 1, 1 };
	static uint32_t advice[] = { MADV_DONTFORK };

	for (unsigned i = 0; i < ARRAY_LEN(region); i++) {
		godwit__ckpt__region__init(&region[i]);
		regions[i] = &region[i];
		region[i].kind = (Godwit__Ckpt__Region__Kind)(i + 1);
		region[i].start = 0x7f0000000000 + i * 0x100000;
		region[i].end = region[i].start + 4 * PAGE;
		region[i].prot = PROT_READ | (i % 2 ? 0 : PROT_WRITE);
		region[i].resident = runs;
		region[i].n_resident = ARRAY_LEN(runs);
		region[i].has_pages = true;
		region[i].object = i == 1 ? 1 : i == 2 || i == 3 ? 7 : 0;
		region[i].name = (char *)(uintptr_t)(i ? "" : "heap");
		region[i].advice = advice;
		region[i].n_advice = i == 0;
	}
	*ret_n = ARRAY_LEN(regions);
	return regions;
}

static Godwit__Ckpt__Job *make_job(void)
{
	static Godwit__Ckpt__Job job = GODWIT__CKPT__JOB__INIT;
	static Godwit__Ckpt__Process process = GODWIT__CKPT__PROCESS__INIT, *processes[] = { &process };
	static Godwit__Ckpt__Thread thread[2] = { GODWIT__CKPT__THREAD__INIT, GODWIT__CKPT__THREAD__INIT };
	static Godwit__Ckpt__Thread *threads[] = { &thread[0], &thread[1] };
	static Godwit__Ckpt__AltStack alt = GODWIT__CKPT__ALT_STACK__INIT;
	static Godwit__Ckpt__Memory memory = GODWIT__CKPT__MEMORY__INIT;
	static Godwit__Ckpt__Region shm = GODWIT__CKPT__REGION__INIT, *shared[] = { &shm };
	static Godwit__Ckpt__OpenFile file[7], *files[7];
	static Godwit__Ckpt__FileContent content = GODWIT__CKPT__FILE_CONTENT__INIT;
	static Godwit__Ckpt__Owner owner = GODWIT__CKPT__OWNER__INIT;
	static Godwit__Ckpt__Pipe pipe = GODWIT__CKPT__PIPE__INIT, *pipes[] = { &pipe };
	static Godwit__Ckpt__Descriptor descriptor[7], *descriptors[7];
	static Godwit__Ckpt__SignalAction action = GODWIT__CKPT__SIGNAL_ACTION__INIT, *actions[] = { &action };
	static uint8_t regs[27 * 8], xstate[576], siginfo[128] = { SIGUSR1 }, auxv[32];
	static ProtobufCBinaryData pending[1];
	static const char *const paths[] = { "/a/f", "/a/b", "/dev/null", "/a/p", "", "", "/a/b/g" };
	static const Godwit__Ckpt__OpenFile__Kind kinds[] = {
		GODWIT__CKPT__OPEN_FILE__KIND__REGULAR, GODWIT__CKPT__OPEN_FILE__KIND__DIRECTORY,
		GODWIT__CKPT__OPEN_FILE__KIND__DEVICE,	GODWIT__CKPT__OPEN_FILE__KIND__FIFO,
		GODWIT__CKPT__OPEN_FILE__KIND__PIPE,	GODWIT__CKPT__OPEN_FILE__KIND__EVENTFD,
		GODWIT__CKPT__OPEN_FILE__KIND__REGULAR,
	};
	static const uint32_t modes[] = { S_IFREG | 0644, S_IFDIR | 0755, S_IFCHR | 0666,
					  S_IFIFO | 0644, S_IFIFO,	  0,
					  S_IFREG };

	memory.regions = make_regions(&memory.n_regions);
	shm.kind = GODWIT__CKPT__REGION__KIND__ANON_SHARED;
	shm.object = 1;
	shm.end = 8 * PAGE;
	content.how = GODWIT__CKPT__FILE_CONTENT__HOW__SHARED;
	for (unsigned i = 0; i < ARRAY_LEN(file); i++) {
		godwit__ckpt__open_file__init(&file[i]);
		godwit__ckpt__descriptor__init(&descriptor[i]);
		files[i] = &file[i];
		descriptors[i] = &descriptor[i];
		file[i].id = i + 1;
		file[i].kind = kinds[i];
		file[i].path = (char *)(uintptr_t)paths[i];
		file[i].mode = modes[i];
		file[i].flags = i == 6 ? O_RDWR : O_RDONLY;
		file[i].writes = i == 6;
		file[i].ino = i + 100;
		file[i].content = i == 0 || i == 6 ? &content : NULL;
		file[i].pipe = i == 3 || i == 4 ? 1 : 0;
		descriptor[i].fd = 3 + i;
		descriptor[i].file = i + 1;
	}
	file[2].rdev = 0x103;
	owner.type = 1;
	owner.pid = 12;
	owner.signal = SIGIO;
	file[4].owner = &owner;
	pipe.id = 1;
	pipe.size = 65536;
	pipe.content = bytes_of("in the pipe", 11);
	pipe.readers = pipe.writers = 1;
	action.signal = SIGTERM;
	action.handler = 0x401000;
	pending[0] = bytes_of(siginfo, sizeof siginfo);
	for (unsigned i = 0; i < 2; i++) {
		thread[i].tid = 12 + (int)i;
		thread[i].regs = bytes_of(regs, sizeof regs);
		thread[i].xstate = bytes_of(xstate, sizeof xstate);
		thread[i].comm = (char *)(uintptr_t) "worker";
		thread[i].altstack = &alt;
		thread[i].robust_len = 24;
		thread[i].pending = pending;
		thread[i].n_pending = 1;
	}
	memory.auxv = bytes_of(auxv, sizeof auxv);
	memory.exe = (char *)(uintptr_t) "/a/f";
	memory.exe_object = 1;
	process.pid = 12;
	process.threads = threads;
	process.n_threads = 2;
	process.memory = &memory;
	process.descriptors = descriptors;
	process.n_descriptors = ARRAY_LEN(descriptors);
	process.actions = actions;
	process.n_actions = 1;
	add_rest(&process);
	job.processes = processes;
	job.n_processes = 1;
	job.files = files;
	job.n_files = ARRAY_LEN(files);
	job.pipes = pipes;
	job.n_pipes = 1;
	job.shared = shared;
	job.n_shared = 1;
	return &job;
}

/* Nothing that the destination could want is sent, twice. */
static void no_files(struct seed *s)
{
	Godwit__Ckpt__FilePart end = GODWIT__CKPT__FILE_PART__INIT;
	size_t len;

	end.end = true;
	len = godwit__ckpt__file_part__get_packed_size(&end);
	put_int(s, 2 * (4 + len), 2);
	for (unsigned i = 0; i < 2; i++) {
		put_int(s, len, 4);
		put_message(s, &end.base);
	}
}

static void frame(struct seed *s, unsigned row, unsigned type, const ProtobufCMessage *m, const char *name)
{
	put_int(s, 2 * row, 1);
	put_int(s, type, 4);
	put_int(s, protobuf_c_message_get_packed_size(m), 4);
	put_message(s, m);
	save(s, "mover", name);
}

/* What the movers say to each other, and what the cell decodes of it. */
static void messages(struct seed *s, const Godwit__Ckpt__Job *job, const Godwit__Ckpt__Requirements *q)
{
	Godwit__Mover__MoverMessage packet = GODWIT__MOVER__MOVER_MESSAGE__INIT;
	Godwit__Mover__Failed failed = GODWIT__MOVER__FAILED__INIT;
	Godwit__Mover__Stun stun = GODWIT__MOVER__STUN__INIT;

	failed.code = -5;
	failed.text = (char *)(uintptr_t) "no";
	packet.kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_STUN;
	packet.stun = &stun;
	frame(s, 0, 1, &job->base, "description");
	frame(s, 3, FILE_FRAME_FAILED, &failed.base, "failed");
	put_int(s, 0x21, 1);
	put_counted(s, &packet.base);
	put_counted(s, &packet.base);
	save(s, "mover", "packets");
	put_int(s, 0, 1);
	put_counted(s, &job->base);
	put_message(s, &job->base);
	save(s, "decode", "job");
	put_int(s, DECODE_REQUIREMENTS, 1);
	put_message(s, &q->base);
	save(s, "decode", "requirements");
	put_int(s, DECODE_FAILED, 1);
	put_message(s, &failed.base);
	save(s, "decode", "failed");
}

/* A function and two structures, one in the other. */
static void types(struct seed *s)
{
	static const char strings[] = "\0f\0s\0a\0b\0c\0int";
	const struct btf_type t[] = {
		{ .name_off = 11, .info = BTF_KIND_INT << 24, .size = 4 },
		{ .info = BTF_KIND_FUNC_PROTO << 24 },
		{ .name_off = 1, .info = BTF_KIND_FUNC << 24, .type = 2 },
	};
	const struct btf_type in = { .info = BTF_KIND_STRUCT << 24 | 1, .size = 4 };
	const struct btf_type out = { .name_off = 3, .info = BTF_KIND_STRUCT << 24 | 2, .size = 8 };
	const struct btf_member m[] = { { 9, 1, 0 }, { 5, 1, 0 }, { 7, 4, 32 } };

	put_int(s, 1, 1);
	put_int(s, 4 + sizeof t + sizeof in + sizeof out + sizeof m, 2);
	put(s, &t[0], sizeof t[0]);
	put_int(s, 1u << 24, 4); /* signed, 32 bits */
	put(s, &t[1], sizeof t - sizeof t[0]);
	put(s, &in, sizeof in);
	put(s, &m[0], sizeof m[0]);
	put(s, &out, sizeof out);
	put(s, &m[1], 2 * sizeof m[1]);
	put(s, strings, sizeof strings);
	save(s, "btf", "types");
}

/* A text of the kernel's as it is, for one parser. */
static void kernel_text(struct seed *s, unsigned how, const char *path, const char *name)
{
	_cleanup_free_ char *text = NULL;
	ssize_t n = fd_slurp(AT_FDCWD, path, SEED_MAX / 2, &text);

	put_int(s, how, 1);
	if (n > 0)
		put(s, text, (size_t)n);
	save(s, "proc", name);
}

static void kernel_texts(struct seed *s)
{
	static const char timers[] = "\3ID: 1\nsignal: 14/0000000000000001\nnotify: signal/tid.12\nClockID: 1\n";
	static const char info[] = "\4pos:\t0\nflags:\t02\nmnt_id:\t14\neventfd-count: 1\nlock:\t1: FLOCK\n";

	put_int(s, 0, 1); /* all as it is */
	save(s, "proc", "real");
	for (unsigned i = 0; i < 64; i++)
		put_int(s, i == 0 ? 0 : i % 3 ? 0 : 1, i % 3 ? 1 : 4); /* edits here and there */
	save(s, "proc", "edited");
	kernel_text(s, 1, "/proc/self/limits", "limits");
	kernel_text(s, 3, "/proc/self/status", "status");
	put(s, timers, sizeof timers - 1);
	s->bytes[0] = 2;
	save(s, "proc", "timers");
	put(s, info, sizeof info - 1);
	save(s, "proc", "fdinfo");
	save_text("\0051: POSIX  ADVISORY  WRITE 1234 08:01:5678 0 EOF\n", "proc", "lock");
}

static void jobs(struct seed *s)
{
	Godwit__Ckpt__Job *job = make_job();
	Godwit__Ckpt__Requirements q = GODWIT__CKPT__REQUIREMENTS__INIT;
	uint8_t cpu[40] = { 0 };

	put_int(s, 2, 1);
	put_counted(s, &job->base);
	no_files(s);
	put_message(s, &job->base);
	save(s, "checkpoint", "carry");
	job->files[6]->writes = false;
	job->files[6]->flags = 0;
	job->files[6]->content = NULL;
	put_int(s, 0, 1);
	put_counted(s, &job->base);
	no_files(s);
	put_message(s, &job->base);
	save(s, "checkpoint", "whole");
	/* One part after the other away. */
	for (unsigned i = 0; i < 4; i++) {
		size_t *n[] = { &job->processes[0]->n_descriptors, &job->n_pipes,
				&job->processes[0]->memory->n_regions, &job->n_files };
		char name[16];

		*n[i] = 0;
		put_int(s, 2, 1);
		put_counted(s, &job->base);
		no_files(s);
		put_message(s, &job->base);
		(void)snprintf(name, sizeof name, "without-%u", i);
		save(s, "checkpoint", name);
	}
	job->n_files = 7;
	q.cpu = bytes_of(cpu, sizeof cpu);
	q.files = job->files;
	q.n_files = 7;
	q.cwd = q.root = (char *)(uintptr_t) "/a/b";
	put_int(s, 0x82, 1);
	put_message(s, &q.base);
	save(s, "checkpoint", "requirements");
	messages(s, job, &q);
	put_int(s, 10, 1); /* a message on a plain stream: type, length, message */
	put_int(s, 4, 2);
	put_int(s, 0x02030001, 4);
	put_int(s, 1, 4);
	put_int(s, 5, 4);
	put(s, "\x0a\x03\x08\x01\x10", 5);
	save(s, "stream", "message");
	put_int(s, 0, 1);
	put(s, "GODWITm1", 8);
	put_int(s, 0, 1);
	put_int(s, 3, 4);
	for (unsigned i = 0; i < 64; i++)
		put_int(s, i, 1);
	save(s, "stream", "hello");
}

/* --- packets and endpoints --- */

static void on_transmit(void *ctx, uint32_t loc, const struct iovec *iov, int n)
{
	(void)ctx;
	(void)loc;
	(void)iov;
	(void)n;
}

static bool on_room(void *ctx, void *owner, size_t len)
{
	(void)ctx;
	(void)owner;
	(void)len;
	return true;
}

static void on_request(void *ctx, void *owner, uint32_t number, const struct rpc_request *r)
{
	(void)ctx;
	(void)owner;
	(void)number;
	(void)r;
}

static void on_reply(void *ctx, void *owner, uint32_t number, uint64_t cookie, int status,
		     const struct rpc_body *body)
{
	(void)ctx;
	(void)owner;
	(void)number;
	(void)cookie;
	(void)status;
	(void)body;
}

static void on_cancelled(void *ctx, void *owner, uint64_t id)
{
	(void)ctx;
	(void)owner;
	(void)id;
}

static const struct rpc_ops ops = {
	.transmit = on_transmit,
	.room = on_room,
	.request = on_request,
	.reply = on_reply,
	.cancelled = on_cancelled,
};

static void endpoint(struct seed *s)
{
	struct rpc_body body = { .buf = buf_new(RPC_USER_HDR_LEN + 4), .len = RPC_USER_HDR_LEN + 4 };
	struct gw_port port = gw_port_from_name("job:web");
	struct rpc_config c;
	struct buf *blob = NULL;
	struct rpc_ep *ep;
	struct rpc *r;
	static char owner;

	memset(body.buf->data, 'x', body.buf->len);
	rpc_config_default(&c);
	r = rpc_new(&c, &ops, NULL, 1);
	ep = rpc_ep_new(r, 1, &owner, 1);
	if (rpc_serve(r, ep, &port) < 0)
		abort();
	rpc_trans(r, ep, 1, &port, 0, 0, 0, &body);
	port.bytes[3]++;
	rpc_trans(r, ep, 2, &port, 0, 0, 0, &body);
	rpc_work(r, 2);
	if (rpc_ep_take(r, ep, true, &blob) < 0)
		abort();
	put_int(s, 3, 1);
	put(s, blob->data, blob->len);
	save(s, "endpoint", "two-transactions");
	buf_unref(blob);
	buf_unref(body.buf);
	rpc_free(r);
}

/* As raw_fuzz reads it: that endpoint sends to the group. */
static void say_to_group(struct seed *s, unsigned endpoint)
{
	put_int(s, 1 | 1 << 2 | endpoint << 5, 1);
	put_int(s, 4, 1);
	put_int(s, 0, 1);
	put_int(s, 1000, 2);
	put_int(s, 5, 1);
	put_int(s, 3, 2);
	put(s, "abc", 3);
}

/* As raw_fuzz reads it: a message to a group, and an endpoint with it that arrives. */
static void raw_endpoint(struct seed *s)
{
	static const struct raw_ops raw_ops;
	struct raw_send m = { .id = 1, .dst = 0x4200, .flags = RAW_GROUP, .n = 1, .locate_us = 1000000 };
	struct rpc_config c;
	struct buf *blob = NULL;
	flip_addr group;
	struct raw_ep *ep;
	struct raw *raw;
	struct rpc *r;
	static char owner;

	rpc_config_default(&c);
	r = rpc_new(&c, &ops, NULL, 1);
	raw = raw_new(rpc_flip(r), &raw_ops, NULL);
	ep = raw_ep_new(raw, &owner, 1);
	m.data.body = buf_copy("notes", 5);
	m.data.len = 5;
	raw_send(raw, ep, &m, 1);
	m.flags = 0;
	raw_send(raw, ep, &m, 1);
	if (raw_join(raw, ep, 0x4200, &group) < 0 || raw_ep_take(raw, ep, &blob) < 0)
		abort();
	put_int(s, 1, 1);
	put_int(s, blob->len, 2);
	put(s, blob->data, blob->len);
	say_to_group(s, 3); /* it sends to its group */
	put_int(s, 3 | 14 << 2, 1);
	put_int(s, 9, 1);
	save(s, "raw", "endpoint");
	buf_unref(m.data.body);
	buf_unref(blob);
	raw_free(raw);
	rpc_free(r);
}

/* As rpc_fuzz reads it: a deed, a length, a packet. */
static void packet(struct seed *s, const struct flip_hdr *h, const void *data)
{
	uint8_t head[FLIP_HDR_LEN];

	flip_hdr_encode(h, head);
	put_int(s, 0, 1);
	put_int(s, FLIP_HDR_LEN + h->length, 2);
	put(s, head, sizeof head);
	put(s, data, h->length);
}

static void packets(struct seed *s)
{
	static const char *const names[] = { "request", "reply",    "ack",     "nak", "enquire",
					     "alive",	"received", "forward", "fail" };
	struct flip_hdr h = { .hops_max = 5, .frag = FLIP_FRAG, .src_inc = 1, .dst_inc = 1 };
	uint8_t message[RPC_HDR_LEN + RPC_USER_HDR_LEN + 3] = { 0 }, port[FLIP_PORT_LEN];

	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		struct rpc_hdr rpc = { .type = (uint8_t)(RPC_REQUEST + i), .tid = 1 };

		h.type = FLIP_UNIDATA;
		h.src = 0x1122334455667700;
		h.dst = i == 0 || i == 4 || i == 6 ? 1 : 2;
		memset(rpc.port.bytes, 1, GW_PORT_LEN);
		rpc_hdr_encode(&rpc, message);
		h.length = h.total = i < 2 ? sizeof message : RPC_HDR_LEN;
		packet(s, &h, message);
		put_int(s, 3 | 10 << 2, 1);
		put_int(s, 200, 1);
		packet(s, &h, message);
		save(s, "rpc", names[i]);
	}
	for (unsigned type = FLIP_LOCATE; type < FLIP_TYPE_N; type++) {
		char name[32];

		h = (struct flip_hdr) {
			.type = (uint8_t)type, .hops_max = 5, .frag = FLIP_FRAG, .dst = 1, .src = 77
		};
		memset(port, 2, sizeof port);
		if (type == FLIP_HEREIS || type == FLIP_LOCATE) {
			h.flags = FLIP_F_PORT;
			h.length = h.total = sizeof port;
		} else if (type == FLIP_CREDIT) {
			h.length = 5;
		} else if (type == FLIP_UNIDATA) {
			h.length = FLIP_FRAG;
			h.total = FLIP_FRAG + 9;
		}
		static uint8_t data[FLIP_FRAG];
		memcpy(data, port, sizeof port);
		packet(s, &h, data);
		if (type == FLIP_UNIDATA) {
			h.offset = FLIP_FRAG;
			h.length = 9;
			packet(s, &h, data);
		}
		(void)snprintf(name, sizeof name, "packet-%s", flip_type_name(type));
		save(s, "rpc", name);
	}
	/* raw_fuzz: who is in the group, a message to it, and one to a member. */
	for (unsigned type = FLIP_LOCATE; type <= FLIP_BUSY; type++) {
		uint8_t data[FLIP_MEMBER_LEN] = { [7] = 5, [11] = 1 };
		char name[32];

		h = (struct flip_hdr) {
			.type = (uint8_t)type, .hops_max = 5, .frag = FLIP_FRAG, .src = 5, .dst = 5
		};
		h.flags = type == FLIP_MULTIDATA || type == FLIP_UNIDATA ? FLIP_F_RAW : FLIP_F_GROUP;
		if (type == FLIP_MULTIDATA || type == FLIP_UNIDATA) {
			h.dst = 1;
			h.src = 78;
		}
		if (type == FLIP_NOTHERE)
			h.flags |= FLIP_F_LOCATE;
		if (type == FLIP_HEREIS || type == FLIP_MULTIDATA || type == FLIP_UNIDATA)
			h.length = h.total = sizeof data;
		packet(s, &h, data);
		say_to_group(s, 0);
		packet(s, &h, data);
		(void)snprintf(name, sizeof name, "packet-%s", flip_type_name(type));
		save(s, "raw", name);
	}
	/* peers_fuzz: two packets, and what comes of it delivered, changed, repeated. */
	for (unsigned i = 0; i < 40; i++)
		put_int(s, i == 0 ? 0x07 : i % 4 == 3 ? 0x00 : i % 2 ? 0x01 : 0x11, 1);
	save(s, "peers", "talk");
}

/* --- images --- */

static int one_page(void *arg, uint32_t space, uint64_t start, void *buf, size_t len, struct err *e)
{
	(void)arg;
	(void)space;
	(void)start;
	(void)e;
	memset(buf, 'c', len);
	return 0;
}

static void keep_core(struct seed *s, const char *dir, uint8_t how, const char *name)
{
	char *path = xasprintf("%s/12.core", dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	put_int(s, how, 1);
	n = read(fd, s->bytes + s->len, SEED_MAX - s->len);
	s->len += n > 0 ? (size_t)n : 0;
	save(s, "image", name);
	(void)close(fd);
	(void)unlink(path);
	(void)rmdir(dir);
	free(path);
}

static void images(struct seed *s)
{
	Godwit__Ckpt__Job *job = make_job();
	struct image_extent x = { 0, 0x7f0000000000, 0x7f0000000000 + PAGE };
	struct image_process p = {
		.process = job->processes[0], .extents = &x, .n_extents = 1, .source = one_page
	};

	for (unsigned packed = 0; packed < 2; packed++) {
		char dir[] = "/tmp/godwit-seed-XXXXXX", *path = xasprintf("%s/image", mkdtemp(dir));
		struct image_writer *w = NULL;
		struct image *im = NULL;
		struct err e;

		if (image_create(path, packed ? IMAGE_COMPRESS : 0, "web", "h1", &w, &e) < 0 ||
		    image_add(w, job, &p, &e) < 0 || image_commit(w, &e) < 0 || image_open(path, &im, &e) < 0) {
			(void)fprintf(stderr, "%s\n", err_text(&e));
			exit(1);
		}
		put_int(s, 1, 1);
		put_message(s, &image_header(im, 0)->base);
		save(s, "image", packed ? "message-packed" : "message");
		image_close(im);
		image_writer_free(w);
		keep_core(s, path, packed ? 2 : 0, packed ? "core-packed" : "core");
		(void)rmdir(dir);
		free(path);
	}
}

int main(int argc, char **argv)
{
	static struct seed s;

	if (argc != 2 || sodium_init() < 0) {
		(void)fprintf(stderr, "usage: seeds DIRECTORY\n");
		return 2;
	}
	seeds_root = argv[1];
	texts();
	chunks(&s);
	jobs(&s);
	endpoint(&s);
	raw_endpoint(&s);
	packets(&s);
	images(&s);
	types(&s);
	kernel_texts(&s);
	seeds_daemons(&s);
	put(&s, (const void *)getauxval(AT_SYSINFO_EHDR), 2 * PAGE);
	save(&s, "vdso", "own");
	return 0;
}
