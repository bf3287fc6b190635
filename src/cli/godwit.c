/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "cli/cli.h"

#ifndef GODWIT_VERSION
#define GODWIT_VERSION "0.1"
#endif

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "run", cmd_run, "start a job: a program that can be moved while it runs" },
	{ "ps", cmd_ps, "list jobs" },
	{ "hosts", cmd_hosts, "list hosts" },
	{ "logs", cmd_logs, "print what a job has written" },
	{ "attach", cmd_attach, "connect to a job's input and output" },
	{ "wait", cmd_wait, "wait for the end of a job" },
	{ "kill", cmd_kill, "send a signal to a job" },
	{ "check", cmd_check, "say what would stop a job from moving" },
	{ "migrate", cmd_migrate, "move a job to another host" },
	{ "stun", cmd_stun, "stop a job until it is resumed" },
	{ "resume", cmd_resume, "let a stunned job go on" },
	{ "setowner", cmd_setowner, "say who hears when a job is stunned or ends" },
	{ "cap", cmd_cap, "make a capability of a job, for others" },
	{ "mem", cmd_mem, "read or write the memory of a stunned job" },
	{ "checkpoint", cmd_checkpoint, "write a job into an image" },
	{ "restart", cmd_restart, "make a job out of an image" },
	{ "image", cmd_image, "look at an image" },
	{ "dir", cmd_dir, "names of objects: list, look up, enter, remove" },
	{ "file", cmd_file, "copy files to and from a bullet server" },
	{ "ping", cmd_ping, "time transactions with a host or a job" },
	{ "flip", cmd_flip, "show addresses, ports and routes of this host" },
	{ "trace", cmd_trace, "show this host's messages as they come and go" },
	{ "resolve", cmd_resolve, "decide about a job that is in doubt" },
	{ "init", cmd_init, "make the keys of a cluster and of a host" },
	{ "lab", cmd_lab, "make, enter and remove hosts for trying things out on one machine" },
};

static void usage(FILE *out)
{
	fprintf(out, "usage: godwit COMMAND [OPTION...] [ARG...]\n\n"
		     "Moves running programs from one host to another.\n\n");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
	fprintf(out,
		"\n--cap=CAPABILITY or --cap=@FILE, with a command about one job: by its rights, not yours.\n");
	fprintf(out, "`godwit COMMAND --help` says more, and so does the manual page godwit-COMMAND(1).\n");
}

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/* `godwit help run` is `godwit run --help`. */
static int help(int argc, char **argv)
{
	static char option[] = "--help";

	if (argc < 2 || !command_find(argv[1])) {
		usage(stdout);
		return argc < 2 ? CLI_OK : CLI_USAGE;
	}
	char *args[] = { xasprintf("godwit %s", argv[1]), option, NULL };

	return command_find(argv[1])->run(2, args);
}

/* --cap is every command's that is about one job, and goes where all of them find it. */
static int take_cap(int argc, char **argv)
{
	int n = 2;

	for (int i = 2; i < argc; i++) {
		if (!strncmp(argv[i], "--cap=", 6))
			(void)setenv("GODWIT_CAP", argv[i] + 6, 1);
		else if (!strcmp(argv[i], "--cap") && i + 1 < argc)
			(void)setenv("GODWIT_CAP", argv[++i], 1);
		else
			argv[n++] = argv[i];
	}
	argv[n] = NULL;
	return n;
}

int main(int argc, char **argv)
{
	const struct command *c;

	log_open("godwit");
	argp_err_exit_status = CLI_USAGE;
	if (argc < 2) {
		usage(stderr);
		return CLI_USAGE;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("godwit " GODWIT_VERSION);
		return CLI_OK;
	}
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return help(argc - 1, argv + 1);
	c = command_find(argv[1]);
	if (!c)
		return cli_fail(CLI_USAGE, "there is no command '%s'; `godwit help` lists them", argv[1]);
	if (c->run != cmd_run && c->run != cmd_lab) /* those have commands of others behind them */
		argc = take_cap(argc, argv);
	argv[1] = xasprintf("godwit %s", c->name);
	return c->run(argc - 1, argv + 1);
}
