/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_BASE_CROWD_H
#define GW_BASE_CROWD_H

/*
 * How many times longer than on an idle host a program may have to wait for its turn: processes that want to run,
 * for each CPU; from 1 to HOST_CROWD_MAX. For deadlines of what processes have to do, not of what is waited for.
 */
#define HOST_CROWD_MAX 5u
unsigned host_crowd(void);

#endif
