/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_STATE_XSTATE_H
#define GW_STATE_XSTATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * The XSAVE area as ptrace shows it: standard format, every component at the offset that CPUID gives it on every
 * CPU, whole areas only. What differs between hosts is how many components there are, and so the size.
 */

#define XSTATE_MAX (32u << 10)
#define XSTATE_DYNAMIC (UINT64_C(1) << 18) /* components that a process must ask for: AMX tile data */

uint64_t xstate_features(void); /* components that this host's kernel has enabled (XCR0) */
size_t xstate_size(void);	/* of an area here, as far as CPUID knows */

/* Asks the CPU for what the functions below need, which takes long in a virtual machine: not for the freeze. */
void xstate_learn(void);

/* Components in use in an area; 0 if it is too short to say. */
uint64_t xstate_in_use(const uint8_t *area, size_t len);

/* How much of an area is in use: components that are in their initial state at its end need not travel. */
size_t xstate_used(const uint8_t *area, size_t len);

/* Makes an area of `size` bytes, which is what this host's ptrace shows, out of one that may be shorter or longer.
 * `to` has XSTATE_MAX bytes. Fails with words when a component is in use that this host lacks. */
int xstate_fit(const uint8_t *from, size_t len, uint8_t *to, size_t size, struct err *e) must_check;

#endif
