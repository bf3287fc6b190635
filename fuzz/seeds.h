/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_FUZZ_SEEDS_H
#define GW_FUZZ_SEEDS_H

/* What the files that make seeds share. */

#include <errno.h>
#include <fcntl.h>
#include <linux/btf.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "base/wire.h"
#include "checkpoint.pb-c.h"
#include "flip/flip.h"
#include "image/decode.h"
#include "image/image.h"
#include "lib/frame.h"
#include "mover.pb-c.h"
#include "procd/journal.h"
#include "raw/raw.h"
#include "rpc/rpc.h"
#include "shepherd.pb-c.h"
#include "state/file.h"

#define PAGE 4096u
#define SEED_MAX 65536u

extern const char *seeds_root;

struct seed {
	uint8_t bytes[SEED_MAX];
	size_t len;
};

static inline void put(struct seed *s, const void *bytes, size_t len)
{
	if (len > SEED_MAX - s->len)
		abort();
	memcpy(s->bytes + s->len, bytes, len);
	s->len += len;
}

/* Little-endian, as fuzz_get reads. */
static inline void put_int(struct seed *s, uint64_t x, unsigned bytes)
{
	put(s, &x, bytes);
}

static inline void put_message(struct seed *s, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);

	if (len > SEED_MAX - s->len)
		abort();
	s->len += protobuf_c_message_pack(m, s->bytes + s->len);
}

static inline void put_counted(struct seed *s, const ProtobufCMessage *m)
{
	put_int(s, protobuf_c_message_get_packed_size(m), 2);
	put_message(s, m);
}

static inline void save(struct seed *s, const char *target, const char *name)
{
	char *dir = xasprintf("%s/%s", seeds_root, target), *path = xasprintf("%s/%s", dir, name);
	int fd;

	(void)mkdir(dir, 0755);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, s->bytes, s->len) != (ssize_t)s->len) {
		(void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	(void)close(fd);
	free(path);
	free(dir);
	s->len = 0;
}

static inline void save_text(const char *text, const char *target, const char *name)
{
	static struct seed s;

	put(&s, text, strlen(text));
	save(&s, target, name);
}

static inline ProtobufCBinaryData bytes_of(const void *data, size_t len)
{
	return (ProtobufCBinaryData) { len, (uint8_t *)(uintptr_t)data };
}

/* seeds_daemons.c */
void seeds_daemons(struct seed *s);

#endif
