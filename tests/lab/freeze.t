#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A server that a slow link freezes for long. Its clients wait, on its host, on the one that it goes to and on a third,
# and none of them gives up or is answered twice.
#	FREEZE_MIB	of memory that is written to all the time (3)
#	FREEZE_RATE	of the links (4mbit)
#	FREEZE_LEAST	ms that it must have stood still (4000)
. "$(dirname "$0")/lab.sh"

ledger=$BUILD/tests/lab/tools/ledger
least=${FREEZE_LEAST:-4000}
calls=40
lab_begin 3 --rate "${FREEZE_RATE:-4mbit}"

on h3 godwit run --name server --host h1 -- "$ledger" serve freeze "${FREEZE_MIB:-3}" >"$work/server" 2>&1 &
server=$!
until_true 60 job_lives h3 server
until_true 60 eval '[ "$(job_field h3 server .memory)" -ge $(("${FREEZE_MIB:-3}" << 20)) ]'
until_true 20 on h2 timeout 10 "$ledger" pause freeze 0 >"$work/call"
tap_log=$work/call ok $? "a server that writes to its memory without end"

on h3 timeout 6000 godwit migrate --json server h2 >"$work/migrate" 2>"$work/migrate.err" &
mover=$!
# Clients keep calling until the move is over: some are in a call whenever the freeze begins.
n=0
for host in h1 h2 h3; do
	(
		first=$((n * 1000))
		while kill -0 $mover 2>/dev/null; do
			timeout 6000 "$GODWIT" lab --prefix "$LAB" exec $host -- "$ledger" call freeze $calls 1 $first || exit 1
			first=$((first + 1))
		done
	) >"$work/calls.$host" 2>&1 &
	clients[n]=$!
	n=$((n + 1))
done
wait $mover
tap_log=$work/migrate.err ok $? "it moves over a slow link"
frozen=$(jq '.freeze_us / 1000 | floor' "$work/migrate")
[ "$frozen" -ge "$least" ]
tap_log=$work/migrate ok $? "and stands still for $frozen ms"
n=0
for host in h1 h2 h3; do
	wait ${clients[n]}
	tap_log=$work/calls.$host ok $? "no call of a client on $host failed"
	worst=$(jq -s 'map(.worst_us) | max / 1000 | floor' "$work/calls.$host")
	[ $((10 * worst)) -ge $((9 * frozen)) ] # it may have called when the server stood still already
	tap_log=$work/calls.$host ok $? "and one waited for $worst ms"
	n=$((n + 1))
done
on h3 timeout 60 "$ledger" end freeze >"$work/end" 2>&1
wait $server
tap_log=$work/server ok $? "the server found nothing lost, doubled or overtaken"
is "$(jq -r .served "$work/server")" "$(cat "$work"/calls.h? | jq -s 'map(.calls) | add')" "and served as many as were called"
finish
