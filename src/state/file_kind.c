/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a descriptor is: its kind for the checkpoint message, or the words by which the check stage refuses it. The
 * tables name every kind that the kernel has and godwit does not move yet, so that the user reads "io_uring", not
 * "inode type 0".
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/file_table.h"

#define KIND(k) GODWIT__CKPT__OPEN_FILE__KIND__##k

#ifndef PID_FS_MAGIC
#define PID_FS_MAGIC 0x50494446
#endif
#ifndef MQUEUE_MAGIC
#define MQUEUE_MAGIC 0x19800202
#endif
#ifndef FUSECTL_MAGIC
#define FUSECTL_MAGIC 0x65735543
#endif

struct words {
	const char *match; /* prefix */
	const char *what;
	const char *help;
};

static const char close_it[] = "close it before the job moves";

static const struct words anon_words[] = {
	{ "[eventpoll]", "an epoll instance",
	  "let the program use poll() or select(), or wait for a version that moves epoll" },
	{ "[io_uring]", "an io_uring",
	  "let the program use its other I/O back end (many have an option or a variable for it)" },
	{ "inotify", "an inotify watch", "switch off the program's file watching, or let it poll" },
	{ "[fanotify]", "a fanotify group", close_it },
	{ "[signalfd]", "a signalfd", "let the program use sigwaitinfo() or handlers" },
	{ "[timerfd]", "a timerfd", "let the program use timer_create() or setitimer(), which move" },
	{ "[pidfd]", "a pidfd", close_it },
	{ "[userfaultfd]", "a userfaultfd", close_it },
	{ "[perf_event]", "a perf event", "detach the profiler" },
	{ "bpf-map", "a BPF map", close_it },
	{ "bpf-prog", "a BPF program", close_it },
	{ "bpf_link", "a BPF link", close_it },
	{ "bpf", "a BPF object", close_it },
	{ "btf", "a BTF object", close_it },
	{ "kvm", "a KVM virtual machine", "move the guest with its own hypervisor's migration" },
	{ "[fscontext]", "a mount in the making", close_it },
	{ "[mount", "a mount in the making", close_it },
	{ "seccomp notify", "a seccomp listener", close_it },
	{ "[landlock-ruleset]", "a landlock ruleset", close_it },
	{ "dmabuf", "a DMA buffer", "devices cannot move" },
	{ "sync_file", "a GPU fence", "devices cannot move" },
	{ "[vfio", "a VFIO device", "devices cannot move" },
	{ "", "an anonymous inode of an unknown kind", close_it },
};

static const struct words magic_names[] = {
	{ "/memfd:", "a memfd", "let the program use an unlinked file in /tmp, which moves" },
	{ "/secretmem", "a memfd_secret area", close_it },
	{ "/SYSV", "a System V shared memory segment", "use mmap() or POSIX shared memory" },
	{ "/dev/zero", "shared anonymous memory", close_it },
	{ "/anon_hugepage", "anonymous huge pages", close_it },
	{ "/[aio]", "a ring of asynchronous I/O (io_setup)", "let the program use its other I/O back end" },
	{ "anon_inode:[pidfd]", "a pidfd", close_it },
	{ "anon_inode:[userfaultfd]", "a userfaultfd", close_it },
	{ "anon_inode:", "an anonymous inode", close_it },
	{ "mnt:", "a mount namespace", close_it },
	{ NULL, NULL, NULL },
};

struct fs_words {
	uint32_t type;
	const char *what;
	const char *help;
};

static const struct fs_words fs_words[] = {
	{ NSFS_MAGIC, "a handle of a namespace", close_it },
	{ PID_FS_MAGIC, "a pidfd", close_it },
	{ CGROUP_SUPER_MAGIC, "a file of the cgroup tree", close_it },
	{ CGROUP2_SUPER_MAGIC, "a file of the cgroup tree", close_it },
	{ DEBUGFS_MAGIC, "a file of debugfs", close_it },
	{ TRACEFS_MAGIC, "a file of tracefs", close_it },
	{ BPF_FS_MAGIC, "a pinned BPF object", close_it },
	{ SECURITYFS_MAGIC, "a file of securityfs", close_it },
	{ MQUEUE_MAGIC, "a POSIX message queue", "close it; message queues do not move yet" },
	{ HUGETLBFS_MAGIC, "a file of hugetlbfs", "use transparent huge pages" },
	{ FUSECTL_MAGIC, "a file of fusectl", close_it },
	{ BINFMTFS_MAGIC, "a file of binfmt_misc", close_it },
};

void file_set_string(char **field, const char *text)
{
	if (*field && *field != (const char *)protobuf_c_empty_string)
		free(*field);
	*field = xstrdup(text);
}

void file_refuse(struct file_entry *f, const char *help, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	free(f->why);
	free(f->help);
	f->why = xstrdup(text);
	f->help = xstrdup(help);
}

static void refuse_words(struct file_entry *f, const struct words *w, const char *name)
{
	for (; w->match; w++) {
		if (strncmp(name, w->match, strlen(w->match)) == 0) {
			file_refuse(f, w->help, "it is %s, which cannot move yet (%s)", w->what, name);
			return;
		}
	}
}

void file_fill_stat(Godwit__Ckpt__OpenFile *m, const struct stat *st)
{
	m->mode = st->st_mode;
	m->size = (uint64_t)st->st_size;
	m->dev = st->st_dev;
	m->ino = st->st_ino;
	m->rdev = st->st_rdev;
}

static void fill_content(Godwit__Ckpt__OpenFile *m, const struct stat *st, const struct statfs *fs)
{
	Godwit__Ckpt__FileContent *c = m->content;

	if (!c) {
		c = xmalloc(sizeof *c);
		godwit__ckpt__file_content__init(c);
		m->content = c;
	}
	c->mtime_ns = file_time_ns(&st->st_mtim);
	c->ctime_ns = file_time_ns(&st->st_ctim);
	c->atime_ns = file_time_ns(&st->st_atim);
	c->uid = st->st_uid;
	c->gid = st->st_gid;
	_Static_assert(sizeof fs->f_fsid <= sizeof c->fsid, "fsid fits");
	memcpy(&c->fsid, &fs->f_fsid, sizeof fs->f_fsid);
	m->fs_type = (uint32_t)fs->f_type;
	c->network = file_fs_is_network(m->fs_type);
}

/* Is this name, in the job's mount namespace, this inode? */
static bool name_leads_to(const struct file_table *t, const char *name, const struct stat *want)
{
	struct stat st;

	if (name[0] != '/' || strlen(name) > FILE_PATH_MAX)
		return false;
	/* Relative to the namespace's root; an empty name is the root itself. */
	while (*name == '/')
		name++;
	if (fstatat(t->root, name, &st, AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH)) < 0)
		return false;
	return st.st_dev == want->st_dev && st.st_ino == want->st_ino;
}

/* Splits what the kernel calls it into a name and whether that name is gone. */
static void settle_name(const struct file_table *t, struct file_entry *f, char *name, const struct stat *st)
{
	static const char gone[] = " (deleted)";
	size_t len = strlen(name);

	f->m->deleted = !name_leads_to(t, name, st);
	if (f->m->deleted && len > strlen(gone) && strcmp(name + len - strlen(gone), gone) == 0)
		name[len - strlen(gone)] = '\0';
	file_set_string(&f->m->path, name);
}

/* Text files of /proc and /sys that mean the same on every host: opened again by name. */
static bool proc_file_is_simple(const struct state_source *s, const char *name, uint32_t fs_type, int flags)
{
	char own[32];
	size_t len;

	if ((flags & O_ACCMODE) != O_RDONLY)
		return false;
	if (fs_type == SYSFS_MAGIC)
		return true;
	(void)snprintf(own, sizeof own, "/proc/%d/", s->vpid);
	len = strlen(own);
	if (strncmp(name, own, len) == 0)
		return strncmp(name + len, "ns/", 3) != 0 && strncmp(name + len, "mem", 3) != 0 &&
		       strcmp(name + len, "pagemap") != 0;
	return strncmp(name, "/proc/", 6) == 0 && !(name[6] >= '0' && name[6] <= '9');
}

/* A copy that was carried here has no name, but remembers the original's, which may be what the next host has. */
static void remember_origin(struct file_entry *f, int here)
{
	char origin[FILE_PATH_MAX + 1];
	ssize_t n = fgetxattr(here, FILE_ORIGIN_XATTR, origin, sizeof origin - 1);

	if (n <= 0)
		return;
	origin[n] = '\0';
	if (origin[0] != '/')
		return;
	file_set_string(&f->m->path, origin);
	f->m->deleted = false;
}

static void classify_regular(struct state_source *s, const struct fd_seen *seen, int here, struct file_entry *f,
			     char *name, const struct statfs *fs)
{
	f->m->kind = KIND(REGULAR);
	f->m->writes = f->m->writes || (seen->flags & O_ACCMODE) != O_RDONLY;
	for (size_t i = 0; i < ARRAY_LEN(fs_words); i++)
		if ((uint32_t)fs->f_type == fs_words[i].type) {
			file_refuse(f, fs_words[i].help, "it is %s, which cannot move yet (%s)", fs_words[i].what,
				    name);
			return;
		}
	fill_content(f->m, &seen->st, fs);
	settle_name(s->files, f, name, &seen->st);
	if (fs->f_type == PROC_SUPER_MAGIC || fs->f_type == SYSFS_MAGIC) {
		f->m->writes = false;
		f->m->deleted = false;
		if (!proc_file_is_simple(s, name, f->m->fs_type, seen->flags))
			file_refuse(f, close_it, "it is %s, which means something else on another host", name);
		return;
	}
	if (f->m->deleted && !f->m->writes)
		remember_origin(f, here);
	if (!f->m->deleted)
		return;
	refuse_words(f, magic_names, name);
	if (!f->why && seen->st.st_nlink && f->m->writes)
		file_refuse(
			f, "close it, or rename the file back",
			"its name %s was taken away, and it is written under another name that cannot be known",
			name);
}

static void classify_directory(struct state_source *s, const struct fd_seen *seen, struct file_entry *f,
			       char *name, const struct statfs *fs)
{
	f->m->kind = KIND(DIRECTORY);
	fill_content(f->m, &seen->st, fs);
	settle_name(s->files, f, name, &seen->st);
	if (fs->f_type == CGROUP2_SUPER_MAGIC || fs->f_type == CGROUP_SUPER_MAGIC)
		file_refuse(f, close_it, "it is a directory of the cgroup tree (%s)", name);
	else if (f->m->deleted && fs->f_type != PROC_SUPER_MAGIC)
		file_refuse(f, "close it, or make the directory again", "it is a directory that was removed (%s)",
			    name);
}

static const Godwit__Mover__Stream *find_stream(const struct state_source *s, const struct stat *st)
{
	for (size_t i = 0; i < s->n_streams; i++) {
		const Godwit__Mover__Stream *m = s->streams[i];

		if (m->kind == GODWIT__MOVER__STREAM__KIND__PTY_SLAVE
			    ? S_ISCHR(st->st_mode) && m->rdev == st->st_rdev
			    : S_ISFIFO(st->st_mode) && m->dev == st->st_dev && m->ino == st->st_ino)
			return m;
	}
	return NULL;
}

static bool have_pty_stream(const struct state_source *s)
{
	for (size_t i = 0; i < s->n_streams; i++)
		if (s->streams[i]->kind == GODWIT__MOVER__STREAM__KIND__PTY_SLAVE)
			return true;
	return false;
}

/* null, zero, full, random, urandom */
bool file_device_moves(dev_t rdev)
{
	static const unsigned minors[] = { 3, 5, 7, 8, 9 };

	for (size_t i = 0; i < ARRAY_LEN(minors); i++)
		if (rdev == makedev(1, minors[i]))
			return true;
	return false;
}

static void classify_device(struct state_source *s, const struct fd_seen *seen, struct file_entry *f, char *name)
{
	unsigned major_nr = major(seen->st.st_rdev), minor_nr = minor(seen->st.st_rdev);

	settle_name(s->files, f, name, &seen->st);
	if (S_ISBLK(seen->st.st_mode)) {
		file_refuse(f, close_it, "it is the block device %u:%u (%s)", major_nr, minor_nr, name);
	} else if (file_device_moves(seen->st.st_rdev)) {
		f->m->kind = KIND(DEVICE);
		if (f->m->deleted)
			file_refuse(f, close_it, "its device node %s was removed", name);
	} else if (major_nr == 5 && minor_nr == 0) {
		f->m->kind = KIND(TTY);
		if (!have_pty_stream(s))
			file_refuse(f, "start the job with godwit run on a terminal",
				    "it is /dev/tty, a terminal that does not belong to the job");
	} else if (major_nr == 5 && minor_nr == 2) {
		file_refuse(f, close_it, "it is the master of a pseudo terminal");
	} else if (major_nr == 4 || (major_nr >= 136 && major_nr <= 143)) {
		file_refuse(f, "start it with godwit run, which gives it a terminal that moves along",
			    "it is %s, a terminal that does not belong to the job", name);
	} else {
		file_refuse(f, "devices cannot move; close it", "it is the character device %u:%u (%s)", major_nr,
			    minor_nr, name);
	}
}

static int classify_fifo(struct state_source *s, const struct fd_seen *seen, int here, struct file_entry *f,
			 char *name, struct err *e)
{
	if (strncmp(name, "pipe:[", 6) == 0) {
		f->m->kind = KIND(PIPE);
		return pipe_note(s, f, here, seen, NULL, e);
	}
	f->m->kind = KIND(FIFO);
	settle_name(s->files, f, name, &seen->st);
	return pipe_note(s, f, here, seen, f->m->deleted ? NULL : f->m->path, e);
}

static int classify_anon(struct state_source *s, const struct fd_seen *seen, struct file_entry *f,
			 const char *name, struct err *e)
{
	static const char prefix[] = "anon_inode:";
	struct fdinfo info;
	int r;

	if (strncmp(name, prefix, strlen(prefix)) == 0)
		name += strlen(prefix);
	if (strcmp(name, "[eventfd]") != 0) {
		refuse_words(f, anon_words, name);
		return 0;
	}
	r = file_fdinfo_read(s->proc, seen->fd, &info);
	if (r < 0)
		return r == -ENOENT ? -EBADF : err_code(e, r, "pid %d fd %d: fdinfo", s->vpid, seen->fd);
	f->m->kind = KIND(EVENTFD);
	eventfd_fill(f->m, &info);
	return 0;
}

static int classify_path(struct state_source *s, const struct fd_seen *seen, struct file_entry *f, char *name,
			 const struct statfs *fs)
{
	f->m->kind = KIND(PATH);
	fill_content(f->m, &seen->st, fs);
	settle_name(s->files, f, name, &seen->st);
	if (f->m->deleted && fs->f_type != PROC_SUPER_MAGIC)
		file_refuse(f, close_it, "it is an O_PATH handle of something that has no name any more (%s)",
			    name);
	return 0;
}

int file_classify(struct state_source *s, const struct fd_seen *seen, int here, struct file_entry *f,
		  struct err *e)
{
	const Godwit__Mover__Stream *stream = find_stream(s, &seen->st);
	char link[64], name[FILE_PATH_MAX + 1];
	struct statfs fs = { 0 };
	ssize_t n;

	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", here);
	n = readlink(link, name, sizeof name - 1);
	if (n < 0)
		return err_errno(e, "pid %d fd %d", s->vpid, seen->fd);
	name[n] = '\0';
	if (fstatfs(here, &fs) < 0)
		return err_errno(e, "pid %d fd %d: %s", s->vpid, seen->fd, name);
	file_fill_stat(f->m, &seen->st);
	file_set_string(&f->m->path, name);
	if (seen->flags & O_PATH)
		return classify_path(s, seen, f, name, &fs);
	if (stream) {
		f->m->kind = KIND(STREAM);
		f->m->stream = stream->index;
		return 0;
	}
	if (S_ISSOCK(seen->st.st_mode) && file_flip_is(s, here)) {
		f->m->kind = KIND(FLIP);
		return file_flip_fill(f->m, e);
	}
	if (S_ISSOCK(seen->st.st_mode)) {
		const char *help = close_it;
		char words[256];

		file_sock_words(here, words, sizeof words, &help);
		file_refuse(f, help, "it is a %s, which cannot move yet", words);
		return 0;
	}
	if (S_ISFIFO(seen->st.st_mode))
		return classify_fifo(s, seen, here, f, name, e);
	if (S_ISCHR(seen->st.st_mode) || S_ISBLK(seen->st.st_mode))
		classify_device(s, seen, f, name);
	else if (S_ISDIR(seen->st.st_mode))
		classify_directory(s, seen, f, name, &fs);
	else if (S_ISREG(seen->st.st_mode))
		classify_regular(s, seen, here, f, name, &fs);
	else
		return classify_anon(s, seen, f, name, e);
	return 0;
}
