/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_BASE_LOG_H
#define GW_BASE_LOG_H

/*
 * Levelled lines on standard error: "<3>procd: text" when a service manager reads them (it understands the
 * prefix), "procd: error: text" otherwise. The level is the one global of the project.
 */

enum log_level { LOG_ERROR = 3, LOG_WARN = 4, LOG_INFO = 6, LOG_DEBUG = 7 };

/* Names the program in every line; the level comes from GODWIT_LOG (error, warn, info, debug), default info. */
void log_open(const char *program);
void log_set_level(enum log_level level);
enum log_level log_level(void);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

#endif
