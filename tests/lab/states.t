#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A job is frozen while a thread of it is in each state that a transaction has: as a client locating, sending, waiting,
# or with a reply in its socket that it has not read; as a server waiting for a request, serving one, sending its reply.
# That it is in this state is looked up while it is frozen: the source's procd is stopped then. The links are slow, so
# that a megabyte is seconds on its way.
. "$(dirname "$0")/lab.sh"

ledger=$BUILD/tests/lab/tools/ledger
lab_begin 3 --rate 4mbit

# endpoint HOST FILTER: whether an endpoint of a program on the host passes a filter of jq
endpoint()
{
	on "$1" timeout 5 godwit flip --json >"$work/flip" 2>&1 && jq -e ".endpoints | any($2)" "$work/flip" >/dev/null
}

procd_is_stopped()
{
	on "$1" sh -c 'grep -q "^State:.T" /proc/$(pgrep -x procd)/status' 2>/dev/null
}

# job NAME HOST COMMAND...: a job that is a ledger
job()
{
	run_job "$1" "$2" "$ledger" "${@:3}"
}

# caught STATE JOB FROM TO FILTER: moves the job, asked on $asker, and looks what it is in while it is frozen
caught()
{
	local state=$1 job=$2 from=$3 to=$4 filter=$5 mover
	on "${asker:-h3}" timeout 100 godwit migrate "$job" "$to" >"$work/migrate" 2>&1 &
	mover=$!
	until_true 60 procd_is_stopped "$from"
	endpoint "$from" ".state == \"moving\" and $filter"
	tap_log=$work/flip ok $? "$state: it is, when $job is frozen on $from"
	on "$from" pkill -CONT -x procd
	wait $mover
	tap_log=$work/migrate ok $? "$state: $job moves to $to"
}

# armed HOST: its procd will stop when the state of the next job to leave is taken
armed()
{
	lab restart "$1" procd --env GODWIT_PROCD_STOP_AT=move:source 2>"$work/lab.err"
	until_true 20 on "$1" timeout 5 godwit ps >"$work/ps" 2>&1
}

# ends JOB WORD: with this status of its transaction
ends()
{
	eval "wait \$pid_$1"
	is "$?:$(jq -r .status "$work/$1")" 0:done "$2: the call of $1 ends as it should"
}

# --- the client ---

# Its server is on its way, for long: the search goes on.
armed h1
job far h3 serve found 6
on h3 timeout 100 godwit migrate far h2 >"$work/far_moves" 2>&1 &
far_moves=$!
until_true 20 endpoint h3 '.state == "moving" and .ports == 1'
on h1 godwit run --name early --host h1 -- "$ledger" pause found 0 >"$work/early" 2>"$work/early.err" &
pid_early=$!
until_true 20 endpoint h1 '.locating == 1'
asker=h1 caught locating early h1 h3 '.locating == 1'
ends early locating
wait $far_moves
tap_log=$work/far_moves ok $? "locating: the server arrives too"
job server h3 serve states

armed h1
job sender h1 long states 1
until_true 20 endpoint h1 '.sending == 1 and .calling == 1 and .waiting == 0'
ok $? "sending: a request is on its way"
caught sending sender h1 h2 '.calling == 1 and .locating == 0 and .waiting == 0'
ends sender sending
is "$(jq .calls "$work/sender")" 1 "sending: the server had the request once"

armed h1
job waiter h1 pause states 5
until_true 20 endpoint h1 '.waiting == 1'
caught waiting waiter h1 h2 '.waiting == 1'
ends waiter waiting

armed h1
job reader h1 pause states 3
until_true 20 endpoint h1 '.waiting == 1'
on h3 godwit kill -STOP reader
until_true 20 endpoint h1 '.unread > 0 and .calling == 0'
ok $? "undelivered: a reply waits in the socket of who cannot read it"
caught undelivered reader h1 h2 '.unread > 0 and .calling == 0'
on h3 godwit kill -CONT reader
ends reader undelivered

# --- the server, on h3 until now ---

armed h3
until_true 20 endpoint h3 '.ports == 1 and .serving == 0 and .answered == 0'
caught getreq server h3 h2 '.ports == 1 and .serving == 0 and .answered == 0'

armed h2
job caller h1 pause states 5
until_true 20 endpoint h2 '.ports == 1 and .serving == 1'
caught serving server h2 h3 '.ports == 1 and .serving == 1'
ends caller serving

# its own host and the one that it goes to call it too
armed h3
job here h3 pause states 3
job there h2 pause states 3
until_true 20 endpoint h3 '.ports == 1 and .serving == 1'
caught "serving two" server h3 h2 '.ports == 1 and .serving == 1'
ends here "serving its host"
ends there "serving its destination"

armed h2
job getter h1 long states 2
until_true 40 endpoint h2 '.ports == 1 and .sending == 1 and .serving == 0 and .answered == 1'
ok $? "replying: a reply is on its way"
caught replying server h2 h3 '.ports == 1 and .serving == 0 and .answered == 1'
ends getter replying
is "$(jq .calls "$work/getter")" 2 "replying: the server had the request once"

on h3 timeout 60 "$ledger" end found >"$work/end" 2>&1
on h3 timeout 60 "$ledger" end states >"$work/end" 2>&1
wait "$pid_server"
tap_log=$work/server ok $? "the server ends"
finish
