#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The destination's link is cut at the end of a stage, for a while. procd stops there by itself, so that the cut
# comes exactly then. Arguments choose some (stun:source); by default a sample, with FAULTS_ALL=1 all: most of the time is
# spent waiting for deadlines.
. "$(dirname "$0")/faults.sh"

all="check:source prepare:source stun:source move:source ready:source record:source commit:source
	check:destination prepare:destination ready:destination record:destination commit:destination"

procd_stopped()
{
	[ -n "$(on "$1" pgrep -x -r T procd)" ]
}

sample="move:source commit:source ready:destination"
cases=$([ -n "$FAULTS_ALL" ] && echo "$all" || echo "$sample")

faults_begin
for at in ${*:-$cases}; do
	side=${at#*:}
	host=$([ "$side" = source ] && echo h1 || echo h2)
	job=$(echo "$at" | tr : -)
	start_counting "$job" || { ok 1 "$at: the job starts"; continue; }
	restart_procd $host "$job" --env "GODWIT_PROCD_STOP_AT=$at"
	on h3 timeout 100 godwit migrate "$job" h2 >"$work/$job.migrate" 2>&1 &
	migrate=$!
	until_true 20 procd_stopped $host
	ok $? "procd waits at $at"
	lab link h2 down
	on $host pkill -CONT -x procd
	sleep "${CUT_S:-4}"
	lab link h2 up
	SETTLE_S=90 judge_fault "$job" "link cut at $at"
	wait $migrate
	diag "$at: migrate said $?"
	lab restart $host procd 2>"$work/lab.err"
done
finish
