#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A server and its clients are jobs, and all of them move while they talk: every transaction is executed once, in
# order, and none fails.
#	TALK_CALLS	by each of four threads (5000)
#	TALK_PAUSE	seconds that a slow server takes for one call (6)
. "$(dirname "$0")/lab.sh"

ledger=$BUILD/tests/lab/tools/ledger
calls=${TALK_CALLS:-5000}
pause=${TALK_PAUSE:-6}
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
[ "$moves" -ge 4 ]
ok $? "$moves moves happened meanwhile, a caller waited $(jq -r .worst_us "$work/clients") us at most"

# Another pair: both move at the same time.
on h3 godwit run --name pair --host h1 -- "$ledger" serve two >"$work/pair" 2>&1 &
pair=$!
until_true 20 job_lives h3 pair
on h3 godwit run --name callers --host h2 -- "$ledger" call two 100000000 2 >"$work/callers" 2>&1 &
callers=$!
until_true 20 job_lives h3 callers

# together SERVER CLIENTS HOW: both move to these hosts, while they talk
together()
{
	local a b
	on h3 timeout 60 godwit migrate pair "$1" >"$work/migrate.a" 2>&1 &
	a=$!
	on h3 timeout 60 godwit migrate callers "$2" >"$work/migrate.b" 2>&1 &
	b=$!
	wait $a
	tap_log=$work/migrate.a ok $? "$3: the server moves"
	wait $b
	tap_log=$work/migrate.b ok $? "$3: its clients do, at the same time"
}

together h2 h1 "past each other"
together h3 h3 "to one host"
together h1 h2 "from one host"
together h2 h3 "in a row"
is "$(job_field h3 callers .state)" running "the clients talk on"
on h3 godwit kill callers
wait $callers
on h3 timeout 20 "$ledger" end two >"$work/end"
wait $pair
tap_log=$work/pair ok $? "the server found nothing lost, doubled or overtaken"

# Blocked in one call, and in its answer, while the client moves ten times and the server three.
on h3 godwit run --name patient --host h2 -- "$ledger" pause one "$pause" >"$work/patient" 2>&1 &
patient=$!
until_true 20 job_lives h3 patient
moves=0
for to in h1 h3 h2; do
	move_to patient $to
	move_to server $to
done
for to in h1 h3 h2 h1 h3 h2 h1; do
	move_to patient $to
done
kill -0 $patient
ok $? "a client waits for a slow server"
[ "$moves" = 13 ]
tap_log=$work/migrate ok $? "and moves ten times, the server three times"
wait $patient
is "$?:$(jq -r .status "$work/patient")" 0:done "and the answer comes, once"

# fails_at WHERE HOOK FIRST stays|goes: a move of the server during which something dies, while it is called
fails_at()
{
	local at other to host call
	at=$(job_host h3 server)
	other=$([ "$at" = h1 ] && echo h2 || echo h1)
	[ "${1%:*}" = source ] && host=$at || host=$other
	on h3 timeout 100 "$ledger" call one "$calls" 1 "$3" >"$work/call" 2>&1 &
	call=$!
	lab restart "$host" procd --env "$2" 2>"$work/lab.err"
	until_true 10 on h3 timeout 5 godwit kill -CONT server >/dev/null 2>&1
	on h3 timeout 60 godwit migrate server "$other" >"$work/migrate" 2>&1 &
	to=$!
	[ "${1#*:}" = mover ] || until_true 30 eval '! on $host pgrep -x procd >/dev/null'
	[ "${1#*:}" = mover ] && wait $to
	lab restart "$host" procd 2>"$work/lab.err"
	wait $call
	tap_log=$work/call ok $? "$2: who calls the server meanwhile does not notice"
	[ "$4" = stays ] || at=$other
	until_true 30 eval '[ "$(job_field h3 server ".state + .host")" = "running$at" ]'
	tap_log=$work/migrate ok $? "$2: the server $4"
}

# again_at STAGE: a move that fails there, and at once another
again_at()
{
	local at other
	at=$(job_host h3 server)
	other=$([ "$at" = h1 ] && echo h2 || echo h1)
	lab restart "$at" procd --env "GODWIT_PROCD_DIE_AT=$1:source" 2>"$work/lab.err"
	until_true 10 on h3 timeout 5 godwit kill -CONT server >/dev/null 2>&1
	on h3 timeout 60 godwit migrate server "$other" >"$work/migrate" 2>&1 &
	to=$!
	until_true 30 eval '! on $at pgrep -x procd >/dev/null'
	lab restart "$at" procd 2>"$work/lab.err"
	wait $to
	until_true 10 on h3 timeout 5 godwit kill -CONT server >/dev/null 2>&1
	on h3 timeout 60 godwit migrate server "$other" >"$work/migrate" 2>&1
	tap_log=$work/migrate ok $? "$1: what an earlier attempt has left there is no hindrance to the next"
}

# A migration that fails leaves the conversation where it was, one that was decided takes it along.
fails_at source:mover GODWIT_DIE_AT=move:source 4 stays
fails_at source:procd GODWIT_PROCD_DIE_AT=move:source 5 stays
fails_at source:procd GODWIT_PROCD_DIE_AT=record:source 6 goes
fails_at destination:procd GODWIT_PROCD_DIE_AT=commit:destination 7 goes
again_at move
again_at ready

on h3 timeout 20 "$ledger" end one >"$work/end"
wait $server
tap_log=$work/server ok $? "the server found nothing lost, doubled or overtaken"
is "$(jq -r .served "$work/server")" $((calls * 8)) "and served as many as were called"
finish
