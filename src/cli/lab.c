/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

int cmd_lab(int argc, char **argv)
{
	(void)argc;
	return cli_fail(CLI_FAILED, "%s: not there yet", argv[0]);
}
