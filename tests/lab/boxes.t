#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two networks with two boxes between them, and no way for IP: hosts find each other, talk, and move jobs where bytes
# can go. h1 is on one network, h4 on the other, h2 and h3 are on both.
. "$(dirname "$0")/lab.sh"

rpc=$BUILD/bench/rpc
ledger=$BUILD/tests/lab/tools/ledger
lab_begin 4 --box 2-3


check "the far host is seen" until_true 10 flip_sees h1 h4
is "$(flip_host h1 h4 .hops)" 2 "two networks away"
is "$(flip_host h1 h3 '[.hops, .via] | @csv')" 1, "a box is near"
box=$(flip_host h1 h4 .via)
on h1 ping -c 1 -W 1 "$(flip_host h4 h4 .network_address)" >"$work/ip" 2>&1
[ $? != 0 ]
ok $? "there is no way for IP"

on h4 godwit run --name server -- "$ledger" serve one >"$work/server" 2>&1 &
server=$!
until_true 20 job_lives h1 server
tap_log=$work/call
calls()
{
	on h1 timeout 60 "$ledger" call one "$@" >"$work/call" 2>&1
}
check "a call crosses the box" until_true 20 eval 'on h1 timeout 10 "$ledger" pause one 0 >"$work/call" 2>&1'
check "2000 by each of four threads" calls 2000 4
[ "$(flip_counter "$box" box_relayed)" -gt 8000 ]
ok $? "which has passed them on: $(flip_counter "$box" box_relayed) datagrams"
on h4 "$rpc" serve >"$work/bulk" 2>&1 &
check "long messages cross it" until_true 20 eval 'on h1 timeout 60 "$rpc" call 2 8388608 >"$work/call" 2>&1'
before=$(date +%s%3N)
on h1 timeout 60 godwit ping -c 1 nobody >"$work/none" 2>&1
is $? 1 "what is nowhere is found to be nowhere"
took=$(($(date +%s%3N) - before))
[ "$took" -lt 3000 ]
ok $? "by questions that went as far as the farthest host, in $took ms"
is "$(flip_counter h1 seal_bad)" 0 "nothing arrives that is not what it was"

# What a move carries goes by TCP from host to host, and needs a way of IP's.
on h1 timeout 180 "$ledger" count one "$work/stop" 1000 10 >"$work/callers" 2>&1 &
callers=$!
tap_log=$work/migrate
migrate()
{
	on h1 timeout 60 godwit migrate server "$1" >"$work/migrate" 2>&1
}
migrate h1
[ $? != 0 ]
ok $? "a move to where IP leads nowhere fails"
grep -q "Network is unreachable" "$work/migrate"
ok $? "and says so: $(tail -1 "$work/migrate")"
is "$(job_host h1 server)" h4 "the job is where it was"
near=$(flip_host h1 h1 .network_address) far=$(flip_host h4 h4 .network_address)
via() # BOX NETWORK: its address there, from an address of that network
{
	echo "${2%.*}.${1#h}"
}
on "$box" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
on h1 ip route add "${far%.*}.0/24" via "$(via "$box" "$near")"
on h4 ip route add "${near%.*}.0/24" via "$(via "$box" "$far")"
check "where it leads, a server moves onto a box" migrate "$box"
check "to the other network" migrate h1
check "and back to where it began" migrate h4
[ "$(flip_host h1 h4 .via)" = "$box" ]
ok $? "FLIP goes through the box as before"
kill -0 $callers
ok $? "its callers have not noticed"

# The box in use fails: the other one is found, and nobody's call fails.
box=$(flip_host h1 h4 .via)
calls_now()
{
	flip_counter h1 rpc_requests
}
check "the box in use fails" lab stop "$box"
at=$(calls_now)
goes_on()
{
	[ "$(calls_now)" -gt $((at + 300)) ]
}
check "the calls go on" until_true 20 goes_on
[ "$(flip_host h1 h4 .via)" != "$box" ]
ok $? "through the other box, $(flip_host h1 h4 .via)"
check "it is there again" lab start "$box"
touch "$work/stop"
wait $callers
tap_log=$work/callers ok $? "no call has failed, the longest took $(jq -r .worst_us "$work/callers") us"
on h4 timeout 20 "$ledger" end one >"$work/end" 2>&1
tap_log=$work/end ok $? "and none was executed twice"
wait $server
finish
