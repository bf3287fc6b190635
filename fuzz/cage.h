/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_FUZZ_CAGE_H
#define GW_FUZZ_CAGE_H

/*
 * For code that opens and makes whatever files a message names: a root of its own on a small tmpfs. The working
 * directory stays outside, so that the fuzzer finds its corpus.
 */

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/fd.h"
#include "fuzz.h"

static inline void cage_fail(const char *what)
{
	(void)fprintf(stderr, "the fuzzer's cage (it needs root, or user namespaces): %s: %s\n", what,
		      strerror(errno));
	exit(1);
}

static inline void cage_put(const char *path, const char *text)
{
	if (fd_write_file(AT_FDCWD, path, "") < 0) {
		int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		if (fd < 0 || write(fd, text, strlen(text)) < 0)
			cage_fail(path);
		(void)close(fd);
	}
}

static inline void cage_close(void)
{
	static const char *const dirs[] = { "/a", "/a/b", "/tmp", "/dev", "/proc" };

	if (unshare(CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0)) < 0)
		cage_fail("unshare");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("fuzz", "/tmp", "tmpfs", MS_NOSUID, "size=16m,mode=755") < 0)
		cage_fail("mount");
	if (chroot("/tmp") < 0)
		cage_fail("chroot");
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		if (mkdir(dirs[i], 0755) < 0)
			cage_fail(dirs[i]);
	if (mount("proc", "/proc", "proc", MS_RDONLY | MS_NOSUID, NULL) < 0)
		cage_fail("mount of /proc");
	cage_put("/a/f", "some text\n");
	cage_put("/a/b/g", "other text\n");
	(void)symlink("/a/f", "/a/l");
	(void)symlink("l2", "/a/l2");
	(void)mkfifo("/a/p", 0644);
	(void)mknod("/dev/null", S_IFCHR | 0666, makedev(1, 3));
	(void)mknod("/dev/tty", S_IFCHR | 0666, makedev(5, 0));
}

/* A process that does nothing, ends with us, and may be asked for its limits and descriptors. */
static inline pid_t cage_sleeper(void)
{
	pid_t pid = fork();

	if (pid < 0)
		cage_fail("fork");
	if (!pid) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)pause();
	}
	return pid;
}

#endif
