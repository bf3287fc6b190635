/* SPDX-License-Identifier: Apache-2.0 */
/* An owner: serves a port, takes one checkpoint message, prints what it is about, says resume or kill. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.pb-c.h"
#include "godwit.h"

int main(int argc, char **argv)
{
	struct gw_hdr hdr = { 0 }, reply = { .command = GW_OK };
	Godwit__Ckpt__Job *job;
	struct gw *gw;
	uint8_t *buf = malloc(GW_MSG_MAX);
	ssize_t len;

	if (argc != 3 || !buf || gw_connect(NULL, &gw) < 0) {
		fprintf(stderr, "usage: owner PORT resume|kill\n");
		return 2;
	}
	hdr.port = gw_port_from_name(argv[1]);
	puts("ready");
	fflush(stdout);
	len = gw_getreq(gw, &hdr, buf, GW_MSG_MAX);
	if (len < 0 || (uint64_t)len < hdr.offset)
		return 1;
	job = godwit__ckpt__job__unpack(NULL, hdr.offset, buf);
	printf("%d %.*s %zu\n", hdr.command, (int)((uint64_t)len - hdr.offset), (char *)buf + hdr.offset,
	       job && job->n_processes ? job->processes[0]->n_threads : 0);
	if (job)
		godwit__ckpt__job__free_unpacked(job, NULL);
	reply.extra = !strcmp(argv[2], "kill");
	len = gw_putrep(gw, &reply, NULL, 0);
	gw_close(gw);
	free(buf);
	return len < 0;
}
