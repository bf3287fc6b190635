/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_MOVER_ARRIVAL_H
#define GW_MOVER_ARRIVAL_H

#include "base/err.h"
#include "checkpoint.pb-c.h"

/*
 * A connection to the flipd at `socket_path` in place of one that the job had at the source: flipd is told who
 * will use it and writes what the job had not read there. Whoever restores the job's communication state says the
 * rest. `socket_path` NULL or empty: a connection that is closed at its other end. Returns a descriptor or -errno.
 */
int arrival_open(const char *socket_path, const Godwit__Ckpt__FlipSocket *f, struct err *e) must_check;

#endif
