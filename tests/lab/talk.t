#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A server and its clients are jobs, and all of them move while they talk: every transaction is executed once, in
# order, and none fails. TALK_CALLS: how many by each of four threads.
. "$(dirname "$0")/lab.sh"

ledger=$BUILD/tests/lab/tools/ledger
calls=${TALK_CALLS:-6000}
hosts=(h1 h2 h3)
lab_begin 3

# move_to JOB HOST
move_to()
{
	on h3 timeout 60 godwit migrate "$1" "$2" >"$work/migrate" 2>&1 && moves=$((moves + 1))
}

# Moves server and clients by turns, in different orders, until process $1 ends.
move_all_until_end()
{
	local i=0
	while kill -0 "$1" 2>/dev/null; do
		i=$((i + 1))
		move_to server "${hosts[$((i % 3))]}"
		kill -0 "$1" 2>/dev/null || break
		move_to clients "${hosts[$(((2 * i + 1) % 3))]}"
	done
}

on h3 godwit run --name server --host h1 -- "$ledger" serve one >"$work/server" 2>&1 &
server=$!
until_true 20 job_lives h3 server
until_true 20 on h2 timeout 10 "$ledger" pause one 0 >"$work/call"
tap_log=$work/call ok $? "a call to a server that is a job"
on h3 godwit check server h2 >"$work/check" 2>&1
tap_log=$work/check ok $? "nothing keeps it where it is"

moves=0
on h3 godwit run --name clients --host h2 -- "$ledger" call one "$calls" 4 >"$work/clients" 2>&1 &
clients=$!
until_true 20 job_lives h3 clients
move_all_until_end $clients
wait $clients
tap_log=$work/clients ok $? "four threads call it while both move"
is "$(jq -r .calls "$work/clients")" $((calls * 4)) "every call was answered"
[ "$moves" -ge 10 ]
ok $? "$moves moves happened meanwhile, a caller waited $(jq -r .worst_us "$work/clients") us at most"

# Blocked for seconds in a call, or in its answer, while either moves several times.
on h3 godwit run --name patient --host h2 -- "$ledger" pause one 4 >"$work/patient" 2>&1 &
patient=$!
until_true 20 job_lives h3 patient
moves=0
for to in h1 h3 h2; do
	move_to patient $to
	move_to server $to
done
kill -0 $patient
ok $? "a client waits for a slow server"
[ "$moves" = 6 ]
tap_log=$work/migrate ok $? "both move, three times each"
wait $patient
is "$?:$(jq -r .status "$work/patient")" 0:done "and the answer comes, once"

# A migration that fails leaves the conversation where it was.
at=$(job_host h3 server)
other=$([ "$at" = h1 ] && echo h2 || echo h1)
on h3 timeout 60 "$ledger" call one "$calls" 1 4 >"$work/call" 2>&1 &
call=$!
lab restart "$at" procd --env GODWIT_DIE_AT=move:source 2>"$work/lab.err"
until_true 20 eval 'on h3 godwit migrate server $other >"$work/migrate" 2>&1; grep -q "did not move" "$work/migrate"'
tap_log=$work/migrate ok $? "a mover that dies ends a move of the server"
wait $call
tap_log=$work/call ok $? "who calls it meanwhile does not notice"
lab restart "$at" procd 2>"$work/lab.err"

on h3 timeout 20 "$ledger" end one >"$work/end"
wait $server
tap_log=$work/server ok $? "the server found nothing lost, doubled or overtaken"
is "$(jq -r .served "$work/server")" $((calls * 5)) "and served as many as were called"
finish
