/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "servers/soap/soap.h"

#define DIGITS 16u
#define FILE_MAX (64u << 20)
#define HEADER_LEN (8 + GW_CHECK_LEN + 8 + 4)
#define INSTALL "install"

static const char dir_magic[8] = "GWSOAPD1", install_magic[8] = "GWSOAPI1";

static void name_of(uint64_t object, char name[static DIGITS + 2])
{
	(void)snprintf(name, DIGITS + 2, "d%016" PRIx64, object);
}

/* --- a directory in bytes --- */

static size_t encoded_len(const struct dir *d)
{
	size_t len = HEADER_LEN;

	for (size_t i = 0; i < d->n; i++)
		len += 1 + strlen(d->rows[i].name) + SOAP_MASKS_LEN + soap_set_len(&d->rows[i].set);
	return len;
}

static void encode(struct wire_out *w, const struct dir *d)
{
	wire_put_bytes(w, dir_magic, sizeof dir_magic);
	wire_put_bytes(w, d->secret, GW_CHECK_LEN);
	wire_put_u64(w, d->seqnr);
	wire_put_u32(w, (uint32_t)d->n);
	for (size_t i = 0; i < d->n; i++) {
		soap_put_name(w, d->rows[i].name);
		soap_put_masks(w, &d->rows[i].masks);
		soap_put_set(w, &d->rows[i].set);
	}
}

static int decode(struct dir *d, const uint8_t *p, size_t len)
{
	struct wire_in w = wire_in(p, len);
	char magic[8];
	uint32_t n;

	wire_get_bytes(&w, magic, sizeof magic);
	wire_get_bytes(&w, d->secret, GW_CHECK_LEN);
	d->seqnr = wire_get_u64(&w);
	n = wire_get_u32(&w);
	if (w.bad || memcmp(magic, dir_magic, sizeof magic) != 0 || n > ROWS_MAX)
		return -EBADMSG;
	for (uint32_t i = 0; i < n && !w.bad; i++) {
		struct row row = { 0 };

		soap_get_name(&w, row.name);
		soap_get_masks(&w, &row.masks);
		soap_get_set(&w, &row.set);
		if (!w.bad && (!name_is_good(row.name) || !row.set.n))
			return -EBADMSG;
		if (!w.bad)
			row_set(d, &row);
	}
	return w.bad || w.left ? -EBADMSG : 0;
}

int disk_write(struct server *s, const struct dir *d, struct err *e)
{
	size_t len = encoded_len(d);
	_cleanup_free_ uint8_t *bytes = xmalloc(len);
	struct wire_out w = wire_out(bytes, len);
	char name[DIGITS + 2];

	encode(&w, d);
	name_of(d->object, name);
	return server_write(s, name, bytes, len, e);
}

void disk_remove(struct server *s, const struct dir *d)
{
	char name[DIGITS + 2];

	name_of(d->object, name);
	(void)unlinkat(s->dir_fd, name, 0);
}

/* --- several at once --- */

static int write_install(struct server *s, const struct dir *dirs, size_t n, struct err *e)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len = sizeof install_magic + 4;
	struct wire_out w;

	for (size_t i = 0; i < n; i++)
		len += 12 + encoded_len(&dirs[i]);
	bytes = xmalloc(len);
	w = wire_out(bytes, len);
	wire_put_bytes(&w, install_magic, sizeof install_magic);
	wire_put_u32(&w, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		wire_put_u64(&w, dirs[i].object);
		wire_put_u32(&w, (uint32_t)encoded_len(&dirs[i]));
		encode(&w, &dirs[i]);
	}
	return server_write(s, INSTALL, bytes, len, e);
}

int disk_install(struct server *s, const struct dir *dirs, size_t n, struct err *e)
{
	int r;

	if (n == 1)
		return disk_write(s, dirs, e);
	r = write_install(s, dirs, n, e);
	/* From here on it has happened: what fails now is done at the next start. */
	for (size_t i = 0; i < n && !r; i++) {
		struct err later = { 0 };

		if (disk_write(s, &dirs[i], &later) < 0) {
			log_error("%s; it will be written at the next start", err_text(&later));
			return 0;
		}
	}
	if (!r)
		(void)unlinkat(s->dir_fd, INSTALL, 0);
	return r;
}

/* What a server that died had begun. */
static int finish_install(struct server *s, struct err *e)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct wire_in w;
	char magic[8], name[DIGITS + 2];
	uint32_t n;
	size_t len = 0;
	int r = server_read(s, INSTALL, FILE_MAX, &bytes, &len, e);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	w = wire_in(bytes, len);
	wire_get_bytes(&w, magic, sizeof magic);
	n = wire_get_u32(&w);
	if (w.bad || memcmp(magic, install_magic, sizeof magic) != 0)
		return err_set(e, -EBADMSG, "%s/%s is not what this server wrote", s->dir, INSTALL);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t object = wire_get_u64(&w);
		uint32_t part = wire_get_u32(&w);
		const uint8_t *p = wire_skip(&w, part);

		if (!p)
			return err_set(e, -EBADMSG, "%s/%s ends too early", s->dir, INSTALL);
		name_of(object, name);
		r = server_write(s, name, p, part, e);
		if (r < 0)
			return r;
	}
	(void)unlinkat(s->dir_fd, INSTALL, 0);
	return 0;
}

/* --- at the start --- */

static int load_one(struct server *s, struct soap *x, const char *name, struct err *e)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct dir *d;
	size_t len = 0;
	int r = server_read(s, name, FILE_MAX, &bytes, &len, e);

	if (r < 0)
		return r;
	d = dir_add(x, strtoull(name + 1, NULL, 16));
	r = decode(d, bytes, len);
	return r < 0 ? err_set(e, r, "%s/%s is damaged", s->dir, name) : 0;
}

static int load_all(struct server *s, struct soap *x, struct err *e)
{
	int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *d;

	if (!dir)
		return err_errno(e, "%s", s->dir);
	while (!r && (d = readdir(dir))) {
		if (d->d_name[0] == 'd' && strlen(d->d_name) == DIGITS + 1 &&
		    strspn(d->d_name + 1, "0123456789abcdef") == DIGITS)
			r = load_one(s, x, d->d_name, e);
	}
	(void)closedir(dir);
	return r;
}

int disk_open(struct server *s, struct soap *x, struct err *e)
{
	struct dir *root;
	int r = finish_install(s, e);

	if (!r)
		r = load_all(s, x, e);
	if (r < 0 || dir_find(x, 0))
		return r;
	root = dir_add(x, 0);
	memcpy(root->secret, s->secret, GW_CHECK_LEN);
	return disk_write(s, root, e);
}
