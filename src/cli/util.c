/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

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
