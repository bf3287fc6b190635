#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# procd, flipd, a job's shepherd and the movers, on either side, die before their k-th system call of a migration, for a sample
# of k or (INSTANTS_STRIDE=1) for every one. INSTANTS_HOW=STOP: they stand still, and are killed by and by, as a
# watchdog would. See tests/lab/strike/strike.h for what must be true after each. Arguments choose some
# (procd:source:one).
. "$(dirname "$0")/lab.sh"

strike=$BUILD/tests/lab/tools/strike
counter=$BUILD/tests/lab/tools/counter
how=${INSTANTS_HOW:-KILL}
stride=${INSTANTS_STRIDE:-$([ "$how" = KILL ] && echo 59 || echo 97)}
limit=${INSTANTS_LIMIT_S:-0}

# One thread in a blocked call and in user code; many likewise; one that calls a server on h3, and serves. (flipd's death is
# the end of its conversations, and a shepherd's that of the job.)
declare -A jobs=([one]="10 0" [one_spinning]="20 0 spin" [many]="10 6" [many_spinning]="20 3 spin"
	[talking]="10 2 talk called CALLER served")
sample="procd:source:one procd:destination:many procd:source:talking flipd:source:many flipd:destination:one
	shepherd:source:one shepherd:destination:many"
all=$(for job in one many one_spinning many_spinning; do
	for program in procd flipd shepherd mover; do
		echo "$program:source:$job $program:destination:$job"
	done
done; for program in procd mover; do
	echo "$program:source:talking $program:destination:talking"
done)
cases=$([ -n "$FAULTS_ALL" ] && echo "$all" || echo "$sample")

callers=0

# serve_calls: whom the talking job calls; it keeps count of each caller, so every job is a new one
serve_calls()
{
	callers=$((callers + 1))
	[ $callers = 1 ] || kill $called 2>/dev/null
	on h3 "$BUILD/tests/lab/tools/ledger" serve called >"$work/called" 2>&1 &
	called=$!
}

lab_begin 3
totals=${INSTANTS_TOTALS:-$work/totals}
for case in ${*:-$cases}; do
	IFS=: read -r program side job <<<"$case"
	first=$((RANDOM % stride))
	[ "$job" != talking ] || serve_calls
	"$strike" "$LAB" "$program" "$side" "$how" $first "$stride" -1 "$limit" \
		"$counter" 100000000 ${jobs[$job]/CALLER/$callers} >"$work/strike.out" 2>&1
	status=$?
	tap_log=$work/strike.out tap_lines=40 ok $status "$case: wherever it is struck, the job is there once and goes on"
	diag "$job: $(tail -n 1 "$work/strike.out")"
	sed -n 's/^total //p' "$work/strike.out" >>"$totals"
	[ $status = 0 ] || { lab down; lab up 3; } >/dev/null 2>&1
done
diag "$("$here/tests/lab/instants_totals.sh" "$totals")"
finish
