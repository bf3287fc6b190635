/* SPDX-License-Identifier: Apache-2.0 */
/* godwit file: the contents of objects kept by bullet, under names kept by soap. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/objects.h"

#define BULLET "bullet" /* the name of the server, in the root */

struct args {
	struct objects_args common;
	const char *bullet;
};

static const struct argp_option options[] = {
	OBJECTS_OPTION_ROOT,
	{ "bullet", 'b', "CAPABILITY", 0,
	  "put: the server that is to keep it (default: the name \"" BULLET "\" in the root)", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'b':
		a->bullet = arg;
		return 0;
	default:
		return objects_parse(key, arg, state, &a->common);
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "put LOCAL NAME\nget NAME LOCAL",
	.doc = "Copies a file of this host into an immutable one with a name, or back.\v"
	       "- is standard input or output. What had the name before keeps its contents, as "
	       "long as anybody has its capability."
};

/* Whole, or not at all. */
static int read_local(const char *path, uint8_t **ret, size_t *ret_len)
{
	_cleanup_fd_ int opened = -EBADF;
	int fd = STDIN_FILENO;
	size_t len = 0, room = 0;
	uint8_t *p = NULL;
	ssize_t n;

	if (strcmp(path, "-") != 0)
		fd = opened = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do {
		if (len == room)
			p = xrealloc(p, room = room ? 2 * room : 65536);
		n = read(fd, p + len, room - len);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0 && len <= GW_B_MAX);
	if (n < 0 || len > GW_B_MAX) {
		free(p);
		return n < 0 ? -errno : -EFBIG;
	}
	*ret = p;
	*ret_len = len;
	return 0;
}

static int put(struct gw *gw, const struct gw_cap *root, const struct args *a)
{
	const char *local = a->common.words[1], *name = a->common.words[2];
	_cleanup_free_ uint8_t *bytes = NULL;
	struct gw_cap server, file;
	size_t len = 0;
	int status = GW_OK, r = read_local(local, &bytes, &len);

	if (r < 0)
		return cli_fail(CLI_FAILED, "%s: %s", local, strerror(-r));
	if (a->bullet && !objects_capability(a->bullet, &server))
		return CLI_USAGE;
	if (!a->bullet)
		status = gw_name_lookup(gw, root, BULLET, &server);
	if (status != GW_OK)
		return objects_fail("the bullet server (" BULLET ")", status);
	status = gw_b_create(gw, &server, bytes, len, GW_B_COMMIT, &file);
	if (status == GW_OK)
		status = objects_put(gw, root, name, &file);
	return status == GW_OK ? CLI_OK : objects_fail(name, status);
}

/* Under a name of its own until it is whole. */
static int write_local(const char *path, const uint8_t *bytes, size_t len)
{
	_cleanup_free_ char *fresh = xasprintf("%s.XXXXXX", path);
	mode_t mask = umask(0);
	int r, fd;

	(void)umask(mask);
	if (!strcmp(path, "-"))
		return fd_write_full(STDOUT_FILENO, bytes, len);
	fd = mkostemp(fresh, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = fd_write_full(fd, bytes, len);
	if (!r && (fchmod(fd, 0666 & ~mask) < 0 || rename(fresh, path) < 0))
		r = -errno;
	(void)close(fd);
	if (r < 0)
		(void)unlink(fresh);
	return r;
}

static int get(struct gw *gw, const struct gw_cap *root, const struct args *a)
{
	const char *name = a->common.words[1], *local = a->common.words[2];
	_cleanup_free_ uint8_t *bytes = NULL;
	struct gw_cap file;
	uint64_t size = 0;
	ssize_t n = 0;
	int r, status = gw_name_lookup(gw, root, name, &file);

	if (status == GW_OK)
		status = gw_b_size(gw, &file, &size);
	if (status == GW_OK && size > GW_B_MAX)
		status = GW_STD_NOMEM;
	if (status == GW_OK) {
		bytes = xmalloc(size + 1);
		n = gw_b_read(gw, &file, 0, bytes, size);
		status = n < 0 ? (int)n : GW_OK;
	}
	if (status != GW_OK)
		return objects_fail(name, status);
	r = write_local(local, bytes, (size_t)n);
	return r < 0 ? cli_fail(CLI_FAILED, "%s: %s", local, strerror(-r)) : CLI_OK;
}

int cmd_file(int argc, char **argv)
{
	struct args a = { 0 };
	struct gw_cap root;
	struct gw *gw;
	bool puts_it;
	int r;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	puts_it = a.common.n && !strcmp(a.common.words[0], "put");
	if (a.common.n != 3 || (!puts_it && strcmp(a.common.words[0], "get") != 0))
		return cli_fail(CLI_USAGE, "file: put LOCAL NAME or get NAME LOCAL");
	if (!objects_capability(a.common.root, &root))
		return CLI_USAGE;
	gw = objects_connect();
	if (!gw)
		return CLI_FAILED;
	r = puts_it ? put(gw, &root, &a) : get(gw, &root, &a);
	gw_close(gw);
	return r;
}
