#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Signals sent from a third host while the job moves: each arrives once. A stopped job moves and stays stopped.
. "$(dirname "$0")/lab.sh"

tools=$BUILD/tests/lab/tools
lab_begin 3
on h3 godwit run --name tally --host h1 -- "$tools/tally" >"$work/have" 2>"$work/stderr" &
run=$!
until_true 20 grep -q ready "$work/have"

# A hundred of each, no faster than godwit does it; a failed one is sent again only if it certainly did not arrive.
(
	sent=0
	for _ in $(seq 100); do
		for sig in 40 41; do
			on h3 timeout 30 godwit kill -$sig tally 2>>"$work/kill.err" && sent=$((sent + 1))
		done
	done
	echo $sent >"$work/sent"
) &
sender=$!
to=h2 from=h1 moves=0
while kill -0 $sender 2>/dev/null; do
	on h3 timeout 60 godwit migrate tally $to >"$work/migrate" 2>&1 || break
	moves=$((moves + 1)) swap=$to to=$from from=$swap
done
tap_log=$work/migrate ok $([ $moves -ge 10 ]; echo $?) "ten moves while signals come ($moves)"
wait $sender
is "$(cat "$work/sent")" 200 "all signals were sent"
on h3 godwit kill tally
wait $run
is $? 0 "the job ends as it should"
is "$(tail -n 1 "$work/have")" "100 100" "every signal arrived once"

on h3 godwit run --name still --host h1 -- "$tools/counter" 1000000 10 >"$work/still" 2>"$work/stderr" &
run=$!
until_true 20 eval '[ "$(wc -l <"$work/still")" -gt 20 ]'
on h3 godwit kill -STOP still
until_true 10 eval '[ "$(job_field h3 still .state)" = stopped ]'
ok $? "ps says that it is stopped"
for to in h2 h1 h2; do
	on h3 timeout 60 godwit migrate still $to >"$work/migrate" 2>&1
	tap_log=$work/migrate ok $? "a stopped job moves to $to"
done
before=$(wc -l <"$work/still")
sleep 0.5
is "$(wc -l <"$work/still")" "$before" "it is still stopped"
is "$(job_field h3 still .state)" stopped "ps says so"
on h3 godwit kill -CONT still
until_true 10 eval '[ "$(wc -l <"$work/still")" -gt $((before + 20)) ]'
ok $? "continued, it goes on"
on h3 godwit kill still
wait $run
is $? 0 "it ends as it should"
"$tools/counter" "$(wc -l <"$work/still")" 0 0 | cmp - "$work/still" >"$work/cmp" 2>&1
tap_log=$work/cmp ok $? "its output is intact"
finish
