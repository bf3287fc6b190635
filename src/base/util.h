/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_BASE_UTIL_H
#define GW_BASE_UTIL_H

#include <stdint.h>
#include <stdlib.h>
#include <sys/param.h> /* MIN, MAX; libuv's header brings it too */
#include <time.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define ALIGN_UP(x, a) (((x) + (a)-1) & ~((typeof(x))(a)-1))
#define ALIGN_DOWN(x, a) ((x) & ~((typeof(x))(a)-1))

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}
#define _cleanup_free_ __attribute__((cleanup(cleanup_free)))

/* Hands a pointer out of a variable that would otherwise free it. */
#define steal_ptr(p)                                                                                              \
	({                                                                                                        \
		typeof(*(p)) p_ = *(p);                                                                           \
		*(p) = NULL;                                                                                      \
		p_;                                                                                               \
	})

/* CLOCK_MONOTONIC in microseconds. Cores take the time as an argument; only programs ask the clock. */
static inline uint64_t now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static inline int64_t realtime_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static inline uint64_t boottime_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Allocation failure of small objects ends the program: there is no way on that anyone could test. Sizes that come
 * from outside are bounded before they get here. */
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
