#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A mover that stands still at the end of a stage, on either side: deadlines act. Arguments choose some (stun:source);
# by default a sample, with FAULTS_ALL=1 all.
. "$(dirname "$0")/faults.sh"

all="prepare:source stun:source move:source commit:source prepare:destination move:destination"

sample="stun:source move:destination"
cases=$([ -n "$FAULTS_ALL" ] && echo "$all" || echo "$sample")

faults_begin
for at in ${*:-$cases}; do
	side=${at#*:}
	host=$([ "$side" = source ] && echo h1 || echo h2)
	job=$(echo "$at" | tr : -)
	start_counting "$job" || { ok 1 "$at: the job starts"; continue; }
	restart_procd $host "$job" --env "GODWIT_HANG_AT=$at"
	on h3 timeout 100 godwit migrate "$job" h2 >"$work/$job.migrate" 2>&1
	diag "$at: migrate says $?: $(tail -n 1 "$work/$job.migrate")"
	SETTLE_S=60 judge_fault "$job" "mover hangs at $at" lab restart $host procd
done
finish
