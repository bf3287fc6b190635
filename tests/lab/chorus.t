#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Raw FLIP: groups, broadcasts and single addresses, between jobs that move while they are spoken to.
#	CHORUS_NOTES	messages while all of them move (2000)
. "$(dirname "$0")/lab.sh"

chorus=$BUILD/tests/lab/tools/chorus
notes=${CHORUS_NOTES:-2000}
hosts=(h1 h2 h3)
lab_begin 3

# says_address FILE
says_address()
{
	[ "$(head -c 17 "$1" | wc -l)" = 1 ]
}

# hears NAME HOST SECRET: a job that listens
hears()
{
	run_job "$1" "$2" "$chorus" hear "$3"
	until_true 20 says_address "$work/$1"
}

# At rest: members on two hosts, and one who is no job and on a third.
hears alto h1 first
hears bass h2 first
on h3 timeout 60 "$chorus" hear first >"$work/tenor" &
tenor=$!
until_true 20 says_address "$work/tenor"
is "$(on h3 timeout 10 godwit flip --json | jq '[.endpoints[] | select(.kind == "raw" and .groups == 1)] | length')" 1 \
	"godwit flip shows who listens on a group"
on h1 timeout 60 "$chorus" sing first 3 500 200 >"$work/sing" 2>&1
tap_log=$work/sing ok $? "three hear each of 500 messages once: $(cat "$work/sing")"
wait $tenor
ok $? "the one on this host too"
wait "$pid_alto" && wait "$pid_bass"
ok $? "and each member says so himself"

# What is broadcast reaches whoever listens for that.
hears shouted h2 -
on h1 timeout 60 "$chorus" sing - 1 100 0 >"$work/sing" 2>&1
tap_log=$work/sing ok $? "100 broadcasts are heard: $(cat "$work/sing")"

# All of them move, all the time.
hears one h1 second
hears two h2 second
hears three h3 second
run_job singer h2 "$chorus" sing second 3 "$notes" 1000
moves=0 i=0
while kill -0 "$pid_singer" 2>/dev/null; do
	for job in one singer two three; do
		i=$((i + 1))
		on h3 timeout 60 godwit migrate $job "${hosts[$((i % 3))]}" >"$work/migrate" 2>&1 && moves=$((moves + 1))
	done
done
wait "$pid_singer"
tap_log=$work/singer ok $? "three jobs hear each of $notes messages of a fourth once: $(cat "$work/singer")"
for job in one two three; do
	pid=pid_$job
	wait "${!pid}"
	tap_log=$work/$job ok $? "$job has heard all: $(sed 1d "$work/$job")"
done
[ $moves -ge 10 ]
tap_log=$work/migrate ok $? "$moves moves happened meanwhile"
is "$(on h1 timeout 10 "$chorus" call 0123456789abc000)" "no server was found" \
	"an address that is nowhere is said to be"

# Hosts that do not trust each other's root: what asks for trust is not carried.
lab down >"$work/down" 2>&1
lab_begin 3 --conf root_from=none
on h2 timeout 60 "$chorus" hear third >"$work/stranger" &
stranger=$!
until_true 20 says_address "$work/stranger"
address=$(head -n 1 "$work/stranger")
is "$(on h1 timeout 10 "$chorus" call "$address" safe)" "the host of the receiver is not trusted" \
	"a message that asks for trust does not go to a stranger"
is "$(on h1 timeout 10 "$chorus" call "$address")" "done" "any other does"
wait $stranger
finish
