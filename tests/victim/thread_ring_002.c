/* SPDX-License-Identifier: Apache-2.0 */
/* 2 threads with mutexes and condition variables. */
#define THREADS 2
#include "thread_ring.h"
