/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/lab.h"

/* Everything that is mounted there, in layers, goes, and what is mounted below with it: a mount that is merely
 * covered would still be listed in mountinfo and found by whoever looks for a file system by its type. */
static void unmount_all(const char *path)
{
	while (umount2(path, MNT_DETACH) == 0)
		;
}

static int mount_fresh(const char *type, const char *path, unsigned long flags, const char *options, struct err *e)
{
	unmount_all(path);
	if (mount(type, path, type, flags, options) < 0)
		return err_errno(e, "cannot mount %s on %s", type, path);
	return 0;
}

static int make_path(const char *path)
{
	char part[PATH_MAX];

	snprintf(part, sizeof part, "%s", path);
	for (char *c = part + 1;; c++) {
		if (*c && *c != '/')
			continue;
		char was = *c;

		*c = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -errno;
		if (!was)
			return 0;
		*c = was;
	}
}

/* The programs must be seen in the new root: they are if they are on the root file system itself. */
static int keep_bin(const char *root, const char *bin, struct err *e)
{
	_cleanup_free_ char *there = xasprintf("%s%s", root, bin);
	struct stat here, below;
	int r;

	if (stat(bin, &here) < 0)
		return err_errno(e, "%s", bin);
	if (stat("/", &below) == 0 && here.st_dev == below.st_dev)
		return 0;
	r = make_path(there);
	if (r < 0)
		return err_code(e, r, "%s", there);
	if (mount(bin, there, NULL, MS_BIND, NULL) < 0)
		return err_errno(e, "cannot show %s in the private root", bin);
	return 0;
}

/* The upper layer is a tmpfs of the host's own: overlayfs refuses one that lies inside the lower layer's file
 * system tree (ELOOP). It needs no cleaning up: it goes with the mount namespace. */
static int enter_private_root(const char *scratch, const char *bin, struct err *e)
{
	_cleanup_free_ char *root = xasprintf("%s/root", scratch);
	_cleanup_free_ char *upper = xasprintf("%s/upper", scratch);
	_cleanup_free_ char *work = xasprintf("%s/work", scratch);
	_cleanup_free_ char *dev = xasprintf("%s/root/dev", scratch);
	_cleanup_free_ char *options = xasprintf("lowerdir=/,upperdir=%s,workdir=%s", upper, work);
	int r;

	if (mount("tmpfs", scratch, "tmpfs", 0, "mode=755") < 0 || mkdir(root, 0755) < 0 ||
	    mkdir(upper, 0755) < 0 || mkdir(work, 0755) < 0)
		return err_errno(e, "cannot make the private root in %s", scratch);
	if (mount("overlay", root, "overlay", 0, options) < 0)
		return err_errno(e, "cannot mount an overlay for the private root");
	if (mount("/dev", dev, NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_errno(e, "cannot show /dev in the private root");
	r = keep_bin(root, bin, e);
	if (r < 0)
		return r;
	/* pivot_root(".", "."): the old root ends up on top of the new one and is taken off again. */
	if (chdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
	    chdir("/") < 0)
		return err_errno(e, "cannot enter the private root");
	return 0;
}

int mount_host(bool private_root, const char *scratch, const char *bin, struct err *e)
{
	int r;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_errno(e, "cannot make mounts private");
	if (private_root) {
		r = enter_private_root(scratch, bin, e);
		if (r < 0)
			return r;
	}
	r = mount_fresh("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, e);
	if (r == 0)
		r = mount_fresh("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, e);
	if (r == 0)
		r = mount_fresh("cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, e);
	if (r == 0)
		r = mount_fresh("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC,
				"newinstance,ptmxmode=0666,mode=0620,gid=5", e);
	if (r == 0)
		r = mount_fresh("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777", e);
	if (r == 0)
		r = mount_fresh("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755", e);
	return r;
}
