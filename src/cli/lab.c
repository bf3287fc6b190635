/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/lab.h"

enum given {
	OPT_PRIVATE_ROOT = 1,
	OPT_RATE = 2,
	OPT_TRUSTED = 4,
	OPT_ENV = 8,
	OPT_CONF = 16,
	OPT_JSON = 32,
	OPT_ALL = 64,
	OPT_KILL = 128,
	OPT_BOX = 256,
};

struct args {
	const char *prefix;
	const char *rate;
	const char *box;
	unsigned int given; /* enum given */
	char **env;
	char **conf;
	const struct verb *verb;
	char *arg[2];
	int n;
	char **command; /* exec: what follows the host */
};

struct verb {
	const char *name;
	int (*run)(struct lab *lab, const struct args *a, struct err *e); /* exit status or -errno */
	int min_args, max_args;
	unsigned int options;
	bool needs_lab;
	bool needs_lock;
};

/* The host an argument names; 0 and an error if there is none. */
static unsigned int host_arg(const struct lab *lab, const char *name, struct err *e)
{
	unsigned int h = lab_host(lab, name);

	if (!h)
		(void)err_set(e, -EINVAL, "lab '%s' has hosts h1 to h%u, not '%s'", lab->prefix, lab->hosts, name);
	return h;
}

/* "2" or "2-3". */
static int take_boxes(struct lab *lab, const char *text, struct err *e)
{
	char *end;

	lab->boxes[0] = lab->boxes[1] = (unsigned int)strtoul(text, &end, 10);
	if (*end == '-')
		lab->boxes[1] = (unsigned int)strtoul(end + 1, &end, 10);
	if (*end || !lab->boxes[0] || lab->boxes[1] < lab->boxes[0] || lab->boxes[1] > lab->hosts)
		return err_set(e, -EINVAL, "--box: '%s' is neither a host's number nor two (2-3)", text);
	return 0;
}

static int verb_up(struct lab *lab, const struct args *a, struct err *e)
{
	char *end;
	unsigned long n = strtoul(a->arg[0], &end, 10);

	if (*end || !n || n > LAB_HOSTS_MAX)
		return err_set(e, -EINVAL, "a lab has 1 to %d hosts, not '%s'", LAB_HOSTS_MAX, a->arg[0]);
	lab->hosts = (unsigned int)n;
	if (a->box && take_boxes(lab, a->box, e) < 0)
		return -EINVAL;
	lab->private_root = a->given & OPT_PRIVATE_ROOT;
	lab->trusted = a->given & OPT_TRUSTED;
	snprintf(lab->rate, sizeof lab->rate, "%s", a->rate ? a->rate : "");
	for (char **v = a->env; v && *v; v++)
		lab_list_add(&lab->env, *v);
	for (char **v = a->conf; v && *v; v++)
		lab_list_add(&lab->conf, *v);
	return lab_up(lab, e);
}

static int verb_down(struct lab *lab, const struct args *a, struct err *e)
{
	int r = lab_remove(lab, e);

	(void)a;
	if (r == 0)
		lab_unlink_lock(lab);
	return r;
}

static int verb_ls(struct lab *lab, const struct args *a, struct err *e)
{
	int r;

	if (a->given & OPT_ALL)
		return lab_print_all(a->given & OPT_JSON, e);
	r = lab_load(lab, e);
	return r < 0 ? r : lab_print(lab, a->given & OPT_JSON, e);
}

static int verb_exec(struct lab *lab, const struct args *a, struct err *e)
{
	unsigned int h = host_arg(lab, a->arg[0], e);
	int r;

	if (!h || !a->command[0])
		return h ? err_set(e, -EINVAL, "say what to run: godwit lab exec %s -- COMMAND", a->arg[0])
			 : -EINVAL;
	r = lab_exec(lab, h, a->command, e);
	if (r < 0)
		return cli_fail(CLI_RUN_FAILED, "lab: %s", err_text(e));
	/* Half of this process is inside the host by now: what others do at exit (LeakSanitizer starts a tracer)
	 * would happen in the wrong place. */
	_exit(r);
}

static int verb_stop(struct lab *lab, const struct args *a, struct err *e)
{
	unsigned int h = host_arg(lab, a->arg[0], e);

	return h ? lab_stop_host(lab, h, e) : -EINVAL;
}

static int verb_start(struct lab *lab, const struct args *a, struct err *e)
{
	unsigned int h = host_arg(lab, a->arg[0], e);

	return h ? lab_start_host(lab, h, e) : -EINVAL;
}

static int verb_link(struct lab *lab, const struct args *a, struct err *e)
{
	unsigned int h = host_arg(lab, a->arg[0], e);

	return h ? net_set_link(lab, h, a->arg[1], e) : -EINVAL;
}

static int verb_restart(struct lab *lab, const struct args *a, struct err *e)
{
	static const char *const daemons[] = { "flipd", "procd" };
	unsigned int h = host_arg(lab, a->arg[0], e);
	int r = h ? 0 : -EINVAL;
	char reply[1200];

	if (a->n > 1 && strcmp(a->arg[1], "flipd") && strcmp(a->arg[1], "procd"))
		return err_set(e, -EINVAL, "the daemons are flipd and procd, not '%s'", a->arg[1]);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(daemons); i++) {
		_cleanup_free_ char *kill = xasprintf("kill %s", daemons[i]);
		_cleanup_free_ char *line = xasprintf("restart %s", daemons[i]);

		if (a->n > 1 && strcmp(a->arg[1], daemons[i]))
			continue;
		if (a->given & OPT_KILL)
			r = lab_ask_init(lab, h, kill, NULL, reply, sizeof reply, e);
		if (r == 0)
			r = lab_ask_init(lab, h, line, a->env, reply, sizeof reply, e);
	}
	return r < 0 ? r : lab_wait_ready(lab, h, h, e);
}

static const struct verb verbs[] = {
	{ "up", verb_up, 1, 1, OPT_PRIVATE_ROOT | OPT_RATE | OPT_TRUSTED | OPT_ENV | OPT_CONF | OPT_BOX, false,
	  true },
	{ "down", verb_down, 0, 0, 0, false, true },
	{ "ls", verb_ls, 0, 0, OPT_JSON | OPT_ALL, false, false },
	{ "exec", verb_exec, 1, 1, 0, true, false },
	{ "stop", verb_stop, 1, 1, 0, true, true },
	{ "start", verb_start, 1, 1, 0, true, true },
	{ "link", verb_link, 2, 2, 0, true, true },
	{ "restart", verb_restart, 1, 2, OPT_ENV | OPT_KILL, true, true },
};

static const struct argp_option options[] = {
	{ "prefix", 'p', "NAME", 0, "which lab (default: lab); labs with different names stand side by side", 0 },
	{ "private-root", 'r', NULL, 0, "up: each host writes to a file system of its own", 0 },
	{ "rate", 'R', "RATE", 0, "up: each link carries so much, as tc says it (10mbit)", 0 },
	{ "trusted", 't', NULL, 0, "up: memory crosses the links unsealed", 0 },
	{ "env", 'e', "NAME=VALUE", 0, "up, restart: for the daemons' environment", 0 },
	{ "conf", 'c', "KEY=VALUE", 0, "up: a further line of each host's godwit.conf", 0 },
	{ "box", 'b', "N[-M]", 0,
	  "up: hosts before hN are on one network, those after it (after hM) on another, and it is on both", 0 },
	{ "json", 'j', NULL, 0, "ls: one array of objects", 0 },
	{ "all", 'a', NULL, 0, "ls: all labs", 0 },
	{ "kill", 'k', NULL, 0, "restart: do not ask the daemon to end, kill it", 0 },
	{ 0 },
};

static void take_arg(struct argp_state *state, struct args *a, char *arg)
{
	if (!a->verb) {
		for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
			if (!strcmp(verbs[i].name, arg))
				a->verb = &verbs[i];
		if (!a->verb)
			argp_error(state, "there is no '%s' here", arg);
		return;
	}
	if (a->n >= a->verb->max_args)
		argp_error(state, "'%s' is one argument too many", arg);
	a->arg[a->n++] = arg;
	if (a->verb->run == verb_exec) { /* the rest is the command's, options and all */
		if (state->next < state->argc && !strcmp(state->argv[state->next], "--"))
			state->next++;
		a->command = state->argv + state->next;
		state->next = state->argc;
	}
}

static void check_args(struct argp_state *state, const struct args *a)
{
	if (!a->verb)
		argp_error(state, "what shall be done?");
	else if (a->n < a->verb->min_args)
		argp_error(state, "'%s' needs %d argument%s", a->verb->name, a->verb->min_args,
			   a->verb->min_args > 1 ? "s" : "");
	else if (a->given & ~a->verb->options)
		argp_error(state, "'%s' does not take one of these options", a->verb->name);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	static const struct {
		int key;
		enum given option;
	} flags[] = { { 'r', OPT_PRIVATE_ROOT }, { 'R', OPT_RATE }, { 't', OPT_TRUSTED },
		      { 'e', OPT_ENV },		 { 'c', OPT_CONF }, { 'b', OPT_BOX },
		      { 'j', OPT_JSON },	 { 'a', OPT_ALL },  { 'k', OPT_KILL } };
	struct args *a = state->input;

	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (flags[i].key == key)
			a->given |= flags[i].option;
	switch (key) {
	case 'p':
		a->prefix = arg;
		return 0;
	case 'R':
		a->rate = arg;
		return 0;
	case 'b':
		a->box = arg;
		return 0;
	case 'e':
		lab_list_add(&a->env, arg);
		return 0;
	case 'c':
		lab_list_add(&a->conf, arg);
		return 0;
	case ARGP_KEY_ARG:
		take_arg(state, a, arg);
		return 0;
	case ARGP_KEY_END:
		check_args(state, a);
		return 0;
	default:
		return a->given && key < 256 && key > 0 && isalpha(key) ? 0 : ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "up N\ndown\nls\nexec HOST -- COMMAND...\nstop HOST\nstart HOST\nlink HOST "
		    "up|down|deaf|mute\nrestart "
		    "HOST [flipd|procd]",
	.doc = "Hosts h1 to hN on this machine, each with namespaces, clocks, /run and daemons of its own, joined "
	       "by a bridge.",
};

static int run_verb(const struct args *a, struct err *e)
{
	struct lab lab = { .lock = -EBADF };
	int r = lab_init(&lab, a->prefix, e);

	if (r == 0 && a->verb->needs_lock)
		r = lab_lock(&lab, e);
	if (r == 0 && a->verb->needs_lab)
		r = lab_load(&lab, e);
	if (r == 0)
		r = a->verb->run(&lab, a, e);
	lab_done(&lab);
	return r;
}

int cmd_lab(int argc, char **argv)
{
	struct args a = { .prefix = "lab" };
	struct err e = { 0 };
	int r;

	if (argc > 1 && !strcmp(argv[1], "host-init"))
		return lab_host_init(argc - 2, argv + 2);
	if (argc > 1 && !strcmp(argv[1], "switch"))
		return lab_switch();
	if (argc > 1 && !strcmp(argv[1], "ready"))
		return lab_ready(argc - 2, argv + 2);
	(void)argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &a);
	if (geteuid() != 0)
		return cli_fail(CLI_FAILED,
				"lab: hosts are made of namespaces and need root: sudo godwit lab ...");
	r = run_verb(&a, &e);
	if (r == -EINVAL)
		return cli_fail(CLI_USAGE, "lab: %s", err_text(&e));
	return r < 0 ? cli_fail(CLI_FAILED, "lab: %s", err_text(&e)) : r;
}
