/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
	enum log_level level;
	bool journal; /* a service manager adds time and program itself */
	const char *program;
} state = { .level = LOG_INFO, .program = "godwit" };

static const struct {
	const char *name;
	enum log_level level;
} names[] = { { "error", LOG_ERROR }, { "warn", LOG_WARN }, { "info", LOG_INFO }, { "debug", LOG_DEBUG } };

static const char *level_name(enum log_level level)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].level == level)
			return names[i].name;
	return "?";
}

void log_open(const char *program)
{
	const char *want = getenv("GODWIT_LOG");

	state.program = program;
	state.journal = getenv("JOURNAL_STREAM") != NULL;
	for (size_t i = 0; want && i < sizeof names / sizeof *names; i++)
		if (!strcmp(want, names[i].name))
			state.level = names[i].level;
}

void log_set_level(enum log_level level)
{
	state.level = level;
}

enum log_level log_level(void)
{
	return state.level;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char text[2048];
	struct timespec now;
	va_list ap;

	if (level > state.level)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (state.journal) {
		(void)dprintf(STDERR_FILENO, "<%d>%s\n", (int)level, text);
		return;
	}
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)dprintf(STDERR_FILENO, "%lld.%06ld %s[%d]: %s: %s\n", (long long)now.tv_sec, now.tv_nsec / 1000,
		      state.program, (int)getpid(), level_name(level), text);
}
