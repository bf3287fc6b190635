/* SPDX-License-Identifier: Apache-2.0 */
#include "inject/interrupted.h"

#include <stddef.h>
#include <sys/syscall.h>

#include "base/util.h"

/* Sockets are here because of SO_RCVTIMEO and SO_SNDTIMEO: without a timeout they restart by themselves. */
static const long eintr_calls[] = {
	SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_rt_sigtimedwait, SYS_semop,
	SYS_semtimedop, SYS_read,	 SYS_readv,	   SYS_recvfrom,	SYS_recvmsg,
	SYS_recvmmsg,	SYS_accept,	 SYS_accept4,	   SYS_write,		SYS_writev,
	SYS_sendto,	SYS_sendmsg,	 SYS_sendmmsg,	   SYS_connect,		SYS_io_getevents,
};

bool call_shows_eintr(long nr)
{
	for (size_t i = 0; i < ARRAY_LEN(eintr_calls); i++)
		if (eintr_calls[i] == nr)
			return true;
	return false;
}
