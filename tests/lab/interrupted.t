#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A client has a signal while it waits for its reply: the server hears of it, and breaks off what it does, wherever
# both have gone meanwhile, and also through a server that has asked another. And a call that finds its server gone
# goes to another one.
. "$(dirname "$0")/lab.sh"

ledger=$BUILD/tests/lab/tools/ledger
lab_begin 3

# job NAME HOST COMMAND...: a job that is a ledger
job()
{
	run_job "$1" "$2" "$ledger" "${@:3}"
}

# waits HOST: a program on that host waits for a reply, and knows that its request is being served
waits()
{
	on "$1" timeout 5 godwit flip --json 2>/dev/null | jq -e ".endpoints | any(.waiting == 1)" >/dev/null
}

# breaks_off NAME WHAT
breaks_off()
{
	local began=$SECONDS
	on h3 timeout 20 godwit kill -USR1 "$1"
	eval "wait \$pid_$1"
	is "$(jq -r .status "$work/$1")" "interrupted" "$2"
	[ $((SECONDS - began)) -lt 20 ]
	ok $? "and at once"
}

job server h1 serve one
job relay h2 serve two
until_true 20 on h2 timeout 10 "$ledger" pause one 0 >"$work/call"
until_true 20 on h1 timeout 10 "$ledger" pause two 0 >"$work/call"
tap_log=$work/call ok $? "two servers"

job client h2 pause one 600
until_true 20 waits h2
ok $? "a call is being served"
breaks_off client "a signal to a client breaks its call off"

job client h2 pause one 600
until_true 20 waits h2
ok $? "a call is being served"
on h3 timeout 60 godwit migrate server h3 >"$work/migrate" 2>&1 && on h3 timeout 60 godwit migrate client h1 >"$work/migrate" 2>&1
tap_log=$work/migrate ok $? "server and client move, in the middle of a call"
breaks_off client "a signal afterwards breaks it off, too"

# From h1 through the relay on h2 to the server on h3.
job client h1 pause two 600 one
until_true 20 waits h2
ok $? "a call is being served"
breaks_off client "through a server that has asked another"
job client h1 pause two 600 one
until_true 20 waits h2
ok $? "a call is being served"
on h3 timeout 60 godwit migrate relay h1 >"$work/migrate" 2>&1
tap_log=$work/migrate ok $? "that one moves"
breaks_off client "also then"

on h2 timeout 10 "$ledger" pause one 0 >"$work/call"
tap_log=$work/call ok $? "the server serves on, and nobody is interrupted who was not"

# serves HOST: the ports that are served there
serves()
{
	on "$1" timeout 5 godwit flip --json 2>/dev/null | jq -r '.ports[] | select(.here) | .port' | sort
}

# A second server of the port, on another host; then the first is killed.
job spare h2 serve one
until_true 20 eval '[ -n "$(comm -12 <(serves h2) <(serves h3))" ]'
ok $? "two hosts serve one port"
on h1 timeout 10 "$ledger" pause one 0 >"$work/call"
tap_log=$work/call ok $? "who serves is known on h1"
on h3 godwit kill -KILL server
on h1 timeout 20 "$ledger" call one 100 1 7 >"$work/call" 2>&1
tap_log=$work/call ok $? "the next calls find the other server of the port"
is "$(jq -r .calls "$work/call")" 100 "all of them"
finish
