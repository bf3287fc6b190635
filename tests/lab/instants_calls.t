#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The way home from every kind of pending call and transfer, and under seccomp filters: the source's mover is killed at
# instants from shortly before the stop on. With FAULTS_ALL every victim at every third of them (of INSTANTS_STRIDE),
# else a sample of some. See instants.t.
cut="cut_write cut_writev"
seccomp="seccomp_deny seccomp_filter seccomp_threads"
calls="call_readv_pipe call_read_eof call_eventfd_read call_eventfd_write call_fifo_open call_leader_waits
	call_splice_empty call_splice_full call_tee_empty call_vmsplice_full call_sendfile_full
	call_poll call_poll_sleep call_poll_timeout call_ppoll_timeout call_ppoll_signal
	call_select call_select_timeout call_pselect_timeout
	call_nanosleep call_nanosleep_raw call_nanosleep_rem
	call_clock_nanosleep_abs call_clock_nanosleep_rel call_clock_nanosleep_realtime
	call_futex_wait call_futex_timeout call_futex_bitset call_futex_realtime call_futex_shared call_futex_pi
	call_futex_waitv call_sigsuspend call_sigtimedwait call_sigwaitinfo call_pause call_restart"

here=$(dirname "$0")
export INSTANTS_FROM=${INSTANTS_FROM:-480} INSTANTS_MOVES=${INSTANTS_MOVES:-10}
if [ "$INSTANTS_HOW" = STOP ]; then
	echo "1..0 # SKIP a call that is pending does not care how long"
	exit 0
fi
if [ -n "$FAULTS_ALL" ]; then
	cases=$(printf '%s:source ' $cut)$(printf '%s:source:3 ' $seccomp $calls)
else
	cases="cut_write:source:2 seccomp_deny:source:2"
fi
exec "$here/instants.t" $cases
