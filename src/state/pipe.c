/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipes and FIFOs inside the job.
 *
 * What is in a pipe is copied at the freeze with tee(), which leaves it there, so a migration that is called off
 * has changed nothing. In packet mode (O_DIRECT) a read returns one packet, and tee() keeps that property, so the
 * copy is read packet by packet. A pipe whose other end is outside the job cannot move: whoever holds it would
 * keep talking to the source.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/confine.h"
#include "state/file_table.h"
#include "state/file_target.h"

#define PIPE_BYTES_MAX (16u << 20)

static struct pipe_entry *pipe_find(struct file_table *t, uint64_t dev, uint64_t ino)
{
	for (size_t i = 0; i < t->n_pipes; i++)
		if (t->pipes[i].dev == dev && t->pipes[i].ino == ino)
			return &t->pipes[i];
	return NULL;
}

int pipe_note(struct state_source *s, struct file_entry *f, int here, const struct fd_seen *seen, const char *path,
	      struct err *e)
{
	struct file_table *t = s->files;
	struct pipe_entry *p = pipe_find(t, seen->st.st_dev, seen->st.st_ino);
	int size = fcntl(here, F_GETPIPE_SZ);

	if (size < 0)
		return err_errno(e, "pid %d fd %d: size of the pipe", s->vpid, seen->fd);
	if (!p) {
		t->pipes = xrealloc(t->pipes, (t->n_pipes + 1) * sizeof *t->pipes);
		p = &t->pipes[t->n_pipes++];
		*p = (struct pipe_entry) { .id = (uint32_t)t->n_pipes,
					   .dev = seen->st.st_dev,
					   .ino = seen->st.st_ino,
					   .mode = seen->st.st_mode,
					   .uid = seen->st.st_uid,
					   .gid = seen->st.st_gid,
					   .path = path ? xstrdup(path) : NULL };
	}
	p->size = (uint32_t)size;
	f->m->pipe = p->id;
	return 0;
}

void pipe_forget_ends(struct file_table *t)
{
	for (size_t i = 0; i < t->n_pipes; i++)
		t->pipes[i].readers = t->pipes[i].writers = 0;
}

void pipe_count_end(struct file_table *t, const struct file_entry *f)
{
	struct pipe_entry *p = f->m->pipe ? &t->pipes[f->m->pipe - 1] : NULL;
	unsigned mode = f->m->flags & O_ACCMODE;

	if (!p)
		return;
	p->readers += mode != O_WRONLY;
	p->writers += mode != O_RDONLY;
	p->packets = p->packets || (mode != O_RDONLY && (f->m->flags & O_DIRECT));
}

static struct file_entry *pipe_end(const struct file_table *t, uint32_t id, bool reads)
{
	for (size_t i = 0; i < t->n_entries; i++) {
		struct file_entry *f = t->entries[i];
		unsigned mode = f->m->flags & O_ACCMODE;

		if (f->seen && f->m->pipe == id && (reads ? mode != O_WRONLY : mode != O_RDONLY))
			return f;
	}
	return NULL;
}

/* The job has but one kind of end. Does anybody have the other? The kernel says so: POLLHUP, POLLERR when nobody
 * does. */
static int other_end_exists(struct state_source *s, const struct pipe_entry *p, bool *ret, struct err *e)
{
	struct file_entry *f = pipe_end(s->files, p->id, p->readers > 0);
	_cleanup_fd_ int fd = file_entry_open(s, f, e);
	struct pollfd poll_fd = { .events = p->readers ? POLLIN : POLLOUT };

	if (fd < 0)
		return fd;
	poll_fd.fd = fd;
	if (poll(&poll_fd, 1, 0) < 0)
		return err_errno(e, "pid %d fd %d: pipe", s->vpid, f->fd);
	*ret = !(poll_fd.revents & (p->readers ? POLLHUP : POLLERR));
	return 0;
}

/* Does a process outside the job hold an end? Only looked for where it can be: FIFOs, jobs that others started. */
static bool held_by(int pid, const struct pipe_entry *p)
{
	char path[64];
	struct dirent *d;
	struct stat st;
	bool found = false;
	DIR *dir;

	(void)snprintf(path, sizeof path, "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (d = readdir(dir)))
		found = d->d_name[0] != '.' && fstatat(dirfd(dir), d->d_name, &st, 0) == 0 &&
			S_ISFIFO(st.st_mode) && st.st_dev == p->dev && st.st_ino == p->ino;
	(void)closedir(dir);
	return found;
}

static int holder_outside(const struct state_source *s, const struct pipe_entry *p)
{
	DIR *dir = opendir("/proc");
	struct dirent *d;
	int found = 0;

	if (!dir)
		return 0;
	while (!found && (d = readdir(dir))) {
		int pid = atoi(d->d_name);

		if (pid > 0 && pid != s->pid && pid != getpid() && held_by(pid, p))
			found = pid;
	}
	(void)closedir(dir);
	return found;
}

int pipe_check_ends(struct state_source *s, bool stopped, struct err *e)
{
	static const char help[] =
		"run the whole pipeline as one job, or let godwit run's own streams stand between";
	struct file_table *t = s->files;

	for (size_t i = 0; i < t->n_pipes; i++) {
		struct pipe_entry *p = &t->pipes[i];
		bool outside = false;
		struct file_entry *f;
		int pid, r;

		if (!p->readers && !p->writers)
			continue;
		f = pipe_end(t, p->id, p->readers > 0);
		if (!p->readers || !p->writers) {
			r = other_end_exists(s, p, &outside, e);
			if (r < 0)
				return r;
			if (outside)
				file_refuse(f, help, "it is a pipe whose other end is outside the job (%s)",
					    f->m->path);
		} else if (!stopped && (p->path || s->adopted) && (pid = holder_outside(s, p))) {
			file_refuse(f, help,
				    "it is a pipe that process %d, outside the job, has open as well (%s)", pid,
				    f->m->path);
		}
	}
	return 0;
}

void pipe_emit(struct state_source *s)
{
	const struct file_table *t = s->files;
	Godwit__Ckpt__Job *job = s->job;

	for (size_t i = 0; i < job->n_pipes; i++)
		godwit__ckpt__pipe__free_unpacked(job->pipes[i], NULL);
	free(job->pipes);
	job->n_pipes = 0;
	job->pipes = t->n_pipes ? xcalloc(t->n_pipes, sizeof(*job->pipes)) : NULL;
	for (size_t i = 0; i < t->n_pipes; i++) {
		const struct pipe_entry *p = &t->pipes[i];
		Godwit__Ckpt__Pipe *m;

		if (!p->readers && !p->writers)
			continue;
		m = xmalloc(sizeof *m);
		godwit__ckpt__pipe__init(m);
		m->id = p->id;
		m->size = p->size;
		m->packets = p->packets;
		m->readers = p->readers;
		m->writers = p->writers;
		m->mode = p->mode;
		m->uid = p->uid;
		m->gid = p->gid;
		if (p->path)
			m->path = xstrdup(p->path);
		job->pipes[job->n_pipes++] = m;
	}
}

/* A reading descriptor of ours; a pipe without a reader in the job is opened anew (FIFOs keep data for the next
 * reader). */
static int open_reader(struct state_source *s, const struct pipe_entry *p, struct err *e)
{
	struct file_entry *f = pipe_end(s->files, p->id, true);
	_cleanup_fd_ int writer = -EBADF;
	char link[64];
	int fd;

	if (f)
		return file_entry_open(s, f, e);
	f = pipe_end(s->files, p->id, false);
	writer = file_entry_open(s, f, e);
	if (writer < 0)
		return writer;
	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", writer);
	fd = open(link, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? err_errno(e, "pid %d fd %d: reading end of %s", s->vpid, f->fd, f->m->path) : fd;
}

/* Reads our copy out into the message, packet by packet. */
static int drain_copy(int fd, size_t len, Godwit__Ckpt__Pipe *m)
{
	size_t at = 0, sizes = 0;

	m->content.data = xmalloc(len);
	while (at < len) {
		ssize_t n = read(fd, m->content.data + at, len - at);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (size_t)n;
		m->content.len = at;
		if (!m->packets)
			continue;
		if (!(sizes & (sizes - 1)))
			m->packet_sizes = xrealloc(m->packet_sizes, sizeof(uint32_t) * (sizes ? 2 * sizes : 1));
		m->packet_sizes[sizes++] = (uint32_t)n;
		m->n_packet_sizes = sizes;
	}
	return 0;
}

static int pipe_peek(struct state_source *s, const struct pipe_entry *p, Godwit__Ckpt__Pipe *m, struct err *e)
{
	_cleanup_fd_ int fd = open_reader(s, p, e);
	_cleanup_fd_ int in = -EBADF;
	_cleanup_fd_ int out = -EBADF;
	int have = 0, ends[2];
	ssize_t n;

	if (fd < 0)
		return fd;
	m->size = (uint32_t)fcntl(fd, F_GETPIPE_SZ);
	if (ioctl(fd, FIONREAD, &have) < 0)
		return err_errno(e, "content of a pipe");
	if (have <= 0)
		return 0;
	if ((unsigned)have > PIPE_BYTES_MAX)
		return err_set(e, -EFBIG, "a pipe with %d bytes in it", have);
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_errno(e, "pipe");
	in = ends[1];
	out = ends[0];
	if (fcntl(in, F_SETPIPE_SZ, (int)m->size) < 0 && m->size > 65536)
		return err_errno(e, "a pipe of %u bytes to copy into", m->size);
	n = tee(fd, in, (size_t)have, SPLICE_F_NONBLOCK);
	if (n != have)
		return err_set(e, n < 0 ? -errno : -EIO, "copying %d bytes out of a pipe gave %zd", have, n);
	n = drain_copy(out, (size_t)have, m);
	return n < 0 ? err_code(e, (int)n, "copying a pipe") : 0;
}

int pipe_peek_all(struct state_source *s, struct err *e)
{
	struct file_table *t = s->files;
	Godwit__Ckpt__Job *job = s->job;

	for (size_t i = 0; i < job->n_pipes; i++) {
		int r = pipe_peek(s, &t->pipes[job->pipes[i]->id - 1], job->pipes[i], e);

		if (r < 0)
			return r;
	}
	return 0;
}

/* --- destination --- */

static const Godwit__Ckpt__Pipe *find_message(const struct state_target *d, uint32_t id)
{
	for (size_t i = 0; i < d->job->n_pipes; i++)
		if (d->job->pipes[i]->id == id)
			return d->job->pipes[i];
	return NULL;
}

/* A FIFO lives in its host's kernel; here it may not even have a node yet. */
static int open_fifo(struct state_target *d, const Godwit__Ckpt__Pipe *m, struct err *e)
{
	_cleanup_fd_ int base = file_open_path(d->files->root, m->path, O_PATH | O_NOFOLLOW);
	struct stat st;
	int fd;

	if (base == -ENOENT) {
		_cleanup_free_ char *parent = xstrdup(m->path);
		char *slash = strrchr(parent, '/');
		_cleanup_fd_ int dir = -EBADF;

		*slash = '\0';
		dir = file_open_path(d->files->root, parent[0] ? parent : "/", O_PATH | O_DIRECTORY);
		if (dir < 0 || mkfifoat(dir, slash + 1, 0600) < 0 ||
		    fchownat(dir, slash + 1, m->uid, m->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
		    fchmodat(dir, slash + 1, confine_mode(d, m->mode), 0) < 0)
			return err_set(e, -ENOENT, "the FIFO %s cannot be made here", m->path);
		base = openat(dir, slash + 1, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	}
	if (base < 0 || fstat(base, &st) < 0 || !S_ISFIFO(st.st_mode))
		return err_set(e, -ENOTSUP, "%s is no FIFO here", m->path);
	fd = file_reopen(base, O_RDWR | O_NONBLOCK);
	return fd < 0 ? err_code(e, fd, "FIFO %s", m->path) : fd;
}

static int make_pipe(struct state_target *d, const Godwit__Ckpt__Pipe *m, struct pipe_target *p, struct err *e)
{
	int ends[2];

	if (m->path && m->path[0]) {
		if (!file_path_is_sane(m->path))
			return err_set(e, -EBADMSG, "a FIFO with an impossible name");
		confine_enter(d);
		p->read = open_fifo(d, m, e);
		confine_leave(d);
		if (p->read < 0)
			return p->read;
	} else {
		if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
			return err_errno(e, "pipe");
		p->read = ends[0];
		p->write = ends[1];
		if (fchown(p->read, m->uid, m->gid) < 0)
			return err_errno(e, "owner of a pipe");
	}
	if (m->size && m->size <= PIPE_BYTES_MAX && fcntl(p->read, F_GETPIPE_SZ) != (int)m->size &&
	    fcntl(p->read, F_SETPIPE_SZ, (int)m->size) < 0)
		return err_errno(e, "a pipe of %u bytes", m->size);
	return 0;
}

static struct pipe_target *pipe_target_get(struct state_target *d, uint32_t id, struct err *e)
{
	struct file_targets *t = d->files;
	const Godwit__Ckpt__Pipe *m = find_message(d, id);
	struct pipe_target p = { .id = id, .read = -EBADF, .write = -EBADF };

	for (size_t i = 0; i < t->n_pipes; i++)
		if (t->pipes[i].id == id)
			return &t->pipes[i];
	if (!m) {
		(void)err_set(e, -EBADMSG, "pipe %u is not described", id);
		return NULL;
	}
	t->pipes = xrealloc(t->pipes, (t->n_pipes + 1) * sizeof *t->pipes);
	t->pipes[t->n_pipes++] = p;
	return make_pipe(d, m, &t->pipes[t->n_pipes - 1], e) < 0 ? NULL : &t->pipes[t->n_pipes - 1];
}

/* Packet mode is set with the other flags, as open() refuses it for pipes. */
int pipe_target_open(struct state_target *d, const Godwit__Ckpt__OpenFile *m, struct err *e)
{
	struct pipe_target *p = pipe_target_get(d, m->pipe, e);
	int fd;

	if (!p)
		return e ? e->code : -EIO;
	fd = file_take_end((m->flags & O_ACCMODE) == O_WRONLY && p->write >= 0 ? p->write : p->read, m->flags);
	return fd < 0 ? err_code(e, fd, "an end of a pipe") : fd;
}

static int write_packets(int fd, const Godwit__Ckpt__Pipe *m)
{
	size_t at = 0;

	if (!m->packets) {
		ssize_t n = write(fd, m->content.data, m->content.len);

		return n == (ssize_t)m->content.len ? 0 : n < 0 ? -errno : -ENOSPC;
	}
	if (fcntl(fd, F_SETFL, O_NONBLOCK | O_DIRECT) < 0)
		return -errno;
	for (size_t i = 0; i < m->n_packet_sizes; i++) {
		size_t len = m->packet_sizes[i];
		ssize_t n;

		if (len > m->content.len - at)
			return -EBADMSG;
		n = write(fd, m->content.data + at, len);
		if (n != (ssize_t)len)
			return n < 0 ? -errno : -ENOSPC;
		at += len;
	}
	return 0;
}

/* On one kernel (a lab) a FIFO of a shared file system is the same FIFO for both hosts, and is full already. */
static bool holds_already(const struct pipe_target *p, const Godwit__Ckpt__Pipe *m)
{
	int have = 0;

	return m->path && m->path[0] && ioctl(p->read, FIONREAD, &have) == 0 && (size_t)have == m->content.len;
}

static int pipe_fill(struct pipe_target *p, const Godwit__Ckpt__Pipe *m, struct err *e)
{
	_cleanup_fd_ int writer = -EBADF;
	int r;

	if (p->filled || !m->content.len || holds_already(p, m))
		return 0;
	if (m->size && fcntl(p->read, F_GETPIPE_SZ) != (int)m->size &&
	    fcntl(p->read, F_SETPIPE_SZ, (int)m->size) < 0)
		return err_errno(e, "a pipe of %u bytes", m->size);
	writer = file_reopen(p->read, O_WRONLY | O_NONBLOCK);
	if (writer < 0)
		return err_code(e, writer, "filling a pipe");
	r = write_packets(writer, m);
	if (r < 0)
		return err_code(e, r, "putting %zu bytes into a pipe of %u", m->content.len, m->size);
	p->filled = true;
	return 0;
}

int pipe_targets_fill(struct state_target *d, struct err *e)
{
	for (size_t i = 0; i < d->job->n_pipes; i++) {
		const Godwit__Ckpt__Pipe *m = d->job->pipes[i];
		struct pipe_target *p = pipe_target_get(d, m->id, e);
		int r = p ? pipe_fill(p, m, e) : (e ? e->code : -EIO);

		if (r < 0)
			return r;
	}
	return 0;
}

void pipe_targets_close(struct file_targets *t)
{
	for (size_t i = 0; i < t->n_pipes; i++) {
		fd_close(&t->pipes[i].read);
		fd_close(&t->pipes[i].write);
	}
	free(t->pipes);
	t->pipes = NULL;
	t->n_pipes = 0;
}
