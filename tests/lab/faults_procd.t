#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# procd is killed at the end of a stage, on either side, and started again. Arguments choose some (stun:source).
. "$(dirname "$0")/faults.sh"

cases="check:source prepare:source stun:source move:source ready:source decision:source record:source commit:source delete:source
	check:destination prepare:destination ready:destination record:destination commit:destination"

procd_gone()
{
	[ -z "$(on "$1" pgrep -x procd)" ]
}

faults_begin
for at in ${*:-$cases}; do
	side=${at#*:}
	host=$([ "$side" = source ] && echo h1 || echo h2)
	job=$(echo "$at" | tr : -)
	start_counting "$job" || { ok 1 "$at: the job starts"; continue; }
	restart_procd $host "$job" --env "GODWIT_PROCD_DIE_AT=$at"
	on h3 timeout 100 godwit migrate "$job" h2 >"$work/$job.migrate" 2>&1 &
	migrate=$!
	until_true 20 procd_gone $host
	ok $? "procd dies at $at"
	lab restart $host procd 2>"$work/lab.err" || diag "$(cat "$work/lab.err")"
	judge_fault "$job" "procd dies at $at"
	wait $migrate
	diag "$at: migrate said $?"
done
finish
