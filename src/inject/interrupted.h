/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_INJECT_INTERRUPTED_H
#define GW_INJECT_INTERRUPTED_H

#include <stdbool.h>

/* Results by which the kernel tells itself what to do with an interrupted call; a tracer sees them in rax. */
#define ERESTARTSYS 512		  /* again, or EINTR if a handler without SA_RESTART runs */
#define ERESTARTNOINTR 513	  /* again */
#define ERESTARTNOHAND 514	  /* again, or EINTR if any handler runs */
#define ERESTART_RESTARTBLOCK 516 /* restart_syscall(), or EINTR if any handler runs */

/*
 * True for calls that return EINTR whenever their thread is stopped, though no handler ran. Handing the kernel
 * ERESTARTNOHAND instead is right in every case: with a handler the program sees EINTR as ever, without one the
 * call starts again.
 */
bool call_shows_eintr(long nr);

#endif
