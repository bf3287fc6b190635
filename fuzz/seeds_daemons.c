/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds for what daemons hear: shepherds, flipd's local programs, journals, process servers. */
#include "seeds.h"

/* --- shepherds --- */

static void told(struct seed *s, unsigned op, Godwit__Shepherd__Request *q)
{
	put_int(s, op, 1);
	put_counted(s, &q->base);
}

static void shepherd(struct seed *s)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Procd__Request relay = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Attach attach = GODWIT__PROCD__ATTACH__INIT;
	Godwit__Procd__Read reading = GODWIT__PROCD__READ__INIT;
	Godwit__Procd__Write writing = GODWIT__PROCD__WRITE__INIT;
	Godwit__Shepherd__Quiesce quiesce = GODWIT__SHEPHERD__QUIESCE__INIT;
	Godwit__Shepherd__Resume resume = GODWIT__SHEPHERD__RESUME__INIT;
	Godwit__Shepherd__Import import = GODWIT__SHEPHERD__IMPORT__INIT;
	Godwit__Shepherd__Streams streams = GODWIT__SHEPHERD__STREAMS__INIT;
	Godwit__Shepherd__Side side = GODWIT__SHEPHERD__SIDE__INIT, *sides[] = { &side };
	Godwit__Shepherd__SpoolWrite spool = GODWIT__SHEPHERD__SPOOL_WRITE__INIT;

	for (unsigned tty = 0; tty < 2; tty++) {
		put_int(s, tty, 1);
		q.id = 1;
		q.op_case = GODWIT__SHEPHERD__REQUEST__OP_RELAY;
		q.relay = &relay;
		relay.op_case = GODWIT__PROCD__REQUEST__OP_ATTACH;
		relay.attach = &attach;
		told(s, 0, &q);
		put_int(s, 0xc0, 1);
		put_int(s, 6, 2);
		put(s, "hello\n", 6);
		relay.op_case = GODWIT__PROCD__REQUEST__OP_READ;
		relay.read = &reading;
		reading.stream = 1;
		reading.timeout_ms = 100;
		told(s, 0, &q);
		relay.op_case = GODWIT__PROCD__REQUEST__OP_WRITE;
		relay.write = &writing;
		writing.bytes = bytes_of("typed\n", 6);
		told(s, 0x20, &q);
		q.op_case = GODWIT__SHEPHERD__REQUEST__OP_QUIESCE;
		q.quiesce = &quiesce;
		told(s, 0, &q);
		q.op_case = GODWIT__SHEPHERD__REQUEST__OP_RESUME;
		q.resume = &resume;
		told(s, 0, &q);
		save(s, "shepherd", tty ? "terminal" : "pipes");
	}
	side.stream = 1;
	side.start = 10;
	side.unread = 12;
	side.end = 20;
	streams.sides = sides;
	streams.n_sides = 1;
	import.streams = &streams;
	spool.stream = 1;
	spool.offset = 10;
	spool.bytes = bytes_of("0123456789", 10);
	put_int(s, 2, 1);
	q.op_case = GODWIT__SHEPHERD__REQUEST__OP_SPOOL_WRITE;
	q.spool_write = &spool;
	told(s, 0, &q);
	q.op_case = GODWIT__SHEPHERD__REQUEST__OP_IMPORT;
	q.import = &import;
	told(s, 0, &q);
	save(s, "shepherd", "import");
}

/* --- frames of local programs, as frame_fuzz makes them --- */

static void frame(struct seed *s, unsigned conn, unsigned type, unsigned endpoint, unsigned id, unsigned port,
		  unsigned aux, size_t len)
{
	put_int(s, conn | (type == FRAME_HELLO ? 4 : type << 3), 1);
	put_int(s, 0, 1);
	put_int(s, endpoint, 1);
	put_int(s, id, 1);
	put_int(s, port, 1);
	if (type != FRAME_HELLO)
		put_int(s, aux, 2);
	put_int(s, len, 2);
	for (size_t i = 0; i < len; i++)
		put_int(s, i, 1);
}

static void frames(struct seed *s)
{
	frame(s, 0, FRAME_HELLO, 0, 0, 0, 0, 0);
	frame(s, 1, FRAME_HELLO, 0, 0, 0, 0, 0);
	frame(s, 0, FRAME_EP_OPEN, 2, 0, 0, 1, 0);
	frame(s, 0, FRAME_SERVE, 2, 1, 0x81, 0, 0);
	frame(s, 1, FRAME_TRANS, 1, 7, 0x81, 0, RPC_USER_HDR_LEN + 5);
	frame(s, 0, FRAME_PUTREP, 0, 1, 0, 0, RPC_USER_HDR_LEN + 9);
	frame(s, 1, FRAME_TRANS, 1, 8, 0x81, 0, RPC_USER_HDR_LEN);
	frame(s, 1, FRAME_CANCEL, 1, 8, 0, 0, 0);
	frame(s, 0, FRAME_EP_TAKE, 2, 2, 0, 0, 0);
	frame(s, 0, FRAME_EP_RESUME, 2, 3, 0, 0, 0);
	frame(s, 0, FRAME_EP_CLOSE, 2, 0, 0, 0, 0);
	save(s, "frame", "calls");
	frame(s, 0, FRAME_HELLO, 0, 0, 0, 0, 0);
	frame(s, 0, FRAME_HOSTS, 0, 1, 0, 0, 0);
	frame(s, 0, FRAME_COUNTERS, 0, 2, 0, 0, 0);
	frame(s, 0, FRAME_EP_INSTALL, 3, 3, 0, 0, 100);
	frame(s, 0, FRAME_UNSERVE, 1, 0, 5, 0, 0);
	save(s, "frame", "questions");
}

static void journals(struct seed *s)
{
	Godwit__Journal__Record r = GODWIT__JOURNAL__RECORD__INIT;
	char path[] = "/tmp/godwit-seed-XXXXXX";
	struct journal j;
	struct err e;
	int fd = mkstemp(path);
	ssize_t n;

	if (fd < 0 || journal_open(&j, path, &e) < 0)
		abort();
	r.kind = GODWIT__JOURNAL__RECORD__KIND__COMMITTED;
	r.migration = (char *)(uintptr_t) "0123456789abcdef0123456789abcdef";
	r.job = (char *)(uintptr_t) "web";
	r.peer = (char *)(uintptr_t) "h2";
	if (journal_append(&j, &r, &e) < 0 ||
	    journal_note(&j, GODWIT__JOURNAL__RECORD__KIND__READY, "0123", "other", &e) < 0)
		abort();
	(void)close(fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	put_int(s, 0, 1);
	n = read(fd, s->bytes + 1, SEED_MAX - 1);
	s->len += n > 0 ? (size_t)n : 0;
	save(s, "journal", "two");
	put_int(s, 1, 1);
	put_counted(s, &r.base);
	r.kind = GODWIT__JOURNAL__RECORD__KIND__FORGOTTEN;
	put_counted(s, &r.base);
	save(s, "journal", "records");
	journal_close(&j);
	(void)unlink(path);
	(void)close(fd);
}

/* --- a process server: what procd_fuzz reads --- */

static void step(struct seed *s, unsigned op, const ProtobufCMessage *m)
{
	put_int(s, op, 1);
	if (m)
		put_counted(s, m);
}

static void arrival(struct seed *s)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Begin begin = GODWIT__PROCD__BEGIN__INIT;
	Godwit__Procd__JobSpec job = GODWIT__PROCD__JOB_SPEC__INIT;
	Godwit__Procd__Commit commit = GODWIT__PROCD__COMMIT__INIT;
	Godwit__Procd__Query query = GODWIT__PROCD__QUERY__INIT;
	Godwit__Procd__Forget forget = GODWIT__PROCD__FORGET__INIT;
	Godwit__Shepherd__Reply r = GODWIT__SHEPHERD__REPLY__INIT, done = GODWIT__SHEPHERD__REPLY__INIT;
	Godwit__Shepherd__Blanked blanked = GODWIT__SHEPHERD__BLANKED__INIT;
	Godwit__Mover__MoverMessage m = GODWIT__MOVER__MOVER_MESSAGE__INIT;
	Godwit__Mover__Checked checked = GODWIT__MOVER__CHECKED__INIT;
	Godwit__Mover__Listening listening = GODWIT__MOVER__LISTENING__INIT;
	Godwit__Mover__Ready ready = GODWIT__MOVER__READY__INIT;
	static uint8_t key[32] = { 1 };
	char *id = (char *)(uintptr_t) "0123456789abcdef0123456789abcdef";

	job.name = (char *)(uintptr_t) "web";
	begin.migration = commit.migration = query.migration = forget.migration = id;
	begin.source = (char *)(uintptr_t) "h2";
	begin.job = &job;
	begin.key = bytes_of(key, sizeof key);
	q.version = 1;
	q.op_case = GODWIT__PROCD__REQUEST__OP_BEGIN;
	q.begin = &begin;
	step(s, 0, &q.base);
	m.kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_CHECKED;
	m.checked = &checked;
	step(s, 4, &m.base);
	m.kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_LISTENING;
	m.listening = &listening;
	step(s, 4, &m.base);
	r.result_case = GODWIT__SHEPHERD__REPLY__RESULT_BLANKED;
	r.blanked = &blanked;
	step(s, 2 | 8, &r.base);
	m.kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_READY;
	m.ready = &ready;
	step(s, 4, &m.base);
	q.op_case = GODWIT__PROCD__REQUEST__OP_QUERY;
	q.query = &query;
	step(s, 0, &q.base);
	q.op_case = GODWIT__PROCD__REQUEST__OP_COMMIT;
	q.commit = &commit;
	step(s, 0, &q.base);
	step(s, 2, &done.base);
	step(s, 6, NULL);
	step(s, 0, &q.base);
	q.op_case = GODWIT__PROCD__REQUEST__OP_FORGET;
	q.forget = &forget;
	step(s, 0, &q.base);
	step(s, 7, NULL);
	save(s, "procd", "arrival");
}

static void departure(struct seed *s)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Exec exec = GODWIT__PROCD__EXEC__INIT;
	Godwit__Procd__Migrate migrate = GODWIT__PROCD__MIGRATE__INIT;
	Godwit__Procd__Info info = GODWIT__PROCD__INFO__INIT;
	Godwit__Procd__List list = GODWIT__PROCD__LIST__INIT;
	Godwit__Procd__Reply reply = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__HelloReply hello = GODWIT__PROCD__HELLO_REPLY__INIT;
	Godwit__Procd__Begun begun = GODWIT__PROCD__BEGUN__INIT;
	Godwit__Shepherd__Reply r = GODWIT__SHEPHERD__REPLY__INIT;
	Godwit__Shepherd__Started started = GODWIT__SHEPHERD__STARTED__INIT;
	Godwit__Shepherd__State state = GODWIT__SHEPHERD__STATE__INIT;
	Godwit__Mover__MoverMessage m = GODWIT__MOVER__MOVER_MESSAGE__INIT;
	Godwit__Mover__Checked checked = GODWIT__MOVER__CHECKED__INIT;
	Godwit__Mover__Prepared prepared = GODWIT__MOVER__PREPARED__INIT;
	char *argv[] = { (char *)(uintptr_t) "/bin/true" };

	exec.name = (char *)(uintptr_t) "web";
	exec.argv = argv;
	exec.n_argv = 1;
	q.version = 1;
	q.op_case = GODWIT__PROCD__REQUEST__OP_EXEC;
	q.exec = &exec;
	step(s, 0, &q.base);
	started.pid = 2;
	r.result_case = GODWIT__SHEPHERD__REPLY__RESULT_STARTED;
	r.started = &started;
	step(s, 2 | 8, &r.base);
	q.op_case = GODWIT__PROCD__REQUEST__OP_INFO;
	q.info = &info;
	step(s, 1, &q.base);
	q.op_case = GODWIT__PROCD__REQUEST__OP_LIST;
	q.list = &list;
	step(s, 0, &q.base);
	migrate.destination = (char *)(uintptr_t) "h2";
	q.op_case = GODWIT__PROCD__REQUEST__OP_MIGRATE;
	q.migrate = &migrate;
	step(s, 1, &q.base);
	state.phase = GODWIT__SHEPHERD__STATE__PHASE__RUNNING;
	r.result_case = GODWIT__SHEPHERD__REPLY__RESULT_STATE;
	r.state = &state;
	step(s, 2, &r.base);
	hello.host = (char *)(uintptr_t) "h2";
	hello.boot = hello.address = (char *)(uintptr_t) "10.0.0.2";
	reply.result_case = GODWIT__PROCD__REPLY__RESULT_HELLO;
	reply.hello = &hello;
	for (unsigned i = 0; i < 3; i++)
		step(s, 3, &reply.base);
	m.kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_CHECKED;
	m.checked = &checked;
	step(s, 4, &m.base);
	begun.address = hello.address;
	begun.port = 7;
	reply.result_case = GODWIT__PROCD__REPLY__RESULT_BEGUN;
	reply.begun = &begun;
	step(s, 3, &reply.base);
	m.kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_PREPARED;
	m.prepared = &prepared;
	step(s, 4, &m.base);
	step(s, 6, NULL);
	step(s, 5, NULL);
	step(s, 7, NULL);
	save(s, "procd", "departure");
}

void seeds_daemons(struct seed *s)
{
	shepherd(s);
	frames(s);
	journals(s);
	arrival(s);
	departure(s);
}
