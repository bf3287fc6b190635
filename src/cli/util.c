/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/cli.h"

int cli_fail(int status, const char *fmt, ...)
{
	int colour = isatty(STDERR_FILENO);
	va_list ap;

	va_start(ap, fmt);
	fflush(stdout);
	fputs(colour ? "\033[1;31mgodwit:\033[0m " : "godwit: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	return status;
}

char *cli_size(uint64_t bytes, char text[CLI_TEXT_MAX])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	size_t unit = 0;

	for (; value >= 1024 && unit < ARRAY_LEN(units) - 1; unit++)
		value /= 1024;
	snprintf(text, CLI_TEXT_MAX, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return text;
}

char *cli_time(uint64_t us, char text[CLI_TEXT_MAX])
{
	if (us < 1000)
		snprintf(text, CLI_TEXT_MAX, "%llu us", (unsigned long long)us);
	else if (us < 1000000)
		snprintf(text, CLI_TEXT_MAX, "%.2f ms", (double)us / 1e3);
	else
		snprintf(text, CLI_TEXT_MAX, "%.2f s", (double)us / 1e6);
	return text;
}

int cli_print_json(json_t *value)
{
	int r = json_dumpf(value, stdout, JSON_INDENT(1) | JSON_ENCODE_ANY);

	json_decref(value);
	putchar('\n');
	return r < 0 || fflush(stdout) ? cli_fail(CLI_FAILED, "cannot write to standard output") : CLI_OK;
}

int cli_signal_number(const char *name)
{
	char *end;
	long n = strtol(name, &end, 10);

	if (*name && !*end)
		return n > 0 && n <= SIGRTMAX ? (int)n : 0;
	if (!strncmp(name, "SIG", 3))
		name += 3;
	for (int sig = 1; sig < NSIG; sig++) {
		const char *abbrev = sigabbrev_np(sig);

		if (abbrev && !strcmp(abbrev, name))
			return sig;
	}
	return 0;
}

char *cli_absolute(const char *path)
{
	_cleanup_free_ char *here = *path == '/' ? NULL : getcwd(NULL, 0);

	return here ? xasprintf("%s/%s", here, path) : xstrdup(path);
}

error_t cli_parse_job(int key, char *arg, const struct argp_state *state, const char **job)
{
	switch (key) {
	case ARGP_KEY_ARG:
		if (*job)
			argp_error(state, "one job at a time");
		*job = arg;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which job?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}
