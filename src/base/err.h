/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_BASE_ERR_H
#define GW_BASE_ERR_H

/*
 * An error is a negative errno plus the story of how it came about.
 *
 * A function that can fail returns 0 or -errno. Where the cause is part of the product ("why can this job not
 * move?") it also takes a `struct err *` last. The innermost function sets it, callers wrap it on the way up, so
 * that the text reads from the outside in: "job web: pid 12 fd 7: io_uring is not supported: ...".
 */

#define ERR_TEXT_MAX 1024

struct err {
	int code; /* negative errno, 0 while nothing went wrong */
	char text[ERR_TEXT_MAX];
};

/* Fills `e` (may be NULL) and returns `code`, which is a negative errno. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set with -errno, ": " and the errno's own words appended. */
int err_errno(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As err_errno for a negative errno that a function returned. */
int err_code(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "fmt: " in front of what `e` says already and returns its code. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What went wrong, for people; the words of the errno if nobody said more. */
const char *err_text(const struct err *e);

#define must_check __attribute__((warn_unused_result))

#endif
