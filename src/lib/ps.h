/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_LIB_PS_H
#define GW_LIB_PS_H

#include <stddef.h>
#include <stdint.h>

struct gw;

/* The status of include/godwit.h that comes nearest to a process server's errno. */
int ps_status(int code);

#define GW_WHY_MAX 256
/* Where a connection keeps the words of the last refusal. */
char *gw_why(struct gw *gw);

#endif
