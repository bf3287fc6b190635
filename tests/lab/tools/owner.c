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

static int print(const struct gw_hdr *hdr, const uint8_t *buf, size_t len)
{
	Godwit__Ckpt__Job *job;

	if (len < hdr->offset)
		return 1;
	job = hdr->offset ? godwit__ckpt__job__unpack(NULL, hdr->offset, buf) : NULL;
	printf("%d cause %d detail %d of %.*s, %zu threads\n", hdr->command, (int)hdr->extra, (int)hdr->size,
	       (int)(len - hdr->offset), (const char *)buf + hdr->offset,
	       job && job->n_processes ? job->processes[0]->n_threads : 0);
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

		if (len < 0 || print(&hdr, buf, (size_t)len))
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
