/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owner PORT|new WORD...
 *
 * An owner: serves a port (the well-known one of that name, or one of its own, whose name it prints), takes as
 * many messages as there are words, prints what each is about (cause, detail, job, threads), and answers with the
 * word: resume, kill, or no; the words -resume, -kill only after a line has come in at its standard input.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint.pb-c.h"
#include "godwit.h"

static void open_port(const char *name, struct gw_port *get)
{
	struct gw_port put;

	if (strcmp(name, "new") != 0) {
		*get = gw_port_from_name(name);
		return;
	}
	gw_port_random(get);
	gw_port_publish(get, &put);
	printf("port:");
	for (size_t i = 0; i < GW_PORT_LEN; i++)
		printf("%02x", put.bytes[i]);
	putchar('\n');
}

/* Through the capability that came with the message: how many segments, of which the stack can be read. */
static size_t look_inside(struct gw *gw, const struct gw_hdr *hdr, const char *name)
{
	struct gw_seg *list;
	struct gw_cap job;
	size_t n = 0, good = 0;
	char byte;

	gw_ps_named(name, &job);
	job.priv = hdr->priv;
	if (gw_seg_list(gw, &job, &list, &n) != GW_OK)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i].name, "[stack]") &&
		    gw_seg_read(gw, &list[i].cap, list[i].length - 1, &byte, 1) == GW_OK)
			good = n;
	free(list);
	return good;
}

static int print(struct gw *gw, const struct gw_hdr *hdr, const uint8_t *buf, size_t len)
{
	char name[64];
	Godwit__Ckpt__Job *job;

	if (len < hdr->offset)
		return 1;
	job = hdr->offset ? godwit__ckpt__job__unpack(NULL, hdr->offset, buf) : NULL;
	(void)snprintf(name, sizeof name, "%.*s", (int)(len - hdr->offset), (const char *)buf + hdr->offset);
	printf("%d cause %d detail %d of %s, %zu threads%s\n", hdr->command, (int)hdr->extra, (int)hdr->size, name,
	       job && job->n_processes ? job->processes[0]->n_threads : 0,
	       look_inside(gw, hdr, name) ? ", seen inside" : "");
	fflush(stdout);
	if (job)
		godwit__ckpt__job__free_unpacked(job, NULL);
	return 0;
}

int main(int argc, char **argv)
{
	uint8_t *buf = malloc(GW_MSG_MAX);
	struct gw_port get;
	struct gw *gw;

	if (argc < 3 || !buf || gw_connect(NULL, &gw) < 0) {
		fprintf(stderr, "usage: owner PORT|new [-]resume|[-]kill|no...\n");
		return 2;
	}
	open_port(argv[1], &get);
	puts("ready");
	fflush(stdout);
	for (int i = 2; i < argc; i++) {
		struct gw_hdr hdr = { .port = get }, reply = { .command = GW_OK };
		ssize_t len = gw_getreq(gw, &hdr, buf, GW_MSG_MAX);

		if (len < 0 || print(gw, &hdr, buf, (size_t)len))
			return 1;
		if (*argv[i] == '-' && argv[i]++ && !fgets((char *)buf, 16, stdin))
			return 1;
		reply.extra = !strcmp(argv[i], "kill");
		if (!strcmp(argv[i], "no"))
			reply.command = GW_STD_DENIED;
		if (gw_putrep(gw, &reply, NULL, 0) < 0)
			return 1;
	}
	gw_close(gw);
	free(buf);
	return 0;
}
