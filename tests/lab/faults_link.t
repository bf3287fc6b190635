#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The destination's link is cut at the end of a stage, for a while: both ways (down), what the source says (deaf) or
# what the destination says (mute). procd stops there by itself, so that the cut comes exactly then. Arguments choose
# some (stun:source:deaf); by default a sample, with FAULTS_ALL=1 all: most of the time is spent waiting for deadlines.
. "$(dirname "$0")/faults.sh"

stages="check:source prepare:source stun:source move:source ready:source record:source commit:source
	check:destination prepare:destination ready:destination record:destination commit:destination"

procd_stopped()
{
	[ -n "$(on "$1" pgrep -x -r T procd)" ]
}

every_case()
{
	local at how

	for how in down deaf mute; do
		for at in $stages; do
			echo "$at:$how"
		done
	done
}

sample="move:source:deaf commit:source:down ready:destination:mute"
cases=$([ -n "$FAULTS_ALL" ] && every_case || echo "$sample")

faults_begin
for case in ${*:-$cases}; do
	at=${case%:*}
	how=${case##*:}
	side=${at#*:}
	host=$([ "$side" = source ] && echo h1 || echo h2)
	job=$(echo "$case" | tr : -)
	start_counting "$job" || { ok 1 "$case: the job starts"; continue; }
	restart_procd $host "$job" --env "GODWIT_PROCD_STOP_AT=$at"
	on h3 timeout 100 godwit migrate "$job" h2 >"$work/$job.asked" 2>&1 &
	migrate=$!
	until_true 20 procd_stopped $host
	ok $? "procd waits at $at"
	lab link h2 "$how"
	on $host pkill -CONT -x procd
	sleep "${CUT_S:-4}"
	lab link h2 up
	SETTLE_S=90 judge_fault "$job" "link $how at $at"
	wait $migrate
	diag "$case: migrate said $?: $(tail -n 1 "$work/$job.asked")"
	count_instant "$how" "${at%:*}"
	lab restart $host procd 2>"$work/lab.err"
done
show_instants
finish
