/* SPDX-License-Identifier: Apache-2.0 */
/* Stand-ins for what src/state/file_*.c will define; the linker prefers those. */
#include "state/file.h"

int __attribute__((weak)) file_carry_serve(struct state_source *s, const struct file_io *io, struct err *e)
{
	(void)s, (void)io, (void)e;
	return 0;
}

int __attribute__((weak)) file_carry_push(struct state_source *s, const struct file_io *io, struct err *e)
{
	(void)s, (void)io, (void)e;
	return 0;
}

int __attribute__((weak)) file_carry_fetch(struct state_target *d, const struct file_io *io, struct err *e)
{
	(void)d, (void)io, (void)e;
	return 0;
}

int __attribute__((weak)) file_carry_pull(struct state_target *d, const struct file_io *io, struct err *e)
{
	(void)d, (void)io, (void)e;
	return 0;
}

void __attribute__((weak)) file_source_done(struct state_source *s)
{
	(void)s;
}

void __attribute__((weak)) file_target_done(struct state_target *d)
{
	(void)d;
}
