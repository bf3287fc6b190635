/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GODWIT_OBJECTS_H
#define GODWIT_OBJECTS_H

/*
 * Objects that godwit's own servers keep, as clients see them: the time of day (tod), immutable files (bullet),
 * and directories that map names to sets of capabilities (soap). Each call is one transaction, or a few, on the
 * caller's connection, and returns GW_OK or a positive length, or a negative gw_status. The servers are programs
 * like any other: they may move meanwhile.
 */

#include "godwit.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- tod --- */

#define GW_TOD_GETTIME 2400

/* Microseconds since 1970 (UTC) by the clock of the host where the server is. */
int gw_tod_gettime(struct gw *gw, const struct gw_cap *tod, int64_t *ret_us);

/* --- bullet --- */

enum gw_b_command {
	GW_B_CREATE = 2001,
	GW_B_DELETE,
	GW_B_FSCK,
	GW_B_INSERT,
	GW_B_MODIFY,
	GW_B_READ,
	GW_B_SIZE,
	GW_B_COMPACT,
	GW_B_SYNC,
};

#define GW_B_MAX (256u << 20) /* bytes in a file */
#define GW_B_COMMIT 1u	      /* from now on it can be read, and never changed */
#define GW_B_SAFETY 2u	      /* answer when it is on the disk (always so for what is committed) */

#define GW_BSR_CREATE 0x01u
#define GW_BSR_READ 0x02u
#define GW_BSR_MODIFY 0x04u
#define GW_BSR_DESTROY 0x08u
#define GW_BSR_ADMIN 0x80u

/*
 * A new file with these bytes. `server`: that of the server, or of any of its committed files; if that file's
 * contents are the same, *ret is its capability and nothing is made. A file that is not committed within ten
 * minutes of its last change is gone.
 */
int gw_b_create(struct gw *gw, const struct gw_cap *server, const void *buf, size_t size, unsigned flags,
		struct gw_cap *ret);
/* Up to `size` bytes from `offset`; fewer at the end. GW_STD_NOTNOW before it is committed. */
ssize_t gw_b_read(struct gw *gw, const struct gw_cap *file, uint64_t offset, void *buf, size_t size);
int gw_b_size(struct gw *gw, const struct gw_cap *file, uint64_t *ret);
/*
 * Changes bytes, inserts some, or takes some out. A committed file stays as it is, and *ret is a new one, not
 * committed unless `flags` says so; an uncommitted one is changed, and *ret is itself.
 */
int gw_b_modify(struct gw *gw, const struct gw_cap *file, uint64_t offset, const void *buf, size_t size,
		unsigned flags, struct gw_cap *ret);
int gw_b_insert(struct gw *gw, const struct gw_cap *file, uint64_t offset, const void *buf, size_t size,
		unsigned flags, struct gw_cap *ret);
int gw_b_delete(struct gw *gw, const struct gw_cap *file, uint64_t offset, uint64_t size, unsigned flags,
		struct gw_cap *ret);

/* --- soap --- */

enum gw_sp_command {
	GW_SP_CREATE = 2100,
	GW_SP_DISCARD,
	GW_SP_LIST,
	GW_SP_APPEND,
	GW_SP_CHMOD,
	GW_SP_DELETE,
	GW_SP_LOOKUP,
	GW_SP_SETLOOKUP,
	GW_SP_INSTALL,
	GW_SP_PUTTYPE,
	GW_SP_REPLACE,
	GW_SP_GETMASKS,
	GW_SP_GETSEQNR,
};

#define GW_SP_NOTEMPTY (-2102)
#define GW_SP_CLASH (-2104) /* an entry is not what it was believed to be */

#define GW_SP_COLUMNS 3u /* owner, group, other: bits 0 to 2 of the rights on a directory */
#define GW_SPR_COLUMNS 0x07u
#define GW_SPR_MODIFY 0x40u /* of the directory */
#define GW_SPR_DELETE 0x80u /* of the directory */
#define GW_SP_NAME_MAX 255u
#define GW_CAPSET_MAX 8u

/* One object, kept by up to eight servers. */
struct gw_capset {
	unsigned n;
	struct gw_cap caps[GW_CAPSET_MAX];
};

/* Which rights each column leaves of the capabilities in a row. */
struct gw_sp_masks {
	uint32_t columns[GW_SP_COLUMNS];
};

struct gw_sp_row {
	char name[GW_SP_NAME_MAX + 1];
	struct gw_sp_masks masks;
};

/* For gw_sp_install: what must be there (n 0: no such name), and what shall be (n 0: nothing). */
struct gw_sp_change {
	struct gw_cap dir;
	char name[GW_SP_NAME_MAX + 1];
	struct gw_capset old, new;
};
#define GW_SP_CHANGES_MAX 64u

/* A new, empty directory, kept by the server of `dir`; it is in no other until somebody puts it there. */
int gw_sp_create(struct gw *gw, const struct gw_cap *dir, struct gw_cap *ret);
/* A directory must be empty. */
int gw_sp_discard(struct gw *gw, const struct gw_cap *dir);
int gw_sp_append(struct gw *gw, const struct gw_cap *dir, const char *name, const struct gw_sp_masks *masks,
		 const struct gw_capset *set);
int gw_sp_replace(struct gw *gw, const struct gw_cap *dir, const char *name, const struct gw_capset *set);
int gw_sp_chmod(struct gw *gw, const struct gw_cap *dir, const char *name, const struct gw_sp_masks *masks);
int gw_sp_delete(struct gw *gw, const struct gw_cap *dir, const char *name);
/* With the rights that the columns held leave. */
int gw_sp_lookup(struct gw *gw, const struct gw_cap *dir, const char *name, struct gw_capset *ret);
/* Row number `at` and those after it, at most `max` (which must be 1 at least); *ret_n of them, 0 at the end. In
 * the order of names. */
int gw_sp_list(struct gw *gw, const struct gw_cap *dir, uint64_t at, struct gw_sp_row *rows, size_t max,
	       size_t *ret_n);
/* Several entries, in directories of one server, all of them or none. GW_SP_CLASH if one is not as said. */
int gw_sp_install(struct gw *gw, const struct gw_sp_change *changes, size_t n);
/* Grows with every change of the directory. */
int gw_sp_seqnr(struct gw *gw, const struct gw_cap *dir, uint64_t *ret);

/* --- paths --- */

/* Follows "a/b/c" from a directory; "" and "/" are the directory itself, "." and ".." are taken out of the text.
 */
int gw_name_lookup(struct gw *gw, const struct gw_cap *root, const char *path, struct gw_cap *ret);
/* The directory that holds the last name of the path, and that name. GW_STD_ARGBAD if there is none. */
int gw_name_parent(struct gw *gw, const struct gw_cap *root, const char *path, struct gw_cap *ret_dir,
		   char ret_name[GW_SP_NAME_MAX + 1]);

/* A capability in a message: 44 bytes in network order. */
#define GW_CAP_LEN 44u
void gw_cap_encode(const struct gw_cap *cap, uint8_t out[GW_CAP_LEN]);
void gw_cap_decode(struct gw_cap *cap, const uint8_t in[GW_CAP_LEN]);

#ifdef __cplusplus
}
#endif

#endif
