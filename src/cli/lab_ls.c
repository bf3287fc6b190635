/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/lab.h"

static json_t *pid_json(pid_t pid)
{
	return pid ? json_integer(pid) : json_null();
}

static json_t *netns_json(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/ns/net", (int)pid);

	return pid ? json_string(path) : json_null();
}

static json_t *host_json(const struct lab *lab, unsigned int h)
{
	_cleanup_free_ char *name = xasprintf("h%u", h);
	_cleanup_free_ char *address = lab_address(lab, h, 0);
	_cleanup_free_ char *veth = xasprintf("%s-h%u", lab->prefix, h);
	_cleanup_free_ char *cgroup = xasprintf("%s/h%u", lab->cgroup, h);
	_cleanup_free_ char *dir = xasprintf("%s/h%u", lab->dir, h);
	pid_t init = lab_pid(lab, h), sw = lab_pid(lab, 0);

	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:s}", "lab", lab->prefix,
			 "name", name, "state", init ? "up" : "off", "address", address, "init", pid_json(init),
			 "flipd", pid_json(lab_daemon_pid(lab, h, "flipd")), "procd",
			 pid_json(lab_daemon_pid(lab, h, "procd")), "netns", netns_json(init), "switch_netns",
			 netns_json(sw), "veth", veth, "cgroup", cgroup, "directory", dir);
}

static void print_pid(json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	if (json_is_integer(v))
		printf(" %8lld", (long long)json_integer_value(v));
	else
		printf(" %8s", "-");
}

static void print_table(json_t *a)
{
	size_t i;
	json_t *o;

	printf("%-11s %-4s %-5s %-15s %8s %8s %8s\n", "LAB", "HOST", "STATE", "ADDRESS", "INIT", "FLIPD", "PROCD");
	json_array_foreach(a, i, o)
	{
		printf("%-11s %-4s %-5s %-15s", json_string_value(json_object_get(o, "lab")),
		       json_string_value(json_object_get(o, "name")),
		       json_string_value(json_object_get(o, "state")),
		       json_string_value(json_object_get(o, "address")));
		print_pid(o, "init");
		print_pid(o, "flipd");
		print_pid(o, "procd");
		putchar('\n');
	}
}

static void add_hosts(json_t *a, const struct lab *lab)
{
	for (unsigned int h = 1; h <= lab->hosts; h++)
		json_array_append_new(a, host_json(lab, h));
}

static int print(json_t *a, bool json, struct err *e)
{
	if (json) {
		json_dumpf(a, stdout, JSON_INDENT(1));
		putchar('\n');
	} else {
		print_table(a);
	}
	json_decref(a);
	return fflush(stdout) ? err_errno(e, "standard output") : 0;
}

int lab_print(const struct lab *lab, bool json, struct err *e)
{
	json_t *a = json_array();

	add_hosts(a, lab);
	return print(a, json, e);
}

int lab_print_all(bool json, struct err *e)
{
	json_t *a = json_array();
	DIR *d = opendir(LAB_RUN);
	struct dirent *de;

	while (d && (de = readdir(d))) {
		struct lab lab = { .lock = -EBADF };
		struct err ignored = { 0 };

		if (de->d_type == DT_DIR && de->d_name[0] != '.' && lab_init(&lab, de->d_name, &ignored) == 0 &&
		    lab_load(&lab, &ignored) == 0)
			add_hosts(a, &lab);
		lab_done(&lab);
	}
	if (d)
		closedir(d);
	return print(a, json, e);
}
