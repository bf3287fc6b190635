#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A mover is killed before its k-th system call, for every k of a migration (INSTANTS_STRIDE=1) or for a sample of
# them. After each death the job is where it was and looks as it did, the next move succeeds, and in the end its own
# check passes. INSTANTS_HOW=STOP: the mover stands still instead, until it is killed. INSTANTS_FROM: the first k.
# Arguments choose some (call_read_pipe:source; call_read_pipe:source:3, a stride three times as long).
. "$(dirname "$0")/tap.sh"

here=$(cd "$(dirname "$0")/../.." && pwd)
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$here/$BUILD ;; esac
tools=$BUILD/tests/lab/tools
stride=${INSTANTS_STRIDE:-29}
# A standstill takes three seconds.
moves=${INSTANTS_MOVES:-$([ "$INSTANTS_HOW" = STOP ] && echo 8 || echo 20)}

# In blocked calls of each kind of restart, cut in the middle of a transfer, in user code; one thread and many.
all="call_read_pipe:source call_read_pipe:destination call_poll:source call_pause:source
	regs_compute:source regs_compute:destination thread_ring_016:source thread_ring_016:destination
	call_tight:source call_tight:destination mem_busy:source"
sample="call_read_pipe:source call_read_pipe:destination regs_compute:source regs_compute:destination"
cases=$([ -n "$FAULTS_ALL" ] && echo "$all" || echo "$sample")

# run_hop NAME: as many attempts as fit in one life of the victim.
run_hop()
{
	local hop="timeout -k 5 100 $tools/hop -n $moves --die instants --mover $tools/dieat"

	case $1 in mem_busy | call_tight) export DIEAT_BUSY=1 ;; *) unset DIEAT_BUSY ;; esac
	case $1 in cut_* | call_sigtimedwait) export DIEAT_LINGERS=1 ;; *) unset DIEAT_LINGERS ;; esac
	$hop -- "$BUILD/tests/victim/$1" >"$work/out" 2>"$work/err" </dev/null
	status=$?
	# On a busy machine moves may take longer than the timeout that they are to fit into.
	# Its thread has ended in the middle of them then.
	if [ $status = 77 ] && grep -q "^SKIP the move took longer" "$work/out"; then
		sed -i '/BAD .*was .status: Threads:/d' "$DIEAT_LOG"
		status=0
		return
	fi
	[ $status != 0 ] || [ "$(tail -n 1 "$work/out")" = ok ] || status=1
}

# sweep NAME SIDE TIMES: from the first call to the last.
sweep()
{
	local stride=$((stride * ${3:-1}))
	local k=$((${INSTANTS_FROM:-0} + RANDOM % stride)) next

	export DIEAT_STATE=$work/state DIEAT_LOG=$work/log
	rm -f "$DIEAT_LOG" "$DIEAT_STATE".*
	echo "$k $stride $2 ${INSTANTS_HOW:-KILL}" >"$DIEAT_STATE"
	while [ "$k" -ge 0 ]; do
		run_hop "$1"
		read -r next _ <"$DIEAT_STATE"
		if [ $status != 0 ] || [ "$next" = "$k" ]; then
			echo "BAD between $k and $next: status $status: $(tail -n 3 "$work/err" | tr '\n' ' ')" >>"$DIEAT_LOG"
			[ "$next" != "$k" ] || break
		fi
		k=$next
	done
	! grep -q BAD "$DIEAT_LOG"
}

histogram()
{
	awk '$NF == "died" { n[$3]++; all++ }
		END { printf "%d instants:", all; for (s in n) printf " %s %d", s, n[s]; print "" }' "$work/log"
}

# For instants_totals.sh.
count_stages()
{
	awk -v side="$1" -v how="${INSTANTS_HOW:-KILL}" '$NF == "died" { n[$3]++ }
		END { for (s in n) print "mover", side, how, s, n[s] }' "$work/log"
}

export VICTIM_TIMED_MS=${VICTIM_TIMED_MS:-6000} VICTIM_SLACK_MS=${VICTIM_SLACK_MS:-1500}
[ "$(id -u)" = 0 ] || skip_all "hop needs root"
work=$(mktemp -d /tmp/instants.XXXXXX)
trap 'rm -rf "$work"' EXIT
for case in ${*:-$cases}; do
	IFS=: read -r name side times <<<"$case"
	sweep "$name" "$side" "$times"
	status=$?
	ok $status "$case: wherever the mover dies, the job is there once and goes on"
	diag "$case: $(histogram)"
	[ -z "$INSTANTS_TOTALS" ] || count_stages "$side" >>"$INSTANTS_TOTALS"
	[ $status = 0 ] || diag "$(grep BAD "$work/log" | head -n 5 | cut -c 1-400)"
done
finish
