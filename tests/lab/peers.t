#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Hosts that find each other by multicast, by configured addresses, and by both at once. h3's interface carries no
# multicast; it is configured to know h1 and h2, and h1 to know it and h2.
. "$(dirname "$0")/lab.sh"

ledger=$BUILD/tests/lab/tools/ledger
lab_begin 4

# A new flipd. `lab restart` waits until everybody finds everybody, which not all can here.
again()
{
	timeout 2 "$GODWIT" lab --prefix "$LAB" restart "$1" flipd >"$work/restart" 2>&1
}
# configure HOST LINE...: further lines of its godwit.conf, and flipd reads them
configure()
{
	local host=$1
	shift
	on "$host" sh -c 'printf "%s\n" "$@" >>"$GODWIT_ETC/godwit.conf"' - "$@"
	again "$host"
}
address()
{
	flip_host "$1" "$1" .network_address
}

h1=$(address h1) h2=$(address h2) h3=$(address h3)
on h3 ip link set eth0 multicast off
again h3
flip_sees h3 h1 || flip_sees h3 h2 || flip_sees h3 h4
is $? 1 "a host that multicast does not reach finds nobody"
configure h3 "peers = $h1, $h2"
tap_log=$work/restart check "it finds those it is told of" until_true 10 eval 'flip_sees h3 h1 && flip_sees h3 h2'
check "and they find it, who were not told" until_true 10 eval 'flip_sees h1 h3 && flip_sees h2 h3'
check "but not who is neither told of it nor reached" until_true 20 eval '! flip_sees h3 h4 && ! flip_sees h4 h3'

# Both kinds at once: h1 is told of everybody, whom it finds by multicast too, and passes on what h3 says.
configure h1 "peers = $h2, $h3" "forward = peers"
check "a box leads from configured peers to the network" until_true 10 eval 'flip_sees h3 h4 && flip_sees h4 h3'
is "$(flip_host h4 h3 .via)" h1 "it is h1"
is "$(flip_host h4 h2 .via)" null "nobody goes there who need not"
is "$(flip_host h2 h3 .via)" null "nor for who is told of"
on h4 godwit run --name server --host h4 -- "$ledger" serve one >"$work/server" 2>&1 &
server=$!
tap_log=$work/call
call()
{
	on "$1" timeout 60 "$ledger" "${@:2}" >"$work/call" 2>&1
}
check "the host beyond finds a server" until_true 20 call h3 pause one 0
check "calls it" call h3 call one 2000 2 10
check "as do others" call h2 call one 2000 2 20
[ "$(flip_counter h2 seal_replayed)" -gt 0 ]
ok $? "copies by a second way are counted: $(flip_counter h2 seal_replayed)"
on h3 timeout 60 godwit migrate server h3 >"$work/call" 2>&1
ok $? "a job moves there"
check "and is found there" call h2 call one 2000 2 30
on h2 timeout 60 godwit migrate server h2 >"$work/call" 2>&1
ok $? "and moves back"
check "and is found by whom it left" call h3 call one 2000 2 40
check "no call was executed twice" call h3 end one
wait $server
finish
