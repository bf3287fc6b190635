#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Transactions that may be executed only once and only in order, over a network that loses, doubles and reorders, by
# partners that both move all the time. No call fails.
#	SOAK_CALLS	by each of four threads (24000)
#	SOAK_MOVES	at least so many moves while they last (1)
#	SOAK_FAULTS	of the network ("loss=5 twice=5 late=5"; "none")
. "$(dirname "$0")/lab.sh"

ledger=$BUILD/tests/lab/tools/ledger
calls=${SOAK_CALLS:-24000}
least=${SOAK_MOVES:-1}
faults=${SOAK_FAULTS:-loss=5 twice=5 late=5}
hosts=(h1 h2 h3)
if [ "$faults" = none ]; then
	lab_begin 3
else
	lab_begin 3 --env "GODWIT_NET_FAULTS=$faults"
fi

moves=0
refused=0
: >"$work/refused"
move_to()
{
	if on h3 timeout 120 godwit migrate "$1" "$2" >"$work/migrate" 2>&1; then
		moves=$((moves + 1))
	elif ! until_true 5 eval '! kill -0 $clients 2>/dev/null'; then # else it came too late
		refused=$((refused + 1))
		cat "$work/migrate" >>"$work/refused"
	fi
}

on h3 godwit run --name server --host h1 -- "$ledger" serve soak >"$work/server" 2>&1 &
server=$!
until_true 60 job_lives h3 server
on h3 godwit run --name clients --host h2 -- "$ledger" call soak "$calls" 4 >"$work/clients" 2>&1 &
clients=$!
until_true 60 job_lives h3 clients
began=$SECONDS
# Every order of the two on three hosts: opposite ways, to the same host, one after the other.
for ((i = 0; ; i++)); do
	kill -0 $clients 2>/dev/null || break
	move_to server "${hosts[$(((i + 1) % 3))]}"
	kill -0 $clients 2>/dev/null || break
	move_to clients "${hosts[$(((2 * i) % 3))]}"
done
wait $clients
tap_log=$work/clients ok $? "four threads call a server on a network with faults: $faults"
is "$(jq -r .calls "$work/clients")" $((calls * 4)) "every call was answered"
[ "$moves" -ge "$least" ]
tap_log=$work/refused ok $? "$moves moves in $((SECONDS - began)) s, a caller waited $(jq -r .worst_us "$work/clients") us at most"
[ "$refused" = 0 ]
tap_log=$work/refused ok $? "no move failed"
on h3 timeout 60 "$ledger" end soak >"$work/end" 2>&1
wait $server
tap_log=$work/server ok $? "the server found nothing lost, doubled or overtaken"
is "$(jq -r .served "$work/server")" $((calls * 4)) "and served as many as were called"
finish
