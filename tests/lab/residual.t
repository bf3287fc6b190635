#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Nothing is left at the source: after a move every daemon there is killed and its link cut, and nobody misses it.
. "$(dirname "$0")/lab.sh"

counter=$BUILD/tests/lab/tools/counter

# Whether what is in a file is what a counting job has printed so far, from its first line on.
is_beginning()
{
	"$counter" "$(wc -l <"$1")" 0 0 | cmp - "$1" >"$work/cmp" 2>&1
}

lab_begin 3
is "$(on h3 godwit run -d --name stray --host h1 -- "$counter" 1000000 10)" stray "a detached job on h1"
on h3 godwit run --name watched --host h1 -- "$counter" 1000000 10 >"$work/have" 2>"$work/stderr" &
run=$!
until_true 20 job_lives h3 watched
sleep 1
for job in stray watched; do
	on h3 godwit migrate "$job" h2 >"$work/migrate" 2>&1
	tap_log=$work/migrate ok $? "$job moves to h2"
done

on h1 pkill -KILL -x procd
on h1 pkill -KILL -x flipd
lab link h1 down
lab stop h1 2>"$work/lab.err"
ok $? "h1 is switched off"

for job in stray watched; do
	until_true 20 job_is_at h3 "$job" h2
	ok $? "h3 sees $job at h2"
done
until_true 10 eval 'on h3 timeout 10 godwit logs stray >"$work/logs" 2>"$work/logs.err" && [ "$(wc -l <"$work/logs")" -gt 50 ]'
tap_log=$work/logs.err ok $? "h3 can read its log"
is_beginning "$work/logs"
tap_log=$work/cmp ok $? "which is complete ($(wc -l <"$work/logs") lines)"
before=$(wc -l <"$work/have")
until_true 10 eval '[ "$(wc -l <"$work/have")" -gt $((before + 50)) ]'
ok $? "the other goes on printing at h3"
for job in stray watched; do
	on h3 timeout 60 godwit migrate "$job" h3 >"$work/migrate" 2>&1
	tap_log=$work/migrate ok $? "$job moves on to h3"
done
is "$(on h3 godwit ps --json | jq -r 'map(.host) | unique | join(" ")')" h3 "both are at h3"
sleep 1
on h3 godwit logs stray >"$work/logs"
is_beginning "$work/logs"
tap_log=$work/cmp ok $? "the log is still complete ($(wc -l <"$work/logs") lines)"
on h3 godwit kill stray
on h3 timeout 20 godwit wait stray
is $? 0 "its exit status comes"
on h3 godwit kill watched
wait $run
is $? 0 "and the other's, to the front-end"
is_beginning "$work/have"
tap_log=$work/cmp ok $? "whose output is intact ($(wc -l <"$work/have") lines)"
finish
