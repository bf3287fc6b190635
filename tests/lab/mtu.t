#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Paths that carry less or more than a frame of Ethernet's: known to the kernel from the start, changed while they are
# used, or silent about it.
. "$(dirname "$0")/lab.sh"

rpc=$BUILD/bench/rpc
lab_begin 2

set_mtu()
{
	on h1 ip link set eth0 mtu "$1" && on h2 ip link set eth0 mtu "$1"
}

# set_switch_mtu BYTES: what it forwards; of longer frames it says nothing
set_switch_mtu()
{
	local port switch
	switch=$(grep -l "/godwit-lab-$LAB/switch$" /proc/[0-9]*/cgroup 2>/dev/null | head -n 1)
	for port in h1 h2 br; do
		nsenter --net="${switch%cgroup}ns/net" ip link set "$LAB-$port" mtu "$1" || return
	done
}

# call BYTES: with how many datagrams
call()
{
	local before
	before=$(flip_counter h2 net_sent)
	on h2 timeout 60 "$rpc" call 2 "$1" >"$work/call" 2>&1 || return
	datagrams=$(($(flip_counter h2 net_sent) - before))
}

on h1 "$rpc" serve >"$work/server" 2>&1 &
until_true 20 on h2 timeout 5 "$rpc" call 1 0 >"$work/call" 2>&1
call 1000000
tap_log=$work/call ok $? "frames of 1500 bytes"
usual=$datagrams

set_mtu 1280
call 1000000
tap_log=$work/call ok $? "of 1280, from one moment to the next"
sleep 1.1 # as long as flipd believes what it knew
call 1000000
tap_log=$work/call ok $? "of 1280"
[ "$datagrams" -gt "$usual" ]
ok $? "take more datagrams: $datagrams instead of $usual"

set_mtu 9000
set_switch_mtu 9000
sleep 1.1
call 1000000
tap_log=$work/call ok $? "of 9000"
[ "$datagrams" -lt "$usual" ]
ok $? "take fewer: $datagrams instead of $usual"
set_switch_mtu 1500
call 1400
tap_log=$work/call ok $? "something on the way swallows what is longer"
call 5000
tap_log=$work/call ok $? "and much longer"
finish
