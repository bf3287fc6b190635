/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "cli/lab.h"

/* Labs side by side get different networks, so that a packet in the wrong lab is seen for what it is (FNV-1a). */
static void derive_network(struct lab *lab)
{
	uint32_t h = 2166136261u;

	for (const char *c = lab->prefix; *c; c++)
		h = (h ^ (unsigned char)*c) * 16777619u;
	lab->net[0] = 1 + h % 250;
	lab->net[1] = (h >> 12) % 250;
}

static int find_bin(struct lab *lab, struct err *e)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

	if (n < 0)
		return err_errno(e, "/proc/self/exe");
	path[n] = '\0';
	*strrchr(path, '/') = '\0';
	lab->bin = xstrdup(path);
	return 0;
}

int lab_init(struct lab *lab, const char *prefix, struct err *e)
{
	char root[256];
	int r;

	*lab = (struct lab) { .lock = -EBADF };
	if (!isalpha((unsigned char)*prefix) || strlen(prefix) > LAB_PREFIX_MAX)
		return err_set(e, -EINVAL, "a prefix is 1 to %d characters and starts with a letter",
			       LAB_PREFIX_MAX);
	for (const char *c = prefix; *c; c++)
		if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c))
			return err_set(e, -EINVAL, "a prefix is made of small letters and digits, not '%c'", *c);
	strcpy(lab->prefix, prefix);
	snprintf(lab->dir, sizeof lab->dir, LAB_RUN "/%s", prefix);
	r = cgroup_root(root, sizeof root, e);
	if (r < 0)
		return r;
	snprintf(lab->cgroup, sizeof lab->cgroup, "%s/godwit-lab-%s", root, prefix);
	derive_network(lab);
	return find_bin(lab, e);
}

static void list_free(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

void lab_list_add(char ***list, const char *text)
{
	size_t n = 0;

	while (*list && (*list)[n])
		n++;
	*list = xrealloc(*list, (n + 2) * sizeof **list);
	(*list)[n] = xstrdup(text);
	(*list)[n + 1] = NULL;
}

void lab_done(struct lab *lab)
{
	free(lab->bin);
	list_free(lab->env);
	list_free(lab->conf);
	fd_close(&lab->lock);
}

/*
 * `lab down` removes the lock file while it holds it:
 *   1. A (down) holds the lock   2. B opens the file and waits   3. A unlinks it and leaves   4. B gets a lock
 * that nobody else will ever see. So B looks whether the name still means its file, and else tries again.
 */
int lab_lock(struct lab *lab, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s.lock", lab->dir);

	for (;;) {
		_cleanup_fd_ int fd = -EBADF;
		struct stat mine, named;

		if (mkdir(LAB_RUN, 0755) < 0 && errno != EEXIST)
			return err_errno(e, "cannot make %s", LAB_RUN);
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0 || flock(fd, LOCK_EX) < 0)
			return err_errno(e, "cannot lock %s", path);
		if (!fstat(fd, &mine) && !stat(path, &named) && mine.st_ino == named.st_ino) {
			lab->lock = steal_fd(&fd);
			return 0;
		}
	}
}

void lab_unlink_lock(const struct lab *lab)
{
	_cleanup_free_ char *path = xasprintf("%s.lock", lab->dir);

	(void)unlink(path);
	(void)rmdir(LAB_RUN); /* the last one turns off the light */
}

static json_t *list_json(char **list)
{
	json_t *a = json_array();

	for (size_t i = 0; list && list[i]; i++)
		json_array_append_new(a, json_string(list[i]));
	return a;
}

int lab_save(const struct lab *lab, struct err *e)
{
	_cleanup_free_ char *part = xasprintf("%s/lab.json.new", lab->dir);
	_cleanup_free_ char *path = xasprintf("%s/lab.json", lab->dir);
	json_t *o = json_pack("{s:i, s:i, s:i, s:b, s:b, s:s, s:o, s:o}", "hosts", (int)lab->hosts, "first_box",
			      (int)lab->boxes[0], "last_box", (int)lab->boxes[1], "private_root",
			      lab->private_root, "trusted", lab->trusted, "rate", lab->rate, "env",
			      list_json(lab->env), "conf", list_json(lab->conf));
	int r = json_dump_file(o, part, JSON_INDENT(1));

	json_decref(o);
	if (r < 0 || rename(part, path) < 0)
		return err_errno(e, "cannot write %s", path);
	return 0;
}

static void list_load(char ***list, json_t *o, const char *key)
{
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(o, key), i, v) if (json_is_string(v))
		lab_list_add(list, json_string_value(v));
}

int lab_load(struct lab *lab, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/lab.json", lab->dir);
	json_t *o = json_load_file(path, 0, NULL);
	const char *rate = "";
	int hosts = 0, first = 0, last = 0, private_root = 0, trusted = 0;

	if (!o ||
	    json_unpack(o, "{s:i, s:i, s:i, s:b, s:b, s:s}", "hosts", &hosts, "first_box", &first, "last_box",
			&last, "private_root", &private_root, "trusted", &trusted, "rate", &rate) < 0 ||
	    hosts < 1 || hosts > LAB_HOSTS_MAX) {
		json_decref(o);
		return err_set(e, -ENOENT, "lab '%s' is not up: godwit lab --prefix %s up 3", lab->prefix,
			       lab->prefix);
	}
	lab->hosts = (unsigned int)hosts;
	lab->boxes[0] = (unsigned int)first;
	lab->boxes[1] = (unsigned int)last;
	lab->private_root = private_root;
	lab->trusted = trusted;
	snprintf(lab->rate, sizeof lab->rate, "%s", rate);
	list_load(&lab->env, o, "env");
	list_load(&lab->conf, o, "conf");
	json_decref(o);
	return 0;
}

unsigned int lab_host(const struct lab *lab, const char *name)
{
	char *end;
	unsigned long n;

	if (name[0] != 'h' || !isdigit((unsigned char)name[1]))
		return 0;
	n = strtoul(name + 1, &end, 10);
	return *end || n > lab->hosts ? 0 : (unsigned int)n;
}

bool lab_is_box(const struct lab *lab, unsigned int host)
{
	return lab->boxes[0] && host >= lab->boxes[0] && host <= lab->boxes[1];
}

char *lab_address(const struct lab *lab, unsigned int host, unsigned int network)
{
	bool second = network ? network == 2 : lab->boxes[0] && host > lab->boxes[1];

	return xasprintf("10.%u.%u.%u", lab->net[0], lab->net[1] + second, host);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int lab_remove(struct lab *lab, struct err *e)
{
	int r = cgroup_kill(lab->cgroup, e);

	if (r < 0)
		return r;
	r = cgroup_remove(lab->cgroup, e);
	if (r < 0)
		return r;
	if (nftw(lab->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 && errno != ENOENT)
		return err_errno(e, "cannot remove %s", lab->dir);
	return 0;
}

static pid_t only_pid(const char *cgroup, const char *sub, const char *comm)
{
	_cleanup_free_ char *path = xasprintf("%s/%s/cgroup.procs", cgroup, sub);
	_cleanup_free_ char *list = NULL;
	char *save = NULL;

	if (fd_slurp(AT_FDCWD, path, 1 << 20, &list) < 0)
		return 0;
	for (char *p = strtok_r(list, "\n", &save); p; p = strtok_r(NULL, "\n", &save)) {
		_cleanup_free_ char *file = xasprintf("/proc/%s/comm", p);
		_cleanup_free_ char *name = NULL;

		if (!comm)
			return (pid_t)atoi(p);
		if (fd_slurp(AT_FDCWD, file, 64, &name) < 0)
			continue;
		name[strcspn(name, "\n")] = '\0';
		if (!strcmp(name, comm))
			return (pid_t)atoi(p);
	}
	return 0;
}

pid_t lab_pid(const struct lab *lab, unsigned int host)
{
	_cleanup_free_ char *sub = host ? xasprintf("h%u/init", host) : xstrdup("switch");

	return only_pid(lab->cgroup, sub, NULL);
}

pid_t lab_daemon_pid(const struct lab *lab, unsigned int host, const char *daemon)
{
	_cleanup_free_ char *sub = xasprintf("h%u/%s", host, daemon);

	return only_pid(lab->cgroup, sub, daemon);
}
