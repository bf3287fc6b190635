#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images of programs in the middle of a transaction. Whoever is made of one was not there meanwhile: its partners have
# given up, or have gone on with the original. It is told so, at once and with the right code, and serves or calls anew.
. "$(dirname "$0")/lab.sh"

ledger=$BUILD/tests/lab/tools/ledger
lab_begin 3

waits()
{
	on "$1" timeout 5 godwit flip --json | jq -e ".endpoints | any($2)" >/dev/null
}

on h3 godwit run --name server --host h1 -- "$ledger" serve image >"$work/server" 2>&1 &
server=$!
until_true 20 job_lives h3 server
until_true 20 on h2 timeout 10 "$ledger" pause image 0 >"$work/call"

# A client, written down while the server works for it.
on h3 godwit run --name client --host h2 -- "$ledger" pause image 3 >"$work/client" 2>&1 &
client=$!
until_true 20 waits h2 '.waiting == 1'
on h2 godwit checkpoint client "$work/client.image" >"$work/out" 2>&1
tap_log=$work/out ok $? "a client is written down in the middle of a call"
wait $client
is "$?:$(jq -r .status "$work/client")" 0:done "the original does not notice"
began=$SECONDS
on h3 timeout 60 godwit restart --host h3 --name copy "$work/client.image" >"$work/out" 2>&1
tap_log=$work/out ok $? "a copy is made elsewhere"
on h3 timeout 60 godwit wait copy >"$work/out" 2>&1
is $? 1 "and ends by itself"
on h3 godwit logs copy >"$work/copy"
is "$(jq -r .status "$work/copy")" "the server was lost; it is unknown whether the request was executed" \
	"told that nobody knows what became of its call"
[ $((SECONDS - began)) -lt 20 ]
ok $? "soon"

# A server, written down while it works for a client.
on h3 godwit run --name caller --host h2 -- "$ledger" pause image 3 >"$work/caller" 2>&1 &
caller=$!
until_true 20 waits h1 '.serving == 1'
on h1 godwit checkpoint server "$work/server.image" >"$work/out" 2>&1
tap_log=$work/out ok $? "a server is written down in the middle of a call"
wait $caller
is "$?:$(jq -r .status "$work/caller")" 0:done "its client gets its answer"
on h3 timeout 20 "$ledger" end image >"$work/end" 2>&1
wait $server
on h3 timeout 60 godwit restart --host h2 --name server2 "$work/server.image" >"$work/out" 2>&1
tap_log=$work/out ok $? "it ends, and a copy is made elsewhere"
until_true 20 on h3 timeout 10 "$ledger" pause image 0 >"$work/call" 2>&1
tap_log=$work/call ok $? "which owes nobody an answer, and serves"
on h3 timeout 20 "$ledger" end image >"$work/end" 2>&1
on h3 timeout 60 godwit wait server2 >"$work/out" 2>&1
on h3 godwit logs server2 >"$work/server2"
is "$(jq -c '[.refused, .wrong]' "$work/server2")" '[1,""]' "and was told once that nobody wants an answer"
finish
