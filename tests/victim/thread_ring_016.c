/* SPDX-License-Identifier: Apache-2.0 */
/* 16 threads with mutexes and condition variables. */
#define THREADS 16
#include "thread_ring.h"
