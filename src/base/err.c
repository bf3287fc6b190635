/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int set_text(struct err *e, int code, const char *fmt, va_list ap)
{
	if (e) {
		e->code = code;
		(void)vsnprintf(e->text, sizeof e->text, fmt, ap);
	}
	return code;
}

static void append_reason(struct err *e, int code)
{
	size_t used;

	if (!e)
		return;
	used = strlen(e->text);
	(void)snprintf(e->text + used, sizeof e->text - used, ": %s", strerror(-code));
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_text(e, code, fmt, ap);
	va_end(ap);
	return code;
}

int err_errno(struct err *e, const char *fmt, ...)
{
	int code = errno ? -errno : -EIO;
	va_list ap;

	va_start(ap, fmt);
	set_text(e, code, fmt, ap);
	va_end(ap);
	append_reason(e, code);
	return code;
}

int err_code(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	set_text(e, code, fmt, ap);
	va_end(ap);
	append_reason(e, code);
	return code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char inner[ERR_TEXT_MAX];
	size_t used;
	va_list ap;

	if (!e)
		return -EIO;
	memcpy(inner, e->text, sizeof inner);
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	used = strlen(e->text);
	(void)snprintf(e->text + used, sizeof e->text - used, ": %s", inner[0] ? inner : strerror(-e->code));
	return e->code;
}

const char *err_text(const struct err *e)
{
	if (!e)
		return "unknown error";
	if (e->text[0])
		return e->text;
	return strerror(-e->code);
}
