/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_FLIP_ADDR_H
#define GW_FLIP_ADDR_H

#include <stdint.h>

/*
 * A FLIP address names a process, not a host. Whoever listens knows the private address p; senders use F(p). The
 * low byte is the address space (0 for now); the other 56 bits are random. Zero is the null address.
 */
typedef uint64_t flip_addr;

/* What a broadcast is sent to, the null address on the wire: anybody may listen on it. F yields it for nothing. */
#define FLIP_EVERYBODY ((flip_addr)1)

/* A fresh private address. */
flip_addr flip_addr_random(void);
/* F. Null maps to null, nothing else does. */
flip_addr flip_addr_publish(flip_addr private_addr);

#endif
