/* SPDX-License-Identifier: Apache-2.0 */
/*
 * psop JOB|CAPABILITY VERB [ARG...]
 *
 * A program that asks process servers through the library: what include/godwit.h says about jobs and segments, one
 * call for each verb. Prints what came of it and, if that was nothing, the status in words, and why.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "godwit.h"

static void print_cap(const struct gw_cap *cap)
{
	char text[GW_CAP_TEXT_MAX];

	gw_cap_print(cap, text);
	puts(text);
}

/* The segment that holds an address. */
static int find(struct gw *gw, const struct gw_cap *job, uint64_t address, struct gw_seg *ret)
{
	struct gw_seg *list;
	size_t n;
	int status = gw_seg_list(gw, job, &list, &n);

	if (status != GW_OK)
		return status;
	status = GW_STD_NOTFOUND;
	for (size_t i = 0; i < n; i++) {
		if (address - list[i].address >= list[i].length)
			continue;
		*ret = list[i];
		status = GW_OK;
	}
	free(list);
	return status;
}

static int on_memory(struct gw *gw, const struct gw_cap *job, char **argv)
{
	uint64_t address = strtoull(argv[1], NULL, 0);
	struct gw_seg seg = { 0 };
	char buf[4096] = "";
	int status = find(gw, job, address, &seg);

	if (status != GW_OK)
		return status;
	if (!strcmp(argv[0], "segment")) {
		print_cap(&seg.cap);
		return GW_OK;
	}
	if (!strcmp(argv[0], "write"))
		return gw_seg_write(gw, &seg.cap, address - seg.address, argv[2], strlen(argv[2]));
	status = gw_seg_read(gw, &seg.cap, address - seg.address, buf, (size_t)atoi(argv[2]) % sizeof buf);
	if (status == GW_OK)
		puts(buf);
	return status;
}

/* With the capability of a segment. */
static int on_segment(struct gw *gw, const struct gw_cap *seg, char **argv)
{
	char buf[64] = "";
	uint64_t size;
	int status;

	if (!strcmp(argv[0], "seg-size")) {
		status = gw_seg_size(gw, seg, &size);
		if (status == GW_OK)
			printf("%" PRIu64 "\n", size);
	} else if (!strcmp(argv[0], "seg-write")) {
		status = gw_seg_write(gw, seg, 0, argv[1], strlen(argv[1]));
	} else {
		status = gw_seg_read(gw, seg, strtoull(argv[1], NULL, 0), buf, 4);
		if (status == GW_OK)
			printf("%zu bytes\n", sizeof buf / 16);
	}
	return status;
}

static int on_object(struct gw *gw, const struct gw_cap *cap, char **argv)
{
	uint32_t rights = 0;
	struct gw_cap less;
	char text[256];
	int status;

	if (!strcmp(argv[0], "touch"))
		return gw_std_touch(gw, cap);
	if (!strcmp(argv[0], "destroy"))
		return gw_std_destroy(gw, cap);
	if (!strcmp(argv[0], "restrict") || !strcmp(argv[0], "restrict-here")) {
		status = gw_rights_parse(argv[1], &rights);
		if (status == GW_OK)
			status = argv[0][8] ? gw_cap_restrict(cap, rights, &less)
					    : gw_std_restrict(gw, cap, rights, &less);
		if (status == GW_OK)
			print_cap(&less);
		return status;
	}
	status = gw_std_info(gw, cap, text, sizeof text);
	if (status == GW_OK)
		puts(text);
	return status;
}

static int on_job(struct gw *gw, const struct gw_cap *job, char **argv)
{
	struct gw_ps_info info;
	int status;

	if (!strcmp(argv[0], "stun"))
		return gw_ps_stun(gw, job, 0, 2000);
	if (!strcmp(argv[0], "resume"))
		return gw_ps_resume(gw, job);
	if (!strcmp(argv[0], "kill"))
		return gw_ps_kill(gw, job, atoi(argv[1]));
	if (!strcmp(argv[0], "migrate"))
		return gw_ps_migrate(gw, job, argv[1]);
	if (!strcmp(argv[0], "disown"))
		return gw_ps_set_owner(gw, job, NULL);
	status = gw_ps_info(gw, job, &info);
	if (status == GW_OK)
		printf("%s at %s: state %d, %u threads, %d moves\n", info.name, info.host, (int)info.state,
		       info.threads, (int)info.moves);
	return status;
}

static int on_host(struct gw *gw, const char *host)
{
	struct gw_ps_load load;
	int status = gw_ps_load(gw, host, &load);

	if (status == GW_OK)
		printf("%u cpus, %u jobs, memory %s\n", load.cpus, load.jobs,
		       load.memory_available_bytes && load.memory_available_bytes <= load.memory_bytes ? "known"
												       : "?");
	return status;
}

static int is_one_of(const char *verb, const char *list)
{
	const char *at = strstr(list, verb);

	return at && (at == list || at[-1] == ' ') && (at[strlen(verb)] == ' ' || !at[strlen(verb)]);
}

int main(int argc, char **argv)
{
	char *nothing[] = { NULL, NULL, NULL };
	struct gw_cap cap;
	struct gw *gw;
	int status;

	if (argc < 3 || gw_connect(NULL, &gw) < 0)
		return 2;
	memcpy(nothing, argv + 2, (size_t)(argc > 5 ? 3 : argc - 2) * sizeof *argv);
	if (gw_cap_parse(argv[1], &cap) != GW_OK)
		gw_ps_named(argv[1], &cap);
	if (!strcmp(argv[2], "load"))
		status = on_host(gw, argv[1]);
	else if (is_one_of(argv[2], "read write segment"))
		status = on_memory(gw, &cap, nothing);
	else if (is_one_of(argv[2], "seg-size seg-read seg-write"))
		status = on_segment(gw, &cap, nothing);
	else if (is_one_of(argv[2], "touch destroy restrict restrict-here std-info"))
		status = on_object(gw, &cap, nothing);
	else
		status = on_job(gw, &cap, nothing);
	if (status != GW_OK)
		printf("%s%s%s\n", gw_strerror(status), *gw_ps_why(gw) ? ": " : "", gw_ps_why(gw));
	gw_close(gw);
	return status != GW_OK;
}
