/* SPDX-License-Identifier: Apache-2.0 */
/* 200 threads with mutexes and condition variables. */
#define THREADS 200
#include "thread_ring.h"
